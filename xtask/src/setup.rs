//! `cargo xtask setup`: what has to be on the machine before anything is built, run or tested.
//!
//! A step that is done already costs nothing: no package list is fetched, nothing is written. On
//! Debian and its kin missing packages are installed; elsewhere one line names what to install.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::apt;
use crate::process;
use crate::toolchain::{self, Compiler, LINKER_VERSION};
use crate::workspace::{Workspace, find_program};

/// Said when no compiler for the kernel program is found and none can be installed.
pub(crate) const NO_COMPILER: &str = "no compiler for the kernel program: install Debian's \
    rustc-web (1.95 or newer) and libstd-rust-web-dev-bpf, or run `rustup toolchain install \
    nightly --component rust-src`";

const COMPILER_PACKAGES: &[&str] = &["rustc-web", "libstd-rust-web-dev-bpf"];
const BPFFS: &str = "/sys/fs/bpf";

/// How much of a set-up is wanted; each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Need {
    /// To compile zerorate.
    Build,
    /// To run it in network namespaces.
    Demo,
    /// To measure it beside nftables.
    Bench,
    /// To test it.
    Test,
}

/// A program that has to be there, and Debian's package that has it.
struct Tool {
    program: &'static str,
    package: &'static str,
    need: Need,
}

const TOOLS: &[Tool] = &[
    // SQLite is compiled from its source; the C library comes with the linker that made us.
    Tool {
        program: "cc",
        package: "gcc",
        need: Need::Build,
    },
    // So is the allocator, by its own makefile.
    Tool {
        program: "make",
        package: "make",
        need: Need::Build,
    },
    Tool {
        program: "ip",
        package: "iproute2",
        need: Need::Demo,
    },
    Tool {
        program: "ethtool",
        package: "ethtool",
        need: Need::Demo,
    },
    Tool {
        program: "nft",
        package: "nftables",
        need: Need::Bench,
    },
    // The API's tests: certificates, a client, and one that tries what its description allows.
    Tool {
        program: "openssl",
        package: "openssl",
        need: Need::Test,
    },
    Tool {
        program: "curl",
        package: "curl",
        need: Need::Test,
    },
    Tool {
        program: "python3",
        package: "python3-venv",
        need: Need::Test,
    },
    // A router whose table a list follows.
    Tool {
        program: "bird",
        package: "bird2",
        need: Need::Test,
    },
    // Whoever signs lists and policies.
    Tool {
        program: "minisign",
        package: "minisign",
        need: Need::Test,
    },
    Tool {
        program: "tshark",
        package: "tshark",
        need: Need::Test,
    },
    Tool {
        program: "promtool",
        package: "prometheus",
        need: Need::Test,
    },
    // Its servers are not on the path; this comes with any of them.
    Tool {
        program: "pg_ctlcluster",
        package: "postgresql",
        need: Need::Test,
    },
];

/// `cargo xtask setup`.
pub(crate) fn command(workspace: &Workspace, _arguments: &[String]) -> Result<ExitCode> {
    setup(workspace, Need::Test)?;
    println!("setup: done");
    Ok(ExitCode::SUCCESS)
}

/// Makes the machine ready for `need`. Fails when the kernel program could not be built or run;
/// tools that only some tests want are asked for in one line and may be missing.
pub(crate) fn setup(workspace: &Workspace, need: Need) -> Result<()> {
    tools(need)?;
    compiler()?;
    linker(workspace)?;
    if need >= Need::Demo {
        bpffs()?;
    }
    Ok(())
}

/// Whether this process may install packages, mount, and load programs.
pub(crate) fn is_root() -> bool {
    // The file belongs to the effective user of the process that looks.
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

fn tools(need: Need) -> Result<()> {
    let missing = missing_packages(need, |program| find_program(program).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    match apt::install(&missing) {
        Ok(()) => Ok(()),
        // Without them some tests skip, and say so; without a C compiler nothing is built.
        Err(reason) if need == Need::Test && !missing.contains(&"gcc") => {
            println!("setup: {reason:#}");
            Ok(())
        }
        Err(reason) => Err(reason),
    }
}

fn missing_packages(need: Need, is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    TOOLS
        .iter()
        .filter(|tool| tool.need <= need && !is_there(tool.program))
        .map(|tool| tool.package)
        .collect()
}

fn compiler() -> Result<()> {
    if Compiler::find().is_some() {
        return Ok(());
    }
    apt::install(COMPILER_PACKAGES).context(NO_COMPILER)?;
    if Compiler::find().is_none() {
        bail!(NO_COMPILER);
    }
    Ok(())
}

fn linker(workspace: &Workspace) -> Result<()> {
    if toolchain::find_linker(workspace).is_some() {
        return Ok(());
    }
    println!("setup: building bpf-linker {LINKER_VERSION} (a few minutes, once)");
    let mut cargo = workspace.cargo();
    cargo.args([
        "install",
        "--quiet",
        "bpf-linker",
        "--version",
        LINKER_VERSION,
        "--locked",
    ]);
    // Built in a temporary directory, which cargo removes.
    cargo.env_remove("CARGO_TARGET_DIR");
    if find_program("bpf-linker").is_some() {
        // An older one is somebody's choice: leave it, and keep ours beside our builds.
        cargo.arg("--root").arg(toolchain::linker_root(workspace));
    }
    process::run(&mut cargo)?;
    toolchain::find_linker(workspace)
        .map(drop)
        .context("the bpf-linker just built does not run")
}

/// Mounts the file system that pinned maps and links live in.
fn bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    if has_bpffs(&mounts) {
        return Ok(());
    }
    if !is_root() || !Path::new(BPFFS).is_dir() {
        println!("setup: no bpffs at {BPFFS}; as root: mount -t bpf bpf {BPFFS}");
        return Ok(());
    }
    println!("setup: mounting bpffs at {BPFFS}");
    process::run(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS]))
}

fn has_bpffs(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(BPFFS) && fields.next() == Some("bpf")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_need_includes_the_ones_before_it() {
        let nothing = |_: &str| false;
        assert_eq!(missing_packages(Need::Build, nothing), ["gcc", "make"]);
        let demo = missing_packages(Need::Demo, nothing);
        assert!(demo.contains(&"gcc") && demo.contains(&"iproute2") && !demo.contains(&"tshark"));
        assert_eq!(missing_packages(Need::Test, nothing).len(), TOOLS.len());
    }

    #[test]
    fn what_is_there_is_not_installed_again() {
        assert_eq!(
            missing_packages(Need::Test, |program| program != "nft"),
            ["nftables"]
        );
        assert_eq!(missing_packages(Need::Test, |_| true), [""; 0]);
    }

    #[test]
    fn bpffs_counts_only_at_its_own_place() {
        assert!(has_bpffs(
            "sysfs /sys sysfs rw 0 0\nbpf /sys/fs/bpf bpf rw,relatime 0 0\n"
        ));
        assert!(!has_bpffs(
            "bpf /mnt/bpf bpf rw 0 0\ntmpfs /sys/fs/bpf tmpfs rw 0 0\n"
        ));
    }
}
