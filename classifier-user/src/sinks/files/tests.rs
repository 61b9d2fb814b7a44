//! The disk fails at every operation there is, or the process is gone there: each record is in one finished file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;

use super::*;

/// One of the records of a ledger.
fn record(seq: u64) -> AnyRecord {
    let record = json!({
        "seq": seq, "time": "2026-03-01T00:00:00Z", "kind": "grant", "subscriber": "anna",
        "bucket": "main", "bytes": seq * 10, "left": 5, "reason": "a, \"b\"",
    });
    serde_json::from_value(record).unwrap()
}

fn files(directory: &Path, format: FileFormat) -> Files {
    let settings = config::Files {
        name: "files".to_owned(),
        directory: directory.to_owned(),
        format,
        every: Duration::from_secs(3600),
        size: 700,
    };
    Files::new(&settings, "gw 1")
}

/// As `resume`, without a ledger to compare with.
fn resume(files: &mut Files) -> Result<u64, SinkError> {
    files.find().map(|()| files.position())
}

/// Everything finished, after a look at each manifest: file name and lines.
fn finished(directory: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut previous: Option<Manifest> = None;
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in names.iter().filter(|name| name.ends_with(manifest::SUFFIX)) {
        let manifest = Manifest::read(&directory.join(name)).unwrap();
        let bytes = fs::read(directory.join(&manifest.file)).unwrap();
        assert_eq!(manifest.sha256, hex::encode(Sha256::digest(&bytes)));
        assert_eq!(manifest.size, bytes.len() as u64);
        let before = previous.as_ref().map(|before| Previous {
            file: before.file.clone(),
            sha256: before.sha256.clone(),
        });
        assert_eq!(manifest.previous, before);
        assert_eq!(
            manifest.first_seq,
            previous.as_ref().map_or(0, |before| before.last_seq) + 1
        );
        assert_eq!(manifest.records, manifest.last_seq - manifest.first_seq + 1);
        let text = String::from_utf8(bytes).unwrap();
        found.insert(
            manifest.file.clone(),
            text.lines().map(str::to_owned).collect(),
        );
        previous = Some(manifest);
    }
    found
}

/// Brings all records that are not there, and ends, as the runner does; what was in the way otherwise.
fn bring(files: &mut Files, records: u64) -> Result<(), SinkError> {
    let mut position = resume(files)?;
    while position < records {
        let batch: Vec<_> = (position + 1..=records.min(position + 3))
            .map(record)
            .collect();
        files.take(&batch)?;
        position += batch.len() as u64;
    }
    files.rest(true).map(drop)
}

#[test]
fn at_whatever_operation_the_disk_fails_each_record_is_in_one_file() {
    const RECORDS: u64 = 17;
    let expected: Vec<String> = (1..=RECORDS)
        .map(|seq| serde_json::to_string(&record(seq)).unwrap())
        .collect();
    // The process is gone then, or goes on.
    for killed in [true, false] {
        let mut operation = 0;
        loop {
            let directory = tempfile::tempdir().unwrap();
            let place = directory.path().join("records");
            let mut sink = files(&place, FileFormat::Json);
            sink.disk.left = Some(operation);
            let result = bring(&mut sink, RECORDS);
            let seen = if place.exists() {
                finished(&place)
            } else {
                BTreeMap::new()
            };
            let ended = result.is_ok();
            if killed {
                sink = files(&place, FileFormat::Json);
            }
            sink.disk.left = None;
            bring(&mut sink, RECORDS).unwrap();
            let found = finished(&place);
            for (name, lines) in seen {
                assert_eq!(
                    found.get(&name),
                    Some(&lines),
                    "what was finished changed at {operation}"
                );
            }
            let lines: Vec<_> = found.into_values().flatten().collect();
            assert_eq!(lines, expected, "operation {operation}");
            let left: Vec<_> = fs::read_dir(&place)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.ends_with(".partial"))
                .collect();
            assert!(left.is_empty(), "{left:?}");
            if ended {
                break;
            }
            operation += 1;
        }
        assert!(operation > 40, "{operation}");
    }
}

#[test]
fn whoever_takes_files_away_gets_no_record_twice() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let mut taken = Vec::new();
    for records in [5, 11, 12] {
        bring(&mut files(place, FileFormat::Json), records).unwrap();
        for entry in fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !name.starts_with('.') {
                if name.ends_with(".jsonl") {
                    taken.extend(
                        fs::read_to_string(&path)
                            .unwrap()
                            .lines()
                            .map(str::to_owned),
                    );
                }
                fs::remove_file(path).unwrap();
            }
        }
    }
    taken.sort();
    let mut expected: Vec<_> = (1..=12)
        .map(|seq| serde_json::to_string(&record(seq)).unwrap())
        .collect();
    expected.sort();
    assert_eq!(taken, expected);
}

#[test]
fn csv_has_a_column_for_every_field() {
    let directory = tempfile::tempdir().unwrap();
    bring(&mut files(directory.path(), FileFormat::Csv), 2).unwrap();
    let found = finished(directory.path());
    let (name, lines) = found.first_key_value().unwrap();
    assert_eq!(name, "gw%201.000000000001-000000000002.csv");
    let text = lines.join("\n");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().unwrap().clone();
    let row = reader.records().next().unwrap().unwrap();
    let cell = |name: &str| &row[head.iter().position(|head| head == name).unwrap()];
    assert_eq!(
        ["seq", "kind", "bucket", "bytes", "reason", "more"].map(cell),
        ["1", "grant", "main", "10", "a, \"b\"", ""]
    );
}

#[test]
fn a_directory_of_another_ledger_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    bring(
        &mut files(&directory.path().join("records"), FileFormat::Json),
        2,
    )
    .unwrap();
    // A ledger that was begun anew.
    let path = directory.path().join("ledger.db");
    drop(crate::ledger::Ledger::open(&path).unwrap());
    let reader = Reader::open(&path).unwrap();
    let wrong = files(&directory.path().join("records"), FileFormat::Json)
        .resume(&reader)
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("has record 2 of node `gw 1`, and it is not the one in this ledger"),
        "{wrong}"
    );
}
