//! What was asked for a subscriber otherwise than by its line in the file: through the API, by a command. It holds until
//! that line itself changes.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{State, Subscriber};
use crate::diagnostic::{Diagnostics, quote};
use crate::policy::{ListedPrefix, Place, Policy, suggest};

/// A subscriber by the names in policy and file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its plan.
    pub plan: String,
    /// Whether it has its service.
    pub state: State,
    /// Its prefixes, sorted, none twice.
    pub addresses: Vec<IpNet>,
}

/// What was asked for a subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Its line in the file at that time; `None` where there was none.
    pub line: Option<Listed>,
    /// What it shall be; `None`: nobody's subscriber.
    pub now: Option<Listed>,
}

impl Wish {
    /// The same with what came after plans that have ended, if there are such in what is asked for: the policy need not keep
    /// a plan for it.
    #[must_use]
    pub fn succeeded(&self, policy: &Policy, t: Timestamp) -> Option<Self> {
        let asked = self.now.as_ref()?;
        let now = asked.at(policy, t);
        (now.plan != asked.plan).then(|| Self {
            line: self.line.as_ref().map(|line| line.at(policy, t)),
            now: Some(now),
        })
    }
}

impl Listed {
    /// What a line of the file says.
    #[must_use]
    pub fn of(subscriber: &Subscriber, policy: &Policy) -> Self {
        let nets = subscriber.prefixes.iter().map(|prefix| prefix.net);
        Self {
            plan: policy.plans[subscriber.plan].name.clone(),
            state: subscriber.state,
            addresses: sorted(nets.collect()),
        }
    }

    /// The same as it holds at a time: on what came after its plan, where that has ended.
    #[must_use]
    pub fn at(&self, policy: &Policy, t: Timestamp) -> Self {
        Self {
            plan: policy.plan_name_at(&self.plan, t).to_owned(),
            ..self.clone()
        }
    }

    /// As if it stood in a file.
    ///
    /// # Errors
    /// What is wrong with the plan.
    pub fn subscriber(&self, id: &Arc<str>, policy: &Policy) -> Result<Subscriber, UnknownPlan> {
        let plan = policy.plans.iter().position(|plan| plan.name == self.plan);
        let place = place();
        Ok(Subscriber {
            id: Arc::clone(id),
            plan: plan.ok_or_else(|| UnknownPlan {
                help: suggest(
                    &self.plan,
                    "plans",
                    policy.plans.iter().map(|plan| &*plan.name),
                ),
                plan: self.plan.clone(),
            })?,
            state: self.state,
            prefixes: self
                .addresses
                .iter()
                .map(|net| ListedPrefix {
                    net: *net,
                    place: place.clone(),
                })
                .collect(),
            place,
        })
    }
}

/// A plan the policy does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy has no plan {}; {help}", quote(plan))]
pub struct UnknownPlan {
    plan: String,
    help: String,
}

/// Prefixes in order, each once.
#[must_use]
pub fn sorted(mut nets: Vec<IpNet>) -> Vec<IpNet> {
    nets.sort_unstable();
    nets.dedup();
    nets
}

/// Where what the API asked for stands, in the eyes of who reads about it.
fn place() -> Place {
    Place {
        file: Arc::new(PathBuf::from("(API)")),
        line: 1,
        column: 1,
    }
}

/// Lays wishes over the lines of a file. Returns those that its lines have overtaken.
pub(super) fn lay_over(
    subscribers: &mut Vec<Subscriber>,
    wishes: &BTreeMap<Arc<str>, Wish>,
    policy: &Policy,
    (strict, now): (bool, Timestamp),
    out: &mut Diagnostics,
) -> Vec<Arc<str>> {
    if wishes.is_empty() {
        return Vec::new();
    }
    let mut lines = HashMap::new();
    for subscriber in &*subscribers {
        if wishes.contains_key(&subscriber.id) {
            let line = Listed::of(subscriber, policy).at(policy, now);
            lines.insert(Arc::clone(&subscriber.id), line);
        }
    }
    let (kept, overtaken): (Vec<_>, Vec<_>) = wishes.iter().partition(|(id, wish)| {
        // A plan that has ended in between is no change of the line.
        let line = wish.line.as_ref().map(|line| line.at(policy, now));
        line.as_ref() == lines.get(*id)
    });
    let mut wanted: BTreeMap<&Arc<str>, &Option<Listed>> =
        kept.into_iter().map(|(id, wish)| (id, &wish.now)).collect();
    let mut wished = |id: &Arc<str>, listed: &Listed, line: Option<Subscriber>| match listed
        .subscriber(id, policy)
    {
        Ok(subscriber) => Some(subscriber),
        Err(error) => {
            let message = format!("subscriber {}, as asked by command: {error}", quote(id));
            if strict {
                let help = "put it on another plan first, or change its line in the file, which then holds";
                out.error(place(), "unknown-plan", message, help);
            } else {
                let help = "its line in the file holds, if it has one: put it on a plan there is";
                out.warn(place(), "unknown-plan", message, help);
            }
            line
        }
    };
    // Each in its line's place, so that who comes first stays first.
    *subscribers = std::mem::take(subscribers)
        .into_iter()
        .filter_map(|subscriber| match wanted.remove(&subscriber.id) {
            None => Some(subscriber),
            Some(now) => {
                let id = Arc::clone(&subscriber.id);
                wished(&id, now.as_ref()?, Some(subscriber))
            }
        })
        .collect();
    for (id, now) in wanted {
        subscribers.extend(now.as_ref().and_then(|listed| wished(id, listed, None)));
    }
    overtaken
        .into_iter()
        .map(|(id, _)| Arc::clone(id))
        .collect()
}
