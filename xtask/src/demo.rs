//! `cargo xtask demo`: real traffic of several subscribers through the release binary.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::build;
use crate::process;
use crate::setup::{self, Need};
use crate::workspace::Workspace;

/// `cargo xtask demo`.
pub(crate) fn command(workspace: &Workspace, _arguments: &[String]) -> Result<ExitCode> {
    if !setup::is_root() {
        bail!("the demo makes network namespaces and loads a kernel program: run it as root");
    }
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
    demo.env("ZERORATE_BIN", zerorate);
    // In our place: on Ctrl-C the demo takes down what it has made, and the shell waits for it.
    let error = demo.exec();
    Err(error).with_context(|| format!("cannot start `{}`", process::describe(&demo)))
}
