//! Tariff plans: what each of them grants, and who pays for each class.

use std::collections::HashMap;

use jiff::Timestamp;

use super::chains::check_charge;
use super::cycle::{Cycle, MAX_CYCLE_DAYS, MAX_CYCLE_MONTHS};
use super::expect::{Expect, PLAN_WARNINGS, UNUSED_PLAN};
use super::lifetime::check_ends;
use super::model::{Bucket, Chain, ChainEnd, Class, Count, Grant, Plan};
use super::names::{RESERVED_BUCKETS, check_name, suggest};
use super::reach;
use super::read::{RawBucket, RawGrant, RawPlan};
use super::section::At;
use super::terms::{LIMIT, Settlement, Word};
use super::volume::{parse_price, parse_volume};
use crate::diagnostic::{Diagnostics, quote};

/// Most plans of a policy.
pub const MAX_PLANS: usize = 1024;

/// Most buckets of a plan.
pub const MAX_BUCKETS: usize = 8;

/// Most buckets of a gate.
pub const MAX_GATE: usize = 4;

/// Whether a plan names a bucket.
pub(super) fn has_bucket(plan: &RawPlan, name: &str) -> bool {
    plan.buckets.iter().any(|bucket| bucket.name.value == name)
}

/// The plans, sorted by name. After an error they are incomplete, and only good for their names.
pub(super) fn check_plans(
    raw: &[RawPlan],
    classes: &[Class],
    now: Timestamp,
    out: &mut Diagnostics,
) -> Vec<Plan> {
    if let Some(first_too_many) = raw.get(MAX_PLANS) {
        out.error(
            first_too_many.name.place.clone(),
            "too-many-plans",
            format!(
                "the policy has {} plans; {MAX_PLANS} are possible",
                raw.len()
            ),
            "remove plans that no subscriber is on",
        );
    }
    let mut plans: Vec<Plan> = raw
        .iter()
        .map(|plan| check_plan(plan, classes, now, out))
        .collect();
    plans.sort_by(|a, b| a.name.cmp(&b.name));
    check_ends(raw, &mut plans, out);
    plans
}

fn check_plan(raw: &RawPlan, classes: &[Class], now: Timestamp, out: &mut Diagnostics) -> Plan {
    let errors_before = out.errors();
    check_name("plan", &raw.name, out);
    let buckets = check_buckets(&raw.buckets, &raw.name.value, out);
    let numbers: HashMap<&str, usize> = raw
        .buckets
        .iter()
        .map(|b| b.name.value.as_str())
        .zip(0..)
        .collect();
    let gate = check_gate(raw, &numbers, out);
    let settlement = Settlement::check(raw.settlement.as_ref(), out);
    let limit = numbers
        .get(LIMIT)
        .copied()
        .filter(|_| settlement == Settlement::Credit);
    check_limit(raw, limit, out);
    let mut expect = Expect::plan(&raw.name.value, &raw.expect);
    let chains = check_charge(raw, &numbers, limit, classes, &mut expect, out);
    let plan = Plan {
        name: raw.name.value.clone(),
        titles: raw.titles.clone(),
        valid_from: raw.life.valid_from(),
        // Found when all plans are known.
        end: None,
        closed: raw.life.closed,
        count: check_count(raw.count.as_ref(), out),
        cycle: check_cycle(raw, out),
        renew: Word::check(raw.renew.as_ref(), out),
        settlement,
        overrun: Word::check(raw.overrun.as_ref(), out),
        suspension_ignored: check_suspension(raw.suspension.as_ref(), out),
        buckets,
        gate,
        limit,
        chains,
    };
    // After an error something else may be the reason.
    if !raw.broken && out.errors() == errors_before {
        raw.life.warn(&plan.name, now, &mut expect, out);
        warn_of_idle_cycle(raw, &plan, &mut expect, out);
        warn_of_idle_terms(raw, &plan, &mut expect, out);
        warn_of_unused(&plan, &raw.buckets, &mut expect, out);
        reach::check(raw, &plan, classes, &mut expect, out);
    }
    let complete = !raw.broken && out.errors() == errors_before;
    // Whether subscribers use it is known where they are, and time goes on.
    let pending: Vec<_> = raw.life.pending().chain([UNUSED_PLAN]).collect();
    expect.finish(&PLAN_WARNINGS, complete, &pending, out);
    plan
}

fn warn_of_idle_cycle(raw: &RawPlan, plan: &Plan, expect: &mut Expect<'_>, out: &mut Diagnostics) {
    let refills = |bucket: &Bucket| matches!(bucket.grant, Grant::Bytes(1..));
    if let Some(cycle) = &raw.cycle
        && !plan.buckets.iter().any(refills)
    {
        expect.warn(
            &cycle.place,
            "idle-cycle",
            format!(
                "plan {} has a cycle, and no bucket that it would fill again",
                quote(&plan.name)
            ),
            "grant a bucket a volume above 0, or remove cycle",
            out,
        );
    }
}

/// A limit is a volume: money that bounds a bill is what a balance is for.
fn check_limit(raw: &RawPlan, limit: Option<usize>, out: &mut Diagnostics) {
    if let Some(bucket) = limit.map(|limit| &raw.buckets[limit])
        && let Some(RawGrant::Price(price)) = &bucket.grant
    {
        out.error(
            price.place.clone(),
            "priced-limit",
            format!(
                "plan {}: the bucket {LIMIT} has a price",
                quote(&raw.name.value)
            ),
            "give it the volume each cycle may come to, such as \"20GB\"; billing may set it for a subscriber",
        );
    }
}

/// What a plan says that nothing in it can make true.
fn warn_of_idle_terms(raw: &RawPlan, plan: &Plan, expect: &mut Expect<'_>, out: &mut Diagnostics) {
    let metered = |chain: &Chain| chain.end == ChainEnd::Metered;
    let name = quote(&plan.name);
    if let (Some(renew), None) = (&raw.renew, &raw.cycle) {
        expect.warn(
            &renew.place,
            "idle-renew",
            format!("plan {name} says who begins a cycle, and has none"),
            "add cycle, or remove renew",
            out,
        );
    }
    if let Some(settlement) = &raw.settlement {
        if plan.settlement == Settlement::Credit && !plan.chains.iter().any(metered) {
            expect.warn(
                &settlement.place,
                "idle-credit",
                format!("plan {name} is settled by credit, and no chain of it ends in metered"),
                "end a chain in \"metered\", or remove settlement",
                out,
            );
        } else if plan.settlement == Settlement::Advance && plan.chains.iter().any(metered) {
            expect.warn(
                &settlement.place,
                "metered-in-advance",
                format!("plan {name} is paid in advance, and a chain of it ends in metered, which nobody has paid"),
                "end it in \"drop\", or write settlement = \"credit\"",
                out,
            );
        }
    }
}

fn warn_of_unused(plan: &Plan, raw: &[RawBucket], expect: &mut Expect<'_>, out: &mut Diagnostics) {
    for (bucket, number) in raw.iter().zip(0..) {
        let charged =
            |chain: &Chain| chain.buckets.contains(&number) || plan.limit_of(chain) == Some(number);
        if !plan.gate.contains(&number) && !plan.chains.iter().any(charged) {
            expect.warn(
                &bucket.name.place,
                "unused-bucket",
                format!(
                    "plan {}: no chain and no gate names the bucket {}",
                    quote(&plan.name),
                    quote(&bucket.name.value)
                ),
                "put it into a chain, or remove it",
                out,
            );
        }
    }
}

fn check_count(raw: Option<&At<String>>, out: &mut Diagnostics) -> Count {
    let Some(raw) = raw else {
        return Count::default();
    };
    match raw.value.as_str() {
        "both" => Count::Both,
        "down" => Count::Down,
        "up" => Count::Up,
        other => {
            out.error(
                raw.place.clone(),
                "bad-count",
                format!("count is {}", quote(other)),
                "write \"both\", \"down\" or \"up\": the directions that draw buckets down",
            );
            Count::default()
        }
    }
}

fn check_cycle(plan: &RawPlan, out: &mut Diagnostics) -> Option<Cycle> {
    let raw = plan.cycle.as_ref()?;
    let cycle = Cycle::parse(&raw.value);
    if cycle.is_none() {
        out.error(
            raw.place.clone(),
            "bad-cycle",
            format!("{} is not a cycle", quote(&raw.value)),
            format!("write \"14d\" or \"1mo\", up to {MAX_CYCLE_DAYS}d or {MAX_CYCLE_MONTHS}mo"),
        );
    }
    cycle
}

fn check_suspension(raw: Option<&At<String>>, out: &mut Diagnostics) -> bool {
    let Some(raw) = raw else { return false };
    if raw.value != "ignore" {
        out.error(
            raw.place.clone(),
            "bad-suspension",
            format!("suspension is {}", quote(&raw.value)),
            "write \"ignore\", and the suspended keep their service, or leave suspension out",
        );
    }
    true
}

fn check_buckets(raw: &[RawBucket], plan: &str, out: &mut Diagnostics) -> Vec<Bucket> {
    if let Some(first_too_many) = raw.get(MAX_BUCKETS) {
        out.error(
            first_too_many.name.place.clone(),
            "too-many-buckets",
            format!(
                "plan {} has {} buckets; {MAX_BUCKETS} are possible",
                quote(plan),
                raw.len()
            ),
            "join buckets that stand in the same chains",
        );
    }
    raw.iter()
        .map(|bucket| {
            let name = &bucket.name;
            if RESERVED_BUCKETS.contains(&name.value.as_str()) {
                out.error(
                    name.place.clone(),
                    "reserved-name",
                    format!(
                        "plan {}: no bucket can have the name {}",
                        quote(plan),
                        quote(&name.value)
                    ),
                    format!("choose a name other than {}", RESERVED_BUCKETS.join(", ")),
                );
            } else {
                check_name("bucket", name, out);
            }
            Bucket {
                name: name.value.clone(),
                grant: check_grant(bucket, plan, out).unwrap_or(Grant::Bytes(0)),
            }
        })
        .collect()
}

fn check_grant(bucket: &RawBucket, plan: &str, out: &mut Diagnostics) -> Option<Grant> {
    let title = || format!("plan {}: bucket {}", quote(plan), quote(&bucket.name.value));
    match bucket.grant.as_ref()? {
        RawGrant::Bytes(text) => match parse_volume(&text.value) {
            Ok(bytes) => Some(Grant::Bytes(bytes)),
            Err(error) => {
                let message = format!(
                    "{}: {} is not a volume: {error}",
                    title(),
                    quote(&text.value)
                );
                out.error(text.place.clone(), "bad-volume", message, error.help());
                None
            }
        },
        RawGrant::Price(text) => match parse_price(&text.value) {
            Ok(price) => Some(Grant::Money(price)),
            Err(error) => {
                out.error(
                    text.place.clone(),
                    "bad-price",
                    format!(
                        "{}: {} is not a price: {error}",
                        title(),
                        quote(&text.value)
                    ),
                    "write amount, currency and the volume it buys, as in \"630 UZS/MB\"",
                );
                None
            }
        },
    }
}

fn check_gate(plan: &RawPlan, numbers: &HashMap<&str, usize>, out: &mut Diagnostics) -> Vec<usize> {
    let Some(raw) = &plan.gate else {
        return Vec::new();
    };
    let title = format!("plan {}: gate", quote(&plan.name.value));
    if raw.value.is_empty() {
        out.error(
            raw.place.clone(),
            "empty-gate",
            format!("{title} names no bucket"),
            "name the buckets of which one must hold something, or leave gate out",
        );
    }
    if let Some(first_too_many) = raw.value.get(MAX_GATE) {
        out.error(
            first_too_many.place.clone(),
            "long-gate",
            format!(
                "{title} names {} buckets; {MAX_GATE} are possible",
                raw.value.len()
            ),
            "name fewer buckets",
        );
    }
    let mut gate = Vec::with_capacity(raw.value.len());
    for name in &raw.value {
        match numbers.get(name.value.as_str()) {
            Some(number) if gate.contains(number) => out.error(
                name.place.clone(),
                "twice-in-gate",
                format!("{title} names the bucket {} twice", quote(&name.value)),
                "name it once",
            ),
            Some(&number) => gate.push(number),
            None => out.error(
                name.place.clone(),
                "unknown-bucket",
                format!(
                    "{title} names {}, and the plan has no such bucket",
                    quote(&name.value)
                ),
                suggest(
                    &name.value,
                    "buckets",
                    plan.buckets.iter().map(|b| b.name.value.as_str()),
                ),
            ),
        }
    }
    gate
}
