//! What was decided about a packet is true of the next one of the same case and of no other: packets come in bursts, and in
//! between subscribers are suspended, addresses change hands, images take each other's place, buckets run out, CPUs take turns
//! and readers come. The kernel's program, which goes by the packet before, and finds classes later where it may, decides and
//! counts as the one in this process, which does neither. Needs root and a BPF file system; skipped without.

mod town;

use std::num::NonZeroU32;

use aya::TestRun as _;
use aya::programs::TestRunOptions;
use classifier::charge::Direction;
use classifier::layout::{Metadata, RowHead};
use classifier::packet::Frame;
use classifier::tag::Tagging;
use classifier::verdict::{Action, Hook, Plain};
use ipnet::IpNet;
use nix::sched::sched_getcpu;
use proptest::prelude::*;
use zerorate::datapath::batches_map::Flusher;
use zerorate::datapath::live_image::LiveImage;
use zerorate::datapath::maps::Maps;
use zerorate::datapath::object::{self, Entry, Settings};
use zerorate::engine::lines::Lines;
use zerorate::engine::native::{HeapBooks, NativeTables};
use zerorate::image::Compiled;

use self::town::*;
use crate::batches::{cpus, stay_on};
use crate::image_map::{Pins, maps};

const XDP_DROP: u32 = 1;
/// Bytes of what a program puts before a frame.
const METADATA: usize = size_of::<Metadata>();

#[derive(Debug, Clone)]
enum Step {
    /// One flow for so many packets.
    Burst(Packet, u8),
    /// The flow of the burst before goes on.
    Again(u8),
    /// Suspended, or given the service again.
    Suspend(u32, bool),
    /// Two subscribers' addresses change hands.
    Swap(u32, u32),
    /// Addresses are nobody's, or somebody's again.
    Leave(u32, bool),
    /// Another image, in which the remotes' classes are turned by so much.
    Publish(u32),
    /// Classes may be found later, or not.
    Defer(bool),
    /// A bucket is given so much.
    Grant(u32, u64),
    /// On from another CPU.
    Move(usize),
    /// Everything is read.
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let packet = (
        0..SUBSCRIBERS,
        0..REMOTES,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        100..1_400_u16,
    );
    let packet = packet.prop_map(|(own, remote, down, v6, tagged, bytes)| Packet {
        own,
        remote,
        down,
        v6,
        tagged,
        bytes,
    });
    prop_oneof![
        5 => (packet, 1..5_u8).prop_map(|(packet, times)| Step::Burst(packet, times)),
        10 => (1..4_u8).prop_map(Step::Again),
        2 => (0..SUBSCRIBERS, any::<bool>()).prop_map(|(who, is)| Step::Suspend(who, is)),
        1 => (0..SUBSCRIBERS, 0..SUBSCRIBERS).prop_map(|(one, other)| Step::Swap(one, other)),
        1 => (0..SUBSCRIBERS, prop::bool::weighted(0.3)).prop_map(|(who, is)| Step::Leave(who, is)),
        1 => (1..CLASSES).prop_map(Step::Publish),
        1 => prop::bool::weighted(0.8).prop_map(Step::Defer),
        2 => (0..SUBSCRIBERS, 100..4_000_u64).prop_map(|(who, bytes)| Step::Grant(who, bytes)),
        1 => (0..2_usize).prop_map(Step::Move),
        1 => Just(Step::Read),
    ]
}

/// What interfaces of a direction do: what a packet is to carry shows what the program took it for, and each tells another part
/// of it; or it carries nothing.
fn settings(direction: Direction, tagged: bool) -> Plain {
    let tagging = match direction {
        _ if !tagged => Tagging::None,
        Direction::Up => Tagging::Dscp,
        Direction::Down => Tagging::Mark,
    };
    Plain {
        tagging,
        ..Plain::default()
    }
}

/// The same subscribers twice: in the kernel, and in this process.
struct Desk {
    state: State,
    maps: Maps,
    lines: Lines,
    live: LiveImage,
    flusher: Flusher,
    /// Those that tag nothing, and those that do.
    access: [aya::Ebpf; 2],
    core: [aya::Ebpf; 2],
    /// Whether classes may be found later.
    defers: bool,
    here: Lines,
    image: Compiled,
    books: HeapBooks,
    last: Option<Packet>,
    cpus: Vec<usize>,
    _pins: Pins,
}

impl Desk {
    fn new(name: &str) -> Option<Self> {
        let (pins, maps) = maps(name)?;
        let mut lines = Lines::default();
        let end = block(SUBSCRIBERS);
        maps.rows.grow(&mut lines, end).expect("there is room");
        let here = Lines::on_heap(end);
        for lines in [&lines, &here] {
            for who in 0..SUBSCRIBERS {
                let head = RowHead {
                    bucket_line: block(who),
                    bucket_map: 0,
                };
                lines.set_head(row(who), head);
            }
        }
        let mut state = State {
            serial: 1,
            ..State::default()
        };
        (0..SUBSCRIBERS).for_each(|who| state.has[who as usize] = who);
        let image = state.compile();
        let live = maps.image.prepare(&image).expect("there is room");
        maps.image.publish(&live).expect("it is published");
        let load = |entry, direction| {
            [false, true].map(|tagged| {
                let settings = Settings {
                    hook: settings(direction, tagged),
                    ..Settings::default()
                };
                object::load(&maps, settings, &[entry]).expect("the kernel takes the program")
            })
        };
        let desk = Self {
            state,
            lines,
            live,
            flusher: Flusher::load(&maps).expect("the kernel takes the program"),
            access: load(Entry::Access, Direction::Up),
            core: load(Entry::Core, Direction::Down),
            maps,
            here,
            image,
            books: HeapBooks::default(),
            last: None,
            cpus: cpus(),
            defers: true,
            _pins: pins,
        };
        desk.defer();
        Some(desk)
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Burst(packet, times) => {
                self.last = Some(packet);
                (0..times).for_each(|_| self.judge(packet));
            }
            Step::Again(times) => {
                if let Some(packet) = self.last {
                    (0..times).for_each(|_| self.judge(packet));
                }
            }
            Step::Suspend(who, is) => {
                self.state.suspended[who as usize] = is;
                let nets = self.state.nets_of(who);
                let done = self.live.suspend(&nets, row(who), is);
                done.expect("it is done in place");
            }
            Step::Swap(one, other) => {
                self.state.has.swap(one as usize, other as usize);
                let bound = self.state.bound(&[one, other]);
                let done = self.live.rebind(&[], &bound);
                done.expect("it is done in place");
            }
            Step::Leave(addresses, is) => {
                self.state.nobodys[addresses as usize] = is;
                let (nets, bound) = (nets(addresses), self.state.bound(&[addresses]));
                let unbound: &[IpNet] = if is { &nets } else { &[] };
                if self.live.rebind(unbound, &bound).is_err() {
                    // An index that was laid out while they were nobody's may have no place for them.
                    self.publish();
                }
            }
            Step::Publish(turned) => {
                self.state.turned += turned;
                self.publish();
            }
            Step::Defer(defers) => {
                self.defers = defers;
                self.settle();
                self.defer();
            }
            Step::Grant(who, bytes) => {
                for lines in [&self.lines, &self.here] {
                    lines.set_granted(block(who), 0, lines.granted(block(who), 0) + bytes);
                }
            }
            Step::Move(nth) => self.go_to(nth),
            Step::Read => self.compare(),
        }
        if matches!(
            step,
            Step::Suspend(..) | Step::Swap(..) | Step::Leave(..) | Step::Publish(_)
        ) {
            self.image = self.state.compile();
        }
    }

    /// Another image takes the place of the one in force.
    fn publish(&mut self) {
        self.state.serial += 1;
        let image = self.state.compile();
        self.live = self.maps.image.prepare(&image).expect("there is room");
        self.settle();
        let done = self.maps.image.publish(&self.live);
        done.expect("it is published");
        self.defer();
    }

    /// No class is to be found any more.
    fn settle(&self) {
        let done = self.flusher.settle(&self.maps.batches);
        done.expect("the kernel runs the program");
    }

    fn defer(&self) {
        if let (Some(serial), true) = (NonZeroU32::new(self.state.serial), self.defers) {
            self.maps.batches.defer(serial);
        }
    }

    /// On from another CPU, where there is one.
    fn go_to(&self, nth: usize) {
        let cpu = self.cpus[nth % self.cpus.len()];
        stay_on(cpu);
        assert_eq!(sched_getcpu(), Ok(cpu));
    }

    /// The kernel's verdict, and this process's.
    fn judge(&mut self, packet: Packet) {
        let frame = frame(packet);
        let (objects, entry, direction) = if packet.down {
            (&mut self.core, Entry::Core, Direction::Down)
        } else {
            (&mut self.access, Entry::Access, Direction::Up)
        };
        let object = &mut objects[usize::from(packet.tagged)];
        let mut carried = vec![0; METADATA + frame.len()];
        let mut options = TestRunOptions::new();
        options.data_in = Some(&frame);
        options.data_out = Some(&mut carried);
        let program = object::loaded(object, entry).expect("it is loaded");
        let ran = program.test_run(options).expect("the kernel runs it");
        let tables = NativeTables {
            image: &self.image,
            lines: &self.here,
            books: &self.books,
            raised: None,
        };
        let hook = Hook {
            direction,
            from_gateway: false,
            settings: settings(direction, packet.tagged),
        };
        let captured = &frame[..];
        let room = frame.len() as u32;
        let verdict = tables.judge(&Frame { captured, room }, hook);
        let drops = verdict.action == Action::Drop;
        assert_eq!(ran.return_value == XDP_DROP, drops, "{packet:?}");
        if drops || !packet.tagged {
            return;
        }
        if let Some(dscp) = verdict.tag.dscp {
            assert_eq!(dscp_of(&carried), dscp, "{packet:?}");
        } else {
            let word = |at: usize| u32::from_le_bytes(carried[at..at + 4].try_into().unwrap());
            let carries = (word(0), word(4), word(8));
            let tag = verdict.tag;
            assert_eq!(carries, (Metadata::MAGIC, tag.mask, tag.mark), "{packet:?}");
        }
    }

    /// All rows, and what is left in buckets.
    fn compare(&self) {
        let done = self.flusher.flush(&self.maps.batches);
        done.expect("the kernel runs the program");
        for who in 0..SUBSCRIBERS {
            for meter in 0..2 * CLASSES {
                assert_eq!(
                    self.lines.meter(row(who), meter),
                    self.here.meter(row(who), meter),
                    "subscriber {who}, meter {meter}"
                );
            }
            let left = |lines: &Lines| lines.level(block(who), 0);
            assert_eq!(left(&self.lines), left(&self.here), "subscriber {who}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn who_goes_by_the_packet_before_decides_as_who_does_not(
        steps in prop::collection::vec(step(), 200..600),
    ) {
        std::thread::scope(|scope| {
            let all = scope.spawn(|| {
                let Some(mut desk) = Desk::new("cases") else {
                    return;
                };
                desk.go_to(0);
                steps.iter().for_each(|step| desk.take(step));
                desk.compare();
            });
            if let Err(panic) = all.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

#[test]
fn two_images_of_one_number_are_the_same_image() {
    let Some(mut desk) = Desk::new("cases-number") else {
        return;
    };
    desk.go_to(0);
    let packet = Packet {
        own: 0,
        remote: 0,
        down: false,
        v6: false,
        tagged: true,
        bytes: 100,
    };
    desk.judge(packet);
    // Another class for the remote, and not another number: nobody may do that.
    desk.state.turned += 1;
    let image = desk.maps.image.prepare(&desk.state.compile());
    let published = desk.maps.image.publish(&image.expect("there is room"));
    published.expect("it is published");
    let frame = frame(packet);
    let mut carried = vec![0; frame.len()];
    let mut judge = || {
        let mut options = TestRunOptions::new();
        options.data_in = Some(&frame);
        options.data_out = Some(&mut carried);
        let program = object::loaded(&mut desk.access[1], Entry::Access).expect("it is loaded");
        program.test_run(options).expect("the kernel runs it");
        dscp_of(&carried)
    };
    assert_eq!(judge(), 10, "decided by the packet before");
    desk.flusher.flush(&desk.maps.batches).expect("it is read");
    assert_eq!(judge(), 20, "decided anew");
}
