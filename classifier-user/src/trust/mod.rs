//! Who may change what is free: signatures of minisign (ed25519), on lists and on whole policies.
//!
//! A set says by which key its list is signed ([`Key`]); `check` sees to it wherever the policy is read. A whole policy is signed
//! by its [`Manifest`]: `bundle.json` beside `policy.toml`, with the hash of every file and a serial number, and its signature
//! beside that. Both travel with the policy: in a bundle (`bundle`), in a directory, in the history. A gateway trusts the
//! keys under `[trust]` ([`Trust`]), and goes back to a lower serial number only when it is told to.

pub mod bundle;
mod key;
mod manifest;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub use key::{InvalidKey, InvalidSignature, Key};
pub use manifest::{MANIFEST, Manifest, SIGNATURE, SIGNATURE_END};

use crate::history::Files;

/// `[trust]`: whose policies this gateway puts in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Keys of which one has to have signed.
    pub keys: Vec<Key>,
    /// Whether no policy comes into force that is not signed.
    pub require_signed: bool,
}

/// Why a policy is not trusted, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// No manifest, or no signature of it.
    #[error(
        "the policy is not signed: there is no {0} beside policy.toml. Have it signed by who keeps it: zerorate bundle manifest \
         DIR, then minisign -Sm DIR/{MANIFEST}"
    )]
    Unsigned(&'static str),
    /// No key is trusted.
    #[error(
        "{MANIFEST}: no key is trusted here: add its public key to `keys` under [trust] in zerorate.toml"
    )]
    NoKeys,
    /// Signed by somebody else.
    #[error(
        "{MANIFEST} is signed by the key {signer}, and trusted are: {trusted}. Have it signed by one of these, or add its public \
         key to `keys` under [trust] in zerorate.toml"
    )]
    OtherKey {
        /// Id of the key.
        signer: String,
        /// Ids of those that are trusted.
        trusted: String,
    },
    /// The signature is not one of this manifest.
    #[error("{SIGNATURE}: {0}. Fetch the bundle again, or have it signed again")]
    Signature(InvalidSignature),
    /// What was signed is no manifest.
    #[error("{MANIFEST}: {0}. Make it again: zerorate bundle manifest DIR")]
    Manifest(String),
    /// A file is another one.
    #[error(
        "{name} is not the file that was signed: its SHA-256 is {found}, signed is {signed}. Fetch the bundle again; if the \
         change is meant, have the policy signed again"
    )]
    Changed {
        /// The file.
        name: String,
        /// Its hash.
        found: String,
        /// The one that was signed.
        signed: String,
    },
    /// A file is not there.
    #[error("{0} is signed and is not there: fetch the bundle again")]
    Missing(String),
    /// A file that was not signed.
    #[error(
        "{0} is not among the files that were signed: remove it, or have the policy signed again"
    )]
    Extra(String),
    /// An earlier one.
    #[error(
        "{MANIFEST}: its serial number is {serial}, and {in_force} is in force: it is older. To go back all the same, say so with \
         --force --reason TEXT"
    )]
    Older {
        /// Its number.
        serial: u64,
        /// That of what is in force.
        in_force: u64,
    },
    /// Another one of the same number.
    #[error(
        "{MANIFEST}: serial number {0} is in force with other files: give it a higher one (zerorate bundle manifest DIR), or say \
         with --force --reason TEXT that it is meant"
    )]
    SameSerial(u64),
}

/// A policy that a trusted key signed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct Seal {
    /// Its serial number.
    pub serial: u64,
    /// SHA-256 of its manifest.
    pub manifest: String,
    /// Id of the key.
    pub key: String,
}

impl Seal {
    /// Sees that it may follow what is in force.
    ///
    /// # Errors
    /// When it is older, or another one of the same number.
    pub fn follows(&self, in_force: Option<&Self>) -> Result<(), Untrusted> {
        match in_force {
            Some(before) if self.serial < before.serial => Err(Untrusted::Older {
                serial: self.serial,
                in_force: before.serial,
            }),
            Some(before) if self.serial == before.serial && self.manifest != before.manifest => {
                Err(Untrusted::SameSerial(self.serial))
            }
            _ => Ok(()),
        }
    }
}

impl Trust {
    /// Sees that a trusted key signed these files. Of the files in `fed`, which the agent makes itself of a feed, only that there
    /// are some was signed.
    ///
    /// # Errors
    /// Which file is in the way, and what to do.
    pub fn verify(&self, files: &Files, fed: &BTreeSet<String>) -> Result<Seal, Untrusted> {
        let all: BTreeMap<&str, &str> = files
            .all()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let manifest = all.get(MANIFEST).ok_or(Untrusted::Unsigned(MANIFEST))?;
        let signature = all.get(SIGNATURE).ok_or(Untrusted::Unsigned(SIGNATURE))?;
        let key = self.signer(manifest, signature)?;
        let hash = |text: &str| hex::encode(Sha256::digest(text));
        let signed = Manifest::parse(manifest).map_err(Untrusted::Manifest)?;
        let named: BTreeMap<&str, &str> = signed.hashes().collect();
        for (name, text) in &all {
            if [MANIFEST, SIGNATURE].contains(name) {
                continue;
            }
            let signed = *named
                .get(name)
                .ok_or_else(|| Untrusted::Extra((*name).to_owned()))?;
            let found = hash(text);
            if found != signed && !fed.contains(*name) {
                return Err(Untrusted::Changed {
                    name: (*name).to_owned(),
                    found,
                    signed: signed.to_owned(),
                });
            }
        }
        match named.keys().find(|name| !all.contains_key(*name)) {
            Some(missing) => Err(Untrusted::Missing((*missing).to_owned())),
            None => Ok(Seal {
                serial: signed.serial,
                manifest: hash(manifest),
                key: key.id().to_owned(),
            }),
        }
    }

    /// The files as the history keeps them: with a signature only if it is a good one, where there are keys to tell. A kept
    /// version's must not be lost to a worse one.
    #[must_use]
    pub fn to_keep(&self, mut files: Files, fed: &BTreeSet<String>) -> Files {
        if !self.keys.is_empty() && self.verify(&files, fed).is_err() {
            let signs = |name: &str| [MANIFEST, SIGNATURE].contains(&name);
            files.beside.retain(|(name, _)| !signs(name));
        }
        files
    }

    /// The trusted key that made a signature.
    fn signer(&self, text: &str, signature: &str) -> Result<&Key, Untrusted> {
        if self.keys.is_empty() {
            return Err(Untrusted::NoKeys);
        }
        let id = key::signer(signature).map_err(Untrusted::Signature)?;
        let Some(key) = self.keys.iter().find(|key| key.id() == id) else {
            let trusted: Vec<&str> = self.keys.iter().map(Key::id).collect();
            return Err(Untrusted::OtherKey {
                signer: id,
                trusted: trusted.join(", "),
            });
        };
        match key.verify(text.as_bytes(), signature) {
            Ok(()) => Ok(key),
            Err(error) => Err(Untrusted::Signature(error)),
        }
    }
}
