//! What one policy makes other than another, in full: every prefix of every set that comes, goes or moves, and how much
//! address space is paid for otherwise.
//!
//! [`Edits`] are about what is listed, whenever it is valid: applied to what the old policy lists they give what the new
//! one lists. [`Weights`] are about what holds at one time.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use ipnet::IpNet;
use jiff::Timestamp;

use super::model::{Chain, ChainEnd, Plan, Policy};
use super::prefix::Range;
use super::space::{Flat, Space, thousands};

/// How many prefixes a [`SetEdits`] shows.
const SAMPLES: usize = 3;

/// Every prefix that sets list otherwise. A set that lists a prefix twice lists it once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// Names of the sets of both policies, sorted.
    pub sets: Vec<String>,
    /// By address.
    pub edits: Vec<Edit>,
}

/// One prefix and the sets it goes from and to, as indices into [`Edits::sets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    /// The prefix.
    pub net: IpNet,
    /// The set that no longer lists it; `None` if it is only added.
    pub from: Option<u32>,
    /// The set that lists it now; `None` if it is only removed.
    pub to: Option<u32>,
}

/// What becomes of one set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetEdits {
    /// The set.
    pub set: String,
    /// Prefixes no set listed instead before.
    pub added: usize,
    /// Prefixes no set lists instead now.
    pub removed: usize,
    /// Prefixes that came from other sets.
    pub moved_in: usize,
    /// Prefixes that went to other sets.
    pub moved_out: usize,
    /// The first few of all of them, by address.
    pub samples: Vec<IpNet>,
}

/// One listing of one side, small, since there are millions.
struct Listing {
    key: (bool, u128, u128),
    set: u32,
    new: bool,
    net: IpNet,
}

impl Edits {
    /// Compares what two policies list.
    #[must_use]
    pub fn between(old: &Policy, new: &Policy) -> Self {
        let policies = [old, new];
        let mut sets: Vec<String> = policies
            .iter()
            .flat_map(|policy| policy.sets.iter().map(|set| set.name.clone()))
            .collect();
        sets.sort_unstable();
        sets.dedup();
        let mut listings = Vec::new();
        for (policy, new) in [(old, false), (new, true)] {
            for set in &policy.sets {
                let number = sets.binary_search(&set.name).unwrap_or(0) as u32;
                listings.extend(set.prefixes.iter().map(|prefix| Listing {
                    key: Range::of(&prefix.net).sort_key(),
                    set: number,
                    new,
                    net: prefix.net,
                }));
            }
        }
        // Lists are sorted as a rule, and this sort makes use of it.
        listings.sort_by_key(|listing| (listing.key, listing.set, listing.new));
        let mut edits = Vec::new();
        for run in listings.chunk_by(|a, b| a.key == b.key) {
            compare(run, &mut edits);
        }
        Edits { sets, edits }
    }

    /// What becomes of each set that changes, by name.
    #[must_use]
    pub fn by_set(&self) -> Vec<SetEdits> {
        let mut found: BTreeMap<u32, SetEdits> = BTreeMap::new();
        let mut at = |set: u32, net: IpNet, count: fn(&mut SetEdits) -> &mut usize| {
            let about = found.entry(set).or_insert_with(|| SetEdits {
                set: self.sets[set as usize].clone(),
                added: 0,
                removed: 0,
                moved_in: 0,
                moved_out: 0,
                samples: Vec::new(),
            });
            *count(about) += 1;
            if about.samples.len() < SAMPLES {
                about.samples.push(net);
            }
        };
        for edit in &self.edits {
            match (edit.from, edit.to) {
                (Some(from), Some(to)) => {
                    at(from, edit.net, |about| &mut about.moved_out);
                    at(to, edit.net, |about| &mut about.moved_in);
                }
                (Some(from), None) => at(from, edit.net, |about| &mut about.removed),
                (None, Some(to)) => at(to, edit.net, |about| &mut about.added),
                (None, None) => {}
            }
        }
        found.into_values().collect()
    }

    /// The name of a set.
    #[must_use]
    pub fn name(&self, set: u32) -> &str {
        &self.sets[set as usize]
    }
}

/// Adds what is different among the listings of one prefix, which are sorted by set.
fn compare(run: &[Listing], edits: &mut Vec<Edit>) {
    let sides = |new: bool| {
        let mut sets: Vec<u32> = run
            .iter()
            .filter(|listing| listing.new == new)
            .map(|listing| listing.set)
            .collect();
        sets.dedup();
        sets
    };
    if let [a, b] = run
        && a.set == b.set
        && a.new != b.new
    {
        // As almost all are.
        return;
    }
    let (old, new) = (sides(false), sides(true));
    let gone = old.iter().filter(|set| !new.contains(set));
    let come = new.iter().filter(|set| !old.contains(set));
    let (mut gone, mut come) = (gone.copied(), come.copied());
    loop {
        match (gone.next(), come.next()) {
            (None, None) => return,
            (from, to) => edits.push(Edit {
                net: run[0].net,
                from,
                to,
            }),
        }
    }
}

impl fmt::Display for SetEdits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.added, "added"),
            (self.removed, "removed"),
            (self.moved_in, "from other sets"),
            (self.moved_out, "to other sets"),
        ];
        let counts: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", thousands(*count as u128)))
            .collect();
        let samples: Vec<String> = self.samples.iter().map(IpNet::to_string).collect();
        let total = self.added + self.removed + self.moved_in + self.moved_out;
        let rest = if total > self.samples.len() {
            ", ..."
        } else {
            ""
        };
        write!(
            f,
            "set {}: prefixes {}: {}{rest}",
            self.set,
            counts.join(", "),
            samples.join(", ")
        )
    }
}

/// How much address space changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weights {
    /// Address space that is in another class, most first.
    pub classes: Vec<ClassWeight>,
    /// Address space that is paid for otherwise, for each plan both policies have and for which there is any.
    pub plans: Vec<PlanWeight>,
}

/// Address space that goes from one class to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassWeight {
    /// The class it was in.
    pub from: String,
    /// The class it is in.
    pub to: String,
    /// How much it is.
    pub space: Space,
}

/// Address space for which another charge chain holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanWeight {
    /// The plan.
    pub plan: String,
    /// What was paid for and is free.
    pub becomes_free: Space,
    /// What was free and is paid for.
    pub was_free: Space,
    /// What is paid for in both, by another chain.
    pub otherwise: Space,
}

impl Weights {
    /// Compares two policies as they hold at `t`.
    #[must_use]
    pub fn between(old: &Policy, new: &Policy, t: Timestamp) -> Self {
        let mut pairs: HashMap<(usize, usize), Space> = HashMap::new();
        let class = |policy: &Policy, set: u32| {
            let set = policy.sets.get(set as usize);
            set.map_or(policy.default_class, |set| set.class)
        };
        Flat::of_policy(old, t).overlay(&Flat::of_policy(new, t), |v6, addresses, a, b| {
            let pair = (class(old, a), class(new, b));
            pairs.entry(pair).or_default().add(v6, addresses);
        });
        let mut classes: Vec<ClassWeight> = pairs
            .iter()
            .map(|(&(from, to), &space)| ClassWeight {
                from: old.classes[from].name.clone(),
                to: new.classes[to].name.clone(),
                space,
            })
            .filter(|weight| weight.from != weight.to)
            .collect();
        let size = |weight: &ClassWeight| (weight.space.v6_48s(), weight.space.v4);
        classes.sort_by(|a, b| {
            size(b)
                .partial_cmp(&size(a))
                .unwrap_or(Ordering::Equal)
                .then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to)))
        });
        let both = new
            .plans
            .iter()
            .filter_map(|plan| Some((old.plan(&plan.name)?.1, plan)));
        let plans = both
            .map(|(before, after)| weigh(before, after, &pairs))
            .filter(|weight| {
                let parts = [weight.becomes_free, weight.was_free, weight.otherwise];
                parts.iter().any(|space| !space.is_empty())
            })
            .collect();
        Weights { classes, plans }
    }
}

fn weigh(before: &Plan, after: &Plan, pairs: &HashMap<(usize, usize), Space>) -> PlanWeight {
    let mut weight = PlanWeight {
        plan: after.name.clone(),
        becomes_free: Space::default(),
        was_free: Space::default(),
        otherwise: Space::default(),
    };
    let free = |chain: &Chain| chain.buckets.is_empty() && chain.end == ChainEnd::Free;
    for (&(from, to), space) in pairs {
        let (a, b) = (&before.chains[from], &after.chains[to]);
        let sum = match (free(a), free(b)) {
            (false, true) => &mut weight.becomes_free,
            (true, false) => &mut weight.was_free,
            _ if a.words(before) != b.words(after) => &mut weight.otherwise,
            _ => continue,
        };
        sum.add(false, space.v4);
        sum.add(true, space.v6);
    }
    weight
}

/// One line for each change; nothing if there is none.
impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<String> = self.classes.iter().map(ClassWeight::to_string).collect();
        for plan in &self.plans {
            lines.extend(
                plan.parts()
                    .map(|(what, space)| format!("plan {}: {what}: {space}", plan.plan)),
            );
        }
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for ClassWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, space } = self;
        write!(f, "address space from {from} to {to}: {space}")
    }
}

impl PlanWeight {
    /// What of it there is, and what messages call it.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, Space)> {
        [
            ("becomes free", self.becomes_free),
            ("is no longer free", self.was_free),
            ("is paid for otherwise", self.otherwise),
        ]
        .into_iter()
        .filter(|(_, space)| !space.is_empty())
    }
}
