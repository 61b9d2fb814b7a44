//! Orders of billing: what is to be done to a bucket, and what is no order.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::money::{Amount, InvalidAmount};

/// Longest id of an order, in bytes.
pub const MAX_ORDER_ID: usize = 128;
/// Longest reason, in bytes.
pub const MAX_REASON: usize = 512;
/// Fewest bytes an order may leave in a bucket. The most is what a plan may grant, 2^63 - 1.
pub const MIN_LEFT: i64 = -(1 << 62);

/// What an order does to a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Adds bytes, or money.
    Grant,
    /// Takes bytes, or money: a fee. What is left may go below zero.
    Debit,
    /// Gives back what is left.
    Return,
    /// Makes it so that so much is left.
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

    /// Whether it says how much.
    #[must_use]
    pub const fn says_how_much(self) -> bool {
        matches!(self, Self::Grant | Self::Debit | Self::Set)
    }
}

/// An order of billing for one bucket of one subscriber, or, to restart them, all packages of its plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Order {
    /// The caller's id: an order counts once, however often it is sent.
    pub id: String,
    /// The subscriber.
    pub subscriber: String,
    /// The bucket's name; nothing: all packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// What to do.
    pub action: Action,
    /// How many bytes; 0 where the action does not say, or says money.
    #[serde(default)]
    pub bytes: u64,
    /// How much money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action.as_str(), self.subscriber)?;
        if let Some(bucket) = &self.bucket {
            write!(f, " {bucket}")?;
        }
        match &self.amount {
            Some(amount) => write!(f, " {amount}")?,
            None if self.action.says_how_much() => write!(f, " {} bytes", self.bytes)?,
            None => {}
        }
        match &self.reason {
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
    /// A quantity where there is none to say.
    #[error("`{}` does not say how much", .0.as_str())]
    NoQuantity(Action),
    /// No quantity, or two, or one below zero.
    #[error("`{}` says how many bytes, at least 1, or how much money, above zero, and not both", .0.as_str())]
    Quantity(Action),
    /// Only a restart is of all packages.
    #[error("`{}` is for one bucket: name it", .0.as_str())]
    NoBucket(Action),
    /// More, or less, than a bucket holds.
    #[error(
        "the bucket would have {left} bytes left; it can have {MIN_LEFT} to {}",
        i64::MAX
    )]
    TooMuch {
        /// What would be left.
        left: i128,
    },
    /// Money for a bucket without a price.
    #[error("the subscriber's plan has no price for the bucket: say how many bytes")]
    NoPrice,
    /// Money of another country.
    #[error("the bucket's price is in {price}, and the amount in {amount}")]
    Currency {
        /// Currency of the price.
        price: String,
        /// Currency of the amount.
        amount: String,
    },
    /// More money than can be reckoned with.
    #[error("the amount cannot be reckoned with: {0}")]
    Amount(#[from] InvalidAmount),
    /// A bucket of money is no package.
    #[error("a bucket with a price has no cycles: only packages are restarted")]
    Money,
    /// Neither is one that the plan does not grant.
    #[error("the subscriber's plan grants no such package: only its packages are restarted")]
    NotAPackage,
    /// Nothing to restart.
    #[error("the subscriber's plan has no package to restart")]
    NoPackage,
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
        if self.bucket.is_none() && self.action != Action::Restart {
            return Err(Refusal::NoBucket(self.action));
        }
        // To nothing a bucket can be set.
        let least = i64::from(self.action != Action::Set);
        match (self.action.says_how_much(), &self.amount, self.bytes) {
            (true, None, 0) if least > 0 => Err(Refusal::Quantity(self.action)),
            (true, Some(_), 1..) => Err(Refusal::Quantity(self.action)),
            (true, Some(amount), 0) if amount.units < least => Err(Refusal::Quantity(self.action)),
            (false, None, 0) | (true, ..) => Ok(()),
            (false, ..) => Err(Refusal::NoQuantity(self.action)),
        }
    }
}
