//! Running a program to its end, with an error that says what it was and what it said.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a program that reads nothing and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    run_with(command, "")
}

/// Runs a program on the given input and returns what it printed.
pub(crate) fn run_with(command: &mut Command, input: &str) -> Result<String> {
    let line = describe(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    // Dropped at the end of the statement, which ends the input.
    let written = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child
        .wait_with_output()
        .with_context(|| format!("`{line}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{line}` failed ({}): {}\n{input}",
            output.status,
            said.trim()
        );
    }
    written
        .transpose()
        .with_context(|| format!("`{line}` did not read its input"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
