//! Charge chains: at most four buckets and then one word that says what happens when none of them
//! holds anything.

use std::collections::HashMap;

use super::expect::Expect;
use super::model::{Chain, ChainEnd, Class};
use super::names::suggest;
use super::read::RawPlan;
use super::section::At;
use crate::diagnostic::{Diagnostics, quote};

/// Most buckets of a chain.
pub const MAX_CHAIN_BUCKETS: usize = 4;

const ENDS: [ChainEnd; 3] = [ChainEnd::Free, ChainEnd::Metered, ChainEnd::Drop];

/// The chain of each class, in the order of `classes`; shorter than `classes` after an error.
/// `buckets` has the number of each of the plan's buckets, `limit` that of the one that bounds what is metered.
pub(super) fn check_charge(
    plan: &RawPlan,
    buckets: &HashMap<&str, usize>,
    limit: Option<usize>,
    classes: &[Class],
    expect: &mut Expect<'_>,
    out: &mut Diagnostics,
) -> Vec<Chain> {
    let Some(charge) = &plan.charge else {
        return Vec::new();
    };
    let mut named: HashMap<&str, Option<Chain>> = HashMap::new();
    for entry in charge {
        let class = classes.iter().find(|class| class.name == entry.class.value);
        if class.is_none() && entry.class.value != "*" {
            let known = classes.iter().map(|class| class.name.as_str());
            out.error(
                entry.class.place.clone(),
                "unknown-class",
                format!(
                    "plan {} charges {}, and there is no such class",
                    quote(&plan.name.value),
                    quote(&entry.class.value)
                ),
                suggest(&entry.class.value, "classes", known.chain(["*"])),
            );
        }
        let words = entry.chain.as_ref();
        let chain = words
            .and_then(|words| check_chain(plan, &entry.class.value, words, buckets, limit, out));
        if let (Some(class), Some(chain), Some(words)) = (class, &chain, words)
            && class.essential
            && chain.buckets.is_empty()
            && chain.end == ChainEnd::Drop
        {
            expect.warn(
                &words.place,
                "essential-drop",
                format!(
                    "plan {} drops the essential class {}, which is never dropped: it will be free",
                    quote(&plan.name.value),
                    quote(&class.name)
                ),
                "write \"free\", or make the class not essential",
                out,
            );
        }
        named.insert(&entry.class.value, chain);
    }
    let missing: Vec<&str> = classes
        .iter()
        .map(|class| class.name.as_str())
        .filter(|class| !named.contains_key(class) && !named.contains_key("*"))
        .collect();
    if !missing.is_empty() {
        out.error(
            plan.name.place.clone(),
            "no-chain",
            format!(
                "plan {} does not say who pays for {}",
                quote(&plan.name.value),
                missing.join(", ")
            ),
            "add a chain for each, or one for \"*\", which stands for every class not named",
        );
    }
    classes
        .iter()
        .map_while(|class| {
            named
                .get(class.name.as_str())
                .or_else(|| named.get("*"))?
                .clone()
        })
        .collect()
}

fn check_chain(
    plan: &RawPlan,
    class: &str,
    words: &At<Vec<At<String>>>,
    numbers: &HashMap<&str, usize>,
    limit: Option<usize>,
    out: &mut Diagnostics,
) -> Option<Chain> {
    let errors_before = out.errors();
    let title = format!(
        "plan {}: the chain of {}",
        quote(&plan.name.value),
        quote(class)
    );
    let Some((last, rest)) = words.value.split_last() else {
        out.error(
            words.place.clone(),
            "empty-chain",
            format!("{title} is empty"),
            "end it with \"free\", \"metered\" or \"drop\"",
        );
        return None;
    };
    let end = end_of(&last.value);
    let steps = if end.is_some() {
        rest
    } else {
        &words.value[..]
    };
    let mut buckets = Vec::with_capacity(steps.len());
    for step in steps {
        let name = step.value.as_str();
        match numbers.get(name) {
            _ if end_of(name).is_some() => out.error(
                step.place.clone(),
                "end-inside",
                format!("{title} goes on after {}", quote(name)),
                format!("{name:?} ends a chain: put it last, and only one such word"),
            ),
            Some(number) if buckets.contains(number) => out.error(
                step.place.clone(),
                "twice-in-chain",
                format!("{title} names the bucket {} twice", quote(name)),
                "name it once: it is as empty the second time",
            ),
            Some(number) if limit == Some(*number) => out.error(
                step.place.clone(),
                "limit-in-chain",
                format!(
                    "{title} names {}, which bounds what is metered",
                    quote(name)
                ),
                "leave it out: a chain that ends in \"metered\" is charged up to it by itself",
            ),
            Some(&number) => buckets.push(number),
            None => {
                let known = plan.buckets.iter().map(|bucket| bucket.name.value.as_str());
                out.error(
                    step.place.clone(),
                    "unknown-bucket",
                    format!(
                        "{title} names {}, and the plan has no such bucket",
                        quote(name)
                    ),
                    suggest(
                        name,
                        "buckets and ends",
                        known.chain(ENDS.map(ChainEnd::as_str)),
                    ),
                );
            }
        }
    }
    if end.is_none() && numbers.contains_key(last.value.as_str()) {
        out.error(
            last.place.clone(),
            "no-end",
            format!("{title} ends in the bucket {}", quote(&last.value)),
            "say what comes when it is empty: \"drop\", \"metered\" or \"free\"",
        );
    }
    // The limit takes the place of one.
    let bounded = limit.is_some() && end == Some(ChainEnd::Metered);
    let most = MAX_CHAIN_BUCKETS - usize::from(bounded);
    if let Some(first_too_many) = steps.get(most) {
        let behind = if bounded { " before its limit" } else { "" };
        out.error(
            first_too_many.place.clone(),
            "long-chain",
            format!(
                "{title} has {} buckets; {most} are possible{behind}",
                steps.len()
            ),
            "name fewer buckets before its end",
        );
    }
    match end {
        Some(end) if out.errors() == errors_before => Some(Chain { buckets, end }),
        _ => None,
    }
}

fn end_of(word: &str) -> Option<ChainEnd> {
    ENDS.into_iter().find(|end| end.as_str() == word)
}
