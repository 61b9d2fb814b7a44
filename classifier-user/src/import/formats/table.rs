//! Tables of address space: on each line a prefix, or the first and last address of a range, and behind it whose it
//! is: AS numbers, a country. Columns stand apart by tabs, commas or blanks; quotes hold a column together.
//!
//! ```text
//! 1.0.0.0/24 13335                        CIDR ASN
//! 1.0.0.0,1.0.0.255,13335,"Cloudflare"    ranges
//! 1.0.0.0 1.0.0.255 13335 US CLOUDFLARE   the same with tabs and a country
//! 1.0.0.0 24 13335_15169                  prefix, length, several origins
//! ```

use super::{between, place_of, prefix, take};
use crate::diagnostic::{Diagnostics, quote};
use crate::import::gathered::Gathered;
use crate::import::request::{Key, as_number};
use crate::policy::{InvalidPrefix, Place, SourceFile};

pub(super) fn read(source: &SourceFile, into: &mut Gathered, out: &mut Diagnostics) {
    let mut first = true;
    for line in source.lines() {
        let text = line.text;
        if text.trim().is_empty() || text.starts_with(['#', ';']) {
            continue;
        }
        let Some(columns) = columns(text) else {
            out.error(
                source.at(line.number, 1),
                "bad-quotes",
                "a quote is opened and not closed on this line",
                "close it, or remove it",
            );
            continue;
        };
        let head = std::mem::take(&mut first) && is_header(columns[0]);
        if head {
            continue;
        }
        let place = || place_of(source, line.number, text, columns[0]);
        let (range, owners) = match columns.as_slice() {
            [first, last, owners @ ..] if !first.contains('/') && is_address(last) => {
                let shown = || InvalidPrefix::Range(format!("{first}-{last}"));
                (between(first, last).ok_or_else(shown), owners)
            }
            [first, length, owners @ ..] if !first.contains('/') && is_length(length, owners) => {
                (prefix(&format!("{first}/{length}")), owners)
            }
            [first, owners @ ..] => (prefix(first), owners),
            [] => continue,
        };
        let [owner, ..] = owners else {
            out.error(
                source.at(line.number, 1 + text.chars().count() as u32),
                "missing-column",
                "there is no AS number or country behind the addresses",
                "write it as a further column, or import the list as text",
            );
            continue;
        };
        let owner = (*owner, place_of(source, line.number, text, owner));
        match wanted(owner, owners, into) {
            Ok(false) => {}
            Ok(true) => take(range, place(), into, out),
            Err(NoAsNumber(text, place)) => out.error(
                place,
                "bad-asn",
                format!("{} is no AS number", quote(text)),
                "write a number such as 48979 or AS48979, several with _ between them",
            ),
        }
    }
}

struct NoAsNumber<'a>(&'a str, Place);

/// Whether a row with these columns behind its addresses is wanted.
fn wanted<'a>(
    (owner, place): (&'a str, Place),
    owners: &[&str],
    into: &mut Gathered,
) -> Result<bool, NoAsNumber<'a>> {
    if into.chooses(Key::Country) {
        let countries = owners.iter().filter(|text| is_country(text));
        let countries: Vec<String> = countries.map(|text| text.to_ascii_uppercase()).collect();
        if !into.wants(Key::Country, countries.iter().map(String::as_str)) {
            return Ok(false);
        }
        if !into.chooses(Key::Asn) {
            return Ok(true);
        }
    }
    if !into.chooses(Key::Asn) && is_country(owner) {
        return Ok(true);
    }
    let mut numbers = Vec::new();
    if !matches!(owner, "" | "-" | "None" | "NA") {
        for part in owner.trim_matches(['{', '}']).split(['_', ',', ' ']) {
            match as_number(part) {
                Some(number) => numbers.push(number),
                None => return Err(NoAsNumber(owner, place)),
            }
        }
    }
    // AS 0 stands for space that is not routed.
    numbers.retain(|number| *number != 0);
    if numbers.is_empty() {
        into.leave_out("rows of space without an AS");
        return Ok(false);
    }
    if !into.chooses(Key::Asn) {
        return Ok(true);
    }
    let names: Vec<String> = numbers.iter().map(|number| format!("AS{number}")).collect();
    Ok(into.wants(Key::Asn, names.iter().map(String::as_str)))
}

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_address(text: &str) -> bool {
    text.contains(['.', ':']) && !text.contains('/')
}

/// Whether `text` is the prefix length of a table that has it in a column of its own.
fn is_length(text: &str, owners: &[&str]) -> bool {
    let number = |text: &str| as_number(text.split(['_', ',']).next().unwrap_or_default());
    text.len() <= 3
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && owners.first().is_some_and(|owner| number(owner).is_some())
}

/// Names of columns, as the first line of some tables has them.
fn is_header(first: &str) -> bool {
    first.starts_with(|c: char| c.is_ascii_alphabetic()) && !first.contains(['.', ':', '/'])
}

/// The columns of a line; `None` where a quote stays open. There is at least one.
fn columns(line: &str) -> Option<Vec<&str>> {
    let apart: &[char] = if line.contains('\t') {
        &['\t']
    } else if line.contains(',') && !line.trim_start().starts_with([' ', '{']) {
        &[',']
    } else {
        &[' ']
    };
    let mut columns = Vec::new();
    let mut quoted = false;
    let end = |c: char| {
        if c == '"' {
            quoted = !quoted;
        }
        !quoted && apart.contains(&c)
    };
    for column in line.split(end) {
        let column = column.trim();
        let inside = column
            .strip_prefix('"')
            .and_then(|column| column.strip_suffix('"'));
        columns.push(inside.unwrap_or(column));
    }
    if quoted {
        return None;
    }
    if apart == [' '] {
        columns.retain(|column| !column.is_empty());
    }
    Some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_apart_by_what_the_line_has() {
        let read = |line| columns(line).unwrap();
        assert_eq!(read("1.0.0.0/24 13335"), ["1.0.0.0/24", "13335"]);
        assert_eq!(read(" 1.0.0.0/24   13335 "), ["1.0.0.0/24", "13335"]);
        assert_eq!(
            read(r#""1.0.0.0","1.0.0.255","13335","Cloudflare, Inc.""#),
            ["1.0.0.0", "1.0.0.255", "13335", "Cloudflare, Inc."]
        );
        assert_eq!(read("1.0.0.0\t24\t1,2"), ["1.0.0.0", "24", "1,2"]);
        assert_eq!(columns("1.0.0.0,\"13335"), None);
    }
}
