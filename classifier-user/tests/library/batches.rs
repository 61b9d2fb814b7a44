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
pub(crate) const SUBSCRIBERS: u32 = 2 * BATCH_NOTES + 3;
/// Classes: what no set names is of any of them, as an image says.
pub(crate) const CLASSES: u32 = 4;
/// IP bytes of a packet.
pub(crate) const BYTES: u64 = 100;

/// Subscribers of 10.0.0.0/8, each with a row of a meter for each class, and what judges and adds.
pub(crate) struct Desk {
    pub(crate) source: Source,
    pub(crate) maps: Maps,
    lines: Lines,
    pub(crate) flusher: Flusher,
    _pins: Pins,
}

impl Desk {
    /// `defers`: classes may be found later.
    pub(crate) fn new(name: &str, defers: bool) -> Option<Self> {
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
    pub(crate) fn publish(&self) {
        let image = self.source.compile().expect("it fits");
        let image = &self.maps.image.prepare(&image).expect("there is room");
        self.maps.image.publish(image).expect("it is published");
    }

    fn defer(&self) {
        let serial = NonZeroU32::new(self.source.serial).expect("it has a number");
        self.maps.batches.defer(serial);
    }

    pub(crate) fn settle(&self) {
        self.flusher
            .settle(&self.maps.batches)
            .expect("the kernel runs the program");
    }

    /// Puts another image in force, by which remotes are of a class.
    pub(crate) fn turn_to(&mut self, class: u32) {
        self.source.serial += 1;
        self.source.default_class = class;
        self.settle();
        self.publish();
        self.defer();
    }

    pub(crate) fn flush(&self) {
        self.flusher
            .flush(&self.maps.batches)
            .expect("the kernel runs the program");
    }

    /// Packets and bytes of a subscriber's row, of a class.
    pub(crate) fn counted_as(&self, number: u32, class: u32) -> (u64, u64) {
        let meter = self.lines.meter(row(number), class);
        (meter.packets_up, meter.bytes_up)
    }

    /// Those of the first class.
    pub(crate) fn counted(&self, number: u32) -> (u64, u64) {
        self.counted_as(number, 0)
    }

    /// Packets of a class in all rows.
    pub(crate) fn packets_as(&self, class: u32) -> u64 {
        let rows = 0..SUBSCRIBERS;
        rows.map(|number| self.counted_as(number, class).0).sum()
    }

    /// Attributed packets and bytes, and unpriced ones.
    pub(crate) fn books(&self) -> [u64; 4] {
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
    pub(crate) fn packets(&self) -> u64 {
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
pub(crate) struct Judge(aya::Ebpf);

impl Judge {
    pub(crate) fn load(maps: &Maps) -> Self {
        let loaded = object::load(maps, Settings::default(), &[Entry::Access]);
        Self(loaded.expect("the kernel takes the program"))
    }

    pub(crate) fn judge(&mut self, number: u32, packets: u32) {
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
pub(crate) fn stay_on_nth(nth: usize) {
    let cpus = cpus();
    stay_on(cpus[nth % cpus.len()]);
}

/// Does something on one CPU, in a thread of its own.
pub(crate) fn on_cpu(nth: usize, work: impl FnOnce() + Send) {
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
