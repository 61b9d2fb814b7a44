//! Network namespaces that are gone when nobody holds them any more.
//!
//! Their names begin with the process that made them, so that what a killed test run left behind
//! is recognised, and removed, by the next one.

use std::fs::{self, File};
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::thread;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};

use crate::process::{run, run_with};

/// What our namespaces' names begin with: `zr-<pid>-<counter>-<name>`.
const PREFIX: &str = "zr-";
const DIRECTORY: &str = "/run/netns";

static COUNTER: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// Per-interface settings every interface of a new namespace starts with. They keep the kernel from
/// saying anything by itself, so that a wire carries what a test sends and nothing else.
const SETTINGS: &[(&str, &str)] = &[
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/autoconf", "0"),
    // No link-local address, hence nothing to announce.
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    // A socket may bind to any address of a prefix that is routed to the namespace.
    ("ipv4/ip_nonlocal_bind", "1"),
    ("ipv6/ip_nonlocal_bind", "1"),
];

/// A network namespace, deleted when the last handle to it is dropped, also by a panic.
#[derive(Clone, Debug)]
pub struct NetNs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    file: File,
}

impl NetNs {
    /// Makes a namespace with a unique name that ends in `name`, its loopback up.
    ///
    /// # Errors
    /// Without root, or without the `ip` program.
    pub fn new(name: &str) -> Result<Self> {
        SWEEP.call_once(sweep);
        let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{counter}-{name}", process::id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let path = Path::new(DIRECTORY).join(&name);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let namespace = Self(Arc::new(Inner { name, file }));
        for (setting, value) in SETTINGS {
            namespace.set(setting, value)?;
        }
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name `ip netns` knows it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Runs a closure in a thread of its own inside the namespace and returns its value.
    /// Sockets it opens stay in the namespace, wherever they are used later.
    ///
    /// # Panics
    /// If the namespace cannot be entered, and with the closure's own panics.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                if let Err(error) = setns(&self.0.file, CloneFlags::CLONE_NEWNET) {
                    panic!("cannot enter {}: {error}", self.0.name);
                }
                work()
            });
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// A command that runs a program in the namespace. The process keeps the machine's mounts
    /// (`ip netns exec` would hide bpffs), and its id is the program's own.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={DIRECTORY}/{}", self.0.name))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs a program in the namespace and returns what it printed.
    ///
    /// # Errors
    /// If it cannot be started or fails; the error says what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        run(self.command(program).args(arguments))
    }

    /// Runs `ip` with the arguments of each line, in the namespace; stops at the first that fails.
    ///
    /// # Errors
    /// If a line fails; the error shows all of them.
    pub fn ip(&self, lines: &str) -> Result<()> {
        run_with(self.command("ip").args(["-batch", "-"]), lines).map(drop)
    }

    /// Loads an nftables ruleset into the namespace.
    ///
    /// # Errors
    /// If `nft` is missing or refuses the rules.
    pub fn nft(&self, rules: &str) -> Result<()> {
        run_with(self.command("nft").args(["-f", "-"]), rules).map(drop)
    }

    /// Sets a sysctl of the namespace, such as `ipv4/ip_forward`.
    ///
    /// # Errors
    /// If there is no such setting.
    pub fn set(&self, setting: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(setting);
        self.enter(|| fs::write(&path, value))
            .with_context(|| format!("cannot set {setting} to {value} in {}", self.0.name))
    }

    /// A place to send from or to: an address in this namespace.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Endpoint {
        Endpoint {
            namespace: self.clone(),
            address,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("ip").args(["netns", "delete", &self.name])) {
            eprintln!("{error:#}");
        }
    }
}

/// An address and the namespace that answers for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where sockets are opened.
    pub namespace: NetNs,
    /// What they are bound to.
    pub address: IpAddr,
}

/// Removes namespaces that earlier runs, killed before they could, did not.
fn sweep() {
    let Ok(entries) = fs::read_dir(DIRECTORY) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if maker(&name, PREFIX).is_some_and(is_dead) {
            // Another run may be sweeping too.
            let _ = run(Command::new("ip").args(["netns", "delete", &name]));
        }
    }
}

/// The process that made what is called `name`, if it is one of ours: `<prefix><pid>-...`.
pub(crate) fn maker(name: &str, prefix: &str) -> Option<u32> {
    name.strip_prefix(prefix)?.split_once('-')?.0.parse().ok()
}

pub(crate) fn is_dead(pid: u32) -> bool {
    !Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_have_a_maker() {
        assert_eq!(maker("zr-4711-0-gateway", PREFIX), Some(4711));
        assert_eq!(maker("zr-test-4711-0", PREFIX), None);
        assert_eq!(maker("zrx-4711-a", PREFIX), None);
        assert_eq!(maker("zr-4711", PREFIX), None);
    }

    #[test]
    fn what_a_dead_run_left_behind_is_swept_away() {
        if !crate::can_use_namespaces() {
            return;
        }
        // No process has such an id.
        let left = format!("{PREFIX}{}-0-left", u32::MAX);
        let kept = NetNs::new("kept").unwrap();
        run(Command::new("ip").args(["netns", "add", &left])).unwrap();
        sweep();
        assert!(!Path::new(DIRECTORY).join(&left).exists());
        assert!(Path::new(DIRECTORY).join(kept.name()).exists());
    }

    #[test]
    fn this_process_is_alive() {
        assert!(!is_dead(process::id()));
        assert!(is_dead(u32::MAX));
    }
}
