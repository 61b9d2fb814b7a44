//! `zerorate schema`: the form of `policy.toml`, for editors.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::policy;

/// Print the JSON Schema of policy.toml
///
/// Editors that know TOML complete keys and show what is wrong with it when the file begins with the line
/// `#:schema policy.schema.json` and this is in policy.schema.json beside it. `zerorate new` writes both.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// When standard output is gone.
pub fn run(_: &Args) -> anyhow::Result<ExitCode> {
    io::stdout().lock().write_all(text()?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The schema as a file.
pub(super) fn text() -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(&policy::schema())? + "\n")
}
