//! Writing plan entries: flags and gate, then who pays for each class.

use classifier::image::{Chain, PLAN_CLASS_WORDS, PLAN_HEAD_WORDS, Plan, Steps, at};

use super::Compiled;

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
}

/// A charge chain as the image holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainEntry {
    /// Steps: plan bucket number, and the meter it counts into; at most four.
    pub steps: Vec<(u8, u8)>,
    /// Whether the end of the chain passes, and its meter.
    pub end: Option<u8>,
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

/// Appends the entries; an entry's number is its place.
pub(super) fn write(words: &mut Vec<u32>, plans: &[(u32, PlanEntry)]) {
    let classes = plans
        .iter()
        .map(|(_, plan)| plan.chains.len())
        .max()
        .unwrap_or(0);
    let stride = PLAN_HEAD_WORDS as usize + PLAN_CLASS_WORDS as usize * classes;
    let count = plans
        .iter()
        .map(|(number, _)| *number as usize + 1)
        .max()
        .unwrap_or(0);
    let base = words.len();
    words.resize(base + count * stride, 0);
    for (number, plan) in plans {
        let mut at = base + *number as usize * stride;
        words[at] = head(plan);
        words[at + 1] = Steps::pack(plan.gate.iter().copied());
        at += PLAN_HEAD_WORDS as usize;
        for chain in &plan.chains {
            let entry = chain.as_ref().map_or([0; PLAN_CLASS_WORDS as usize], entry);
            words[at..at + entry.len()].copy_from_slice(&entry);
            at += entry.len();
        }
    }
    words[at::PLANS as usize] = base as u32;
    words[at::PLAN_STRIDE as usize] = stride as u32;
    words[at::PLAN_COUNT as usize] = count as u32;
}

fn head(plan: &PlanEntry) -> u32 {
    type Flags<'a> = Plan<&'a Compiled>;
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    flag(plan.suspension_ignored, Flags::SUSPENSION_IGNORED)
        | flag(plan.count_up, Flags::COUNT_UP)
        | flag(plan.count_down, Flags::COUNT_DOWN)
}

fn entry(chain: &ChainEntry) -> [u32; PLAN_CLASS_WORDS as usize] {
    let meter = |meter: Option<u8>| u32::from(meter.unwrap_or(NONE));
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    [
        Steps::pack(chain.steps.iter().map(|(bucket, _)| *bucket)),
        Steps::pack(chain.steps.iter().map(|(_, meter)| *meter)),
        meter(chain.end) | meter(chain.dropped) << 8 | meter(chain.rescued) << 16,
        flag(chain.essential, Chain::ESSENTIAL)
            | flag(chain.end.is_some(), Chain::END_PASSES)
            | flag(chain.free, Chain::FREE),
    ]
}
