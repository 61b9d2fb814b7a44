//! `cargo xtask demo`: real traffic of several subscribers through the release binary.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::build;
use crate::process;
use crate::setup::{self, Need};
use crate::workspace::Workspace;

/// `cargo xtask demo [--scenario NAME]`.
pub(crate) fn command(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    if !setup::is_root() {
        bail!("the demo makes network namespaces and loads a kernel program: run it as root");
    }
    check(workspace, arguments)?;
    setup::setup(workspace, Need::Demo)?;
    build::release(workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args([
        "build",
        "--release",
        "--package",
        "zerorate-tests",
        "--bin",
        "demo",
    ]);
    process::run(&mut cargo)?;
    let zerorate = workspace.binary("release");
    let mut demo = Command::new(zerorate.with_file_name("demo"));
    demo.args(arguments).env("ZERORATE_BIN", zerorate);
    // In our place: on Ctrl-C the demo takes down what it has made, and the shell waits for it.
    let error = demo.exec();
    Err(error).with_context(|| format!("cannot start `{}`", process::describe(&demo)))
}

/// Refuses what the demo would refuse, before anything is built.
fn check(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let name = match words[..] {
        [] | ["--scenario", "list"] => return Ok(()),
        ["--scenario", name] => name,
        _ => bail!(
            "`cargo xtask demo` knows `--scenario NAME`, not `{}`",
            words.join(" ")
        ),
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(workspace.root.join("policies")).context("cannot read policies")? {
        let entry = entry?;
        if entry.path().join("policy.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    if !names.iter().any(|known| known == name) {
        bail!(
            "there is no scenario `{name}`; there are {}",
            names.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_scenario_is_told_which_there_are() {
        let workspace = Workspace::locate().unwrap();
        let check = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            check(&workspace, &words)
        };
        for fine in ["", "--scenario list", "--scenario xk-order"] {
            check(fine).unwrap();
        }
        let said = check("--scenario xk").unwrap_err().to_string();
        assert!(said.contains("`xk`") && said.contains("uz-shifokor, xk-order"));
        let said = check("--scene xk-order").unwrap_err().to_string();
        assert!(said.contains("`--scene xk-order`"));
    }
}
