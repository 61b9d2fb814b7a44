//! When a plan exists, what follows it, and whether it takes new subscribers: said only of plans of which there is
//! something to say.

use jiff::Timestamp;
use serde::Serialize;

use super::row;
use crate::policy::{Plan, Policy};

/// What there is to say.
#[derive(Serialize)]
pub(super) struct Life<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    successor: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    closed: bool,
    /// The plan its subscribers are on at that time, if it is not this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    followed_by: Option<&'a str>,
    #[serde(skip)]
    is_to_begin: bool,
}

impl<'a> Life<'a> {
    pub(super) fn of(policy: &'a Policy, plan: &'a Plan, at: Timestamp) -> Self {
        let name = |index: usize| policy.plans[index].name.as_str();
        let followed_by = policy.plan_name_at(&plan.name, at);
        Life {
            valid_from: plan.valid_from,
            valid_until: plan.end.map(|end| end.at),
            successor: plan.end.map(|end| name(end.successor)),
            closed: plan.closed,
            followed_by: Some(followed_by).filter(|next| *next != plan.name),
            is_to_begin: plan.valid_from.is_some_and(|from| at < from),
        }
    }

    pub(super) fn print(&self) {
        if let Some(from) = self.valid_from {
            let still = match self.is_to_begin {
                true => ": nobody can be on it yet",
                false => "",
            };
            row("valid from", &format!("{from}{still}"));
        }
        if let (Some(until), Some(successor)) = (self.valid_until, self.successor) {
            row("valid until", &format!("{until}, then {successor}"));
        }
        if let Some(plan) = self.followed_by {
            row("", &format!("it has ended: who was on it is on {plan}"));
        }
        if self.closed {
            row("closed", "nobody is newly put on it");
        }
    }
}
