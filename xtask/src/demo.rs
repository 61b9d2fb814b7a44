//! `cargo xtask demo`: real traffic of several subscribers through the release binary.

use std::process::ExitCode;

use anyhow::{Result, bail};

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
        "run",
        "--release",
        "--quiet",
        "--package",
        "zerorate-tests",
        "--bin",
        "demo",
    ]);
    cargo.env("ZERORATE_BIN", workspace.binary("release"));
    process::run(&mut cargo)?;
    Ok(ExitCode::SUCCESS)
}
