//! Hours and days of a time zone. A period begins after one moment and ends with another, as records do: one that ends at
//! noon sharp is the last of the hour before noon.
//!
//! Days are those of the calendar, of 23 or 25 hours where clocks are set. Hours are those a clock on the wall shows: where it
//! is set, an hour ends there, so a day is always whole hours.

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a period is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
    clap::ValueEnum,
)]
#[schema(as = RollupSpan)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// An hour of the clock on the wall.
    Hour,
    /// A day of the calendar.
    Day,
}

impl Span {
    /// Both.
    pub(in crate::ledger) const ALL: [Self; 2] = [Self::Hour, Self::Day];

    /// What it is in the tables.
    pub(in crate::ledger) const fn number(self) -> i64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// Some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::ledger) struct Period {
    /// It begins after this,
    pub(in crate::ledger) start: Timestamp,
    /// and ends with this.
    pub(in crate::ledger) end: Timestamp,
}

const NANOSECOND: SignedDuration = SignedDuration::from_nanos(1);
const HOUR: i64 = 3_600;

impl Period {
    /// The one a record that ends at a time belongs to.
    pub(in crate::ledger) fn of(span: Span, end: Timestamp, zone: &TimeZone) -> Self {
        // A moment of it that is neither its first nor outside.
        let inside = end.saturating_sub(NANOSECOND).unwrap_or(end);
        match span {
            Span::Hour => hour(inside, zone),
            Span::Day => day(inside, zone),
        }
    }

    /// Whether a record that ends at a time belongs to it.
    pub(in crate::ledger) fn holds(&self, end: Timestamp) -> bool {
        self.start < end && end <= self.end
    }
}

fn day(inside: Timestamp, zone: &TimeZone) -> Period {
    let now = inside.to_zoned(zone.clone());
    let start = now.start_of_day();
    let next = now.tomorrow().and_then(|next| next.start_of_day());
    Period {
        start: start.map_or(Timestamp::MIN, |start| start.timestamp()),
        end: next.map_or(Timestamp::MAX, |next| next.timestamp()),
    }
}

fn hour(inside: Timestamp, zone: &TimeZone) -> Period {
    let offset = zone.to_offset(inside);
    let local = inside.as_second() + i64::from(offset.seconds());
    // Its second, rounded down: before 1970 seconds are rounded towards it.
    let local = local - i64::from(inside.subsec_nanosecond() < 0);
    let begins = local - local.rem_euclid(HOUR);
    let at = |local: i64| Timestamp::from_second(local - i64::from(offset.seconds()));
    let start = at(begins).unwrap_or(Timestamp::MIN);
    let end = at(begins + HOUR).unwrap_or(Timestamp::MAX);
    Period {
        start: last_change(inside, zone, offset).map_or(start, |change| start.max(change)),
        end: next_change(inside, zone, offset).map_or(end, |change| end.min(change)),
    }
}

/// When the clock came to be as it is.
fn last_change(inside: Timestamp, zone: &TimeZone, offset: Offset) -> Option<Timestamp> {
    let after = inside.saturating_add(NANOSECOND).ok()?;
    let before = |at: Timestamp| at.saturating_sub(NANOSECOND).unwrap_or(at);
    let mut changes = zone.preceding(after).map(|change| change.timestamp());
    changes.find(|at| zone.to_offset(before(*at)) != offset)
}

/// When it is set next.
fn next_change(inside: Timestamp, zone: &TimeZone, offset: Offset) -> Option<Timestamp> {
    // A clock that is never set again says the same, year after year.
    const LOOKED_AT: usize = 2;
    let changes = zone.following(inside).take(LOOKED_AT);
    let mut changes = changes.map(|change| change.timestamp());
    changes.find(|at| zone.to_offset(*at) != offset)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn of(span: Span, name: &str, end: &str) -> (String, String) {
        let period = Period::of(span, end.parse().unwrap(), &zone(name));
        (period.start.to_string(), period.end.to_string())
    }

    #[test]
    fn a_record_belongs_to_the_period_it_ends_in_and_one_that_ends_sharp_to_the_one_before() {
        for (span, name, end, start, until) in [
            // Sharp, and a moment later.
            (
                Span::Hour,
                "UTC",
                "2026-03-01T12:00:00Z",
                "2026-03-01T11:00:00Z",
                "2026-03-01T12:00:00Z",
            ),
            (
                Span::Hour,
                "UTC",
                "2026-03-01T12:00:00.000000001Z",
                "2026-03-01T12:00:00Z",
                "2026-03-01T13:00:00Z",
            ),
            (
                Span::Day,
                "UTC",
                "2026-03-01T00:00:00Z",
                "2026-02-28T00:00:00Z",
                "2026-03-01T00:00:00Z",
            ),
            (
                Span::Day,
                "Asia/Almaty",
                "2026-03-01T19:00:00Z",
                "2026-02-28T19:00:00Z",
                "2026-03-01T19:00:00Z",
            ),
            // A clock that is half an hour beside the others.
            (
                Span::Hour,
                "Asia/Kolkata",
                "2026-03-01T12:10:00Z",
                "2026-03-01T11:30:00Z",
                "2026-03-01T12:30:00Z",
            ),
            // Days of 23 and of 25 hours.
            (
                Span::Day,
                "Europe/Belgrade",
                "2026-03-29T12:00:00Z",
                "2026-03-28T23:00:00Z",
                "2026-03-29T22:00:00Z",
            ),
            (
                Span::Day,
                "Europe/Belgrade",
                "2026-10-25T12:00:00Z",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
            // The hour from two to three is there twice.
            (
                Span::Hour,
                "Europe/Belgrade",
                "2026-10-25T00:30:00Z",
                "2026-10-25T00:00:00Z",
                "2026-10-25T01:00:00Z",
            ),
            (
                Span::Hour,
                "Europe/Belgrade",
                "2026-10-25T01:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T02:00:00Z",
            ),
            // A day that begins at one o'clock.
            (
                Span::Day,
                "Africa/Cairo",
                "2026-04-24T12:00:00Z",
                "2026-04-23T22:00:00Z",
                "2026-04-24T21:00:00Z",
            ),
            // Set by half an hour: from two, to half past two.
            (
                Span::Hour,
                "Australia/Lord_Howe",
                "2026-10-03T15:40:00Z",
                "2026-10-03T15:30:00Z",
                "2026-10-03T16:00:00Z",
            ),
            (
                Span::Hour,
                "Australia/Lord_Howe",
                "2026-10-03T15:20:00Z",
                "2026-10-03T14:30:00Z",
                "2026-10-03T15:30:00Z",
            ),
            // Before 1970, too.
            (
                Span::Hour,
                "UTC",
                "1969-12-31T23:59:59.5Z",
                "1969-12-31T23:00:00Z",
                "1970-01-01T00:00:00Z",
            ),
        ] {
            let expected = (start.to_owned(), until.to_owned());
            assert_eq!(of(span, name, end), expected, "{span:?} of {end} in {name}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_is_in_one_hour_and_one_day_and_days_are_whole_hours(
            second in 1_000_000_000_i64..2_000_000_000,
            nanosecond in 0..1_000_000_000_i32,
            name in prop::sample::select(vec![
                "UTC", "Asia/Almaty", "Europe/Belgrade", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia",
                "America/St_Johns", "Africa/Casablanca",
            ]),
        ) {
            let zone = zone(name);
            let moment = Timestamp::new(second, nanosecond).unwrap();
            let day = Period::of(Span::Day, moment, &zone);
            prop_assert!(day.holds(moment));
            // Hour for hour through the day.
            let mut end = day.start;
            let mut hours = 0;
            while end < day.end {
                let inside = end.saturating_add(NANOSECOND).unwrap();
                let hour = Period::of(Span::Hour, inside, &zone);
                prop_assert_eq!(hour.start, end);
                prop_assert_eq!(Period::of(Span::Hour, hour.end, &zone), hour);
                end = hour.end;
                hours += 1;
            }
            prop_assert_eq!(end, day.end);
            prop_assert!((23..=26).contains(&hours), "{} hours", hours);
            let hour = Period::of(Span::Hour, moment, &zone);
            prop_assert!(hour.holds(moment) && day.start <= hour.start && hour.end <= day.end);
        }
    }
}
