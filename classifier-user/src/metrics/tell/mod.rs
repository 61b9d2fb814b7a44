//! Which metrics there are, and what each says. docs/metrics.md lists them for whoever asks questions.

mod feeds;
mod state;
mod traffic;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::family::{Labels, Told};
use crate::agent::measures::{Measures, Sums};

/// What was read for a scrape.
pub(in crate::metrics) struct Read<'a> {
    pub(in crate::metrics) sums: &'a Sums,
    pub(in crate::metrics) measures: &'a Measures,
    /// Records since the agent started, by kind.
    pub(in crate::metrics) records: &'a BTreeMap<String, u64>,
    pub(in crate::metrics) last_record: u64,
    pub(in crate::metrics) ledger_is_read: bool,
    pub(in crate::metrics) started: Timestamp,
    /// How long reading took.
    pub(in crate::metrics) took: Duration,
}

fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> Labels {
    labels.map(|(name, value)| (name, value.to_owned())).into()
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Seconds since 1970.
fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

/// Seconds since a time; none where there is no time, or it is ahead.
fn age(since: Option<Timestamp>) -> f64 {
    since.map_or(0.0, |since| {
        Timestamp::now()
            .duration_since(since)
            .as_secs_f64()
            .max(0.0)
    })
}

/// All metrics but for histograms.
pub(in crate::metrics) fn tell(read: &Read<'_>) -> Told {
    let mut told = Told::default();
    traffic::told_of_usage(&mut told, read);
    traffic::told_of_interfaces(&mut told, read.measures);
    state::told_of_node(&mut told, read);
    state::told_of_ledger(&mut told, read);
    state::told_of_sinks(&mut told, read.measures);
    feeds::told_of_feeds(&mut told, read.measures);
    told
}
