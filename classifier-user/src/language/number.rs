//! Numbers, volumes, amounts, dates and durations as the speakers of a language write them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Language;

/// Keeps what belongs together on one line.
const NO_BREAK: char = '\u{a0}';

impl Language {
    /// Between groups of three digits, and before decimals.
    fn marks(self) -> (char, char) {
        match self {
            Self::En => (',', '.'),
            Self::Kk | Self::Ru | Self::Uz | Self::Sq => (NO_BREAK, ','),
        }
    }

    /// A decimal number, written with digits, a point and perhaps a sign, as people write it.
    #[must_use]
    pub fn decimal(self, plain: &str) -> String {
        let (group, point) = self.marks();
        let (sign, digits) = match plain.strip_prefix('-') {
            // U+2212, the minus sign.
            Some(digits) => ("\u{2212}", digits),
            None => ("", plain),
        };
        let (whole, rest) = match digits.split_once('.') {
            Some((whole, rest)) => (whole, Some(rest)),
            None => (digits, None),
        };
        let mut out = String::from(sign);
        let count = whole.chars().count();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (count - index) % 3 == 0 {
                out.push(group);
            }
            out.push(digit);
        }
        if let Some(rest) = rest {
            out.push(point);
            out.push_str(rest);
        }
        out
    }

    /// A whole number.
    #[must_use]
    pub fn whole(self, number: u64) -> String {
        self.decimal(&number.to_string())
    }

    /// A volume that a policy grants, in the largest unit it is a whole number of.
    #[must_use]
    pub fn volume(self, bytes: u64) -> String {
        const LARGEST_FIRST: [(u64, usize); 6] = [
            (1_000_000_000, 3),
            (1 << 30, 6),
            (1_000_000, 2),
            (1 << 20, 5),
            (1_000, 1),
            (1 << 10, 4),
        ];
        let units = self.units();
        let found = LARGEST_FIRST
            .iter()
            .find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
        let (number, unit) = match found {
            Some((size, unit)) => (bytes / size, units[*unit]),
            None => (bytes, units[0]),
        };
        format!("{}{NO_BREAK}{unit}", self.whole(number))
    }

    /// A unit of volume by its size in bytes.
    #[must_use]
    pub fn unit(self, bytes: u64) -> &'static str {
        let units = self.units();
        match bytes {
            1_000 => units[1],
            1_000_000 => units[2],
            1_000_000_000 => units[3],
            0x400 => units[4],
            0x10_0000 => units[5],
            0x4000_0000 => units[6],
            _ => units[0],
        }
    }

    /// B, kB, MB, GB, KiB, MiB, GiB.
    fn units(self) -> [&'static str; 7] {
        match self {
            Self::Kk | Self::Ru => ["Б", "кБ", "МБ", "ГБ", "КиБ", "МиБ", "ГиБ"],
            Self::Uz | Self::Sq | Self::En => ["B", "kB", "MB", "GB", "KiB", "MiB", "GiB"],
        }
    }

    /// An instant's day in a time zone.
    #[must_use]
    pub fn date(self, time: Timestamp, zone: &TimeZone) -> String {
        let format = match self {
            Self::En => "%-d %b %Y",
            Self::Kk | Self::Ru | Self::Uz | Self::Sq => "%d.%m.%Y",
        };
        let zoned = time.to_zoned(zone.clone());
        zoned.strftime(format).to_string().replace(' ', "\u{a0}")
    }

    /// An instant in a time zone; its seconds where they are not zero.
    #[must_use]
    pub fn time(self, time: Timestamp, zone: &TimeZone) -> String {
        let zoned = time.to_zoned(zone.clone());
        let clock = match zoned.second() {
            0 => "%H:%M",
            _ => "%H:%M:%S",
        };
        format!("{}, {}", self.date(time, zone), zoned.strftime(clock))
    }

    /// Hours, minutes and seconds.
    #[must_use]
    pub fn duration(self, seconds: f64) -> String {
        let seconds = seconds.max(0.0) as u64;
        let (hours, rest) = (seconds / 3600, seconds % 3600);
        format!("{}:{:02}:{:02}", self.whole(hours), rest / 60, rest % 60)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_dates_are_written_as_people_write_them() {
        let written = |language: Language| {
            let zone = TimeZone::get("Asia/Almaty").unwrap();
            let time: Timestamp = "2026-11-30T19:05:00Z".parse().unwrap();
            [
                language.decimal("-1234567.05"),
                language.volume(3_000_000_000),
                language.volume(1 << 20),
                language.volume(1_500),
                language.volume(0),
                language.time(time, &zone),
                language.duration(4_000_061.9),
            ]
            .join("|")
            .replace('\u{a0}', "_")
        };
        assert_eq!(
            written(Language::En),
            "−1,234,567.05|3_GB|1_MiB|1,500_B|0_B|1_Dec_2026, 00:05|1,111:07:41"
        );
        assert_eq!(
            written(Language::Kk),
            "−1_234_567,05|3_ГБ|1_МиБ|1_500_Б|0_Б|01.12.2026, 00:05|1_111:07:41"
        );
        assert_eq!(written(Language::Ru), written(Language::Kk));
        assert_eq!(
            written(Language::Sq),
            "−1_234_567,05|3_GB|1_MiB|1_500_B|0_B|01.12.2026, 00:05|1_111:07:41"
        );
        assert_eq!(written(Language::Uz), written(Language::Sq));
    }

    proptest! {
        #[test]
        fn a_number_is_the_same_in_every_language(number in any::<u64>()) {
            for language in Language::ALL {
                let digits = language.whole(number).replace(['\u{a0}', ','], "");
                prop_assert_eq!(digits, number.to_string());
            }
        }
    }
}
