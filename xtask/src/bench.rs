//! `cargo xtask bench`: what a packet costs, beside what it is compared with.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::build;
use crate::process;
use crate::setup::{self, Need};
use crate::test;
use crate::workspace::Workspace;

const BENCH: &str = "zerorate-bench";

/// `cargo xtask bench [--quick] [--json FILE] [--svg FILE]`.
pub(crate) fn command(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    if !setup::is_root() {
        bail!("the bench loads kernel programs and makes network namespaces: run it as root");
    }
    setup::setup(workspace, Need::Bench)?;
    build::release(workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--package", BENCH]);
    process::run(&mut cargo)?;
    let zerorate = workspace.binary("release");
    let mut bench = Command::new(zerorate.with_file_name(BENCH));
    bench.args(arguments).env("ZERORATE_BIN", zerorate);
    if let Some(data) = test::data_dir(workspace) {
        bench.env("ZERORATE_DATA", data);
    }
    // In our place: what stops it stops the bench.
    let error = bench.exec();
    Err(error).with_context(|| format!("cannot start `{}`", process::describe(&bench)))
}
