//! Installing Debian packages, patiently: apt and dpkg allow one run at a time. The services some of them bring are not
//! started: tests start their own, and a machine that only runs tests wants none.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::setup::is_root;
use crate::workspace::find_program;

/// How long another run of apt may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often something that failed without anyone holding a lock is tried.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(5);

/// Installs packages; the error says in one line what to install by hand, and why.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if find_program("apt-get").is_none() {
        bail!("there is no apt-get here; install what your system calls: {names}");
    }
    if !is_root() {
        bail!("not root; as root: apt-get install {names}");
    }
    println!("setup: installing {names}");
    let _quiet = Quiet::new(Path::new(SERVICES)).context(SERVICES)?;
    // Old lists may still do, so what decides is whether the packages can be installed.
    if let Err(reason) = apt_get(&["update"]) {
        println!("setup: {reason:#}");
    }
    let mut arguments = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
    arguments.extend(packages);
    apt_get(&arguments).with_context(|| format!("cannot install {names}"))
}

/// What packages ask whether they may start a service.
const SERVICES: &str = "/usr/sbin/policy-rc.d";

/// While it is there, packages start no services. Where the machine has an answer of its own, that holds.
struct Quiet(Option<PathBuf>);

impl Quiet {
    fn new(path: &Path) -> io::Result<Self> {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(path);
        match made {
            Ok(mut file) => {
                let quiet = Self(Some(path.to_owned()));
                file.write_all(b"#!/bin/sh\nexit 101\n")?;
                Ok(quiet)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = fs::remove_file(path)
        {
            println!("setup: cannot remove {}: {error}", path.display());
        }
    }
}

/// Runs apt-get until it succeeds, is refused for good, or others keep the lock too long.
fn apt_get(arguments: &[&str]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut attempts = 0;
    loop {
        let mut command = Command::new("apt-get");
        command.args(["-qq", "-o", "Acquire::Retries=3", "-o", "Dpkg::Use-Pty=0"]);
        command
            .arg("-o")
            .arg(format!("DPkg::Lock::Timeout={}", PATIENCE.as_secs()));
        command.args(arguments);
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C");
        let output = command.output().context("cannot start apt-get")?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let locked = is_locked(&said);
        if !locked {
            attempts += 1;
        }
        if attempts == ATTEMPTS || is_final(&said) || Instant::now() > deadline {
            bail!("apt-get {} failed: {}", arguments[0], first_error(&said));
        }
        sleep(PAUSE);
    }
}

/// The package lists' and the archive's locks are not waited for by `DPkg::Lock::Timeout`.
fn is_locked(stderr: &str) -> bool {
    stderr.contains("Could not get lock") || stderr.contains("Unable to lock")
}

/// Trying again cannot help: there is no such package, or another one stands in its way.
fn is_final(stderr: &str) -> bool {
    [
        "Unable to locate package",
        "has no installation candidate",
        "need to be removed",
        "unmet",
    ]
    .iter()
    .any(|sign| stderr.contains(sign))
}

fn first_error(stderr: &str) -> &str {
    stderr
        .lines()
        .find(|line| line.starts_with("E: "))
        .unwrap_or("it gave no reason")
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKED: &str = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7\n\
                          E: Unable to lock directory /var/lib/apt/lists/\n";
    const UNKNOWN: &str = "W: something\nE: Unable to locate package rustc-web\n";
    const IN_THE_WAY: &str = "E: Packages need to be removed but remove is disabled.\n";

    #[test]
    fn a_lock_is_waited_for_and_a_missing_package_is_not() {
        assert!(is_locked(LOCKED) && !is_final(LOCKED));
        assert!(is_final(UNKNOWN) && !is_locked(UNKNOWN));
        assert!(is_final(IN_THE_WAY));
        let network = "E: Failed to fetch http://deb.example/x.deb  Connection timed out\n";
        assert!(!is_final(network) && !is_locked(network));
    }

    #[test]
    fn services_are_not_started_unless_the_machine_says_so_itself() {
        let path = std::env::temp_dir().join(format!("zr-policy-rc-{}", std::process::id()));
        {
            let _quiet = Quiet::new(&path).unwrap();
            let answer = Command::new(&path).args(["x", "start"]).status().unwrap();
            assert_eq!(answer.code(), Some(101));
        }
        assert!(!path.exists());
        fs::write(&path, "its own").unwrap();
        drop(Quiet::new(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "its own");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_first_error_is_what_is_told() {
        assert_eq!(
            first_error(UNKNOWN),
            "E: Unable to locate package rustc-web"
        );
        assert_eq!(first_error(""), "it gave no reason");
    }
}
