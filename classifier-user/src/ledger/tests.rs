//! What is written is recalled, and what is not a ledger is refused.

use std::fs;

use jiff::Timestamp;

use super::*;
use crate::{policy, subscribers};

const POLICY: &str = r#"
name = "p"
default_class = "net"
[classes.net]
rating_group = 1
[plans.a]
[plans.a.buckets]
main = "1kB"
[plans.a.charge]
"*" = ["main", "metered"]
"#;

/// A change from `accounts` to a list of subscribers.
fn change(accounts: &Accounts, list: &str) -> Change {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("policy.toml"), POLICY).unwrap();
    fs::write(at.join("s.csv"), format!("id,plan,state,addresses\n{list}")).unwrap();
    let policy = policy::load(at).unwrap().policy;
    let list = subscribers::load(&at.join("s.csv"), &policy)
        .unwrap()
        .subscribers;
    accounts
        .plan(&policy, &list, Timestamp::UNIX_EPOCH)
        .unwrap()
}

#[test]
fn accounts_come_back_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let mut accounts = Accounts::new();
    {
        let (mut ledger, recalled) = Ledger::open(&path).unwrap();
        assert_eq!((recalled.epoch, recalled.serial), (None, 0));
        ledger.begin_epoch(77).unwrap();
        let lists = [
            "a,a,active,10.0.0.1\nb,a,active,10.0.0.2\n",
            "a,a,suspended,10.0.0.9\n",
        ];
        for (serial, list) in (1..).zip(lists) {
            let mut change = change(&accounts, list);
            ledger
                .begin(&accounts, &change, serial, || Ok::<_, LedgerError>(()))
                .unwrap();
            accounts.adopt(&mut change);
        }
        assert_eq!(
            ledger.interfaces(&["x".into(), "y".into()]).unwrap()["y"],
            1
        );
    }
    let (mut ledger, recalled) = Ledger::open(&path).unwrap();
    assert_eq!((recalled.epoch, recalled.serial), (Some(77), 2));
    assert_eq!(recalled.accounts.subscribers, accounts.subscribers);
    assert_eq!(recalled.accounts.ended, accounts.ended);
    assert_eq!(recalled.accounts.catalog, accounts.catalog);
    assert_eq!(recalled.accounts.next_line, accounts.next_line);
    assert_eq!(recalled.accounts.next_session, accounts.next_session);
    // An interface keeps its number.
    let numbers = ledger.interfaces(&["z".into(), "y".into()]).unwrap();
    assert_eq!((numbers["y"], numbers["z"]), (1, 2));
}

#[test]
fn a_new_epoch_knows_nothing_of_the_old() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let (mut ledger, _) = Ledger::open(&path).unwrap();
    ledger.begin_epoch(1).unwrap();
    let accounts = Accounts::new();
    ledger
        .begin(
            &accounts,
            &change(&accounts, "a,a,active,10.0.0.1\n"),
            5,
            || Ok::<_, LedgerError>(()),
        )
        .unwrap();
    ledger.begin_epoch(2).unwrap();
    drop(ledger);
    let (_, recalled) = Ledger::open(&path).unwrap();
    assert_eq!((recalled.epoch, recalled.serial), (Some(2), 5));
    assert!(recalled.accounts.subscribers.is_empty());
}

#[test]
fn a_second_agent_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let (mut first, _) = Ledger::open(&path).unwrap();
    first.begin_epoch(1).unwrap();
    assert!(matches!(
        Ledger::open(&path),
        Err(LedgerError::InUse { .. })
    ));
}

#[test]
fn what_is_no_ledger_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let text = "not a database, but long enough to be looked at as one ".repeat(40);
    fs::write(&path, &text).unwrap();
    assert!(matches!(
        Ledger::open(&path),
        Err(LedgerError::Damaged { .. })
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    drop(Ledger::open(&path).unwrap());
    Connection::open(&path)
        .unwrap()
        .execute_batch("PRAGMA user_version = 99")
        .unwrap();
    assert!(matches!(
        Ledger::open(&path),
        Err(LedgerError::Schema { found: 99, .. })
    ));
}
