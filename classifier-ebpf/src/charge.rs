//! Who pays for one packet: the plan's rules in the order of the contract.
//!
//! 1. suspended, class not essential, plan does not ignore suspension → dropped;
//! 2. chain is `free` → free;
//! 3. the plan has a gate and every gate bucket is empty → dropped;
//! 4. the first bucket of the chain that holds something is charged and drawn down; else the chain's end.
//!
//! An essential class is charged free where 3 or 4 would drop it.

use crate::events::{Event, Kind, fallen};
use crate::image::{Binding, Chain, Image, Words};
use crate::layout::MAX_STEPS;
use crate::tag::Payer;
use crate::verdict::Tables;

/// Which way a packet goes, seen from the subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The subscriber sends.
    Up,
    /// The subscriber receives.
    Down,
}

impl Direction {
    /// Whether the subscriber receives.
    #[inline(always)]
    #[must_use]
    pub const fn is_down(self) -> bool {
        matches!(self, Self::Down)
    }
}

/// What a packet is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Meter of the row it is counted in.
    pub meter: u32,
    /// Who pays; [`Payer::DROPPED`] where the meter counts what was dropped.
    pub payer: Payer,
    /// Whether a bucket was asked: the next packet's answer may be another.
    pub asked: bool,
}

/// A subscriber's buckets, as the plan numbers them.
struct Buckets<'a, T: Tables> {
    tables: &'a T,
    block: T::Line,
    map: u32,
}

impl<T: Tables> Buckets<'_, T> {
    #[inline(always)]
    fn position(&self, bucket: u32) -> u32 {
        (self.map >> ((bucket & 7) * 4)) & 7
    }
    /// Whether a bucket holds something.
    #[inline(always)]
    fn holds(&self, bucket: u32) -> bool {
        self.tables.level(self.block, self.position(bucket)) > 0
    }
    /// Takes `bytes` out of a bucket that held something a moment ago, and says what was left in it until then.
    /// Another CPU may have emptied it since: that is the one packet per CPU by which a bucket may run over.
    #[inline(always)]
    fn draw(&self, bucket: u32, bytes: u32) -> i64 {
        self.tables.draw(self.block, self.position(bucket), bytes)
    }
}

/// Decides, and draws the bucket that pays. `None` when the subscriber's row or buckets cannot be reached.
#[inline(always)]
pub fn charge<W: Words, T: Tables>(
    image: Image<W>,
    tables: &T,
    binding: Binding,
    class: u32,
    direction: Direction,
    bytes: u32,
) -> Option<Charge> {
    let chain = image.chain(binding.plan(), class);
    let dropped = Charge {
        meter: chain.dropped_meter(),
        payer: Payer::DROPPED,
        asked: chain.asks_buckets(),
    };
    let suspended = binding.is_suspended() && !chain.suspension_ignored();
    if suspended && !chain.essential() {
        return Some(dropped);
    }
    if !chain.asks_buckets() {
        return Some(by_chain(chain));
    }
    let head = tables.row(tables.line(binding.line())?);
    // Who has no buckets has line 0, whose levels are zero for ever.
    let buckets = Buckets {
        tables,
        block: tables.line(head.bucket_line)?,
        map: head.bucket_map,
    };
    let paid = if gate_is_open(chain, &buckets) {
        walk(image, binding, chain, &buckets, direction, bytes)
    } else {
        None
    };
    Some(paid.unwrap_or_else(|| unpaid(chain)))
}

/// Who pays where no bucket is asked, and suspension does not bind.
#[inline(always)]
pub(crate) fn by_chain(chain: Chain) -> Charge {
    end(chain).unwrap_or_else(|| unpaid(chain))
}

/// What becomes of a packet that nobody pays for: it is dropped, or free where its class is essential.
#[inline(always)]
fn unpaid(chain: Chain) -> Charge {
    let (meter, payer) = if chain.essential() {
        (chain.free_meter(), Payer::FREE)
    } else {
        (chain.dropped_meter(), Payer::DROPPED)
    };
    Charge {
        meter,
        payer,
        asked: chain.asks_buckets(),
    }
}

#[inline(always)]
fn gate_is_open<T: Tables>(chain: Chain, buckets: &Buckets<'_, T>) -> bool {
    let gate = chain.gate;
    if gate.is_empty() {
        return true;
    }
    for step in 0..MAX_STEPS {
        match gate.get(step) {
            Some(bucket) if buckets.holds(bucket) => return true,
            Some(_) => {}
            None => break,
        }
    }
    false
}

/// Who pays, or `None` where the chain ends in `drop`.
#[inline(always)]
fn walk<W: Words, T: Tables>(
    image: Image<W>,
    binding: Binding,
    chain: Chain,
    buckets: &Buckets<'_, T>,
    direction: Direction,
    bytes: u32,
) -> Option<Charge> {
    for step in 0..MAX_STEPS {
        let (Some(bucket), Some(meter)) = (chain.buckets.get(step), chain.meters.get(step)) else {
            break;
        };
        if buckets.holds(bucket) {
            if chain.draws(direction.is_down()) {
                let before = buckets.draw(bucket, bytes);
                let low = image.low(binding.plan(), bucket);
                if before - i64::from(bytes) <= low {
                    tell(image, buckets.tables, binding, bucket, (before, bytes, low));
                }
            }
            // What is metered up to a limit draws that, and is on the bill.
            let payer = if meter == chain.end_meter() {
                Payer::METERED
            } else {
                Payer::BUCKET
            };
            return Some(Charge {
                meter,
                payer,
                asked: true,
            });
        }
    }
    end(chain)
}

/// Who pays at the end of the chain, or `None` where that is `drop`.
#[inline(always)]
fn end(chain: Chain) -> Option<Charge> {
    chain.end_passes().then_some(Charge {
        meter: chain.end_meter(),
        payer: Payer::at_end(chain.end_is_free()),
        asked: chain.asks_buckets(),
    })
}

/// Tells of a bucket that runs low or out. Draws follow each other: one of them takes it past a mark.
#[inline(always)]
fn tell<W: Words, T: Tables>(
    image: Image<W>,
    tables: &T,
    binding: Binding,
    bucket: u32,
    (before, bytes, low): (i64, u32, i64),
) {
    let fall = fallen(before, bytes, low);
    for (kind, fallen) in [(Kind::Low, fall.low), (Kind::Empty, fall.empty)] {
        if fallen && image.wants(kind) {
            tables.report(Event::new(kind, binding.line(), bucket, fall.left));
        }
    }
}
