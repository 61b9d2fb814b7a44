//! The guide, taken apart: text, what is typed, and what is shown for it; and whether something else that was printed is the
//! same but for what no two runs have alike.
//!
//! Hashes are other ones in each run, since lists have the time in them: the first time the guide shows one, it is taken for
//! the one that is printed there, and stands for it from then on, also in what is typed. Times have to be within some
//! minutes, and blanks that align columns do not matter. Everything else is compared word for word.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};

/// How far a time of the guide may be from the one that is printed.
const NEAR: SignedDuration = SignedDuration::from_mins(15);

/// A piece of the guide. All pieces together, with their line ends, are the guide.
pub(crate) enum Step<'a> {
    Text(&'a str),
    Clock(&'a str, Timestamp),
    Traffic(&'a str, &'a str, &'a str),
    Command { typed: &'a str, shown: &'a str },
}

/// The pieces of `guide`, in their order.
pub(crate) fn steps(guide: &str) -> Result<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    let mut lines = Lines { text: guide, at: 0 };
    while let Some(line) = lines.next() {
        if line.trim_end() == "```console live" {
            steps.push(Step::Text(line));
            while let Some(typed) =
                lines.take_while(|line, first| line.starts_with(if first { "$ " } else { ">" }))
            {
                let shown =
                    lines.take_while(|line, _| !line.starts_with("$ ") && !line.starts_with("```"));
                steps.push(Step::Command {
                    typed,
                    shown: shown.unwrap_or(""),
                });
            }
            continue;
        }
        let comment = line
            .trim()
            .strip_prefix("<!-- ")
            .and_then(|rest| rest.strip_suffix(" -->"));
        let words: Vec<&str> = comment.unwrap_or("").split(' ').collect();
        steps.push(match words[..] {
            ["clock", time] => Step::Clock(line, time.parse().context(line.to_owned())?),
            ["traffic", subscriber, address] => Step::Traffic(line, subscriber, address),
            _ => {
                ensure!(comment.is_none(), "nothing is known of {line}");
                Step::Text(line)
            }
        });
    }
    Ok(steps)
}

/// The lines of a text, with their ends.
struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let line = self.text[self.at..].split_inclusive('\n').next()?;
        self.at += line.len();
        Some(line)
    }

    /// As many lines as are `wanted`, which is also told whether it is the first; `None` if the first is not.
    fn take_while(&mut self, wanted: impl Fn(&str, bool) -> bool) -> Option<&'a str> {
        let begin = self.at;
        for line in self.text[begin..].split_inclusive('\n') {
            if !wanted(line, self.at == begin) {
                break;
            }
            self.at += line.len();
        }
        (self.at > begin).then(|| &self.text[begin..self.at])
    }
}

/// What is typed, without the prompts.
pub(crate) fn command(typed: &str) -> String {
    let lines = typed.lines().map(|line| {
        let prompt = if line.starts_with('$') { "$ " } else { ">" };
        let line = line.strip_prefix(prompt).unwrap_or(line);
        line.strip_prefix(' ')
            .filter(|_| prompt == ">")
            .unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The hashes of the guide, and those of this run that they stand for.
#[derive(Default)]
pub(crate) struct Known(BTreeMap<String, String>);

impl Known {
    /// What is to be typed in this run.
    pub(crate) fn in_this_run(&self, command: &str) -> String {
        let mut typed = String::new();
        for word in command.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
            let digits = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
            // The beginning of a version is enough to name it.
            let known = self
                .0
                .iter()
                .find(|(shown, _)| digits.len() >= 6 && shown.starts_with(digits));
            typed.push_str(known.map_or(digits, |(_, here)| &here[..digits.len()]));
            typed.push_str(&word[digits.len()..]);
        }
        typed
    }

    /// What was printed, with the hashes of the guide.
    pub(crate) fn as_shown(&self, printed: &str) -> String {
        let known = self.0.iter();
        known.fold(printed.to_owned(), |text, (shown, here)| {
            text.replace(here, shown)
        })
    }

    /// Compares what the guide shows with what was printed.
    pub(crate) fn compare(&mut self, shown: &str, printed: &str) -> Result<(), String> {
        let (a, b): (Vec<_>, Vec<_>) = (shown.lines().collect(), printed.lines().collect());
        if a.len() != b.len() {
            return Err(format!("{} lines are shown, {} printed", a.len(), b.len()));
        }
        for (a, b) in a.into_iter().zip(b) {
            let words: (Vec<_>, Vec<_>) = (
                a.split_whitespace().collect(),
                b.split_whitespace().collect(),
            );
            // How fast something went is never the same twice, nor how far roll-ups have come in that moment.
            let varies = a.ends_with("kbit/s") || a.starts_with("rollups ");
            if varies && words.0.len() == words.1.len() && words.0[0] == words.1[0] {
                continue;
            }
            let alike = words.0.len() == words.1.len()
                && words.0.iter().zip(&words.1).all(|(a, b)| self.same(a, b));
            if !alike {
                return Err(format!("-- shown\n{a}\n-- printed\n{b}"));
            }
        }
        Ok(())
    }

    fn same(&mut self, shown: &str, printed: &str) -> bool {
        let around = |c: char| !c.is_ascii_alphanumeric() && c != '-';
        let [a, b] = [shown, printed].map(|word| word.trim_matches(around));
        let dashes = |word: &str| word.bytes().all(|byte| byte == b'-');
        if shown == printed || (dashes(shown) && dashes(printed)) {
            return true;
        }
        if shown.replacen(a, b, 1) != printed {
            return false;
        }
        // Versions are directories, too.
        if a.contains('/') {
            let parts = (a.split('/'), b.split('/'));
            return parts.0.clone().count() == parts.1.clone().count()
                && parts.0.zip(parts.1).all(|(a, b)| self.same(a, b));
        }
        if let (Ok(a), Ok(b)) = (a.parse::<Timestamp>(), b.parse::<Timestamp>()) {
            return a.duration_since(b).abs() < NEAR;
        }
        if let (Some(a), Some(b)) = (clock(a), clock(b)) {
            return a.abs_diff(b) < NEAR.as_secs().unsigned_abs();
        }
        // A chain's head is the number of its last record and a hash.
        let head = |word: &str| -> (String, String) {
            let (number, hash) = word.split_once(':').unwrap_or(("", word));
            (number.to_owned(), hash.to_owned())
        };
        let ((number_a, a), (number_b, b)) = (head(a), head(b));
        let hash =
            |word: &str| word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        number_a == number_b
            && hash(&a)
            && hash(&b)
            && a.len() == b.len()
            && *self.0.entry(a).or_insert_with(|| b.clone()) == b
    }
}

/// The seconds of `10:00:02`, or of `10:00`.
fn clock(word: &str) -> Option<u64> {
    let parts: Option<Vec<u64>> = word.split(':').map(|part| part.parse().ok()).collect();
    match parts?[..] {
        [hours, minutes, seconds] => Some((hours * 60 + minutes) * 60 + seconds),
        [hours, minutes] => Some((hours * 60 + minutes) * 60),
        _ => None,
    }
}
