//! A disk that is soon full.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A file system of a megabyte, gone on drop.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Makes one, and the directory it is mounted at.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub fn new(at: &Path) -> Result<Self> {
        fs::create_dir(at)?;
        let options = Some("size=1m");
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), options)
            .context("cannot mount a tmpfs")?;
        Ok(Self(at.to_owned()))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Fills it to the last byte; whoever removes the file that is returned makes room again.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn fill(&self) -> Result<PathBuf> {
        let path = self.0.join("filler");
        let mut file = File::create(&path)?;
        while file.write(&[0; 512]).is_ok_and(|written| written > 0) {}
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever has a file open there is ended later.
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {error}", self.0.display());
        }
    }
}
