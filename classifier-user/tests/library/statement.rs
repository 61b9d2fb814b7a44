//! Statements in every language: as they are read, and with the figures of the JSON they are made of.
//!
//! With `UPDATE_SNAPSHOTS=1` in the environment the files in `tests/library/statement/sheets` are written instead of compared: read
//! what changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;
use zerorate::language::Language;
use zerorate::policy;
use zerorate::report::statement::{Sheet, Statement, Sum};
use zerorate::report::{Format, Traffic};

const POLICY: &str = r#"
name = "p"
default_class = "internet"
[classes.internet]
rating_group = 1
title = { kk = "Интернет", ru = "Интернет", uz = "Internet", sq = "Interneti", en = "Internet" }
[classes.government]
rating_group = 10
essential = true
title.en = "Public <services>"
[buckets.balance]
title = { kk = "Шоттағы ақша", ru = "Баланс", uz = "Balans", sq = "Bilanci", en = "Balance" }
[plans.doctors]
title.en = "Doctors"
[plans.doctors.buckets]
main = "3GB"
balance = { price = "630.50 UZS/MB" }
[plans.doctors.charge]
government = "free"
"*" = ["main", "balance", "drop"]
"#;

/// A statement of a month with everything in it, under [`POLICY`].
fn statement() -> Statement {
    let used = json!({
        "active_seconds": 4_000.5, "average_up_bps": 100_000, "average_down_bps": 2_400_000, "peak_up_bps": 5_000_000,
        "peak_down_bps": 98_700_000, "bytes_up": 50_000_000, "packets_up": 50_000, "bytes_down": 1_200_345_678,
        "packets_down": 1_000_000
    });
    let mut total = used.clone();
    total["connected_seconds"] = 2_592_000.0.into();
    total["creditable_seconds"] = 3_600.0.into();
    total["dropped"] =
        json!({"bytes_up": 1_000, "packets_up": 1, "bytes_down": 0, "packets_down": 0});
    let mut session = used;
    for (name, value) in [
        ("epoch", json!("00000000000000aa")),
        ("session", json!(7)),
        ("start", json!("2026-10-30T08:00:00Z")),
        ("end", json!(null)),
        ("last_activity", json!("2026-11-29T10:00:00Z")),
        ("addresses", json!(["192.0.2.1/32"])),
        ("connected_seconds", json!(2_592_000.0)),
    ] {
        session[name] = value;
    }
    let row = |class: &str, charged: &str, down: u64, up: u64, drawn: u64| {
        json!({
            "subscriber": "ann", "plan": "doctors", "class": class, "rating_group": 1, "charged": charged, "bytes_up": up,
            "packets_up": 1, "bytes_down": down, "packets_down": 1, "bytes_drawn": drawn
        })
    };
    let mut paid = row("internet", "balance", 8_000_000, 1_000_000, 9_000_000);
    paid["price"] = "630.50 UZS/MB".into();
    paid["amount"] = "5674.50 UZS".into();
    let statement = json!({
        "subscriber": "ann", "node": "gw", "timezone": "Asia/Tashkent", "from": "2026-10-31T19:00:00Z",
        "to": "2026-11-30T19:00:00Z", "complete_until": "2026-11-30T19:00:00Z", "recorded_until": "2026-11-29T10:00:30Z",
        "plan": "doctors", "state": "active", "total": total, "sessions": [session],
        "usage": [
            row("government", "free", 200_345_678, 9_000_000, 0),
            paid,
            row("internet", "main", 992_000_000, 40_000_000, 1_032_000_000),
        ],
        "dropped": [row("internet", "dropped", 0, 1_000, 0)],
        "outages": [{
            "seq": 9, "subscriber": "ann", "scope": "node", "from": "2026-11-10T00:30:00Z", "to": "2026-11-10T01:30:00Z",
            "cause": "digger & cable", "fault": "operator", "touched_seconds": 3_600.0, "creditable_seconds": 3_600.0
        }],
        "records": [
            {
                "seq": 81, "time": "2026-11-20T08:00:00Z", "kind": "correction", "subscriber": "ann", "id": "fix-1",
                "reason": "measured on the access switch", "corrects": 47, "approver": "A. Serikova",
                "bytes_up": 12_000, "bytes_down": 48_000, "packets_up": 90, "packets_down": 110
            },
            {
                "seq": 82, "time": "2026-11-20T09:00:00Z", "kind": "correction", "subscriber": "ann", "id": "fix-2",
                "reason": "it was shorter", "corrects": 9, "approver": "A. Serikova", "from": "2026-11-10T00:30:00Z",
                "to": "2026-11-10T01:30:00Z"
            }
        ]
    });
    let mut statement: Statement = serde_json::from_value(statement).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("policy.toml"), POLICY).unwrap();
    statement.told_by(&policy::load(dir.path()).unwrap().policy);
    statement
}

fn text(sheet: &Sheet) -> String {
    let mut out = Vec::new();
    sheet.text(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn what_is_drawn_from_money_costs_what_it_cost_then() {
    let mut sum = Sum::default();
    let mut add = |charged, price, drawn| {
        let moved = Traffic {
            bytes_up: drawn,
            packets_up: 1,
            ..Traffic::default()
        };
        sum.add(("doctors", "internet", 1, charged, price), &moved, drawn);
    };
    add("balance", Some("630.50 UZS/MB"), 4_000_000);
    add("balance", Some("700 UZS/MB"), 1_000_000);
    add("balance", Some("630.50 UZS/MB"), 5_000_000);
    add("main", None, 1_000_000);
    let (rows, _) = sum.rows("ann");
    let priced: Vec<_> = rows
        .iter()
        .map(|row| {
            let amount = row.amount.as_ref().map(ToString::to_string);
            (&*row.charged, row.price.as_deref(), row.bytes_drawn, amount)
        })
        .collect();
    let amount = |amount: &str| Some(amount.to_owned());
    assert_eq!(
        priced,
        [
            (
                "balance",
                Some("630.50 UZS/MB"),
                9_000_000,
                amount("5674.50 UZS")
            ),
            (
                "balance",
                Some("700 UZS/MB"),
                1_000_000,
                amount("700.00 UZS")
            ),
            ("main", None, 1_000_000, None),
        ]
    );
}

#[test]
fn each_language_has_its_statement() {
    let statement = statement();
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for language in Language::ALL {
        let sheet = Sheet::of(&statement, language);
        let mut csv = Vec::new();
        sheet.csv(&mut csv).unwrap();
        let files = [
            ("txt", text(&sheet)),
            ("csv", String::from_utf8(csv).unwrap()),
            ("html", sheet.page()),
        ];
        for (kind, written) in files {
            let snapshot =
                Path::new("tests/library/statement/sheets").join(format!("{language}.{kind}"));
            if update {
                fs::write(&snapshot, &written).unwrap();
            }
            if fs::read_to_string(&snapshot).unwrap_or_default() != written {
                wrong.push(snapshot);
            }
        }
    }
    let help = "UPDATE_SNAPSHOTS=1 rewrites them: read what changed";
    assert!(wrong.is_empty(), "{wrong:?} differ; {help}");
}

#[test]
fn of_a_pruned_period_no_statement_says_that_nothing_was_used() {
    let mut statement = statement();
    statement.usage.clear();
    statement.head.pruned_until = "2026-11-14T19:00:00Z".parse().ok();
    for language in Language::ALL {
        let said = &language.phrases().statement;
        let sheet = Sheet::of(&statement, language);
        let text = text(&sheet);
        assert!(!text.contains(said.nothing), "{text}");
        assert!(text.contains(said.nothing_kept), "{text}");
        let mut csv = Vec::new();
        sheet.csv(&mut csv).unwrap();
        for laid_out in [text, String::from_utf8(csv).unwrap(), sheet.page()] {
            assert!(laid_out.contains(said.pruned_until), "{laid_out}");
        }
    }
    let printed = |format| {
        let mut out = Vec::new();
        statement.write(&mut out, format).unwrap();
        String::from_utf8(out).unwrap()
    };
    let table = printed(Format::Table);
    let expected = "but for what was pruned: records until 2026-11-15 00:00:00 are gone";
    assert!(table.contains(expected), "{table}");
    let json = printed(Format::Json);
    let expected = r#""pruned_until":"2026-11-14T19:00:00Z""#;
    assert!(json.contains(expected), "{json}");
    let csv = printed(Format::Csv);
    assert!(csv.contains(",2026-11-14T19:00:00Z,"), "{csv}");
}

#[test]
fn a_page_has_the_figures_of_the_json_and_nothing_from_elsewhere() {
    let statement = statement();
    let mut json = Vec::new();
    statement.write(&mut json, Format::Json).unwrap();
    let json = String::from_utf8(json).unwrap();
    let mut expected = BTreeSet::new();
    for line in json.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if line["kind"] == "usage" {
            for name in ["bytes_up", "bytes_down", "bytes_drawn"] {
                expected.insert(line[name].to_string());
            }
            expected.extend(line["amount"].as_str().map(str::to_owned));
        }
        if line["kind"] == "correction" && line["bytes_up"].is_u64() {
            for name in ["corrects", "bytes_up", "bytes_down"] {
                expected.insert(line[name].to_string());
            }
        }
    }
    for language in Language::ALL {
        let page = Sheet::of(&statement, language).page();
        let dom = tl::parse(&page, tl::ParserOptions::default()).unwrap();
        let tags = dom.nodes().iter().filter_map(|node| node.as_tag());
        let values: BTreeSet<String> = tags
            .clone()
            .filter(|tag| tag.name() == "data")
            .map(|tag| {
                tag.attributes()
                    .get("value")
                    .flatten()
                    .unwrap()
                    .as_utf8_str()
                    .into_owned()
            })
            .collect();
        assert!(
            expected.is_subset(&values),
            "{language}: {expected:?} {values:?}"
        );
        assert!(values.contains("3600"), "what is creditable: {values:?}");
        assert!(
            !tags
                .clone()
                .any(|tag| tag.name() == "script" || tag.name() == "services")
        );
        assert!(page.contains("digger &amp; cable"));
    }
}
