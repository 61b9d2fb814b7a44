//! A bundle: a policy's files in one tar file, the manifest and its signature first. The same files give the same bytes.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};

use super::{MANIFEST, Manifest, SIGNATURE, Untrusted};
use crate::history::Files;

/// Most bytes of a file of a bundle, and of all of them.
const MOST_BYTES: u64 = 1 << 28;

/// Why a file is no bundle, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum NoBundle {
    /// It cannot be read as a tar file, to its end.
    #[error(
        "is no bundle, or was cut short: {0}; make it with zerorate bundle make DIR -o FILE, or fetch it again"
    )]
    Tar(#[from] io::Error),
    /// Something in it is out of place.
    #[error("is no bundle: {0}; make it with zerorate bundle make DIR -o FILE")]
    Entry(String),
    /// What says what is in it.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
}

/// Writes the files as a bundle, in their order.
///
/// # Errors
/// When it cannot be written.
pub fn pack(files: &Files, out: impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(out);
    let is_first = |name: &str| [MANIFEST, SIGNATURE].contains(&name);
    let first = files.all().filter(|(name, _)| is_first(name));
    let others = files.all().filter(|(name, _)| !is_first(name));
    for (name, text) in first.chain(others) {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        tar.append_data(&mut header, name, text.as_bytes())?;
    }
    tar.into_inner()?.flush()
}

/// Reads the files of a bundle. Whether somebody signed them is another question.
///
/// # Errors
/// When it is none.
pub fn unpack(bytes: &[u8]) -> Result<Files, NoBundle> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut left = MOST_BYTES;
    for entry in tar::Archive::new(bytes).entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let wrong = |what: &str| Err(NoBundle::Entry(format!("{name:?} {what}")));
        if !entry.header().entry_type().is_file() {
            return wrong("is not a regular file");
        }
        let size = entry.size();
        if size > left {
            return wrong("is larger than a policy can be");
        }
        left -= size;
        let mut text = String::new();
        let read = entry.read_to_string(&mut text);
        match read {
            Ok(read) if read as u64 == size => {}
            Ok(_) => return wrong("was cut short"),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return wrong("is not UTF-8 text");
            }
            Err(error) => return Err(error.into()),
        }
        if found.insert(name.clone(), text).is_some() {
            return wrong("is there twice");
        }
    }
    let manifest = found.get(MANIFEST).ok_or(Untrusted::Unsigned(MANIFEST))?;
    let manifest = Manifest::parse(manifest).map_err(Untrusted::Manifest)?;
    let mut take = |name: &str| {
        let text = found.remove(name);
        text.map(|text| (name.to_owned(), text))
            .ok_or_else(|| Untrusted::Missing(name.to_owned()))
    };
    let mut files = Files {
        read: Vec::new(),
        beside: Vec::new(),
    };
    for signed in &manifest.files {
        files.read.push(take(&signed.name)?);
    }
    for signed in &manifest.beside {
        files.beside.push(take(&signed.name)?);
    }
    // Those that nobody signed are there to be told of.
    files.beside.extend(found);
    files.check().map_err(NoBundle::Entry)?;
    Ok(files)
}
