//! What the figures were measured on, in a line.

use std::fs;

use anyhow::Result;

use crate::rounds;

/// Kernel, CPU, and how many of them.
pub(crate) fn describe() -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("CPU of unknown model", |(_, model)| model);
    Ok(format!(
        "Linux {}, {}, {} CPUs.",
        kernel.trim(),
        model.trim(),
        rounds::cpus()?.len()
    ))
}
