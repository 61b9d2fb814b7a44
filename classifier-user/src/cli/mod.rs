//! The command line: one file a command.

pub mod replay;

use std::process::ExitCode;

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
    Replay(replay::Args),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// Whatever the command could not do.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Replay(args) => replay::run(&args),
        }
    }
}
