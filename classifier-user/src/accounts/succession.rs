//! Plans that end: who was on one goes to its successor, in whatever change comes first after the end.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::planning::Planning;
use super::{Account, Full, Session};
use crate::policy::{ListedPrefix, Place, Policy};
use crate::subscribers::{State, Subscriber};

impl Planning<'_> {
    /// Layouts of plans that have ended, with the plan of the policy each is of.
    pub(super) fn successions(&self) -> HashMap<u32, usize> {
        let layouts = (0..).zip(&self.accounts.catalog.layouts);
        let ended = layouts.filter_map(|(number, layout)| {
            let (plan, _) = self.policy.plan(&layout.plan)?;
            (self.policy.plan_at(plan, self.at) != plan).then_some((number, plan))
        });
        ended.collect()
    }

    /// The plan that somebody listed on one is on now, and the account with that plan's buckets. Who has no room for the
    /// buckets of a successor stays where it is: one subscriber does not keep all the others from a policy.
    pub(super) fn on_its_plan(
        &mut self,
        id: &Arc<str>,
        before: Option<&Account>,
        listed: usize,
    ) -> Result<(usize, Account), Full> {
        let plan = self.policy.plan_at(listed, self.at);
        match self.account(id, before, plan) {
            Err(full @ Full::Buckets { .. }) if plan != listed => {
                self.change.stranded.push(full);
                Ok((listed, self.account(id, before, listed)?))
            }
            account => Ok((plan, account?)),
        }
    }
}

/// Why somebody listed on one plan is on another, if it is.
pub(super) fn reason(policy: &Policy, listed: usize, plan: usize) -> Option<String> {
    let end = policy.plans[listed].end.filter(|_| plan != listed)?;
    let [listed, plan] = [listed, plan].map(|index| &policy.plans[index].name);
    Some(format!("plan {listed} ended at {}: {plan} follows", end.at))
}

/// A subscriber as its session is, on a plan.
pub(super) fn as_it_is(id: &Arc<str>, session: &Session, plan: usize) -> Subscriber {
    let place = Place {
        file: Arc::new(PathBuf::from("(session)")),
        line: 1,
        column: 1,
    };
    let state = match session.suspended {
        true => State::Suspended,
        false => State::Active,
    };
    let prefixes = session.addresses.iter().map(|net| ListedPrefix {
        net: *net,
        place: place.clone(),
    });
    Subscriber {
        id: Arc::clone(id),
        plan,
        state,
        prefixes: prefixes.collect(),
        place: place.clone(),
    }
}
