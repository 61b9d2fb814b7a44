//! A random policy: classes, sets with windows of validity, plans with chains and gates.
//!
//! What is generated is shrunk piece by piece, so it refers to classes and buckets by numbers that are
//! always in range, and prefixes that would make the policy a bad one are left out when it is written.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use zerorate_tests::oracle::Prefix;

use super::world::{NOON, Seed, lengths, seeds};

/// A policy.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// For each class, whether it is essential; the first is the default.
    essential: Vec<bool>,
    sets: Vec<Set>,
    plans: Vec<Plan>,
}

#[derive(Clone, Debug)]
struct Set {
    class: u8,
    in_a_file: bool,
    /// Tenths of a second since noon.
    from: Option<u8>,
    /// Tenths of a second for which it lasts.
    lasts: Option<u8>,
    prefixes: Vec<(Seed, u8)>,
}

#[derive(Clone, Debug)]
struct Plan {
    count: Option<&'static str>,
    ignores_suspension: bool,
    /// Settled by credit, with or without a limit.
    credit: Option<Option<&'static str>>,
    buckets: Vec<&'static str>,
    gate: Vec<u8>,
    chains: Vec<(u8, Chain)>,
    other: Chain,
}

#[derive(Clone, Debug)]
struct Chain {
    buckets: Vec<u8>,
    end: &'static str,
    in_brackets: bool,
}

/// Names that sort before, between and after the reserved ones.
const BUCKETS: [&str; 6] = ["main", "balance", "e5", "aa", "gift-2", "zz"];
const CLASSES: [&str; 8] = [
    "internet",
    "government",
    "education",
    "a1",
    "messengers",
    "tas-ix",
    "video",
    "zz",
];
const PLANS: [&str; 4] = ["plan", "another", "third", "x"];

/// All policies.
pub(crate) fn policies() -> impl Strategy<Value = Policy> {
    let essential = prop::collection::vec(prop::bool::weighted(0.3), 1..=CLASSES.len());
    let sets = prop::collection::vec(sets(), 0..10);
    let plans = prop::collection::vec(plans(), 1..=PLANS.len());
    (essential, sets, plans).prop_map(|(essential, sets, plans)| Policy {
        essential,
        sets,
        plans,
    })
}

fn sets() -> impl Strategy<Value = Set> {
    let moment = || prop::option::weighted(0.3, 0..40u8);
    let prefixes = prop::collection::vec((seeds(), lengths()), 1..7);
    (
        0..8u8,
        prop::bool::weighted(0.3),
        moment(),
        moment(),
        prefixes,
    )
        .prop_map(|(class, in_a_file, from, lasts, prefixes)| Set {
            class,
            in_a_file,
            from,
            lasts,
            prefixes,
        })
}

fn plans() -> impl Strategy<Value = Plan> {
    let count = prop::sample::select(vec![None, Some("both"), Some("up"), Some("down")]);
    let grants = vec![
        "0", "0B", "1B", "99B", "1500B", "1kB", "2KiB", "1MB", "3GB", "money",
    ];
    let buckets = prop::collection::vec(prop::sample::select(grants), 0..=BUCKETS.len());
    let limits = vec![None, Some("0"), Some("700B"), Some("4kB"), Some("1GB")];
    let credit = prop::option::weighted(0.4, prop::sample::select(limits));
    let gate = prop::collection::vec(0..6u8, 0..3);
    let named = prop::collection::vec((0..8u8, chains()), 0..6);
    (
        count,
        prop::bool::weighted(0.2),
        credit,
        buckets,
        gate,
        named,
        chains(),
    )
        .prop_map(
            |(count, ignores_suspension, credit, buckets, gate, chains, other)| Plan {
                count,
                ignores_suspension,
                credit,
                buckets,
                gate,
                chains,
                other,
            },
        )
}

fn chains() -> impl Strategy<Value = Chain> {
    let end = prop::sample::select(vec!["drop", "metered", "free"]);
    let buckets = prop::collection::vec(0..6u8, 0..=4);
    (buckets, end, any::<bool>()).prop_map(|(buckets, end, in_brackets)| Chain {
        buckets,
        end,
        in_brackets,
    })
}

impl Set {
    /// The window in tenths of a second since noon.
    fn window(&self) -> (i32, i32) {
        let from = self.from.map_or(i32::MIN, i32::from);
        let until = self.lasts.map_or(i32::MAX, |lasts| {
            i32::from(self.from.unwrap_or(0)) + i32::from(lasts) + 1
        });
        (from, until)
    }
}

/// An instant, written in one of several offsets.
fn instant(tenths: i32) -> String {
    let zone = ["UTC", "+05:00", "-03:30"][tenths.unsigned_abs() as usize % 3];
    let time =
        jiff::Timestamp::from_nanosecond(NOON * 1_000_000_000 + i128::from(tenths) * 100_000_000)
            .expect("a time of these centuries");
    match zone {
        "+05:00" => time.display_with_offset(jiff::tz::offset(5)).to_string(),
        "-03:30" => {
            let offset = jiff::tz::Offset::from_seconds(-12_600).expect("an offset");
            time.display_with_offset(offset).to_string()
        }
        _ => time.to_string(),
    }
}

impl Policy {
    /// The name of a class by a number, whatever the number.
    fn class(&self, number: u8) -> &'static str {
        CLASSES[usize::from(number) % self.essential.len()]
    }

    /// The name of a plan by a number, whatever the number.
    pub(crate) fn plan(&self, number: u8) -> &'static str {
        PLANS[usize::from(number) % self.plans.len()]
    }

    /// For each set the prefixes it is written with: none that another set, or its own, has already at
    /// the same time.
    fn kept(&self) -> Vec<Vec<Prefix>> {
        let mut taken: Vec<(Prefix, (i32, i32))> = Vec::new();
        let mut kept = Vec::new();
        for set in &self.sets {
            let window = set.window();
            let mut prefixes = Vec::new();
            for (seed, length) in &set.prefixes {
                let prefix = seed.prefix(*length);
                let clash = |(other, (from, until)): &(Prefix, (i32, i32))| {
                    *other == prefix && *from < window.1 && window.0 < *until
                };
                if !taken.iter().any(clash) {
                    taken.push((prefix, window));
                    prefixes.push(prefix);
                }
            }
            kept.push(prefixes);
        }
        kept
    }

    /// All its prefixes.
    pub(crate) fn prefixes(&self) -> Vec<Prefix> {
        self.kept().concat()
    }

    /// Writes the policy directory.
    pub(crate) fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("a folder for the policy");
        let mut text = String::from("name = \"random\"\nbasis = \"chance\"\n");
        let _ = writeln!(text, "default_class = {:?}", self.class(0));
        for (number, essential) in self.essential.iter().enumerate() {
            let _ = writeln!(
                text,
                "[classes.{}]\nrating_group = {}",
                CLASSES[number],
                7 * number + 1
            );
            if *essential {
                text += "essential = true\n";
            }
        }
        for (number, (set, prefixes)) in self.sets.iter().zip(self.kept()).enumerate() {
            if prefixes.is_empty() {
                continue;
            }
            let class = self.class(set.class);
            let _ = writeln!(
                text,
                "[[sets]]\nname = \"set-{number}\"\nclass = \"{class}\""
            );
            text += "source = \"chance\"\n";
            if set.in_a_file {
                let list: String = prefixes
                    .iter()
                    .map(|prefix| format!("{prefix} # by chance\n"))
                    .collect();
                let name = format!("list-{number}.txt");
                std::fs::write(folder.join(&name), list).expect("the list is written");
                let _ = writeln!(text, "file = \"{name}\"");
            } else {
                let list: Vec<String> = prefixes.iter().map(Prefix::to_string).collect();
                let _ = writeln!(text, "prefixes = {list:?}");
            }
            let (from, until) = set.window();
            if set.from.is_some() {
                let _ = writeln!(text, "valid_from = {}", instant(from));
            }
            if set.lasts.is_some() {
                let _ = writeln!(text, "valid_until = {}", instant(until));
            }
        }
        for (number, plan) in self.plans.iter().enumerate() {
            plan.write(PLANS[number], self, &mut text);
        }
        std::fs::write(folder.join("policy.toml"), text).expect("the policy is written");
    }
}

impl Plan {
    /// Bucket names by numbers, each once.
    fn buckets(&self, numbers: &[u8]) -> Vec<&'static str> {
        let mut names = Vec::new();
        if !self.buckets.is_empty() {
            for number in numbers {
                let name = BUCKETS[usize::from(*number) % self.buckets.len()];
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    fn write(&self, name: &str, policy: &Policy, text: &mut String) {
        let _ = writeln!(text, "[plans.{name}]");
        if let Some(count) = self.count {
            let _ = writeln!(text, "count = {count:?}");
        }
        if self.ignores_suspension {
            *text += "suspension = \"ignore\"\n";
        }
        if self.credit.is_some() {
            *text += "settlement = \"credit\"\n";
        }
        let gate = self.buckets(&self.gate);
        if !gate.is_empty() {
            let _ = writeln!(text, "gate = {gate:?}");
        }
        let limit = self.credit.flatten();
        if !self.buckets.is_empty() || limit.is_some() {
            let _ = writeln!(text, "[plans.{name}.buckets]");
            if let Some(limit) = limit {
                let _ = writeln!(text, "limit = \"{limit}\"");
            }
            for (bucket, grant) in BUCKETS.iter().zip(&self.buckets) {
                let _ = match *grant {
                    "money" => writeln!(text, "{bucket} = {{ price = \"630 UZS/MB\" }}"),
                    grant => writeln!(text, "{bucket} = \"{grant}\""),
                };
            }
        }
        let _ = writeln!(text, "[plans.{name}.charge]");
        let mut named: Vec<&str> = Vec::new();
        for (class, chain) in &self.chains {
            let class = policy.class(*class);
            if !named.contains(&class) {
                named.push(class);
                self.write_chain(class, chain, text);
            }
        }
        self.write_chain("\"*\"", &self.other, text);
    }

    fn write_chain(&self, class: &str, chain: &Chain, text: &mut String) {
        let mut links = self.buckets(&chain.buckets);
        if self.credit.flatten().is_some() && chain.end == "metered" {
            // The limit takes the place of one.
            links.truncate(3);
        }
        if links.is_empty() && !chain.in_brackets {
            let _ = writeln!(text, "{class} = {:?}", chain.end);
        } else {
            links.push(chain.end);
            let _ = writeln!(text, "{class} = {links:?}");
        }
    }
}
