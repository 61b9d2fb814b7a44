//! What a change of policy or subscribers gives out, keeps, and ends.

use std::fs;

use classifier::layout::{CHUNK_LINES, row_lines};
use tempfile::TempDir;

use super::*;
use crate::engine::lines::Lines;
use crate::{policy, subscribers};

/// Classes `gov` (essential) and `net` (default); plan `a` draws bucket `main`, plan `b` nothing.
const POLICY: &str = r#"
name = "p"
default_class = "net"
[classes.net]
rating_group = 1
[classes.gov]
rating_group = 2
essential = true
[[sets]]
name = "gov"
class = "gov"
prefixes = ["203.0.113.0/24"]
expect = ["documentation"]
[plans.a]
[plans.a.buckets]
main = "1kB"
[plans.a.charge]
gov = "free"
"*" = ["main", "drop"]
[plans.b.charge]
"*" = "metered"
"#;

struct Desk {
    directory: TempDir,
    accounts: Accounts,
    lines: Lines,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            directory,
            accounts: Accounts::new(),
            lines: Lines::default(),
        }
    }

    fn plan(&self, policy: &str, list: &str) -> Result<Change, Full> {
        let at = self.directory.path();
        fs::write(at.join("policy.toml"), policy).unwrap();
        fs::write(at.join("s.csv"), format!("id,plan,state,addresses\n{list}")).unwrap();
        let policy = policy::load(at).unwrap().policy;
        let list = subscribers::load(&at.join("s.csv"), &policy)
            .unwrap()
            .subscribers;
        self.accounts.plan(&policy, &list, Timestamp::UNIX_EPOCH)
    }

    /// Plans, stores and adopts; what it was.
    fn apply(&mut self, policy: &str, list: &str) -> Change {
        let change = self.plan(policy, list).unwrap();
        while self.lines.len() * CHUNK_LINES < change.next_line {
            self.lines = Lines::on_heap(change.next_line);
        }
        change.write_new(&self.lines);
        self.accounts.adopt(&mut change.clone());
        change
    }

    fn session(&self, id: &str) -> &Session {
        self.accounts.subscribers[id].session.as_ref().unwrap()
    }
}

const ANN: &str = "ann,a,active,10.0.0.1\n";

#[test]
fn a_bucket_is_granted_once() {
    let mut desk = Desk::new();
    let first = desk.apply(POLICY, ANN);
    let line = desk.accounts.subscribers["ann"].bucket_line;
    assert_eq!(first.grants, [(line, 0, 1000)]);
    assert_eq!(desk.apply(POLICY, ANN).grants, []);
    // Not when she comes back either.
    desk.apply(POLICY, "");
    assert!(desk.accounts.subscribers["ann"].session.is_none());
    assert_eq!(desk.apply(POLICY, ANN).grants, []);
    assert_eq!(desk.session("ann").number, 2);
}

#[test]
fn a_new_bucket_of_the_plan_is_granted_and_the_old_one_kept() {
    let mut desk = Desk::new();
    desk.apply(POLICY, ANN);
    let policy = POLICY
        .replace("main = \"1kB\"", "main = \"1kB\"\nextra = \"2kB\"")
        .replace("[\"main\", \"drop\"]", "[\"extra\", \"main\", \"drop\"]");
    let change = desk.apply(&policy, ANN);
    let line = desk.accounts.subscribers["ann"].bucket_line;
    assert_eq!(change.grants, [(line, 1, 2000)]);
    // The plan's bucket 0 stands at position 0, bucket 1 at position 1, as before.
    assert_eq!(desk.lines.head(change.rows[0].0.line).bucket_map, 0x10);
}

#[test]
fn nothing_changed_gives_nothing_out() {
    let mut desk = Desk::new();
    desk.apply(POLICY, ANN);
    let change = desk.apply(POLICY, ANN);
    assert!(change.summary.is_empty());
    assert_eq!(
        (
            change.rows.len(),
            change.ended.len(),
            change.subscribers.len()
        ),
        (0, 0, 0)
    );
}

#[test]
fn a_policy_that_reaches_more_gives_new_rows_once() {
    let mut desk = Desk::new();
    desk.apply(POLICY, ANN);
    let more = POLICY.replace("[\"main\", \"drop\"]", "[\"main\", \"metered\"]");
    assert_eq!(desk.apply(&more, ANN).rows.len(), 1);
    assert_eq!(desk.session("ann").number, 1, "a row is not a session");
    // From now on both policies fit the layout, however often they alternate.
    for policy in [POLICY, &more, POLICY] {
        assert_eq!(desk.apply(policy, ANN).rows.len(), 0);
    }
    assert_eq!(desk.accounts.rows().count(), 2);
}

#[test]
fn other_addresses_are_another_session() {
    let mut desk = Desk::new();
    desk.apply(POLICY, ANN);
    let change = desk.apply(POLICY, "ann,a,active,10.0.0.2\n");
    assert_eq!((change.summary.readdressed, change.ended.len()), (1, 1));
    assert_eq!(desk.session("ann").number, 2);
    let [ended] = &*desk.accounts.ended else {
        panic!("one row ended");
    };
    assert_eq!((&*ended.subscriber, ended.session), ("ann", 1));
    assert!(ended.row.line < desk.session("ann").row.line);
}

#[test]
fn another_plan_is_another_row_of_the_same_session() {
    let mut desk = Desk::new();
    desk.apply(POLICY, ANN);
    let change = desk.apply(POLICY, "ann,b,active,10.0.0.1\n");
    assert_eq!((change.summary.replanned, change.rows.len()), (1, 1));
    assert_eq!(desk.session("ann").number, 1);
    assert_eq!(desk.session("ann").row.line, change.rows[0].0.line);
    assert_eq!(desk.accounts.ended.len(), 1);
    // Her bucket waits for the plan that names it.
    assert_eq!(desk.accounts.subscribers["ann"].buckets.len(), 1);
}

#[test]
fn suspension_is_a_bit_in_the_index() {
    let mut desk = Desk::new();
    desk.apply(POLICY, ANN);
    let change = desk.apply(POLICY, "ann,a,suspended,10.0.0.1\n");
    assert_eq!((change.summary.state_changed, change.rows.len()), (1, 0));
    let [(net, binding)] = &*change.bound else {
        panic!("one prefix is bound anew");
    };
    assert_eq!(net.to_string(), "10.0.0.1/32");
    assert!(binding.is_suspended());
    assert_eq!(change.unbound, []);
}

#[test]
fn rows_never_cross_a_chunk() {
    let mut desk = Desk::new();
    let list: String = (0..100_000)
        .map(|n| {
            format!(
                "s{n},a,active,10.{}.{}.{}\n",
                n >> 16,
                n >> 8 & 255,
                n & 255
            )
        })
        .collect();
    desk.apply(POLICY, &list);
    let mut taken: Vec<(u32, u32)> = desk
        .accounts
        .rows()
        .map(|(row, _)| {
            let meters = desk.accounts.catalog.layouts[row.layout as usize]
                .meters
                .len();
            (row.line, row_lines(meters as u32))
        })
        .chain(
            desk.accounts
                .subscribers
                .values()
                .map(|account| (account.bucket_line, 1)),
        )
        .collect();
    taken.sort_unstable();
    assert!(
        taken.last().unwrap().0 > CHUNK_LINES,
        "more than one chunk is needed to see it"
    );
    assert!(taken[0].0 > 0, "line 0 is nobody's");
    for (first, lines) in &taken {
        assert_eq!(first / CHUNK_LINES, (first + lines - 1) / CHUNK_LINES);
    }
    for pair in taken.windows(2) {
        assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?} overlap");
    }
}

#[test]
fn a_ninth_bucket_name_is_refused_and_nothing_changes() {
    let mut desk = Desk::new();
    desk.apply(POLICY, ANN);
    let eight: String = (0..8).map(|n| format!("b{n} = \"1kB\"\n")).collect();
    let policy = POLICY
        .replace("main = \"1kB\"", &eight)
        .replace("[\"main\", \"drop\"]", "[\"b0\", \"drop\"]");
    let before = desk.accounts.subscribers.clone();
    let text = desk.plan(&policy, ANN).unwrap_err().to_string();
    assert!(
        text.starts_with("subscriber `ann` would hold the buckets main, b0, b1,"),
        "{text}"
    );
    assert_eq!(desk.accounts.subscribers, before);
}

#[test]
fn class_names_run_out_with_a_message() {
    let mut desk = Desk::new();
    for n in 0..62 {
        let policy = POLICY.replace(
            "[classes.net]",
            &format!("[classes.x{n}]\nrating_group = {}\n[classes.net]", 100 + n),
        );
        desk.apply(&policy, ANN);
    }
    let policy = POLICY.replace(
        "[classes.net]",
        "[classes.more]\nrating_group = 99\n[classes.net]",
    );
    let text = desk.plan(&policy, ANN).unwrap_err().to_string();
    assert!(text.starts_with("class `more` is one too many"), "{text}");
}

/// [`POLICY`] with a plan `a` that ends, and `b` after it.
fn ending() -> String {
    POLICY.replace(
        "[plans.a]\n",
        "[plans.a]\nvalid_until = 1970-01-01T00:01:40Z\nsuccessor = \"b\"\nexpect = [\"expired\"]\n",
    )
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

#[test]
fn who_is_on_a_plan_that_ends_goes_to_its_successor_and_is_recorded() {
    let mut desk = Desk::new();
    desk.apply(&ending(), &format!("{ANN}bob,b,active,10.0.0.2\n"));
    let policy = policy::load(desk.directory.path()).unwrap().policy;
    let row = desk.session("ann").row;
    let before = desk.accounts.carry_on(&policy, at(99)).unwrap();
    assert!(before.summary.is_empty() && before.ended.is_empty());

    let mut change = desk.accounts.carry_on(&policy, at(100)).unwrap();
    assert_eq!(change.summary.replanned, 1);
    assert_eq!(change.ended[0].row, row);
    assert_eq!(change.ended.len(), 1, "bob's goes on");
    assert_eq!(change.bindings.len(), 2, "whoever moves, all are known");
    let [entry] = &*change.entries else {
        panic!("{:?}", change.entries);
    };
    let reason = entry.reason.as_deref();
    assert_eq!(
        reason,
        Some("plan a ended at 1970-01-01T00:01:40Z: b follows")
    );
    desk.accounts.adopt(&mut change);
    assert_eq!(desk.session("ann").number, 1, "another plan is no session");
    // What is listed is what is in force already.
    let listed = subscribers::load(&desk.directory.path().join("s.csv"), &policy).unwrap();
    let again = desk.accounts.plan(&policy, &listed.subscribers, at(101));
    assert!(again.unwrap().is_empty());
    assert!(desk.accounts.carry_on(&policy, at(200)).unwrap().is_empty());
}

#[test]
fn who_has_no_room_for_a_successors_buckets_stays_and_holds_nobody_up() {
    // Eight names in a life: seven of plan c, and one of plan a.
    let seven: String = (0..7).map(|n| format!("old{n} = \"1kB\"\n")).collect();
    let policy = ending().replace(
        "[plans.b.charge]\n\"*\" = \"metered\"",
        "[plans.b.buckets]\nother = \"1kB\"\n[plans.b.charge]\n\"*\" = [\"other\", \"drop\"]",
    );
    let charge = "[plans.c.charge]\n\"*\" = [\"old0\", \"drop\"]";
    let policy = format!("{policy}[plans.c.buckets]\n{seven}{charge}\n");
    let mut desk = Desk::new();
    desk.apply(&policy, "ann,c,active,10.0.0.1\n");
    desk.apply(&policy, &format!("{ANN}bob,a,active,10.0.0.2\n"));
    let policy = policy::load(desk.directory.path()).unwrap().policy;
    let change = desk.accounts.carry_on(&policy, at(100)).unwrap();
    assert_eq!(change.summary.replanned, 1, "bob goes");
    assert!(matches!(&*change.stranded, [Full::Buckets { subscriber, .. }] if subscriber == "ann"));
    assert_eq!(change.bindings.len(), 2);
}

#[test]
fn an_account_is_small() {
    // There are a million of them: one more word of each is a size class more of memory.
    let counts = 2 * size_of::<usize>();
    assert_eq!(size_of::<Account>() + counts, 128);
}
