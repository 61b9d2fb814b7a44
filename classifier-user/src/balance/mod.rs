//! What billing does to buckets: the rules of grants, debits, returns and restarts, without the kernel and without
//! the ledger.
//!
//! A bucket is two numbers that only grow apart: what packets drew, which the kernel counts, and what was granted,
//! which only orders and cycles change. What is left is the difference. An order reads the first and yields the second, so
//! it needs no lock against packets: what they draw while it is worked on comes off what is left afterwards.
//!
//! For every bucket, at any time, to the byte:
//! drawn = granted by plan and orders + written off − debited − returned − expired − left.

pub mod money;
mod order;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use self::money::{Amount, Tariff, Worth};
pub use self::order::{Action, MAX_ORDER_ID, MAX_REASON, MIN_LEFT, Order, Refusal};
use crate::policy::Overrun;

/// A bucket at a moment: what packets drew from it, and what it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Level {
    /// Bytes ever drawn.
    pub drawn: u64,
    /// Bytes ever granted, less what was ever taken back.
    pub granted: u64,
    /// Of a bucket with a price: grains of money that are less than a byte costs, but for what a return left.
    pub rest: i128,
}

impl Level {
    /// What is left; below zero when the last packets ran over.
    #[must_use]
    pub const fn left(self) -> i64 {
        self.granted.wrapping_sub(self.drawn) as i64
    }

    /// What is left as money.
    ///
    /// # Errors
    /// When it is more than can be reckoned with.
    pub fn amount(self, tariff: &Tariff) -> Result<Amount, Refusal> {
        let worth = tariff.worth(self.left(), self.rest)?;
        Ok(worth.amount(tariff.currency())?)
    }
}

/// What the subscriber's plan says of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Bytes it is granted each cycle.
    pub cycle: u64,
    /// What a byte costs, if it is a bucket of money.
    pub tariff: Option<Tariff>,
    /// What becomes of what ran over.
    pub overrun: Overrun,
}

/// What is booked of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// What ran over is nobody's debt.
    WriteOff,
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
            Self::WriteOff => "write_off",
        }
    }

    /// What is left after so many bytes of it.
    #[must_use]
    pub const fn applied(self, left: i64, bytes: u64) -> i64 {
        left.wrapping_add(self.signed(bytes) as i64)
    }

    /// What so many bytes of it do to what was granted.
    const fn signed(self, bytes: u64) -> i128 {
        match self {
            Self::Grant | Self::WriteOff => bytes as i128,
            Self::Debit | Self::Return | Self::Expire => -(bytes as i128),
        }
    }
}

/// One thing that is booked of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Booking {
    /// What.
    pub kind: Booked,
    /// How many bytes.
    pub bytes: u64,
    /// How much money, where it was about money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
}

impl Booking {
    const fn bytes(kind: Booked, bytes: u64) -> Self {
        Self {
            kind,
            bytes,
            amount: None,
        }
    }

    /// From what is left before and after. `taken`: money was, which may be less than a byte costs.
    fn between(before: i64, after: i64, taken: bool, amount: Option<Amount>) -> Self {
        let kind = match after.cmp(&before) {
            Ordering::Less => Booked::Debit,
            Ordering::Equal if taken => Booked::Debit,
            _ => Booked::Grant,
        };
        Self {
            kind,
            bytes: before.abs_diff(after),
            amount,
        }
    }
}

/// What an order comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The bucket from now on; what packets drew is as it was.
    pub level: Level,
    /// What is booked, in this order; nothing of neither bytes nor money.
    pub booked: Vec<Booking>,
}

/// Works an order for one bucket out.
///
/// # Errors
/// Why it cannot be followed.
pub fn settle(order: &Order, level: Level, terms: &Terms) -> Result<Settled, Refusal> {
    let mut booked = Vec::new();
    let mut left = level.left();
    let adds = matches!(order.action, Action::Grant | Action::Set | Action::Restart);
    if adds && left < 0 && terms.overrun == Overrun::WriteOff {
        booked.push(Booking::bytes(Booked::WriteOff, left.unsigned_abs()));
        left = 0;
    }
    let rest = left.max(0).unsigned_abs();
    let mut grains = level.rest;
    match (&order.amount, order.action) {
        (Some(amount), action) => {
            let tariff = priced(terms, amount)?;
            let worth = tariff.worth(left, grains)?;
            let (after, taken, amount) = match action {
                Action::Debit => (worth.plus(&negative(amount))?, true, amount.clone()),
                Action::Set => {
                    let now = worth.amount(tariff.currency())?;
                    let more = amount.units.checked_sub(now.units);
                    let units = more.and_then(i64::checked_abs).unwrap_or(i64::MAX);
                    let (taken, change) = (amount.units < now.units, Amount { units, ..now });
                    (Worth::NOTHING.plus(amount)?, taken, change)
                }
                _ => (worth.plus(amount)?, false, amount.clone()),
            };
            let (bytes, rest) = tariff.buy(after)?;
            booked.push(Booking::between(left, bytes, taken, Some(amount)));
            grains = rest;
        }
        (None, Action::Grant) => booked.push(Booking::bytes(Booked::Grant, order.bytes)),
        (None, Action::Debit) => booked.push(Booking::bytes(Booked::Debit, order.bytes)),
        (None, Action::Set) => {
            let more = i128::from(order.bytes) - i128::from(left);
            let kind = if more < 0 {
                Booked::Debit
            } else {
                Booked::Grant
            };
            // More than 64 bits is more than a bucket holds, and refused below.
            let bytes = u64::try_from(more.unsigned_abs()).unwrap_or(u64::MAX);
            booked.push(Booking::bytes(kind, bytes));
        }
        (None, Action::Return) => match &terms.tariff {
            Some(tariff) if left > 0 => {
                let worth = tariff.worth(left, grains)?;
                let amount = worth.amount(tariff.currency())?;
                grains = worth.plus(&negative(&amount))?.grains();
                booked.push(Booking {
                    kind: Booked::Return,
                    bytes: rest,
                    amount: Some(amount),
                });
            }
            _ => booked.push(Booking::bytes(Booked::Return, rest)),
        },
        (None, Action::Restart) if terms.tariff.is_some() => return Err(Refusal::Money),
        (None, Action::Restart) => {
            booked.push(Booking::bytes(Booked::Expire, rest));
            booked.push(Booking::bytes(Booked::Grant, terms.cycle));
        }
    }
    finish(level, grains, booked)
}

/// What is left of a package whose cycle is over expires; nothing is granted yet.
#[must_use]
pub fn lapse(level: Level) -> Settled {
    let rest = level.left().max(0).unsigned_abs();
    Settled {
        level: Level {
            granted: level.granted.wrapping_sub(rest),
            ..level
        },
        booked: (rest > 0)
            .then_some(Booking::bytes(Booked::Expire, rest))
            .into_iter()
            .collect(),
    }
}

/// What ran over is nobody's debt: of who leaves, no grant will come.
#[must_use]
pub fn forgive(level: Level) -> Settled {
    let over = level.left().min(0).unsigned_abs();
    Settled {
        level: Level {
            granted: level.granted.wrapping_add(over),
            ..level
        },
        booked: (over > 0)
            .then_some(Booking::bytes(Booked::WriteOff, over))
            .into_iter()
            .collect(),
    }
}

/// The price of a bucket changes, or the subscriber's plan: what is left is worth what it was, and buys other bytes.
///
/// # Errors
/// When that is more than a bucket can hold.
pub fn reprice(level: Level, from: &Tariff, to: &Tariff) -> Result<Settled, Refusal> {
    if from.currency() != to.currency() {
        return Err(Refusal::Currency {
            price: to.currency().to_owned(),
            amount: from.currency().to_owned(),
        });
    }
    let left = level.left();
    let (bytes, grains) = to.buy(from.worth(left, level.rest)?)?;
    finish(
        level,
        grains,
        vec![Booking::between(left, bytes, false, None)],
    )
}

/// The bucket after what is booked.
fn finish(level: Level, rest: i128, mut booked: Vec<Booking>) -> Result<Settled, Refusal> {
    booked.retain(|booking| booking.bytes > 0 || booking.amount.is_some());
    let more: i128 = booked
        .iter()
        .map(|booking| booking.kind.signed(booking.bytes))
        .sum();
    let after = i128::from(level.left()) + more;
    if after < MIN_LEFT.into() || after > i64::MAX.into() {
        return Err(Refusal::TooMuch { left: after });
    }
    Ok(Settled {
        level: Level {
            granted: level.granted.wrapping_add(more as u64),
            rest,
            ..level
        },
        booked,
    })
}

/// The price an amount is reckoned with.
fn priced<'a>(terms: &'a Terms, amount: &Amount) -> Result<&'a Tariff, Refusal> {
    let tariff = terms.tariff.as_ref().ok_or(Refusal::NoPrice)?;
    if tariff.currency() == amount.currency {
        Ok(tariff)
    } else {
        Err(Refusal::Currency {
            price: tariff.currency().to_owned(),
            amount: amount.currency.clone(),
        })
    }
}

fn negative(amount: &Amount) -> Amount {
    Amount {
        units: amount.units.saturating_neg(),
        currency: amount.currency.clone(),
    }
}

#[cfg(test)]
mod tests;
