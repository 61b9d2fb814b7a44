//! A policy after reading and checking: what everything else (compile, explain, diff, replay) works
//! with. It can only be made by [`super::load`], so whoever holds one holds a policy that was found
//! free of errors.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use super::cycle::Cycle;
use super::expect::PlanPlace;
use super::guard::Guard;
use super::lifetime::PlanEnd;
use super::terms::{Overrun, Renew, Settlement};
use super::titles::{Named, Titles};
use super::volume::UNITS;

/// A checked policy. Classes and plans are sorted by name; indices below are indices into these
/// lists.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `name` of the policy file.
    pub name: String,
    /// What people are told it is called.
    pub titles: Titles,
    /// `basis`: the text the policy rests on.
    pub basis: Option<String>,
    /// Index of the class of every address no set names.
    pub default_class: usize,
    /// Service classes, sorted by name.
    pub classes: Vec<Class>,
    /// Prefix sets, in the order of the file.
    pub sets: Vec<PrefixSet>,
    /// Tariff plans, sorted by name.
    pub plans: Vec<Plan>,
    /// What a reload may not do to the free space of each plan.
    pub guard: Guard,
    /// What people are told buckets are called, by name.
    pub(super) bucket_titles: BTreeMap<String, Titles>,
    /// Everything that has a title, or could have.
    pub(super) named: Vec<Named>,
    /// Where plans stand, for what can only be said of them beside subscribers.
    pub(super) plan_places: Vec<PlanPlace>,
    /// First 16 hex digits of the SHA-256 over the policy file and its lists, in the order they are
    /// named, each preceded by its length in eight bytes.
    pub version: String,
    /// Files the policy was read from: `policy.toml` first.
    pub files: Vec<Arc<PathBuf>>,
    /// Files that were read and change nothing in what the policy says: they are not in its version.
    pub beside: Vec<Arc<PathBuf>>,
}

/// A service class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// What people are told it is called.
    pub titles: Titles,
    /// The number billing knows it by.
    pub rating_group: u32,
    /// Whether it stays reachable for a suspended subscriber.
    pub essential: bool,
}

/// A named, sourced list of prefixes of one class.
#[derive(Debug, Clone)]
pub struct PrefixSet {
    /// Its name.
    pub name: String,
    /// What people are told it is called.
    pub titles: Titles,
    /// Index of its class.
    pub class: usize,
    /// Where the list comes from.
    pub source: Option<String>,
    /// When it exists.
    pub validity: Validity,
    /// Its prefixes, in the order they were read.
    pub prefixes: Vec<ListedPrefix>,
    /// Whether the agent makes its list of a feed.
    pub is_fed: bool,
    /// Its list file, if it has one.
    pub list: Option<ListFile>,
    /// What a reload may not do to it.
    pub guard: Guard,
}

/// What is remembered of a list file, so that one that was cut short is known when it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFile {
    /// The file.
    pub path: Arc<PathBuf>,
    /// Whether its last line ends like the others, or there is none.
    pub ends_in_newline: bool,
    /// Whether its last line is a comment `# end`.
    pub has_end: bool,
}

/// One prefix and where it was read.
#[derive(Debug, Clone)]
pub struct ListedPrefix {
    /// The prefix, host bits zero.
    pub net: IpNet,
    /// Where it stands.
    pub place: Place,
}

/// A place in a file: `file:line:column`, both counted from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: Arc<PathBuf>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// `valid_from` ≤ t < `valid_until`; a missing bound is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validity {
    /// First instant at which the set or plan exists.
    pub from: Option<Timestamp>,
    /// First instant at which it no longer does.
    pub until: Option<Timestamp>,
}

impl Validity {
    /// Whether the set or plan exists at `t`.
    pub fn contains(&self, t: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= t) && self.until.is_none_or(|until| t < until)
    }

    /// Whether this one exists whenever `other` does.
    pub fn covers(&self, other: &Validity) -> bool {
        let begun = self
            .from
            .is_none_or(|from| other.from.is_some_and(|other| from <= other));
        let goes_on = self
            .until
            .is_none_or(|until| other.until.is_some_and(|other| other <= until));
        begun && goes_on
    }

    /// Whether there is an instant at which both exist.
    pub fn overlaps(&self, other: &Validity) -> bool {
        fn starts_before_end(a: &Validity, b: &Validity) -> bool {
            match (a.from, b.until) {
                (Some(from), Some(until)) => from < until,
                _ => true,
            }
        }
        starts_before_end(self, other) && starts_before_end(other, self)
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.until) {
            (None, None) => f.write_str("always"),
            (Some(from), None) => write!(f, "from {from}"),
            (None, Some(until)) => write!(f, "until {until}"),
            (Some(from), Some(until)) => write!(f, "from {from} until {until}"),
        }
    }
}

/// A tariff plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// What people are told it is called.
    pub titles: Titles,
    /// First instant at which somebody may be on it.
    pub valid_from: Option<Timestamp>,
    /// When it ends, and what comes after it, if it does.
    pub end: Option<PlanEnd>,
    /// Whether nobody is newly put on it.
    pub closed: bool,
    /// Which directions draw buckets down.
    pub count: Count,
    /// After how long buckets that it grants volumes begin anew.
    pub cycle: Option<Cycle>,
    /// Who begins a cycle.
    pub renew: Renew,
    /// How it is settled.
    pub settlement: Settlement,
    /// What becomes of what ran over.
    pub overrun: Overrun,
    /// Whether suspension is ignored (`suspension = "ignore"`).
    pub suspension_ignored: bool,
    /// Buckets in the order of the file, at most eight.
    pub buckets: Vec<Bucket>,
    /// Gate: indices into `buckets`, at most four; empty means no gate.
    pub gate: Vec<usize>,
    /// Where the plan is settled by credit and has it: index of the bucket [`super::LIMIT`], which bounds what is `metered`.
    pub limit: Option<usize>,
    /// The charge chain of each class, indexed like [`Policy::classes`]; `"*"` is already resolved.
    pub chains: Vec<Chain>,
}

impl Plan {
    /// Whether the class of this number is free, whatever is in the buckets.
    #[must_use]
    pub fn is_free(&self, class: usize) -> bool {
        let chain = self.chains.get(class);
        chain.is_some_and(|chain| chain.buckets.is_empty() && chain.end == ChainEnd::Free)
    }

    /// The bucket that must hold something for a chain's end to be charged, beyond which it drops.
    #[must_use]
    pub fn limit_of(&self, chain: &Chain) -> Option<usize> {
        self.limit.filter(|_| chain.end == ChainEnd::Metered)
    }
}

/// Which directions draw buckets down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Count {
    /// Up and down (the default).
    #[default]
    Both,
    /// Only what the subscriber receives.
    Down,
    /// Only what the subscriber sends.
    Up,
}

impl Count {
    /// The word the policy file uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Count::Both => "both",
            Count::Down => "down",
            Count::Up => "up",
        }
    }
}

/// A byte allowance a plan names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// What it holds at first.
    pub grant: Grant,
}

/// What a bucket is filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// So many bytes, each cycle.
    Bytes(u64),
    /// Money, turned into bytes by `price`; only billing fills it.
    Money(Price),
}

/// A price for volume, as in `"630 UZS/MB"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Decimal amount as written, e.g. `630` or `0.015`.
    pub amount: String,
    /// Currency, three letters.
    pub currency: String,
    /// Bytes the amount buys: 10^6 for MB, 2^20 for MiB.
    pub per_bytes: u64,
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, bytes)| *bytes == self.per_bytes);
        let unit = unit.map_or("?", |(name, _)| name);
        write!(f, "{} {}/{unit}", self.amount, self.currency)
    }
}

/// A charge chain: at most four buckets, then an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Indices into [`Plan::buckets`], tried in turn.
    pub buckets: Vec<usize>,
    /// What happens when none of them holds anything.
    pub end: ChainEnd,
}

/// How a charge chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainEnd {
    /// Nobody pays.
    Free,
    /// The subscriber pays by volume.
    Metered,
    /// The packet is dropped.
    Drop,
}

impl ChainEnd {
    /// The word the policy file uses.
    pub fn as_str(self) -> &'static str {
        match self {
            ChainEnd::Free => "free",
            ChainEnd::Metered => "metered",
            ChainEnd::Drop => "drop",
        }
    }
}

impl Chain {
    /// The chain in the policy file's words; `plan` is the plan it belongs to.
    pub fn words<'a>(&self, plan: &'a Plan) -> Vec<&'a str> {
        self.buckets
            .iter()
            .map(|&bucket| plan.buckets[bucket].name.as_str())
            .chain([self.end.as_str()])
            .collect()
    }
}
