//! The machine: kernel, privileges, BPF file system, memory and clock.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Finding;
use crate::agent::preflight;

pub(super) fn examine(pin_dir: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    let release = kernel_setting("kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    match preflight::check(pin_dir) {
        Ok(()) => {
            found.push(Finding::ok("kernel", format!("Linux {release}")));
            let pins = format!("{} is on a BPF file system", pin_dir.display());
            found.push(Finding::ok("pins", pins));
        }
        // Says what to do itself.
        Err(unfit) => found.push(Finding::error("machine", unfit.to_string())),
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        found.push(
            Finding::error(
                "kernel",
                "it has no type information (/sys/kernel/btf/vmlinux)",
            )
            .advice("use a kernel built with CONFIG_DEBUG_INFO_BTF, such as Debian's"),
        );
    }
    found.extend(compiler());
    found.push(memory());
    found.push(clock());
    found
}

/// Whether the kernel compiles programs, and how.
fn compiler() -> Vec<Finding> {
    let compiled = match kernel_setting("net/core/bpf_jit_enable").as_deref() {
        Some("0") => Finding::warning(
            "BPF compiler",
            "it is off: each packet costs many times as much",
        )
        .advice("sysctl -w net.core.bpf_jit_enable=1, and in /etc/sysctl.d/"),
        Some(_) => Finding::ok("BPF compiler", "on"),
        None => Finding::note(
            "BPF compiler",
            "whether it is on cannot be read (in the network namespace of a container it never can)",
        ),
    };
    let hardened = kernel_setting("net/core/bpf_jit_harden").filter(|how| how == "2");
    let hardened = hardened.map(|_| {
        Finding::warning(
            "BPF compiler",
            "net.core.bpf_jit_harden is 2: also the programs of root are blinded, and slower",
        )
        .advice("1 blinds those of others only: sysctl -w net.core.bpf_jit_harden=1")
    });
    [compiled].into_iter().chain(hardened).collect()
}

fn memory() -> Finding {
    match preflight::available_memory() {
        Some(bytes) => Finding::ok(
            "memory",
            format!(
                "{} MiB are available; docs/operations.md says what subscribers take",
                bytes >> 20
            ),
        ),
        None => Finding::note("memory", "/proc/meminfo does not say how much is available"),
    }
}

/// Records, cycles and validity follow the clock.
fn clock() -> Finding {
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .output();
    let answer = asked
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match answer.as_deref() {
        Some("yes") => Finding::ok("clock", "synchronised"),
        Some("no") => Finding::warning(
            "clock",
            "it follows no other one: records and validity do follow it",
        )
        .advice("run chrony or systemd-timesyncd"),
        _ => Finding::note(
            "clock",
            "timedatectl does not say whether it is synchronised",
        ),
    }
}

/// What stands in a file below `/proc/sys`.
pub(super) fn kernel_setting(name: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
    Some(text.trim().to_owned())
}
