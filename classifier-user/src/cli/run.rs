//! `zerorate run`: the agent.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

/// Counts on this gateway: loads the policy, attaches to the interfaces, and keeps both up to date.
///
/// SIGHUP reloads; SIGTERM stops, leaving counting on unless `on_exit = "detach"`. Set ZERORATE_LOG to `debug` for
/// more in the log.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/zerorate/zerorate.toml"
    )]
    config: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When the agent cannot start.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_env("ZERORATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    crate::agent::run(&args.config)?;
    Ok(ExitCode::SUCCESS)
}
