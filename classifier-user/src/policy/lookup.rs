//! Questions to a checked policy, answered by looking at everything in it: right for commands and
//! tests, while packets are answered by the compiled image.

use std::net::IpAddr;

use jiff::Timestamp;

use super::model::{Class, ListedPrefix, Plan, Policy, PrefixSet, Validity};
use super::prefix::Range;

impl Policy {
    /// The class of `address` at `t` (an index into [`Policy::classes`]), and the listing that
    /// decides it: the longest prefix of all sets that exist at `t`, the first read of equal ones.
    /// `None`: the default class.
    pub fn class_of(
        &self,
        address: IpAddr,
        t: Timestamp,
    ) -> (usize, Option<(&PrefixSet, &ListedPrefix)>) {
        let longest = self
            .listings_of(address)
            .into_iter()
            .find(|(set, _)| set.validity.contains(t));
        (
            longest.map_or(self.default_class, |(set, _)| set.class),
            longest,
        )
    }

    /// Every listing that covers `address` at whatever time, longest prefix first, equal ones as
    /// they were read.
    pub fn listings_of(&self, address: IpAddr) -> Vec<(&PrefixSet, &ListedPrefix)> {
        let address = Range::of(&address.into());
        let mut found: Vec<_> = self
            .listings()
            .filter(|(_, prefix)| Range::of(&prefix.net).contains(&address))
            .collect();
        found.sort_by_key(|(_, prefix)| std::cmp::Reverse(prefix.net.prefix_len()));
        found
    }

    /// The prefixes that exist at `t` with their sets, in the order they were read. A prefix may
    /// come more than once, always with the same class.
    pub fn active_prefixes(
        &self,
        t: Timestamp,
    ) -> impl Iterator<Item = (&PrefixSet, &ListedPrefix)> {
        self.listings()
            .filter(move |(set, _)| set.validity.contains(t))
    }

    /// All prefixes with their sets, in the order they were read.
    fn listings(&self) -> impl Iterator<Item = (&PrefixSet, &ListedPrefix)> {
        self.sets
            .iter()
            .flat_map(|set| set.prefixes.iter().map(move |prefix| (set, prefix)))
    }

    /// Every instant at which a set or a plan begins or ceases to exist, sorted, each once: between two
    /// neighbours the policy does not change.
    pub fn boundaries(&self) -> Vec<Timestamp> {
        let sets = self.sets.iter().map(|set| set.validity);
        let all = sets.chain(self.plans.iter().map(Plan::validity));
        let bounds = |validity: Validity| [validity.from, validity.until];
        let mut instants: Vec<_> = all.flat_map(bounds).flatten().collect();
        instants.sort_unstable();
        instants.dedup();
        instants
    }

    /// The class named `name` and its index.
    pub fn class(&self, name: &str) -> Option<(usize, &Class)> {
        let index = self
            .classes
            .binary_search_by(|class| class.name.as_str().cmp(name))
            .ok()?;
        Some((index, &self.classes[index]))
    }

    /// The plan named `name` and its index.
    pub fn plan(&self, name: &str) -> Option<(usize, &Plan)> {
        let index = self
            .plans
            .binary_search_by(|plan| plan.name.as_str().cmp(name))
            .ok()?;
        Some((index, &self.plans[index]))
    }

    /// Number of listed IPv4 and IPv6 prefixes.
    pub fn prefix_counts(&self) -> (usize, usize) {
        let total = self
            .sets
            .iter()
            .map(|set| set.prefixes.len())
            .sum::<usize>();
        let v4 = self
            .listings()
            .filter(|(_, prefix)| prefix.net.addr().is_ipv4())
            .count();
        (v4, total - v4)
    }
}
