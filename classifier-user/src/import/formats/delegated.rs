//! Delegation statistics of the regional registries, plain or extended: lines such as
//! `ripencc|KZ|ipv4|2.72.0.0|524288|20100811|allocated|9a3b...`. IPv4 comes as a first address and a number of
//! addresses, which need not be a power of two, IPv6 as an address and a prefix length.
//!
//! A file says how many records of each type it has: one that was cut off is noticed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{place_of, prefix, take};
use crate::diagnostic::{Diagnostics, quote};
use crate::import::gathered::Gathered;
use crate::import::request::Key;
use crate::policy::{Place, Range, SourceFile};

/// Records of one type: as many as the summary says, and as many as there are.
#[derive(Default)]
struct Count {
    said: Option<(u64, Place)>,
    found: u64,
}

pub(super) fn read(
    source: &SourceFile,
    allow_incomplete: bool,
    into: &mut Gathered,
    out: &mut Diagnostics,
) {
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    for line in source.lines() {
        let text = line.text;
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = text.split('|').map(str::trim).collect();
        let place = |part: &str| place_of(source, line.number, text, part);
        match fields[..] {
            // The version line: 2|ripencc|1700866799|191230|19830705|20231124|+0100
            [version, _, _, _, _, _, _] if version.starts_with(|c: char| c.is_ascii_digit()) => {}
            [_, _, kind, _, count, "summary"] => match count.parse() {
                Ok(said) => {
                    counts.entry(kind).or_default().said = Some((said, place(count)));
                }
                Err(_) => out.error(
                    place(count),
                    "bad-count",
                    format!("{} is no number of records", quote(count)),
                    "fetch the file again: it is damaged",
                ),
            },
            [_, country, kind @ ("ipv4" | "ipv6" | "asn"), start, value, _, status, ref more @ ..] => {
                counts.entry(kind).or_default().found += 1;
                if !is_delegated(status, place(status), into, out) || kind == "asn" {
                    continue;
                }
                let country = country.to_ascii_uppercase();
                // Both are asked for, so that both know what there is.
                let wanted = [
                    into.wants(Key::Country, [country.as_str()]),
                    into.wants(Key::Holder, more.first().copied()),
                ];
                if wanted == [true; 2] {
                    add(kind, (start, place(start)), (value, place(value)), into, out);
                }
            }
            _ => out.error(
                place(text),
                "bad-record",
                format!("{} is no delegation record", quote(text)),
                "a record is registry|country|ipv4, ipv6 or asn|start|value|date|status, with more behind it or not",
            ),
        }
    }
    if out.errors() == 0 && !allow_incomplete {
        check(source, &counts, out);
    }
}

fn is_delegated(status: &str, place: Place, into: &mut Gathered, out: &mut Diagnostics) -> bool {
    match status {
        "allocated" | "assigned" => true,
        "available" | "reserved" | "free" | "unallocated" => {
            into.leave_out("records of space nobody holds");
            false
        }
        _ => {
            out.error(
                place,
                "bad-status",
                format!("{} is no status of a delegation", quote(status)),
                "known are allocated, assigned, available and reserved; correct or remove the line",
            );
            false
        }
    }
}

fn add(
    kind: &str,
    (start, start_place): (&str, Place),
    (value, value_place): (&str, Place),
    into: &mut Gathered,
    out: &mut Diagnostics,
) {
    if kind == "ipv6" {
        return take(prefix(&format!("{start}/{value}")), start_place, into, out);
    }
    let Ok(first) = start.parse::<Ipv4Addr>() else {
        let message = format!("{} is not an IPv4 address", quote(start));
        let help = "fetch the file again, or correct or remove the line";
        return out.error(start_place, "bad-prefix", message, help);
    };
    let first = u64::from(first.to_bits());
    let last = value
        .parse::<u64>()
        .ok()
        .and_then(|count| first.checked_add(count.checked_sub(1)?))
        .filter(|last| *last <= u64::from(u32::MAX));
    match last {
        Some(last) => into.add(Range {
            v6: false,
            first: first.into(),
            last: last.into(),
        }),
        None => out.error(
            value_place,
            "bad-count",
            format!("{} is no number of addresses from {start} on", quote(value)),
            "write how many addresses there are, at least one and not beyond 255.255.255.255",
        ),
    }
}

/// Whether there are as many records as the file says.
fn check(source: &SourceFile, counts: &BTreeMap<&str, Count>, out: &mut Diagnostics) {
    if counts.values().all(|count| count.found == 0) {
        out.error(
            source.at(1, 1),
            "not-a-list",
            "there is no delegation record in it",
            "check that this is a registry's delegated or delegated-extended file",
        );
        return;
    }
    for (kind, count) in counts {
        if let Some((said, place)) = &count.said
            && count.found < *said
        {
            out.error(
                place.clone(),
                "incomplete",
                format!("the file says it has {said} records of type {kind}, and has {}", count.found),
                "fetch it again: it was cut off; or add --allow-incomplete (allow_incomplete = true) if it was cut on purpose",
            );
        }
    }
}
