//! What the agent tells: status and usage. Read from the shared memory, without a call into the
//! kernel per subscriber.

use classifier::books::{self, BOOKS_WORDS, Books, Cell};
use classifier::charge;
use classifier::layout::MAX_CLASSES;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::NodeError;
use super::feeds::FeedStatus;
use super::node::Node;
use crate::accounts::usage;
use crate::config::Role;
use crate::datapath::links::{self, Attached};
use crate::datapath::maps::MapsError;
use crate::datapath::object::Entry;
use crate::datapath::way::{Point, Way};
use crate::history::{Chosen, Scheduled};
use crate::report::{BooksRow, Closing, Direction, Place, Refused, Report, UnattributedRow};
use crate::sinks::board::SinkStatus;

/// `zerorate status`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Status {
    /// Name of the node.
    pub node: String,
    /// Version of the program.
    pub version: String,
    /// Epoch of the counters.
    pub epoch: String,
    /// Name of the policy in force.
    pub policy: String,
    /// Its version.
    pub policy_version: String,
    /// Since when it is in force.
    pub policy_since: Timestamp,
    /// What holds in place of the configured files, if a command put it in force.
    #[serde(default)]
    pub policy_chosen: Option<Chosen>,
    /// Versions that are to come into force later.
    #[serde(default)]
    pub policy_scheduled: Vec<Scheduled>,
    /// What is wrong with the audit log, if anything is.
    #[serde(default)]
    pub unaudited: Option<String>,
    /// When it changes by itself next, if it does.
    pub policy_until: Option<Timestamp>,
    /// Bytes of its image.
    pub image_bytes: u64,
    /// Subscribers with a session.
    pub subscribers: u64,
    /// Of these, suspended.
    pub suspended: u64,
    /// Rows in the kernel, those of ended sessions included.
    pub rows: u64,
    /// Bytes of rows and bucket blocks.
    pub row_bytes: u64,
    /// Seen IP bytes that are on no account; zero when traffic rests.
    pub books_difference_bytes: i64,
    /// IP packets that passed without a verdict; zero on a node in order.
    pub unpriced_packets: u64,
    /// Packets charged `dropped` that were passed with a mark instead, to be told by it.
    #[serde(default)]
    pub marked_packets: u64,
    /// Packets that could not be given their tag.
    #[serde(default)]
    pub untagged_packets: u64,
    /// Packets recorded under the policy before the one that judged them, for want of room while it took its place.
    #[serde(default)]
    pub unsplit_packets: u64,
    /// Events that were lost because there was no room for them.
    pub events_lost: u64,
    /// Why the latest reload or start was refused, if it was.
    pub refused: Option<String>,
    /// Why usage cannot be recorded, if so; it is counted on.
    pub unrecorded: Option<String>,
    /// Sets whose lists follow a source, and how these do.
    #[serde(default)]
    pub feeds: Vec<FeedStatus>,
    /// Interfaces: a line for each hook they have.
    pub interfaces: Vec<InterfaceStatus>,
    /// Where records are brought, and how far they are.
    #[serde(default)]
    pub sinks: Vec<SinkStatus>,
}

/// Hook and mode of an interface on which nothing is counted, on purpose.
const NO_HOOK: &str = "none";
/// Hook on which packets get their marks.
const TAG_HOOK: &str = "tc-ingress";

impl InterfaceStatus {
    /// Whether it is as configured.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        self.attached || self.hook == NO_HOOK
    }
}

/// A hook of an interface in [`Status`].
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// `access` or `core`.
    pub role: String,
    /// `native`, `generic`, `tcx`, `clsact`; `none` where the hook is.
    pub mode: String,
    /// Whether packets are counted there.
    pub attached: bool,
    /// Its number, if attached.
    pub ifindex: Option<u32>,
    /// Packets seen.
    pub packets: u64,
    /// IP bytes seen.
    pub ip_bytes: u64,
    /// `xdp-native`, `xdp-generic`, `tc-egress`; `tc-ingress`, where nothing is counted and packets get their marks;
    /// `none` on a core interface when downlink is counted on the access interfaces' egress.
    pub hook: String,
}

/// Books of one interface and direction.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) interface: String,
    pub(crate) direction: Direction,
    pub(super) books: Books,
}

/// What a place is called.
pub(super) const fn hook(way: Way, place: &links::Place) -> &'static str {
    match (way, place.point()) {
        (Way::Native, _) => "xdp-native",
        (Way::Generic, _) => "xdp-generic",
        (_, Point::Egress) => "tc-egress",
        _ => TAG_HOOK,
    }
}

impl Node {
    /// Status of the node.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub fn status(&self) -> Result<Status, MapsError> {
        let counted = self.counted()?;
        let total = self.closing_of_all(&counted);
        let in_force = self.in_force.as_ref();
        let sum = |cell: Cell| -> u64 {
            let cells = counted.iter().map(|counted| counted.books[cell as usize]);
            cells.sum()
        };
        Ok(Status {
            node: self.config.node.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            epoch: format!("{:016x}", self.maps.epoch()),
            policy: in_force.map_or_else(String::new, |in_force| in_force.policy.name.clone()),
            policy_version: in_force
                .map_or_else(String::new, |in_force| in_force.policy.version.clone()),
            policy_since: in_force.map_or(Timestamp::UNIX_EPOCH, |in_force| in_force.since),
            policy_chosen: self.history.chosen().cloned(),
            policy_scheduled: self.history.scheduled().to_vec(),
            unaudited: self.history.amiss(),
            policy_until: self.next_boundary(),
            image_bytes: in_force.map_or(0, |in_force| in_force.image_bytes as u64),
            subscribers: self.accounts.present().count() as u64,
            suspended: self
                .accounts
                .present()
                .filter(|(.., session)| session.suspended)
                .count() as u64,
            rows: self.accounts.rows().count() as u64,
            row_bytes: u64::from(self.accounts.next_line)
                * u64::from(classifier::layout::LINE_BYTES),
            books_difference_bytes: total.difference_bytes,
            unpriced_packets: sum(Cell::UnpricedPackets),
            marked_packets: sum(Cell::MarkedPackets),
            untagged_packets: sum(Cell::UntaggedPackets),
            unsplit_packets: sum(Cell::UnsplitPackets),
            events_lost: lost(&counted),
            refused: self.refused.clone(),
            feeds: self.feeds.clone(),
            unrecorded: self.recording.in_the_way(),
            interfaces: self.interface_states(&counted),
            sinks: self.sinks.status(&self.ledger),
        })
    }

    /// Interfaces: a line for each hook they have.
    pub(super) fn interface_states(&self, counted: &[Counted]) -> Vec<InterfaceStatus> {
        let seen = |interface: &str, direction: Direction, cell: Cell| {
            let of_it = counted
                .iter()
                .filter(|counted| counted.interface == interface && counted.direction == direction);
            of_it.map(|counted| counted.books[cell as usize]).sum()
        };
        let attached = self.interfaces.states().map(|(place, attached)| {
            // One that is not attached would be, the first way it can.
            let way = attached.map_or(place.ways[0], Attached::way);
            // Nothing is counted where marks are taken.
            let direction = match place.entry {
                Entry::Access | Entry::AccessWhole => Some(Direction::Up),
                Entry::Tag => None,
                _ => Some(Direction::Down),
            };
            let seen =
                |cell| direction.map_or(0, |direction| seen(&place.interface, direction, cell));
            InterfaceStatus {
                name: place.interface.clone(),
                role: if self.is_core(&place.interface) {
                    "core"
                } else {
                    "access"
                }
                .into(),
                hook: hook(way, place).into(),
                mode: way.name().into(),
                attached: attached.is_some(),
                ifindex: attached.map(Attached::ifindex),
                packets: seen(Cell::Packets),
                ip_bytes: seen(Cell::IpBytes),
            }
        });
        let uncounted = self
            .interfaces
            .uncounted()
            .iter()
            .map(|name| InterfaceStatus {
                name: name.clone(),
                role: "core".into(),
                hook: NO_HOOK.into(),
                mode: NO_HOOK.into(),
                attached: false,
                ifindex: None,
                packets: seen(name, Direction::Down, Cell::Packets),
                ip_bytes: seen(name, Direction::Down, Cell::IpBytes),
            });
        attached.chain(uncounted).collect()
    }

    /// The books alone: what each interface saw, by direction, and all of them. What became of it is not in them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn books(&self) -> Result<Vec<BooksRow>, MapsError> {
        let counted = self.counted()?;
        let mut both = [0; BOOKS_WORDS];
        for (sum, n) in counted
            .iter()
            .flat_map(|counted| counted.books.iter().enumerate())
        {
            both[sum] += n;
        }
        let of_each = counted.iter().map(|counted| BooksRow {
            place: Some(Place {
                interface: counted.interface.clone(),
                direction: counted.direction,
            }),
            ..seen(&counted.books)
        });
        Ok(of_each.chain([seen(&both)]).collect())
    }

    /// What was seen on all interfaces against the sums of the subscribers' own counters.
    fn closing_of_all(&self, counted: &[Counted]) -> Closing {
        let [attributed_bytes, dropped_bytes] = usage::totals(&self.accounts, self.rows());
        let unattributed = counted
            .iter()
            .map(|counted| closing(&counted.books).unattributed_bytes);
        let totals = Closing {
            attributed_bytes,
            unattributed_bytes: unattributed.sum(),
            dropped_bytes,
            difference_bytes: 0,
        };
        let seen = counted
            .iter()
            .map(|counted| counted.books[Cell::IpBytes as usize]);
        closed(seen.sum(), totals)
    }

    /// Usage of every subscriber, unattributed traffic, and the books: a row per interface and direction, and
    /// one over all, in which the subscribers' own rows stand against what was seen.
    ///
    /// # Errors
    /// When the books cannot be read, or what ended rows counted.
    pub fn usage(&self) -> Result<Report, NodeError> {
        let counted = self.counted()?;
        let usage = usage::usage(&self.accounts, self.rows(), &self.ledger.past()?);
        let sum = |direction: Direction| {
            let mut sum = [0; BOOKS_WORDS];
            for counted in counted
                .iter()
                .filter(|counted| counted.direction == direction)
            {
                for (sum, n) in sum.iter_mut().zip(&counted.books) {
                    *sum += n;
                }
            }
            sum
        };
        let (up, down) = (sum(Direction::Up), sum(Direction::Down));
        let unattributed = usage::unattributed(&self.accounts, &up, &down);
        let mut books: Vec<BooksRow> = counted
            .iter()
            .map(|counted| BooksRow {
                place: Some(Place {
                    interface: counted.interface.clone(),
                    direction: counted.direction,
                }),
                closing: Some(closing(&counted.books)),
                refused: Some(refused(&counted.books)),
                ..seen(&counted.books)
            })
            .collect();
        let both = std::array::from_fn(|cell| up[cell] + down[cell]);
        let bytes = |dropped: bool| {
            usage
                .iter()
                .filter(|row| (row.charged == "dropped") == dropped)
                .map(|row| row.traffic.bytes_up + row.traffic.bytes_down)
                .sum()
        };
        let totals = Closing {
            attributed_bytes: bytes(false),
            unattributed_bytes: sum_unattributed(&unattributed),
            dropped_bytes: bytes(true),
            difference_bytes: 0,
        };
        books.push(BooksRow {
            closing: Some(closed(both[Cell::IpBytes as usize], totals)),
            refused: Some(refused(&both)),
            ..seen(&both)
        });
        Ok(Report {
            usage,
            unattributed,
            books,
        })
    }

    fn is_core(&self, interface: &str) -> bool {
        let mut interfaces = self.config.interfaces.iter();
        interfaces.any(|known| known.name == interface && known.role == Role::Core)
    }

    /// Events that were lost since the counters began.
    pub(super) fn lost_events(&self) -> Result<u64, MapsError> {
        Ok(lost(&self.counted()?))
    }

    pub(super) fn counted(&self) -> Result<Vec<Counted>, MapsError> {
        let mut found = Vec::new();
        for (interface, number) in self.numbered_interfaces() {
            for direction in [charge::Direction::Up, charge::Direction::Down] {
                let books = self.maps.books(books::index(*number, direction))?;
                // What an interface does not count, or never did, stays empty; but news that finds no room when notes are
                // added stands in the first one's.
                if [Cell::Packets, Cell::EventsLost].map(|cell| books[cell as usize]) != [0; 2] {
                    found.push(Counted {
                        interface: interface.clone(),
                        direction: direction.into(),
                        books,
                    });
                }
            }
        }
        Ok(found)
    }
}

fn lost(counted: &[Counted]) -> u64 {
    let lost = counted
        .iter()
        .map(|counted| counted.books[Cell::EventsLost as usize]);
    lost.sum()
}

fn seen(books: &Books) -> BooksRow {
    let cell = |cell: Cell| books[cell as usize];
    BooksRow {
        place: None,
        packets: cell(Cell::Packets),
        ip_packets: cell(Cell::IpPackets),
        ip_bytes: cell(Cell::IpBytes),
        non_ip_packets: cell(Cell::NonIp),
        malformed_packets: cell(Cell::Malformed),
        closing: None,
        refused: None,
    }
}

/// What was refused in one set of books, closer looked at.
fn refused(books: &Books) -> Refused {
    let cell = |cell: Cell| books[cell as usize];
    Refused {
        marked_packets: cell(Cell::MarkedPackets),
        marked_bytes: cell(Cell::MarkedBytes),
        unknown_dropped_packets: cell(Cell::UnknownDroppedPackets),
        unknown_dropped_bytes: cell(Cell::UnknownDroppedBytes),
    }
}

/// Where the bytes of one set of books went.
pub(super) fn closing(books: &Books) -> Closing {
    let unattributed = (0..MAX_CLASSES)
        .map(|class| books[Cell::unattributed(class) as usize + 1])
        .sum();
    let totals = Closing {
        attributed_bytes: books[Cell::AttributedBytes as usize],
        unattributed_bytes: unattributed,
        dropped_bytes: books[Cell::DroppedBytes as usize],
        difference_bytes: 0,
    };
    closed(books[Cell::IpBytes as usize], totals)
}

fn closed(seen: u64, totals: Closing) -> Closing {
    let counted = totals.attributed_bytes + totals.unattributed_bytes + totals.dropped_bytes;
    Closing {
        difference_bytes: seen.wrapping_sub(counted) as i64,
        ..totals
    }
}

fn sum_unattributed(rows: &[UnattributedRow]) -> u64 {
    rows.iter()
        .map(|row| row.traffic.bytes_up + row.traffic.bytes_down)
        .sum()
}
