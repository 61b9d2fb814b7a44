//! Who pays for a class under a plan, in words: two policies ask the same price where these are the same.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;

use super::model::{Bucket, ChainEnd, Count, Grant, Plan, Policy};
use super::space::{Flat, NO_SET};
use crate::subscribers::State;

/// Who pays for a class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Paid {
    /// The chain, with the prices of what is money in it; what comes before it.
    words: String,
    /// The number billing knows the class by.
    pub rating_group: u32,
}

impl Policy {
    /// Who pays for a class under a plan, both by their number, of a subscriber in this state.
    #[must_use]
    pub fn paid(&self, plan: usize, class: usize, state: State) -> Paid {
        let (plan, of) = (&self.plans[plan], &self.classes[class]);
        let mut words = words(plan, class);
        if of.essential {
            words = format!("{words}, never dropped");
        } else if state == State::Suspended && !plan.suspension_ignored {
            words = "dropped: suspended".to_owned();
        }
        Paid {
            words,
            rating_group: of.rating_group,
        }
    }
}

fn words(plan: &Plan, class: usize) -> String {
    if plan.is_free(class) {
        return ChainEnd::Free.as_str().to_owned();
    }
    let chain = &plan.chains[class];
    let name = |bucket: &usize| {
        let Bucket { name, grant } = &plan.buckets[*bucket];
        match grant {
            Grant::Bytes(_) => name.clone(),
            Grant::Money(price) => format!("{name} at {price}"),
        }
    };
    let mut steps: Vec<String> = chain.buckets.iter().map(name).collect();
    steps.extend(plan.limit_of(chain).iter().map(name));
    steps.push(chain.end.as_str().to_owned());
    let mut words = steps.join(" > ");
    if !plan.gate.is_empty() {
        let gate = plan.gate.iter();
        let gate: Vec<&str> = gate
            .map(|&bucket| plan.buckets[bucket].name.as_str())
            .collect();
        words = format!("{words}, while there is {}", gate.join(" or "));
    }
    if plan.count != Count::Both && !chain.buckets.is_empty() {
        words = format!("{words}, drawn by {}", plan.count.as_str());
    }
    words
}

impl fmt::Display for Paid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            words,
            rating_group,
        } = self;
        write!(f, "{words} (rating group {rating_group})")
    }
}

/// The class of every address at one time, for many questions.
pub struct ClassMap<'a> {
    policy: &'a Policy,
    flat: Flat,
}

impl<'a> ClassMap<'a> {
    /// The classes as they are at `t`.
    #[must_use]
    pub fn new(policy: &'a Policy, t: Timestamp) -> Self {
        Self {
            policy,
            flat: Flat::of_policy(policy, t),
        }
    }

    /// Index of an address's class.
    #[must_use]
    pub fn class_of(&self, address: IpAddr) -> usize {
        self.class(self.flat.at(address))
    }

    fn class(&self, set: u32) -> usize {
        match set {
            NO_SET => self.policy.default_class,
            set => self.policy.sets[set as usize].class,
        }
    }

    /// The pairs of classes, of this policy and of another one, that some address is in, each once.
    #[must_use]
    pub fn pairs(&self, other: &ClassMap<'_>) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        self.flat.overlay(&other.flat, |_, _, own, theirs| {
            let pair = (self.class(own), other.class(theirs));
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        });
        pairs.sort_unstable();
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
name = "p"
default_class = "internet"
[classes.internet]
rating_group = 1
[classes.portal]
rating_group = 2
essential = true
[classes.chat]
rating_group = 3
[[sets]]
name = "portal"
class = "portal"
prefixes = ["8.8.0.0/16"]
[[sets]]
name = "chat"
class = "chat"
prefixes = ["8.8.8.0/24"]
valid_from = 2026-01-01T00:00:00Z
[plans.a]
count = "down"
gate = ["main"]
[plans.a.buckets]
main = "1GB"
balance = { price = "2 KZT/MB" }
[plans.a.charge]
portal = ["main", "drop"]
chat = "free"
"*" = ["main", "balance", "drop"]
"#;

    #[test]
    fn who_pays_is_said_in_words_and_classes_are_those_of_explain() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("policy.toml"), POLICY).unwrap();
        let policy = super::super::load(dir.path()).unwrap().policy;
        let paid = |class: &str, state| {
            let class = policy.class(class).unwrap().0;
            policy.paid(0, class, state).to_string()
        };
        assert_eq!(
            paid("internet", State::Active),
            "main > balance at 2 KZT/MB > drop, while there is main, drawn by down (rating group 1)"
        );
        assert_eq!(paid("chat", State::Active), "free (rating group 3)");
        assert_eq!(
            paid("chat", State::Suspended),
            "dropped: suspended (rating group 3)"
        );
        assert_eq!(
            paid("portal", State::Suspended),
            "main > drop, while there is main, drawn by down, never dropped (rating group 2)"
        );
        for time in ["2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"] {
            let time: Timestamp = time.parse().unwrap();
            let map = ClassMap::new(&policy, time);
            for address in [
                "8.7.255.255",
                "8.8.0.0",
                "8.8.8.8",
                "8.8.9.0",
                "8.9.0.0",
                "::1",
                "2001::",
            ] {
                let address: IpAddr = address.parse().unwrap();
                assert_eq!(
                    map.class_of(address),
                    policy.class_of(address, time).0,
                    "{address}"
                );
            }
        }
    }
}
