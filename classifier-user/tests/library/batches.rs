//! What CPUs note is added to the rows before they are read: nothing is lost, nothing is doubled, whoever is in the middle of
//! what. Needs root and a BPF file system; skipped without.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use aya::TestRun as _;
use aya::programs::TestRunOptions;
use classifier::books::{self, Cell};
use classifier::charge::Direction;
use classifier::image::Binding;
use classifier::layout::{BATCH_NOTES, Batch};
use ipnet::{IpNet, Ipv4Net};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use zerorate::datapath::batches_map::{FlushError, Flusher};
use zerorate::datapath::maps::Maps;
use zerorate::datapath::object::{self, Entry, Settings};
use zerorate::datapath::sys::{self, Mapping};
use zerorate::engine::lines::Lines;
use zerorate::image::{ChainEntry, PlanEntry, Source};

use crate::image_map::{Pins, maps};

/// Subscribers: more than a CPU has notes for.
const SUBSCRIBERS: u32 = 2 * BATCH_NOTES + 3;
/// Classes: what no set names is of any of them, as an image says.
const CLASSES: u32 = 4;
/// IP bytes of a packet.
const BYTES: u64 = 100;

/// Subscribers of 10.0.0.0/8, each with a row of a meter for each class, and what judges and adds.
struct Desk {
    source: Source,
    maps: Maps,
    lines: Lines,
    flusher: Flusher,
    _pins: Pins,
}

impl Desk {
    /// `defers`: classes may be found later.
    fn new(name: &str, defers: bool) -> Option<Self> {
        let (pins, maps) = maps(name)?;
        let mut lines = Lines::default();
        maps.rows
            .grow(&mut lines, SUBSCRIBERS + 1)
            .expect("there is room for rows");
        // Every class has a meter of its own.
        let chain = |class: u32| ChainEntry {
            free: true,
            end: Some(class as u8),
            ..ChainEntry::default()
        };
        let plan = PlanEntry {
            chains: (0..CLASSES).map(|class| Some(chain(class))).collect(),
            ..PlanEntry::default()
        };
        let source = Source {
            serial: 1,
            subscribers: (0..SUBSCRIBERS)
                .map(|number| {
                    let address = Ipv4Net::from(address(number));
                    (IpNet::V4(address), Binding::new(row(number), 0, false))
                })
                .collect(),
            plans: vec![(0, plan)],
            ..Source::default()
        };
        let flusher = Flusher::load(&maps).expect("the kernel takes the program");
        let desk = Self {
            source,
            maps,
            lines,
            flusher,
            _pins: pins,
        };
        desk.publish();
        if defers {
            desk.defer();
        }
        Some(desk)
    }

    /// Puts the image of the source in force, and does nothing else about it.
    fn publish(&self) {
        let image = self.source.compile().expect("it fits");
        let image = &self.maps.image.prepare(&image).expect("there is room");
        self.maps.image.publish(image).expect("it is published");
    }

    fn defer(&self) {
        let serial = NonZeroU32::new(self.source.serial).expect("it has a number");
        self.maps.batches.defer(serial);
    }

    fn settle(&self) {
        self.flusher
            .settle(&self.maps.batches)
            .expect("the kernel runs the program");
    }

    /// Puts another image in force, by which remotes are of a class.
    fn turn_to(&mut self, class: u32) {
        self.source.serial += 1;
        self.source.default_class = class;
        self.settle();
        self.publish();
        self.defer();
    }

    fn flush(&self) {
        self.flusher
            .flush(&self.maps.batches)
            .expect("the kernel runs the program");
    }

    /// Packets and bytes of a subscriber's row, of a class.
    fn counted_as(&self, number: u32, class: u32) -> (u64, u64) {
        let meter = self.lines.meter(row(number), class);
        (meter.packets_up, meter.bytes_up)
    }

    /// Those of the first class.
    fn counted(&self, number: u32) -> (u64, u64) {
        self.counted_as(number, 0)
    }

    /// Packets of a class in all rows.
    fn packets_as(&self, class: u32) -> u64 {
        let rows = 0..SUBSCRIBERS;
        rows.map(|number| self.counted_as(number, class).0).sum()
    }

    /// Attributed packets and bytes, and unpriced ones.
    fn books(&self) -> [u64; 4] {
        let books = self.maps.books(books::index(0, Direction::Up));
        let books = books.expect("there are books");
        [
            Cell::AttributedPackets,
            Cell::AttributedBytes,
            Cell::UnpricedPackets,
            Cell::UnpricedBytes,
        ]
        .map(|cell| books[cell as usize])
    }

    /// What all rows hold.
    fn packets(&self) -> u64 {
        (0..CLASSES).map(|class| self.packets_as(class)).sum()
    }
}

/// Desks where classes may be found later, and where not.
fn desks(name: &str) -> impl Iterator<Item = Desk> {
    [false, true]
        .into_iter()
        .map_while(move |defers| Desk::new(&format!("{name}-{defers}"), defers))
}

const fn row(number: u32) -> u32 {
    1 + number
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number)
}

/// Judges packets of subscribers, each so many times in a row.
struct Judge(aya::Ebpf);

impl Judge {
    fn load(maps: &Maps) -> Self {
        let loaded = object::load(maps, Settings::default(), &[Entry::Access]);
        Self(loaded.expect("the kernel takes the program"))
    }

    fn judge(&mut self, number: u32, packets: u32) {
        if packets == 0 {
            return;
        }
        let mut frame = vec![0; 14 + BYTES as usize];
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&(BYTES as u16).to_be_bytes());
        frame[26..30].copy_from_slice(&address(number).octets());
        frame[30..34].copy_from_slice(&[198, 51, 100, 1]);
        let mut options = TestRunOptions::new();
        options.data_in = Some(&frame);
        options.repeat = packets;
        let program = object::loaded(&mut self.0, Entry::Access).expect("it is loaded");
        program.test_run(options).expect("the kernel runs it");
    }
}

/// The CPUs this process may use.
pub(crate) fn cpus() -> Vec<usize> {
    let all = nix::sched::sched_getaffinity(Pid::from_raw(0)).expect("there are CPUs");
    (0..CpuSet::count())
        .filter(|cpu| all.is_set(*cpu).unwrap_or(false))
        .collect()
}

/// Keeps the calling thread on a CPU.
pub(crate) fn stay_on(cpu: usize) {
    let mut one = CpuSet::new();
    one.set(cpu).expect("there is such a CPU");
    sched_setaffinity(Pid::from_raw(0), &one).expect("the CPU may be used");
}

/// Keeps the calling thread on the n-th CPU of those it may use.
fn stay_on_nth(nth: usize) {
    let cpus = cpus();
    stay_on(cpus[nth % cpus.len()]);
}

/// Does something on one CPU, in a thread of its own.
fn on_cpu(nth: usize, work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            stay_on_nth(nth);
            work();
        });
    });
}

#[test]
fn what_is_noted_shows_once_it_is_asked_for() {
    for desk in desks("batch-shows") {
        on_cpu(0, || {
            let mut judge = Judge::load(&desk.maps);
            judge.judge(7, 1_000);
            judge.judge(8, 3);
            assert_eq!(desk.packets(), 0, "noted, and not in the rows yet");
            desk.flush();
            assert_eq!(desk.counted(7), (1_000, 1_000 * BYTES));
            assert_eq!(desk.counted(8), (3, 3 * BYTES));
            desk.flush();
            assert_eq!(desk.packets(), 1_003, "and not a second time");
        });
        // From another CPU.
        on_cpu(1, || Judge::load(&desk.maps).judge(7, 1));
        on_cpu(0, || {
            desk.flush();
            assert_eq!(desk.counted(7), (1_001, 1_001 * BYTES));
        });
    }
}

#[test]
fn a_cpu_that_has_no_room_for_another_note_adds_them_itself() {
    for desk in desks("batch-full") {
        on_cpu(0, || {
            let mut judge = Judge::load(&desk.maps);
            for number in 0..SUBSCRIBERS {
                judge.judge(number, number + 1);
            }
        });
        let added = (0..SUBSCRIBERS).filter(|number| desk.counted(*number) != (0, 0));
        assert_eq!(
            added.count() as u32,
            SUBSCRIBERS / BATCH_NOTES * BATCH_NOTES
        );
        desk.flush();
        for number in 0..SUBSCRIBERS {
            let packets = u64::from(number) + 1;
            assert_eq!(desk.counted(number), (packets, packets * BYTES), "{number}");
        }
    }
}

#[test]
fn a_cpu_in_the_middle_of_a_note_is_waited_for() {
    let Some(desk) = Desk::new("batch-busy", false) else {
        return;
    };
    on_cpu(0, || Judge::load(&desk.maps).judge(7, 5));
    // The map as the kernel has it. As if the CPU stood where it is about to change its notes.
    let pin = sys::open_pinned(&desk.maps.path().join("batches")).expect("it is pinned");
    let bytes = size_of::<Batch>() * (cpus()[0] + 1);
    let batches = Mapping::new(pin, bytes).expect("it can be mapped");
    let batch = &batches.words()[bytes / 8 - size_of::<Batch>() / 8..];
    let state = &batch[Batch::STATE];
    assert!(Batch::is_pending(state.load(Ordering::Acquire)));
    state.fetch_add(1, Ordering::AcqRel);
    let refused = desk.flusher.flush(&desk.maps.batches);
    assert!(matches!(refused, Err(FlushError::Busy(_))), "{refused:?}");
    assert_eq!(desk.packets(), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(5));
            state.fetch_sub(1, Ordering::AcqRel);
        });
        desk.flush();
    });
    assert_eq!(desk.counted(7), (5, 5 * BYTES));
}

#[test]
fn what_is_deferred_is_decided_by_the_image_it_was_judged_by() {
    const ROUNDS: u32 = 60;
    let Some(mut desk) = Desk::new("deferred-image", true) else {
        return;
    };
    let mut expected = [0; CLASSES as usize];
    for round in 0..ROUNDS {
        let class = desk.source.default_class;
        // Fewer than a CPU has notes for, and more.
        let packets = round % (BATCH_NOTES + 7);
        on_cpu(round as usize, || {
            let mut judge = Judge::load(&desk.maps);
            (0..packets).for_each(|number| judge.judge(number, 1 + round % 2));
        });
        expected[class as usize] += u64::from(packets * (1 + round % 2));
        // From the same CPU, or another.
        let next = (class + 1 + round % 3) % CLASSES;
        on_cpu(round as usize / 2, || desk.turn_to(next));
    }
    for (class, expected) in (0..).zip(expected) {
        assert_eq!(desk.packets_as(class), expected, "class {class}");
    }
    let packets: u64 = expected.iter().sum();
    assert_eq!(desk.books(), [packets, packets * BYTES, 0, 0]);
}

#[test]
fn images_take_turns_while_packets_are_deferred() {
    const CHANGES: u32 = 150;
    const AT_ONCE: u32 = 50;
    let Some(mut desk) = Desk::new("deferred-turns", true) else {
        return;
    };
    let done = AtomicBool::new(false);
    let mut judges: Vec<_> = (0..2).map(|_| Judge::load(&desk.maps)).collect();
    let judged: u64 = thread::scope(|scope| {
        let counting = judges.iter_mut().enumerate().map(|(cpu, judge)| {
            let done = &done;
            scope.spawn(move || {
                stay_on_nth(cpu);
                let mut judged = 0;
                while !done.load(Ordering::Relaxed) {
                    for number in 0..SUBSCRIBERS {
                        judge.judge(number, AT_ONCE);
                        judged += u64::from(AT_ONCE);
                    }
                }
                judged
            })
        });
        let counting: Vec<_> = counting.collect();
        (0..CHANGES).for_each(|change| desk.turn_to(change % CLASSES));
        done.store(true, Ordering::Relaxed);
        counting
            .into_iter()
            .map(|thread| thread.join().expect("it counts"))
            .sum()
    });
    desk.flush();
    assert_eq!(desk.packets(), judged);
    assert_eq!(desk.books(), [judged, judged * BYTES, 0, 0]);
    for class in 0..CLASSES {
        assert!(desk.packets_as(class) > 0, "class {class}");
    }
}

#[test]
fn once_settled_classes_are_found_at_once() {
    let Some(mut desk) = Desk::new("deferred-settled", true) else {
        return;
    };
    on_cpu(0, || {
        let mut judge = Judge::load(&desk.maps);
        judge.judge(1, 5);
        desk.settle();
        assert_eq!(desk.counted(1), (5, 5 * BYTES), "by settling");
        judge.judge(1, 2);
        // Nobody settles this one: it is not needed.
        desk.source.serial += 1;
        desk.source.default_class = 1;
        desk.publish();
        judge.judge(1, 3);
        desk.flush();
        assert_eq!(desk.counted(1), (7, 7 * BYTES));
        assert_eq!(desk.counted_as(1, 1), (3, 3 * BYTES));
    });
}

#[test]
fn what_can_be_decided_no_more_shows_in_the_books() {
    let Some(mut desk) = Desk::new("deferred-lost", true) else {
        return;
    };
    on_cpu(0, || {
        let mut judge = Judge::load(&desk.maps);
        judge.judge(1, 5);
        judge.judge(2, 1);
        // Somebody who knows nothing of this exchanges the image.
        desk.source.serial += 1;
        desk.publish();
        let refused = desk.flusher.flush(&desk.maps.batches);
        assert!(
            matches!(refused, Err(FlushError::Undecided(_))),
            "{refused:?}"
        );
        assert_eq!(desk.books(), [6, 6 * BYTES, 0, 0], "it stays");
        desk.settle();
        assert_eq!(desk.packets(), 0);
        assert_eq!(desk.books(), [6, 6 * BYTES, 6, 6 * BYTES]);
        judge.judge(1, 3);
        desk.flush();
        assert_eq!(desk.packets(), 3);
    });
}

#[test]
fn a_program_that_reads_another_map_leaves_what_is_deferred_alone() {
    let Some(mut desk) = Desk::new("deferred-other-map", true) else {
        return;
    };
    on_cpu(0, || {
        let mut judge = Judge::load(&desk.maps);
        judge.judge(1, 5);
        desk.maps.image.renew().expect("there is room for a map");
        desk.source.serial += 1;
        desk.source.default_class = 2;
        desk.publish();
        let mut other = Judge::load(&desk.maps);
        (0..SUBSCRIBERS).for_each(|number| other.judge(number, 2));
        judge.judge(1, 1);
        // The one that was loaded over the first map.
        desk.flush();
        assert_eq!(desk.counted(1), (6, 6 * BYTES));
        for number in 0..SUBSCRIBERS {
            assert_eq!(desk.counted_as(number, 2), (2, 2 * BYTES), "{number}");
        }
        let packets = u64::from(2 * SUBSCRIBERS + 6);
        assert_eq!(desk.books(), [packets, packets * BYTES, 0, 0]);
    });
}

#[test]
fn packets_and_readers_in_each_others_middle_lose_and_double_nothing() {
    const ROUNDS: u32 = 12;
    const AT_ONCE: u32 = 20_000;
    for desk in desks("batch-race") {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let counting: Vec<_> = (0..2)
                .map(|cpu| {
                    let desk = &desk;
                    scope.spawn(move || {
                        stay_on_nth(cpu);
                        let mut judge = Judge::load(&desk.maps);
                        // Long runs of one subscriber, which both have, and many short ones.
                        for round in 0..ROUNDS {
                            judge.judge(0, AT_ONCE);
                            (1..SUBSCRIBERS).for_each(|number| judge.judge(number, 1 + round % 2));
                        }
                    })
                })
                .collect();
            for cpu in 0..2 {
                let (desk, done) = (&desk, &done);
                scope.spawn(move || {
                    stay_on_nth(cpu);
                    let (mut before, mut readings) = (0, 0);
                    while !done.load(Ordering::Relaxed) {
                        desk.flush();
                        let now = desk.packets();
                        assert!(now >= before, "{now} after {before}");
                        (before, readings) = (now, readings + 1);
                    }
                    assert!(readings > 10, "{readings}");
                });
            }
            for thread in counting {
                thread.join().expect("it counts");
            }
            done.store(true, Ordering::Relaxed);
        });
        desk.flush();
        let long = u64::from(2 * ROUNDS * AT_ONCE);
        assert_eq!(desk.counted(0), (long, long * BYTES));
        let short = u64::from(2 * (ROUNDS + ROUNDS / 2));
        for number in 1..SUBSCRIBERS {
            assert_eq!(desk.counted(number), (short, short * BYTES), "{number}");
        }
    }
}
