//! Writing the remotes' IPv4 table: see [`classifier::image::remotes`].

use classifier::image::remotes::{ESCAPE, NARROW_ESCAPE};
use classifier::image::{LINE_WORDS, at};

use super::intervals::Interval;

const GROUP: usize = 256;
/// Values a byte can have.
const VALUES: usize = 256;

/// Appends the table and says in the header where it is.
pub(super) fn write(words: &mut Vec<u32>, intervals: &[Interval]) {
    let table = Table::of(intervals);
    words.resize(words.len().next_multiple_of(LINE_WORDS as usize), 0);
    words[at::REMOTES4 as usize] = words.len() as u32;
    let narrow = table.narrow.len() as u32;
    let numbers = table.of_upper.iter().map(|node| match *node {
        Number::Narrow(number) => number,
        Number::Wide(number) => narrow + number,
    });
    // As many numbers as there are /16 at the most, for each has one: sixteen bits hold the last.
    let bytes: Vec<u8> = numbers
        .flat_map(|number| (number as u16).to_le_bytes())
        .collect();
    pack(words, &bytes);
    words[at::NARROW4 as usize] = narrow;
    words[at::NODES4 as usize] = words.len() as u32;
    for node in table.narrow.iter().chain(&table.wide) {
        pack(words, &node.values);
    }
    let where_groups_are = words.len();
    words[at::GROUPS4 as usize] = where_groups_are as u32;
    words.resize(where_groups_are + table.narrow.len() + table.wide.len(), 0);
    for (number, node) in table.narrow.iter().chain(&table.wide).enumerate() {
        if !node.groups.values.is_empty() {
            words[where_groups_are + number] = words.len() as u32;
            pack(words, &node.groups.of_octet);
            pack(words, &node.groups.values);
        }
    }
}

/// The nodes, and which one each /16 has.
struct Table {
    of_upper: Vec<Number>,
    narrow: Vec<Node>,
    wide: Vec<Node>,
}

/// Number of a node among those of its width.
#[derive(Clone, Copy)]
enum Number {
    Narrow(u32),
    Wide(u32),
}

impl Table {
    fn of(intervals: &[Interval]) -> Self {
        let mut table = Self {
            of_upper: Vec::with_capacity(1 << 16),
            narrow: Vec::new(),
            wide: Vec::new(),
        };
        let mut shared = [None; VALUES];
        let mut parts = Parts { intervals, next: 0 };
        for upper in 0..1_u64 << 16 {
            let part = parts.until((upper + 1) << 16);
            let mut new = || table.add(Node::new(part, upper << 16));
            let number = match part {
                [all] => *shared[all.value as usize].get_or_insert_with(new),
                _ => new(),
            };
            table.of_upper.push(number);
        }
        table
    }

    fn add(&mut self, node: Node) -> Number {
        let (alike, number): (_, fn(u32) -> Number) = if node.narrow {
            (&mut self.narrow, Number::Narrow)
        } else {
            (&mut self.wide, Number::Wide)
        };
        alike.push(node);
        number(alike.len() as u32 - 1)
    }
}

/// Intervals, handed out in the parts of ascending ranges.
struct Parts<'a> {
    intervals: &'a [Interval],
    /// Index of the interval that covers the next range's beginning.
    next: usize,
}

impl<'a> Parts<'a> {
    /// Those that cover what lies between the end of the last part and `end`, which is not included.
    fn until(&mut self, end: u64) -> &'a [Interval] {
        let first = self.next;
        let mut after = first + 1;
        while self
            .intervals
            .get(after)
            .is_some_and(|interval| interval.first < u128::from(end))
        {
            after += 1;
        }
        let ends_here = self
            .intervals
            .get(after)
            .is_some_and(|interval| interval.first == u128::from(end));
        self.next = if ends_here { after } else { after - 1 };
        &self.intervals[first..after]
    }
}

/// What stands for the addresses of a /16.
struct Node {
    /// Whether half bytes are enough.
    narrow: bool,
    /// A byte for each /24, or half of one.
    values: Vec<u8>,
    groups: Groups,
}

impl Node {
    fn new(intervals: &[Interval], base: u64) -> Self {
        let mut values = [0_u8; 256];
        let mut groups = Groups::default();
        let mut parts = Parts { intervals, next: 0 };
        for (octet, value) in (0..).zip(&mut values) {
            let base = base + (octet << 8);
            *value = match parts.until(base + 256) {
                [all] if all.value != ESCAPE => all.value as u8,
                part => {
                    groups.add(octet as usize, part, base);
                    ESCAPE as u8
                }
            };
        }
        let halves = values.map(|value| match u32::from(value) {
            ESCAPE => Some(NARROW_ESCAPE as u8),
            NARROW_ESCAPE.. => None,
            _ => Some(value),
        });
        let pairs = all(halves).map(|halves| {
            let pairs = halves.as_chunks::<2>().0.iter();
            pairs.map(|[even, odd]| odd << 4 | even).collect()
        });
        Self {
            narrow: pairs.is_some(),
            values: pairs.unwrap_or_else(|| values.to_vec()),
            groups,
        }
    }
}

/// All of them, if none is missing.
fn all(values: [Option<u8>; 256]) -> Option<[u8; 256]> {
    let mut found = [0; 256];
    for (found, value) in found.iter_mut().zip(values) {
        *found = value?;
    }
    Some(found)
}

/// The addresses of those /24 of a node that differ.
struct Groups {
    /// Which group a /24 has.
    of_octet: [u8; 256],
    values: Vec<u8>,
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            of_octet: [0; 256],
            values: Vec::new(),
        }
    }
}

impl Groups {
    fn add(&mut self, octet: usize, intervals: &[Interval], base: u64) {
        let mut group = Vec::with_capacity(GROUP);
        for (i, interval) in intervals.iter().enumerate() {
            let end = intervals
                .get(i + 1)
                .map_or(GROUP, |next| (next.first as u64 - base) as usize);
            group.resize(end, interval.value as u8);
        }
        if !self.values.ends_with(&group) {
            self.values.extend(group);
        }
        self.of_octet[octet] = (self.values.len() / GROUP - 1) as u8;
    }
}

fn pack(words: &mut Vec<u32>, bytes: &[u8]) {
    words.extend(
        bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| u32::from_le_bytes(*bytes)),
    );
}

#[cfg(test)]
mod tests {
    use classifier::image::Image;
    use classifier::layout::MAX_CLASSES;
    use ipnet::{IpNet, Ipv4Net};

    use super::super::{Compiled, Source};
    use super::*;

    fn compiled(classes: Vec<(IpNet, u32)>) -> Compiled {
        let source = Source {
            classes,
            ..Source::default()
        };
        source.compile().unwrap()
    }

    fn class(image: &Compiled, address: u32) -> u32 {
        Image::new(image).unwrap().remote4(address).class()
    }

    #[test]
    fn each_upper_half_can_have_a_node_of_its_own() {
        // Narrow ones and wide ones in turn, and some /24 whose addresses differ.
        let of = |upper: u32| 1 + upper % (MAX_CLASSES - 1);
        let classes = (0..1 << 16).flat_map(|upper: u32| {
            let half = Ipv4Net::new((upper << 16).into(), 17).unwrap();
            let one = Ipv4Net::new((upper << 16 | 0x8001).into(), 32).unwrap();
            let rare = (upper % 1000 == 7).then_some((one.into(), of(upper)));
            [Some((half.into(), of(upper))), rare].into_iter().flatten()
        });
        let image = compiled(classes.collect());
        for upper in 0..1 << 16 {
            let base = upper << 16;
            let expected = [of(upper), of(upper), 0, 0];
            assert_eq!(
                [0, 0x7fff, 0x8000, 0xffff].map(|rest| class(&image, base | rest)),
                expected,
                "{upper}"
            );
            if upper % 1000 == 7 {
                assert_eq!(class(&image, base | 0x8001), of(upper));
            }
        }
    }

    #[test]
    fn upper_halves_that_are_one_class_throughout_share_a_node() {
        let highest = MAX_CLASSES - 1;
        let image = compiled(vec![
            ("10.0.0.0/8".parse().unwrap(), 5),
            ("11.0.0.0/8".parse().unwrap(), highest),
            // With both marks of link-local addresses, this class is what stands for an escape.
            ("169.254.0.0/16".parse().unwrap(), highest),
        ]);
        // The default class and class 5; 0.0/16 and 255.255/16, which have an address that is marked; 169.254/16.
        assert_eq!(image.words()[at::NARROW4 as usize], 5);
        assert_eq!(class(&image, 0x0a00_0000), 5);
        assert_eq!(class(&image, 0x0aff_ffff), 5);
        assert_eq!(class(&image, 0x0b80_0001), highest);
        assert_eq!(class(&image, 0xa9fe_0000), highest);
        assert_eq!(class(&image, 0xa9fe_ffff), highest);
        assert_eq!(class(&image, 0xa9ff_0000), 0);
        // 256 bytes for all addresses of it, not 64 KiB.
        assert!(image.words().len() < 200_000, "{}", image.words().len());
    }
}
