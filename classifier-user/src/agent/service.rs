//! One subscriber changes while everybody else goes on: it is added, put on another plan, suspended, resumed, removed.
//! In the kernel at once; kept until its line in the subscribers' file changes.

use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::NodeError;
use super::node::Node;
use super::subscribers::SubscriberView;
use crate::accounts::Cause;
use crate::balance::MAX_REASON;
use crate::diagnostic::quote;
use crate::ledger::LedgerError;
use crate::policy::parse_prefix;
use crate::subscribers::{ID_HELP, Listed, State, Wish, sorted, wrong_id};

/// What a subscriber is to be; what is not said stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SubscriberChange)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Its plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Whether it has its service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Its prefixes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A change that is not made. But for [`ServiceError::Late`] nothing is different from before.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// There is no such subscriber.
    #[error("no subscriber {} has a session", quote(.0))]
    Unknown(String),
    /// There is one already.
    #[error("subscriber {} is there already; `zerorate subscriber set` changes it", quote(.0))]
    Exists(String),
    /// What was asked for cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The node could not.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// It cannot be written down.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It is written down, and something is in the way of putting it in force.
    #[error("it is written down and not in force yet, and is tried again all the time: {0}")]
    Late(NodeError),
}

impl ServiceError {
    /// Whether it may be possible later, with nothing else asked for.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::Exists(_) | Self::Invalid(_) => false,
            Self::Node(error) => !matches!(
                error,
                NodeError::Full(_) | NodeError::TooMany { .. } | NodeError::TooLarge(_)
            ),
            Self::Ledger(_) | Self::Late(_) => true,
        }
    }
}

impl Node {
    /// Adds a subscriber.
    ///
    /// # Errors
    /// When it is there, or cannot be.
    pub fn add_subscriber(
        &mut self,
        id: &str,
        wanted: Wanted,
    ) -> Result<SubscriberView, ServiceError> {
        if let Some(wrong) = wrong_id(id) {
            return Err(ServiceError::Invalid(format!("{wrong}; {ID_HELP}")));
        }
        if self.subscriber(id).is_some() {
            return Err(ServiceError::Exists(id.to_owned()));
        }
        let (limit, found) = (
            self.config.limits.subscribers,
            self.accounts.present().count() + 1,
        );
        if limit != 0 && found > limit {
            return Err(NodeError::TooMany { found, limit }.into());
        }
        let (Some(plan), Some(addresses)) = (&wanted.plan, &wanted.addresses) else {
            let missing = "a new subscriber needs a plan and addresses";
            return Err(ServiceError::Invalid(missing.to_owned()));
        };
        let listed = Listed {
            plan: plan.clone(),
            state: wanted.state.unwrap_or(State::Active),
            addresses: prefixes(addresses)?,
        };
        self.serve(id, Some(listed), wanted.reason)?;
        self.found(id)
    }

    /// Changes a subscriber.
    ///
    /// # Errors
    /// When there is none, or it cannot be so.
    pub fn set_subscriber(
        &mut self,
        id: &str,
        wanted: Wanted,
    ) -> Result<SubscriberView, ServiceError> {
        let now = self
            .listed(id)
            .ok_or_else(|| ServiceError::Unknown(id.to_owned()))?;
        let addresses = match &wanted.addresses {
            Some(addresses) => prefixes(addresses)?,
            None => now.addresses.clone(),
        };
        let listed = Listed {
            plan: wanted.plan.unwrap_or_else(|| now.plan.clone()),
            state: wanted.state.unwrap_or(now.state),
            addresses,
        };
        if listed != now {
            self.serve(id, Some(listed), wanted.reason)?;
        } else if self.unpublished {
            // Asked for before, and late: what is said to be so has to be so.
            self.keep_up();
            if self.unpublished {
                return Err(ServiceError::Late(self.behind()));
            }
        }
        self.found(id)
    }

    /// Removes a subscriber; says what it was, with what was left in its buckets.
    ///
    /// # Errors
    /// When there is none, or the node cannot.
    pub fn remove_subscriber(
        &mut self,
        id: &str,
        reason: Option<String>,
    ) -> Result<SubscriberView, ServiceError> {
        let mut view = self.found(id)?;
        let before = self.accounts.subscribers.get(id).cloned();
        self.serve(id, None, reason)?;
        view.state = "removed".to_owned();
        // What is left now that nobody draws any more.
        if let Some(account) = before {
            self.forgive(id, &account)?;
            view.buckets = self.buckets_of(id, &account);
        }
        Ok(view)
    }

    fn found(&self, id: &str) -> Result<SubscriberView, ServiceError> {
        self.subscriber(id)
            .ok_or_else(|| ServiceError::Unknown(id.to_owned()))
    }

    /// What a subscriber is.
    fn listed(&self, id: &str) -> Option<Listed> {
        let session = self.accounts.subscribers.get(id)?.session.as_ref()?;
        let layout = &self.accounts.catalog.layouts[session.row.layout as usize];
        Some(Listed {
            plan: layout.plan.clone(),
            state: if session.suspended {
                State::Suspended
            } else {
                State::Active
            },
            addresses: session.addresses.to_vec(),
        })
    }

    /// Puts what a subscriber is to be in force.
    fn serve(
        &mut self,
        id: &str,
        wanted: Option<Listed>,
        reason: Option<String>,
    ) -> Result<(), ServiceError> {
        check_reason(reason.as_deref())?;
        // Time, or the gateway, may have gone on since the last look.
        self.keep_up();
        if self.unpublished {
            return Err(self.behind().into());
        }
        let Some(in_force) = &self.in_force else {
            let why = "no policy is in force".to_owned();
            return Err(NodeError::Behind { why }.into());
        };
        let policy = Arc::clone(&in_force.policy);
        let now = Timestamp::now();
        let id: Arc<str> = id.into();
        let subscriber = match &wanted {
            Some(listed) => {
                if self
                    .listed(&id)
                    .is_none_or(|now| now.addresses != listed.addresses)
                {
                    self.check_overlap(&id, &listed.addresses)?;
                }
                let subscriber = listed.subscriber(&id, &policy);
                let subscriber =
                    subscriber.map_err(|error| ServiceError::Invalid(error.to_string()))?;
                if self.listed(&id).is_none_or(|now| now.plan != listed.plan) {
                    self.check_plan(&id, &listed.plan, now)?;
                }
                Some(subscriber)
            }
            None => None,
        };
        let cause = Cause { id: None, reason };
        let mut change = self
            .accounts
            .plan_one(&policy, &id, subscriber.as_ref(), now, cause)
            .map_err(NodeError::from)?;
        let line = match self.wishes.get(&id) {
            Some(wish) => wish.line.clone(),
            None => self.listed(&id),
        };
        let subscriber_id = Arc::clone(&id);
        // Who is again what the file says needs no wish.
        let as_listed = line.as_ref().map(|line| line.at(&policy, now)) == wanted;
        let wish = (!as_listed).then_some(Wish { line, now: wanted });
        change.wishes.push((id, wish));
        let done = self.put_in_force(policy, change, now);
        // Another plan may have another price.
        self.keep_money(Some(&subscriber_id));
        match done {
            Ok(_) => Ok(()),
            Err(error) if self.unpublished => Err(ServiceError::Late(error)),
            Err(error) => Err(error.into()),
        }
    }

    fn check_overlap(&self, id: &str, addresses: &[IpNet]) -> Result<(), ServiceError> {
        let own = outermost(addresses);
        for (other, _, session) in self.accounts.present() {
            for theirs in session.addresses.iter().filter(|_| **other != *id) {
                if let Some(own) = clash(&own, theirs) {
                    return Err(ServiceError::Invalid(format!(
                        "{own} overlaps {theirs} of subscriber {}; give each address to one subscriber",
                        quote(other)
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Sees that a reason is not too long to be recorded.
pub(super) fn check_reason(reason: Option<&str>) -> Result<(), ServiceError> {
    if reason.is_some_and(|reason| reason.len() > MAX_REASON) {
        let long = format!("a reason has at most {MAX_REASON} bytes");
        return Err(ServiceError::Invalid(long));
    }
    Ok(())
}

/// Sorted prefixes without those that lie in another.
fn outermost(sorted: &[IpNet]) -> Vec<IpNet> {
    let mut outermost = sorted.to_vec();
    outermost.dedup_by(|inner, outer| outer.contains(&*inner));
    outermost
}

/// The one of sorted prefixes, of which none lies in another, that has an address in common with another one.
fn clash<'a>(own: &'a [IpNet], theirs: &IpNet) -> Option<&'a IpNet> {
    let after = own.partition_point(|own| own <= theirs);
    // Only the last that begins before it can hold it.
    let holds = own[..after].last().filter(|own| own.contains(theirs));
    holds.or_else(|| own.get(after).filter(|own| theirs.contains(*own)))
}

fn prefixes(addresses: &[String]) -> Result<Vec<IpNet>, ServiceError> {
    if addresses.is_empty() {
        let none = "a subscriber has at least one address".to_owned();
        return Err(ServiceError::Invalid(none));
    }
    let parsed = addresses.iter().map(|text| {
        parse_prefix(text).map_err(|error| {
            ServiceError::Invalid(format!("{}: {error}; {}", quote(text), error.help()))
        })
    });
    Ok(sorted(parsed.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets() -> impl Strategy<Value = Vec<IpNet>> {
        let net = (0..256_u32, 24..=32_u8, any::<bool>()).prop_map(|(host, len, v6)| {
            let text = if v6 {
                format!("2001:db8::{host:x}/{}", len + 96)
            } else {
                format!("10.0.0.{host}/{len}")
            };
            text.parse::<IpNet>().unwrap().trunc()
        });
        prop::collection::vec(net, 1..8)
    }

    proptest! {
        #[test]
        fn a_clash_is_found_where_there_is_one(own in nets(), theirs in nets()) {
            let own = sorted(own);
            let kept = outermost(&own);
            for theirs in &theirs {
                let overlaps = |own: &IpNet| own.contains(theirs) || theirs.contains(own);
                prop_assert_eq!(clash(&kept, theirs).is_some(), own.iter().any(overlaps));
                prop_assert!(clash(&kept, theirs).is_none_or(overlaps));
            }
        }
    }
}
