//! What must be true of a machine before anything is loaded, each with what to do when it is not.

use std::fs;
use std::path::Path;

use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::datapath::object;

/// This machine cannot run the agent as it is.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Capabilities are missing.
    #[error(
        "missing {missing}: run as root, or give the service CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON \
         (systemd: AmbientCapabilities=)"
    )]
    Capabilities {
        /// Their names.
        missing: String,
    },
    /// The kernel is too old.
    #[error(
        "Linux {found} is too old: 6.1 or newer is needed (maps of this size, XDP links, multi-buffer XDP)"
    )]
    Kernel {
        /// Its release.
        found: String,
    },
    /// There is no BPF file system.
    #[error(
        "{path} is not on a BPF file system: `mount -t bpf bpf /sys/fs/bpf`, or set `pin_dir` to one"
    )]
    NoBpfFs {
        /// The pin directory.
        path: String,
    },
    /// The binary has no eBPF object.
    #[error("this binary holds no eBPF object: build it with `cargo xtask build`")]
    NoObject,
    /// There is not enough memory.
    #[error(
        "the maps need {needed} MiB ({what}); {available} MiB are available: use a smaller policy or fewer \
         subscribers, or more memory"
    )]
    Memory {
        /// What is needed.
        needed: u64,
        /// For what.
        what: String,
        /// What there is.
        available: u64,
    },
}

/// Bits of `/proc/self/status`' CapEff: capabilities(7).
const CAPABILITIES: [(&str, u32); 3] =
    [("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];
const SYS_ADMIN: u32 = 21;

/// Checks privileges, kernel, BPF file system and the binary itself.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn check(pin_dir: &Path) -> Result<(), Unfit> {
    let effective = effective_capabilities();
    let has = |bit: u32| effective >> bit & 1 == 1;
    let missing: Vec<&str> = CAPABILITIES
        .into_iter()
        // CAP_SYS_ADMIN stands for the two that were split from it.
        .filter(|(name, bit)| !has(*bit) && (*name == "CAP_NET_ADMIN" || !has(SYS_ADMIN)))
        .map(|(name, _)| name)
        .collect();
    if !missing.is_empty() {
        return Err(Unfit::Capabilities {
            missing: missing.join(", "),
        });
    }
    if let Ok(name) = nix::sys::utsname::uname() {
        let release = name.release().to_string_lossy().into_owned();
        if version(&release).is_some_and(|version| version < (6, 1)) {
            return Err(Unfit::Kernel { found: release });
        }
    }
    let standing = pin_dir
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(pin_dir);
    if !statfs(standing).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC) {
        return Err(Unfit::NoBpfFs {
            path: pin_dir.display().to_string(),
        });
    }
    if object::is_embedded() {
        Ok(())
    } else {
        Err(Unfit::NoObject)
    }
}

/// Checks that there is memory for what is about to be made.
///
/// # Errors
/// When the kernel says that less is available.
pub fn check_memory(needed_bytes: u64, what: &str) -> Result<(), Unfit> {
    const MIB: u64 = 1 << 20;
    let Some(available) = available_memory() else {
        return Ok(());
    };
    if needed_bytes <= available {
        return Ok(());
    }
    Err(Unfit::Memory {
        needed: needed_bytes.div_ceil(MIB),
        what: what.to_owned(),
        available: available / MIB,
    })
}

fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}

/// `MemAvailable` of proc(5), in bytes.
pub(crate) fn available_memory() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim()
        .strip_suffix(" kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kb| kb * 1024)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_compared_as_numbers() {
        assert_eq!(version("6.1.0-37-amd64"), Some((6, 1)));
        assert!(version("5.15.0") < Some((6, 1)));
        assert!(version("6.18.44-x") > Some((6, 1)));
        assert!(version("10.0") > Some((6, 1)));
    }

    #[test]
    fn memory_that_is_not_there_is_refused_with_the_numbers() {
        assert!(check_memory(1 << 20, "a little").is_ok());
        let text = check_memory(1 << 60, "rows").unwrap_err().to_string();
        assert!(
            text.starts_with("the maps need 1099511627776 MiB (rows); "),
            "{text}"
        );
    }
}
