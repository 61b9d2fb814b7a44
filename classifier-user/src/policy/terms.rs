//! What a plan promises beside its chains: how it is settled, who begins its cycles, and what becomes of what ran over.
//! Each is a word of a few in `policy.toml`.

use super::section::At;
use crate::diagnostic::{Diagnostics, quote};

/// How what is used is paid (`settlement`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Settlement {
    /// Before it is used.
    #[default]
    Advance,
    /// By a bill, up to the bucket [`LIMIT`] where the plan has one.
    Credit,
}

/// The bucket that bounds what a plan with `settlement = "credit"` charges `metered`.
pub const LIMIT: &str = "limit";

/// Who begins a cycle (`renew`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Renew {
    /// It begins by itself when the one before is over.
    #[default]
    Auto,
    /// Billing, by an order. Until then what was left of the one before is gone and nothing is granted.
    Billing,
}

/// What becomes of what ran over (`overrun`): the last packets a bucket paid for may have been more than it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overrun {
    /// The next grant pays it.
    #[default]
    Carry,
    /// Nobody pays it; it is recorded when the next grant comes.
    WriteOff,
}

/// One of the words a key may have.
pub(super) trait Word: Copy + Default + PartialEq + 'static {
    /// The key.
    const KEY: &'static str;
    /// Code of the error that another word is.
    const CODE: &'static str;
    /// All words, with what they mean to whoever has to choose.
    const WORDS: &'static [(&'static str, Self, &'static str)];

    /// Reads what a plan says; the default where it says nothing, or nothing known, which is reported.
    fn check(raw: Option<&At<String>>, out: &mut Diagnostics) -> Self {
        let Some(raw) = raw else {
            return Self::default();
        };
        let found = Self::WORDS.iter().find(|(word, ..)| *word == raw.value);
        found.map_or_else(
            || {
                let choices: Vec<_> = Self::WORDS
                    .iter()
                    .map(|(word, _, meaning)| format!("{word:?} ({meaning})"))
                    .collect();
                out.error(
                    raw.place.clone(),
                    Self::CODE,
                    format!("{} is {}", Self::KEY, quote(&raw.value)),
                    format!("write {}", choices.join(" or ")),
                );
                Self::default()
            },
            |(_, value, _)| *value,
        )
    }

    /// The word for it.
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, value, _)| *value == self);
        found.map_or("", |(word, ..)| word)
    }
}

impl Word for Settlement {
    const KEY: &'static str = "settlement";
    const CODE: &'static str = "bad-settlement";
    const WORDS: &'static [(&'static str, Self, &'static str)] = &[
        ("advance", Self::Advance, "paid before it is used"),
        (
            "credit",
            Self::Credit,
            "paid by a bill, up to the bucket limit",
        ),
    ];
}

impl Word for Renew {
    const KEY: &'static str = "renew";
    const CODE: &'static str = "bad-renew";
    const WORDS: &'static [(&'static str, Self, &'static str)] = &[
        ("auto", Self::Auto, "a cycle begins by itself"),
        ("billing", Self::Billing, "an order of billing begins it"),
    ];
}

impl Word for Overrun {
    const KEY: &'static str = "overrun";
    const CODE: &'static str = "bad-overrun";
    const WORDS: &'static [(&'static str, Self, &'static str)] = &[
        ("carry", Self::Carry, "the next grant pays what ran over"),
        ("write-off", Self::WriteOff, "nobody pays it"),
    ];
}
