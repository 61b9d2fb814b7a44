//! Chains that can never be reached: a `"*"` where every class has a chain of its own, and what comes in a chain after
//! all buckets of the gate, which is shut by then.

use super::expect::Expect;
use super::model::{Chain, ChainEnd, Class, Plan};
use super::read::{RawCharge, RawPlan};
use crate::diagnostic::{Diagnostics, quote};

/// Warns of chains of a plan without errors.
pub(super) fn check(
    raw: &RawPlan,
    plan: &Plan,
    classes: &[Class],
    expect: &mut Expect<'_>,
    out: &mut Diagnostics,
) {
    let charge = raw.charge.as_deref().unwrap_or_default();
    let named = |class: &Class| charge.iter().any(|entry| entry.class.value == class.name);
    for entry in charge {
        let any = entry.class.value == "*";
        if any && classes.iter().all(named) {
            let message = format!(
                "{}: the chain of \"*\" is never reached: every class has a chain of its own",
                expect.title()
            );
            let help = "remove it";
            expect.warn(&entry.class.place, "unreachable", message, help, out);
            continue;
        }
        let of_entry = |class: &Class| class.name == entry.class.value || (any && !named(class));
        if let Some(class) = classes.iter().position(of_entry) {
            check_gated(entry, plan, &plan.chains[class], expect, out);
        }
    }
}

/// The gate drops as soon as all its buckets are empty, which they are once the chain has tried them.
fn check_gated(
    entry: &RawCharge,
    plan: &Plan,
    chain: &Chain,
    expect: &mut Expect<'_>,
    out: &mut Diagnostics,
) {
    let tried = |bucket: &usize| chain.buckets.iter().position(|other| other == bucket);
    let Some(last) = plan
        .gate
        .iter()
        .map(tried)
        .collect::<Option<Vec<_>>>()
        .and_then(|places| places.into_iter().max())
    else {
        return;
    };
    let idle = chain.buckets.len() > last + 1 || chain.end != ChainEnd::Drop;
    if let Some(step) = entry
        .chain
        .as_ref()
        .filter(|_| idle)
        .and_then(|words| words.value.get(last + 1))
    {
        let message = format!(
            "{}: {} in the chain of {} is never reached: the gate drops when all buckets before it are empty",
            expect.title(),
            quote(&step.value),
            quote(&entry.class.value)
        );
        let help = "put it before one of the gate's buckets, or take a bucket out of the gate";
        expect.warn(&step.place, "unreachable", message, help, out);
    }
}
