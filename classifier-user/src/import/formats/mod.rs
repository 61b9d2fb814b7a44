//! The formats sources are written in: each file reads one of them.

mod bgpq4;
mod delegated;
mod json;
mod lines;
mod mrt;
mod routeros;
mod services;
mod table;

use super::gathered::Gathered;
use super::input::Input;
use super::request::{Format, Request};
use crate::diagnostic::{Diagnostics, quote};
use crate::policy::{InvalidPrefix, Place, Range, SourceFile, parse_prefix};

/// Reads one source; what is wrong with it goes to `out`.
pub(crate) fn read(input: &Input, request: &Request, into: &mut Gathered, out: &mut Diagnostics) {
    if request.format == Format::Mrt {
        return mrt::read(input, into, out);
    }
    let Some(source) = text(input, out) else {
        return;
    };
    match request.format {
        Format::Delegated => delegated::read(&source, request.allow_incomplete, into, out),
        Format::Table => table::read(&source, into, out),
        Format::Bgpq4 => bgpq4::read(&source, into, out),
        Format::Services => services::read(&source, into, out),
        Format::Text | Format::Netset => lines::read(&source, into, out),
        Format::Rsc => routeros::read(&source, into, out),
        // The one is no text; of the other the text is not all.
        Format::Mrt | Format::Names => {}
    }
}

/// A source as a text that can be a list; `None` if it is none, which is reported.
pub(crate) fn text(input: &Input, out: &mut Diagnostics) -> Option<SourceFile> {
    let source = input.text(out)?;
    let text = source.text().trim_start();
    if text.is_empty() {
        out.error(
            input.start(),
            "empty",
            "the source is empty",
            "fetch it again: an empty file is no list, and what it was to replace stays as it is",
        );
        return None;
    }
    if text.starts_with('<') {
        out.error(
            input.start(),
            "not-a-list",
            "this is HTML or XML, not a list",
            "fetch the list itself, not the page that links to it",
        );
        return None;
    }
    Some(source)
}

/// The addresses of `text`, a prefix or an address.
fn prefix(text: &str) -> Result<Range, InvalidPrefix> {
    parse_prefix(text).map(|net| Range::of(&net))
}

/// The addresses of `text`: a prefix, an address, or a range `first-last`.
fn prefix_or_range(text: &str) -> Result<Range, InvalidPrefix> {
    let error = match prefix(text) {
        Err(error @ InvalidPrefix::Range(_)) => error,
        other => return other,
    };
    let range = text
        .split_once('-')
        .and_then(|(first, last)| between(first.trim(), last.trim()));
    range.ok_or(error)
}

/// The addresses from `first` to `last`, if both are addresses of one family, in this order.
fn between(first: &str, last: &str) -> Option<Range> {
    let first = prefix(first).ok()?;
    let last = prefix(last).ok()?;
    let ordered = first.v6 == last.v6 && first.first == first.last && last.first == last.last;
    (ordered && first.first <= last.first).then_some(Range {
        last: last.last,
        ..first
    })
}

/// Adds the addresses of `text`, or says what is wrong with it.
fn take(
    parsed: Result<Range, InvalidPrefix>,
    place: Place,
    into: &mut Gathered,
    out: &mut Diagnostics,
) {
    match parsed {
        Ok(range) => into.add(range),
        Err(InvalidPrefix::Range(text)) => out.error(
            place,
            "bad-range",
            format!("{} is no range of addresses", quote(&text)),
            "write first-last, two addresses of one family, the smaller one first",
        ),
        Err(error) => out.error(place, error.code(), error.to_string(), error.help()),
    }
}

/// The place of `part`, which is a piece of `line`.
pub(crate) fn place_of(source: &SourceFile, number: u32, line: &str, part: &str) -> Place {
    let offset = (part.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
    let before = line.get(..offset).unwrap_or_default();
    source.at(number, 1 + before.chars().count() as u32)
}
