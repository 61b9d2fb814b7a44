//! Running other programs so that a failure says which one failed, and how.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Runs a program whose output the user sees; an error unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = describe(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// What a program prints when it succeeds, without the last line's end; `None` if it does not.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned(),
    )
}

/// The command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_status() {
        let error = run(Command::new("/bin/sh").args(["-c", "exit 3"]))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "`sh -c exit 3` failed (exit status: 3)");
        let error = run(&mut Command::new("/no/such")).unwrap_err().to_string();
        assert_eq!(error, "cannot start `such`");
    }

    #[test]
    fn only_success_is_an_answer() {
        assert_eq!(
            answer(Command::new("echo").arg("yes")).as_deref(),
            Some("yes")
        );
        assert_eq!(
            answer(Command::new("sh").args(["-c", "echo no; exit 1"])),
            None
        );
    }
}
