//! Public keys and signatures as minisign writes them.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minisign_verify::{Error, PublicKey, Signature};
use serde::{Deserialize, Deserializer, de};

/// A public key: the second line of `minisign.pub`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    key: PublicKey,
    id: String,
    text: String,
}

/// Text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no public key of minisign: write the second line of its minisign.pub, such as \"RWQ...\""
)]
pub struct InvalidKey(String);

/// Why a signature is not one of a text by a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSignature {
    /// Not what minisign writes.
    #[error("is no signature of minisign")]
    NoSignature,
    /// By another key.
    #[error("was made by the key {by}, not by {wanted}")]
    OtherKey {
        /// Id of the key that made it.
        by: String,
        /// Id of the key that was to.
        wanted: String,
    },
    /// Of an old kind that is not taken.
    #[error("is of the old kind, which minisign -l makes: sign it without -l")]
    Legacy,
    /// What was signed is another text, or the signature was changed.
    #[error("does not fit: what was signed was changed since, or the signature was")]
    Changed,
}

/// Where the id stands in what keys and signatures begin with: behind two bytes that name the algorithm.
const ID: std::ops::Range<usize> = 2..10;

/// The id as minisign prints it.
fn id_of(base64: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(base64.trim()).ok()?;
    let id: [u8; 8] = bytes.get(ID)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(id)))
}

impl Key {
    /// Reads a public key.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let text = text.trim();
        let read = || Some((PublicKey::from_base64(text).ok()?, id_of(text)?));
        let (key, id) = read().ok_or_else(|| InvalidKey(text.to_owned()))?;
        Ok(Self {
            key,
            id,
            text: text.to_owned(),
        })
    }

    /// Its id, as minisign prints it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// It as it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Sees that it signed `bytes`; `signature` is the text of a `.minisig`.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, bytes: &[u8], signature: &str) -> Result<(), InvalidSignature> {
        let by = signer(signature)?;
        let signature = Signature::decode(signature).map_err(|_| InvalidSignature::NoSignature)?;
        let verified = self.key.verify(bytes, &signature, false);
        verified.map_err(|error| match error {
            Error::UnexpectedKeyId => InvalidSignature::OtherKey {
                by,
                wanted: self.id.clone(),
            },
            Error::UnexpectedAlgorithm => InvalidSignature::Legacy,
            _ => InvalidSignature::Changed,
        })
    }
}

/// Id of the key that made a signature, as it says itself.
pub(super) fn signer(signature: &str) -> Result<String, InvalidSignature> {
    let line = signature.lines().nth(1);
    line.and_then(id_of).ok_or(InvalidSignature::NoSignature)
}

/// A public key is no secret; its id says which it is.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of the documentation of minisign-verify: of the text `test`, prehashed.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1556193335\tfile:test\n\
        y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==";

    #[test]
    fn a_signature_holds_for_its_text_and_its_key_alone() {
        let key = Key::parse(KEY).unwrap();
        assert_eq!(key.id(), "E7620F1842B4E81F");
        assert_eq!(key.verify(b"test", SIGNATURE), Ok(()));
        assert_eq!(
            key.verify(b"Test", SIGNATURE),
            Err(InvalidSignature::Changed)
        );
        let comment = SIGNATURE.replace("1556193335", "1556193336");
        assert_eq!(
            key.verify(b"test", &comment),
            Err(InvalidSignature::Changed)
        );
        for text in ["", "x\ny\n", &SIGNATURE[..90]] {
            assert_eq!(
                key.verify(b"test", text),
                Err(InvalidSignature::NoSignature),
                "{text}"
            );
        }
        // Another id, the same key behind it.
        let other = KEY.replace("RWQf6L", "RWQf6M");
        let other = Key::parse(&other).unwrap().verify(b"test", SIGNATURE);
        assert!(
            matches!(other, Err(InvalidSignature::OtherKey { .. })),
            "{other:?}"
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "RWQ", &KEY[1..], "untrusted comment: x"] {
            let said = Key::parse(text).unwrap_err().to_string();
            assert!(said.contains("minisign.pub"), "{said}");
        }
    }
}
