//! The server that records are brought to is away for a day: so long that most of what it misses leaves the database for
//! sealed files. Meanwhile neither the database nor the agent grows, and the metrics say how far behind it is; when it is
//! back, the tables come to be what the ledger is. The hours pass by the agent's clock, a second or so each.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::sums::{Ledger, Sums, of_tables};
use crate::agent::Agent;
use crate::api;
use crate::clock::Clock;
use crate::frames::{Frame, Ipv4};
use crate::memory::Memory;
use crate::postgres::Postgres;
use crate::raw::send_frames;
use crate::records::ledger;
use crate::sinks::postgres::{rows, same};
use crate::town::{self, POLICY};
use crate::veth::Veth;
use crate::wait::within;

/// Those with traffic, a record each at every interval.
pub const SUBSCRIBERS: usize = 600;
/// Hours it is away.
pub const HOURS: usize = 24;
/// When what stays is there: the first files are sealed, and pages they left are used again.
const GROWN_UP: usize = 12;
const NODE: &str = "away";
/// How long it may take to make up for a day.
const PATIENCE: Duration = Duration::from_secs(300);
const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// What does not grow while it is away, in bytes.
#[derive(Clone, Copy, Debug)]
struct Size {
    database: u64,
    memory: u64,
}

impl Size {
    fn of(agent: &Agent) -> Result<Self> {
        Ok(Self {
            database: fs::metadata(agent.ledger())?.len(),
            memory: Memory::of(agent.id().context("the agent has ended")?)?.own,
        })
    }

    fn check(self, later: Self) -> Result<()> {
        // Its log comes into the file every now and then, a megabyte or so at once.
        ensure!(
            later.database <= self.database * 3 / 2 + (1 << 20),
            "the database grew from {self:?} to {later:?}"
        );
        ensure!(
            later.memory <= self.memory + self.memory / 5 + (8 << 20),
            "the agent grew from {self:?} to {later:?}"
        );
        Ok(())
    }
}

/// Has so many intervals of everybody's usage pass in each of the hours; how many records that came to. `each` is called after
/// every hour with its number.
///
/// # Errors
/// If the tables are not the ledger in the end, something grows, or the metrics say something else than what is; and with
/// those of `each`.
pub fn run(intervals: usize, mut each: impl FnMut(usize) -> Result<()>) -> Result<u64> {
    let clock = Clock::new()?;
    let lab = town::lab().build()?;
    lab.gateway.set("ipv4/ip_forward", "0")?;
    let wire = &lab.subscriber("alice").wire;
    let mut server = Postgres::start(&lab.gateway)?;
    let lines = (0..SUBSCRIBERS).map(|one| format!("s{one},open,active,{}", ip(one)));
    let mut agent = town::agent(&lab)
        .hears_sigterm()
        .node(NODE)
        .policy(&format!("{POLICY}\n[plans.open.charge]\n\"*\" = \"metered\"\n"))
        .subscribers(&lines.collect::<Vec<_>>().join("\n"))
        .setting("watch = false")
        .section("[records]\ninterval = \"100ms\"\ncheckpoint = \"100ms\"\noriginals = \"60s\"\nretention = \"2 years\"")
        .section(&format!(
            "[[sink]]\nkind = \"postgres\"\nurl = \"{}\"",
            server.url()
        ))
        .through(&clock.through())
        .start()?;
    let mut told = Ledger::default();
    let mut sent = 0;
    // It was there before.
    burst(wire, &agent, &mut told, &mut sent)?;
    all_brought(&server, &agent, &mut told)?;
    let there = told.sums.last();
    server.down()?;
    let mut grown_up = None;
    for hour in 1..=HOURS {
        clock.set(&format!("+{}", hour * 3600))?;
        for _ in 0..intervals {
            burst(wire, &agent, &mut told, &mut sent)?;
        }
        if hour == GROWN_UP {
            sealed(&agent, 1)?;
            grown_up = Some(Size::of(&agent)?);
            let waits = told.sums.last() - there;
            lag(&agent, waits, (GROWN_UP - 1) as f64 * 3600.0, 1.0)?;
        }
        if hour == HOURS / 4 * 3 {
            // Whoever takes over while it is away does not know what it has, and takes it that it has nothing.
            agent.kill9()?;
            agent.start()?;
        }
        each(hour)?;
    }
    grown_up.context("no hours")?.check(Size::of(&agent)?)?;
    // Whatever is of the first twenty hours is in files: only what is there is brought from the database.
    sealed(&agent, told.sums.last() * 3 / 4)?;
    lag(&agent, told.sums.last(), (HOURS - 1) as f64 * 3600.0, 1.0)?;
    server.up()?;
    all_brought(&server, &agent, &mut told)?;
    lag(&agent, 0, 0.0, 0.0)?;
    let records = told.sums.records;
    let (tables, kept) = (rows(&server, NODE)?, ledger(&agent)?);
    ensure!(tables.len() == kept.len(), "{} rows", tables.len());
    for (seq, record) in &kept {
        let row = tables.get(seq).with_context(|| format!("no row {seq}"))?;
        ensure!(same(row, record), "not the same:\n{row}\n{record}");
    }
    let usage = told.usage.up;
    ensure!(
        (usage.packets, usage.bytes) == (sent, sent * 128),
        "{sent} packets were sent, and recorded are {usage:?}"
    );
    let file = agent.ledger().display().to_string();
    let verified = agent
        .command(&["ledger", "verify", "--ledger", &file])
        .output()?;
    ensure!(verified.status.success(), "{verified:?}");
    agent.sigterm()?;
    Ok(records)
}

fn ip(one: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 2, 0, 0).to_bits() + one as u32)
}

/// A packet of everybody, and its record.
fn burst(wire: &Veth, agent: &Agent, told: &mut Ledger, sent: &mut u64) -> Result<()> {
    let frames = (0..SUBSCRIBERS).map(|one| {
        let frame = Frame::new(Ipv4::new(ip(one), REMOTE).udp(1000, 9, &[0; 100]));
        frame.stations(wire.near.mac, wire.far.mac).build()
    });
    send_frames(&wire.near, &frames.collect::<Vec<_>>())?;
    *sent += SUBSCRIBERS as u64;
    within(PATIENCE, "it is recorded", || {
        told.read_on(agent)?;
        Ok(told.usage.up.packets == *sent)
    })
}

/// Waits until so many records at least are in sealed files, and not in the database any more.
fn sealed(agent: &Agent, least: u64) -> Result<()> {
    let file = agent.ledger().display().to_string();
    let mut found = String::new();
    within(PATIENCE, "records are sealed", || {
        let arguments = ["ledger", "verify", "--format", "json", "--ledger", &file];
        let output = agent.command(&arguments).output()?;
        found = String::from_utf8_lossy(&output.stdout).into_owned();
        let found: serde_json::Value = serde_json::from_str(&found).context("no JSON")?;
        Ok(found["sealed_records"].as_u64() >= Some(least))
    })
    .with_context(|| format!("at least {least}: {found}"))
}

/// Waits until the tables add up to the ledger.
fn all_brought(server: &Postgres, agent: &Agent, told: &mut Ledger) -> Result<()> {
    let mut tables = Sums::default();
    within(PATIENCE, "the tables are the ledger", || {
        told.read_on(agent)?;
        tables = of_tables(server, NODE).unwrap_or_default();
        Ok(tables == told.sums)
    })
    .with_context(|| format!("{tables:?}, and in the ledger {:?}", told.sums))
}

/// Waits until the metrics say that so many records wait, the oldest for so many seconds at least, and whether something
/// is in the way.
fn lag(agent: &Agent, records: u64, seconds: f64, failing: f64) -> Result<()> {
    let mut said = String::new();
    within(PATIENCE, "metrics say how far it is", || {
        said = api::ask::<&str>(agent, "/metrics", &[])?.text();
        let value = |name: &str| -> Result<f64> {
            let name = format!("zerorate_sink_{name}{{");
            let line = said.lines().find(|line| line.starts_with(&name));
            let line = line.with_context(|| format!("no {name}"))?;
            Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
        };
        let lag = value("lag_seconds")?;
        Ok(value("lag_records")? == records as f64
            && (if seconds == 0.0 {
                lag == 0.0
            } else {
                lag >= seconds && lag < seconds + 7200.0
            })
            && value("failing")? == failing)
    })
    .with_context(|| {
        let of_sinks = said.lines().filter(|line| line.contains("zerorate_sink"));
        format!(
            "{records} records, {seconds} s: {:?}",
            of_sinks.collect::<Vec<_>>()
        )
    })
}
