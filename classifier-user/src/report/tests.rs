//! What each format looks like, character by character.

use super::*;

fn traffic(bytes_up: u64, packets_up: u64, bytes_down: u64, packets_down: u64) -> Traffic {
    Traffic {
        bytes_up,
        packets_up,
        bytes_down,
        packets_down,
    }
}

fn used(subscriber: &str, class: &str, charged: &str, traffic: Traffic) -> UsageRow {
    UsageRow {
        subscriber: subscriber.into(),
        plan: "shifokor".into(),
        class: class.into(),
        rating_group: class.len() as u32,
        charged: charged.into(),
        traffic,
    }
}

fn unknown(class: &str, traffic: Traffic) -> UnattributedRow {
    UnattributedRow {
        class: class.into(),
        rating_group: 1,
        traffic,
    }
}

/// A replay's report, out of order and with rows without packets.
fn replayed() -> Report {
    Report {
        usage: vec![
            used(
                "bob, \"jr\"",
                "internet",
                "metered",
                traffic(5, 1, 1_234_567, 999),
            ),
            used("alice", "messengers", "messengers", traffic(0, 0, 0, 0)),
            used("alice", "messengers", "main", traffic(1200, 3, 0, 0)),
            used("alice", "messengers", "dropped", traffic(0, 0, 40, 1)),
            used(
                "alice",
                "internet",
                "main",
                traffic(0, 0, u64::MAX - 1_234_567, 1),
            ),
        ],
        unattributed: vec![
            unknown("messengers", traffic(0, 0, 0, 0)),
            unknown("internet", traffic(60, 2, 0, 0)),
            unknown("government", traffic(0, 0, 40, 1)),
        ],
        books: vec![BooksRow {
            packets: 1011,
            ip_packets: 1008,
            ip_bytes: 4711,
            non_ip_packets: 1,
            malformed_packets: 2,
            ..BooksRow::default()
        }],
    }
}

/// An agent's report.
fn running() -> Report {
    let books = |interface: &str, direction, difference_bytes| BooksRow {
        place: Some(Place {
            interface: interface.into(),
            direction,
        }),
        packets: 10,
        ip_packets: 9,
        ip_bytes: 5000,
        non_ip_packets: 1,
        malformed_packets: 0,
        closing: Some(Closing {
            attributed_bytes: 4000,
            unattributed_bytes: 700,
            dropped_bytes: 300,
            difference_bytes,
        }),
        refused: Some(Refused::default()),
    };
    Report {
        books: vec![
            books("core0", Direction::Down, -1500),
            books("access0", Direction::Down, 0),
            books("access0", Direction::Up, 0),
        ],
        ..Report::default()
    }
}

fn printed(mut report: Report, format: Format) -> String {
    report.sort();
    let mut out = Vec::new();
    report.write(&mut out, format).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn json_of_a_replay() {
    let want = r#"{"kind":"usage","subscriber":"alice","plan":"shifokor","class":"internet","rating_group":8,"charged":"main","bytes_up":0,"packets_up":0,"bytes_down":18446744073708317048,"packets_down":1}
{"kind":"usage","subscriber":"alice","plan":"shifokor","class":"messengers","rating_group":10,"charged":"dropped","bytes_up":0,"packets_up":0,"bytes_down":40,"packets_down":1}
{"kind":"usage","subscriber":"alice","plan":"shifokor","class":"messengers","rating_group":10,"charged":"main","bytes_up":1200,"packets_up":3,"bytes_down":0,"packets_down":0}
{"kind":"usage","subscriber":"bob, \"jr\"","plan":"shifokor","class":"internet","rating_group":8,"charged":"metered","bytes_up":5,"packets_up":1,"bytes_down":1234567,"packets_down":999}
{"kind":"unattributed","class":"government","rating_group":1,"bytes_up":0,"packets_up":0,"bytes_down":40,"packets_down":1}
{"kind":"unattributed","class":"internet","rating_group":1,"bytes_up":60,"packets_up":2,"bytes_down":0,"packets_down":0}
{"kind":"books","packets":1011,"ip_packets":1008,"ip_bytes":4711,"non_ip_packets":1,"malformed_packets":2}
"#;
    assert_eq!(printed(replayed(), Format::Json), want);
}

#[test]
fn json_of_an_agent() {
    let want = r#"{"kind":"books","interface":"access0","direction":"up","packets":10,"ip_packets":9,"ip_bytes":5000,"non_ip_packets":1,"malformed_packets":0,"attributed_bytes":4000,"unattributed_bytes":700,"dropped_bytes":300,"difference_bytes":0,"marked_packets":0,"marked_bytes":0,"unknown_dropped_packets":0,"unknown_dropped_bytes":0}
{"kind":"books","interface":"access0","direction":"down","packets":10,"ip_packets":9,"ip_bytes":5000,"non_ip_packets":1,"malformed_packets":0,"attributed_bytes":4000,"unattributed_bytes":700,"dropped_bytes":300,"difference_bytes":0,"marked_packets":0,"marked_bytes":0,"unknown_dropped_packets":0,"unknown_dropped_bytes":0}
{"kind":"books","interface":"core0","direction":"down","packets":10,"ip_packets":9,"ip_bytes":5000,"non_ip_packets":1,"malformed_packets":0,"attributed_bytes":4000,"unattributed_bytes":700,"dropped_bytes":300,"difference_bytes":-1500,"marked_packets":0,"marked_bytes":0,"unknown_dropped_packets":0,"unknown_dropped_bytes":0}
"#;
    assert_eq!(printed(running(), Format::Json), want);
}

#[test]
fn csv_of_both() {
    let header = "kind,subscriber,plan,class,rating_group,charged,bytes_up,packets_up,bytes_down,packets_down,interface,direction,packets,ip_packets,ip_bytes,non_ip_packets,malformed_packets,attributed_bytes,unattributed_bytes,dropped_bytes,difference_bytes,marked_packets,marked_bytes,unknown_dropped_packets,unknown_dropped_bytes\n";
    let replay = r#"usage,alice,shifokor,internet,8,main,0,0,18446744073708317048,1,,,,,,,,,,,,,,,
usage,alice,shifokor,messengers,10,dropped,0,0,40,1,,,,,,,,,,,,,,,
usage,alice,shifokor,messengers,10,main,1200,3,0,0,,,,,,,,,,,,,,,
usage,"bob, ""jr""",shifokor,internet,8,metered,5,1,1234567,999,,,,,,,,,,,,,,,
unattributed,,,government,1,,0,0,40,1,,,,,,,,,,,,,,,
unattributed,,,internet,1,,60,2,0,0,,,,,,,,,,,,,,,
books,,,,,,,,,,,,1011,1008,4711,1,2,,,,,,,,
"#;
    assert_eq!(
        printed(replayed(), Format::Csv),
        format!("{header}{replay}")
    );
    let agent = "books,,,,,,,,,,access0,up,10,9,5000,1,0,4000,700,300,0,0,0,0,0
books,,,,,,,,,,access0,down,10,9,5000,1,0,4000,700,300,0,0,0,0,0
books,,,,,,,,,,core0,down,10,9,5000,1,0,4000,700,300,-1500,0,0,0,0
";
    assert_eq!(printed(running(), Format::Csv), format!("{header}{agent}"));
    assert_eq!(printed(Report::default(), Format::Csv), header);
}

#[test]
fn csv_has_a_column_for_every_field() {
    for report in [replayed(), running()] {
        let csv = printed(report.clone(), Format::Csv);
        let mut csv = csv::Reader::from_reader(csv.as_bytes());
        let header = csv.headers().unwrap().clone();
        let rows = csv.records().map(|row| {
            let row = row.unwrap();
            let fields = header
                .iter()
                .map(str::to_owned)
                .zip(row.iter().map(str::to_owned));
            fields
                .filter(|(_, value)| !value.is_empty())
                .collect::<Vec<_>>()
        });
        let json = printed(report, Format::Json);
        for (row, line) in rows.zip(json.lines()) {
            let object: serde_json::Map<_, _> = serde_json::from_str(line).unwrap();
            assert_eq!(row.len(), object.len());
            for (name, value) in row {
                let field = &object[&name];
                assert_eq!(
                    field.as_str().map_or(field.to_string(), str::to_owned),
                    value
                );
            }
        }
    }
}

#[test]
fn table_of_a_replay() {
    let want = r#"Usage
 subscriber      plan       class        group   charged   bytes up   packets up                   bytes down   packets down
-----------------------------------------------------------------------------------------------------------------------------
 alice           shifokor   internet     8       main             0            0   18,446,744,073,708,317,048              1
 alice           shifokor   messengers   10      dropped          0            0                           40              1
 alice           shifokor   messengers   10      main         1,200            3                            0              0
 bob, "jr"       shifokor   internet     8       metered          5            1                    1,234,567            999
 total charged                                                1,205            4   18,446,744,073,709,551,615          1,000
 total dropped                                                    0            0                           40              1

Unattributed
 class        group   bytes up   packets up   bytes down   packets down
------------------------------------------------------------------------
 government   1              0            0           40              1
 internet     1             60            2            0              0
 total                      60            2           40              1

Books
 packets   IP packets   IP bytes   non-IP   malformed
------------------------------------------------------
   1,011        1,008      4,711        1           2
"#;
    assert_eq!(printed(replayed(), Format::Table), want);
}

#[test]
fn table_of_an_agent() {
    let want = r#"Usage: none

Unattributed: none

Books
 interface   direction   packets   IP packets   IP bytes   non-IP   malformed   attributed   unattributed   dropped   difference
---------------------------------------------------------------------------------------------------------------------------------
 access0     up               10            9      5,000        1           0        4,000            700       300            0
 access0     down             10            9      5,000        1           0        4,000            700       300            0
 core0       down             10            9      5,000        1           0        4,000            700       300       -1,500
"#;
    assert_eq!(printed(running(), Format::Table), want);
}

#[test]
fn what_was_refused_is_shown_where_there_is_any() {
    let mut report = running();
    report.books[2].refused = Some(Refused {
        marked_packets: 3,
        marked_bytes: 180,
        ..Refused::default()
    });
    let table = printed(report.clone(), Format::Table);
    let books: Vec<&str> = table.lines().skip(5).collect();
    assert!(
        books[0].ends_with("   dropped   difference   marked"),
        "{table}"
    );
    assert!(
        books[2].ends_with("       300            0      180"),
        "{table}"
    );
    assert!(
        books[3].ends_with("       300            0        0"),
        "{table}"
    );
    report.books[0].refused = Some(Refused {
        unknown_dropped_packets: 1,
        unknown_dropped_bytes: 60,
        ..Refused::default()
    });
    let table = printed(report, Format::Table);
    assert!(table.contains("   marked   unknown dropped\n"), "{table}");
}

#[test]
fn a_report_survives_the_wire() {
    for report in [replayed(), running(), Report::default()] {
        let wire = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&wire).unwrap(), report);
    }
}
