//! Policies: a directory with `policy.toml` and its prefix lists, read and checked into a
//! [`Policy`].
//!
//! [`load`] is the only way to get one. It reads (`read`) what is written, then checks
//! (`check`) what it means, and reports everything it finds wrong at once, each with its place
//! and what to do about it.

mod chains;
mod changes;
mod check;
mod cycle;
mod difference;
mod effects;
mod expect;
mod families;
mod findings;
mod guard;
mod hosting;
mod imports;
mod lifetime;
mod list;
mod lookup;
pub mod model;
mod names;
mod nesting;
mod overlap;
mod paid;
mod plans;
mod prefix;
mod reach;
mod read;
mod schema;
mod section;
mod sets;
mod signed;
mod source;
mod space;
mod special;
mod terms;
mod titles;
mod upkeep;
mod version;
mod volume;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

pub use chains::MAX_CHAIN_BUCKETS;
pub use changes::{Change, Changes, PrefixChange, What};
pub use check::MAX_CLASSES;
pub use cycle::{Cycle, MAX_CYCLE_DAYS, MAX_CYCLE_MONTHS};
pub use difference::{ClassWeight, Edit, Edits, PlanWeight, SetEdits, Weights};
pub use effects::{Becomes, Effect, effects};
pub use expect::{CLASS_WARNINGS, PLAN_WARNINGS};
pub use findings::{KINDS, Kind};
pub use guard::{Breach, Guard, Share, TooFar, breaches};
pub use imports::{Declared, Feed};
pub use lifetime::{NotAdmitted, PlanEnd};
pub use model::{
    Bucket, Chain, ChainEnd, Class, Count, Grant, ListFile, ListedPrefix, Place, Plan, Policy,
    PrefixSet, Price, Validity,
};
pub use names::{MAX_NAME, RESERVED_BUCKETS};
pub use paid::{ClassMap, Paid};
pub use plans::{MAX_BUCKETS, MAX_GATE, MAX_PLANS};
pub use prefix::{InvalidPrefix, parse_prefix};
pub use schema::schema;
pub use space::Space;
pub use terms::{LIMIT, Overrun, Renew, Settlement};
pub use titles::Titles;
pub use volume::{
    InvalidPrice, InvalidVolume, MAX_VOLUME, UNITS, parse_price, parse_volume, show_volume,
};

pub(crate) use names::suggest;
pub(crate) use prefix::Range;
pub(crate) use source::{SourceFile, Unreadable};
pub(crate) use special::{Widest, Within, describe, kinds_of};
pub(crate) use version::version_of;

use ipnet::IpNet;
use read::RawPolicy;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::progress::Progress;

/// What a policy is checked against beside itself.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The time at which lists are old and validities are over or to come.
    pub now: Timestamp,
    /// List of address space that many services share, in place of the one the policy names.
    pub hosting: Option<PathBuf>,
    /// What reading and checking counts for.
    pub progress: Progress,
}

impl Terms {
    /// As things are now.
    #[must_use]
    pub fn now() -> Self {
        Terms {
            now: Timestamp::now(),
            hosting: None,
            progress: Progress::default(),
        }
    }
}

/// A policy that can be used, and what someone should look at all the same.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The policy.
    pub policy: Policy,
    /// Warnings, sorted by place.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and checks the policy in `dir`.
///
/// # Errors
/// Everything found wrong, warnings included, sorted by place; at least one of them is an error.
pub fn load(dir: &Path) -> Result<Checked, Diagnostics> {
    load_on(dir, &Terms::now())
}

/// Reads and checks the policy in `dir` on other terms than those of this moment.
///
/// # Errors
/// Everything found wrong, warnings included, sorted by place; at least one of them is an error.
pub fn load_on(dir: &Path, terms: &Terms) -> Result<Checked, Diagnostics> {
    let mut out = Diagnostics::default();
    match load_into(dir, terms, &mut out) {
        Some(policy) => Ok(Checked {
            policy,
            warnings: out.finish()?,
        }),
        None => Err(out.sorted()),
    }
}

fn load_into(dir: &Path, terms: &Terms, out: &mut Diagnostics) -> Option<Policy> {
    let (source, raw) = read_raw(dir, out)?;
    check::check(&raw, &source, dir, terms, out)
}

fn read_raw(dir: &Path, out: &mut Diagnostics) -> Option<(SourceFile, RawPolicy)> {
    let path = dir.join("policy.toml");
    let source = match SourceFile::read(&path) {
        Ok(source) => source,
        Err(error) => {
            let place = Place {
                file: Arc::new(path),
                line: 1,
                column: 1,
            };
            error.report("the policy file", place, out);
            return None;
        }
    };
    let raw = read::read(&source, out)?;
    Some((source, raw))
}

/// The sets of the policy in `dir` whose lists are made by imports. The lists need not be there yet.
///
/// # Errors
/// What is wrong with the form of the policy file.
pub fn declared(dir: &Path) -> Result<Vec<Declared>, Diagnostics> {
    let mut out = Diagnostics::default();
    let Some((_, raw)) = read_raw(dir, &mut out) else {
        return Err(out.sorted());
    };
    imports::check_imports(&raw.sets, &mut out);
    let declared = {
        let keys = signed::Keys::check(&raw.keys, &mut out);
        imports::declared(raw.sets, &keys, &mut out)
    };
    out.finish().map(|_| declared)
}

/// The files the policy in `dir` names, itself first, relative to `dir`; they need not be there.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>, Diagnostics> {
    let mut out = Diagnostics::default();
    let Some((_, raw)) = read_raw(dir, &mut out) else {
        return Err(out.sorted());
    };
    let lists = raw.sets.into_iter().flat_map(|set| {
        let is_signed = signed::is_of_list(&set);
        let list = set.file.map(|file| PathBuf::from(file.value));
        let signature = list.as_deref().map(signed::signature_of);
        [list, signature.filter(|_| is_signed)]
    });
    let lists = lists.flatten();
    // Those outside are refused by the check, which reads none of them.
    let inside = lists.filter(|file| sets::is_inside(file));
    Ok([PathBuf::from("policy.toml")]
        .into_iter()
        .chain(inside)
        .collect())
}

/// The prefixes of a list file; `None` if there is none, or none that can be read.
pub(crate) fn listed_prefixes(path: &Path) -> Option<Vec<IpNet>> {
    let source = SourceFile::read(path).ok()?;
    let mut out = Diagnostics::default();
    let listed = list::read_list(&source, &mut out);
    (out.errors() == 0).then(|| listed.into_iter().map(|prefix| prefix.net).collect())
}
