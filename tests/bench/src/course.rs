//! What is measured in a full run, in a quick one, and in one that only shows that everything works.

use std::time::Duration;

use crate::rounds::Effort;
use crate::tables::Family::{self, V4, V6};
use crate::world::Size;

/// The course of a run.
pub(crate) struct Course {
    pub(crate) effort: Effort,
    /// Of packets over a wire: many short samples, because these differ from run to run, as frames do that lie in other memory
    /// each time.
    pub(crate) wire: Effort,
    /// Headers of a pattern.
    pub(crate) headers: usize,
    /// Worlds whose look-ups are measured.
    pub(crate) worlds: Vec<Size>,
    /// Worlds among them that are measured on all CPUs, too.
    pub(crate) all_cpus: Vec<Size>,
    /// Worlds among them in which nftables is measured, too.
    pub(crate) nftables: Vec<Size>,
    /// Worlds whose cost by Zipf's law is compared: few prefixes and many. A quick run has not the time.
    pub(crate) growth: Option<[Size; 2]>,
    /// World of the buckets' cost, and of the packets over a wire.
    pub(crate) middle: Size,
    /// Prefixes of IPv4 and IPv6, and subscribers: the largest node.
    pub(crate) largest: [usize; 3],
    /// Images published under load.
    pub(crate) changes: usize,
    /// How often all subscribers of an agent at work take their turns.
    pub(crate) turns: usize,
    /// How long an agent that rests is looked at before its memory is believed, five times.
    pub(crate) rest: Duration,
}

const fn size(family: Family, prefixes: usize, subscribers: usize) -> Size {
    Size {
        family,
        prefixes,
        subscribers,
    }
}

const K: usize = 1_000;
const M: usize = 1_000_000;
/// More than there are: all of a table.
const ALL6: usize = 200 * K;

impl Course {
    /// A few minutes.
    pub(crate) fn full() -> Self {
        Self {
            effort: Effort {
                rounds: 3,
                sample: Duration::from_millis(120),
            },
            wire: Effort {
                rounds: 31,
                sample: Duration::from_millis(15),
            },
            headers: 1 << 19,
            worlds: vec![
                size(V4, K, K),
                size(V4, 10 * K, 100 * K),
                size(V4, K, M),
                size(V4, 10 * K, M),
                size(V4, 100 * K, M),
                size(V4, M, K),
                size(V4, M, 100 * K),
                size(V4, M, M),
                size(V6, K, K),
                size(V6, 10 * K, 100 * K),
                size(V6, K, M),
                size(V6, 100 * K, M),
                size(V6, ALL6, M),
            ],
            all_cpus: vec![size(V4, 10 * K, 100 * K), size(V4, M, M), size(V6, ALL6, M)],
            nftables: vec![size(V4, K, K), size(V4, M, M), size(V6, K, K)],
            growth: Some([size(V4, K, M), size(V4, M, M)]),
            middle: size(V4, 10 * K, 100 * K),
            largest: [M, ALL6, M],
            changes: 1_000,
            turns: 3,
            rest: Duration::from_secs(2),
        }
    }

    /// Under a minute, with the ends of the axes that take longest to build left out.
    pub(crate) fn quick() -> Self {
        Self {
            effort: Effort {
                rounds: 3,
                sample: Duration::from_millis(15),
            },
            wire: Effort {
                rounds: 9,
                sample: Duration::from_millis(3),
            },
            headers: 1 << 17,
            worlds: vec![
                size(V4, K, K),
                size(V4, 10 * K, 100 * K),
                size(V6, K, K),
                size(V6, 10 * K, 100 * K),
            ],
            all_cpus: vec![size(V4, 10 * K, 100 * K)],
            nftables: vec![size(V4, K, K)],
            growth: None,
            middle: size(V4, 10 * K, 100 * K),
            largest: [100 * K, 20 * K, 100 * K],
            changes: 50,
            turns: 1,
            rest: Duration::from_millis(400),
        }
    }

    /// Seconds: for the tests.
    pub(crate) fn smoke() -> Self {
        let tiny = |family| size(family, 300, 200);
        Self {
            effort: Effort {
                rounds: 2,
                sample: Duration::from_micros(200),
            },
            wire: Effort {
                rounds: 3,
                sample: Duration::from_micros(200),
            },
            headers: 1 << 12,
            worlds: vec![tiny(V4), tiny(V6)],
            all_cpus: vec![tiny(V4)],
            nftables: vec![tiny(V4), tiny(V6)],
            growth: Some([tiny(V4), tiny(V4)]),
            middle: tiny(V4),
            largest: [500, 300, 200],
            changes: 10,
            turns: 1,
            rest: Duration::from_millis(20),
        }
    }
}
