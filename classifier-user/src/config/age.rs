//! How long something is kept: in days and years, which are the calendar's.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Deserializer, de};

/// How long something is kept.
#[derive(Debug, Clone, Copy)]
pub struct Age(Span);

impl Age {
    /// Days.
    #[must_use]
    pub fn days(days: i32) -> Self {
        Self(Span::new().days(days))
    }

    /// Years.
    #[must_use]
    pub fn years(years: i16) -> Self {
        Self(Span::new().years(years))
    }

    /// What is older than this at a time is from before it; the beginning of time where there is no such time.
    #[must_use]
    pub fn before(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        let then = now.to_zoned(zone.clone()).checked_sub(self.0);
        then.map_or(Timestamp::MIN, |then| then.timestamp())
    }
}

impl PartialEq for Age {
    fn eq(&self, other: &Self) -> bool {
        self.0.fieldwise() == other.0.fieldwise()
    }
}

impl Eq for Age {}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse::<Span>()
            .ok()
            .filter(|span| span.is_positive())
            .map(Self)
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "`{text}` is no time something is kept for: write \"14 days\" or \"2 years\""
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Whole {
        kept: Age,
    }

    #[test]
    fn days_and_years_are_those_of_the_calendar() {
        let read = |text: &str| {
            let whole = toml::from_str::<Whole>(&format!("kept = \"{text}\""));
            whole
                .map(|whole| whole.kept)
                .map_err(|error| error.message().to_owned())
        };
        assert_eq!(read("14 days"), Ok(Age::days(14)));
        assert_eq!(read("2y"), Ok(Age::years(2)));
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let now: Timestamp = "2024-02-29T12:00:00Z".parse().unwrap();
        let before = |text| read(text).unwrap().before(now, &zone).to_string();
        assert_eq!(before("2 years"), "2022-02-28T12:00:00Z");
        // Summer time was in between.
        assert_eq!(before("7 months"), "2023-07-29T11:00:00Z");
        assert_eq!(before("500ms"), "2024-02-29T11:59:59.5Z");
        assert_eq!(before("19000y"), Timestamp::MIN.to_string());
        for wrong in ["", "0d", "-1d", "two years", "14"] {
            let refused = read(wrong).unwrap_err();
            assert!(
                refused.contains("is no time something is kept for"),
                "{refused}"
            );
        }
    }
}
