//! `zerorate man`: a manual page for each command.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::Cli;

/// Write a manual page for each command
///
/// With `--dir /usr/local/share/man/man1`, `man zerorate-policy-stage` finds the page of `zerorate policy stage`. Pages of an
/// earlier version are replaced.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory to write them to; made where there is none
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When a page cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let dir = &args.dir;
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .with_context(|| format!("{}: manual pages cannot be written here", dir.display()))?;
    Ok(ExitCode::SUCCESS)
}
