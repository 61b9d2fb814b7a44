//! Titles are text: whatever one holds, it makes no element, and is read as it was written.

use std::fmt::Write as _;

use proptest::prelude::*;
use zerorate::language::Language;
use zerorate::policy;
use zerorate::publish::{Publication, page};

use super::POLICY;

/// A string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn pages(policy: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("policy.toml"), policy).unwrap();
    let policy = policy::load(dir.path()).unwrap().policy;
    let at = jiff::Timestamp::UNIX_EPOCH;
    let publication = Publication::of(&policy, at, &jiff::tz::TimeZone::UTC, None);
    let languages = Language::ALL;
    languages
        .map(|language| page(&publication, language, &languages))
        .to_vec()
}

/// Names of all elements, in their order.
fn elements(page: &str) -> Vec<String> {
    let dom = tl::parse(page, tl::ParserOptions::default()).unwrap();
    let tags = dom.nodes().iter().filter_map(|node| node.as_tag());
    tags.map(|tag| tag.name().as_utf8_str().into_owned())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_title_makes_an_element(
        title in prop_oneof![
            "[<>&\"'/=!a-z{}\\- ]{1,40}",
            Just("</td><script>alert(1)</script>".to_owned()),
            Just("\" onload=\"x".to_owned()),
            Just("{plan}{to}&lt;".to_owned()),
            "\\PC{1,20}",
        ],
    ) {
        prop_assume!(!title.trim().is_empty());
        let policy = ["Sample", "Doctor", "State portal", "Main package", "Public services"]
            .iter()
            .fold(POLICY.to_owned(), |policy, plain| {
                policy.replace(&format!("en = \"{plain}\""), &format!("en = {}", quoted(&title)))
            });
        let (plain, odd) = (pages(POLICY), pages(&policy));
        let (plain, odd) = (&plain[4], &odd[4]);
        prop_assert_eq!(elements(plain), elements(odd));
        let escaped = title
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;");
        prop_assert!(odd.contains(&escaped), "{} is not in {}", escaped, odd);
    }
}
