//! The command line: one file a command.

pub mod agent;
pub mod api;
pub mod bucket;
pub mod bundle;
pub mod check;
pub mod completion;
pub mod detach;
pub mod diff;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod import;
pub mod ledger;
pub mod man;
pub mod new;
pub mod policy;
mod progress;
pub mod publish;
pub mod reconcile;
pub mod record;
pub mod records;
pub mod replay;
pub mod run;
pub mod schema;
pub mod statement;
pub mod status;
pub mod subscriber;
pub mod top;
pub mod usage;

use std::process::ExitCode;
use std::thread::ScopedJoinHandle;

use clap::{Parser, Subcommand};

/// Packet-level zero-rating for Linux gateways: who pays for each packet, decided in the kernel.
#[derive(Debug, Parser)]
#[command(name = "zerorate", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Explain(explain::Args),
    Diff(diff::Args),
    Import(import::Args),
    Replay(replay::Args),
    Status(status::Args),
    Top(top::Args),
    Usage(usage::Args),
    Statement(statement::Args),
    Subscriber(subscriber::Args),
    Bucket(bucket::Args),
    Record(record::Args),
    Reconcile(reconcile::Args),
    Ledger(ledger::Args),
    Events(events::Args),
    Api(api::Args),
    Policy(policy::Args),
    Bundle(bundle::Args),
    Publish(publish::Args),
    Detach(detach::Args),
    Doctor(doctor::Args),
    New(new::Args),
    Schema(schema::Args),
    Completion(completion::Args),
    Man(man::Args),
}

/// What a thread came to; its panic is ours.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// Whatever the command could not do.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(args) => run::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::Diff(args) => diff::run(&args),
            Command::Import(args) => import::run(&args),
            Command::Replay(args) => replay::run(&args),
            Command::Status(args) => status::run(&args),
            Command::Top(args) => top::run(&args),
            Command::Usage(args) => usage::run(&args),
            Command::Statement(args) => statement::run(&args),
            Command::Subscriber(args) => subscriber::run(&args),
            Command::Bucket(args) => bucket::run(&args),
            Command::Record(args) => record::run(&args),
            Command::Reconcile(args) => reconcile::run(&args),
            Command::Ledger(args) => ledger::run(&args),
            Command::Events(args) => events::run(&args),
            Command::Api(args) => api::run(&args),
            Command::Policy(args) => policy::run(&args),
            Command::Bundle(args) => bundle::run(&args),
            Command::Publish(args) => publish::run(&args),
            Command::Detach(args) => detach::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::New(args) => new::run(&args),
            Command::Schema(args) => schema::run(&args),
            Command::Completion(args) => completion::run(&args),
            Command::Man(args) => man::run(&args),
        }
    }
}
