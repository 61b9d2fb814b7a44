//! Plain lists, `.netset` and `.ipset`: a prefix, an address or a range `first-last` on each line, comments after `#`
//! or `;`.

use super::{place_of, prefix_or_range, take};
use crate::diagnostic::Diagnostics;
use crate::import::gathered::Gathered;
use crate::policy::{InvalidPrefix, SourceFile};

pub(super) fn read(source: &SourceFile, into: &mut Gathered, out: &mut Diagnostics) {
    for line in source.lines() {
        let entry = line
            .text
            .split(['#', ';'])
            .next()
            .unwrap_or_default()
            .trim();
        if entry.is_empty() {
            continue;
        }
        let place = place_of(source, line.number, line.text, entry);
        let parsed = match prefix_or_range(entry) {
            // What is wrong with a second prefix is that it is there.
            Err(InvalidPrefix::Length { .. } | InvalidPrefix::Address(_))
                if entry.contains(char::is_whitespace) =>
            {
                Err(InvalidPrefix::Several(entry.to_owned()))
            }
            parsed => parsed,
        };
        take(parsed, place, into, out);
    }
}
