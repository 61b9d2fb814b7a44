//! Warnings about the prefixes of a set. Each kind has a name, by which a set can say that it is meant:
//! `expect = ["multicast"]`. A set is told of each kind once, with the first few places and the number of the others.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::model::{Place, Validity};
use super::names::suggest;
use super::section::At;
use crate::diagnostic::{Diagnostics, quote};

/// A kind of warning about a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// 224.0.0.0/4, ff00::/8.
    Multicast,
    /// 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20.
    Documentation,
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7.
    Private,
    /// 100.64.0.0/10, between a provider and its carrier-grade NAT.
    Shared,
    /// 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// 127.0.0.0/8, ::1/128.
    Loopback,
    /// 255.255.255.255/32.
    Broadcast,
    /// 0.0.0.0/32, ::/128.
    Unspecified,
    /// 198.18.0.0/15, 2001:2::/48.
    Benchmarking,
    /// ::ffff:0:0/96, which stands for IPv4 in programs and not on the wire.
    Mapped,
    /// 0.0.0.0/8, 192.0.0.0/24, 240.0.0.0/4, and IPv6 outside what is allocated for any use.
    Reserved,
    /// 0.0.0.0/0, ::/0: every address there is.
    DefaultRoute,
    /// A prefix shorter than `widest_ipv4` (/8) or `widest_ipv6` (/16), or a set of more addresses than one such.
    Wide,
    /// The same prefix twice in one class at the same time.
    Duplicate,
    /// All prefixes lie inside those of other sets of the class.
    Swallowed,
    /// Inside a free prefix of another class, and not free.
    Hole,
    /// Inside address space that many services share.
    Hosting,
    /// No prefix at all.
    Empty,
    /// Fewer prefixes than `min_prefixes`.
    Few,
    /// `updated` is longer ago than `max_age`.
    Stale,
    /// `valid_until` has passed.
    Expired,
    /// `valid_from` is to come.
    Future,
}

/// Every kind, in the order help texts list them.
pub const KINDS: [Kind; 22] = [
    Kind::Multicast,
    Kind::Documentation,
    Kind::Private,
    Kind::Shared,
    Kind::LinkLocal,
    Kind::Loopback,
    Kind::Broadcast,
    Kind::Unspecified,
    Kind::Benchmarking,
    Kind::Mapped,
    Kind::Reserved,
    Kind::DefaultRoute,
    Kind::Wide,
    Kind::Duplicate,
    Kind::Swallowed,
    Kind::Hole,
    Kind::Hosting,
    Kind::Empty,
    Kind::Few,
    Kind::Stale,
    Kind::Expired,
    Kind::Future,
];

impl Kind {
    /// The name that `expect` uses, and the code of the warning.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Multicast => "multicast",
            Kind::Documentation => "documentation",
            Kind::Private => "private",
            Kind::Shared => "shared",
            Kind::LinkLocal => "link-local",
            Kind::Loopback => "loopback",
            Kind::Broadcast => "broadcast",
            Kind::Unspecified => "unspecified",
            Kind::Benchmarking => "benchmarking",
            Kind::Mapped => "mapped",
            Kind::Reserved => "reserved",
            Kind::DefaultRoute => "default-route",
            Kind::Wide => "wide",
            Kind::Duplicate => "duplicate",
            Kind::Swallowed => "swallowed",
            Kind::Hole => "hole",
            Kind::Hosting => "hosting",
            Kind::Empty => "empty",
            Kind::Few => "few",
            Kind::Stale => "stale",
            Kind::Expired => "expired",
            Kind::Future => "future",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.name() == name)
    }

    /// What a prefix of this kind is or contains.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Kind::Multicast => "multicast address space",
            Kind::Documentation => "documentation address space",
            Kind::Private => "private address space",
            Kind::Shared => "shared (carrier-grade NAT) address space",
            Kind::LinkLocal => "link-local address space",
            Kind::Loopback => "loopback address space",
            Kind::Broadcast => "the broadcast address",
            Kind::Unspecified => "the unspecified address",
            Kind::Benchmarking => "benchmarking address space",
            Kind::Mapped => "IPv4-mapped address space, which no packet carries",
            Kind::Reserved => "reserved address space",
            Kind::DefaultRoute => "a default route: every address there is",
            Kind::Wide => "very wide",
            // Told in words of their own.
            _ => self.name(),
        }
    }

    /// What to do about it, before saying how it is acknowledged.
    fn remedy(self) -> &'static str {
        match self {
            Kind::Private
            | Kind::Shared
            | Kind::LinkLocal
            | Kind::Loopback
            | Kind::Broadcast
            | Kind::Unspecified
            | Kind::Benchmarking
            | Kind::Documentation
            | Kind::Mapped
            | Kind::Reserved => "take it out, since nothing on the Internet has such addresses; ",
            Kind::Multicast => "take it out, since no service has such addresses; ",
            Kind::Wide => {
                "look at what the list was made from, or set how wide it may be (widest_ipv4, widest_ipv6); "
            }
            Kind::Duplicate => "take it out of one of the two; ",
            Kind::Empty => "look at what the list was made from, or remove the set; ",
            Kind::Future => "remove valid_from if it is to count now; ",
            Kind::DefaultRoute => "take it out: what no set names is the default class anyway; ",
            Kind::Swallowed => "remove the set, or move it to the class it should be in; ",
            Kind::Hole => "take it out, or let its class be free too; ",
            Kind::Hosting => "list the service's own addresses only; ",
            Kind::Few => "check that the list is whole; ",
            Kind::Stale => "fetch the list anew and set updated; ",
            Kind::Expired => "remove the set, or set a later valid_until; ",
        }
    }

    /// Whether a set could come to cause it by the clock alone, so that expecting it ahead is right.
    fn may_come(self, timed: Timed) -> bool {
        match self {
            Kind::Stale => timed.ages,
            Kind::Expired => timed.validity.until.is_some(),
            Kind::Future => timed.validity.from.is_some(),
            _ => false,
        }
    }
}

/// What of a set depends on the clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Timed {
    pub(super) validity: Validity,
    /// Whether it has `updated` and `max_age`.
    pub(super) ages: bool,
}

/// Places shown beside the first.
const SHOWN: usize = 2;

/// The warnings one set gives cause for, one of each kind, and those it expects.
pub(super) struct Findings {
    found: BTreeMap<Kind, Finding>,
    /// Whether all prefixes of the set could be read.
    complete: bool,
    timed: Timed,
}

struct Finding {
    place: Place,
    message: String,
    /// The next few places.
    next: Vec<Place>,
    more: usize,
}

impl Findings {
    pub(super) fn new(complete: bool, timed: Timed) -> Self {
        Findings {
            found: BTreeMap::new(),
            complete,
            timed,
        }
    }

    /// Whether there is one of this kind.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.found.contains_key(&kind)
    }

    /// Notes a finding; the first of each kind is told, the others are counted.
    pub(super) fn note(&mut self, kind: Kind, place: &Place, message: impl FnOnce() -> String) {
        match self.found.entry(kind) {
            Entry::Occupied(mut seen) => {
                let seen = seen.get_mut();
                seen.more += 1;
                if seen.next.len() < SHOWN {
                    seen.next.push(place.clone());
                }
            }
            Entry::Vacant(first) => {
                first.insert(Finding {
                    place: place.clone(),
                    message: message(),
                    next: Vec::new(),
                    more: 0,
                });
            }
        }
    }

    /// Warns of what was found and is not in `expect`, and of what is in `expect` and was not
    /// found.
    pub(super) fn report(mut self, set: &str, expect: &[At<String>], out: &mut Diagnostics) {
        for expected in expect {
            let Some(kind) = Kind::from_name(&expected.value) else {
                out.error(
                    expected.place.clone(),
                    "unknown-warning",
                    format!(
                        "{} is not a warning that a set can expect",
                        quote(&expected.value)
                    ),
                    suggest(&expected.value, "warnings", KINDS.map(Kind::name)),
                );
                continue;
            };
            if self.found.remove(&kind).is_none() && self.complete && !kind.may_come(self.timed) {
                out.warn(
                    expected.place.clone(),
                    "expect-unused",
                    format!(
                        "set {} expects the warning {:?}, which nothing causes",
                        quote(set),
                        kind.name()
                    ),
                    "remove it from expect, so that it is heard should it ever come",
                );
            }
        }
        for (kind, finding) in self.found {
            let message = format!(
                "set {}: {}{}",
                quote(set),
                finding.message,
                finding.others()
            );
            out.warn(
                finding.place,
                kind.name(),
                message,
                format!(
                    "{}if this is meant, add expect = [{:?}] to the set",
                    kind.remedy(),
                    kind.name()
                ),
            );
        }
    }
}

impl Finding {
    /// How many more there are, and where the first of them stand.
    fn others(&self) -> String {
        if self.more == 0 {
            return String::new();
        }
        let places: Vec<String> = self.next.iter().map(Place::to_string).collect();
        let rest = if self.more > SHOWN { ", ..." } else { "" };
        format!(
            " (and {} more like it: {}{rest})",
            self.more,
            places.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::Arc;

    fn place(line: u32) -> Place {
        Place {
            file: Arc::new(PathBuf::from("l")),
            line,
            column: 1,
        }
    }

    fn expecting(names: &[&str]) -> Vec<At<String>> {
        let at = |name: &&str| At {
            value: (*name).to_owned(),
            place: place(1),
        };
        names.iter().map(at).collect()
    }

    #[test]
    fn names_are_unique() {
        for kind in KINDS {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }

    #[test]
    fn a_flood_is_one_warning_with_the_first_places() {
        let mut findings = Findings::new(true, Timed::default());
        for line in 7..1007 {
            findings.note(Kind::Private, &place(line), || format!("line {line}"));
        }
        let mut out = Diagnostics::default();
        findings.report("s", &[], &mut out);
        let said: Vec<&str> = out.iter().map(|one| one.message.as_str()).collect();
        assert_eq!(
            said,
            ["set \"s\": line 7 (and 999 more like it: l:8:1, l:9:1, ...)"]
        );
    }

    #[test]
    fn what_the_clock_may_bring_can_be_expected_ahead() {
        let expect = expecting(&["stale", "expired", "future"]);
        let said = |timed| {
            let mut out = Diagnostics::default();
            Findings::new(true, timed).report("s", &expect, &mut out);
            out.warnings()
        };
        assert_eq!(said(Timed::default()), 3);
        let instant = Some(jiff::Timestamp::UNIX_EPOCH);
        let validity = Validity {
            from: instant,
            until: instant,
        };
        assert_eq!(
            said(Timed {
                validity,
                ages: true
            }),
            0
        );
    }
}
