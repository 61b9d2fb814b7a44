//! Orders on buckets: worked out, written down, and in the kernel, in that order. What the kernel is told is how much a
//! bucket was granted in all, so that telling it again, after a crash in between, changes nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::node::Node;
use crate::accounts::Account;
use crate::balance::{Action, Booked, Level, Order, Refusal, settle};
use crate::diagnostic::quote;
use crate::ledger::LedgerError;
use crate::ledger::records::{Entry, What};
use crate::ledger::usage::{AnyRecord, Cause, Which};
use crate::policy::{Grant, suggest};

/// What an order came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The order.
    #[serde(flatten)]
    pub order: Order,
    /// What was booked, in this order.
    pub booked: Vec<Booking>,
    /// What was left when it was followed, in bytes.
    pub left: i64,
    /// When it was followed.
    pub time: Timestamp,
    /// It had been followed before: this is the answer of that time.
    #[serde(default)]
    pub repeated: bool,
}

/// One thing that was booked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// What.
    pub kind: Booked,
    /// How many bytes.
    pub bytes: u64,
}

/// An order that was not followed. Nothing is different from before.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such subscriber.
    #[error("no subscriber {} is known", quote(.0))]
    Subscriber(String),
    /// It has no such bucket.
    #[error(
        "subscriber {} has no bucket {}; {help}",
        quote(subscriber),
        quote(bucket)
    )]
    Bucket {
        /// The subscriber.
        subscriber: String,
        /// The bucket.
        bucket: String,
        /// What it may have meant.
        help: String,
    },
    /// The id was used for something else: the order of that time, and this one.
    #[error("order {} was another one: it said {}, and now it says {}", quote(&.0[0].id), .0[0], .0[1])]
    Conflict(Box<[Order; 2]>),
    /// It is no order.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be written down.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Node {
    /// Follows an order, once.
    ///
    /// # Errors
    /// Why it was not followed.
    pub fn order(&mut self, order: Order) -> Result<Answer, OrderError> {
        order.check()?;
        if let Some((before, answer)) = self.ledger.answered::<Answer>(&order.id)? {
            if before != order {
                return Err(OrderError::Conflict(Box::new([before, order])));
            }
            return Ok(Answer {
                repeated: true,
                ..answer
            });
        }
        let account = self
            .accounts
            .subscribers
            .get(&*order.subscriber)
            .ok_or_else(|| OrderError::Subscriber(order.subscriber.clone()))?;
        // A bucket its plan has not granted yet is none: the grant would come over whatever was ordered before it.
        let named = account
            .buckets
            .iter()
            .position(|bucket| bucket.granted && bucket.name == order.bucket);
        let Some(position) = named else {
            let granted = account.buckets.iter().filter(|bucket| bucket.granted);
            let names = granted.map(|bucket| &*bucket.name);
            return Err(OrderError::Bucket {
                help: suggest(&order.bucket, "buckets", names),
                subscriber: order.subscriber,
                bucket: order.bucket,
            });
        };
        let (number, line, position) = (account.number, account.bucket_line, position as u32);
        let level = Level {
            drawn: self.lines.drawn(line, position),
            granted: self.lines.granted(line, position),
        };
        let cycle = self.cycle_grant(account, &order.bucket);
        let settled = settle(order.action, order.bytes, level, cycle)?;
        let left = Level {
            granted: settled.granted,
            ..level
        }
        .left();
        let entries = entries(&order, &settled.booked, left);
        let time = Timestamp::now();
        let answer = Answer {
            booked: settled
                .booked
                .iter()
                .map(|&(kind, bytes)| Booking { kind, bytes })
                .collect(),
            left,
            time,
            repeated: false,
            order,
        };
        self.ledger.settle(
            &answer.order,
            &answer,
            (number, position, settled.granted),
            &entries,
            time,
        )?;
        if answer.order.action == Action::Restart {
            // What is drawn from now on is of another cycle.
            self.cut_subscriber(&answer.order.subscriber, Cause::Restart);
        }
        self.lines.set_granted(line, position, settled.granted);
        for Booking { kind, bytes } in &answer.booked {
            let Order {
                id,
                subscriber,
                bucket,
                ..
            } = &answer.order;
            info!(id, subscriber, bucket, bytes, left, "{}", kind.as_str());
        }
        Ok(answer)
    }

    /// Records behind a number.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn records(&self, which: Which<'_>) -> Result<Vec<AnyRecord>, LedgerError> {
        self.ledger.all_records(which)
    }

    /// Tells the kernel what orders made of the buckets: what a process that was killed may have left undone.
    pub(super) fn recall_grants(&self) -> Result<(), LedgerError> {
        let granted = self.ledger.granted()?;
        if granted.is_empty() {
            return Ok(());
        }
        for account in self.accounts.subscribers.values() {
            for (position, bytes) in granted.get(&account.number).into_iter().flatten() {
                self.lines
                    .set_granted(account.bucket_line, *position, *bytes);
            }
        }
        Ok(())
    }

    /// What the subscriber's plan grants a bucket each cycle; nothing to who has left.
    fn cycle_grant(&self, account: &Account, bucket: &str) -> u64 {
        let plan = || {
            let session = account.session.as_ref()?;
            let layout = &self.accounts.catalog.layouts[session.row.layout as usize];
            let policy = &self.in_force.as_ref()?.policy;
            let plan = policy.plans.iter().find(|plan| plan.name == layout.plan)?;
            plan.buckets.iter().find(|planned| planned.name == bucket)
        };
        match plan().map(|bucket| &bucket.grant) {
            Some(Grant::Bytes(bytes)) => *bytes,
            Some(Grant::Money(_)) | None => 0,
        }
    }
}

fn entries(order: &Order, booked: &[(Booked, u64)], left: i64) -> Vec<Entry> {
    let entry = |&(kind, bytes): &(Booked, u64)| Entry {
        kind: kind.as_str().to_owned(),
        subscriber: order.subscriber.clone(),
        id: Some(order.id.clone()),
        reason: order.reason.clone(),
        what: What::Bucket {
            bucket: order.bucket.clone(),
            bytes,
            left,
        },
    };
    booked.iter().map(entry).collect()
}
