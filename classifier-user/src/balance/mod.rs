//! What billing does to buckets: the rules of grants, debits, returns and restarts, without the kernel and without
//! the ledger.
//!
//! A bucket is two numbers that only grow apart: what packets drew, which the kernel counts, and what was granted,
//! which only orders change. What is left is the difference. An order reads the first and yields the second, so it needs
//! no lock against packets: what they draw while it is worked on comes off what is left afterwards.
//!
//! For every bucket, at any time, to the byte:
//! drawn = granted by plan and orders − debited − returned − expired − left.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest id of an order, in bytes.
pub const MAX_ORDER_ID: usize = 128;
/// Longest reason, in bytes.
pub const MAX_REASON: usize = 512;
/// Fewest bytes an order may leave in a bucket. The most is what a plan may grant, 2^63 - 1.
pub const MIN_LEFT: i64 = -(1 << 62);

/// What an order does to a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Adds bytes.
    Grant,
    /// Takes bytes: a fee. What is left may go below zero.
    Debit,
    /// Gives back what is left.
    Return,
    /// Makes it so that so many bytes are left.
    Set,
    /// Begins a new cycle: what is left expires, and the plan grants anew.
    Restart,
}

impl Action {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Debit => "debit",
            Self::Return => "return",
            Self::Set => "set",
            Self::Restart => "restart",
        }
    }

    /// Whether it says how many bytes.
    #[must_use]
    pub const fn takes_bytes(self) -> bool {
        matches!(self, Self::Grant | Self::Debit | Self::Set)
    }
}

/// An order of billing for one bucket of one subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The caller's id: an order counts once, however often it is sent.
    pub id: String,
    /// The subscriber.
    pub subscriber: String,
    /// The bucket's name.
    pub bucket: String,
    /// What to do.
    pub action: Action,
    /// How many bytes; 0 where the action does not say.
    #[serde(default)]
    pub bytes: u64,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            action,
            subscriber,
            bucket,
            bytes,
            reason,
            ..
        } = self;
        write!(f, "{} {subscriber} {bucket}", action.as_str())?;
        if action.takes_bytes() {
            write!(f, " {bytes} bytes")?;
        }
        match reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// An order that cannot be followed. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its id is none.
    #[error("an order's id has 1 to {MAX_ORDER_ID} printable ASCII characters, and no spaces")]
    Id,
    /// Its reason is too long.
    #[error("a reason has at most {MAX_REASON} bytes")]
    Reason,
    /// Bytes where there are none to say.
    #[error("`{}` says no number of bytes", .0.as_str())]
    NoBytes(Action),
    /// No bytes.
    #[error("`{}` says how many bytes, at least 1", .0.as_str())]
    Bytes(Action),
    /// More, or less, than a bucket holds.
    #[error(
        "the bucket would have {left} bytes left; it can have {MIN_LEFT} to {}",
        i64::MAX
    )]
    TooMuch {
        /// What would be left.
        left: i128,
    },
}

impl Order {
    /// Sees whether it can be an order.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Refusal> {
        let printable = self.id.bytes().all(|byte| byte.is_ascii_graphic());
        if self.id.is_empty() || self.id.len() > MAX_ORDER_ID || !printable {
            return Err(Refusal::Id);
        }
        if self
            .reason
            .as_ref()
            .is_some_and(|reason| reason.len() > MAX_REASON)
        {
            return Err(Refusal::Reason);
        }
        match (self.action, self.bytes) {
            (Action::Grant | Action::Debit, 0) => Err(Refusal::Bytes(self.action)),
            (Action::Return | Action::Restart, 1..) => Err(Refusal::NoBytes(self.action)),
            _ => Ok(()),
        }
    }
}

/// A bucket at a moment: what packets drew from it, and what it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Bytes ever drawn.
    pub drawn: u64,
    /// Bytes ever granted, less what was ever taken back.
    pub granted: u64,
}

impl Level {
    /// What is left; below zero when the last packets ran over.
    #[must_use]
    pub const fn left(self) -> i64 {
        self.granted.wrapping_sub(self.drawn) as i64
    }
}

/// What is booked of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Booked {
    /// It was given bytes.
    Grant,
    /// Bytes were taken.
    Debit,
    /// What was left was given back.
    Return,
    /// What was left is lost.
    Expire,
}

impl Booked {
    /// The `kind` of its record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Debit => "debit",
            Self::Return => "return",
            Self::Expire => "expire",
        }
    }

    /// What so many bytes of it do to what was granted.
    const fn signed(self, bytes: u64) -> i128 {
        match self {
            Self::Grant => bytes as i128,
            Self::Debit | Self::Return | Self::Expire => -(bytes as i128),
        }
    }
}

/// What an order comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// What the bucket was ever granted, from now on.
    pub granted: u64,
    /// What is booked, in this order; nothing twice and nothing of 0 bytes.
    pub booked: Vec<(Booked, u64)>,
}

/// Works an order out. `cycle` is what the plan grants each cycle.
///
/// # Errors
/// When more would be left than a bucket can hold, or less.
pub fn settle(action: Action, bytes: u64, level: Level, cycle: u64) -> Result<Settled, Refusal> {
    let left = level.left();
    let rest = left.max(0).unsigned_abs();
    let booked = match action {
        Action::Grant => vec![(Booked::Grant, bytes)],
        Action::Debit => vec![(Booked::Debit, bytes)],
        Action::Return => vec![(Booked::Return, rest)],
        Action::Set => {
            let more = i128::from(bytes) - i128::from(left);
            let kind = if more < 0 {
                Booked::Debit
            } else {
                Booked::Grant
            };
            // More than 64 bits is more than a bucket holds, and refused below.
            vec![(kind, u64::try_from(more.unsigned_abs()).unwrap_or(u64::MAX))]
        }
        // What ran over is paid by the new cycle.
        Action::Restart => vec![(Booked::Expire, rest), (Booked::Grant, cycle)],
    };
    let booked: Vec<_> = booked.into_iter().filter(|(_, bytes)| *bytes > 0).collect();
    let more: i128 = booked.iter().map(|(kind, bytes)| kind.signed(*bytes)).sum();
    let after = i128::from(left) + more;
    if after < MIN_LEFT.into() || after > i64::MAX.into() {
        return Err(Refusal::TooMuch { left: after });
    }
    Ok(Settled {
        granted: level.granted.wrapping_add(more as u64),
        booked,
    })
}

#[cfg(test)]
mod tests;
