//! What a reload may not do: shrink or grow a list, or what a plan has free, by more than the policy allows, or put a
//! list in force that came empty or cut short. A question to two policies; whoever loads them asks.

use std::fmt;

use jiff::Timestamp;

use super::model::{ListFile, Policy, PrefixSet};
use super::space::{Flat, NO_SET, Space, thousands};
use crate::diagnostic::quote;

/// Limits of what one reload may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guard {
    /// `max_change`: largest share of the address space that may come or go.
    pub max_change: Option<Share>,
    /// `min_prefixes`: fewest prefixes.
    pub min_prefixes: Option<u32>,
    /// Whether the set says that it may be empty: `expect = ["empty"]`.
    pub may_be_empty: bool,
}

/// A share in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// Largest share that can be written.
    const MOST: u32 = 100_000;

    /// Reads `20%` or `0.5%`, up to `1000%`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
        };
        if !digits(whole, 4) || !digits(part, 2) {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        let part: u32 = format!("{part:0<2}").parse().ok()?;
        Some(Share(whole * 100 + part)).filter(|share| share.0 <= Self::MOST)
    }

    /// Whether `part` is more than this share of `whole`.
    fn is_exceeded(self, part: u128, whole: u128) -> bool {
        part as f64 * 10_000.0 > whole as f64 * f64::from(self.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02}%"),
        }
    }
}

/// Why a reload goes beyond what a policy allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The set or the plan, as messages call it.
    pub subject: String,
    /// What of it goes too far.
    pub what: TooFar,
}

/// What goes too far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TooFar {
    /// More address space comes or goes than `max_change` allows.
    Change {
        /// Whether it comes.
        grows: bool,
        /// Whether it is IPv6.
        v6: bool,
        /// Address space before.
        before: u128,
        /// What comes or goes of it.
        change: u128,
        /// What is allowed.
        limit: Share,
    },
    /// Nothing is left.
    Emptied {
        /// How many prefixes there were.
        before: usize,
    },
    /// Fewer prefixes than `min_prefixes`.
    Few {
        /// How many there were.
        before: usize,
        /// How many there are.
        after: usize,
        /// How many there have to be.
        least: u32,
    },
    /// The last line of the list file ended like the others, and does not.
    CutShort {
        /// The file.
        file: String,
    },
    /// The list file ended in a comment `# end`, and does not.
    NoEnd {
        /// The file.
        file: String,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject)?;
        match &self.what {
            TooFar::Change {
                grows,
                v6,
                before,
                change,
                limit,
            } => {
                let verb = if *grows { "grows" } else { "shrinks" };
                let amount = |addresses: u128| {
                    let mut space = Space::default();
                    space.add(*v6, addresses);
                    space
                };
                let (change, family) = (amount(*change), if *v6 { "IPv6" } else { "IPv4" });
                match *before {
                    0 => write!(f, " {verb} by {change} from no {family} at all")?,
                    before => write!(
                        f,
                        " {verb} by {:.1}%: {change} of {}",
                        percent(change.family(*v6), before),
                        amount(before)
                    )?,
                }
                write!(f, "; max_change is {limit}")
            }
            TooFar::Emptied { before } => write!(
                f,
                " is empty, and had {} prefixes; a set that may be says expect = [\"empty\"]",
                thousands(*before as u128)
            ),
            TooFar::Few {
                before,
                after,
                least,
            } => write!(
                f,
                " has {} prefixes, and had {}; min_prefixes is {least}",
                thousands(*after as u128),
                thousands(*before as u128)
            ),
            TooFar::CutShort { file } => write!(
                f,
                ": {file} looks cut short: its last line has no end, and had one"
            ),
            TooFar::NoEnd { file } => write!(
                f,
                ": {file} looks cut short: its last line is not # end, and was"
            ),
        }
    }
}

fn percent(part: u128, whole: u128) -> f64 {
    100.0 * part as f64 / whole as f64
}

/// Everything in which going from `old` to `new` at `t` goes beyond what `new` allows.
///
/// Sets are compared by name, whenever they are valid; plans by what is free in them at `t`. A set or a plan that is
/// new, or gone, is not compared with anything.
#[must_use]
pub fn breaches(old: &Policy, new: &Policy, t: Timestamp) -> Vec<Breach> {
    let mut found = Vec::new();
    for set in &new.sets {
        if let Some(before) = old.sets.iter().find(|before| before.name == set.name) {
            found.extend(set_breaches(before, set).into_iter().map(|what| Breach {
                subject: format!("set {}", quote(&set.name)),
                what,
            }));
        }
    }
    if let Some(limit) = new.guard.max_change {
        for (plan, delta) in free_space(old, new, t) {
            found.extend(delta.breaches(limit).map(|what| Breach {
                subject: format!("what plan {} has free", quote(&plan)),
                what,
            }));
        }
    }
    found
}

fn set_breaches(old: &PrefixSet, new: &PrefixSet) -> Vec<TooFar> {
    let (before, after) = (old.prefixes.len(), new.prefixes.len());
    let cut = old.list.as_ref().zip(new.list.as_ref());
    let cut = cut.into_iter().flat_map(|(old, new)| cut_short(old, new));
    let emptied =
        (after == 0 && before > 0 && !new.guard.may_be_empty).then_some(TooFar::Emptied { before });
    let few = new.guard.min_prefixes.filter(|least| {
        let least = *least as usize;
        after > 0 && after < least && (before >= least || after < before)
    });
    let few = few.map(|least| TooFar::Few {
        before,
        after,
        least,
    });
    // Most sets of most changes are as they were.
    let same = before == after
        && old
            .prefixes
            .iter()
            .zip(&new.prefixes)
            .all(|(old, new)| old.net == new.net);
    let limit = new
        .guard
        .max_change
        .filter(|_| before > 0 && after > 0 && !same);
    let changed = limit.into_iter().flat_map(|limit| {
        let of = |set: &PrefixSet| Flat::of(set.prefixes.iter().map(|prefix| (&prefix.net, 0)));
        let mut delta = Delta::default();
        of(old).overlay(&of(new), |v6, addresses, a, b| {
            delta.add(v6, addresses, a != NO_SET, b != NO_SET);
        });
        delta.breaches(limit)
    });
    cut.chain(emptied).chain(few).chain(changed).collect()
}

fn cut_short(old: &ListFile, new: &ListFile) -> Option<TooFar> {
    let file = new.path.display().to_string();
    if old.has_end && !new.has_end {
        Some(TooFar::NoEnd { file })
    } else if old.ends_in_newline && !new.ends_in_newline {
        Some(TooFar::CutShort { file })
    } else {
        None
    }
}

/// Address space before a change, and what came and went.
#[derive(Default)]
struct Delta {
    before: Space,
    came: Space,
    went: Space,
}

impl Delta {
    fn add(&mut self, v6: bool, addresses: u128, was: bool, is: bool) {
        if was {
            self.before.add(v6, addresses);
        }
        match (was, is) {
            (false, true) => self.came.add(v6, addresses),
            (true, false) => self.went.add(v6, addresses),
            _ => {}
        }
    }

    fn breaches(self, limit: Share) -> impl Iterator<Item = TooFar> {
        let sides = [(true, self.came), (false, self.went)];
        let each = sides
            .into_iter()
            .flat_map(|side| [false, true].map(|v6| (side, v6)));
        each.filter_map(move |((grows, side), v6)| {
            let (before, change) = (self.before.family(v6), side.family(v6));
            limit.is_exceeded(change, before).then_some(TooFar::Change {
                grows,
                v6,
                before,
                change,
                limit,
            })
        })
    }
}

/// What each plan that both policies have carries free, and how that changes.
fn free_space(old: &Policy, new: &Policy, t: Timestamp) -> Vec<(String, Delta)> {
    let mut plans: Vec<_> = new
        .plans
        .iter()
        .filter_map(|plan| {
            let (_, before) = old.plan(&plan.name)?;
            let free = [(old, before), (new, plan)].map(|(policy, plan)| {
                let of_set = policy.sets.iter().map(|set| plan.is_free(set.class));
                (
                    of_set.collect::<Vec<bool>>(),
                    plan.is_free(policy.default_class),
                )
            });
            Some((plan.name.clone(), free, Delta::default()))
        })
        .collect();
    // Every pair of sets once: how many plans there are does not matter to how many pieces there are.
    let mut pairs = std::collections::HashMap::<(bool, u32, u32), u128>::new();
    Flat::of_policy(old, t).overlay(&Flat::of_policy(new, t), |v6, addresses, a, b| {
        let sum = pairs.entry((v6, a, b)).or_default();
        *sum = sum.saturating_add(addresses);
    });
    for ((v6, a, b), addresses) in pairs {
        for (_, [was, is], delta) in &mut plans {
            let free = |(sets, default): &(Vec<bool>, bool), set: u32| {
                sets.get(set as usize).copied().unwrap_or(*default)
            };
            delta.add(v6, addresses, free(was, a), free(is, b));
        }
    }
    plans
        .into_iter()
        .map(|(name, _, delta)| (name, delta))
        .collect()
}
