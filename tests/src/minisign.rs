//! Somebody who signs with minisign.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// A key of minisign, and whoever has it.
#[derive(Debug)]
pub struct Signer {
    directory: TempDir,
    /// The public key, as configurations name it.
    pub public: String,
}

impl Signer {
    /// Makes a key. `None` where there is no minisign.
    ///
    /// # Errors
    /// If minisign refuses.
    pub fn new() -> Result<Option<Self>> {
        let directory = tempfile::tempdir()?;
        let made = Command::new("minisign")
            .args(["-G", "-W", "-p", "k.pub", "-s", "k.key"])
            .current_dir(directory.path())
            .output();
        let Ok(made) = made else {
            return Ok(None);
        };
        ensure!(made.status.success(), "{made:?}");
        let public = std::fs::read_to_string(directory.path().join("k.pub"))?;
        let public = public.lines().nth(1).context("no public key")?.to_owned();
        Ok(Some(Self { directory, public }))
    }

    /// Signs a file; the signature stands beside it.
    ///
    /// # Errors
    /// If minisign refuses.
    pub fn sign(&self, file: &Path) -> Result<()> {
        let signed = Command::new("minisign")
            .args(["-S", "-W", "-s"])
            .arg(self.directory.path().join("k.key"))
            .arg("-m")
            .arg(file)
            .stdin(Stdio::null())
            .output()?;
        ensure!(signed.status.success(), "{signed:?}");
        Ok(())
    }
}
