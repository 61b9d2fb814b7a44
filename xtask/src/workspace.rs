//! Where things are, and how a `cargo` is started from inside `cargo run`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// The checked-out workspace and the directory its builds go to.
pub(crate) struct Workspace {
    /// The directory of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// `CARGO_TARGET_DIR`, or `target` below the root; absolute.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the workspace this program was started from.
    pub(crate) fn locate() -> Result<Self> {
        // What cargo says at run time: a target directory shared by two clones holds one xtask.
        let manifest_dir = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest_dir
            .parent()
            .with_context(|| format!("{} has no parent directory", manifest_dir.display()))?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            // Cargo reads a relative path from where it is called, and we call it elsewhere.
            Some(dir) => env::current_dir()
                .context("no current directory")?
                .join(dir),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The agent's binary as the given profile's directory (`debug`, `release`) has it.
    pub(crate) fn binary(&self, profile_dir: &str) -> PathBuf {
        self.target.join(profile_dir).join("zerorate")
    }

    /// The kernel program, where the agent's build script looks for it.
    pub(crate) fn object(&self) -> PathBuf {
        self.target.join("bpf").join("zerorate.bpf.o")
    }

    /// The bench's programs, where the bench looks for them. Not beside the other: the agent's build script
    /// watches that directory.
    pub(crate) fn bench_object(&self) -> PathBuf {
        self.target.join("bpf-bench").join("zerorate-bench.bpf.o")
    }

    /// A cargo of the toolchain that runs us, for the workspace's own (host) crates.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        // Only made absolute: build scripts run again when the variable comes or goes.
        if env::var_os("CARGO_TARGET_DIR").is_some() {
            command.env("CARGO_TARGET_DIR", &self.target);
        }
        forget_this_run(&mut command);
        command
    }
}

/// Removes what `cargo run` told this process about itself, which is not true of its children.
pub(crate) fn forget_this_run(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(describes_this_run) {
            command.env_remove(name);
        }
    }
}

fn describes_this_run(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_")
        || matches!(
            variable,
            "CARGO_MANIFEST_DIR"
                | "CARGO_MANIFEST_PATH"
                | "CARGO_BIN_NAME"
                | "CARGO_CRATE_NAME"
                | "CARGO_PRIMARY_PACKAGE"
                | "OUT_DIR"
        )
}

/// Finds a program on `PATH`, and in the directories a plain user's `PATH` leaves out.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let beside_cargo = cargo_home().map(|home| home.join("bin"));
    env::split_paths(&path)
        .chain(beside_cargo)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_of_the_user_survive_and_facts_about_this_run_do_not() {
        for kept in [
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_NET_OFFLINE",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(!describes_this_run(kept), "{kept}");
        }
        for forgotten in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "OUT_DIR"] {
            assert!(describes_this_run(forgotten), "{forgotten}");
        }
    }

    #[test]
    fn programs_are_found_only_where_they_can_be_run() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("zerorate-no-such-program"), None);
        assert!(!is_executable(Path::new("/etc/passwd")));
    }
}
