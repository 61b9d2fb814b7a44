//! A clock for one agent that a test can set while it runs, by libfaketime: the wall's clock only, as when somebody sets
//! it, or a day passes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::skip::skip;

/// A clock that runs as the machine's does, but for an offset.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    directory: TempDir,
}

impl Clock {
    /// A clock that is right; nothing where libfaketime is missing, and the calling test is skipped.
    ///
    /// # Errors
    /// If its file cannot be written.
    pub fn new() -> Result<Option<Self>> {
        let clock = Self::if_installed()?;
        if clock.is_none() {
            skip("libfaketime is not installed (apt-get install faketime)");
        }
        Ok(clock)
    }

    /// A clock that is right; nothing where libfaketime is missing.
    ///
    /// # Errors
    /// If its file cannot be written.
    pub fn if_installed() -> Result<Option<Self>> {
        let Some(library) = library() else {
            return Ok(None);
        };
        let directory = TempDir::with_prefix("zerorate-clock-")?;
        let clock = Self { library, directory };
        clock.set("+0")?;
        Ok(Some(clock))
    }

    /// What the agent is to be started through.
    #[must_use]
    pub fn through(&self) -> Vec<String> {
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", self.library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file().display()),
            // Read at every look, by whatever thread; waiting and measuring go on as they do.
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ]
    }

    /// Sets it: `+14d`, `+3600`, `-2d` beside the machine's.
    ///
    /// # Errors
    /// If its file cannot be written.
    pub fn set(&self, offset: &str) -> Result<()> {
        let new = self.directory.path().join("new");
        fs::write(&new, format!("{offset}\n"))
            .and_then(|()| fs::rename(&new, self.file()))
            .context("setting the clock")
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("clock")
    }
}

/// Where Debian has it, whatever the architecture.
fn library() -> Option<PathBuf> {
    let architectures = fs::read_dir("/usr/lib").ok()?;
    architectures
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketime.so.1"))
        .find(|path: &PathBuf| Path::is_file(path))
}
