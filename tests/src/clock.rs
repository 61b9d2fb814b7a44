//! A clock for one agent that a test can set while it runs: the wall's clock only, as when somebody sets it, or a day passes.
//!
//! It is a library of a few lines that stands before the C library's (`clock.c`). libfaketime would do the same, but reads its
//! file anew for each look only without regard to threads: of four that look at once, each thousandth sees the machine's time.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::process::run;

/// A clock that runs as the machine's does, but for an offset.
#[derive(Debug)]
pub struct Clock {
    directory: TempDir,
    /// The offset in seconds, 64 bits: whoever has it in memory sees all of it change, or nothing.
    offset: File,
}

impl Clock {
    /// A clock that is right.
    ///
    /// # Errors
    /// If there is no C compiler, or no room for its files.
    pub fn new() -> Result<Self> {
        let directory = TempDir::with_prefix("zerorate-clock-")?;
        let source = directory.path().join("clock.c");
        fs::write(&source, include_str!("clock.c"))?;
        let mut compile = Command::new("cc");
        compile
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(directory.path().join(LIBRARY))
            .arg(source);
        run(&mut compile).context("the clock for tests is compiled with cc")?;
        let offset = File::create(directory.path().join(OFFSET))?;
        let clock = Self { directory, offset };
        clock.set("+0")?;
        Ok(clock)
    }

    /// What the agent is to be started through.
    #[must_use]
    pub fn through(&self) -> Vec<String> {
        let place = |name| self.place(name).display().to_string();
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", place(LIBRARY)),
            format!("ZERORATE_CLOCK={}", place(OFFSET)),
        ]
    }

    /// Sets it: `+14d`, `+25h`, `+3600`, `-2d` beside the machine's.
    ///
    /// # Errors
    /// If it is none of these, or cannot be written.
    pub fn set(&self, offset: &str) -> Result<()> {
        let (number, unit) = match offset.char_indices().last() {
            Some((at, 'd')) => (&offset[..at], 86_400),
            Some((at, 'h')) => (&offset[..at], 3_600),
            _ => (offset, 1),
        };
        let number: i64 = number
            .parse()
            .with_context(|| format!("`{offset}` is no offset"))?;
        self.offset
            .write_all_at(&(number * unit).to_ne_bytes(), 0)
            .context("setting the clock")
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

const LIBRARY: &str = "clock.so";
const OFFSET: &str = "offset";
