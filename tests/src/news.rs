//! What `zerorate events` tells, read while it comes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::agent::Agent;
use crate::wait::until;

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
    anyhow::ensure!(last == expected, "{last:?} and not {expected:?}");
    Ok(())
}
