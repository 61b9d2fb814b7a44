//! Changes of subscribers that were asked for a later time: kept in the ledger, made when it comes, also by a later agent.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tracing::{error, info};

use super::node::Node;
use super::service::{ServiceError, Wanted, check_reason};
use crate::subscribers::{Planned, Scheduled, State, Step};

/// Changes that are made while requests wait.
const AT_ONCE: usize = 10;

/// What is asked for later, the next first.
#[derive(Debug, Default)]
pub(super) struct Schedule(BTreeMap<(Timestamp, u64), Planned>);

impl Schedule {
    pub(super) fn of(scheduled: Vec<Scheduled>) -> Self {
        let entry = |scheduled: Scheduled| ((scheduled.at, scheduled.number), scheduled.planned);
        Self(scheduled.into_iter().map(entry).collect())
    }

    /// When the next change is made.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.first_key_value().map(|((at, _), _)| *at)
    }
}

impl Node {
    /// Notes a change for a later time.
    ///
    /// # Errors
    /// When there is no such subscriber or plan now, the time has passed, or it cannot be written down.
    pub fn schedule(&mut self, planned: Planned, at: Timestamp) -> Result<Scheduled, ServiceError> {
        check_reason(planned.reason.as_deref())?;
        let id = &planned.subscriber;
        if self.subscriber(id).is_none() {
            return Err(ServiceError::Unknown(id.clone()));
        }
        if at <= Timestamp::now() {
            let past = format!("{at} has passed: leave the time out to have it done at once");
            return Err(ServiceError::Invalid(past));
        }
        if let Step::Plan(plan) = &planned.step {
            self.check_plan(id, plan, at)?;
        }
        let number = self.ledger.schedule(at, &planned)?;
        self.schedule.0.insert((at, number), planned.clone());
        Ok(Scheduled {
            number,
            at,
            planned,
        })
    }

    /// What is asked for later, the next first.
    #[must_use]
    pub fn scheduled(&self) -> Vec<Scheduled> {
        let entries = self.schedule.0.iter();
        entries
            .map(|((at, number), planned)| Scheduled {
                number: *number,
                at: *at,
                planned: planned.clone(),
            })
            .collect()
    }

    /// Gives up a change that was asked for; whether there was one of this number.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn unschedule(&mut self, number: u64) -> Result<bool, ServiceError> {
        self.ledger.unschedule(number)?;
        let before = self.schedule.0.len();
        self.schedule.0.retain(|(_, other), _| *other != number);
        Ok(self.schedule.0.len() < before)
    }

    /// Makes some of the changes whose time has come; whether there may be more.
    pub fn keep_schedule(&mut self) -> bool {
        let now = Timestamp::now();
        for _ in 0..AT_ONCE {
            let first = self.schedule.0.first_key_value();
            let Some((key, planned)) = first.filter(|((at, _), _)| *at <= now) else {
                return false;
            };
            let ((at, number), planned) = (*key, planned.clone());
            let subscriber = &*planned.subscriber;
            match self.make(&planned) {
                Ok(()) => info!(number, subscriber, %at, "made, as asked for this time"),
                // Nothing wrong with what was asked: the next look tries again.
                Err(error) if error.may_pass() => {
                    error!(number, subscriber, %at, "asked for this time, and tried again: {error}");
                    return false;
                }
                Err(error) => {
                    error!(number, subscriber, %at, "asked for this time, and not made: {error}");
                }
            }
            if let Err(error) = self.ledger.unschedule(number) {
                error!(
                    number,
                    "{error}; it is made once more, which changes nothing"
                );
                return false;
            }
            self.schedule.0.remove(&(at, number));
        }
        true
    }

    fn make(&mut self, planned: &Planned) -> Result<(), ServiceError> {
        let (id, reason) = (&*planned.subscriber, planned.reason.clone());
        let mut wanted = Wanted {
            reason: reason.clone(),
            ..Wanted::default()
        };
        match &planned.step {
            Step::Remove => return self.remove_subscriber(id, reason).map(drop),
            Step::Plan(plan) => wanted.plan = Some(plan.clone()),
            Step::Suspend => wanted.state = Some(State::Suspended),
            Step::Resume => wanted.state = Some(State::Active),
        }
        self.set_subscriber(id, wanted).map(drop)
    }
}
