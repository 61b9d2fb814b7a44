//! The same prefix in several sets. In two classes at one time it is an error, since nothing says
//! which class wins; in one class at one time it is a duplicate, which is harmless and worth a
//! warning.
//!
//! All prefixes are sorted once; within each run of equal ones a sweep along the time line finds
//! every prefix that begins to exist while another of them does, so a million prefixes cost a sort.

use super::findings::{Findings, Kind};
use super::model::{Class, ListedPrefix, PrefixSet, Validity};
use super::prefix::Range;
use crate::diagnostic::Diagnostics;

/// One listed prefix: set and place in its list, which together are the order of reading.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    key: (bool, u128, u128),
    pub(super) set: u32,
    index: u32,
}

impl Item {
    /// What it is sorted by: address, and a prefix before the longer ones in it.
    pub(super) fn key(&self) -> (bool, u128, u128) {
        self.key
    }
}

/// Two listings of one prefix that exist at one time; `second` was read later.
#[derive(Clone, Copy)]
struct Clash {
    first: Item,
    second: Item,
}

/// Reports clashes between classes as errors in `out`, duplicates in the `findings` of their set.
pub(super) fn check(
    sets: &[PrefixSet],
    items: &[Item],
    classes: &[Class],
    findings: &mut [Findings],
    out: &mut Diagnostics,
) {
    for clash in clashes(sets, items) {
        let first = listed(sets, clash.first);
        let second = listed(sets, clash.second);
        let class = |item: Item| classes[sets[item.set as usize].class].name.as_str();
        if class(clash.first) == class(clash.second) {
            findings[clash.second.set as usize].note(Kind::Duplicate, &second.place, || {
                format!("{} is listed twice, first at {}", second.net, first.place)
            });
        } else {
            out.error(
                second.place.clone(),
                "two-classes",
                format!(
                    "{} is in class {:?} here and in class {:?} at {}, at the same time",
                    second.net,
                    class(clash.second),
                    class(clash.first),
                    first.place
                ),
                "keep it in one class, or let the sets be valid at different times",
            );
        }
    }
}

pub(super) fn listed(sets: &[PrefixSet], item: Item) -> &ListedPrefix {
    &sets[item.set as usize].prefixes[item.index as usize]
}

/// All prefixes, sorted by address, the longer ones last, equal ones by when they begin to exist.
pub(super) fn sorted(sets: &[PrefixSet]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::with_capacity(sets.iter().map(|set| set.prefixes.len()).sum());
    for (set, number) in sets.iter().zip(0..) {
        items.extend(set.prefixes.iter().zip(0..).map(|(prefix, index)| Item {
            key: Range::of(&prefix.net).sort_key(),
            set: number,
            index,
        }));
    }
    // Without a lower bound sorts first, as None does.
    // This sort makes use of what is sorted already, as lists are as a rule.
    items.sort_by_key(|item| {
        let from = sets[item.set as usize].validity.from;
        (item.key, from, item.set, item.index)
    });
    items
}

/// For every listing that clashes with one that began to exist before it, one such pair; of
/// different classes if there is one.
fn clashes(sets: &[PrefixSet], items: &[Item]) -> Vec<Clash> {
    let mut clashes = Vec::new();
    for run in items.chunk_by(|a, b| a.key == b.key) {
        sweep(sets, run, &mut clashes);
    }
    clashes
}

/// Finds the clashes among listings of one prefix, sorted by when they begin to exist.
fn sweep(sets: &[PrefixSet], run: &[Item], clashes: &mut Vec<Clash>) {
    let validity = |item: &Item| sets[item.set as usize].validity;
    let class = |item: &Item| sets[item.set as usize].class;
    // Of those already begun: the one that lasts longest, and the one of another class that lasts
    // longest.
    let mut longest: Option<Item> = None;
    let mut other: Option<Item> = None;
    for &item in run {
        let alive = |candidate: &Item| validity(candidate).overlaps(&validity(&item));
        let rivals = [longest, other].into_iter().flatten();
        let clash = rivals
            .clone()
            .find(|rival| class(rival) != class(&item) && alive(rival))
            .or_else(|| {
                rivals
                    .clone()
                    .find(|rival| class(rival) == class(&item) && alive(rival))
            });
        if let Some(earlier) = clash {
            let in_order = (earlier.set, earlier.index) < (item.set, item.index);
            let (first, second) = if in_order {
                (earlier, item)
            } else {
                (item, earlier)
            };
            clashes.push(Clash { first, second });
        }
        match longest {
            Some(held) if !lasts_longer(validity(&item), validity(&held)) => {
                let replaces = other.is_none_or(|o| lasts_longer(validity(&item), validity(&o)));
                if class(&held) != class(&item) && replaces {
                    other = Some(item);
                }
            }
            _ => {
                if longest.is_some_and(|held| class(&held) != class(&item)) {
                    other = longest;
                }
                longest = Some(item);
            }
        }
    }
}

fn lasts_longer(a: Validity, b: Validity) -> bool {
    match (a.until, b.until) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a > b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;
    use std::sync::Arc;

    use ipnet::IpNet;
    use jiff::Timestamp;
    use proptest::prelude::*;

    use crate::policy::Titles;
    use crate::policy::guard::Guard;
    use crate::policy::model::Place;

    fn arbitrary_sets() -> impl Strategy<Value = Vec<PrefixSet>> {
        let bound = || prop::option::of(0i64..6);
        let nets = prop::collection::vec(0u8..4, 0..5);
        prop::collection::vec((0usize..3, bound(), bound(), nets), 0..7).prop_map(|sets| {
            let file = Arc::new(PathBuf::from("f"));
            let mut line = 0;
            sets.into_iter()
                .map(|(class, from, until, nets)| {
                    // An empty validity is refused before sets are compared.
                    let until = until.filter(|&until| from.is_none_or(|from| from < until));
                    let instant = |t: Option<i64>| t.map(|t| Timestamp::new(t, 0).unwrap());
                    let prefixes = nets.into_iter().map(|n| {
                        line += 1;
                        let net =
                            ["192.0.2.0/24", "192.0.2.0/25", "::/16", "::/17"][usize::from(n)];
                        ListedPrefix {
                            net: net.parse::<IpNet>().unwrap(),
                            place: Place {
                                file: Arc::clone(&file),
                                line,
                                column: 1,
                            },
                        }
                    });
                    PrefixSet {
                        name: String::new(),
                        titles: Titles::default(),
                        class,
                        source: None,
                        validity: Validity {
                            from: instant(from),
                            until: instant(until),
                        },
                        prefixes: prefixes.collect(),
                        is_fed: false,
                        list: None,
                        guard: Guard::default(),
                    }
                })
                .collect()
        })
    }

    /// All pairs, the slow way: (prefix, line, line, same class).
    fn naive(sets: &[PrefixSet]) -> BTreeSet<(IpNet, u32, u32, bool)> {
        let all: Vec<_> = sets
            .iter()
            .flat_map(|s| s.prefixes.iter().map(move |p| (s, p)))
            .collect();
        let exists = |set: &PrefixSet, t: i64| {
            let t = Timestamp::new(t, 0).unwrap();
            set.validity.from.is_none_or(|from| from <= t)
                && set.validity.until.is_none_or(|until| t < until)
        };
        let mut pairs = BTreeSet::new();
        for (i, (set_a, a)) in all.iter().enumerate() {
            for (set_b, b) in &all[i + 1..] {
                let meet = (-1..7).any(|t| exists(set_a, t) && exists(set_b, t));
                if a.net == b.net && meet {
                    pairs.insert((
                        a.net,
                        a.place.line,
                        b.place.line,
                        set_a.class == set_b.class,
                    ));
                }
            }
        }
        pairs
    }

    proptest! {
        #[test]
        fn agrees_with_comparing_all_pairs(sets in arbitrary_sets()) {
            let expected = naive(&sets);
            let found: BTreeSet<_> = clashes(&sets, &sorted(&sets))
                .iter()
                .map(|clash| {
                    let pair = [clash.first, clash.second];
                    let [first, second] = pair.map(|item| listed(&sets, item));
                    let [a, b] = pair.map(|item| sets[item.set as usize].class);
                    (first.net, first.place.line, second.place.line, a == b)
                })
                .collect();
            // What is found is true, and no prefix that clashes is missed, between classes above
            // all.
            prop_assert!(found.is_subset(&expected), "{:?} {:?}", found, expected);
            let nets = |pairs: &BTreeSet<(IpNet, u32, u32, bool)>| -> BTreeSet<IpNet> {
                pairs.iter().map(|pair| pair.0).collect()
            };
            let between = |pairs: &BTreeSet<(IpNet, u32, u32, bool)>| -> BTreeSet<IpNet> {
                pairs.iter().filter(|pair| !pair.3).map(|pair| pair.0).collect()
            };
            prop_assert_eq!(nets(&found), nets(&expected));
            prop_assert_eq!(between(&found), between(&expected));
        }
    }
}
