//! An agent as far as its ledger goes, and all it does with it: for those who put things in its way.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use classifier::layout::Meter;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use zerorate::accounts::Accounts;
use zerorate::accounts::activity::Activity;
use zerorate::balance::{Action, Order};
use zerorate::ledger::balances::{Batch, Booked};
use zerorate::ledger::notes::{Fault as Whose, Noted, Outage, Scope};
use zerorate::ledger::records::{Entry, What};
use zerorate::ledger::usage::{Cause, Counts, Cut, End, Label, Terms, TermsNumbers};
use zerorate::ledger::{Ledger, LedgerError};
use zerorate::policy::Policy;
use zerorate::subscribers::{Planned, Step, Subscriber};
use zerorate::{policy, subscribers};

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

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).expect("a time")
}

/// What there is to work with, read once.
pub(crate) struct World {
    policy: Policy,
    lists: Vec<Vec<Subscriber>>,
    terms: Arc<Terms>,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path();
        fs::write(at.join("policy.toml"), POLICY).expect("a policy");
        let policy = policy::load(at).expect("a policy").policy;
        let lists = [
            "ann,a,active,10.0.0.1\nbob,a,active,10.0.0.2\n",
            "ann,a,suspended,10.0.0.9\n",
        ];
        let lists = lists.map(|list| {
            let path = at.join("s.csv");
            fs::write(&path, format!("id,plan,state,addresses\n{list}")).expect("a list");
            subscribers::load(&path, &policy)
                .expect("a list")
                .subscribers
        });
        let label = |charged: &str| Label {
            class: "net".to_owned(),
            rating_group: 1,
            charged: charged.to_owned(),
            price: None,
        };
        let terms = Terms {
            node: "gw".to_owned(),
            epoch: "0000000000000007".to_owned(),
            count_point: "xdp-native".to_owned(),
            plan: "a".to_owned(),
            policy_version: "0123456789abcdef".to_owned(),
            counts: Counts {
                up: true,
                down: true,
                limited: false,
            },
            meters: vec![label("main"), label("metered"), label("dropped")],
        };
        Self {
            policy,
            lists: lists.into(),
            terms: Arc::new(terms),
        }
    }

    /// A reading of a row, in which each meter has counted so much.
    fn cut(&self, line: u32, id: &str, seconds: i64, bytes: u64) -> Cut {
        let meter = Meter {
            bytes_up: bytes,
            packets_up: bytes / 100,
            bytes_down: 10 * bytes,
            packets_down: bytes / 50,
        };
        Cut {
            line,
            row_start: at(0),
            subscriber: id.into(),
            session: line.into(),
            session_start: at(0),
            addresses: vec!["10.0.0.1/32".parse().expect("an address")].into(),
            suspended: false,
            terms: Arc::clone(&self.terms),
            cause: Cause::Interval,
            at: at(seconds),
            activity: Some(Activity {
                since: at(seconds - 10),
                last: at(seconds - 1),
                active: Duration::from_secs(4),
                peak_up_bps: 1_000,
                peak_down_bps: 10_000,
            }),
            meters: [meter, meter, Meter::default()].into(),
            ends: None,
            clock_step: 0,
        }
    }
}

/// An agent as far as its ledger goes: what it has in memory is gone when it is killed.
pub(crate) struct Agent {
    /// Where its ledger is.
    pub(crate) path: PathBuf,
    /// The ledger, who is counted where, the epoch it knew when it was opened, and numbers of terms.
    pub(crate) open: Option<(Ledger, Accounts, Option<u64>, TermsNumbers)>,
}

pub(crate) type Result<T> = std::result::Result<T, LedgerError>;

impl Agent {
    fn ledger(&mut self) -> Result<&mut (Ledger, Accounts, Option<u64>, TermsNumbers)> {
        if self.open.is_none() {
            let (ledger, recalled) = Ledger::open(&self.path)?;
            let rest = (recalled.accounts, recalled.epoch, TermsNumbers::default());
            self.open = Some((ledger, rest.0, rest.1, rest.2));
        }
        Ok(self.open.as_mut().expect("it was opened"))
    }

    fn begin_epoch(&mut self, epoch: u64, now: Timestamp) -> Result<()> {
        let (ledger, _, known, _) = self.ledger()?;
        if *known != Some(epoch) {
            ledger.begin_epoch(epoch, now)?;
            // As a node that finds no counters, it starts from what is recalled.
            self.open = None;
            self.ledger()?;
        }
        Ok(())
    }

    fn change(&mut self, world: &World, list: usize) -> Result<()> {
        let (ledger, accounts, ..) = self.ledger()?;
        let change = accounts.plan(&world.policy, &world.lists[list], at(list as i64));
        let mut change = change.expect("it fits");
        if change.subscribers.is_empty() {
            return Ok(());
        }
        ledger.begin(accounts, &change, 1 + list as u32, || {
            Ok::<_, LedgerError>(())
        })?;
        accounts.adopt(&mut change);
        Ok(())
    }

    fn record(&mut self, cuts: &[Cut], seen: Option<Timestamp>) -> Result<()> {
        let (ledger, _, _, numbers) = self.ledger()?;
        let wrong = ledger.record(cuts, numbers, seen)?;
        assert_eq!(wrong, []);
        Ok(())
    }

    fn order(&mut self, id: &str) -> Result<()> {
        let (ledger, ..) = self.ledger()?;
        let order = Order {
            id: id.to_owned(),
            subscriber: "ann".to_owned(),
            bucket: Some("main".to_owned()),
            action: Action::Grant,
            bytes: 7_000,
            amount: None,
            reason: None,
        };
        if ledger.answered::<u64>(id)?.is_some() {
            return Ok(());
        }
        let what = What::Bucket {
            bucket: "main".to_owned(),
            bytes: 7_000,
            amount: None,
            left: 8_000,
        };
        let batch = Batch {
            buckets: vec![Booked {
                account: 0,
                position: 0,
                granted: 8_000,
                purse: None,
            }],
            entries: vec![Entry {
                kind: "grant".to_owned(),
                subscriber: "ann".to_owned(),
                id: Some(id.to_owned()),
                reason: None,
                what,
            }],
            ..Batch::default()
        };
        ledger.settle(Some((&order, &8_000_u64)), &batch, at(50))
    }

    fn schedule(&mut self) -> Result<()> {
        let (ledger, ..) = self.ledger()?;
        if ledger.scheduled()?.is_empty() {
            let planned = Planned {
                subscriber: "ann".to_owned(),
                step: Step::Suspend,
                reason: None,
            };
            ledger.schedule(at(1_000), &planned)?;
        }
        Ok(())
    }

    fn outage(&mut self) -> Result<()> {
        let (ledger, ..) = self.ledger()?;
        let entry = Entry {
            kind: "outage".to_owned(),
            subscriber: String::new(),
            id: Some("out-1".to_owned()),
            reason: None,
            what: What::Outage(Box::new(Outage {
                scope: Scope::Node,
                subscribers: Vec::new(),
                from: at(1),
                to: at(2),
                cause: "power".to_owned(),
                fault: Whose::Operator,
            })),
        };
        let noted = ledger.note("out-1", &entry, at(55))?;
        assert!(matches!(noted, Noted::As(_)), "{noted:?}");
        Ok(())
    }

    fn roll_up(&mut self) -> Result<()> {
        let (ledger, ..) = self.ledger()?;
        while let Some(gathered) = ledger.gather(&TimeZone::UTC)? {
            ledger.roll_up(&gathered)?;
        }
        Ok(())
    }

    fn has_left(&mut self, id: &str) -> Result<bool> {
        let sessions = self.ledger()?.0.sessions_of(id)?;
        let last = sessions.iter().rfind(|session| session.epoch == 7);
        Ok(last.is_some_and(|session| session.end.is_some()))
    }

    /// All of it, a step at a time; each may be done again when it failed, and then does what is left of it.
    pub(crate) fn step(&mut self, world: &World, number: usize) -> Result<bool> {
        let cut = |line, id, seconds, bytes| world.cut(line, id, seconds, bytes);
        let bob_leaves = || Cut {
            cause: Cause::Leave,
            ends: Some(End {
                layout: 0,
                next_line: None,
            }),
            ..cut(6, "bob", 30, 250)
        };
        match number {
            0 => self.ledger().map(drop)?,
            1 => self.begin_epoch(7, at(0))?,
            2 => self.change(world, 0)?,
            3 => self.record(&[cut(5, "ann", 10, 100), cut(6, "bob", 10, 200)], None)?,
            4 => self.order("pay-1")?,
            5 => self.record(&[cut(5, "ann", 20, 150)], Some(at(20)))?,
            6 => self.roll_up()?,
            7 => self.change(world, 1)?,
            8 => self.ledger()?.0.put_drawn(&[(0, 0, 300)])?,
            9 => self.ledger()?.0.told()?,
            10 => self.schedule()?,
            11 => self.outage()?,
            // What is known to have ended has nothing left to be written.
            12 if self.has_left("bob")? => {}
            12 => self.record(&[bob_leaves()], Some(at(40)))?,
            13 => self.begin_epoch(8, at(60))?,
            14 => self.record(&[cut(5, "ann", 70, 30)], Some(at(70)))?,
            15 => self.roll_up()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
