//! Names, resolved by this system, and the list that is learned from them. Packets carry no names: a list of addresses
//! stands for them as well as it can, so it is kept apart from lists that somebody is responsible for, and says of
//! each address which name led to it and until when it is kept without being seen again.
//!
//! Services answer with other addresses from one minute to the next. What was learned stays for some days after it was
//! last seen, over any number of imports, so that the list grows to what the names really use, and forgets what they
//! left.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::formats;
use super::input::Input;
use super::request::Request;
use crate::diagnostic::{Diagnostics, quote};
use crate::policy::{Place, SourceFile};
use crate::progress::{A_NAME, Progress};

/// How a learned list says that it is one.
pub(crate) const MARK: &str = "# Learned: ";

/// How many names are resolved at the same time.
const AT_ONCE: usize = 8;

/// An address that names led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// The names, sorted.
    pub names: BTreeSet<String>,
    /// The last day, in UTC, it is kept without being seen again.
    pub until: Date,
}

/// Learned addresses, in the order of the list.
pub type LearnedList = BTreeMap<IpAddr, Learned>;

/// Resolves the names of `inputs`, and keeps what `old`, the list that was learned before, still has to.
pub(crate) fn learn(
    inputs: &[Input],
    request: &Request,
    old: Option<&Path>,
    now: Timestamp,
    progress: &Progress,
    out: &mut Diagnostics,
) -> (LearnedList, Vec<String>) {
    let mut names = Vec::new();
    for input in inputs {
        if let Some(source) = formats::text(input, out) {
            read_names(&source, &mut names, out);
        }
    }
    let today = now.to_zoned(TimeZone::UTC).date();
    let mut learned = old.map(|path| read_learned(path, out)).unwrap_or_default();
    if out.errors() > 0 {
        return (learned, Vec::new());
    }
    learned.retain(|_, entry| entry.until >= today);
    let known: BTreeSet<String> = learned
        .values()
        .flat_map(|entry| entry.names.iter().cloned())
        .collect();
    let until = today.saturating_add(i64::from(request.keep_days).days());
    let mut notes = Vec::new();
    progress.plan(A_NAME * names.len() as u64);
    for ((name, place), answer) in names.iter().zip(resolve(&names, progress)) {
        match answer {
            Ok(addresses) => {
                for address in addresses {
                    let entry = learned.entry(address).or_insert_with(|| Learned {
                        names: BTreeSet::new(),
                        until,
                    });
                    entry.names.insert(name.clone());
                    entry.until = entry.until.max(until);
                }
            }
            Err(error) if known.contains(name) => {
                notes.push(format!(
                    "{name} was not resolved ({error}): what was learned before is kept until its day"
                ));
            }
            Err(error) => out.error(
                place.clone(),
                "unresolved",
                format!("{} cannot be resolved: {error}", quote(name)),
                "correct or remove the name, or see to this system's resolver",
            ),
        }
    }
    (learned, notes)
}

fn read_names(source: &SourceFile, names: &mut Vec<(String, Place)>, out: &mut Diagnostics) {
    for line in source.lines() {
        let entry = line.text.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        let place = formats::place_of(source, line.number, line.text, entry);
        let name = entry.trim_end_matches('.').to_ascii_lowercase();
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let is_name = name.chars().all(good) && name.contains(|c: char| c.is_ascii_alphabetic());
        if !is_name || name.split('.').any(str::is_empty) || name.len() > 253 {
            out.error(
                place,
                "bad-name",
                format!("{} is no name that can be resolved", quote(entry)),
                "write one host name a line, such as egov.kz: no https://, path, * or address; IDNs in their xn-- form",
            );
        } else if !names.iter().any(|(known, _)| *known == name) {
            names.push((name, place));
        }
    }
}

/// What the system's resolver says of each name, in their order.
fn resolve(names: &[(String, Place)], progress: &Progress) -> Vec<Result<Vec<IpAddr>, String>> {
    let ask = |name: &str| {
        let answer = ask(name);
        progress.advance(A_NAME);
        answer
    };
    let share = names.len().div_ceil(AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = names
            .chunks(share)
            .map(|names| {
                scope.spawn(move || names.iter().map(|(name, _)| ask(name)).collect::<Vec<_>>())
            })
            .collect();
        let answers = threads.into_iter().flat_map(|thread| match thread.join() {
            Ok(answers) => answers,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        answers.collect()
    })
}

fn ask(name: &str) -> Result<Vec<IpAddr>, String> {
    // The port is not asked for anywhere.
    let answers = (name, 0).to_socket_addrs().map_err(|error| {
        let text = error.to_string();
        text.rsplit(": ").next().unwrap_or(&text).to_lowercase()
    })?;
    let addresses: BTreeSet<IpAddr> = answers.map(|answer| answer.ip().to_canonical()).collect();
    match addresses.is_empty() {
        true => Err("it has no address".to_owned()),
        false => Ok(addresses.into_iter().collect()),
    }
}

/// The list that was learned before, if there is one.
fn read_learned(path: &Path, out: &mut Diagnostics) -> LearnedList {
    let source = match SourceFile::read(path) {
        Ok(source) => source,
        Err(crate::policy::Unreadable::Io(error))
            if error.kind() == std::io::ErrorKind::NotFound =>
        {
            return LearnedList::new();
        }
        Err(error) => {
            let place = SourceFile::new(path.to_owned().into(), String::new()).at(1, 1);
            error.report("the list learned before", place, out);
            return LearnedList::new();
        }
    };
    if !source.lines().any(|line| line.text.starts_with(MARK)) {
        out.error(
            source.at(1, 1),
            "not-learned",
            "this list was not learned from names, and would be lost",
            "keep what names lead to in a list and a set of its own",
        );
        return LearnedList::new();
    }
    let mut learned = LearnedList::new();
    for line in source.lines().filter(|line| !line.text.starts_with('#')) {
        match entry(line.text) {
            Some((address, entry)) => drop(learned.insert(address, entry)),
            None if line.text.trim().is_empty() => {}
            None => out.error(
                source.at(line.number, 1),
                "bad-entry",
                format!("{} is no entry of a learned list", quote(line.text)),
                "write ADDRESS # NAME until YYYY-MM-DD, or remove the line",
            ),
        }
    }
    learned
}

/// An entry as [`line`] writes it.
fn entry(text: &str) -> Option<(IpAddr, Learned)> {
    let (address, comment) = text.split_once('#')?;
    let (names, until) = comment.rsplit_once(" until ")?;
    let names = names.split(',').map(|name| name.trim().to_owned());
    let entry = Learned {
        names: names.collect(),
        until: until.trim().parse().ok()?,
    };
    Some((address.trim().parse().ok()?, entry))
}

/// An entry as a line of the list.
pub(crate) fn line(address: &IpAddr, entry: &Learned) -> String {
    let names: Vec<&str> = entry.names.iter().map(String::as_str).collect();
    format!("{address} # {} until {}", names.join(", "), entry.until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(text: &str, old: &Path, now: &str) -> Result<(String, Vec<String>), String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("names"), text).unwrap();
        let mut out = Diagnostics::default();
        let request = Request::new(crate::import::Format::Names, vec!["names".to_owned()]);
        let input = Input::read("names", dir.path(), &request, &mut out).unwrap();
        let now = now.parse().unwrap();
        let (learned, notes) = learn(
            &[input],
            &request,
            Some(old),
            now,
            &Progress::default(),
            &mut out,
        );
        let lines: Vec<String> = learned.iter().map(|(a, entry)| line(a, entry)).collect();
        match out.errors() {
            0 => Ok((lines.join("\n"), notes)),
            _ => Err(out.to_string()),
        }
    }

    /// `localhost` is a name every system resolves without asking anybody.
    #[test]
    fn what_was_learned_is_kept_until_its_day() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("list.txt");
        let (first, _) = learned(
            "localhost # here\nLOCALHOST.\n",
            &old,
            "2026-01-01T10:00:00Z",
        )
        .unwrap();
        assert!(
            first.contains("127.0.0.1 # localhost until 2026-01-08"),
            "{first}"
        );
        // Another name led to another address, and to this one.
        let before = "192.0.2.1 # gone.invalid until 2026-01-10\n127.0.0.1 # gone.invalid until 2026-01-05\n";
        std::fs::write(&old, format!("{MARK}by hand\n{before}")).unwrap();
        let (then, notes) =
            learned("localhost\ngone.invalid\n", &old, "2026-01-02T23:59:59Z").unwrap();
        assert!(
            then.contains("127.0.0.1 # gone.invalid, localhost until 2026-01-09"),
            "{then}"
        );
        assert!(
            then.contains("192.0.2.1 # gone.invalid until 2026-01-10"),
            "{then}"
        );
        assert!(
            notes[0].starts_with("gone.invalid was not resolved"),
            "{notes:?}"
        );
        let (later, _) = learned("localhost\n", &old, "2026-01-11T00:00:00Z").unwrap();
        assert!(
            !later.contains("192.0.2.1")
                && later.contains("127.0.0.1 # localhost until 2026-01-18"),
            "{later}"
        );
    }

    #[test]
    fn what_is_no_name_or_no_learned_list_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("list.txt");
        let said = |text: &str| learned(text, &old, "2026-01-01T00:00:00Z").unwrap_err();
        for text in [
            "https://egov.kz",
            "*.kz",
            "192.0.2.1",
            "a..b",
            "\u{441}\u{430}\u{439}\u{442}",
            "a b",
        ] {
            let said = said(text);
            assert!(
                said.contains("names:1:1: error: ") && said.contains("is no name"),
                "{said}"
            );
        }
        assert!(
            said("localhost\nno.such.name.invalid\n")
                .contains("names:2:1: error: \"no.such.name.invalid\" cannot be resolved")
        );
        std::fs::write(&old, "192.0.2.0/24\n").unwrap();
        assert!(
            said("localhost").contains("list.txt:1:1: error: this list was not learned from names")
        );
        std::fs::write(&old, format!("{MARK}\n192.0.2.0/24\n")).unwrap();
        assert!(said("localhost").contains("list.txt:2:1: error: \"192.0.2.0/24\" is no entry"));
    }
}
