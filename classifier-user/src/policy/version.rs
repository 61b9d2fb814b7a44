//! The version of a policy: a hash of everything it was read from.

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
        self.add_bytes(source.bytes());
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The first 16 hex digits.
    pub(super) fn finish(self) -> String {
        hex::encode(&self.0.finalize()[..8])
    }
}

/// The version of a policy that is read from these files, the policy file first.
pub(crate) fn version_of<'a>(files: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut version = Version::new();
    files.into_iter().for_each(|bytes| version.add_bytes(bytes));
    version.finish()
}

/// SHA-256 of one file, as `sha256sum` prints it.
pub(super) fn sha256(source: &SourceFile) -> String {
    hex::encode(Sha256::digest(source.bytes()))
}
