//! Who may be put on which plan: nobody newly on one that is closed or has ended, whether a command, the API or the
//! subscribers' file asks for it. Who is on a closed plan stays.

use std::sync::Arc;

use jiff::Timestamp;

use super::node::Node;
use super::service::ServiceError;
use crate::accounts::{Accounts, Change, Full};
use crate::diagnostic::{Diagnostics, quote};
use crate::policy::{NotAdmitted, Policy, suggest};
use crate::subscribers::{Subscriber, Wish};

/// Sees that a list of subscribers puts nobody newly on a plan that takes nobody.
///
/// # Errors
/// Each of those it does, with its place.
pub(super) fn check(
    accounts: &Accounts,
    policy: &Policy,
    subscribers: &[Subscriber],
    now: Timestamp,
) -> Result<(), Diagnostics> {
    let takes_anybody = |plan: usize| policy.admits(plan, None, now).is_ok();
    let shut: Vec<bool> = (0..policy.plans.len())
        .map(|plan| !takes_anybody(plan))
        .collect();
    let mut out = Diagnostics::default();
    for subscriber in subscribers.iter().filter(|one| shut[one.plan]) {
        let current = current(accounts, policy, &subscriber.id, now);
        if let Err(refused) = policy.admits(subscriber.plan, current, now) {
            out.error(
                subscriber.place.clone(),
                refused.code(),
                format!("subscriber {}: {refused}", quote(&subscriber.id)),
                refused.help(),
            );
        }
    }
    out.finish().map(drop)
}

/// The plan of a policy that a subscriber is on at a time; `None` if it is on none of its plans.
fn current(accounts: &Accounts, policy: &Policy, id: &str, at: Timestamp) -> Option<usize> {
    let session = accounts.subscribers.get(id)?.session.as_ref()?;
    let layout = &accounts.catalog.layouts[session.row.layout as usize];
    let (plan, _) = policy.plan(&layout.plan)?;
    Some(policy.plan_at(plan, at))
}

impl From<NotAdmitted> for ServiceError {
    fn from(refused: NotAdmitted) -> Self {
        Self::Invalid(format!("{refused}; {}", refused.help()))
    }
}

impl Node {
    /// What was asked for subscribers, with the successors of plans that have ended, where it names such. Who had no room
    /// for a successor's buckets, and stays, is not listed on it either: that would be in the way of all others.
    pub(super) fn succeeded(
        &self,
        policy: &Policy,
        change: &Change,
        now: Timestamp,
    ) -> Vec<(Arc<str>, Option<Wish>)> {
        let stays = |id: &str| {
            let mut stranded = change.stranded.iter();
            stranded
                .any(|full| matches!(full, Full::Buckets { subscriber, .. } if subscriber == id))
        };
        let wishes = self.wishes.iter().filter(|(id, _)| !stays(id));
        wishes
            .filter_map(|(id, wish)| Some((Arc::clone(id), Some(wish.succeeded(policy, now)?))))
            .collect()
    }

    /// Sees that a subscriber can be put on a plan of the policy in force at a time.
    pub(super) fn check_plan(
        &self,
        id: &str,
        plan: &str,
        at: Timestamp,
    ) -> Result<(), ServiceError> {
        let Some(in_force) = &self.in_force else {
            return Ok(());
        };
        let policy = &*in_force.policy;
        let Some((index, _)) = policy.plan(plan) else {
            let names = policy.plans.iter().map(|plan| &*plan.name);
            return Err(ServiceError::Invalid(format!(
                "the policy has no plan {}; {}",
                quote(plan),
                suggest(plan, "plans", names)
            )));
        };
        let current = current(&self.accounts, policy, id, at);
        Ok(policy.admits(index, current, at)?)
    }
}
