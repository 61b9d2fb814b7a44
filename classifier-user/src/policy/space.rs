//! Address space, counted: what a policy makes of every address at one time, and how much of it another one makes
//! something else of.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::model::Policy;
use super::prefix::Range;
use crate::image::intervals::{Interval, Span, intervals};

/// An amount of address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// IPv4 addresses.
    pub v4: u128,
    /// IPv6 addresses; all of them count as one less.
    pub v6: u128,
}

impl Space {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// IPv4 in /24s.
    #[must_use]
    pub fn v4_24s(self) -> f64 {
        self.v4 as f64 / 256.0
    }

    /// IPv6 in /48s.
    #[must_use]
    pub fn v6_48s(self) -> f64 {
        self.v6 as f64 / 2_f64.powi(80)
    }

    /// What there is of one address family.
    pub(super) fn family(self, v6: bool) -> u128 {
        if v6 { self.v6 } else { self.v4 }
    }

    pub(crate) fn add(&mut self, v6: bool, addresses: u128) {
        let sum = if v6 { &mut self.v6 } else { &mut self.v4 };
        *sum = sum.saturating_add(addresses);
    }
}

/// As in `512 IPv4 addresses (2 /24s), 1 IPv6 /48`; `none` where there is none.
impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        if self.v4 > 0 {
            let noun = if self.v4 == 1 { "address" } else { "addresses" };
            let blocks = Blocks(self.v4_24s(), 24);
            write!(f, "{} IPv4 {noun} ({blocks})", thousands(self.v4))?;
        }
        if self.v6 > 0 {
            let comma = if self.v4 > 0 { ", " } else { "" };
            write!(f, "{comma}IPv6 of {}", Blocks(self.v6_48s(), 48))?;
        }
        Ok(())
    }
}

/// A number of prefixes of one length, rounded to tenths.
struct Blocks(f64, u8);

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, length) = self;
        let tenths = (count * 10.0).round();
        match tenths {
            t if t < 1.0 => write!(f, "less than a tenth of a /{length}"),
            10.0 => write!(f, "1 /{length}"),
            t if t % 10.0 == 0.0 => {
                write!(f, "{} /{length}s", thousands((t / 10.0) as u128))
            }
            t => write!(
                f,
                "{}.{} /{length}s",
                thousands((t / 10.0).floor() as u128),
                t % 10.0
            ),
        }
    }
}

/// The number with commas.
pub(super) fn thousands(number: u128) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// No set: the default class.
pub(super) const NO_SET: u32 = u32::MAX;

/// The whole address space, IPv4 and IPv6: ascending intervals, each with a number.
pub(super) struct Flat([Vec<Interval>; 2]);

impl Flat {
    /// Each address with the number of the set that decides at `t`, or [`NO_SET`].
    pub(super) fn of_policy(policy: &Policy, t: Timestamp) -> Self {
        let in_force = policy
            .sets
            .iter()
            .zip(0..)
            .filter(|(set, _)| set.validity.contains(t));
        Self::of(
            in_force.flat_map(|(set, number)| {
                set.prefixes.iter().map(move |prefix| (&prefix.net, number))
            }),
        )
    }

    /// Each address with the number of the longest prefix around it, the first given of equal ones.
    pub(super) fn of<'a>(prefixes: impl IntoIterator<Item = (&'a IpNet, u32)>) -> Self {
        let mut spans: [Vec<Span>; 2] = [Vec::new(), Vec::new()];
        for (net, value) in prefixes {
            let range = Range::of(net);
            spans[usize::from(range.v6)].push(Span {
                first: range.first,
                last: range.last,
                value,
            });
        }
        // Of equal spans the last one wins there.
        Flat(spans.map(|mut spans| {
            spans.reverse();
            intervals(spans, NO_SET)
        }))
    }

    /// The number of an address.
    pub(super) fn at(&self, address: IpAddr) -> u32 {
        let (v6, address) = match address {
            IpAddr::V4(address) => (false, u128::from(address.to_bits())),
            IpAddr::V6(address) => (true, address.to_bits()),
        };
        let list = &self.0[usize::from(v6)];
        // The first interval begins at zero.
        list[list.partition_point(|interval| interval.first <= address) - 1].value
    }

    /// Calls `each` with every piece of address space for which both have one number: whether it is IPv6, how many
    /// addresses it has, and the numbers.
    pub(super) fn overlay(&self, other: &Flat, mut each: impl FnMut(bool, u128, u32, u32)) {
        for (v6, end) in [(false, u128::from(u32::MAX)), (true, u128::MAX)] {
            let (a, b) = (&self.0[usize::from(v6)], &other.0[usize::from(v6)]);
            let (mut i, mut j, mut first) = (0, 0, 0);
            loop {
                let next = |list: &[Interval], at: usize| list.get(at + 1).map(|next| next.first);
                let ends = [next(a, i), next(b, j)].into_iter().flatten().min();
                // What begins behind the last IPv4 address, after a prefix that reaches to it, holds nothing.
                let ends = ends.filter(|&next| next <= end);
                let last = ends.map_or(end, |next| next - 1);
                let addresses = (last - first).saturating_add(1);
                each(v6, addresses, a[i].value, b[j].value);
                let Some(next_first) = ends else { break };
                i += usize::from(next(a, i) == Some(next_first));
                j += usize::from(next(b, j) == Some(next_first));
                first = next_first;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_reaches_to_the_last_address_is_counted_to_it_and_no_further() {
        let last: [IpNet; 2] = [
            "255.255.255.255/32".parse().unwrap(),
            "ff00::/8".parse().unwrap(),
        ];
        let ends = Flat::of(last.iter().map(|net| (net, 1)));
        let nothing = Flat::of([]);
        for (a, b) in [(&ends, &ends), (&ends, &nothing), (&nothing, &ends)] {
            let (mut all, mut listed) = (Space::default(), Space::default());
            a.overlay(b, |v6, addresses, a, b| {
                all.add(v6, addresses);
                if (a, b) != (NO_SET, NO_SET) {
                    listed.add(v6, addresses);
                }
            });
            let (v4, v6) = (1_u128 << 32, u128::MAX);
            assert_eq!(all, Space { v4, v6 });
            let (v4, v6) = (1, 1 << 120);
            assert_eq!(listed, Space { v4, v6 });
        }
    }

    #[test]
    fn amounts_are_shown_in_blocks() {
        for (v4, v6, expected) in [
            (0, 0, "none"),
            (1, 0, "1 IPv4 address (less than a tenth of a /24)"),
            (256, 0, "256 IPv4 addresses (1 /24)"),
            (640, 0, "640 IPv4 addresses (2.5 /24s)"),
            (0, 1 << 80, "IPv6 of 1 /48"),
            (
                1 << 24,
                1 << 96,
                "16,777,216 IPv4 addresses (65,536 /24s), IPv6 of 65,536 /48s",
            ),
        ] {
            assert_eq!(Space { v4, v6 }.to_string(), expected);
        }
    }
}
