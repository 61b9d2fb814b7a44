//! In what one publication differs from the one before: what people have to be told, each with the titles it needs, since what
//! is gone has none any more.

use serde::{Deserialize, Serialize};

use super::content::{Content, Kind, PlanFacts, Titled};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// What became of it.
    #[serde(flatten)]
    pub deed: Deed,
    /// The plan it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Titled>,
    /// The package, class or service it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Titled>,
}

/// What became of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Deed {
    /// A plan is new.
    PlanAdded,
    /// A plan is gone.
    PlanRemoved,
    /// A plan takes nobody new any more.
    PlanClosed,
    /// A plan takes newcomers again.
    PlanOpened,
    /// When a plan begins or ends, or what follows it.
    PlanMoved,
    /// Anything else of a plan.
    PlanChanged,
    /// A package is new in a plan.
    PackageAdded {
        /// What is in it.
        to: Kind,
    },
    /// A package is gone from a plan.
    PackageRemoved,
    /// What is in a package.
    PackageChanged {
        /// What was in it.
        from: Kind,
        /// What is.
        to: Kind,
    },
    /// A class is free under a plan under which it was not.
    BecameFree,
    /// A class is no longer free under a plan.
    NoLongerFree,
    /// A service is new in the list.
    ServiceAdded,
    /// A service is gone from the list.
    ServiceRemoved,
    /// Since when, until when or under which plans a service is free.
    ServiceMoved,
}

/// Compares two publications.
pub(super) fn between(old: &Content, new: &Content) -> Vec<Changed> {
    let mut changes = Vec::new();
    for plan in &new.plans {
        match old.plan(&plan.plan.name) {
            None => changes.push(of_plan(Deed::PlanAdded, plan)),
            Some(before) => compare(before, plan, (old, new), &mut changes),
        }
    }
    let gone = |plan: &&PlanFacts| new.plan(&plan.plan.name).is_none();
    let gone = old.plans.iter().filter(gone);
    changes.extend(gone.map(|plan| of_plan(Deed::PlanRemoved, plan)));
    let of_service = |deed, service: &Titled| Changed {
        deed,
        plan: None,
        subject: Some(service.clone()),
    };
    for now in &new.services {
        let mut before = old.services.iter();
        match before.find(|before| before.service.name == now.service.name) {
            None => changes.push(of_service(Deed::ServiceAdded, &now.service)),
            Some(before)
                if (before.since, before.until, &before.plans)
                    != (now.since, now.until, &now.plans) =>
            {
                changes.push(of_service(Deed::ServiceMoved, &now.service));
            }
            Some(_) => {}
        }
    }
    for before in &old.services {
        let mut now = new.services.iter();
        if !now.any(|now| now.service.name == before.service.name) {
            changes.push(of_service(Deed::ServiceRemoved, &before.service));
        }
    }
    changes
}

fn of_plan(deed: Deed, plan: &PlanFacts) -> Changed {
    Changed {
        deed,
        plan: Some(plan.plan.clone()),
        subject: None,
    }
}

fn compare(
    before: &PlanFacts,
    now: &PlanFacts,
    (old, new): (&Content, &Content),
    changes: &mut Vec<Changed>,
) {
    if before.closed != now.closed {
        let deed = if now.closed {
            Deed::PlanClosed
        } else {
            Deed::PlanOpened
        };
        changes.push(of_plan(deed, now));
    }
    let time = |plan: &PlanFacts| (plan.valid_from, plan.valid_until, plan.successor.clone());
    if time(before) != time(now) {
        changes.push(of_plan(Deed::PlanMoved, now));
    }
    let mut push = |deed, subject: Titled| {
        changes.push(Changed {
            deed,
            plan: Some(now.plan.clone()),
            subject: Some(subject),
        });
    };
    let package = |content: &Content, name: &str| Titled {
        name: name.to_owned(),
        titles: content
            .names
            .packages
            .get(name)
            .cloned()
            .unwrap_or_default(),
    };
    for is in &now.packages {
        let was = before.packages.iter().find(|was| was.package == is.package);
        let to = is.holds.clone();
        match was {
            None => push(Deed::PackageAdded { to }, package(new, &is.package)),
            Some(was) if was.holds != is.holds => {
                let from = was.holds.clone();
                push(Deed::PackageChanged { from, to }, package(new, &is.package));
            }
            Some(_) => {}
        }
    }
    for was in &before.packages {
        if !now.packages.iter().any(|is| is.package == was.package) {
            push(Deed::PackageRemoved, package(old, &was.package));
        }
    }
    let class = |content: &Content, name: &str| Titled {
        name: name.to_owned(),
        titles: content.names.classes.get(name).cloned().unwrap_or_default(),
    };
    for free in now.free() {
        if !before.free().any(|before| before == free) {
            push(Deed::BecameFree, class(new, free));
        }
    }
    for free in before.free() {
        if !now.free().any(|now| now == free) {
            push(Deed::NoLongerFree, class(old, free));
        }
    }
    if terms(before) != terms(now) {
        changes.push(of_plan(Deed::PlanChanged, now));
    }
}

/// A plan without what is told in particular, and without its titles.
fn terms(plan: &PlanFacts) -> PlanFacts {
    let mut terms = plan.clone();
    terms.charges.retain(|charge| !charge.is_free());
    terms.packages.clear();
    terms.plan.titles = Default::default();
    PlanFacts {
        valid_from: None,
        valid_until: None,
        successor: None,
        closed: false,
        ..terms
    }
}
