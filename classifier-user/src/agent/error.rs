//! What can be in the way of a node.

use super::nat::Translates;
use super::preflight::Unfit;
use crate::accounts::Full;
use crate::datapath::aside_map::MergeError;
use crate::datapath::batches_map::FlushError;
use crate::datapath::links::AttachError;
use crate::datapath::maps::MapsError;
use crate::datapath::object::LoadError;
use crate::diagnostic::Diagnostics;
use crate::history::HistoryError;
use crate::image::TooLarge;
use crate::ledger::LedgerError;
use crate::policy::Breach;
use crate::trust::Untrusted;

/// What a node could not do. Whatever it is, the policy in force stays in force.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The policy or the subscribers' file is wrong.
    #[error(transparent)]
    Input(#[from] Diagnostics),
    /// They do not fit.
    #[error(transparent)]
    Full(#[from] Full),
    /// They do not fit.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// More subscribers than configured.
    #[error(
        "{found} subscribers are listed, `subscribers` under [limits] allows {limit}: raise it, or list fewer"
    )]
    TooMany {
        /// Subscribers in the file.
        found: usize,
        /// What the configuration allows.
        limit: usize,
    },
    /// The policy changes more than it allows itself, and nobody said that it is meant.
    #[error(
        "the new policy changes more than it allows, and is not put in force:\n{}\nrepair it; or, if this is meant, say \
         so with --force --reason TEXT, as in: zerorate policy reload --force --reason TEXT",
        lines(.0)
    )]
    Guarded(Vec<Breach>),
    /// Nobody whom this gateway trusts signed it, or it is older than what is in force.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// This machine cannot do it.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Nobody's traffic would be found.
    #[error(transparent)]
    Translates(#[from] Translates),
    /// The kernel would not.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// The kernel would not.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The kernel would not.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel would not.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The kernel would not.
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// A version cannot be kept, or is not there.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The disk would not.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ledger is an older copy.
    #[error(
        "ledger {ledger} knows image {known}, the pinned counters are counted in by image {counting}: this is an \
         older copy of the ledger; start with the one it was copied from, or give the counters up with `zerorate \
         detach --purge`"
    )]
    Outdated {
        /// The ledger.
        ledger: String,
        /// Serial number of the image in force.
        counting: u32,
        /// Serial number in the ledger.
        known: u32,
    },
    /// What is in force is not what it should be, and has to be mended first.
    #[error(
        "what is in force is behind and cannot be changed before it has been brought up to date: {why}"
    )]
    Behind {
        /// What is in the way.
        why: String,
    },
    /// Pins and ledger do not belong together.
    #[error(
        "the counters pinned in {pins} are not those that ledger {ledger} knows (epoch {counting:016x}, ledger \
         {known}): start with the ledger they belong to, or give them up with `zerorate detach --purge`"
    )]
    Strangers {
        /// The pin directory.
        pins: String,
        /// The ledger.
        ledger: String,
        /// Epoch of the counters.
        counting: u64,
        /// Epoch in the ledger.
        known: String,
    },
}

impl NodeError {
    /// Whether it may be possible later, with nothing else asked for.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unfit(_)
                | Self::Maps(_)
                | Self::Attach(_)
                | Self::Ledger(_)
                | Self::Behind { .. }
                | Self::History(HistoryError::Io { .. } | HistoryError::Moving)
        )
    }
}

fn lines(breaches: &[Breach]) -> String {
    let lines: Vec<String> = breaches.iter().map(|one| format!("  {one}")).collect();
    lines.join("\n")
}
