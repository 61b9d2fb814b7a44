//! One publication after another: what changed is told, and what did not is the same to the byte.

use std::fs;

use super::{POLICY, page, publish, said, sample, write};

const FIRST: &str = "2026-11-26T09:00:00+05:00";
const SECOND: &str = "2026-12-26T09:00:00+05:00";

#[test]
fn what_is_published_again_unchanged_is_the_same_to_the_byte() {
    let dir = sample(POLICY);
    let all = [
        "en.html",
        "kk.html",
        "publication.json",
        "ru.html",
        "sq.html",
        "uz.html",
    ];
    publish(&dir, FIRST, &[]);
    let first = all.map(|name| page(&dir, name));
    publish(&dir, SECOND, &[]);
    assert_eq!(all.map(|name| page(&dir, name)), first);
}

#[test]
fn what_changed_since_the_last_publication_is_told() {
    let dir = sample(POLICY);
    publish(&dir, FIRST, &[]);
    let changed = POLICY
        .replace("main = \"3GB\"", "main = \"5GB\"")
        .replace("630.50 UZS/MB", "700 UZS/MB")
        .replace("closed = true\n", "")
        .replace(
            "valid_until = 2027-01-01T00:00:00+05:00",
            "valid_until = 2028-01-01T00:00:00+05:00",
        )
        .replace(
            "government = \"free\"\nmessengers = [\"chat\"",
            "government = [\"main\", \"drop\"]\nmessengers = [\"chat\"",
        )
        .replace(
            "[[sets]]\nname = \"school\"",
            "[[sets]]\nname = \"lessons\"",
        )
        + "\n[plans.new]\nexpect = [\"unused-plan\"]\ntitle = { kk = \"Жаңа\", ru = \"Новый\", uz = \"Yangi\", sq = \"I ri\", en = \"New\" }\n\
           [plans.new.charge]\n\"*\" = \"free\"\n";
    write(&dir, &changed);
    let output = publish(&dir, SECOND, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = page(&dir, "en.html").replace('\u{a0}', " ");
    for expected in [
        "Since the publication of <time datetime=\"2026-11-26T04:00:00Z\">26 Nov 2026, 09:00</time>",
        "The plan Doctor takes new subscribers again.",
        "Plan Doctor: Main package: 3 GB before, 5 GB now.",
        "Plan Doctor: Balance: money on the account, 630.50 UZS/MB before, money on the account, 700 UZS/MB now.",
        "Plan Doctor: Public services is no longer free.",
        "New plan: New.",
        "The period in which State portal is free has changed.",
        "New free service: School.",
        "No longer in the list of free services: School.",
    ] {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
    let kazakh = page(&dir, "kk.html").replace('\u{a0}', " ");
    assert!(
        kazakh.contains("Дәрігер жоспары: Негізгі пакет: бұрын 3 ГБ, енді 5 ГБ."),
        "{kazakh}"
    );
    // The changes stay until there are others.
    let second = page(&dir, "ru.html");
    publish(&dir, "2027-01-26", &[]);
    assert_eq!(page(&dir, "ru.html"), second);
}

#[test]
fn a_record_that_is_none_is_refused_and_nothing_is_written() {
    let dir = sample(POLICY);
    fs::create_dir(dir.path().join("out")).unwrap();
    let record = dir.path().join("out/publication.json");
    for (text, expected) in [
        ("{", "not a publication"),
        ("{\"format\": 2}", "a publication of layout 2"),
    ] {
        fs::write(&record, text).unwrap();
        let output = publish(&dir, FIRST, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(expected), "{}", said(&output));
        assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 1);
    }
}

#[test]
fn a_page_of_an_earlier_publication_is_told_of() {
    let dir = sample(POLICY);
    publish(&dir, FIRST, &[]);
    let output = publish(&dir, SECOND, &["--lang", "ru,kk,uz,sq"]);
    let warned = said(&output);
    assert!(
        warned.contains("out/en.html: warning: of an earlier publication, and not written again\n  help: add en to --lang"),
        "{warned}"
    );
}
