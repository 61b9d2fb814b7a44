//! An hour, or any time, in the life of a gateway: steady traffic, and everything that happens to one. Again and again
//! the traffic rests for a moment, and the wires, the counters, the records, the files and the tables are held against
//! each other: not one byte may be more or less anywhere.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::deeds::Deeds;
use super::life::Life;
use super::sums::{Files, Ledger, of_tables};
use super::traffic::Traffic;
use crate::agent::Agent;
use crate::bill::Flow;
use crate::interrupt;
use crate::numbers::grouped;
use crate::postgres::Postgres;
use crate::records::{check_records, check_statements};
use crate::sinks::{files, postgres};
use crate::topology::Lab;
use crate::town;
use crate::wait::within;
use crate::wires::Wires;

const NODE: &str = "soak";
/// What may be logged as an error: the server has been away.
const AWAY: &str = "records cannot be brought; they stay in the ledger";
/// How long records may take to be everywhere: who brings them waits longer each time nobody answers.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of so many periods ...
const ROUND: u32 = 20;
/// ... so many have kills in them: memory is looked at in the others.
const WITH_KILLS: u32 = 5;

/// How long it takes.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Time between two moments of rest.
    pub period: Duration,
    /// How many there are.
    pub periods: u32,
}

struct Soak {
    lab: Lab,
    server: Postgres,
    place: TempDir,
    agent: Agent,
    wires: Wires,
    ledger: Ledger,
    files: Files,
    life: Life,
    deeds: Deeds,
}

/// Runs it, and says a line at every rest.
///
/// # Errors
/// With the first difference, of whatever size; with whatever the agent says is wrong; and if it grows.
pub fn run(course: Course, mut say: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut soak = Soak::new()?;
    let traffic = Traffic::start(&soak.lab);
    let begun = Instant::now();
    for period in 1..=course.periods {
        let kills = (period - 1) % ROUND < WITH_KILLS;
        let end = begun + course.period * period;
        loop {
            interrupt::check()?;
            if traffic.has_failed() {
                traffic.stop().context("traffic")?;
                anyhow::bail!("a sender has ended by itself");
            }
            soak.deeds.one(&mut soak.agent, &mut soak.server, kills)?;
            if Instant::now() >= end {
                break;
            }
        }
        let found = traffic.at_rest(|| soak.compare())?;
        let seconds = begun.elapsed().as_secs();
        say(&format!(
            "{:>3}:{:02}  {found}; {}",
            seconds / 60,
            seconds % 60,
            soak.deeds.done
        ))?;
    }
    traffic.stop().context("traffic")?;
    soak.close(&mut say)
}

impl Soak {
    fn new() -> Result<Self> {
        let lab = town::lab().subscriber("crowd", &["10.3.0.1/24"]).build()?;
        let server = Postgres::start(&lab.gateway)?;
        let place = tempfile::tempdir()?;
        let directory = place.path().join("records");
        let agent = town::agent(&lab)
            .hears_sigterm()
            .node(NODE)
            .setting("watch = false")
            .section("[records]\ninterval = \"2s\"\ncheckpoint = \"200ms\"")
            .section("[events]\nkeep = 500")
            .section(&format!(
                "[[sink]]\nkind = \"files\"\ndirectory = \"{}\"\nevery = \"4s\"",
                directory.display()
            ))
            .section(&format!(
                "[[sink]]\nkind = \"postgres\"\nurl = \"{}\"",
                server.url()
            ))
            .start()?;
        Ok(Self {
            wires: Wires::read(&lab)?,
            lab,
            server,
            place,
            agent,
            ledger: Ledger::default(),
            files: Files::new(&directory),
            life: Life::default(),
            deeds: Deeds::new(),
        })
    }

    /// Holds everything against everything else; what was found, in words.
    fn compare(&mut self) -> Result<String> {
        self.lab.settle()?;
        let wires = self.wires.taken_in(&self.lab)?;
        let bill = self.agent.bill()?;
        let counted = bill.sum(|_| true);
        let unknown = bill.unattributed.values();
        let unknown = unknown.fold(Flow::default(), |sum, flow| sum + *flow);
        ensure!(
            counted + unknown == wires,
            "on the wires {wires:?}; of subscribers {counted:?}, of others {unknown:?}"
        );
        let books = bill.total();
        ensure!(bill.closes(), "books do not close: {:#?}", bill.books);
        ensure!(
            books.ip_bytes == wires.up.bytes + wires.down.bytes,
            "on the wires {wires:?}, in the books {books:?}"
        );
        within(PATIENCE, "records are everywhere", || {
            self.ledger.read_on(&self.agent)?;
            self.files.read_on()?;
            let tables = of_tables(&self.server, NODE)?;
            let ledger = &self.ledger;
            Ok(ledger.usage == counted && self.files.sums == ledger.sums && tables == ledger.sums)
        })
        .with_context(|| {
            format!(
                "counted {counted:?}; recorded {:?}, {:?}; in files {:?}; in tables {:?}",
                self.ledger.usage,
                self.ledger.sums,
                self.files.sums,
                of_tables(&self.server, NODE)
            )
        })?;
        within(PATIENCE, "status says that all is well", || {
            Ok(self.agent.ask(&["status"]).is_ok())
        })
        .with_context(|| format!("{:?}", self.agent.status()))?;
        self.check_log()?;
        let (memory, growth) = self.life.look(&self.agent)?;
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let growth = growth.map_or_else(String::new, |growth| {
            format!(" ({:+.1} since it has all it needs)", mib(growth as f64))
        });
        Ok(format!(
            "{} packets, {} bytes on the wires = counted ({} of nobody) = {} records + 0 not recorded = files = \
             PostgreSQL; books differ by {}; the agent has {:.1} MiB{growth}",
            grouped(wires.up.packets + wires.down.packets),
            grouped(wires.up.bytes + wires.down.bytes),
            grouped(unknown.up.bytes + unknown.down.bytes),
            grouped(self.ledger.sums.records),
            books.difference_bytes,
            mib(memory as f64),
        ))
    }

    /// Nothing is logged as an error but that the server was away.
    fn check_log(&self) -> Result<()> {
        let log = self.agent.log();
        let bad = |line: &&str| {
            (line.contains("ERROR") && !line.contains(AWAY)) || line.contains("panicked")
        };
        match log.lines().find(bad) {
            Some(line) => anyhow::bail!("in the log: {line}"),
            None => Ok(()),
        }
    }

    /// At the end every record is looked at, everywhere, and nothing is left of it all.
    fn close(mut self, say: &mut impl FnMut(&str) -> Result<()>) -> Result<()> {
        self.compare()?;
        let town = ["alice", "bob"];
        check_statements(&self.agent, &town)?;
        self.agent.sigterm()?;
        self.agent.start()?;
        let usage = check_records(&self.agent, &town)?.len();
        let in_files = files::check(&self.agent, &self.place.path().join("records"))?;
        let in_tables = postgres::check(&self.server, &self.agent, NODE)?;
        self.agent.sigterm()?;
        self.agent.purge()?;
        ensure!(
            self.lab.xdp_programs()? == 0 && self.agent.maps_dir().is_none(),
            "programs or maps are left"
        );
        say(&format!(
            "every record looked at: {} of usage, {} in files, {} in PostgreSQL, none other than in the ledger",
            grouped(usage as i128),
            grouped(in_files as i128),
            grouped(in_tables as i128)
        ))
    }
}
