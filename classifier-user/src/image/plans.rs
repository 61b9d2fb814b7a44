//! Writing plan entries: see [`classifier::image::plans`].

use classifier::image::plans::{ENTRY_WORDS, PLAN_WORDS};
use classifier::image::{Chain, LINE_WORDS, Steps, at};
use classifier::layout::MAX_BUCKETS;

/// A plan layout as the image holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanEntry {
    /// Whether suspension does not bind.
    pub suspension_ignored: bool,
    /// Whether what the subscriber sends draws buckets down.
    pub count_up: bool,
    /// Whether what the subscriber receives draws buckets down.
    pub count_down: bool,
    /// Gate buckets, plan bucket numbers; at most four.
    pub gate: Vec<u8>,
    /// Chains by class number; `None` for a number the policy does not use.
    pub chains: Vec<Option<ChainEntry>>,
    /// What the plan grants each cycle, by plan bucket number; 0 to a bucket it grants nothing.
    pub grants: Vec<u64>,
}

/// A charge chain as the image holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainEntry {
    /// Steps: plan bucket number, and the meter it counts into; at most four.
    pub steps: Vec<(u8, u8)>,
    /// Whether the end of the chain passes, and its meter.
    pub end: Option<u8>,
    /// Meter of what is metered up to a limit: the last step counts into it.
    pub limited: Option<u8>,
    /// Whether that end is `free`.
    pub end_free: bool,
    /// Whether the chain is `free` and nothing else.
    pub free: bool,
    /// Whether the class is essential.
    pub essential: bool,
    /// Meter of what is dropped, where anything can be.
    pub dropped: Option<u8>,
    /// Meter of what is charged free because the class is essential, where that can be.
    pub rescued: Option<u8>,
}

/// No meter: the kernel never comes to count there.
const NONE: u8 = 0xff;

/// Appends the entries; a plan layout's number is its place.
pub(super) fn write(words: &mut Vec<u32>, plans: &[(u32, PlanEntry)]) {
    words.resize(words.len().next_multiple_of(2), 0);
    let base = words.len();
    let count = plans.iter().map(|(number, _)| number + 1).max();
    words.resize(base + (count.unwrap_or(0) * PLAN_WORDS) as usize, 0);
    for (number, plan) in plans {
        let passes = passes(plan);
        let entries = words[base + (number * PLAN_WORDS) as usize..].as_chunks_mut();
        for (to, chain) in entries.0.iter_mut().zip(&plan.chains) {
            if let Some(chain) = chain {
                *to = entry(plan, chain);
            }
            if passes {
                to[2] |= Chain::PLAN_PASSES;
            }
        }
    }
    words[at::PLANS as usize] = base as u32;
}

/// Whether no class of a plan asks a bucket or drops anything.
fn passes(plan: &PlanEntry) -> bool {
    let passes =
        |chain: &ChainEntry| !asks_buckets(plan, chain) && (chain.end.is_some() || chain.essential);
    plan.chains.iter().flatten().all(passes)
}

fn asks_buckets(plan: &PlanEntry, chain: &ChainEntry) -> bool {
    !(chain.free || plan.gate.is_empty() && chain.steps.is_empty())
}

/// Appends the low marks of all plan layouts: how little of what the plan grants may be left before somebody is told.
pub(super) fn write_low(words: &mut Vec<u32>, plans: &[(u32, PlanEntry)], used_percent: u8) {
    // Whole cache lines.
    words.resize(words.len().next_multiple_of(LINE_WORDS as usize), 0);
    let base = words.len() / 2;
    let count = plans.iter().map(|(number, _)| number + 1).max();
    words.resize((base + (count.unwrap_or(0) * MAX_BUCKETS) as usize) * 2, 0);
    for (number, plan) in plans {
        let marks = words[(base + (number * MAX_BUCKETS) as usize) * 2..].as_chunks_mut();
        for (to, granted) in marks
            .0
            .iter_mut()
            .zip(plan.grants.iter().take(MAX_BUCKETS as usize))
        {
            let mark = low_mark(*granted, used_percent);
            *to = [mark as u32, (mark >> 32) as u32];
        }
    }
    words[at::LOW as usize] = base as u32;
}

/// What is left of a grant of which so many percent are used; 0 where there is no mark: nothing is granted, or all of it
/// may be used.
fn low_mark(granted: u64, used_percent: u8) -> u64 {
    let left = 100 - u128::from(used_percent.min(100));
    // At most what was granted, which is at most 2^63 - 1.
    (u128::from(granted) * left / 100) as u64
}

fn entry(plan: &PlanEntry, chain: &ChainEntry) -> [u32; ENTRY_WORDS as usize] {
    let meter = |meter: Option<u8>| u32::from(meter.unwrap_or(NONE));
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    let flags = flag(chain.essential, Chain::ESSENTIAL)
        | flag(chain.end.is_some(), Chain::END_PASSES)
        | flag(chain.end_free, Chain::END_FREE)
        | flag(asks_buckets(plan, chain), Chain::ASKS_BUCKETS)
        | flag(plan.suspension_ignored, Chain::SUSPENSION_IGNORED)
        | flag(plan.count_up, Chain::COUNT_UP)
        | flag(plan.count_down, Chain::COUNT_DOWN);
    [
        Steps::pack(chain.steps.iter().map(|(bucket, _)| *bucket)),
        Steps::pack(chain.steps.iter().map(|(_, meter)| *meter)),
        meter(chain.end.or(chain.limited))
            | meter(chain.dropped) << 8
            | meter(chain.rescued) << 16
            | flags,
        Steps::pack(plan.gate.iter().copied()),
    ]
}

#[cfg(test)]
mod tests {
    use classifier::image::Image;

    use super::*;
    use crate::image::Source;

    #[test]
    fn a_plan_passes_where_no_class_asks_a_bucket_and_none_is_dropped() {
        let metered = ChainEntry {
            end: Some(0),
            ..ChainEntry::default()
        };
        let free = ChainEntry {
            free: true,
            end: Some(1),
            ..ChainEntry::default()
        };
        let drawing = ChainEntry {
            steps: vec![(0, 2)],
            ..metered.clone()
        };
        let dropping = ChainEntry {
            dropped: Some(3),
            ..ChainEntry::default()
        };
        let rescued = ChainEntry {
            essential: true,
            rescued: Some(4),
            ..dropping.clone()
        };
        let passes = |gate: &[u8], chains: &[Option<&ChainEntry>]| {
            let plan = PlanEntry {
                gate: gate.to_vec(),
                chains: chains.iter().map(|chain| chain.cloned()).collect(),
                ..PlanEntry::default()
            };
            let source = Source {
                plans: vec![(0, PlanEntry::default()), (1, plan)],
                ..Source::default()
            };
            let image = source.compile().unwrap();
            let image = Image::new(&image).unwrap();
            assert!(!image.passes(0), "a plan without classes");
            image.passes(1)
        };
        assert!(passes(&[], &[Some(&metered), Some(&free)]));
        // The number of a class that the policy does not use.
        assert!(passes(&[], &[None, Some(&free)]));
        assert!(passes(&[], &[Some(&rescued), Some(&metered)]));
        assert!(passes(&[0], &[Some(&free)]));
        assert!(!passes(&[0], &[Some(&free), Some(&metered)]));
        assert!(!passes(&[], &[Some(&metered), Some(&drawing)]));
        assert!(!passes(&[], &[Some(&dropping), Some(&metered)]));
    }
}
