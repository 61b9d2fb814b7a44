//! The recipe: one packet through parser, image, charge rules and counters.
//!
//! The kernel programs, replay, explain and the tests all call [`verdict`]; there is no second way to decide.

use crate::books::Cell;
use crate::case::{Address, Case, Ruling};
use crate::charge::{Charge, Direction, charge};
use crate::events::{Event, Kind};
use crate::image::{Binding, Image, Remote, Words};
use crate::layout::{Place, RowHead};
use crate::packet::{Ip, Packet, Parsed, parse};
use crate::tag::{self, Payer, Tag, Tagging};
use crate::web::is_web;

/// Memory the verdict reads and counts in. The kernel reaches it through maps, the host through slices.
pub trait Tables {
    /// The image's words.
    type Words: Words;
    /// A line of the rows, found once and then read and counted in.
    type Line: Copy;

    /// The policy image in force; `None` when there is none.
    fn image(&self) -> Option<Self::Words>;
    /// Finds a line by its number.
    fn line(&self, line: u32) -> Option<Self::Line>;
    /// Says that the row that begins at a line will be asked for its buckets, whose block stands before it: memory that is
    /// far away can be fetched while something else is looked up.
    fn approach_buckets(&self, line: Self::Line);
    /// Head of the row that begins at a line.
    fn row(&self, line: Self::Line) -> RowHead;
    /// Adds a packet to what the one before it was added to, if that was the same case, and says what was decided in it. Not to
    /// be asked for a packet that is nobody's.
    fn add_again(&self, case: Case, size: Size) -> Option<Ruling>;
    /// Notes a packet that passes whatever its class is, so that its class and meter are found later, by this image, before
    /// anybody reads counters; `watched`: somebody wants to know if it is the first in its meter. `false` where that may not
    /// be, and it is to be decided now.
    fn defer(&self, case: Case, size: Size, watched: bool) -> bool;
    /// Adds to a meter's counters, at once or before anybody reads them, and reports the packet before if it is news.
    /// `false` where there is no such row. `decided` is what a packet of the same case that follows can be told.
    fn add(&self, place: Place, size: Size, decided: Option<(Case, Ruling)>) -> bool;
    /// Counts a packet aside, as an image of this serial number says, and reports it before if it is news. `false` where
    /// there is no room for it.
    fn add_aside(&self, serial: u32, place: Place, size: Size) -> bool;
    /// What is left in the bucket at a position of a block; it may be below zero.
    fn level(&self, block: Self::Line, position: u32) -> i64;
    /// Draws a bucket down, atomically, and says what was left in it before: draws of several CPUs follow each other.
    fn draw(&self, block: Self::Line, position: u32, bytes: u32) -> i64;
    /// Keeps an event for whoever wants to know, if there is room, and notes when it was.
    fn report(&self, event: Event);
    /// Adds to a counter of the books in force for this interface and direction.
    fn tally(&self, cell: u32, n: u64);
}

/// What an interface is configured to do. The kernel asks constants of the program's load, each where it matters, so
/// that the verifier leaves out what the answer rules out, and no packet pays for it.
pub trait Settings: Copy {
    /// `unknown = "drop"`.
    fn drop_unknown(self) -> bool;
    /// `enforce`: what is to be dropped is. Otherwise it is only counted so.
    fn enforce(self) -> bool;
    /// `on_block = "mark"`.
    fn mark_web(self) -> bool;
    /// `tag`.
    fn tagging(self) -> Tagging;
}

/// Settings in memory, by default those of an interface for which nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// See [`Settings::drop_unknown`].
    pub drop_unknown: bool,
    /// See [`Settings::enforce`].
    pub enforce: bool,
    /// See [`Settings::mark_web`].
    pub mark_web: bool,
    /// See [`Settings::tagging`].
    pub tagging: Tagging,
}

impl Default for Plain {
    fn default() -> Self {
        Self {
            drop_unknown: false,
            enforce: true,
            mark_web: false,
            tagging: Tagging::None,
        }
    }
}

impl Settings for Plain {
    fn drop_unknown(self) -> bool {
        self.drop_unknown
    }
    fn enforce(self) -> bool {
        self.enforce
    }
    fn mark_web(self) -> bool {
        self.mark_web
    }
    fn tagging(self) -> Tagging {
        self.tagging
    }
}

/// Where a packet is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook<S = Plain> {
    /// Up on an access interface's ingress, down on its egress or on a core interface's ingress.
    pub direction: Direction,
    /// The packet did not arrive at the gateway: the gateway sends it.
    pub from_gateway: bool,
    /// What the interface is configured to do.
    pub settings: S,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Pass,
    /// It would not, but is web traffic, and the hook marks such: it goes on with its tag or not at all.
    Mark,
    /// It does not: its charge is `dropped`, or its subscriber is unknown and unknowns are dropped. Never said of
    /// what the gateway itself sends.
    Drop,
}

/// What was decided about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of it.
    pub action: Action,
    /// What it is to carry if it goes on.
    pub tag: Tag,
}

impl Verdict {
    /// What nothing is known of passes as it is.
    pub const PASS: Self = Self {
        action: Action::Pass,
        tag: Tag::NONE,
    };
}

/// Judges one packet and counts it.
#[inline(always)]
pub fn verdict<P: Packet, T: Tables, S: Settings>(
    packet: &P,
    hook: Hook<S>,
    tables: &T,
) -> Verdict {
    let packets = u64::from(packet.train().packets);
    tables.tally(Cell::Packets.index(), packets);
    match parse(packet) {
        Parsed::NonIp => {
            tables.tally(Cell::NonIp.index(), packets);
            Verdict::PASS
        }
        Parsed::Malformed => {
            tables.tally(Cell::Malformed.index(), packets);
            Verdict::PASS
        }
        Parsed::V4(ip) => priced(packet, hook, tables, ip, packets),
        Parsed::V6(ip) => priced(packet, hook, tables, ip, packets),
    }
}

/// What is counted for a packet, or for the train of packets it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Packets.
    pub packets: u64,
    /// IP bytes.
    pub bytes: u32,
}

/// The subscriber's address and the remote's.
#[inline(always)]
fn ends<A>(ip: Ip<A>, direction: Direction) -> (A, A) {
    match direction {
        Direction::Up => (ip.source, ip.destination),
        Direction::Down => (ip.destination, ip.source),
    }
}

/// Counts an IP packet as seen and finds the image it is judged by.
#[inline(always)]
fn begin<T: Tables>(tables: &T, size: Size) -> Option<Image<T::Words>> {
    tables.tally(Cell::IpPackets.index(), size.packets);
    tables.tally(Cell::IpBytes.index(), u64::from(size.bytes));
    let image = tables.image().and_then(Image::new);
    if image.is_none() {
        unpriced(tables, size);
    }
    image
}

#[inline(always)]
fn unpriced<T: Tables>(tables: &T, size: Size) {
    tables.tally(Cell::UnpricedPackets.index(), size.packets);
    tables.tally(Cell::UnpricedBytes.index(), u64::from(size.bytes));
}

/// Asks for the buckets a packet may draw from, before it is known where the packet goes.
#[inline(always)]
fn approach<T: Tables>(tables: &T, binding: Binding) {
    if binding.has_block_before()
        && let Some(line) = tables.line(binding.line())
    {
        tables.approach_buckets(line);
    }
}

/// Decides about an IP packet, and says what it is to carry.
#[inline(always)]
fn priced<A: Address, P: Packet, T: Tables, S: Settings>(
    packet: &P,
    hook: Hook<S>,
    tables: &T,
    ip: Ip<A>,
    packets: u64,
) -> Verdict {
    let size = Size {
        packets,
        bytes: ip.bytes,
    };
    let Some(image) = begin(tables, size) else {
        return Verdict::PASS;
    };
    let (own, other) = ends(ip, hook.direction);
    let binding = own.subscriber(image);
    let tagging = hook.settings.tagging();
    let case = Case::new(image, hook.direction, tagging, binding, other);
    let carries = |class, payer| tag::of(image, tagging, class, payer);
    if binding.line() != 0 && image.aside().is_none() {
        if let Some(ruling) = tables.add_again(case, size) {
            attributed(tables, size);
            return Verdict {
                action: Action::Pass,
                tag: carries(ruling.class, ruling.payer),
            };
        }
        if A::WAITS
            && tagging == Tagging::None
            && !binding.is_suspended()
            && image.passes(binding.plan())
            && tables.defer(case, size, image.wants(Kind::Used))
        {
            attributed(tables, size);
            return Verdict::PASS;
        }
    }
    approach(tables, binding);
    let remote = other.remote(image);
    let decided = if binding.line() == 0 {
        Some(unknown(image, tables, hook, own, remote, size))
    } else {
        known(image, packet, tables, hook, case, remote, size)
    };
    match decided {
        Some((action, payer)) => Verdict {
            action,
            tag: carries(remote.class(), payer),
        },
        None => Verdict::PASS,
    }
}

/// Counts a packet that is nobody's as unattributed.
#[inline(always)]
fn unknown<A: Address, T: Tables, S: Settings>(
    image: Image<T::Words>,
    tables: &T,
    hook: Hook<S>,
    own: A,
    remote: Remote,
    size: Size,
) -> (Action, Payer) {
    let n = u64::from(size.bytes);
    let cell = Cell::unattributed(remote.class());
    tables.tally(cell, size.packets);
    tables.tally(cell + 1, n);
    if !hook.settings.drop_unknown()
        || sent_by_gateway(hook, remote)
        || keeps_link_alive(hook.direction, apart(image, own), remote)
    {
        return (Action::Pass, Payer::UNATTRIBUTED);
    }
    tables.tally(Cell::UnknownDroppedPackets.index(), size.packets);
    tables.tally(Cell::UnknownDroppedBytes.index(), n);
    (refused(hook), Payer::UNATTRIBUTED)
}

/// Charges a known subscriber's packet. `None` for what cannot be priced.
#[inline(always)]
fn known<P: Packet, T: Tables, S: Settings>(
    image: Image<T::Words>,
    packet: &P,
    tables: &T,
    hook: Hook<S>,
    case: Case,
    remote: Remote,
    size: Size,
) -> Option<(Action, Payer)> {
    let n = u64::from(size.bytes);
    let class = remote.class();
    let charge = charge(
        image,
        tables,
        case.binding,
        class,
        hook.direction,
        size.bytes,
    );
    let counted =
        charge.filter(|charge| count(image, tables, (case, class), *charge, hook.direction, size));
    let Some(charge) = counted else {
        unpriced(tables, size);
        return None;
    };
    if charge.payer != Payer::DROPPED {
        attributed(tables, size);
        return Some((Action::Pass, charge.payer));
    }
    tables.tally(Cell::DroppedPackets.index(), size.packets);
    tables.tally(Cell::DroppedBytes.index(), n);
    if sent_by_gateway(hook, remote) {
        return Some((Action::Pass, Payer::DROPPED));
    }
    if hook.settings.mark_web() && is_web(packet, hook.direction) {
        tables.tally(Cell::MarkedPackets.index(), size.packets);
        tables.tally(Cell::MarkedBytes.index(), n);
        if hook.settings.enforce() {
            return Some((Action::Mark, Payer::BLOCKED));
        }
    }
    Some((refused(hook), Payer::DROPPED))
}

#[inline(always)]
fn attributed<T: Tables>(tables: &T, size: Size) {
    tables.tally(Cell::AttributedPackets.index(), size.packets);
    tables.tally(Cell::AttributedBytes.index(), u64::from(size.bytes));
}

/// Counts a packet in its meter: in the row, or aside while rows are kept still so that what another policy counted in
/// them can be read. `false` where there is no such row.
#[inline(always)]
fn count<T: Tables>(
    image: Image<T::Words>,
    tables: &T,
    (case, class): (Case, u32),
    charge: Charge,
    direction: Direction,
    size: Size,
) -> bool {
    let news = if charge.payer == Payer::DROPPED {
        Kind::Blocked
    } else {
        Kind::Used
    };
    let place = Place {
        line: case.binding.line(),
        meter: charge.meter,
        down: direction.is_down(),
        news: image.wants(news).then_some(news),
    };
    if let Some(serial) = image.aside() {
        if tables.add_aside(serial, place, size) {
            return true;
        }
        tables.tally(Cell::UnsplitPackets.index(), size.packets);
    }
    let ruling = Ruling {
        class,
        payer: charge.payer,
    };
    let decided = !charge.asked && charge.payer != Payer::DROPPED;
    tables.add(place, size, decided.then_some((case, ruling)))
}

/// What an address is that few packets are asked for: in a function of its own, off the way of all others.
#[inline(never)]
fn apart<A: Address, W: Words>(image: Image<W>, address: A) -> Remote {
    address.remote(image)
}

/// What becomes of what is to be dropped.
#[inline(always)]
fn refused<S: Settings>(hook: Hook<S>) -> Action {
    if hook.settings.enforce() {
        Action::Drop
    } else {
        Action::Pass
    }
}

/// Neighbour discovery, DHCP, routing protocols, and what is meant for the gateway itself.
#[inline(always)]
fn keeps_link_alive(direction: Direction, own: Remote, remote: Remote) -> bool {
    let (source, destination) = match direction {
        Direction::Up => (own, remote),
        Direction::Down => (remote, own),
    };
    source.is_link_source() || destination.is_link_destination()
}

/// What the gateway has to say itself, in its own name: resolvers' answers, neighbour discovery, ICMP errors. It
/// is counted like anything else and never dropped. What it sends in somebody else's name (a transparent proxy),
/// and what arrived in its name, is nothing special.
#[inline(always)]
fn sent_by_gateway<S>(hook: Hook<S>, remote: Remote) -> bool {
    hook.from_gateway && (remote.is_link_source() || remote.is_link_destination())
}
