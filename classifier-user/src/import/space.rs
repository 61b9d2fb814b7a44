//! Address space as ranges: sorted, apart from each other, each address once. Whatever a source lists, overlapping
//! and in pieces, ends here, and leaves as the fewest prefixes that have exactly the same addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::policy::{self, Range};

/// A set of addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4 before IPv6, ascending; between two of one family at least one address is left out.
    ranges: Vec<Range>,
}

impl Addresses {
    /// The addresses of `ranges`, in any order, overlapping or not.
    pub(crate) fn of_ranges(mut ranges: Vec<Range>) -> Self {
        ranges.sort_unstable_by_key(Range::sort_key);
        let mut joined: Vec<Range> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if last.v6 == range.v6 && range.first <= last.last.saturating_add(1) => {
                    last.last = last.last.max(range.last);
                }
                _ => joined.push(range),
            }
        }
        Self { ranges: joined }
    }

    /// The addresses of `prefixes`.
    pub fn of<'a>(prefixes: impl IntoIterator<Item = &'a IpNet>) -> Self {
        Self::of_ranges(prefixes.into_iter().map(Range::of).collect())
    }

    /// Whether there is no address in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The fewest prefixes that have these addresses, IPv4 first, ascending.
    #[must_use]
    pub fn prefixes(&self) -> Vec<IpNet> {
        self.ranges.iter().flat_map(|&range| cut(range)).collect()
    }

    /// Whether an address is in both.
    #[must_use]
    pub fn touches(&self, other: &Self) -> bool {
        other.ranges.iter().any(|range| {
            let before = |own: &Range| (own.v6, own.last) < (range.v6, range.first);
            let next = self.ranges.get(self.ranges.partition_point(before));
            next.is_some_and(|own| own.v6 == range.v6 && own.first <= range.last)
        })
    }

    /// What is in this space and not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        let mut others = other.ranges.as_slice();
        for range in &self.ranges {
            let mut first = range.first;
            // What lies before this range lies before all that follow.
            let before = |taken: &Range| (taken.v6, taken.last) < (range.v6, range.first);
            others = &others[others.partition_point(before)..];
            let touching = others
                .iter()
                .take_while(|taken| taken.v6 == range.v6 && taken.first <= range.last);
            let mut rest = true;
            for taken in touching {
                if taken.first > first {
                    left.push(Range {
                        first,
                        last: taken.first - 1,
                        ..*range
                    });
                }
                match taken.last.checked_add(1) {
                    Some(next) if next <= range.last => first = first.max(next),
                    _ => {
                        rest = false;
                        break;
                    }
                }
            }
            if rest {
                left.push(Range { first, ..*range });
            }
        }
        Self { ranges: left }
    }

    /// How many addresses there are.
    #[must_use]
    pub fn size(&self) -> policy::Space {
        let mut size = policy::Space::default();
        for range in &self.ranges {
            size.add(range.v6, (range.last - range.first).saturating_add(1));
        }
        size
    }
}

/// The prefixes of one range: each time the largest that begins where the last one ended.
fn cut(range: Range) -> impl Iterator<Item = IpNet> {
    let width: u32 = if range.v6 { 128 } else { 32 };
    let mut next = Some(range.first);
    std::iter::from_fn(move || {
        let first = next?;
        // How many addresses are left, less one, says how large a prefix fits.
        let left = range.last - first;
        let fits = match left.checked_add(1) {
            Some(count) => count.ilog2(),
            None => 128,
        };
        let free = first.trailing_zeros().min(fits).min(width);
        let last = match free {
            128 => u128::MAX,
            free => first | ((1 << free) - 1),
        };
        next = last.checked_add(1).filter(|next| *next <= range.last);
        let address = match range.v6 {
            false => IpAddr::V4(Ipv4Addr::from_bits(first as u32)),
            true => IpAddr::V6(Ipv6Addr::from_bits(first)),
        };
        IpNet::new(address, (width - free) as u8).ok()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn range(v6: bool, first: u128, last: u128) -> Range {
        Range { v6, first, last }
    }

    #[test]
    fn the_whole_of_both_families() {
        let all = [
            range(false, 0, u128::from(u32::MAX)),
            range(true, 0, u128::MAX),
        ];
        let space = Addresses::of_ranges(all.to_vec());
        let prefixes: Vec<String> = space.prefixes().iter().map(IpNet::to_string).collect();
        assert_eq!(prefixes, ["0.0.0.0/0", "::/0"]);
        assert_eq!(
            space.size(),
            policy::Space {
                v4: 1 << 32,
                v6: u128::MAX
            }
        );
        assert!(space.minus(&space).is_empty());
        let half = Addresses::of(&["128.0.0.0/1".parse().unwrap(), "8000::/1".parse().unwrap()]);
        let rest = space.minus(&half).prefixes();
        let rest: Vec<String> = rest.iter().map(IpNet::to_string).collect();
        assert_eq!(rest, ["0.0.0.0/1", "::/1"]);
        let last = Addresses::of(&["255.255.255.255/32".parse().unwrap()]);
        assert!(space.touches(&last) && half.touches(&last) && last.touches(&half));
        let first = Addresses::of(&["0.0.0.0/32".parse().unwrap(), "7fff::/16".parse().unwrap()]);
        assert!(!half.touches(&first) && !first.touches(&half));
    }

    #[test]
    fn neighbours_become_one_and_families_stay_apart() {
        let space = Addresses::of_ranges(vec![
            range(true, 1 << 32, (1 << 32) + 3),
            range(false, u128::from(u32::MAX) - 3, u128::from(u32::MAX)),
            range(false, u128::from(u32::MAX) - 5, u128::from(u32::MAX) - 4),
        ]);
        let prefixes: Vec<String> = space.prefixes().iter().map(IpNet::to_string).collect();
        assert_eq!(
            prefixes,
            ["255.255.255.250/31", "255.255.255.252/30", "::1:0:0/126"]
        );
    }

    fn ranges() -> impl Strategy<Value = Vec<Range>> {
        // Few addresses, at both ends, so that they meet.
        let one = (any::<bool>(), any::<bool>(), 0_u128..40, 0_u128..12);
        let one = one.prop_map(|(v6, high, first, length)| {
            let (base, most) = match (v6, high) {
                (_, false) => (0, u128::MAX),
                (false, true) => (u128::from(u32::MAX) - 50, u128::from(u32::MAX)),
                (true, true) => (u128::MAX - 50, u128::MAX),
            };
            range(v6, base + first, (base + first + length).min(most))
        });
        prop::collection::vec(one, 0..12)
    }

    fn addresses(ranges: impl IntoIterator<Item = Range>) -> BTreeSet<(bool, u128)> {
        ranges
            .into_iter()
            .flat_map(|range| (range.first..=range.last).map(move |address| (range.v6, address)))
            .collect()
    }

    proptest! {
        #[test]
        fn no_address_more_or_less(a in ranges(), b in ranges()) {
            let (expected_a, expected_b) = (addresses(a.clone()), addresses(b.clone()));
            let (a, b) = (Addresses::of_ranges(a), Addresses::of_ranges(b));
            let prefixes = a.prefixes();
            let found = addresses(prefixes.iter().map(Range::of));
            prop_assert_eq!(&found, &expected_a);
            // Each address once, and no two prefixes that could be one.
            let size = a.size();
            prop_assert_eq!(size.v4 + size.v6, expected_a.len() as u128);
            prop_assert_eq!(IpNet::aggregate(&prefixes).len(), prefixes.len());
            prop_assert_eq!(Addresses::of(&prefixes), a.clone());
            let difference: BTreeSet<_> = expected_a.difference(&expected_b).copied().collect();
            prop_assert_eq!(addresses(a.minus(&b).ranges), difference);
        }
    }
}
