//! Subscribers as a CSV file lists them: who has which plan and which addresses.
//!
//! The header is `id,plan,state,addresses`; addresses are prefixes with spaces between them, an
//! address without a length is a host prefix. No address belongs to two subscribers. As with
//! policies, everything wrong is reported at once, with its place.

mod fields;
mod lifetimes;
mod overlap;
mod schedule;
mod wish;

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, quote};
use crate::policy::{
    Kind, ListedPrefix, Place, Policy, SourceFile, Widest, Within, describe, kinds_of,
    parse_prefix, suggest,
};
use crate::progress::Progress;
use fields::{Field, InvalidLine, split};
use jiff::Timestamp;
pub use schedule::{Planned, Scheduled, Step};
use serde::{Deserialize, Serialize};
pub use wish::{Listed, UnknownPlan, Wish, sorted};

/// The first line of every subscriber file.
pub const HEADER: &str = "id,plan,state,addresses";

/// Longest subscriber id, in bytes.
pub const MAX_ID: usize = 64;

/// One subscriber of the file.
#[derive(Debug, Clone)]
pub struct Subscriber {
    /// The name billing knows it by: 1 to [`MAX_ID`] printable ASCII characters without spaces.
    pub id: Arc<str>,
    /// Index into [`Policy::plans`].
    pub plan: usize,
    /// Whether it has its service.
    pub state: State,
    /// Its prefixes in the order of the file, at least one. One may lie inside another.
    pub prefixes: Vec<ListedPrefix>,
    /// Where its id stands.
    pub place: Place,
}

/// Whether a subscriber has its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SubscriberState)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has.
    Active,
    /// It has not; essential classes stay reachable.
    Suspended,
}

impl State {
    /// The word the file uses.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Suspended => "suspended",
        }
    }
}

/// A subscriber file without errors.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Subscribers in the order of the file.
    pub subscribers: Vec<Subscriber>,
    /// Ids of subscribers whose wish is no more, because their line changed since.
    pub overtaken: Vec<Arc<str>>,
    /// Warnings, sorted by place.
    pub warnings: Vec<Diagnostic>,
}

impl Loaded {
    /// How many are on each plan at a time, by its name.
    #[must_use]
    pub fn by_plan(&self, policy: &Policy, now: Timestamp) -> HashMap<String, usize> {
        let mut on: HashMap<String, usize> = HashMap::new();
        for subscriber in &self.subscribers {
            let plan = &policy.plans[policy.plan_at(subscriber.plan, now)];
            *on.entry(plan.name.clone()).or_default() += 1;
        }
        on
    }
}

/// Reads and checks the subscriber file at `path` against the plans of `policy`.
///
/// # Errors
/// Everything found wrong, warnings included, sorted by place; at least one of them is an error.
pub fn load(path: &Path, policy: &Policy) -> Result<Loaded, Diagnostics> {
    load_at(path, policy, Timestamp::now(), &Progress::default())
}

/// Reads and checks the subscriber file at `path` against the plans of `policy` as they are at a time; its lines are counted
/// for `progress`.
///
/// # Errors
/// Everything found wrong, warnings included, sorted by place; at least one of them is an error.
pub fn load_at(
    path: &Path,
    policy: &Policy,
    now: Timestamp,
    progress: &Progress,
) -> Result<Loaded, Diagnostics> {
    Lines::read_counted(path, policy, progress).finish(policy, &BTreeMap::new(), true, now)
}

/// The lines of a subscriber file, read and not yet held against each other.
#[derive(Debug)]
pub struct Lines {
    subscribers: Vec<Subscriber>,
    out: Diagnostics,
}

impl Lines {
    /// Reads the subscriber file at `path`. What is wrong with it, [`Lines::finish`] says.
    #[must_use]
    pub fn read(path: &Path, policy: &Policy) -> Self {
        Self::read_counted(path, policy, &Progress::default())
    }

    fn read_counted(path: &Path, policy: &Policy, progress: &Progress) -> Self {
        let mut out = Diagnostics::default();
        let subscribers = match SourceFile::read(path) {
            Ok(source) => {
                progress.plan(source.bytes().len() as u64);
                read(&source.counted(progress), policy, &mut out)
            }
            Err(error) => {
                let place = Place {
                    file: Arc::new(path.to_owned()),
                    line: 1,
                    column: 1,
                };
                error.report("the subscriber file", place, &mut out);
                Vec::new()
            }
        };
        Self { subscribers, out }
    }

    /// Lays what was asked for subscribers otherwise over the lines, and checks them all against the plans of the policy
    /// they were read with, as they are at `now`. A wish the policy cannot fulfil, and a plan that is to begin, are errors
    /// where that is `strict`; otherwise warnings, and the line holds.
    ///
    /// # Errors
    /// Everything found wrong, warnings included, sorted by place; at least one of them is an error.
    pub fn finish(
        self,
        policy: &Policy,
        wishes: &BTreeMap<Arc<str>, Wish>,
        strict: bool,
        now: Timestamp,
    ) -> Result<Loaded, Diagnostics> {
        let Self {
            mut subscribers,
            mut out,
        } = self;
        let overtaken = wish::lay_over(&mut subscribers, wishes, policy, (strict, now), &mut out);
        lifetimes::check(&subscribers, policy, strict, now, &mut out);
        overlap::check(&subscribers, &mut out);
        Ok(Loaded {
            subscribers,
            overtaken,
            warnings: out.finish()?,
        })
    }
}

/// Reads the lines; those with errors are left out, but their ids and good prefixes are compared
/// with the others'.
fn read(source: &SourceFile, policy: &Policy, out: &mut Diagnostics) -> Vec<Subscriber> {
    let mut lines = source.lines();
    let header = lines.next().map(|line| line.text.trim_end());
    if header != Some(HEADER) {
        out.error(
            source.at(1, 1),
            "bad-header",
            format!(
                "the first line is {}, not the header",
                quote(header.unwrap_or_default())
            ),
            format!("begin the file with {HEADER}"),
        );
        return Vec::new();
    }
    let mut reader = Reader {
        source,
        plans: policy
            .plans
            .iter()
            .map(|plan| plan.name.as_str())
            .zip(0..)
            .collect(),
        ids: HashMap::with_capacity(source.line_count()),
        out,
    };
    lines
        .filter(|line| !line.text.trim().is_empty())
        .filter_map(|line| reader.line(line.number, line.text))
        .collect()
}

/// What an id is made of.
pub const ID_HELP: &str = "an id has 1 to 64 printable ASCII characters and no spaces";
const _: () = assert!(MAX_ID == 64);

/// What is wrong with an id, if anything is.
#[must_use]
pub fn wrong_id(id: &str) -> Option<String> {
    if id.is_empty() {
        return Some("the id is empty".to_owned());
    }
    if id.len() > MAX_ID {
        let id = quote(id);
        return Some(format!("the id {id} is longer than {MAX_ID} characters"));
    }
    id.chars()
        .find(|c| !c.is_ascii_graphic())
        .map(|c| format!("the id {} has the character {c:?}", quote(id)))
}

struct Reader<'a> {
    source: &'a SourceFile,
    plans: HashMap<&'a str, usize>,
    /// Line and column of every id seen.
    ids: HashMap<Cow<'a, str>, (u32, u32)>,
    out: &'a mut Diagnostics,
}

impl<'a> Reader<'a> {
    fn line(&mut self, number: u32, text: &'a str) -> Option<Subscriber> {
        let fields = match split(text) {
            Ok(fields) => fields,
            Err(InvalidLine { column, problem }) => {
                let place = self.source.at(number, column);
                self.out
                    .error(place, problem.code(), problem.to_string(), problem.help());
                return None;
            }
        };
        let [id, plan, state, addresses] = fields;
        let place = self.source.at(number, id.column);
        // Errors are in `out`; the values put in their place are never seen by anyone.
        let subscriber = Subscriber {
            id: id.text.as_ref().into(),
            plan: self.plan(&plan, number).unwrap_or(0),
            state: self.state(&state, number).unwrap_or(State::Active),
            prefixes: self.prefixes(&addresses, number),
            place,
        };
        self.check_id(id.text, &subscriber.place);
        Some(subscriber)
    }

    fn check_id(&mut self, id: Cow<'a, str>, place: &Place) {
        if let Some(message) = wrong_id(&id) {
            self.out.error(place.clone(), "bad-id", message, ID_HELP);
            return;
        }
        match self.ids.entry(id) {
            Entry::Vacant(first) => {
                first.insert((place.line, place.column));
            }
            Entry::Occupied(seen) => {
                let &(line, column) = seen.get();
                let first = self.source.at(line, column);
                self.out.error(
                    place.clone(),
                    "duplicate-id",
                    format!("subscriber {} is already at {first}", quote(seen.key())),
                    "write one line for each subscriber, with all its addresses",
                );
            }
        }
    }

    fn plan(&mut self, field: &Field<'_>, line: u32) -> Option<usize> {
        let index = self.plans.get(field.text.as_ref()).copied();
        if index.is_none() {
            let mut known: Vec<&str> = self.plans.keys().copied().collect();
            known.sort_unstable();
            self.out.error(
                self.source.at(line, field.column),
                "unknown-plan",
                format!("the policy has no plan {}", quote(&field.text)),
                suggest(&field.text, "plans", known),
            );
        }
        index
    }

    fn state(&mut self, field: &Field<'_>, line: u32) -> Option<State> {
        match field.text.as_ref() {
            "active" => Some(State::Active),
            "suspended" => Some(State::Suspended),
            other => {
                self.out.error(
                    self.source.at(line, field.column),
                    "bad-state",
                    format!("{} is not a state", quote(other)),
                    suggest(other, "states", ["active", "suspended"]),
                );
                None
            }
        }
    }

    fn prefixes(&mut self, field: &Field<'_>, line: u32) -> Vec<ListedPrefix> {
        let mut prefixes = Vec::new();
        let mut any = false;
        for (offset, word) in words(&field.text) {
            any = true;
            let characters = field.text[..offset].chars().count() as u32;
            let place = self.source.at(line, field.column + characters);
            match parse_prefix(word) {
                Ok(net) => {
                    let prefix = ListedPrefix { net, place };
                    self.warn_of_odd(&prefix);
                    prefixes.push(prefix);
                }
                Err(error) => self
                    .out
                    .error(place, error.code(), error.to_string(), error.help()),
            }
        }
        if !any {
            self.out.error(
                self.source.at(line, field.column),
                "no-address",
                "the subscriber has no address",
                "list its prefixes with spaces between them, or remove the line",
            );
        }
        prefixes
    }

    /// Subscribers have private and shared addresses as a matter of course; other special space
    /// they cannot have.
    fn warn_of_odd(&mut self, prefix: &ListedPrefix) {
        let odd = kinds_of(&prefix.net, Widest::default()).find(|(kind, within)| {
            let ordinary = matches!(kind, Kind::Private | Kind::Shared | Kind::Documentation);
            !ordinary && *within == Within::Whole
        });
        if let Some((kind, within)) = odd {
            self.out.warn(
                prefix.place.clone(),
                kind.name(),
                describe(&prefix.net, kind, within),
                "check whether these are the subscriber's own addresses",
            );
        }
    }
}

/// Words with spaces between them, and their offsets.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let offset = move |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(move |word| (offset(word), word))
}
