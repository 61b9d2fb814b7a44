//! Addresses that two subscribers claim. Prefixes either nest or are disjoint, so one pass over all
//! of them, sorted by address, meets each prefix with those that contain it still open.

use super::Subscriber;
use crate::diagnostic::{Diagnostics, quote};
use crate::policy::{ListedPrefix, Range};

/// A prefix and whose it is.
#[derive(Clone, Copy)]
struct Claim {
    range: Range,
    subscriber: u32,
    prefix: u32,
}

/// What is wrong between two claims; the first of each pair was read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clash {
    /// One subscriber lists one prefix twice.
    Twice,
    /// Two subscribers list the same addresses.
    Stolen,
}

/// Reports prefixes of two subscribers that overlap as errors, repeated ones of one subscriber as
/// warnings.
pub(super) fn check(subscribers: &[Subscriber], out: &mut Diagnostics) {
    for (clash, first, second) in clashes(subscribers) {
        let (_, a) = claimed(subscribers, first);
        let (owner, b) = claimed(subscribers, second);
        match clash {
            Clash::Twice => out.warn(
                b.place.clone(),
                "duplicate",
                format!(
                    "subscriber {} has {} already, at {}",
                    quote(&owner.id),
                    b.net,
                    a.place
                ),
                "list it once",
            ),
            Clash::Stolen => {
                let (other, _) = claimed(subscribers, first);
                let of_other = if a.net == b.net {
                    String::new()
                } else {
                    format!("{} of ", a.net)
                };
                out.error(
                    b.place.clone(),
                    "overlap",
                    format!(
                        "{} of subscriber {} overlaps {of_other}subscriber {} at {}",
                        b.net,
                        quote(&owner.id),
                        quote(&other.id),
                        a.place
                    ),
                    "give each address to one subscriber; only one's own prefixes may nest",
                );
            }
        }
    }
}

fn claimed(subscribers: &[Subscriber], claim: Claim) -> (&Subscriber, &ListedPrefix) {
    let subscriber = &subscribers[claim.subscriber as usize];
    (subscriber, &subscriber.prefixes[claim.prefix as usize])
}

/// For every prefix that repeats or lies in one of another subscriber, one such pair.
fn clashes(subscribers: &[Subscriber]) -> Vec<(Clash, Claim, Claim)> {
    let mut claims = Vec::with_capacity(subscribers.len());
    for (subscriber, number) in subscribers.iter().zip(0..) {
        claims.extend(
            subscriber
                .prefixes
                .iter()
                .zip(0..)
                .map(|(prefix, index)| Claim {
                    range: Range::of(&prefix.net),
                    subscriber: number,
                    prefix: index,
                }),
        );
    }
    claims.sort_unstable_by_key(|claim| (claim.range.sort_key(), claim.subscriber, claim.prefix));
    let mut open: Vec<Claim> = Vec::new();
    let mut clashes = Vec::new();
    for claim in claims {
        while open
            .last()
            .is_some_and(|outer| !outer.range.contains(&claim.range))
        {
            open.pop();
        }
        let rival = open
            .iter()
            .rev()
            .find(|outer| outer.subscriber != claim.subscriber);
        let repeated = open
            .last()
            .is_some_and(|last| (last.range, last.subscriber) == (claim.range, claim.subscriber));
        match (rival, open.last()) {
            (Some(&rival), _) => {
                let in_order = (rival.subscriber, rival.prefix) < (claim.subscriber, claim.prefix);
                let (first, second) = if in_order {
                    (rival, claim)
                } else {
                    (claim, rival)
                };
                clashes.push((Clash::Stolen, first, second));
            }
            (None, Some(&last)) if repeated => clashes.push((Clash::Twice, last, claim)),
            _ => {}
        }
        // So that the search for a rival passes at most one prefix of each length.
        if !repeated {
            open.push(claim);
        }
    }
    clashes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;
    use std::sync::Arc;

    use ipnet::{IpNet, Ipv4Net, Ipv6Net};
    use proptest::prelude::*;

    use crate::policy::Place;
    use crate::subscribers::State;

    fn arbitrary_net() -> impl Strategy<Value = IpNet> {
        // A small corner of the address space, so that prefixes meet.
        (any::<bool>(), 0u8..16, 0u8..=4).prop_map(|(v6, bits, length)| {
            let net: IpNet = if v6 {
                Ipv6Net::new((u128::from(bits) << 64).into(), 60 + length)
                    .unwrap()
                    .into()
            } else {
                Ipv4Net::new((u32::from(bits) << 8).into(), 20 + length)
                    .unwrap()
                    .into()
            };
            net.trunc()
        })
    }

    fn arbitrary_subscribers() -> impl Strategy<Value = Vec<Subscriber>> {
        prop::collection::vec(prop::collection::vec(arbitrary_net(), 0..4), 0..5).prop_map(
            |lists| {
                let file = Arc::new(PathBuf::from("f"));
                let place = |line| Place {
                    file: Arc::clone(&file),
                    line,
                    column: 1,
                };
                let mut line = 0;
                lists
                    .into_iter()
                    .map(|nets| Subscriber {
                        id: "".into(),
                        plan: 0,
                        state: State::Active,
                        prefixes: nets
                            .into_iter()
                            .map(|net| {
                                line += 1;
                                ListedPrefix {
                                    net,
                                    place: place(line),
                                }
                            })
                            .collect(),
                        place: place(line),
                    })
                    .collect()
            },
        )
    }

    /// Lines of the longer (of equal ones: the later) prefix of each pair that clashes, the slow
    /// way.
    fn naive(subscribers: &[Subscriber]) -> BTreeSet<(bool, u32)> {
        let mut inner = BTreeSet::new();
        let all: Vec<_> = subscribers
            .iter()
            .enumerate()
            .flat_map(|(i, s)| s.prefixes.iter().map(move |p| (i, p)))
            .collect();
        for (i, (owner_a, a)) in all.iter().enumerate() {
            for (owner_b, b) in &all[i + 1..] {
                let longer = if a.net.prefix_len() > b.net.prefix_len() {
                    a
                } else {
                    b
                };
                let overlap = a.net.contains(&b.net) || b.net.contains(&a.net);
                if overlap && owner_a != owner_b {
                    inner.insert((true, longer.place.line));
                } else if a.net == b.net {
                    inner.insert((false, longer.place.line));
                }
            }
        }
        // Who is told of the error is not told of the repetition.
        inner
            .iter()
            .filter(|(stolen, line)| *stolen || !inner.contains(&(true, *line)))
            .copied()
            .collect()
    }

    proptest! {
        #[test]
        fn agrees_with_comparing_all_pairs(subscribers in arbitrary_subscribers()) {
            let found: BTreeSet<(bool, u32)> = clashes(&subscribers)
                .iter()
                .map(|&(clash, first, second)| {
                    let [a, b] = [first, second].map(|claim| claimed(&subscribers, claim).1);
                    assert!(a.place.line < b.place.line);
                    let longer = if a.net.prefix_len() > b.net.prefix_len() { a } else { b };
                    (clash == Clash::Stolen, longer.place.line)
                })
                .collect();
            prop_assert_eq!(found, naive(&subscribers));
        }
    }
}
