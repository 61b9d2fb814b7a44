//! What only one process may use at a time: a socket, a ledger. The lock is a file of its own beside it, which stays: it is
//! the kernel that knows who holds it, and that gives it up with the process.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a file: `<path>.lock`. `None` when another process has it; it is not waited for.
    ///
    /// # Errors
    /// When the lock's file cannot be made, or the file system knows no locks.
    pub(crate) fn take(path: &Path) -> io::Result<Option<Self>> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let file = File::create(&name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
