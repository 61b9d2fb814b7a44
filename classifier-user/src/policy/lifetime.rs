//! When a plan exists, what comes after it, and whether it takes new subscribers.
//!
//! A plan that ends names its successor, which exists then and ends later, if ever: so whoever is on a plan is on one that
//! exists, whatever the time, and no row of successors goes round in a circle.

use jiff::Timestamp;

use super::expect::Expect;
use super::model::{Plan, Policy, Validity};
use super::names::suggest;
use super::read::RawPlan;
use super::section::{At, Section};
use crate::diagnostic::{Diagnostics, quote};

/// A plan that has ended.
pub(super) const EXPIRED: &str = "expired";
/// A plan that is to begin.
pub(super) const FUTURE: &str = "future";

/// The end of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanEnd {
    /// First instant at which nobody is on it any more.
    pub at: Timestamp,
    /// Index of the plan that its subscribers are on from then on.
    pub successor: usize,
}

/// The keys as they are written; what is not a value of its key has been reported.
#[derive(Default)]
pub(super) struct RawLifetime {
    valid_from: Option<At<Timestamp>>,
    valid_until: Option<At<Timestamp>>,
    successor: Option<At<String>>,
    pub(super) closed: bool,
}

impl RawLifetime {
    pub(super) fn read(plan: &mut Section<'_>) -> Self {
        RawLifetime {
            valid_from: plan.instant("valid_from"),
            valid_until: plan.instant("valid_until"),
            successor: plan.text("successor", "basic"),
            closed: plan.flag("closed").unwrap_or(false),
        }
    }

    /// First instant at which the plan exists.
    pub(super) fn valid_from(&self) -> Option<Timestamp> {
        self.valid_from.as_ref().map(|at| at.value)
    }

    /// What the clock can bring the plan, and so need not have come yet.
    pub(super) fn pending(&self) -> impl Iterator<Item = &'static str> {
        let ends = self.valid_until.is_some().then_some(EXPIRED);
        let begins = self.valid_from.is_some().then_some(FUTURE);
        ends.into_iter().chain(begins)
    }

    /// Warns of a plan that nobody is on yet, or any more.
    pub(super) fn warn(
        &self,
        plan: &str,
        now: Timestamp,
        expect: &mut Expect<'_>,
        out: &mut Diagnostics,
    ) {
        let plan = quote(plan);
        if let Some(from) = self.valid_from.as_ref().filter(|from| now < from.value) {
            let message = format!("plan {plan}: nobody can be on it before {}", from.value);
            let help = "wait, or set an earlier valid_from";
            expect.warn(&from.place, FUTURE, message, help, out);
        }
        if let (Some(until), Some(successor)) = (&self.valid_until, &self.successor)
            && until.value <= now
        {
            let message = format!(
                "plan {plan} has ended at {}: who was on it is on {}",
                until.value,
                quote(&successor.value)
            );
            let help = "write the successor in the lines of its subscribers, then remove the plan; or set a later valid_until";
            expect.warn(&until.place, EXPIRED, message, help, out);
        }
    }
}

/// Finds the end of every plan that has one; `plans` are sorted by name.
pub(super) fn check_ends(raw: &[RawPlan], plans: &mut [Plan], out: &mut Diagnostics) {
    for one in raw {
        let end = check_end(one, raw, plans, out);
        let plan = plans.iter_mut().find(|plan| plan.name == one.name.value);
        if let Some(plan) = plan {
            plan.end = end;
        }
    }
}

fn check_end(
    raw: &RawPlan,
    all: &[RawPlan],
    plans: &[Plan],
    out: &mut Diagnostics,
) -> Option<PlanEnd> {
    let (life, name) = (&raw.life, quote(&raw.name.value));
    let (until, successor) = match (&life.valid_until, &life.successor) {
        (Some(until), Some(successor)) => (until, successor),
        (Some(until), None) => {
            // What is no text has been reported.
            if !raw.broken {
                out.error(
                    until.place.clone(),
                    "no-successor",
                    format!(
                        "plan {name} ends, and nothing says which plan its subscribers are on then"
                    ),
                    "add successor = with the name of that plan",
                );
            }
            return None;
        }
        (None, Some(successor)) => {
            if !raw.broken {
                out.error(
                    successor.place.clone(),
                    "idle-successor",
                    format!("plan {name} has a successor, and does not end"),
                    "add valid_until = with the first instant of the successor, or remove successor",
                );
            }
            return None;
        }
        (None, None) => return None,
    };
    if let Some(from) = &life.valid_from
        && until.value <= from.value
    {
        out.error(
            until.place.clone(),
            "never-valid",
            format!(
                "valid_until {} is not after valid_from {}, so plan {name} never exists",
                until.value, from.value
            ),
            "make valid_until later: it is the first instant at which nobody is on the plan any more",
        );
    }
    let Some(next) = all.iter().find(|plan| plan.name.value == successor.value) else {
        let names = all.iter().map(|plan| plan.name.value.as_str());
        out.error(
            successor.place.clone(),
            "unknown-plan",
            format!(
                "plan {name}: the successor is {}, and there is no such plan",
                quote(&successor.value)
            ),
            suggest(&successor.value, "plans", names),
        );
        return None;
    };
    check_next(&name, until, successor, next, out);
    let successor = plans.iter().position(|plan| plan.name == successor.value)?;
    let at = until.value;
    Some(PlanEnd { at, successor })
}

/// Sees that a successor exists when it is needed.
fn check_next(
    name: &str,
    until: &At<Timestamp>,
    successor: &At<String>,
    next: &RawPlan,
    out: &mut Diagnostics,
) {
    let mut wrong = |message: String, help: &str| {
        out.error(successor.place.clone(), "late-successor", message, help);
    };
    let (at, called) = (until.value, quote(&successor.value));
    if let Some(from) = next.life.valid_from().filter(|from| *from > at) {
        wrong(
            format!("plan {name} ends at {at}, before its successor {called} begins at {from}"),
            "let the successor begin when the plan ends, or earlier",
        );
    }
    let ends = next.life.valid_until.as_ref().map(|until| until.value);
    if let Some(ends) = ends.filter(|ends| *ends <= at) {
        wrong(
            format!("plan {name} ends at {at}, when its successor {called} has ended, at {ends}"),
            "name a plan that goes on, and ends later or never",
        );
    }
}

/// Why somebody cannot be put on a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// It is to begin.
    #[error("plan {} begins at {from}", quote(plan))]
    NotYet {
        /// The plan.
        plan: String,
        /// When.
        from: Timestamp,
    },
    /// It has ended.
    #[error("plan {} ended at {at}", quote(plan))]
    Ended {
        /// The plan.
        plan: String,
        /// When.
        at: Timestamp,
        /// The plan that its subscribers are on.
        successor: String,
    },
    /// It takes nobody new.
    #[error(
        "plan {} is closed: who is on it stays, and nobody is newly put on it",
        quote(plan)
    )]
    Closed {
        /// The plan.
        plan: String,
        /// Those that take somebody.
        open: Vec<String>,
    },
}

impl NotAdmitted {
    /// Code of the diagnostic.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotYet { .. } => "plan-to-come",
            Self::Ended { .. } => "plan-ended",
            Self::Closed { .. } => "plan-closed",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::NotYet { plan, from } => format!(
                "have it put on the plan then: zerorate subscriber plan ID {plan} --at {from}"
            ),
            Self::Ended { successor, .. } => format!("write its successor, {}", quote(successor)),
            Self::Closed { open, .. } if open.is_empty() => {
                "no plan of the policy is open at that time: open one".to_owned()
            }
            Self::Closed { open, .. } => {
                let open: Vec<String> = open.iter().map(|plan| quote(plan)).collect();
                format!("name a plan that is open: {}", open.join(", "))
            }
        }
    }
}

impl Plan {
    /// Whether it ends at an instant.
    #[must_use]
    pub fn ends_at(&self, t: Timestamp) -> bool {
        self.end.is_some_and(|end| end.at == t)
    }

    /// When it exists.
    #[must_use]
    pub fn validity(&self) -> Validity {
        Validity {
            from: self.valid_from,
            until: self.end.map(|end| end.at),
        }
    }
}

impl Policy {
    /// The plan that somebody who was put on one is on at a time: that one, or what came after it.
    #[must_use]
    pub fn plan_at(&self, plan: usize, t: Timestamp) -> usize {
        let mut plan = plan;
        while let Some(end) = self.plans[plan].end.filter(|end| end.at <= t) {
            plan = end.successor;
        }
        plan
    }

    /// The same by name; a plan the policy does not have stays what it is.
    #[must_use]
    pub fn plan_name_at<'a>(&'a self, plan: &'a str, t: Timestamp) -> &'a str {
        self.plan(plan)
            .map_or(plan, |(index, _)| &self.plans[self.plan_at(index, t)].name)
    }

    /// Whether somebody can be put on a plan at a time who is, at that time, on the plan `current`, or on none.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(
        &self,
        plan: usize,
        current: Option<usize>,
        t: Timestamp,
    ) -> Result<(), NotAdmitted> {
        let named = &self.plans[plan];
        let effective = self.plan_at(plan, t);
        let name = || named.name.clone();
        if let Some(from) = named.valid_from.filter(|from| t < *from) {
            return Err(NotAdmitted::NotYet { plan: name(), from });
        }
        if current == Some(effective) {
            return Ok(());
        }
        if let Some(end) = named.end.filter(|end| end.at <= t) {
            return Err(NotAdmitted::Ended {
                plan: name(),
                at: end.at,
                successor: self.plans[effective].name.clone(),
            });
        }
        if named.closed {
            let takes = |plan: &&Plan| !plan.closed && plan.validity().contains(t);
            let open = self.plans.iter().filter(takes);
            return Err(NotAdmitted::Closed {
                plan: name(),
                open: open.map(|plan| plan.name.clone()).collect(),
            });
        }
        Ok(())
    }
}
