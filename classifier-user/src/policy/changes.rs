//! What a new policy changes, for whoever reads the log after a reload: prefixes by class, and the
//! terms of classes and plans. Compared is what holds at one instant, by name: numbers inside the
//! two policies mean nothing to each other.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use jiff::Timestamp;

use super::model::{Bucket, Grant, Plan, Policy};
use super::prefix::Range;
use super::terms::Word as _;
use super::volume::show_volume;

/// How many prefixes a [`PrefixChange`] shows.
const SAMPLES: usize = 3;

/// The difference between two policies at one instant. `Display` gives one line a change, and none
/// if there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Prefixes added, removed or moved, by the classes they came from and went to.
    pub prefixes: Vec<PrefixChange>,
    /// Everything else: first the default class, then classes, then plans with their buckets and
    /// chains.
    pub terms: Vec<Change>,
}

/// Prefixes that changed in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixChange {
    /// The class they were in; `None` if no set named them.
    pub from: Option<String>,
    /// The class they are in; `None` if no set names them now.
    pub to: Option<String>,
    /// How many they are.
    pub count: usize,
    /// The first few of them, by address.
    pub samples: Vec<IpNet>,
}

/// One changed term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about, such as `plan basic: bucket main`.
    pub subject: String,
    /// What became of it.
    pub what: What,
}

/// What became of a term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another one.
    Changed {
        /// What it was.
        from: String,
        /// What it is.
        to: String,
    },
}

impl Changes {
    /// Compares two policies as they hold at `t`.
    pub fn between(old: &Policy, new: &Policy, t: Timestamp) -> Self {
        let mut terms = Terms::default();
        let default_class = |policy: &Policy| policy.classes[policy.default_class].name.clone();
        terms.compare(
            || "default class".to_owned(),
            default_class(old),
            default_class(new),
        );
        compare_classes(old, new, &mut terms);
        compare_sets(old, new, &mut terms);
        compare_plans(old, new, &mut terms);
        Changes {
            prefixes: compare_prefixes(old, new, t),
            terms: terms.0,
        }
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.terms.is_empty()
    }

    /// Number of prefixes that no set named before.
    pub fn added(&self) -> usize {
        self.count(|change| change.from.is_none())
    }

    /// Number of prefixes that no set names any more.
    pub fn removed(&self) -> usize {
        self.count(|change| change.to.is_none())
    }

    /// Number of prefixes that went from one class to another.
    pub fn moved(&self) -> usize {
        self.count(|change| change.from.is_some() && change.to.is_some())
    }

    fn count(&self, which: impl Fn(&PrefixChange) -> bool) -> usize {
        self.prefixes
            .iter()
            .filter(|change| which(change))
            .map(|change| change.count)
            .sum()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefixes = self.prefixes.iter().map(|change| change.to_string());
        let terms = self.terms.iter().map(|change| change.to_string());
        let lines: Vec<String> = prefixes.chain(terms).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for PrefixChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.count == 1 {
            "prefix"
        } else {
            "prefixes"
        };
        write!(f, "{} {noun} ", self.count)?;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "moved from {from} to {to}")?,
            (None, Some(to)) => write!(f, "added to {to}")?,
            (Some(from), None) => write!(f, "removed from {from}")?,
            (None, None) => {}
        }
        let samples: Vec<String> = self.samples.iter().map(IpNet::to_string).collect();
        write!(f, ": {}", samples.join(", "))?;
        if self.count > self.samples.len() {
            f.write_str(", ...")?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Added => write!(f, "{} added", self.subject),
            What::Removed => write!(f, "{} removed", self.subject),
            What::Changed { from, to } => write!(f, "{}: {from} -> {to}", self.subject),
        }
    }
}

/// Changed terms while they are collected.
#[derive(Default)]
struct Terms(Vec<Change>);

impl Terms {
    fn push(&mut self, subject: String, what: What) {
        self.0.push(Change { subject, what });
    }

    fn compare(&mut self, subject: impl FnOnce() -> String, from: String, to: String) {
        if from != to {
            self.push(subject(), What::Changed { from, to });
        }
    }

    /// Pairs two lists by name: what is only in one of them is added or removed, and the pairs are
    /// returned.
    fn pair<'a, T>(
        &mut self,
        old: &'a [T],
        new: &'a [T],
        name: impl Fn(&T) -> &str,
        subject: impl Fn(&str) -> String,
    ) -> Vec<(&'a T, &'a T)> {
        let mut by_name: BTreeMap<&str, (Option<&T>, Option<&T>)> = BTreeMap::new();
        for item in old {
            by_name.entry(name(item)).or_default().0 = Some(item);
        }
        for item in new {
            by_name.entry(name(item)).or_default().1 = Some(item);
        }
        let mut pairs = Vec::new();
        for (name, sides) in by_name {
            match sides {
                (Some(old), Some(new)) => pairs.push((old, new)),
                (Some(_), None) => self.push(subject(name), What::Removed),
                _ => self.push(subject(name), What::Added),
            }
        }
        pairs
    }
}

fn compare_classes(old: &Policy, new: &Policy, terms: &mut Terms) {
    let pairs = terms.pair(
        &old.classes,
        &new.classes,
        |c| &c.name,
        |name| format!("class {name}"),
    );
    for (old, new) in pairs {
        let subject = |what| format!("class {}: {what}", new.name);
        terms.compare(
            || subject("title"),
            old.titles.to_string(),
            new.titles.to_string(),
        );
        terms.compare(
            || subject("rating_group"),
            old.rating_group.to_string(),
            new.rating_group.to_string(),
        );
        terms.compare(
            || subject("essential"),
            old.essential.to_string(),
            new.essential.to_string(),
        );
    }
}

/// Sets: when they are valid, and which class they are of. What they list is compared by prefix.
fn compare_sets(old: &Policy, new: &Policy, terms: &mut Terms) {
    let pairs = terms.pair(
        &old.sets,
        &new.sets,
        |set| &set.name,
        |name| format!("set {name}"),
    );
    for (a, b) in pairs {
        let subject = |what| format!("set {}: {what}", b.name);
        terms.compare(
            || subject("title"),
            a.titles.to_string(),
            b.titles.to_string(),
        );
        terms.compare(
            || subject("class"),
            old.classes[a.class].name.clone(),
            new.classes[b.class].name.clone(),
        );
        terms.compare(
            || subject("valid"),
            a.validity.to_string(),
            b.validity.to_string(),
        );
    }
}

fn compare_plans(old: &Policy, new: &Policy, terms: &mut Terms) {
    let pairs = terms.pair(
        &old.plans,
        &new.plans,
        |p| &p.name,
        |name| format!("plan {name}"),
    );
    for (a, b) in pairs {
        let subject = |what: &str| format!("plan {}: {what}", b.name);
        let suspension = |plan: &Plan| {
            if plan.suspension_ignored {
                "ignored"
            } else {
                "heeded"
            }
            .to_owned()
        };
        terms.compare(
            || subject("title"),
            a.titles.to_string(),
            b.titles.to_string(),
        );
        terms.compare(
            || subject("valid"),
            a.validity().to_string(),
            b.validity().to_string(),
        );
        terms.compare(
            || subject("successor"),
            show_successor(old, a),
            show_successor(new, b),
        );
        terms.compare(
            || subject("closed"),
            a.closed.to_string(),
            b.closed.to_string(),
        );
        terms.compare(
            || subject("count"),
            a.count.as_str().to_owned(),
            b.count.as_str().to_owned(),
        );
        terms.compare(|| subject("cycle"), show_cycle(a), show_cycle(b));
        terms.compare(
            || subject("renew"),
            a.renew.word().to_owned(),
            b.renew.word().to_owned(),
        );
        terms.compare(
            || subject("settlement"),
            a.settlement.word().to_owned(),
            b.settlement.word().to_owned(),
        );
        terms.compare(
            || subject("overrun"),
            a.overrun.word().to_owned(),
            b.overrun.word().to_owned(),
        );
        terms.compare(|| subject("suspension"), suspension(a), suspension(b));
        terms.compare(|| subject("gate"), show_gate(a), show_gate(b));
        let bucket_subject = |name: &str| format!("plan {}: bucket {name}", b.name);
        let buckets = terms.pair(
            &a.buckets,
            &b.buckets,
            |bucket: &Bucket| &bucket.name,
            bucket_subject,
        );
        for (old, new) in buckets {
            terms.compare(
                || bucket_subject(&new.name),
                show_grant(&old.grant),
                show_grant(&new.grant),
            );
        }
        compare_chains((old, a), (new, b), terms);
    }
}

/// Compares the chains of the classes that both policies have; classes that change alike share a
/// line.
fn compare_chains(old: (&Policy, &Plan), new: (&Policy, &Plan), terms: &mut Terms) {
    let mut alike: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for (class, chain) in new.0.classes.iter().zip(&new.1.chains) {
        if let Some((index, _)) = old.0.class(&class.name) {
            let from = old.1.chains[index].words(old.1).join(", ");
            let to = chain.words(new.1).join(", ");
            if from != to {
                alike.entry((from, to)).or_default().push(&class.name);
            }
        }
    }
    for ((from, to), classes) in alike {
        let subject = format!("plan {}: chain of {}", new.1.name, classes.join(", "));
        terms.push(subject, What::Changed { from, to });
    }
}

fn show_successor(policy: &Policy, plan: &Plan) -> String {
    plan.end.map_or_else(
        || "none".to_owned(),
        |end| policy.plans[end.successor].name.clone(),
    )
}

fn show_cycle(plan: &Plan) -> String {
    plan.cycle
        .map_or_else(|| "none".to_owned(), |cycle| cycle.to_string())
}

fn show_gate(plan: &Plan) -> String {
    let names: Vec<&str> = plan
        .gate
        .iter()
        .map(|&bucket| plan.buckets[bucket].name.as_str())
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn show_grant(grant: &Grant) -> String {
    match grant {
        Grant::Bytes(bytes) => show_volume(*bytes),
        Grant::Money(price) => price.to_string(),
    }
}

/// One side's listing of a prefix, with the name of its class there.
struct Side<'a> {
    key: (bool, u128, u128),
    net: IpNet,
    from: Option<&'a str>,
    to: Option<&'a str>,
}

fn compare_prefixes(old: &Policy, new: &Policy, t: Timestamp) -> Vec<PrefixChange> {
    let mut sides = Vec::new();
    for (policy, is_old) in [(old, true), (new, false)] {
        sides.extend(policy.active_prefixes(t).map(|(set, prefix)| {
            let class = Some(policy.classes[set.class].name.as_str());
            Side {
                key: Range::of(&prefix.net).sort_key(),
                net: prefix.net,
                from: class.filter(|_| is_old),
                to: class.filter(|_| !is_old),
            }
        }));
    }
    // Lists are sorted as a rule, and this sort makes use of it.
    sides.sort_by_key(|side| side.key);
    let mut groups: BTreeMap<(Option<&str>, Option<&str>), PrefixChange> = BTreeMap::new();
    for run in sides.chunk_by(|a, b| a.key == b.key) {
        let from = run.iter().find_map(|side| side.from);
        let to = run.iter().find_map(|side| side.to);
        if from == to {
            continue;
        }
        let group = groups.entry((from, to)).or_insert_with(|| PrefixChange {
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            count: 0,
            samples: Vec::new(),
        });
        group.count += 1;
        if group.samples.len() < SAMPLES {
            group.samples.push(run[0].net);
        }
    }
    groups.into_values().collect()
}
