//! The stage: namespaces, the agent on the gateway, and one deed of a subscriber after the other,
//! each with the accounts it was put on.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use zerorate_tests::agent::Agent;
use zerorate_tests::ping::ping;
use zerorate_tests::traffic::{Transfer, tcp, udp};

use crate::figures::{Change, Figures, Gauge};
use crate::screen::{Columns, Screen, grouped};
use crate::world::{CUSTOMERS, Family, World};
use zerorate_tests::interrupt;

const DEEDS: Columns<7> = Columns {
    widths: [22, 10, 15, 16, 12, 11, 13],
    numbers: 2,
};

/// Everything there is. The agent goes first when it is dropped, then what it runs in.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) agent: Agent,
    pub(crate) world: World,
    pub(crate) screen: Screen,
    gauge: Gauge,
    /// At the end of the latest deed.
    pub(crate) figures: Figures,
    /// How much of the agent's log has been shown, in bytes.
    log_shown: usize,
    /// What was not as it should be.
    pub(crate) wrong: Vec<String>,
}

/// Something a subscriber does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// Echo requests, each and its reply of so many bytes of IP.
    Icmp { echoes: u16, bytes: usize },
    /// Datagrams up, of so many bytes of IP.
    Udp { datagrams: usize, bytes: usize },
    /// A connection that moves so many bytes of payload.
    Tcp { up: u64, down: u64 },
}

impl Stage {
    /// Makes the namespaces and starts the agent on the gateway.
    pub(crate) fn set_up() -> Result<Self> {
        let mut screen = Screen::new();
        crate::scenes::opening(&mut screen)?;
        let world = World::build()?;
        interrupt::check()?;
        let mut builder = Agent::builder(&world.lab.gateway)
            .node("gw-demo")
            .policy_directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/policy"))
            .subscribers(&subscriber_lines()?);
        for access in &world.lab.access {
            builder = builder.interface(&access.far.name, "access", "");
        }
        let agent = builder
            .interface(&world.lab.core.near.name, "core", "")
            .start()?;
        let gauge = Gauge::start(&world.lab)?;
        Ok(Self {
            agent,
            world,
            screen,
            gauge,
            figures: Figures::default(),
            log_shown: 0,
            wrong: Vec::new(),
        })
    }

    /// Takes everything down but the screen.
    pub(crate) fn strike(self) -> Screen {
        self.screen
    }

    /// The heads above some deeds.
    pub(crate) fn heads(&self) -> Result<()> {
        let heads = [
            "traffic",
            "class",
            "remote",
            "arrived",
            "charged to",
            "IP bytes up",
            "IP bytes down",
        ];
        self.screen.gap()?;
        self.screen.stress(&DEEDS.line(&heads))
    }

    /// Does something with a remote, and shows where its bytes were put: on the accounts in
    /// `charged`, or something is wrong.
    pub(crate) fn act(
        &mut self,
        who: &str,
        deed: Deed,
        class: &str,
        family: Family,
        charged: &[&str],
    ) -> Result<()> {
        let from = family.of(self.world.subscriber(who));
        let to = self.world.remote(class)?.end(family).clone();
        let header = if family == Family::V4 { 20 } else { 40 };
        let (what, arrived, complete) = match deed {
            Deed::Icmp { echoes, bytes } => {
                let answered = ping(&from, &to, echoes, bytes - header - 8)?;
                let what = format!("ICMP {echoes} × {bytes} bytes");
                let arrived = format!("{answered} answers");
                (what, arrived, answered == usize::from(echoes))
            }
            Deed::Udp { datagrams, bytes } => {
                let arrived = udp(&from, &to, datagrams, bytes - header - 8)?;
                let what = format!("UDP {datagrams} × {} bytes", grouped(bytes as u64));
                (what, format!("{arrived} datagrams"), arrived == datagrams)
            }
            Deed::Tcp { up, down } => {
                let moved = tcp(&from, &to, up, down)?;
                let what = match (up, down) {
                    (_, 0) => "TCP upload",
                    (0, _) => "TCP download",
                    _ => "TCP both ways",
                };
                let complete = moved == Transfer { up, down };
                let arrived = grouped(moved.up + moved.down);
                (what.to_owned(), format!("{arrived} bytes"), complete)
            }
        };
        let mut change = self.measure()?;
        // In the order of the charge chain.
        change.accounts.sort_by_key(|(account, _)| {
            charged
                .iter()
                .position(|&charged| charged == account.charged)
        });
        let remote = to.address.to_string();
        self.show(&[&what, class, &remote, &arrived], &change)?;
        let accounts = change.accounts.iter().map(|(account, _)| account);
        let found: Vec<&str> = accounts.clone().map(|a| a.charged.as_str()).collect();
        if !complete || found != charged || accounts.clone().any(|a| a.class != class) {
            let expected = charged.join(", ");
            self.wrong.push(format!(
                "{who}: {what} to {remote}: {arrived} arrived, charged to {}, expected: all, {expected}",
                found.join(", "),
            ));
        }
        Ok(())
    }

    /// Shows a deed and the accounts that have grown by it.
    pub(crate) fn show(&self, deed: &[&str; 4], change: &Change) -> Result<()> {
        for (line, (account, traffic)) in change.accounts.iter().enumerate() {
            let [what, class, remote, arrived] = if line == 0 { *deed } else { [""; 4] };
            let (up, down) = (grouped(traffic.bytes_up), grouped(traffic.bytes_down));
            let charged = &account.charged;
            self.screen
                .say(&DEEDS.line(&[what, class, remote, arrived, charged, &up, &down]))?;
        }
        Ok(())
    }

    /// What came to pass since it was last asked, once all wires have fallen silent. If as much was
    /// not counted as was sent, something is wrong.
    pub(crate) fn measure(&mut self) -> Result<Change> {
        interrupt::check()?;
        let now = self.gauge.read(&self.world.lab, &self.agent)?;
        let change = now.since(&self.figures);
        self.figures = now;
        let (sent, counted) = (change.sent, change.counted());
        if sent != counted {
            self.wrong
                .push(format!("sent {sent:?}, counted {counted:?}"));
        }
        Ok(change)
    }

    /// Says what was sent in a scene, and what was counted in it.
    pub(crate) fn compare(&self, before: &Figures) -> Result<()> {
        let change = self.figures.since(before);
        let (sent, counted) = (change.sent, change.counted());
        self.screen.gap()?;
        for (direction, sent, counted) in [
            ("up", sent.bytes_up, counted.bytes_up),
            ("down", sent.bytes_down, counted.bytes_down),
        ] {
            self.screen.say(&format!(
                "{direction:<5} {:>12} bytes sent by the senders' interfaces, {:>12} on accounts: difference {}",
                grouped(sent),
                grouped(counted),
                grouped(sent.abs_diff(counted)),
            ))?;
        }
        Ok(())
    }

    /// Lets time pass.
    pub(crate) fn wait(&self, time: Duration) -> Result<()> {
        const STEP: Duration = Duration::from_millis(50);
        let started = Instant::now();
        while started.elapsed() < time {
            interrupt::check()?;
            sleep(STEP);
        }
        Ok(())
    }

    /// Waits until the agent's log says something it has not said yet, and returns the new lines up
    /// to there.
    pub(crate) fn wait_for_log(&mut self, text: &str) -> Result<String> {
        const PATIENCE: Duration = Duration::from_secs(15);
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let lines = self.new_log();
            if lines.contains(text) {
                return Ok(lines);
            }
            self.wait(Duration::from_millis(20))?;
        }
        bail!("the agent does not log `{text}`:\n{}", self.agent.log())
    }

    fn new_log(&self) -> String {
        self.agent.log().split_off(self.log_shown)
    }

    /// From now on the log is new.
    pub(crate) fn skip_log(&mut self) {
        self.log_shown = self.agent.log().len();
    }

    /// Shows those lines of the agent's log that have one of the phrases, without their date.
    pub(crate) fn show_log(&self, lines: &str, phrases: &[&str]) -> Result<()> {
        for line in lines.lines() {
            if phrases.iter().any(|phrase| line.contains(phrase)) {
                let without_date = line.split_once('T').map_or(line, |(_, rest)| rest);
                self.screen.quote(without_date)?;
            }
        }
        Ok(())
    }
}

/// The subscriber file: prefixes instead of addresses in them.
fn subscriber_lines() -> Result<String> {
    let mut lines = String::new();
    for customer in &CUSTOMERS {
        let [v4, v6] = customer.prefixes()?;
        let (id, plan, state) = (customer.id, customer.plan, customer.state);
        lines.push_str(&format!("{id},{plan},{state},{v4} {v6}\n"));
    }
    Ok(lines)
}
