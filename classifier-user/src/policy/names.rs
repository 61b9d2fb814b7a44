//! Names in a policy: which characters they may have, which words are taken, and what someone who
//! misspelled one may have meant.

use super::section::At;
use crate::diagnostic::{Diagnostics, quote};

/// Longest name of a policy, class, set, plan or bucket.
pub const MAX_NAME: usize = 64;

/// Words a chain uses for itself; no bucket can have them as its name.
pub const RESERVED_BUCKETS: [&str; 4] = ["free", "metered", "drop", "dropped"];

/// Reports `name` if it is not 1 to [`MAX_NAME`] of the characters `a-z 0-9 . _ -`.
pub(super) fn check_name(kind: &str, name: &At<String>, out: &mut Diagnostics) -> bool {
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
    let text = name.value.as_str();
    let wrong = if text.is_empty() {
        format!("the name of this {kind} is empty")
    } else if text.len() > MAX_NAME {
        format!(
            "the name of {kind} {} is longer than {MAX_NAME} characters",
            quote(text)
        )
    } else if let Some(c) = text.chars().find(|&c| !allowed(c)) {
        format!("the name of {kind} {} has the character {c:?}", quote(text))
    } else {
        return true;
    };
    out.error(
        name.place.clone(),
        "bad-name",
        wrong,
        format!("names have 1 to {MAX_NAME} of the characters a-z 0-9 . _ -"),
    );
    false
}

/// Help for a word that is none of `known`: the nearest of them if one is near, else all of them.
pub(crate) fn suggest<'a>(
    word: &str,
    what: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    const SHOWN: usize = 12;
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(near) = nearest(word, &known) {
        return format!("did you mean {near:?}?");
    }
    match known.len() {
        0 => format!("no {what} are defined"),
        n if n <= SHOWN => format!("{what}: {}", known.join(", ")),
        n => format!(
            "{what}: {}, and {} more",
            known[..SHOWN].join(", "),
            n - SHOWN
        ),
    }
}

/// The word of `known` that `word` most likely misspells: at most a third of its characters differ.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let length = word.chars().count();
    if length > 2 * MAX_NAME {
        return None;
    }
    let limit = length / 3;
    known
        .iter()
        .map(|&candidate| (distance(word, candidate), candidate))
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Edits that turn `a` into `b`, ignoring case: insert, delete, replace, or swap two neighbours.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("main", "main", 0),
            ("Main", "main", 0),
            ("mian", "main", 1),
            ("mai", "main", 1),
            ("metred", "metered", 1),
            ("balance", "main", 5),
            ("", "abc", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn suggests_the_near_or_lists_all() {
        let known = ["government", "internet"];
        assert_eq!(
            suggest("goverment", "classes", known),
            "did you mean \"government\"?"
        );
        assert_eq!(
            suggest("video", "classes", known),
            "classes: government, internet"
        );
        assert_eq!(suggest("x", "classes", []), "no classes are defined");
    }
}
