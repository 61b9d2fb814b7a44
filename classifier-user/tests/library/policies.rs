//! Policies and subscribers that are right: what is read from them, what is looked up in them, and
//! what changes from one to the next.

mod arbitrary;

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use tempfile::TempDir;
use zerorate::policy::{self, ChainEnd, Changes, Checked, Count, Cycle, Grant, Policy, Price};
use zerorate::subscribers::{self, State};

const SHIFOKOR: &str = r#"
name = "uz-shifokor"
basis = "Price list in force from 2023-05-22 (order 347/23 of 2023-05-15)"
default_class = "internet"

[classes.internet]
rating_group = 1
[classes.government]
rating_group = 10
essential = true
[classes.messengers]
rating_group = 30

[[sets]]
name = "state-portals"
class = "government"
source = "where the list comes from"
prefixes = ["203.0.113.0/24", "2001:db8:10::/48"]
file = "state-portals.txt"
valid_from = 2023-05-22T00:00:00+05:00
valid_until = 2030-01-01T00:00:00+05:00
expect = ["documentation"]

[[sets]]
name = "chat"
class = "messengers"
prefixes = ["203.0.0.0/16"]
expect = ["documentation"]

[plans.shifokor]
count = "down"
cycle = "14d"
gate = ["main", "balance"]
[plans.shifokor.buckets]
main = "3GB"
messengers = "1GB"
balance = { price = "630 UZS/MB" }
[plans.shifokor.charge]
government = "free"
messengers = ["messengers", "main", "balance", "drop"]
"*" = ["main", "balance", "drop"]

[plans.debtor]
suspension = "ignore"
[plans.debtor.charge]
"*" = "metered"
"#;

const LIST: &str = "# hosts\n198.51.100.7   # one\n\n2001:db8:10:1::/64\n";

fn write(dir: &Path, toml: &str) {
    fs::write(dir.join("policy.toml"), toml).unwrap();
    fs::write(dir.join("state-portals.txt"), LIST).unwrap();
}

fn load(toml: &str) -> (TempDir, Checked) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), toml);
    let checked = policy::load(dir.path()).unwrap();
    (dir, checked)
}

fn class_at(policy: &Policy, address: &str, t: &str) -> String {
    let (class, _) = policy.class_of(address.parse().unwrap(), t.parse().unwrap());
    policy.classes[class].name.clone()
}

const BEFORE: &str = "2023-05-21T18:59:59.999999999Z";
const BEGINNING: &str = "2023-05-21T19:00:00Z";
const LAST: &str = "2029-12-31T18:59:59Z";
const END: &str = "2029-12-31T19:00:00Z";

#[test]
fn everything_written_is_read() {
    let (dir, Checked { policy, warnings }) = load(SHIFOKOR);
    assert_eq!(warnings, []);
    assert_eq!(policy.name, "uz-shifokor");
    assert!(policy.basis.as_ref().unwrap().starts_with("Price list"));
    let classes: Vec<_> = policy
        .classes
        .iter()
        .map(|c| (c.name.as_str(), c.rating_group, c.essential))
        .collect();
    assert_eq!(
        classes,
        [
            ("government", 10, true),
            ("internet", 1, false),
            ("messengers", 30, false)
        ]
    );
    assert_eq!(policy.default_class, 1);

    let set = &policy.sets[0];
    assert_eq!((set.name.as_str(), set.class), ("state-portals", 0));
    assert_eq!(set.source.as_deref(), Some("where the list comes from"));
    let prefixes: Vec<String> = set
        .prefixes
        .iter()
        .map(|p| {
            let file = p.place.file.strip_prefix(dir.path()).unwrap().display();
            format!("{} {file}:{}:{}", p.net, p.place.line, p.place.column)
        })
        .collect();
    assert_eq!(
        prefixes,
        [
            "203.0.113.0/24 policy.toml:18:13",
            "2001:db8:10::/48 policy.toml:18:31",
            "198.51.100.7/32 state-portals.txt:2:1",
            "2001:db8:10:1::/64 state-portals.txt:4:1",
        ]
    );
    let files: Vec<_> = policy
        .files
        .iter()
        .map(|f| f.file_name().unwrap())
        .collect();
    assert_eq!(files, ["policy.toml", "state-portals.txt"]);
    assert_eq!(policy.prefix_counts(), (3, 2));

    let plans: Vec<&str> = policy.plans.iter().map(|plan| plan.name.as_str()).collect();
    assert_eq!(plans, ["debtor", "shifokor"]);
    let (_, plan) = policy.plan("shifokor").unwrap();
    assert_eq!(plan.count, Count::Down);
    assert_eq!(plan.cycle, Some(Cycle::Days(14)));
    assert_eq!(plan.gate, [0, 2]);
    assert!(!plan.suspension_ignored);
    let grants: Vec<_> = plan
        .buckets
        .iter()
        .map(|b| (b.name.as_str(), &b.grant))
        .collect();
    let price = Price {
        amount: "630".to_owned(),
        currency: "UZS".to_owned(),
        per_bytes: 1_000_000,
    };
    assert_eq!(
        grants,
        [
            ("main", &Grant::Bytes(3_000_000_000)),
            ("messengers", &Grant::Bytes(1_000_000_000)),
            ("balance", &Grant::Money(price)),
        ]
    );
    let chains: Vec<_> = plan
        .chains
        .iter()
        .map(|c| (c.buckets.as_slice(), c.end))
        .collect();
    assert_eq!(
        chains,
        [
            (&[][..], ChainEnd::Free),
            (&[0, 2][..], ChainEnd::Drop),
            (&[1, 0, 2][..], ChainEnd::Drop),
        ]
    );
    let debtor = policy.plan("debtor").unwrap().1;
    assert!(debtor.suspension_ignored);
    assert_eq!((debtor.count, debtor.cycle.as_ref()), (Count::Both, None));
    assert!(
        debtor
            .chains
            .iter()
            .all(|c| c.buckets.is_empty() && c.end == ChainEnd::Metered)
    );
}

#[test]
fn the_longest_prefix_that_exists_wins() {
    let (_dir, Checked { policy, .. }) = load(SHIFOKOR);
    for (address, t, class) in [
        ("203.0.113.1", BEFORE, "messengers"),
        ("203.0.113.1", BEGINNING, "government"),
        ("203.0.113.1", LAST, "government"),
        ("203.0.113.1", END, "messengers"),
        ("203.0.112.1", BEGINNING, "messengers"),
        ("198.51.100.7", BEGINNING, "government"),
        ("198.51.100.8", BEGINNING, "internet"),
        ("2001:db8:10:ffff::1", BEGINNING, "government"),
        ("2001:db8:11::1", BEGINNING, "internet"),
        // An IPv4 prefix says nothing about an IPv6 address with the same bits.
        ("::203.0.113.1", BEGINNING, "internet"),
        ("::ffff:203.0.113.1", BEGINNING, "internet"),
    ] {
        assert_eq!(class_at(&policy, address, t), class, "{address} at {t}");
    }
    let bounds: Vec<Timestamp> = [BEGINNING, END].map(|t| t.parse().unwrap()).to_vec();
    assert_eq!(policy.boundaries(), bounds);
    let active = |t: &str| policy.active_prefixes(t.parse().unwrap()).count();
    assert_eq!((active(BEFORE), active(BEGINNING), active(END)), (1, 5, 1));
}

#[test]
fn the_version_follows_every_byte() {
    let (dir, first) = load(SHIFOKOR);
    let again = policy::load(dir.path()).unwrap();
    assert_eq!(first.policy.version, again.policy.version);
    assert_eq!(first.policy.version.len(), 16);

    fs::write(dir.path().join("state-portals.txt"), format!("{LIST}#\n")).unwrap();
    let comment = policy::load(dir.path()).unwrap();
    assert_ne!(first.policy.version, comment.policy.version);
}

#[test]
fn text_moved_between_lists_is_another_version() {
    let dir = tempfile::tempdir().unwrap();
    let toml = "name = \"x\"\ndefault_class = \"i\"\n[classes.i]\nrating_group = 1\n\
                [[sets]]\nname = \"a\"\nclass = \"i\"\nfile = \"a.txt\"\n\
                [[sets]]\nname = \"b\"\nclass = \"i\"\nfile = \"b.txt\"\n";
    fs::write(dir.path().join("policy.toml"), toml).unwrap();
    let version = |a: &str, b: &str| {
        fs::write(dir.path().join("a.txt"), a).unwrap();
        fs::write(dir.path().join("b.txt"), b).unwrap();
        policy::load(dir.path()).unwrap().policy.version
    };
    assert_ne!(
        version("8.8.8.0/24\n9.9.9.0/24\n", "1.1.1.0/24\n"),
        version("8.8.8.0/24\n", "9.9.9.0/24\n1.1.1.0/24\n")
    );
}

#[test]
fn the_same_prefix_may_change_its_class_in_time() {
    let toml = "name = \"x\"\ndefault_class = \"i\"\n[classes.i]\nrating_group = 1\n\
                [classes.j]\nrating_group = 2\n\
                [[sets]]\nname = \"a\"\nclass = \"j\"\nprefixes = [\"8.8.8.0/24\"]\n\
                valid_until = 2024-01-01T00:00:00Z\nexpect = [\"expired\"]\n\
                [[sets]]\nname = \"b\"\nclass = \"i\"\nprefixes = [\"8.8.8.0/24\"]\n\
                valid_from = 2024-01-01T00:00:00Z\n";
    let (_dir, Checked { policy, warnings }) = load(toml);
    assert_eq!(warnings, []);
    assert_eq!(class_at(&policy, "8.8.8.8", "2023-12-31T23:59:59Z"), "j");
    assert_eq!(class_at(&policy, "8.8.8.8", "2024-01-01T00:00:00Z"), "i");
}

const LATE: &str = r#"[[sets]]
name = "late"
class = "messengers"
prefixes = ["198.51.100.7"]
valid_from = 2023-06-01T00:00:00Z
expect = ["documentation"]

[plans.shifokor]"#;

#[test]
fn changes_are_one_line_each() {
    let (_old_dir, old) = load(SHIFOKOR);
    let (_new_dir, new) = load(
        &SHIFOKOR
            .replace("default_class = \"internet\"", "default_class = \"other\"")
            .replace(
                "[classes.government]",
                "[classes.other]\nrating_group = 2\n[classes.government]",
            )
            .replace("rating_group = 30", "rating_group = 31")
            .replace("\"203.0.113.0/24\", ", "")
            .replace("[\"203.0.0.0/16\"]", "[\"203.0.0.0/16\", \"8.8.0.0/16\"]")
            .replace("2030-01-01", "2023-05-23")
            .replace("main = \"3GB\"", "main = \"3.5GB\"\nextra = \"1GiB\"")
            .replace("messengers = \"1GB\"\n", "")
            .replace("cycle = \"14d\"", "cycle = \"1mo\"")
            .replace("gate = [\"main\", \"balance\"]\n", "")
            .replace("[\"messengers\", \"main\", ", "[\"extra\", \"main\", ")
            .replace("[plans.debtor", "[plans.social")
            .replace("[plans.shifokor]", LATE),
    );
    let now: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
    let changes = Changes::between(&old.policy, &new.policy, now);
    assert_eq!(
        (changes.added(), changes.removed(), changes.moved()),
        (1, 3, 1)
    );
    assert_eq!(
        changes.to_string(),
        "1 prefix added to messengers: 8.8.0.0/16\n\
         3 prefixes removed from government: 203.0.113.0/24, 2001:db8:10::/48, 2001:db8:10:1::/64\n\
         1 prefix moved from government to messengers: 198.51.100.7/32\n\
         default class: internet -> other\n\
         class other added\n\
         class messengers: rating_group: 30 -> 31\n\
         set late added\n\
         set state-portals: valid: from 2023-05-21T19:00:00Z until 2029-12-31T19:00:00Z -> \
         from 2023-05-21T19:00:00Z until 2023-05-22T19:00:00Z\n\
         plan debtor removed\n\
         plan social added\n\
         plan shifokor: cycle: 14d -> 1mo\n\
         plan shifokor: gate: main, balance -> none\n\
         plan shifokor: bucket extra added\n\
         plan shifokor: bucket messengers removed\n\
         plan shifokor: bucket main: 3GB -> 3500MB\n\
         plan shifokor: chain of messengers: messengers, main, balance, drop -> \
         extra, main, balance, drop"
    );
    let back = Changes::between(&new.policy, &old.policy, now);
    assert_eq!((back.added(), back.removed(), back.moved()), (3, 1, 1));
    assert!(Changes::between(&new.policy, &new.policy, now).is_empty());
}

#[test]
fn subscribers_are_read_with_their_places() {
    let (dir, Checked { policy, .. }) = load(SHIFOKOR);
    let file = dir.path().join("subscribers.csv");
    let csv = "\u{feff}id,plan,state,addresses\r\n\
               alice,shifokor,active,192.0.2.1 2001:db8:1::/56 2001:db8:1:7::/64\r\n\
               \r\n\
               \"bob,2\",debtor,suspended,\"10.0.0.0/29  10.0.0.8\"";
    fs::write(&file, csv).unwrap();
    let loaded = subscribers::load(&file, &policy).unwrap();
    assert_eq!(loaded.warnings, []);
    let shown: Vec<String> = loaded
        .subscribers
        .iter()
        .map(|s| {
            let prefixes = s
                .prefixes
                .iter()
                .map(|p| format!("{}@{}:{}", p.net, p.place.line, p.place.column));
            let plan = &policy.plans[s.plan].name;
            format!(
                "{} {plan} {:?} {}",
                s.id,
                s.state,
                prefixes.collect::<Vec<_>>().join(" ")
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "alice shifokor Active 192.0.2.1/32@2:23 2001:db8:1::/56@2:33 2001:db8:1:7::/64@2:49",
            "bob,2 debtor Suspended 10.0.0.0/29@4:27 10.0.0.8/32@4:40",
        ]
    );
    assert_eq!(loaded.subscribers[1].state, State::Suspended);
    assert_eq!(loaded.subscribers[1].place.column, 2);
}

/// Every policy that ships loads with its subscribers, and every warning it gives cause for is
/// acknowledged in it.
#[test]
fn shipped_policies_are_free_of_errors_and_warnings() {
    let mut seen = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")).unwrap() {
        let dir = entry.unwrap().path();
        if dir.join("policy.toml").exists() {
            let checked = policy::load(&dir).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(checked.warnings, [], "{}", dir.display());
            assert_eq!(
                checked.policy.name,
                dir.file_name().unwrap().to_str().unwrap()
            );
            let file = dir.join("subscribers.csv");
            if file.exists() {
                let loaded = subscribers::load(&file, &checked.policy)
                    .unwrap_or_else(|errors| panic!("{errors}"));
                assert_eq!(loaded.warnings, [], "{}", dir.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 0, "there is no policy in policies/");
}
