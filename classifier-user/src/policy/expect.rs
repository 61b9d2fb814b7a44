//! Warnings about plans and classes, which these acknowledge one by one like sets do: `expect = ["unused-bucket"]`.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::lifetime::{EXPIRED, FUTURE};
use super::model::{Place, Plan, Policy};
use super::names::suggest;
use super::read::RawPlan;
use super::section::At;
use crate::diagnostic::{Diagnostic, Diagnostics, quote};

/// Warnings that a class can expect.
pub const CLASS_WARNINGS: [&str; 4] = ["shared-rating-group", "ipv4-only", "ipv6-only", "no-set"];

/// Warnings that a plan can expect.
pub const PLAN_WARNINGS: [&str; 10] = [
    "essential-drop",
    EXPIRED,
    FUTURE,
    "idle-credit",
    "idle-cycle",
    "idle-renew",
    "metered-in-advance",
    "unreachable",
    "unused-bucket",
    UNUSED_PLAN,
];

/// A plan that no subscriber is on; only told where subscribers are known.
pub(super) const UNUSED_PLAN: &str = "unused-plan";

/// What one class or plan expects, while warnings about it come.
pub(super) struct Expect<'a> {
    /// What messages call the owner, such as ``plan "x"``.
    title: String,
    /// `class` or `plan`.
    noun: &'static str,
    expected: &'a [At<String>],
    met: Vec<&'static str>,
}

impl<'a> Expect<'a> {
    pub(super) fn class(name: &str, expected: &'a [At<String>]) -> Self {
        Self::new("class", name, expected)
    }

    pub(super) fn plan(name: &str, expected: &'a [At<String>]) -> Self {
        Self::new("plan", name, expected)
    }

    fn new(noun: &'static str, name: &str, expected: &'a [At<String>]) -> Self {
        Expect {
            title: format!("{noun} {}", quote(name)),
            noun,
            expected,
            met: Vec::new(),
        }
    }

    /// What messages call the owner.
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// Warns, unless it is expected.
    pub(super) fn warn(
        &mut self,
        place: &Place,
        code: &'static str,
        message: impl Into<String>,
        help: &str,
        out: &mut Diagnostics,
    ) {
        if self.expected.iter().any(|one| one.value == code) {
            self.met.push(code);
            return;
        }
        let help = format!(
            "{help}; if this is meant, add expect = [{code:?}] to the {}",
            self.noun
        );
        out.warn(place.clone(), code, message, help);
    }

    /// Reports what is no warning of `known`, and, where everything could be looked at, what was expected and did not
    /// come, apart from what is `pending`.
    pub(super) fn finish(
        self,
        known: &[&'static str],
        complete: bool,
        pending: &[&str],
        out: &mut Diagnostics,
    ) {
        for one in self.expected {
            let name = one.value.as_str();
            if !known.contains(&name) {
                out.error(
                    one.place.clone(),
                    "unknown-warning",
                    format!(
                        "{} is not a warning that a {} can expect",
                        quote(name),
                        self.noun
                    ),
                    suggest(name, "warnings", known.iter().copied()),
                );
            } else if complete && !self.met.contains(&name) && !pending.contains(&name) {
                unused(&self.title, name, &one.place, out);
            }
        }
    }
}

/// Warns of an `expect` that nothing matched.
fn unused(title: &str, name: &str, place: &Place, out: &mut Diagnostics) {
    out.warn(
        place.clone(),
        "expect-unused",
        format!("{title} expects the warning {name:?}, which nothing causes"),
        "remove it from expect, so that it is heard should it ever come",
    );
}

/// Where a plan stands, and where it says that nobody need be on it.
#[derive(Debug, Clone)]
pub(super) struct PlanPlace {
    name: String,
    place: Place,
    idle: Option<Place>,
}

impl PlanPlace {
    pub(super) fn of(plan: &RawPlan) -> Self {
        let idle = plan.expect.iter().find(|one| one.value == UNUSED_PLAN);
        PlanPlace {
            name: plan.name.value.clone(),
            place: plan.name.place.clone(),
            idle: idle.map(|one| one.place.clone()),
        }
    }
}

impl Policy {
    /// Warnings about plans that no subscriber is on at `now`, where `on` says how many are on each; sorted by place. Those
    /// that time brings subscribers, or took them from, are no matter of use.
    #[must_use]
    pub fn unused_plans(&self, on: &HashMap<String, usize>, now: Timestamp) -> Vec<Diagnostic> {
        let mut out = Diagnostics::default();
        let is_used = |name: &str| on.get(name).is_some_and(|&count| count > 0);
        let awaited = self.awaited(is_used, now);
        for plan in &self.plan_places {
            let used = is_used(&plan.name);
            if !used && awaited.contains(&*plan.name) {
                continue;
            }
            let title = format!("plan {}", quote(&plan.name));
            match &plan.idle {
                None if !used => out.warn(
                    plan.place.clone(),
                    UNUSED_PLAN,
                    format!("{title}: no subscriber is on it"),
                    format!(
                        "remove it; if this is meant, add expect = [{UNUSED_PLAN:?}] to the plan"
                    ),
                ),
                Some(place) if used => unused(&title, UNUSED_PLAN, place, &mut out),
                _ => {}
            }
        }
        out.sorted().iter().cloned().collect()
    }

    /// Plans without subscribers that had some, or are to have some.
    fn awaited(&self, is_used: impl Fn(&str) -> bool, now: Timestamp) -> HashSet<&str> {
        let outside = |plan: &&Plan| !plan.validity().contains(now);
        let mut awaited: HashSet<&str> = self
            .plans
            .iter()
            .filter(outside)
            .map(|plan| &*plan.name)
            .collect();
        for plan in self.plans.iter().filter(|plan| is_used(&plan.name)) {
            let mut next = plan.end;
            while let Some(end) = next {
                let successor = &self.plans[end.successor];
                awaited.insert(&successor.name);
                next = successor.end;
            }
        }
        awaited
    }
}
