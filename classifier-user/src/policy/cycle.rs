//! Cycles: after how long a plan's packages begin anew. They are counted in calendar days or months of the operator's
//! time zone, at the time of day at which the subscriber's own first one began.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Longest cycle in days.
pub const MAX_CYCLE_DAYS: u32 = 3660;

/// Longest cycle in months.
pub const MAX_CYCLE_MONTHS: u32 = 120;

/// A cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cycle {
    /// So many calendar days.
    Days(u32),
    /// So many calendar months; what would be the 31st is the last day of a shorter month.
    Months(u32),
}

impl Cycle {
    /// Reads `14d` or `1mo`, from 1 to [`MAX_CYCLE_DAYS`] or [`MAX_CYCLE_MONTHS`].
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (number, make, most): (_, fn(u32) -> Self, _) =
            match (text.strip_suffix("mo"), text.strip_suffix('d')) {
                (Some(months), _) => (months, Self::Months, MAX_CYCLE_MONTHS),
                (None, Some(days)) => (days, Self::Days, MAX_CYCLE_DAYS),
                (None, None) => return None,
            };
        let digits = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
        let number = number.parse::<u32>().ok().filter(|_| digits)?;
        (number <= most).then(|| make(number))
    }

    /// The first time behind `now` at which one ends that began, or whose forerunners did, at `start`. Each is reckoned
    /// from `start`, so that short months shorten no other.
    #[must_use]
    pub fn end_after(self, start: Timestamp, now: Timestamp, zone: &TimeZone) -> Timestamp {
        let day = 86_400;
        let longest = match self {
            Self::Days(days) => i64::from(days) * day + day,
            Self::Months(months) => i64::from(months) * 31 * day + day,
        };
        let passed = now.as_second().saturating_sub(start.as_second()).max(0);
        let begun = start.to_zoned(zone.clone());
        let mut count = passed / longest + 1;
        loop {
            let span = match self {
                Self::Days(days) => Span::new().try_days(count * i64::from(days)),
                Self::Months(months) => Span::new().try_months(count * i64::from(months)),
            };
            match span.and_then(|span| begun.checked_add(span)) {
                Ok(end) if end.timestamp() > now => return end.timestamp(),
                Ok(_) => count += 1,
                // Behind the end of the calendar.
                Err(_) => return Timestamp::MAX,
            }
        }
    }
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(days) => write!(f, "{days}d"),
            Self::Months(months) => write!(f, "{months}mo"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn forms() {
        for good in ["1d", "14d", "30d", "1mo", "12mo", "3660d", "120mo"] {
            assert_eq!(
                Cycle::parse(good).map(|cycle| cycle.to_string()),
                Some(good.to_owned())
            );
        }
        for bad in [
            "", "d", "mo", "14", "0d", "014d", "-1d", "+1d", "14 d", "2w", "3661d", "121mo", "1m",
        ] {
            assert_eq!(Cycle::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn ends() {
        let zone = TimeZone::get("Asia/Tashkent").unwrap();
        for (cycle, start, now, end) in [
            // 23:30 in Tashkent, a day later there.
            (
                "14d",
                "2026-03-01T18:30:00Z",
                "2026-03-01T18:30:00Z",
                "2026-03-15T18:30:00Z",
            ),
            (
                "14d",
                "2026-03-01T18:30:00Z",
                "2026-03-15T18:29:59.9Z",
                "2026-03-15T18:30:00Z",
            ),
            (
                "14d",
                "2026-03-01T18:30:00Z",
                "2026-03-15T18:30:00Z",
                "2026-03-29T18:30:00Z",
            ),
            (
                "14d",
                "2026-03-01T18:30:00Z",
                "2027-03-01T00:00:00Z",
                "2027-03-14T18:30:00Z",
            ),
            // The clock was set back.
            (
                "14d",
                "2026-03-01T18:30:00Z",
                "2020-01-01T00:00:00Z",
                "2026-03-15T18:30:00Z",
            ),
            (
                "1mo",
                "2026-01-31T07:00:00Z",
                "2026-02-01T00:00:00Z",
                "2026-02-28T07:00:00Z",
            ),
            (
                "1mo",
                "2026-01-31T07:00:00Z",
                "2026-02-28T07:00:00Z",
                "2026-03-31T07:00:00Z",
            ),
        ] {
            let found = Cycle::parse(cycle)
                .unwrap()
                .end_after(time(start), time(now), &zone);
            assert_eq!(found, time(end), "{cycle} from {start} at {now}");
        }
    }

    #[test]
    fn an_hour_more_or_less_in_spring_and_autumn() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let end = Cycle::Days(1).end_after(
            time("2026-03-28T11:00:00Z"),
            time("2026-03-28T11:00:00Z"),
            &zone,
        );
        // Noon there again, after 23 hours.
        assert_eq!(end, time("2026-03-29T10:00:00Z"));
    }

    proptest! {
        #[test]
        fn ends_follow_each_other(days in any::<bool>(), number in 1..60_u32, start in 0..2_000_000_000_i64, later in 0..400_000_000_i64) {
            let cycle = if days { Cycle::Days(number) } else { Cycle::Months(number) };
            let zone = TimeZone::get("Europe/Belgrade").unwrap();
            let start = Timestamp::from_second(start).unwrap();
            let now = Timestamp::from_second(start.as_second() + later).unwrap();
            let end = cycle.end_after(start, now, &zone);
            prop_assert!(end > now);
            // None lies between: the one before it is not behind `now`.
            let mut before = start;
            loop {
                let next = cycle.end_after(start, before, &zone);
                prop_assert!(next > before);
                if next > now {
                    prop_assert_eq!(next, end);
                    break;
                }
                before = next;
            }
        }
    }
}
