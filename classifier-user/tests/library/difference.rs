//! Difference and guards of two policies, held against slow answers: what a difference lists, applied to the old
//! policy, gives the new one; address space is counted an address at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use proptest::prelude::*;
use zerorate::policy::{self, Edits, Policy, Space, TooFar, Weights};

const CLASSES: [&str; 3] = ["c0", "c1", "internet"];

/// A set: its name, its class, and its prefixes.
type Set = (usize, usize, Vec<String>);

/// A small world, so that things meet: addresses of 192.0.2.0/26 and of 2001:db8::/122.
fn arbitrary_prefix() -> impl Strategy<Value = String> {
    (any::<bool>(), 0u32..64, 0u32..7).prop_map(|(v6, address, short)| {
        let base = address >> short << short;
        match v6 {
            false => format!("192.0.2.{base}/{}", 32 - short),
            true => format!("2001:db8::{base:x}/{}", 128 - short),
        }
    })
}

/// Sets in which no prefix is in two classes, and the words of each plan for each class.
fn arbitrary_policy() -> impl Strategy<Value = (Vec<Set>, Vec<Vec<usize>>)> {
    let set = (
        0usize..4,
        0usize..3,
        prop::collection::vec(arbitrary_prefix(), 0..8),
    );
    let plan = prop::collection::vec(0usize..3, 3);
    (
        prop::collection::vec(set, 0..4),
        prop::collection::vec(plan, 2),
    )
        .prop_map(|(sets, plans)| {
            let mut class_of: BTreeMap<String, usize> = BTreeMap::new();
            let mut names = BTreeSet::new();
            let sets = sets.into_iter().filter(|set| names.insert(set.0));
            let sets = sets.map(|(name, class, mut prefixes)| {
                prefixes.retain(|prefix| *class_of.entry(prefix.clone()).or_insert(class) == class);
                (name, class, prefixes)
            });
            (sets.collect(), plans)
        })
}

fn load(sets: &[Set], plans: &[Vec<usize>], head: &str) -> Policy {
    let mut toml = format!("name = \"x\"\ndefault_class = \"internet\"\n{head}\n");
    for (number, class) in CLASSES.iter().enumerate() {
        toml += &format!("[classes.{class}]\nrating_group = {number}\n");
    }
    for (name, class, prefixes) in sets {
        let class = CLASSES[*class];
        toml += &format!(
            "[[sets]]\nname = \"s{name}\"\nclass = \"{class}\"\nprefixes = {prefixes:?}\n"
        );
    }
    for (number, chains) in plans.iter().enumerate() {
        toml += &format!("[plans.p{number}]\n[plans.p{number}.buckets]\nmain = \"1GB\"\n");
        toml += &format!("[plans.p{number}.charge]\n");
        for (class, chain) in CLASSES.iter().zip(chains) {
            toml += &format!("{class} = {}\n", WORDS[*chain]);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("policy.toml"), toml).unwrap();
    policy::load(dir.path())
        .unwrap_or_else(|errors| panic!("{errors}"))
        .policy
}

const WORDS: [&str; 3] = ["\"free\"", "\"metered\"", "[\"main\", \"drop\"]"];

fn listed(policy: &Policy) -> BTreeSet<(String, IpNet)> {
    policy
        .sets
        .iter()
        .flat_map(|set| {
            set.prefixes
                .iter()
                .map(|prefix| (set.name.clone(), prefix.net))
        })
        .collect()
}

/// Every address of the small world, and one beside it that stands for all others.
fn world() -> impl Iterator<Item = IpAddr> {
    (0..64).flat_map(|n| {
        let v4 = format!("192.0.2.{n}");
        let v6 = format!("2001:db8::{n:x}");
        [v4.parse().unwrap(), v6.parse().unwrap()]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_difference_applied_to_the_old_policy_gives_the_new_one(
        (old, plans) in arbitrary_policy(),
        (new, _) in arbitrary_policy(),
    ) {
        let (old, new) = (load(&old, &plans, ""), load(&new, &plans, ""));
        let edits = Edits::between(&old, &new);
        let mut lists = listed(&old);
        for edit in &edits.edits {
            if let Some(from) = edit.from {
                prop_assert!(lists.remove(&(edits.name(from).to_owned(), edit.net)));
            }
            if let Some(to) = edit.to {
                prop_assert!(lists.insert((edits.name(to).to_owned(), edit.net)));
            }
        }
        prop_assert_eq!(&lists, &listed(&new));
        // And nothing is said that adds up to something else.
        let sums = edits.by_set().iter().fold([0; 4], |[a, r, i, o], set| {
            [a + set.added, r + set.removed, i + set.moved_in, o + set.moved_out]
        });
        let count = |from: bool, to: bool| {
            let is = |edit: &&policy::Edit| edit.from.is_some() == from && edit.to.is_some() == to;
            edits.edits.iter().filter(is).count()
        };
        prop_assert_eq!(sums, [count(false, true), count(true, false), count(true, true), count(true, true)]);
        prop_assert_eq!(Edits::between(&new, &new).edits, []);
    }

    #[test]
    fn address_space_is_what_counting_addresses_gives(
        (old, before) in arbitrary_policy(),
        (new, after) in arbitrary_policy(),
    ) {
        let (old, new) = (load(&old, &before, ""), load(&new, &after, ""));
        let now = Timestamp::now();
        let weights = Weights::between(&old, &new, now);
        let mut classes: BTreeMap<(String, String), Space> = BTreeMap::new();
        let mut plans: BTreeMap<(String, &str), Space> = BTreeMap::new();
        // What no set names is as much as the rest, and of one class in both.
        for address in world() {
            let (a, b) = (old.class_of(address, now).0, new.class_of(address, now).0);
            let add = |space: &mut Space| match address {
                IpAddr::V4(_) => space.v4 += 1,
                IpAddr::V6(_) => space.v6 += 1,
            };
            if old.classes[a].name != new.classes[b].name {
                let pair = (old.classes[a].name.clone(), new.classes[b].name.clone());
                add(classes.entry(pair).or_default());
            }
            for (was, is) in old.plans.iter().zip(&new.plans) {
                let words = (was.chains[a].words(was), is.chains[b].words(is));
                let what = match (words.0 == ["free"], words.1 == ["free"]) {
                    (false, true) => "becomes free",
                    (true, false) => "is no longer free",
                    _ if words.0 != words.1 => "is paid for otherwise",
                    _ => continue,
                };
                add(plans.entry((is.name.clone(), what)).or_default());
            }
        }
        let found: BTreeMap<_, _> = weights
            .classes
            .iter()
            .map(|weight| ((weight.from.clone(), weight.to.clone()), weight.space))
            .collect();
        prop_assert_eq!(found, classes);
        // Elsewhere the default class holds, whose chain may be another.
        let mut found: BTreeMap<_, _> = weights
            .plans
            .iter()
            .flat_map(|plan| plan.parts().map(|(what, space)| ((plan.plan.clone(), what), space)))
            .collect();
        for (was, is) in old.plans.iter().zip(&new.plans) {
            let words = [was, is].map(|plan| plan.chains[old.default_class].words(plan));
            for what in ["becomes free", "is no longer free", "is paid for otherwise"] {
                let holds = match what {
                    "becomes free" => words[0] != ["free"] && words[1] == ["free"],
                    "is no longer free" => words[0] == ["free"] && words[1] != ["free"],
                    _ => words[0] != words[1] && words.iter().all(|words| words != &["free"]),
                };
                if holds {
                    let space = found.get_mut(&(is.name.clone(), what)).unwrap();
                    space.v4 -= (1 << 32) - 64;
                    // All of IPv6 counts as one address less.
                    space.v6 -= u128::MAX - 63;
                    if *space == Space::default() {
                        found.remove(&(is.name.clone(), what));
                    }
                    if let Some(space) = plans.get_mut(&(is.name.clone(), what)) {
                        space.v6 = space.v6.min(63);
                    }
                }
            }
        }
        prop_assert_eq!(found, plans);
    }

    /// A guard says no exactly where more than its share of a list comes or goes.
    #[test]
    fn guards_agree_with_counting_addresses(
        old in prop::collection::vec(arbitrary_prefix(), 1..6),
        new in prop::collection::vec(arbitrary_prefix(), 1..6),
        percent in 0u32..150,
    ) {
        let plans = [vec![1, 1, 1], vec![1, 1, 1]];
        let head = format!("max_change = \"{percent}%\"");
        let (a, b) = (load(&[(0, 0, old)], &plans, ""), load(&[(0, 0, new)], &plans, &head));
        let now = Timestamp::now();
        let has = |policy: &Policy, address| policy.class_of(address, now).1.is_some();
        let mut expected = BTreeSet::new();
        for v6 in [false, true] {
            let (mut before, mut came, mut went) = (0, 0, 0);
            for address in world().filter(|address| address.is_ipv6() == v6) {
                let (was, is) = (has(&a, address), has(&b, address));
                before += u32::from(was);
                came += u32::from(!was && is);
                went += u32::from(was && !is);
            }
            for (grows, change) in [(true, came), (false, went)] {
                if change * 100 > before * percent {
                    expected.insert((grows, v6, u128::from(change)));
                }
            }
        }
        let found: BTreeSet<_> = policy::breaches(&a, &b, now)
            .into_iter()
            .map(|breach| match breach.what {
                TooFar::Change { grows, v6, change, .. } => (grows, v6, change),
                other => panic!("{other:?}"),
            })
            .collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(policy::breaches(&b, &b, now), []);
    }
}
