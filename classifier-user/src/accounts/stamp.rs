//! A time in eight bytes: there are several for each of a million subscribers.

use jiff::Timestamp;

/// Nanoseconds since 1970. Before 1677 and after 2262 no clock is believed: the last one stands for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(i64);

impl Stamp {
    /// A time that does not come.
    pub const NEVER: Self = Self(i64::MAX);

    /// So many nanoseconds since 1970.
    #[must_use]
    pub const fn of(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// How many they are.
    #[must_use]
    pub const fn nanoseconds(self) -> i64 {
        self.0
    }

    /// The time; [`Timestamp::MAX`] for [`Self::NEVER`].
    #[must_use]
    pub fn time(self) -> Timestamp {
        if self == Self::NEVER {
            return Timestamp::MAX;
        }
        // Each of them is one.
        Timestamp::from_nanosecond(self.0.into()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl From<Timestamp> for Stamp {
    fn from(time: Timestamp) -> Self {
        let nanoseconds = time.as_nanosecond();
        Self(nanoseconds.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stay_what_they_are_to_the_nanosecond() {
        for nanoseconds in [i64::MIN, -1, 0, 1_767_225_600_123_456_789, i64::MAX - 1] {
            let stamp = Stamp::of(nanoseconds);
            assert_eq!(Stamp::from(stamp.time()), stamp);
            assert_eq!(stamp.time().as_nanosecond(), i128::from(nanoseconds));
        }
        assert_eq!(Stamp::from(Timestamp::MAX), Stamp::NEVER);
        assert_eq!(Stamp::NEVER.time(), Timestamp::MAX);
        assert_eq!(Stamp::from(Timestamp::MIN), Stamp::of(i64::MIN));
    }
}
