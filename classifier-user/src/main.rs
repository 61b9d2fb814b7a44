//! The `zerorate` command.

use std::process::ExitCode;

use clap::Parser as _;
use zerorate::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("zerorate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
