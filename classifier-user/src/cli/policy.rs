//! `zerorate policy`: the running agent's policy, the versions there were, and those that are to come.

mod past;
mod versions;

use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;

use super::agent::Socket;
use crate::agent::reload::Reloaded;
use crate::api::client::{ask, escape};

/// The policy of the running agent.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads policy and subscribers again. All or nothing: with an error what is in force stays in force.
    Reload(Reload),
    /// Says what a reload would change, and what would become of subscribers' buckets, and changes nothing. Exits with 1 if the
    /// reload would be refused.
    Diff(Socket),
    Stage(versions::Stage),
    Activate(versions::Activate),
    Rollback(versions::Rollback),
    Unschedule(versions::Unschedule),
    History(past::History),
    Show(past::Show),
    Audit(past::Audit),
}

#[derive(Debug, clap::Args)]
struct Reload {
    #[command(flatten)]
    socket: Socket,
    /// Put the policy in force although it changes more than its guards (`max_change`, `min_prefixes`) allow, or a list
    /// looks cut short
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why; kept in the log
    #[arg(long, value_name = "TEXT", requires = "force")]
    reason: Option<String>,
}

impl Reload {
    fn path(&self) -> String {
        let path = "/v1/policy/reload";
        match &self.reason {
            Some(reason) => format!("{path}?force=true&reason={}", escape(reason)),
            None => path.to_owned(),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When the agent does not answer, or refuses the policy.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (socket, method, path) = match &args.command {
        Command::Reload(reload) => (&reload.socket, Method::POST, reload.path()),
        Command::Diff(socket) => (socket, Method::GET, "/v1/policy/diff".to_owned()),
        Command::Stage(stage) => return stage.run(),
        Command::Activate(activate) => return activate.run(),
        Command::Rollback(rollback) => return rollback.run(),
        Command::Unschedule(unschedule) => return unschedule.run(),
        Command::History(history) => return history.run(),
        Command::Show(show) => return show.run(),
        Command::Audit(audit) => return audit.run(),
    };
    let reloaded: Reloaded = ask(&socket.socket, method, &path)?;
    let (what, code) = match args.command {
        Command::Diff(_) if !reloaded.guarded.is_empty() => (
            "a reload is refused; with --force --reason TEXT it would put in force",
            ExitCode::FAILURE,
        ),
        Command::Diff(_) => ("a reload would put in force", ExitCode::SUCCESS),
        _ => ("in force", ExitCode::SUCCESS),
    };
    tell(&reloaded, what);
    Ok(code)
}

/// Says what a change did, or would do.
fn tell(reloaded: &Reloaded, what: &str) {
    for warning in &reloaded.warnings {
        eprintln!("{warning}");
    }
    for line in &reloaded.guarded {
        match &reloaded.forced {
            Some(reason) => eprintln!("forced ({reason}): {line}"),
            None => eprintln!("refused without --force: {line}"),
        }
    }
    if reloaded.changed {
        println!("{what}: version {}", reloaded.policy_version);
    } else {
        println!(
            "nothing changed: version {} stays in force",
            reloaded.policy_version
        );
    }
    for line in &reloaded.policy {
        println!("  {line}");
    }
    let subscribers = &reloaded.subscribers;
    if !subscribers.is_empty() {
        println!(
            "  subscribers: {} added, {} removed, {} with other addresses, {} with another plan, {} suspended or \
             resumed",
            subscribers.added,
            subscribers.removed,
            subscribers.readdressed,
            subscribers.replanned,
            subscribers.state_changed
        );
    }
}
