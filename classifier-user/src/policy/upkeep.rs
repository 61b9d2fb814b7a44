//! How a list is kept: how old it may become, how much it may change at once, how wide it may be. The policy says it
//! for all sets, and a set for itself.

use jiff::{SignedDuration, Timestamp};

use super::findings::{Findings, Kind, Timed};
use super::guard::{Guard, Share};
use super::model::{Place, Validity};
use super::read::RawSet;
use super::section::{At, Section};
use super::special::Widest;
use crate::diagnostic::{Diagnostics, quote};

/// Oldest a list may be allowed to become.
const MAX_DAYS: i64 = 3660;

/// The keys as they are written; what is not a value of its key has been reported.
pub(super) struct RawUpkeep {
    max_age: Option<MaxAge>,
    max_change: Option<Share>,
    min_prefixes: Option<u32>,
    widest_ipv4: Option<u8>,
    widest_ipv6: Option<u8>,
}

#[derive(Clone)]
struct MaxAge {
    text: String,
    duration: SignedDuration,
    place: Place,
}

impl RawUpkeep {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let max_age = section.text("max_age", "30d");
        let max_change = section.text("max_change", "20%");
        let mut length = |key, most| section.number(key, 0, most).map(|at| at.value as u8);
        RawUpkeep {
            widest_ipv4: length("widest_ipv4", 32),
            widest_ipv6: length("widest_ipv6", 128),
            min_prefixes: section
                .number("min_prefixes", 0, u32::MAX)
                .map(|at| at.value),
            max_age: max_age.and_then(|at| MaxAge::check(at, section.out())),
            max_change: max_change.and_then(|at| check_share(&at, section.out())),
        }
    }
}

impl MaxAge {
    fn check(at: At<String>, out: &mut Diagnostics) -> Option<Self> {
        let plain = |number: &str| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let days = at
            .value
            .strip_suffix('d')
            .filter(|number| plain(number))
            .and_then(|number| number.parse::<i64>().ok())
            .filter(|days| (1..=MAX_DAYS).contains(days));
        if days.is_none() {
            out.error(
                at.place.clone(),
                "bad-age",
                format!("{} is not an age in days", quote(&at.value)),
                format!("write \"30d\", up to {MAX_DAYS}d"),
            );
        }
        Some(MaxAge {
            duration: SignedDuration::from_hours(24 * days?),
            text: at.value,
            place: at.place,
        })
    }
}

fn check_share(at: &At<String>, out: &mut Diagnostics) -> Option<Share> {
    let share = Share::parse(&at.value);
    if share.is_none() {
        out.error(
            at.place.clone(),
            "bad-share",
            format!("{} is not a share", quote(&at.value)),
            "write percent, such as \"20%\" or \"0.5%\", up to \"1000%\"",
        );
    }
    share
}

/// How one set is kept, or all of them.
#[derive(Clone)]
pub(super) struct Upkeep {
    pub(super) widest: Widest,
    pub(super) guard: Guard,
    max_age: Option<MaxAge>,
}

impl Upkeep {
    /// What the policy says for all sets.
    pub(super) fn of_policy(raw: &RawUpkeep) -> Self {
        let all = Upkeep {
            widest: Widest::default(),
            guard: Guard::default(),
            max_age: None,
        };
        all.overlaid(raw)
    }

    /// What holds for a set, which goes before what the policy says.
    pub(super) fn of_set(&self, set: &RawSet) -> Self {
        let mut upkeep = self.overlaid(&set.upkeep);
        upkeep.guard.may_be_empty = set.expect.iter().any(|one| one.value == Kind::Empty.name());
        upkeep
    }

    fn overlaid(&self, raw: &RawUpkeep) -> Self {
        Upkeep {
            widest: Widest {
                v4: raw.widest_ipv4.unwrap_or(self.widest.v4),
                v6: raw.widest_ipv6.unwrap_or(self.widest.v6),
            },
            guard: Guard {
                max_change: raw.max_change.or(self.guard.max_change),
                min_prefixes: raw.min_prefixes.or(self.guard.min_prefixes),
                may_be_empty: false,
            },
            max_age: raw.max_age.clone().or_else(|| self.max_age.clone()),
        }
    }

    /// What the clock can bring a set.
    pub(super) fn timed(&self, set: &RawSet, validity: Validity) -> Timed {
        Timed {
            validity,
            ages: set.updated.is_some() && self.max_age.is_some(),
        }
    }

    /// Notes what is amiss at `now` with how the set is kept.
    pub(super) fn check(
        &self,
        set: &RawSet,
        prefixes: usize,
        now: Timestamp,
        found: &mut Findings,
        out: &mut Diagnostics,
    ) {
        if let (Some(own), None) = (&set.upkeep.max_age, &set.updated)
            && !set.broken
        {
            out.error(
                own.place.clone(),
                "age-unknown",
                "max_age is given, and nothing says how old the list is",
                "add updated = with the date the list was last fetched, or remove max_age",
            );
        }
        if let (Some(updated), Some(max_age)) = (&set.updated, &self.max_age)
            && let Ok(end) = updated.value.checked_add(max_age.duration)
            && end < now
        {
            found.note(Kind::Stale, &updated.place, || {
                format!(
                    "the list is of {}, and older than {} since {end}",
                    updated.value, max_age.text
                )
            });
        }
        // Wherever it is today already, it is so a day from now in UTC.
        let tomorrow = now.checked_add(SignedDuration::from_hours(24));
        if let Some(updated) = &set.updated
            && tomorrow.is_ok_and(|tomorrow| tomorrow < updated.value)
        {
            out.warn(
                updated.place.clone(),
                "updated-ahead",
                format!("updated {} is in the future", updated.value),
                "write the date the list was last fetched",
            );
        }
        if let Some(until) = &set.valid_until
            && until.value <= now
        {
            found.note(Kind::Expired, &until.place, || {
                format!("it no longer exists, since {}", until.value)
            });
        }
        if let Some(from) = &set.valid_from
            && from.value > now
        {
            found.note(Kind::Future, &from.place, || {
                format!("it does not exist before {}", from.value)
            });
        }
        if let Some(least) = self.guard.min_prefixes
            && prefixes > 0
            && prefixes < least as usize
        {
            found.note(Kind::Few, &set.place, || {
                format!("it has {prefixes} prefixes, min_prefixes is {least}")
            });
        }
    }
}
