//! What is signed of a policy: the hashes of its files, and a serial number that rises.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::history::Files;

/// The manifest's file, beside `policy.toml`.
pub const MANIFEST: &str = "bundle.json";
/// Its signature.
pub const SIGNATURE: &str = "bundle.json.minisig";
/// What a signature's name has behind that of what was signed.
pub const SIGNATURE_END: &str = ".minisig";

/// The form this version writes, and the only one it reads.
const FORM: u32 = 1;

/// What is signed of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The form of this file.
    pub bundle: u32,
    /// Name of the policy, for people.
    pub policy: String,
    /// Its number: a gateway does not go back to a lower one by itself.
    pub serial: u64,
    /// When it was made.
    pub made: Timestamp,
    /// The files the policy's version is the hash of, in their order.
    pub files: Vec<Signed>,
    /// Files that change nothing in what the policy says.
    pub beside: Vec<Signed>,
}

/// A file that is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Its name, relative to `policy.toml`.
    pub name: String,
    /// Its SHA-256 in hex.
    pub sha256: String,
}

impl Manifest {
    /// The manifest of a policy's files.
    #[must_use]
    pub fn of(policy: &str, serial: u64, files: &Files, made: Timestamp) -> Self {
        let signed = |files: &[(String, String)]| -> Vec<Signed> {
            let others = files.iter();
            let others = others.filter(|(name, _)| ![MANIFEST, SIGNATURE].contains(&name.as_str()));
            others
                .map(|(name, text)| Signed {
                    name: name.clone(),
                    sha256: hex::encode(Sha256::digest(text)),
                })
                .collect()
        };
        Self {
            bundle: FORM,
            policy: policy.to_owned(),
            serial,
            made,
            files: signed(&files.read),
            beside: signed(&files.beside),
        }
    }

    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match manifest.bundle {
            FORM => Ok(manifest),
            other => Err(format!(
                "it is of the form {other}, and this version of zerorate reads form {FORM}"
            )),
        }
    }

    /// As it is written.
    ///
    /// # Errors
    /// None that are known.
    pub fn text(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Name and hash of each file.
    pub(super) fn hashes(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.files.iter().chain(&self.beside);
        all.map(|signed| (signed.name.as_str(), signed.sha256.as_str()))
    }
}
