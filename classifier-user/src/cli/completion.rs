//! `zerorate completion`: a script with which a shell completes commands and options.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

/// Print a script with which a shell completes commands and options
///
/// For bash: `zerorate completion bash > /etc/bash_completion.d/zerorate`; for zsh a file `_zerorate` in a directory of
/// `fpath`; for fish `/etc/fish/completions/zerorate.fish`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// When standard output is gone.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // The generator panics where its output is gone.
    let mut script = Vec::new();
    let mut command = Cli::command();
    clap_complete::generate(args.shell, &mut command, "zerorate", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
