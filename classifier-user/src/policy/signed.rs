//! Lists that somebody signs: the signature stands beside the list, as `LIST.minisig`, and the policy names the key.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::names::{check_name, suggest};
use super::read::{RawKey, RawSet};
use super::section::At;
use super::sets::inside;
use super::source::SourceFile;
use crate::diagnostic::{Diagnostics, quote};
use crate::trust::{Key, SIGNATURE_END};

/// Public keys by the names a policy gives them.
#[derive(Default)]
pub(super) struct Keys<'a>(HashMap<&'a str, Option<Key>>);

impl<'a> Keys<'a> {
    /// Checks `[keys]`.
    pub(super) fn check(raw: &'a [RawKey], out: &mut Diagnostics) -> Self {
        let keys = raw.iter().map(|raw| {
            check_name("key", &raw.name, out);
            let key = raw.key.as_ref().and_then(|key| parse(key, out));
            (raw.name.value.as_str(), key)
        });
        Self(keys.collect())
    }

    /// The key that is meant: one of `[keys]` by its name, or itself. `None` if there is none, which has been reported.
    pub(super) fn find(&self, signed_by: &At<String>, out: &mut Diagnostics) -> Option<Key> {
        if let Some(known) = self.0.get(signed_by.value.as_str()) {
            return known.clone();
        }
        if let Ok(key) = Key::parse(&signed_by.value) {
            return Some(key);
        }
        let message = format!(
            "signed_by names {}, and there is no such key",
            quote(&signed_by.value)
        );
        let help = match self.0.is_empty() {
            true => "write the public key, the second line of minisign.pub; or name it in a table [keys]".to_owned(),
            false => suggest(&signed_by.value, "keys", self.0.keys().copied()),
        };
        out.error(signed_by.place.clone(), "unknown-key-name", message, help);
        None
    }
}

fn parse(key: &At<String>, out: &mut Diagnostics) -> Option<Key> {
    let parsed = Key::parse(&key.value);
    if parsed.is_err() {
        out.error(
            key.place.clone(),
            "bad-key",
            format!("{} is no public key of minisign", quote(&key.value)),
            "write the second line of minisign.pub, such as \"RWQ...\"",
        );
    }
    parsed.ok()
}

/// The signature's file of a list.
pub(super) fn signature_of(list: &Path) -> PathBuf {
    let mut name = list.as_os_str().to_owned();
    name.push(SIGNATURE_END);
    name.into()
}

/// Whether the signature is the list's; where the agent makes the list of a source, it is the source's.
pub(super) fn is_of_list(set: &RawSet) -> bool {
    set.signed_by.is_some() && set.import.is_none()
}

/// Sees that a list has the signature its set declares. The file of the signature, so that it is kept with the list.
pub(super) fn check_list(
    list: &SourceFile,
    set: &RawSet,
    keys: &Keys<'_>,
    dir: &Path,
    out: &mut Diagnostics,
) -> Option<SourceFile> {
    let signed_by = set.signed_by.as_ref()?;
    let key = keys.find(signed_by, out)?;
    if !is_of_list(set) {
        return None;
    }
    let file = set.file.as_ref()?;
    let named = At {
        value: format!("{}{SIGNATURE_END}", file.value),
        place: signed_by.place.clone(),
    };
    let signature = match SourceFile::read(&inside(&named, dir, out)?) {
        Ok(signature) => signature,
        Err(error) => {
            let shown = format!("the signature {} of the list", quote(&named.value));
            error.report(&shown, signed_by.place.clone(), out);
            return None;
        }
    };
    if let Err(error) = key.verify(list.bytes(), signature.text()) {
        out.error(
            signed_by.place.clone(),
            "signature",
            format!("{}: {} {error}", list.path().display(), quote(&named.value)),
            "fetch the list and its signature again; if somebody else signs it now, declare that key",
        );
    }
    Some(signature)
}

/// What is signed needs a file.
pub(super) fn check_has_file(set: &RawSet, out: &mut Diagnostics) {
    if let (Some(signed_by), None, false) = (&set.signed_by, &set.file, set.broken) {
        out.error(
            signed_by.place.clone(),
            "no-file",
            "signed_by is given, and the set has no file that could be signed",
            "add file, or remove signed_by",
        );
    }
}
