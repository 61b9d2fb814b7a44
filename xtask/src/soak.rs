//! `cargo xtask soak`: what takes too long for each run of the tests.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::ebpf;
use crate::process;
use crate::setup::{self, Need};
use crate::test;
use crate::workspace::Workspace;

const SOAK: &str = "soak";
const OPTIONS: &[&str] = &["--kills", "--joins", "--records", "--minutes"];

/// `cargo xtask soak [--kills N] [--joins N] [--records N] [--minutes N]`.
pub(crate) fn command(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    check(arguments)?;
    if !setup::is_root() {
        bail!("the soak makes network namespaces and loads a kernel program: run it as root");
    }
    setup::setup(workspace, Need::Test)?;
    ebpf::build(workspace)?;
    let mut soak = prepare(workspace)?;
    // In our place: on Ctrl-C the soak takes down what it has made, and the shell waits for it.
    let error = soak.args(arguments).exec();
    Err(error).with_context(|| format!("cannot start `{}`", process::describe(&soak)))
}

/// Builds it, and the agent with the checks that a release has not; the soak, to be started.
pub(crate) fn prepare(workspace: &Workspace) -> Result<Command> {
    process::run(workspace.cargo().args(test::BINARY))?;
    let build = ["build", "--package", "zerorate-tests", "--bin", SOAK];
    process::run(workspace.cargo().args(build))?;
    let zerorate = workspace.binary("debug");
    let mut soak = Command::new(zerorate.with_file_name(SOAK));
    soak.env("ZERORATE_BIN", zerorate);
    Ok(soak)
}

/// Refuses what the soak would refuse, before anything is built.
fn check(arguments: &[String]) -> Result<()> {
    for pair in arguments.chunks(2) {
        let number = pair.get(1).and_then(|number| number.parse::<u32>().ok());
        if !OPTIONS.contains(&&*pair[0]) || number.is_none() {
            bail!(
                "`cargo xtask soak` knows {}, each with a number, not `{}`",
                OPTIONS.join(", "),
                pair.join(" ")
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_does_not_know_is_refused_before_anything_is_built() {
        let check = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            check(&words)
        };
        for fine in ["", "--minutes 5", "--kills 0 --joins 0 --minutes 60"] {
            check(fine).unwrap();
        }
        for wrong in ["--minutes", "--minutes x", "--hours 1", "5"] {
            let said = check(wrong).unwrap_err().to_string();
            assert!(said.contains(&format!("`{wrong}`")), "{said}");
        }
    }
}
