//! What is written is recalled, and what is not a ledger is refused.

use std::fs;

use jiff::Timestamp;

use super::balances::{Batch, Booked};
use super::records::What;
use super::*;
use crate::accounts::{Cycles, Stamp};
use crate::balance::{Action, Order};
use crate::engine::lines::Lines;
use crate::subscribers::{Planned, Step};
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
    change_under(POLICY, accounts, list)
}

fn change_under(policy: &str, accounts: &Accounts, list: &str) -> Change {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("policy.toml"), policy).unwrap();
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
        ledger.begin_epoch(77, Timestamp::UNIX_EPOCH).unwrap();
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

/// A ledger with the subscriber `a`, and what it knows of it.
fn with_a(path: &Path) -> (Ledger, Accounts) {
    let (mut ledger, _) = Ledger::open(path).unwrap();
    ledger.begin_epoch(1, Timestamp::UNIX_EPOCH).unwrap();
    let mut accounts = Accounts::new();
    let mut first = change(&accounts, "a,a,active,10.0.0.1\n");
    ledger
        .begin(&accounts, &first, 5, || Ok::<_, LedgerError>(()))
        .unwrap();
    accounts.adopt(&mut first);
    (ledger, accounts)
}

/// A bucket of the first account that was granted so much in all.
fn booked(granted: u64) -> Booked {
    Booked {
        account: 0,
        position: 0,
        granted,
        purse: None,
    }
}

const NO_ORDER: Option<(&Order, &())> = None;

#[test]
fn a_new_epoch_keeps_subscribers_and_what_is_in_their_buckets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let (mut ledger, before) = with_a(&path);
    let batch = Batch {
        buckets: vec![booked(7000)],
        ..Batch::default()
    };
    let now = Timestamp::UNIX_EPOCH;
    ledger.settle(NO_ORDER, &batch, now).unwrap();
    ledger.put_drawn(&[(0, 0, 300)]).unwrap();
    let carried = ledger.carried().unwrap();
    ledger.begin_epoch(2, Timestamp::UNIX_EPOCH).unwrap();
    drop(ledger);
    let (ledger, recalled) = Ledger::open(&path).unwrap();
    assert_eq!((recalled.epoch, recalled.serial), (Some(2), 5));
    let accounts = Accounts {
        carried,
        ..before.anew()
    };
    assert_eq!(recalled.accounts.subscribers, accounts.subscribers);
    assert_eq!(recalled.accounts.next_line, accounts.next_line);
    // Its new block holds what the old one held.
    let again = change(&accounts, "a,a,active,10.0.0.1\n");
    let lines = Lines::on_heap(again.next_line);
    again.write_new(&lines);
    let line = again.subscribers[0].1.bucket_line;
    assert_eq!((lines.drawn(line, 0), lines.granted(line, 0)), (300, 7000));
    assert_eq!(ledger.untold().unwrap(), []);
}

#[test]
fn what_the_kernel_may_not_know_is_told_again_until_it_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let (mut ledger, _) = with_a(&path);
    let batch = Batch {
        buckets: vec![booked(7000)],
        ..Batch::default()
    };
    let now = Timestamp::UNIX_EPOCH;
    ledger.settle(NO_ORDER, &batch, now).unwrap();
    assert_eq!(ledger.untold().unwrap(), [(0, 0, 7000)]);
    drop(ledger);
    let (mut ledger, _) = Ledger::open(&path).unwrap();
    assert_eq!(ledger.untold().unwrap(), [(0, 0, 7000)]);
    ledger.told().unwrap();
    assert_eq!(ledger.untold().unwrap(), []);
}

#[test]
fn what_plans_grant_at_first_is_recorded_for_each_also_of_very_many() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let (mut ledger, _) = Ledger::open(&path).unwrap();
    let mut accounts = Accounts::new();
    let policy = POLICY
        .replace("[plans.a.charge]", "more = \"2kB\"\n[plans.a.charge]")
        .replace("[\"main\", ", "[\"main\", \"more\", ");
    let line = |n: usize| format!("s{n},a,active,10.0.{}.{}\n", n >> 8, n & 255);
    // A few, very many at once, and one more.
    for (serial, upto) in (1..).zip([3, 2_500, 2_501]) {
        let list: String = (0..upto).map(line).collect();
        let mut change = change_under(&policy, &accounts, &list);
        ledger
            .begin(&accounts, &change, serial, || Ok::<_, LedgerError>(()))
            .unwrap();
        accounts.adopt(&mut change);
    }
    let all = ledger.records(0, None, None, usize::MAX >> 1).unwrap();
    assert_eq!(all.len(), 2 * 2_501);
    assert!(all.iter().zip(1..).all(|(record, seq)| record.seq == seq));
    let of: std::collections::BTreeSet<_> = all
        .iter()
        .map(|record| {
            let What::Bucket { bucket, bytes, .. } = &record.entry.what else {
                panic!("{record:?}")
            };
            assert_eq!(record.entry.kind, "grant");
            (&record.entry.subscriber, bucket.as_str(), *bytes)
        })
        .collect();
    let kinds = |name, bytes| {
        of.iter()
            .filter(|(_, bucket, of)| (*bucket, *of) == (name, bytes))
            .count()
    };
    assert_eq!((kinds("main", 1_000), kinds("more", 2_000)), (2_501, 2_501));
    // Page by page, and of one of them: the same.
    let mut paged = Vec::new();
    while let Some(page) = Some(ledger.records(paged.len() as u64, None, None, 701).unwrap())
        && !page.is_empty()
    {
        paged.extend(page);
    }
    assert_eq!(paged, all);
    for place in [0, 1_234, 5_000] {
        let own = &all[place..place + 2];
        let id = own[0].entry.subscriber.as_str();
        assert_eq!(ledger.records(0, Some(id), None, 10).unwrap(), own);
        assert_eq!(ledger.records(0, Some(id), None, 1).unwrap(), own[..1]);
        assert_eq!(
            ledger.records(own[0].seq, Some(id), None, 10).unwrap(),
            own[1..]
        );
    }
    let rows = ledger.rows("SELECT count(*) FROM endowment", |row| row.get::<_, i64>(0));
    assert_eq!(rows.unwrap(), [1]);
    let verified = ledger.verify(None).unwrap();
    assert_eq!((verified.records, verified.problems), (5_002, vec![]));
    let tampered = "UPDATE endowment SET subscribers = replace(subscribers, 's1234', 's1243')";
    ledger.connection.execute(tampered, []).unwrap();
    assert_ne!(ledger.verify(None).unwrap().found, 0);
}

#[test]
fn orders_are_forgotten_after_two_years() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let (mut ledger, _) = with_a(&path);
    let order = Order {
        id: "pay-1".into(),
        subscriber: "a".into(),
        bucket: Some("main".into()),
        action: Action::Grant,
        bytes: 7,
        amount: None,
        reason: None,
    };
    let mut send = |id: &str, at: &str| {
        let order = Order {
            id: id.into(),
            ..order.clone()
        };
        let answer = Some((&order, &"done"));
        ledger
            .settle(answer, &Batch::default(), at.parse().unwrap())
            .unwrap();
    };
    send("pay-1", "2026-03-01T00:00:00Z");
    send("pay-2", "2028-03-05T00:00:00Z");
    let known = |ledger: &Ledger, id| ledger.answered::<String>(id).unwrap().is_some();
    // Too early; a clock that is years ahead; and at last.
    for (now, first) in [
        ("2028-02-28T00:00:00Z", true),
        ("2028-03-05T00:00:00Z", false),
        ("2050-01-01T00:00:00Z", false),
    ] {
        ledger.forget_orders(now.parse().unwrap()).unwrap();
        let both = (known(&ledger, "pay-1"), known(&ledger, "pay-2"));
        assert_eq!(both, (first, true), "{now}");
    }
}

#[test]
fn cycles_and_what_is_scheduled_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let (mut ledger, _) = with_a(&path);
    let since: Timestamp = "2026-03-01T18:30:00Z".parse().unwrap();
    for due in [Stamp::from(since), Cycles::WAITING] {
        let cycles = Cycles {
            since: since.into(),
            due,
        };
        let batch = Batch {
            cycles: vec![(0, cycles)],
            ..Batch::default()
        };
        ledger.settle(NO_ORDER, &batch, since).unwrap();
        let accounts = ledger.recall().unwrap().accounts;
        assert_eq!(accounts.subscribers["a"].cycles, Some(cycles));
    }
    let planned = |step| Planned {
        subscriber: "a".into(),
        step,
        reason: Some("moves".into()),
    };
    let later = "2026-04-01T00:00:00Z".parse().unwrap();
    let plan = planned(Step::Plan("b".into()));
    let number = ledger.schedule(later, &plan).unwrap();
    ledger.schedule(since, &planned(Step::Remove)).unwrap();
    let scheduled = ledger.scheduled().unwrap();
    assert_eq!(
        scheduled.iter().map(|one| one.at).collect::<Vec<_>>(),
        [since, later]
    );
    assert_eq!(
        (scheduled[1].number, &scheduled[1].planned),
        (number, &plan)
    );
    assert!(ledger.unschedule(number).unwrap());
    assert!(!ledger.unschedule(number).unwrap());
    assert_eq!(ledger.scheduled().unwrap().len(), 1);
}

#[test]
fn a_second_agent_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let (mut first, _) = Ledger::open(&path).unwrap();
    first.begin_epoch(1, Timestamp::UNIX_EPOCH).unwrap();
    assert!(matches!(
        Ledger::open(&path),
        Err(LedgerError::InUse { .. })
    ));
}

#[test]
fn it_is_read_beside_the_agent_that_writes_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    assert!(matches!(
        Reader::open(&path),
        Err(LedgerError::Sqlite { .. })
    ));
    let (mut ledger, _) = Ledger::open(&path).unwrap();
    ledger.begin_epoch(7, Timestamp::UNIX_EPOCH).unwrap();
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.number("epoch").unwrap(), Some(7));
    // A transaction that is under way holds nobody up, and is not seen.
    let transaction = ledger.reader.connection.transaction().unwrap();
    set_number(&transaction, "epoch", 8).unwrap();
    assert_eq!(reader.number("epoch").unwrap(), Some(7));
    transaction.commit().unwrap();
    assert_eq!(reader.number("epoch").unwrap(), Some(8));
    assert!(
        set_number(
            &reader.connection.unchecked_transaction().unwrap(),
            "epoch",
            9
        )
        .is_err()
    );
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
fn what_was_emptied_or_taken_away_is_not_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    fs::write(&path, "").unwrap();
    let refused = Ledger::open(&path).unwrap_err().to_string();
    assert!(refused.contains("it is empty"), "{refused}");
    assert!(refused.contains("restore it from a backup"), "{refused}");
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    // Of an agent that was killed, what it wrote last is in the log.
    fs::remove_file(&path).unwrap();
    fs::write(
        directory.path().join("ledger.db-wal"),
        "what was written last",
    )
    .unwrap();
    let refused = Ledger::open(&path).unwrap_err();
    assert!(matches!(refused, LedgerError::Missing { .. }), "{refused}");
    assert!(!path.exists());
    assert!(directory.path().join("ledger.db-wal").exists());
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
