//! Route objects as bgpq4 prints them: prefix lists for Cisco IOS, IOS XR and EOS, Junos, BIRD, OpenBGPD, Nokia and
//! RouterOS, its own format `%n/%l\n`, and JSON.
//!
//! A list without a route is printed as one that denies everything (`deny 0.0.0.0/0`): what is denied is never taken.
//! Routes are joined under a shorter prefix (`ge 25 le 25`, `{25,25}`) only where they fill it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::json::{self, Net};
use super::{place_of, prefix, take};
use crate::diagnostic::{Diagnostics, quote};
use crate::import::gathered::Gathered;
use crate::policy::SourceFile;

/// Words a line without a prefix has.
const WORDS: [&str; 16] = [
    "prefix-list",
    "prefix-set",
    "end-set",
    "policy-options",
    "policy-statement",
    "replace:",
    "from",
    "prefix",
    "configure",
    "begin",
    "exit",
    "commit",
    "define",
    "then",
    "accept",
    "reject",
];

#[derive(Deserialize)]
struct Route {
    prefix: Net,
}

pub(super) fn read(source: &SourceFile, into: &mut Gathered, out: &mut Diagnostics) {
    if source.text().trim_start().starts_with('{') {
        let lists: Option<BTreeMap<String, Vec<Route>>> = json::read(source, out);
        for route in lists.into_iter().flat_map(BTreeMap::into_values).flatten() {
            into.add(route.prefix.0);
        }
        return;
    }
    let mut open = 0_i64;
    for line in source.lines() {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with(['!', '#']) {
            continue;
        }
        for byte in text.bytes() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open -= 1,
                _ => {}
            }
        }
        let apart = |c: char| c.is_whitespace() || "[]{}=,;\"".contains(c);
        let words = || text.split(apart).filter(|word| !word.is_empty());
        let prefixes = || words().filter(|word| is_prefix_like(word));
        if words().any(|word| word == "deny") {
            continue;
        }
        for word in prefixes() {
            take(
                prefix(word),
                place_of(source, line.number, line.text, word),
                into,
                out,
            );
        }
        let names_a_list = text.ends_with(['[', '{']);
        let known = words().next().is_none()
            || names_a_list
            || prefixes().next().is_some()
            || words().any(|word| WORDS.contains(&word));
        if !known {
            out.error(
                place_of(source, line.number, line.text, text),
                "not-bgpq4",
                format!("{} is no line that bgpq4 prints", quote(text)),
                "check that this is its output, without errors between the lines (2>errors.txt)",
            );
        }
    }
    if open != 0 {
        let last = u32::try_from(source.lines().count()).unwrap_or(u32::MAX);
        out.error(
            source.at(last.max(1), 1),
            "incomplete",
            "the list ends before it is closed",
            "make it again: it was cut off",
        );
    }
}

/// Whether `word` stands where a prefix does: it need not be a good one.
fn is_prefix_like(word: &str) -> bool {
    word.contains('/')
        && word.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':')
        && word.contains(['.', ':'])
}
