//! What packets tell of, over random draws and grants, against what is plain to see.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use classifier::charge::Direction;
use classifier::events::{Event, Kind};
use classifier::image::Binding;
use classifier::layout::RowHead;
use classifier::packet::Frame;
use classifier::tag::{Payer, Tagging};
use classifier::verdict::{Hook, Plain, Verdict};
use proptest::prelude::*;

use super::lines::Lines;
use super::native::{HeapBooks, NativeTables, Raised};
use crate::image::{ChainEntry, Compiled, Labels, PlanEntry, Source, Watch};

/// Lines of the only subscriber's bucket block and row.
const BLOCK: u32 = 1;
const ROW: u32 = 2;
/// Meters of the row: what the bucket pays, and what is dropped.
const PAID: u32 = 0;
const DROPPED: u32 = 1;
/// The plan's number for the bucket, and where it stands in the block.
const BUCKET: u8 = 1;
const POSITION: u32 = 5;
/// What the plan grants, and the low mark of it.
const GRANT: u64 = 10_000;
const LOW: i64 = 2_000;

const ALL: u32 = Kind::Low.bit() | Kind::Empty.bit() | Kind::Used.bit() | Kind::Blocked.bit();

/// One subscriber, whose bucket pays until it is empty.
struct World {
    image: Compiled,
    lines: Lines,
    books: HeapBooks,
    raised: Raised,
}

impl World {
    fn new(kinds: u32, count_up: bool) -> Self {
        Self::charging(kinds, count_up, None)
    }

    /// The same; `limited`: what the bucket bounds is metered.
    fn charging(kinds: u32, count_up: bool, limited: Option<u8>) -> Self {
        let chain = ChainEntry {
            limited,
            steps: vec![(BUCKET, PAID as u8)],
            dropped: Some(DROPPED as u8),
            ..ChainEntry::default()
        };
        let plan = PlanEntry {
            count_up,
            count_down: true,
            chains: vec![Some(chain)],
            grants: vec![0, GRANT],
            ..PlanEntry::default()
        };
        let binding = Binding::new(ROW, 3, false).with_block_before();
        let source = Source {
            subscribers: vec![("10.0.0.1/32".parse().unwrap(), binding)],
            plans: vec![(3, plan)],
            watch: Watch { kinds, low: 80 },
            labels: Labels {
                mask: 0x0fff_0000,
                ..Labels::default()
            },
            ..Source::default()
        };
        let lines = Lines::on_heap(ROW + 1);
        lines.set_head(
            ROW,
            RowHead {
                bucket_line: BLOCK,
                bucket_map: POSITION << (u32::from(BUCKET) * 4),
            },
        );
        lines.set_granted(BLOCK, POSITION, GRANT);
        Self {
            image: source.compile().unwrap(),
            lines,
            books: HeapBooks::default(),
            raised: Raised::default(),
        }
    }

    fn packet(&self, direction: Direction, bytes: u16) -> Verdict {
        let mut frame = [0; 34];
        frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
        frame[16..18].copy_from_slice(&bytes.to_be_bytes());
        let own = if direction.is_down() { 30 } else { 26 };
        frame[own..own + 4].copy_from_slice(&[10, 0, 0, 1]);
        let tables = NativeTables {
            image: &self.image,
            lines: &self.lines,
            books: &self.books,
            raised: Some(&self.raised),
        };
        let hook = Hook {
            direction,
            settings: Plain {
                tagging: Tagging::Mark,
                ..Plain::default()
            },
            from_gateway: false,
        };
        let room = 14 + u32::from(bytes);
        let captured = &frame[..];
        tables.judge(&Frame { captured, room }, hook)
    }

    fn left(&self) -> i64 {
        self.lines.level(BLOCK, POSITION)
    }
}

fn bucket(kind: Kind, left: i64) -> Event {
    Event::new(kind, ROW, BUCKET.into(), left)
}

/// What happens in a world.
#[derive(Debug, Clone, Copy)]
enum Step {
    Packet(bool, u16),
    /// What is left is made to be this.
    Set(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), 20..1501_u16).prop_map(|(down, bytes)| Step::Packet(down, bytes)),
        1 => (-2_000..12_000_i64).prop_map(Step::Set),
    ]
}

/// Who pays, as the mark says it: the lowest bits of its mask.
fn payer(verdict: Verdict) -> u32 {
    verdict.tag.mark >> verdict.tag.mask.trailing_zeros() & 0xf
}

#[test]
fn what_is_metered_up_to_a_limit_is_marked_as_metered() {
    for (limited, expected) in [(None, Payer::BUCKET), (Some(PAID as u8), Payer::METERED)] {
        let world = World::charging(0, true, limited);
        assert_eq!(payer(world.packet(Direction::Up, 1000)), expected.number());
        assert_eq!(world.left(), GRANT as i64 - 1000);
    }
}

proptest! {
    #[test]
    fn each_mark_that_is_passed_on_the_way_down_is_told_once(
        steps in prop::collection::vec(step(), 1..200),
        kinds in 0..=ALL,
        count_up in any::<bool>(),
    ) {
        let world = World::new(kinds & ALL, count_up);
        let (mut left, mut drawn) = (GRANT as i64, 0_u64);
        let mut counted = [false; 2];
        for step in steps {
            let mut expected = Vec::new();
            match step {
                Step::Set(wanted) => {
                    world.lines.set_granted(BLOCK, POSITION, drawn.wrapping_add(wanted as u64));
                    left = wanted;
                }
                Step::Packet(down, bytes) => {
                    let before = left;
                    let paid = before > 0;
                    if paid && (down || count_up) {
                        left -= i64::from(bytes);
                        drawn += u64::from(bytes);
                    }
                    if before > LOW && left <= LOW {
                        expected.push(bucket(Kind::Low, left));
                    }
                    if before > 0 && left <= 0 {
                        expected.push(bucket(Kind::Empty, left));
                    }
                    let meter = if paid { PAID } else { DROPPED };
                    if !std::mem::replace(&mut counted[meter as usize], true) {
                        let kind = if paid { Kind::Used } else { Kind::Blocked };
                        expected.push(Event::new(kind, ROW, meter, 0));
                    }
                    let direction = if down { Direction::Down } else { Direction::Up };
                    world.packet(direction, bytes);
                }
            }
            expected.retain(|event| Kind::of(event.kind).is_some_and(|kind| kinds & kind.bit() != 0));
            prop_assert_eq!(world.raised.take(), expected);
            prop_assert_eq!(world.left(), left);
        }
    }
}

#[test]
fn of_many_that_draw_at_once_one_passes_a_mark() {
    for round in 0..200 {
        let world = World::new(ALL, true);
        let begin = AtomicBool::new(false);
        thread::scope(|scope| {
            for cpu in 0..3 {
                let (world, begin) = (&world, &begin);
                scope.spawn(move || {
                    while !begin.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                    for n in 0..20 {
                        world.packet(Direction::Down, 300 + (cpu * 70 + n * 30 + round) % 1100);
                    }
                });
            }
            begin.store(true, Ordering::Relaxed);
        });
        let events = world.raised.take();
        let of = |kind: Kind| events.iter().filter(move |event| event.kind == kind as u16);
        assert_eq!(
            (of(Kind::Low).count(), of(Kind::Empty).count()),
            (1, 1),
            "{events:?}"
        );
        // Of those that come first together each may say so.
        assert!((1..=3).contains(&of(Kind::Used).count()), "{events:?}");
        assert!((1..=3).contains(&of(Kind::Blocked).count()), "{events:?}");
        let low = of(Kind::Low).all(|event| event.left <= LOW);
        let empty = of(Kind::Empty).all(|event| event.left <= 0);
        assert!(low && empty, "{events:?}");
    }
}

#[test]
fn a_bucket_that_is_granted_nothing_has_no_low_mark() {
    let mut world = World::new(ALL, true);
    let mut source = Source::default();
    let chain = ChainEntry {
        steps: vec![(0, PAID as u8)],
        dropped: Some(DROPPED as u8),
        ..ChainEntry::default()
    };
    source.watch = Watch {
        kinds: ALL,
        low: 80,
    };
    source.subscribers = vec![("10.0.0.1/32".parse().unwrap(), Binding::new(ROW, 0, false))];
    source.plans = vec![(
        0,
        PlanEntry {
            count_up: true,
            count_down: true,
            chains: vec![Some(chain)],
            grants: vec![0],
            ..PlanEntry::default()
        },
    )];
    world.image = source.compile().unwrap();
    world.lines.set_granted(BLOCK, 0, 2_500);
    for bytes in [1_000, 1_000, 1_000] {
        world.packet(Direction::Up, bytes);
    }
    let kinds: Vec<_> = world.raised.take().iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::Used as u16, Kind::Empty as u16]);
}
