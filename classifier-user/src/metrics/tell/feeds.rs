//! How lists do that follow a source.

use prometheus_client::registry::Unit::Seconds;

use super::super::family::Number::{self, Level};
use super::super::family::Told;
use super::{flag, labels, seconds};
use crate::agent::feeds::FeedStatus;
use crate::agent::measures::Measures;

pub(super) fn told_of_feeds(told: &mut Told, measures: &Measures) {
    let mut family = |name, unit, help, of: &dyn Fn(&FeedStatus) -> Option<Number>| {
        told.family(name, unit, help);
        for feed in &measures.feeds {
            if let Some(number) = of(feed) {
                told.sample(labels([("set", &feed.set)]), number);
            }
        }
    };
    family(
        "zerorate_feed_stale",
        None,
        "Whether the list of a set is older than it may be",
        &|feed| Some(Level(flag(feed.stale))),
    );
    family(
        "zerorate_feed_refused",
        None,
        "Whether something is wrong with the source of a set's list: the last good list is in force",
        &|feed| Some(Level(flag(feed.error.is_some()))),
    );
    family(
        "zerorate_feed_fresh_timestamp",
        Some(Seconds),
        "Of when the list of a set is, since 1970",
        &|feed| Some(Level(seconds(feed.fresh?))),
    );
}
