//! `cargo xtask build`: the release binary, with the kernel program inside.

use std::process::ExitCode;

use anyhow::Result;

use crate::ebpf;
use crate::process;
use crate::setup::{self, Need};
use crate::workspace::Workspace;

pub(crate) const PACKAGE: &str = "classifier-user";
pub(crate) const BINARY: &str = "zerorate";

/// `cargo xtask build`.
pub(crate) fn command(workspace: &Workspace, _arguments: &[String]) -> Result<ExitCode> {
    setup::setup(workspace, Need::Build)?;
    release(workspace)?;
    println!("build: {}", workspace.binary("release").display());
    Ok(ExitCode::SUCCESS)
}

/// Builds the kernel program and then the binary that embeds it.
pub(crate) fn release(workspace: &Workspace) -> Result<()> {
    ebpf::build(workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--package", PACKAGE, "--bin", BINARY]);
    process::run(&mut cargo)
}
