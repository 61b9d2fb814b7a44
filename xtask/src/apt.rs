//! Installing Debian packages, patiently: apt and dpkg allow one run at a time.

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
    // Old lists may still do, so what decides is whether the packages can be installed.
    if let Err(reason) = apt_get(&["update"]) {
        println!("setup: {reason:#}");
    }
    let mut arguments = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
    arguments.extend(packages);
    apt_get(&arguments).with_context(|| format!("cannot install {names}"))
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
    fn the_first_error_is_what_is_told() {
        assert_eq!(
            first_error(UNKNOWN),
            "E: Unable to locate package rustc-web"
        );
        assert_eq!(first_error(""), "it gave no reason");
    }
}
