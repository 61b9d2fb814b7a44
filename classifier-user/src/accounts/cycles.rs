//! Where a subscriber is in its cycles: when the first of them began, and when the running one ends.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Stamp;
use crate::policy::{Cycle, Plan, Renew};

/// A subscriber's cycles. They are its own, and go on over sessions, plans and policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cycles {
    /// When they began, or were last begun early.
    pub since: Stamp,
    /// When the running one ends; [`Cycles::WAITING`] when it has ended, and billing has not begun the next one.
    pub due: Stamp,
}

impl Cycles {
    /// Stands for no end.
    pub const WAITING: Stamp = Stamp::NEVER;

    /// A first cycle.
    #[must_use]
    pub fn begin(cycle: Cycle, now: Timestamp, zone: &TimeZone) -> Self {
        Self {
            since: now.into(),
            due: cycle.end_after(now, now, zone).into(),
        }
    }

    /// The running cycle under what a plan says at `end`, the first end behind now of cycles since [`Self::since`]. No
    /// cycle lasts longer than that: if it would, the plan is another one, or the clock was set back.
    #[must_use]
    pub fn under(self, plan: &Plan, end: Timestamp) -> Self {
        let waits = self.due == Self::WAITING && plan.renew == Renew::Billing;
        Self {
            due: if waits {
                self.due
            } else {
                self.due.min(end.into())
            },
            ..self
        }
    }
}
