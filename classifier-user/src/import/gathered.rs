//! What comes together while sources are read: ranges of addresses, which of the wanted values were met, and what
//! whoever asked should know.

use std::collections::{BTreeMap, BTreeSet};

use super::request::{Key, Request};
use crate::policy::{Range, suggest};

/// The yield of the sources so far.
#[derive(Debug)]
pub(crate) struct Gathered {
    ranges: Vec<Range>,
    choices: BTreeMap<Key, Choice>,
    /// What was left out, and how often.
    left_out: BTreeMap<&'static str, usize>,
}

/// Values of one key: those that are wanted, and those that are there.
#[derive(Debug)]
struct Choice {
    /// Each with whether it was met.
    wanted: Vec<(String, bool)>,
    there: BTreeSet<String>,
}

impl Gathered {
    pub(crate) fn new(request: &Request) -> Self {
        let choices = request.choices.iter().map(|(&key, values)| {
            let wanted = values.iter().map(|value| (value.clone(), false)).collect();
            let there = BTreeSet::new();
            (key, Choice { wanted, there })
        });
        Self {
            ranges: Vec::new(),
            choices: choices.collect(),
            left_out: BTreeMap::new(),
        }
    }

    /// Whether entries are chosen by `key`.
    pub(crate) fn chooses(&self, key: Key) -> bool {
        self.choices.contains_key(&key)
    }

    /// Whether an entry is wanted whose `key` has one of `values`, which are in their normal form. Notes that there is
    /// such an entry.
    pub(crate) fn wants<'a>(
        &mut self,
        key: Key,
        values: impl IntoIterator<Item = &'a str>,
    ) -> bool {
        let Some(choice) = self.choices.get_mut(&key) else {
            return true;
        };
        let mut wanted = false;
        for value in values {
            let met = choice.wanted.iter_mut().find(|(word, _)| word == value);
            if let Some((_, met)) = met {
                (*met, wanted) = (true, true);
            } else if !choice.there.contains(value) {
                choice.there.insert(value.to_owned());
            }
        }
        wanted
    }

    pub(crate) fn add(&mut self, range: Range) {
        self.ranges.push(range);
    }

    /// Notes that an entry was left out because it is `what`.
    pub(crate) fn leave_out(&mut self, what: &'static str) {
        *self.left_out.entry(what).or_default() += 1;
    }

    /// The ranges, and a line for each thing to know.
    pub(crate) fn finish(self) -> (Vec<Range>, Vec<String>) {
        let mut notes = Vec::new();
        for (key, choice) in &self.choices {
            for (value, _) in choice.wanted.iter().filter(|(_, met)| !met) {
                let name = key.name();
                let there = choice.there.iter().map(String::as_str);
                notes.push(match key {
                    // A number that is near is no nearer than any other.
                    Key::Asn | Key::Peer => format!("no entry has {name} {value:?}"),
                    _ => {
                        let help = suggest(value, "there are", there);
                        format!("no entry has {name} {value:?}; {help}")
                    }
                });
            }
        }
        for (what, count) in self.left_out {
            notes.push(format!("left out: {count} {what}"));
        }
        (self.ranges, notes)
    }
}
