//! The version of a policy: a hash of everything it was read from.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::source::SourceFile;

/// SHA-256 over the files, each preceded by its length in eight bytes (little endian), so that text
/// moved from one file to the next is another policy.
pub(super) struct Version(Sha256);

impl Version {
    pub(super) fn new() -> Self {
        Version(Sha256::new())
    }

    pub(super) fn add(&mut self, source: &SourceFile) {
        self.0.update((source.bytes().len() as u64).to_le_bytes());
        self.0.update(source.bytes());
    }

    /// The first 16 hex digits.
    pub(super) fn finish(self) -> String {
        hex(&self.0.finalize()[..8])
    }
}

/// SHA-256 of one file, as `sha256sum` prints it.
pub(super) fn sha256(source: &SourceFile) -> String {
    hex(&Sha256::digest(source.bytes()))
}

fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
