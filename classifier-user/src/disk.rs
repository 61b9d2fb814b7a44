//! Every operation on the disk, one by one, so that tests can let each of them fail.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use crate::fault::{self, Point};

/// A file that is written.
pub(crate) type Out = BufWriter<File>;

/// The disk; in tests, one that fails.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Operations that succeed before all others fail.
    #[cfg(test)]
    pub(crate) left: Option<u32>,
}

impl Disk {
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests count operations")]
    const fn count(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn count(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(crate) fn make_directory(&mut self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        self.count()?;
        fs::create_dir_all(path)
    }

    pub(crate) fn create(&mut self, path: &Path) -> io::Result<Out> {
        self.count()?;
        Ok(BufWriter::with_capacity(1 << 16, File::create(path)?))
    }

    pub(crate) fn write(&mut self, out: &mut Out, bytes: &[u8]) -> io::Result<()> {
        self.count()?;
        out.write_all(bytes)
    }

    pub(crate) fn flush(&mut self, out: &mut Out) -> io::Result<()> {
        self.count()?;
        out.flush()
    }

    /// Sees that a file is on the disk.
    pub(crate) fn finish(&mut self, out: Out) -> io::Result<()> {
        self.count()?;
        out.into_inner()?.sync_all()
    }

    pub(crate) fn write_whole(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut out = self.create(path)?;
        self.write(&mut out, bytes)?;
        self.finish(out)
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.count()?;
        fault::at(Point::BeforeRename);
        fs::rename(from, to)?;
        fault::at(Point::AfterRename);
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.count()?;
        fs::remove_file(path)
    }

    /// Sees that names are on the disk.
    pub(crate) fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
        self.count()?;
        File::open(path)?.sync_all()
    }
}
