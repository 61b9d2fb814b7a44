//! What an agent says of the one feed of a test's policy.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::agent::Agent;

/// What `status` says, also where it says that something is wrong.
///
/// # Errors
/// When the agent does not answer.
pub fn status(agent: &Agent) -> Result<Value> {
    let mut command = agent.command(&["status", "--format", "json", "--socket"]);
    let output = command.arg(agent.socket()).output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// How the one feed does; null before it was first looked at.
///
/// # Errors
/// When the agent does not answer, or has none.
pub fn feed(agent: &Agent) -> Result<Value> {
    let status = status(agent)?;
    let feeds = status["feeds"].as_array().context("no feeds")?;
    Ok(feeds.first().cloned().unwrap_or_default())
}

/// The list it makes, `chats.txt`.
///
/// # Errors
/// When there is none.
pub fn list(agent: &Agent) -> Result<String> {
    Ok(fs::read_to_string(agent.policy_dir().join("chats.txt"))?)
}

/// Whether `status` says that nothing is amiss.
///
/// # Errors
/// When it cannot be asked.
pub fn in_order(agent: &Agent) -> Result<bool> {
    let mut command = agent.command(&["status"]);
    let output = command.arg("--socket").arg(agent.socket()).output()?;
    Ok(output.status.success())
}
