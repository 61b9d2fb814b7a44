//! What was decided about a packet is true of the next one of the same case and of no other: packets come in bursts, and in
//! between subscribers are suspended, addresses change hands, images take each other's place, buckets run out, CPUs take turns
//! and readers come. The kernel's program, which goes by the packet before, decides and counts as the one in this process, which
//! never does. Needs root and a BPF file system; skipped without.

use std::net::Ipv6Addr;

use aya::TestRun as _;
use aya::programs::TestRunOptions;
use classifier::charge::Direction;
use classifier::image::Binding;
use classifier::layout::RowHead;
use classifier::packet::Frame;
use classifier::verdict::{Action, Hook, Plain};
use ipnet::IpNet;
use proptest::prelude::*;
use zerorate::datapath::batches_map::Flusher;
use zerorate::datapath::live_image::LiveImage;
use zerorate::datapath::maps::Maps;
use zerorate::datapath::object::{self, Entry, Settings};
use zerorate::engine::lines::Lines;
use zerorate::engine::native::{HeapBooks, NativeTables};
use zerorate::image::{ChainEntry, Compiled, PlanEntry, Source};

use crate::batches::stay_on;
use crate::image_map::{Pins, maps};

const SUBSCRIBERS: u32 = 3;
const REMOTES: u32 = 4;
/// Classes, and meters of a row: two for each.
const CLASSES: u32 = 3;
/// A block, then a row of two lines.
const LINES_EACH: u32 = 3;
const XDP_DROP: u32 = 1;

/// A packet: of whom, with which remote, in which direction and family, of how many IP bytes.
#[derive(Debug, Clone, Copy)]
struct Packet {
    own: u32,
    remote: u32,
    down: bool,
    v6: bool,
    bytes: u16,
}

#[derive(Debug, Clone)]
enum Step {
    /// The same flow for so many packets.
    Burst(Packet, u8),
    /// Suspended, or given the service again.
    Suspend(u32, bool),
    /// Two subscribers' addresses change hands.
    Swap(u32, u32),
    /// Another image, in which the remotes' classes are turned by so much.
    Publish(u32),
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
        100..1_400_u16,
    );
    let packet = packet.prop_map(|(own, remote, down, v6, bytes)| Packet {
        own,
        remote,
        down,
        v6,
        bytes,
    });
    prop_oneof![
        12 => (packet, 1..5_u8).prop_map(|(packet, times)| Step::Burst(packet, times)),
        2 => (0..SUBSCRIBERS, any::<bool>()).prop_map(|(who, is)| Step::Suspend(who, is)),
        1 => (0..SUBSCRIBERS, 0..SUBSCRIBERS).prop_map(|(one, other)| Step::Swap(one, other)),
        1 => (1..CLASSES).prop_map(Step::Publish),
        2 => (0..SUBSCRIBERS, 100..4_000_u64).prop_map(|(who, bytes)| Step::Grant(who, bytes)),
        1 => (0..2_usize).prop_map(Step::Move),
        1 => Just(Step::Read),
    ]
}

fn block(number: u32) -> u32 {
    1 + number * LINES_EACH
}

fn row(number: u32) -> u32 {
    block(number) + 1
}

fn own4(number: u32) -> [u8; 4] {
    [10, 0, 0, number as u8]
}

fn remote4(number: u32) -> [u8; 4] {
    [198, 51, 100, number as u8]
}

fn own6(number: u32) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, number as u16, 0, 0, 0, 7)
}

fn remote6(number: u32) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, number as u16)
}

fn nets(number: u32) -> [IpNet; 2] {
    [
        IpNet::new(own4(number).into(), 32).unwrap(),
        IpNet::new(own6(number).into(), 64).unwrap().trunc(),
    ]
}

fn frame(packet: Packet) -> Vec<u8> {
    let (own, remote) = (packet.own, packet.remote);
    let mut frame = vec![0; 14 + usize::from(packet.bytes)];
    let mut put = |at: usize, bytes: &[u8]| frame[at..at + bytes.len()].copy_from_slice(bytes);
    let ends = |source, destination| {
        if packet.down {
            (destination, source)
        } else {
            (source, destination)
        }
    };
    if packet.v6 {
        let (own_at, remote_at) = ends(22, 38);
        put(12, &[0x86, 0xdd, 0x60]);
        put(18, &(packet.bytes - 40).to_be_bytes());
        put(20, &[17]);
        put(own_at, &own6(own).octets());
        put(remote_at, &remote6(remote).octets());
    } else {
        let (own_at, remote_at) = ends(26, 30);
        put(12, &[0x08, 0x00, 0x45]);
        put(16, &packet.bytes.to_be_bytes());
        put(own_at, &own4(own));
        put(remote_at, &remote4(remote));
    }
    frame
}

/// Who has which addresses, who is suspended, which class the remotes are.
#[derive(Clone, Default)]
struct State {
    serial: u32,
    turned: u32,
    has: [u32; SUBSCRIBERS as usize],
    suspended: [bool; SUBSCRIBERS as usize],
}

impl State {
    /// Who is counted for addresses; the last subscriber's plan has a bucket.
    fn binding(&self, addresses: u32) -> Binding {
        let who = self.has[addresses as usize];
        let plan = u32::from(who == SUBSCRIBERS - 1);
        let binding = Binding::new(row(who), plan, self.suspended[who as usize]);
        if plan == 1 {
            binding.with_block_before()
        } else {
            binding
        }
    }

    /// Of the subscriber's own addresses now.
    fn nets_of(&self, who: u32) -> Vec<IpNet> {
        (0..SUBSCRIBERS)
            .filter(|addresses| self.has[*addresses as usize] == who)
            .flat_map(nets)
            .collect()
    }

    fn source(&self) -> Source {
        let end = |class: u32, free| ChainEntry {
            free,
            end_free: free,
            end: Some(2 * class as u8),
            dropped: Some(2 * class as u8 + 1),
            ..ChainEntry::default()
        };
        let essential = ChainEntry {
            essential: true,
            rescued: Some(2),
            ..end(1, true)
        };
        let drawing = ChainEntry {
            steps: vec![(0, 0)],
            dropped: Some(1),
            ..ChainEntry::default()
        };
        let plan = |first| PlanEntry {
            count_up: true,
            count_down: true,
            chains: vec![Some(first), Some(essential.clone()), Some(end(2, false))],
            ..PlanEntry::default()
        };
        let class = |remote| (remote + self.turned) % CLASSES;
        Source {
            serial: self.serial,
            classes: (0..REMOTES)
                .flat_map(|remote| {
                    let v4 = IpNet::new(remote4(remote).into(), 32).unwrap();
                    let v6 = IpNet::new(remote6(remote).into(), 128).unwrap();
                    [(v4, class(remote)), (v6, class(remote + 1))]
                })
                .collect(),
            subscribers: (0..SUBSCRIBERS)
                .flat_map(|addresses| nets(addresses).map(|net| (net, self.binding(addresses))))
                .collect(),
            plans: vec![(0, plan(end(0, false))), (1, plan(drawing))],
            ..Source::default()
        }
    }

    fn compile(&self) -> Compiled {
        self.source().compile().expect("it fits")
    }
}

/// The same subscribers twice: in the kernel, and in this process.
struct Desk {
    state: State,
    maps: Maps,
    lines: Lines,
    live: LiveImage,
    flusher: Flusher,
    programs: aya::Ebpf,
    here: Lines,
    image: Compiled,
    books: HeapBooks,
    _pins: Pins,
}

impl Desk {
    fn new() -> Option<Self> {
        let (pins, maps) = maps("cases")?;
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
        let entries = [Entry::Access, Entry::Core];
        let programs = object::load(&maps, Settings::default(), &entries);
        Some(Self {
            state,
            lines,
            live,
            flusher: Flusher::load(&maps).expect("the kernel takes the program"),
            programs: programs.expect("the kernel takes the programs"),
            maps,
            here,
            image,
            books: HeapBooks::default(),
            _pins: pins,
        })
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Burst(packet, times) => {
                for _ in 0..times {
                    self.judge(packet);
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
                let bound: Vec<_> = [one, other]
                    .into_iter()
                    .flat_map(|addresses| {
                        nets(addresses).map(|net| (net, self.state.binding(addresses)))
                    })
                    .collect();
                let done = self.live.rebind(&[], &bound);
                done.expect("it is done in place");
            }
            Step::Publish(turned) => {
                self.state.serial += 1;
                self.state.turned += turned;
                let image = self.state.compile();
                self.live = self.maps.image.prepare(&image).expect("there is room");
                let done = self.maps.image.publish(&self.live);
                done.expect("it is published");
            }
            Step::Grant(who, bytes) => {
                for lines in [&self.lines, &self.here] {
                    lines.set_granted(block(who), 0, lines.granted(block(who), 0) + bytes);
                }
            }
            Step::Move(cpu) => stay_on(cpu),
            Step::Read => self.compare(),
        }
        if matches!(step, Step::Suspend(..) | Step::Swap(..) | Step::Publish(_)) {
            self.image = self.state.compile();
        }
    }

    /// The kernel's verdict, and this process's.
    fn judge(&mut self, packet: Packet) {
        let frame = frame(packet);
        let (entry, direction) = if packet.down {
            (Entry::Core, Direction::Down)
        } else {
            (Entry::Access, Direction::Up)
        };
        let mut options = TestRunOptions::new();
        options.data_in = Some(&frame);
        let program = object::loaded(&mut self.programs, entry).expect("it is loaded");
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
            settings: Plain::default(),
        };
        let verdict = tables.judge(
            &Frame {
                captured: &frame,
                room: frame.len() as u32,
            },
            hook,
        );
        assert_eq!(
            ran.return_value == XDP_DROP,
            verdict.action == Action::Drop,
            "{packet:?}"
        );
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
                stay_on(0);
                let Some(mut desk) = Desk::new() else {
                    return;
                };
                steps.iter().for_each(|step| desk.take(step));
                desk.compare();
            });
            if let Err(panic) = all.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }
}
