//! How much memory a process has of its own, besides what it shares with the kernel's maps.

use std::fs;

use anyhow::{Context as _, Result};

/// What the kernel calls the mapping of a map.
const MAP: &str = "anon_inode:bpf-map";

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident and not a map of the kernel's: heap, stacks, program.
    pub own: u64,
    /// Resident in maps of the kernel's.
    pub maps: u64,
}

impl Memory {
    /// Of a process that runs.
    ///
    /// # Errors
    /// If it does not, or is somebody else's.
    pub fn of(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/smaps");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&text).with_context(|| format!("{path} is not understood"))
    }

    fn parse(smaps: &str) -> Result<Self> {
        let mut memory = Self::default();
        let mut of_a_map = false;
        for line in smaps.lines() {
            // Each mapping begins with its addresses; `Name: value` is said of it.
            match line.split_once(':') {
                Some(("Rss", size)) => {
                    let kib: u64 = size.trim().trim_end_matches("kB").trim().parse()?;
                    let sum = if of_a_map {
                        &mut memory.maps
                    } else {
                        &mut memory.own
                    };
                    *sum += kib * 1024;
                }
                _ if line.starts_with(|first: char| first.is_ascii_uppercase()) => {}
                _ => of_a_map = line.ends_with(MAP),
            }
        }
        Ok(memory)
    }
}

/// The most a process ever had, its own and maps', in bytes: a peak is not told apart.
///
/// # Errors
/// If it does not run.
pub fn peak(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| {
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()
    });
    Ok(kib.with_context(|| format!("no peak in {path}"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_the_kernel_are_told_apart() {
        let text = "\
7f00-7f10 rw-p 00000000 00:00 0 [heap]
Size:                 64 kB
Rss:                  48 kB
VmFlags: rd wr
7f20-7f30 rw-s 00000000 00:0f 1072                       anon_inode:bpf-map
Size:                256 kB
Rss:                 128 kB
7f30-7f40 r-xp 00000000 fe:00 33                         /usr/bin/zerorate
Rss:                  16 kB
";
        let memory = Memory::parse(text).unwrap();
        assert_eq!((memory.own, memory.maps), (64 << 10, 128 << 10));
    }

    #[test]
    fn a_process_has_memory() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.own > 0 && peak(std::process::id()).unwrap() >= memory.own);
    }
}
