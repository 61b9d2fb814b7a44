//! `zerorate replay --against`: what another policy would have charged otherwise, packet by packet.

use std::collections::BTreeMap;
use std::fs;

use super::*;

const EXAMPLE: &str = "docs/example/policy";

/// Runs a replay of a capture of the documents with a changed example, against the example.
fn against(changes: &[(&str, &str)], pcap: &str, format: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    changed(EXAMPLE, dir.path(), changes);
    let new = dir.path().to_str().unwrap();
    zerorate(
        &root(),
        &[
            "replay",
            "--policy",
            new,
            "--against",
            EXAMPLE,
            "--subscribers",
            "docs/example/subscribers.csv",
            "--pcap",
            pcap,
            "--format",
            format,
        ],
    )
}

const FREE: [(&str, &str); 1] = [(
    "messengers = [\"messengers\", \"main\", \"balance\", \"drop\"]",
    "messengers = \"free\"",
)];

#[test]
fn a_class_that_becomes_free_is_told_by_who_paid_before() {
    let output = against(&FREE, "docs/example/chat.pcap", "json");
    let rows = rows(&output);
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            let of = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let of_both = ["kind", "subscriber", "old_charged", "new_charged"].map(of);
            (of_both.join(" "), row["bytes_down"].as_u64())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("difference anna dropped free".to_owned(), Some(1000)),
            ("difference anna main free".to_owned(), Some(2000)),
            ("difference anna messengers free".to_owned(), Some(3000)),
            ("compared   ".to_owned(), None),
        ]
    );
    let all = rows.last().unwrap();
    for (key, number) in [
        ("packets", 6),
        ("ip_bytes", 6000),
        ("packets_otherwise", 6),
        ("bytes_otherwise", 6000),
        ("subscribers_otherwise", 1),
    ] {
        assert_eq!(all[key], number, "{key}");
    }
    let csv = said(&against(&FREE, "docs/example/chat.pcap", "csv"));
    assert_eq!(csv.lines().count(), 5, "{csv}");
    let table = said(&against(&FREE, "docs/example/chat.pcap", "table"));
    assert!(table.contains("passes, and was dropped"), "{table}");
    assert!(
        table.contains("6,000 of 6,000 IP bytes are charged otherwise"),
        "{table}"
    );
}

#[test]
fn what_a_bucket_no_longer_pays_shows_also_in_another_class() {
    // The web packets find a smaller package, and the messenger's packet behind them an open gate.
    let changes = [
        ("main = \"1500B\"", "main = \"500B\""),
        ("gate = [\"main\", \"balance\"]\n", ""),
    ];
    let rows = rows(&against(&changes, "docs/example/web-first.pcap", "json"));
    let told: Vec<_> = rows[..rows.len() - 1]
        .iter()
        .map(|row| {
            ["new_class", "old_charged", "new_charged"].map(|key| row[key].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ["internet", "main", "dropped"],
            ["messengers", "dropped", "messengers"]
        ]
    );
}

#[test]
fn another_number_for_billing_is_a_difference_and_another_name_of_the_policy_is_none() {
    let name = [("name = \"example\"", "name = \"other\"")];
    let output = against(&name, "docs/example/chat.pcap", "table");
    assert!(
        said(&output).starts_with("Charged otherwise: nothing\n"),
        "{output:?}"
    );
    let group = [("rating_group = 30", "rating_group = 31")];
    let rows = rows(&against(&group, "docs/example/chat.pcap", "json"));
    assert_eq!(rows.last().unwrap()["bytes_otherwise"], 6000);
}

#[test]
fn unknown_subscribers_traffic_is_compared_by_class() {
    let dir = tempfile::tempdir().unwrap();
    changed(
        EXAMPLE,
        dir.path(),
        &[("203.0.113.0/24", "198.51.100.0/24")],
    );
    fs::write(
        dir.path().join("s.csv"),
        "id,plan,state,addresses\nnobody,small,active,192.0.2.250\n",
    )
    .unwrap();
    let new = dir.path().to_str().unwrap();
    let subscribers = dir.path().join("s.csv");
    let output = zerorate(
        &root(),
        &[
            "replay",
            "--policy",
            new,
            "--against",
            EXAMPLE,
            "--subscribers",
            subscribers.to_str().unwrap(),
            "--pcap",
            "docs/example/chat.pcap",
            "--role",
            "core",
            "--format",
            "json",
        ],
    );
    let rows = rows(&output);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows[0]["subscriber"].is_null());
    assert_eq!(rows[0]["old_class"], "messengers");
    assert_eq!(rows[0]["new_class"], "internet");
    assert_eq!(rows[1]["subscribers_otherwise"], 0);
}

#[test]
fn the_kernel_s_engine_is_refused_with_what_to_do() {
    let output = zerorate(
        &root(),
        &[
            "replay",
            "--policy",
            EXAMPLE,
            "--against",
            EXAMPLE,
            "--subscribers",
            "docs/example/subscribers.csv",
            "--pcap",
            "docs/example/chat.pcap",
            "--engine",
            "kernel",
        ],
    );
    assert!(refused(&output).contains("leave out --engine kernel"));
}

/// Bytes and packets by subscriber, class and charge.
type Sums = BTreeMap<[String; 3], [i64; 4]>;

fn add(sums: &mut Sums, row: &Value, keys: [&str; 3], sign: i64) {
    let key = keys.map(|key| row[key].as_str().unwrap().to_owned());
    let sum = sums.entry(key).or_default();
    for (sum, name) in sum
        .iter_mut()
        .zip(["bytes_up", "packets_up", "bytes_down", "packets_down"])
    {
        *sum += sign * row[name].as_i64().unwrap();
    }
}

/// What is charged otherwise is exactly what lies between two replays, each of its own.
fn check_between_replays(old: &str, new: &str, subscribers: &str, pcap: &str) -> bool {
    let replay = |more: &[&str]| {
        let arguments = [
            &[
                "replay",
                "--subscribers",
                subscribers,
                "--pcap",
                pcap,
                "--format",
                "json",
            ],
            more,
        ];
        rows(&zerorate(&root(), &arguments.concat()))
    };
    let mut between = Sums::new();
    for (policy, sign) in [(old, -1), (new, 1)] {
        for row in replay(&["--policy", policy]) {
            if row["kind"] == "usage" {
                add(&mut between, &row, ["subscriber", "class", "charged"], sign);
            }
        }
    }
    let mut told = Sums::new();
    for row in replay(&["--policy", new, "--against", old]) {
        if row["kind"] == "difference" && !row["subscriber"].is_null() {
            add(
                &mut told,
                &row,
                ["subscriber", "old_class", "old_charged"],
                -1,
            );
            add(
                &mut told,
                &row,
                ["subscriber", "new_class", "new_charged"],
                1,
            );
        }
    }
    let changes = |sums: Sums| -> Sums {
        let moved = sums.into_iter();
        moved.filter(|(_, sum)| *sum != [0; 4]).collect()
    };
    let between = changes(between);
    assert_eq!(changes(told), between, "{pcap}");
    !between.is_empty()
}

/// Two ways to change the doctors' tariff, and subscribers that are in most captures.
fn doctors(dir: &Path) -> [String; 3] {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let old = path("old");
    let new = path("new");
    changed(
        "policies/uz-shifokor",
        Path::new(&old),
        &[
            ("messengers = \"1GB\"", "messengers = \"20kB\""),
            ("main = \"3GB\"", "main = \"50kB\""),
        ],
    );
    changed(
        "policies/uz-shifokor",
        Path::new(&new),
        &[
            ("messengers = \"1GB\"", "messengers = \"5kB\""),
            ("main = \"3GB\"", "main = \"90kB\""),
            (
                "social = [\"social\", \"main\", \"balance\", \"drop\"]",
                "social = \"free\"",
            ),
        ],
    );
    let subscribers = path("s.csv");
    let list = "id,plan,state,addresses\nten,shifokor,active,10.0.0.0/8\n\
        home,shifokor,active,192.168.0.0/16\noffice,shifokor,active,172.16.0.0/12 fd00::/8\n\
        six,shifokor,active,2000::/3\n";
    fs::write(&subscribers, list).unwrap();
    [old, new, subscribers]
}

#[test]
fn captures_of_the_documents_differ_by_what_lies_between_two_replays() {
    let dir = tempfile::tempdir().unwrap();
    changed(
        EXAMPLE,
        dir.path(),
        &[("main = \"1500B\"", "main = \"2500B\"")],
    );
    let new = dir.path().to_str().unwrap();
    for pcap in ["docs/example/chat.pcap", "docs/example/web-first.pcap"] {
        let subscribers = "docs/example/subscribers.csv";
        assert!(check_between_replays(EXAMPLE, new, subscribers, pcap));
    }
}

#[test]
fn real_captures_differ_by_what_lies_between_two_replays() {
    let Some(data) = std::env::var_os("ZERORATE_DATA") else {
        crate::skip::skip("real captures: ZERORATE_DATA is not set");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let [old, new, subscribers] = doctors(dir.path());
    let (mut captures, mut different) = (0, 0);
    for kind in ["messenger", "bulk", "vlan"] {
        for entry in fs::read_dir(Path::new(&data).join("pcap").join(kind)).unwrap() {
            let path = entry.unwrap().path();
            let end = path.extension().and_then(|end| end.to_str());
            if !matches!(end, Some("pcap" | "pcapng")) {
                continue;
            }
            let pcap = path.to_str().unwrap();
            let is_different = check_between_replays(&old, &new, &subscribers, pcap);
            captures += 1;
            different += usize::from(is_different);
        }
    }
    assert!(
        captures > 5 && different > 2,
        "{different} of {captures} captures"
    );
}
