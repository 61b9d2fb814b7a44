//! The kernel's own counters of an interface held against the books: what both counted in the same time, the difference, and
//! what is known to make one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::report::Direction;

/// What both had counted at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// When.
    pub time: Timestamp,
    /// The interface.
    pub interface: String,
    /// What is counted there.
    pub direction: Direction,
    /// Number of the interface: another one, another interface of the same name.
    pub ifindex: u32,
    /// Where packets are counted: `xdp-native`, `xdp-generic`, `tc-egress`.
    pub hook: String,
    /// What the kernel counts on that side of the interface,
    pub kernel: Counted,
    /// and the books.
    pub books: Counted,
    /// Packets the program did not let through.
    pub stopped: u64,
    /// Packets that came while this was read, and those the driver may not have added up yet.
    pub meanwhile: u64,
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = CountedVolume)]
pub struct Counted {
    /// Packets.
    pub packets: u64,
    /// Bytes: of frames, as the driver counts them, or of IP, in the books.
    pub bytes: u64,
}

impl Counted {
    fn since(self, before: Self) -> Self {
        Self {
            packets: self.packets.wrapping_sub(before.packets),
            bytes: self.bytes.wrapping_sub(before.bytes),
        }
    }
}

/// What is known to make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DifferenceReason)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Packets came while the counters were read, one after the other, or were not in the kernel's count yet: most drivers add
    /// up after each poll of at most 64 packets.
    Meanwhile,
    /// The kernel counts as one what was joined, or is to be cut apart; the books count what is on the wire.
    Joined,
    /// Packets the program stops in the driver are none for some drivers.
    Stopped,
    /// The program was put in place, or was away, for some of the time.
    NotThere,
    /// The interface was made anew, or its counters began anew.
    CountersAnew,
}

impl Reason {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Meanwhile => "meanwhile",
            Self::Joined => "joined",
            Self::Stopped => "stopped",
            Self::NotThere => "not_there",
            Self::CountersAnew => "counters_anew",
        }
    }
}

/// What passed an interface in one direction in some time, as the kernel counted it and as the books did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reconciliation {
    /// The interface.
    pub interface: String,
    /// What is counted there: `up`, what subscribers send, or `down`.
    pub direction: Direction,
    /// Where packets are counted: `xdp-native`, `xdp-generic`, `tc-egress`.
    pub hook: String,
    /// Counted after this,
    pub from: Timestamp,
    /// and not after this.
    pub to: Timestamp,
    /// What the kernel counted: packets received where the hook is on ingress, sent where it is on egress, and their
    /// bytes as the driver counts them.
    pub kernel: Counted,
    /// What the books counted: packets, and the bytes of IP in them.
    pub books: Counted,
    /// Packets the kernel counted, less those in the books.
    pub difference: i64,
    /// How much of it no reason explains, in packets.
    pub unexplained: u64,
    /// What is known to make a difference here.
    pub reasons: Vec<Reason>,
}

impl Reconciliation {
    /// What was counted between two readings; `disturbed`: the program was not in place all the time.
    #[must_use]
    pub fn between(before: &Reading, now: &Reading, disturbed: bool) -> Self {
        let anew = before.ifindex != now.ifindex
            || now.kernel.packets < before.kernel.packets
            || now.kernel.bytes < before.kernel.bytes;
        let kernel = if anew {
            now.kernel
        } else {
            now.kernel.since(before.kernel)
        };
        let books = now.books.since(before.books);
        let difference = kernel.packets.wrapping_sub(books.packets) as i64;
        let meanwhile = before.meanwhile + now.meanwhile;
        let stopped = now.stopped.wrapping_sub(before.stopped);
        let joined = now.hook != NATIVE || before.hook != NATIVE;
        let away = anew || disturbed;
        // What the kernel may have counted more, and less, than the books.
        let more = if away { u64::MAX } else { meanwhile };
        let less = if away || joined {
            u64::MAX
        } else {
            meanwhile.saturating_add(stopped)
        };
        let unexplained = if difference > 0 {
            difference.unsigned_abs().saturating_sub(more)
        } else {
            difference.unsigned_abs().saturating_sub(less)
        };
        let reasons = [
            (meanwhile > 0, Reason::Meanwhile),
            (joined, Reason::Joined),
            (stopped > 0, Reason::Stopped),
            (disturbed, Reason::NotThere),
            (anew, Reason::CountersAnew),
        ];
        Self {
            interface: now.interface.clone(),
            direction: now.direction,
            hook: now.hook.clone(),
            from: before.time,
            to: now.time,
            kernel,
            books,
            difference,
            unexplained,
            reasons: reasons
                .into_iter()
                .filter_map(|(is, reason)| (difference != 0 && is).then_some(reason))
                .collect(),
        }
    }

    /// Whether nothing passed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kernel == Counted::default() && self.books == Counted::default()
    }

    /// Takes in what was counted right after it, in the same place.
    pub fn extend(&mut self, next: Self) {
        self.to = next.to;
        for (sum, more) in [
            (&mut self.kernel, next.kernel),
            (&mut self.books, next.books),
        ] {
            sum.packets += more.packets;
            sum.bytes += more.bytes;
        }
        self.difference += next.difference;
        self.unexplained = self.unexplained.saturating_add(next.unexplained);
        if self.hook != next.hook {
            self.hook = next.hook;
        }
        for reason in next.reasons {
            if !self.reasons.contains(&reason) {
                self.reasons.push(reason);
            }
        }
    }
}

/// The hook on which each packet of the wire is one for the kernel, too.
const NATIVE: &str = "xdp-native";

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(second: i64, packets: (u64, u64)) -> Reading {
        let counted = |packets: u64| Counted {
            packets,
            bytes: packets * 100,
        };
        Reading {
            time: Timestamp::from_second(second).unwrap(),
            interface: "core0".to_owned(),
            direction: Direction::Down,
            ifindex: 3,
            hook: NATIVE.to_owned(),
            kernel: counted(packets.0),
            books: counted(packets.1),
            stopped: 0,
            meanwhile: 0,
        }
    }

    #[test]
    fn what_both_counted_leaves_no_difference() {
        let row = Reconciliation::between(&reading(1, (1000, 10)), &reading(2, (1500, 510)), false);
        assert_eq!((row.difference, row.unexplained), (0, 0));
        assert_eq!(row.kernel.packets, 500);
        assert!(row.reasons.is_empty());
        assert!(!row.is_empty());
    }

    #[test]
    fn a_difference_is_explained_as_far_as_a_reason_goes() {
        let before = reading(1, (1000, 1000));
        // The kernel counted twelve more, three of them while it was read.
        let mut now = reading(2, (1112, 1100));
        now.meanwhile = 3;
        let row = Reconciliation::between(&before, &now, false);
        assert_eq!((row.difference, row.unexplained), (12, 9));
        assert_eq!(row.reasons, [Reason::Meanwhile]);
        // It counted twelve less: ten were stopped.
        let mut now = reading(2, (1088, 1100));
        now.stopped = 10;
        let row = Reconciliation::between(&before, &now, false);
        assert_eq!((row.difference, row.unexplained), (-12, 2));
        // Joined packets are fewer, never more.
        for (kernel, unexplained) in [(1020, 0), (1120, 20)] {
            let mut now = reading(2, (kernel, 1100));
            now.hook = "xdp-generic".to_owned();
            let row = Reconciliation::between(&before, &now, false);
            assert_eq!(row.unexplained, unexplained);
            assert_eq!(row.reasons, [Reason::Joined]);
        }
        // Who was away counted nothing of it.
        let row = Reconciliation::between(&before, &reading(2, (9000, 1100)), true);
        assert_eq!((row.difference, row.unexplained), (7900, 0));
        // Counters that began anew count from zero.
        let row = Reconciliation::between(&before, &reading(2, (40, 1100)), false);
        assert_eq!(row.kernel.packets, 40);
        assert_eq!(row.reasons, [Reason::CountersAnew]);
    }

    #[test]
    fn rows_of_one_place_add_up() {
        let (a, b, mut c) = (
            reading(1, (10, 10)),
            reading(2, (20, 20)),
            reading(3, (25, 22)),
        );
        c.meanwhile = 1;
        let mut sum = Reconciliation::between(&a, &b, false);
        sum.extend(Reconciliation::between(&b, &c, false));
        let whole = Reconciliation::between(&a, &c, false);
        assert_eq!(sum, whole);
    }
}
