//! What `zerorate events` tells, read while it comes; and traffic that gives it something to tell.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::frames::{Frame, Ipv4};
use crate::raw::send_frames;
use crate::topology::Lab;
use crate::town;
use crate::traffic::{on_every_cpu, udp};
use crate::wait::until;

/// Bytes of data that make an IP packet of 1,000 bytes.
pub const DATA: usize = 972;
/// What a subscriber on `small` that [`flood`]s is told of.
pub const FOUR_EVENTS: [&str; 4] = [
    "class_first_used internet",
    "low main",
    "empty main",
    "blocked internet",
];

/// How long an event may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `zerorate events --follow`.
#[derive(Debug)]
pub struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    /// Starts it with further arguments.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(agent: &Agent, arguments: &[&str]) -> Result<Self> {
        let mut child = agent
            .command(&["events", "--follow"])
            .args(arguments)
            .arg("--socket")
            .arg(agent.socket())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let out: ChildStdout = child.stdout.take().context("no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// The next line it prints.
    ///
    /// # Errors
    /// If none comes.
    pub fn line(&self) -> Result<String> {
        self.lines.recv_timeout(PATIENCE).context("no line came")
    }

    /// The next event, with `--format json`.
    ///
    /// # Errors
    /// If none comes.
    pub fn event(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.line()?)?)
    }

    /// Waits until it ends by itself; says how, and what it said on the way.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn ended(mut self) -> Result<(Option<i32>, String)> {
        until("the follower ends", || Ok(self.child.try_wait()?.is_some()))?;
        let status = self.child.wait()?;
        let errors = self.child.stderr.take().context("no errors")?;
        Ok((status.code(), std::io::read_to_string(errors)?))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an event is about, in a word: `low main`, `blocked internet`.
#[must_use]
pub fn told(event: &Value) -> String {
    let of = ["bucket", "class"].map(|key| event[key].as_str());
    let of = of.into_iter().flatten().next().unwrap_or("nothing");
    format!("{} {of}", event["event"].as_str().unwrap_or("none"))
}

/// What the agent has told of a subscriber, oldest first.
///
/// # Errors
/// If it does not answer.
pub fn of(agent: &Agent, subscriber: &str) -> Result<Vec<String>> {
    let events = agent.ask_json(&["events", "--subscriber", subscriber])?;
    Ok(events.iter().map(told).collect())
}

/// Waits until the agent has told so much of a subscriber, and sees that it is this.
///
/// # Errors
/// If it does not come to it.
pub fn expect(agent: &Agent, subscriber: &str, expected: &[&str]) -> Result<()> {
    let mut last = Vec::new();
    until(&format!("{expected:?}"), || {
        last = of(agent, subscriber)?;
        Ok(last.len() >= expected.len())
    })
    .with_context(|| format!("{:?}", of(agent, subscriber)))?;
    ensure!(last == expected, "{last:?} and not {expected:?}");
    Ok(())
}

/// Sends so many packets of 1,000 bytes from each CPU at once, whatever becomes of them.
///
/// # Errors
/// If a socket cannot be opened or refuses to send.
pub fn flood(lab: &Lab, from: &str, each: usize) -> Result<()> {
    let (from, to) = (lab.subscriber(from).v4(), lab.remote(town::INTERNET));
    on_every_cpu(|_| {
        (0..3)
            .map(|_| udp(&from, &to, each / 3, DATA))
            .sum::<Result<usize>>()
    })?;
    lab.settle()
}

/// A lab with so many subscribers in one place, `c0` and on, each of whom has one address; and their lines of the subscriber file.
///
/// # Errors
/// As those of a lab.
pub fn crowd(subscribers: usize) -> Result<(Lab, String)> {
    let lab = town::lab().subscriber("crowd", &["10.3.0.1/16"]).build()?;
    let mut list = String::new();
    for n in 0..subscribers {
        writeln!(list, "c{n},basic,active,{}", address(n))?;
    }
    Ok((lab, list))
}

fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a03_0000 + n as u32 + 2)
}

/// Sends a packet from each of the crowd, to an address nobody answers from.
///
/// # Errors
/// If they do not get onto the wire.
pub fn everybody_says_something(lab: &Lab, subscribers: usize) -> Result<()> {
    let wire = &lab.subscriber("crowd").wire;
    let silent = lab.remote(town::GOVERNMENT);
    let Ok(remote) = silent.address.to_string().parse::<Ipv4Addr>() else {
        bail!("no IPv4 address");
    };
    // Not to be answered by "port unreachable", either.
    lab.remote.nft(
        "table inet silent {\nchain in {\ntype filter hook input priority 0\nudp dport 9 drop\n}\n}",
    )?;
    let frames: Vec<_> = (0..subscribers)
        .map(|n| {
            let packet = Ipv4::new(address(n), remote).udp(9, 9, b"hello");
            Frame::new(packet)
                .stations(wire.near.mac, wire.far.mac)
                .build()
        })
        .collect();
    send_frames(&wire.near, &frames)?;
    lab.settle()
}
