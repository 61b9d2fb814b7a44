//! Pages as they are written: whole in themselves, and what a browser makes of them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{POLICY, page, publish, said, sample};

const LANGUAGES: [(&str, &str); 5] = [
    ("kk", "kk"),
    ("ru", "ru"),
    ("uz", "uz-Latn"),
    ("sq", "sq"),
    ("en", "en"),
];

#[test]
fn each_language_has_its_page_and_nothing_is_missed() {
    let dir = sample(POLICY);
    let output = publish(&dir, "2026-11-26T09:00:00+05:00", &[]);
    assert_eq!(said(&output), "");
    assert_eq!(output.status.code(), Some(0));
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    let pages = LANGUAGES.map(|(language, _)| format!("{language}.html"));
    for name in pages.iter().map(String::as_str).chain(["publication.json"]) {
        let snapshot = Path::new("tests/library/publish/pages").join(name);
        let written = page(&dir, name);
        if update {
            fs::write(&snapshot, &written).unwrap();
        }
        if fs::read_to_string(&snapshot).unwrap_or_default() != written {
            wrong.push(name);
        }
    }
    let help = "UPDATE_SNAPSHOTS=1 rewrites them: read what changed";
    assert!(wrong.is_empty(), "{wrong:?} differ; {help}");
    // Nothing is left beside them.
    let mut files: Vec<_> = fs::read_dir(dir.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = [
        "en.html",
        "kk.html",
        "publication.json",
        "ru.html",
        "sq.html",
        "uz.html",
    ];
    assert_eq!(files, expected);
}

#[test]
fn pages_need_nothing_from_elsewhere_and_say_what_they_are_to_who_cannot_see() {
    let dir = sample(POLICY);
    publish(&dir, "2026-11-26", &[]);
    for (language, tag) in LANGUAGES {
        let text = page(&dir, &format!("{language}.html"));
        let dom = tl::parse(&text, tl::ParserOptions::default()).unwrap();
        let parser = dom.parser();
        let all = |selector: &str| -> Vec<&tl::HTMLTag<'_>> {
            let found = dom.query_selector(selector).unwrap();
            found
                .map(|node| node.get(parser).unwrap().as_tag().unwrap())
                .collect()
        };
        let attribute = |tag: &tl::HTMLTag<'_>, name: &str| -> String {
            let found = tag.attributes().get(name).flatten();
            found.map_or_else(String::new, |value| value.as_utf8_str().into_owned())
        };
        assert!(text.starts_with("<!DOCTYPE html>"));
        assert_eq!(attribute(all("html")[0], "lang"), tag);
        for foreign in ["script", "img", "link", "iframe", "form", "object"] {
            assert!(all(foreign).is_empty(), "{language}: a {foreign}");
        }
        assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("url("));
        for one in ["title", "h1", "main", "header"] {
            assert_eq!(all(one).len(), 1, "{language}: {one}");
        }
        let tables = all("table").len();
        assert!(tables >= 4);
        assert_eq!(all("thead").len(), tables, "every table has heads");
        assert!(
            all("th")
                .iter()
                .all(|head| !attribute(head, "scope").is_empty())
        );
        // Every section is called by a heading that is there.
        for section in all("section") {
            let id = attribute(section, "aria-labelledby");
            assert_eq!(all(&format!("#{id}")).len(), 1, "{language}: {id}");
        }
        let others: Vec<String> = all("a")
            .iter()
            .map(|link| attribute(link, "href"))
            .collect();
        assert_eq!(others.len(), 4);
        assert!(!others.contains(&format!("{language}.html")));
    }
}

#[test]
fn the_record_has_the_facts_of_the_pages() {
    let dir = sample(POLICY);
    publish(&dir, "2026-11-26", &["--lang", "en"]);
    let record: Value = serde_json::from_str(&page(&dir, "publication.json")).unwrap();
    assert_eq!(record["format"], 1);
    let doctors = &record["plans"][0];
    assert_eq!(doctors["name"], "doctors");
    assert_eq!(doctors["successor"], "everyone");
    assert_eq!(doctors["packages"][0]["bytes"], 3_000_000_000_u64);
    let services: Vec<_> = record["services"].as_array().unwrap().iter().collect();
    assert_eq!(services.len(), 2, "messengers are free under no plan");
    assert_eq!(services[0]["until"], "2026-12-31T19:00:00Z");
    assert_eq!(
        services[1]["since"], "2026-11-26T00:00:00Z",
        "first published then"
    );
    let text = page(&dir, "en.html").replace('\u{a0}', " ");
    for expected in [
        "630.50 UZS/MB",
        "1,500 MB",
        "State portal",
        "1 Jan 2027, 00:00",
        "Main package, then Balance, then no access",
        "Order 12-3 of 2026 &lt;draft&gt;",
        "This is the first publication.",
    ] {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
}

#[test]
fn a_missing_title_is_a_warning_and_the_name_is_told() {
    let policy = POLICY
        .replace(", ru = \"Школа\"", "")
        .replace(", sq = \"Shkolla\"", "");
    let dir = sample(&policy);
    let output = publish(&dir, "2026-11-26", &["--lang", "ru,sq"]);
    assert_eq!(output.status.code(), Some(0));
    let warned = said(&output);
    assert!(
        warned.starts_with(
            "policy/policy.toml:25:8: warning: set \"school\" has no title in Russian, Albanian: people read its name\n  \
             help: add title.ru = \"...\", title.sq = \"...\"\n"
        ),
        "{warned}"
    );
    assert!(page(&dir, "ru.html").contains(">school<"));
}

#[test]
fn an_unknown_language_is_refused_with_those_there_are() {
    let dir = sample(POLICY);
    let output = publish(&dir, "2026-11-26", &["--lang", "kk,de"]);
    assert_eq!(output.status.code(), Some(2));
    let refused = said(&output);
    let languages = "there is no language \"de\"; there are kk (Kazakh), ru (Russian), uz (Uzbek), sq (Albanian), en (English)";
    assert!(refused.contains(languages), "{refused}");
    assert!(!dir.path().join("out").exists());
}
