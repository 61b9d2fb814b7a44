//! A source, read whole: from a file or standard input, unpacked if it is compressed, with the hash of what was read.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Request;
use super::fetch::{self, Fetched, Unfetched};
use crate::diagnostic::{Diagnostics, quote};
use crate::policy::{Place, SourceFile};
use crate::progress::Progress;
use crate::trust::{InvalidSignature, SIGNATURE_END};

/// Most bytes of a source, packed and unpacked: full tables are a tenth of it.
pub const MAX_BYTES: u64 = 1 << 30;

/// A source's bytes.
#[derive(Debug)]
pub(crate) struct Input {
    /// What diagnostics call it.
    path: Arc<PathBuf>,
    /// Unpacked.
    bytes: Vec<u8>,
    /// SHA-256 of what was read, before it was unpacked, in hex.
    pub(crate) sha256: String,
    /// What is read of it is counted for this.
    pub(crate) progress: Progress,
}

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is not a regular file")]
    NotAFile,
    #[error("is larger than 1 GiB")]
    TooLarge,
    #[error(transparent)]
    Unfetched(#[from] Unfetched),
    #[error("is to be signed, and its signature {0}")]
    Signature(InvalidSignature),
    #[error("is to be signed, and its signature {0} cannot be read: {1}")]
    Unsigned(String, Box<Unusable>),
    #[error("is {packing} and cannot be unpacked: {error}")]
    Packed {
        packing: &'static str,
        error: io::Error,
    },
}

impl Unusable {
    fn help(&self) -> &'static str {
        match self {
            Self::Io(_) => "check that it exists under this name and may be read",
            Self::NotAFile => "name a file, or - for standard input",
            Self::TooLarge => "check that this is the right file",
            Self::Unfetched(error) => error.help(),
            Self::Signature(_) => {
                "fetch it and its signature again; if somebody else signs it now, declare that key (signed_by)"
            }
            Self::Unsigned(..) => {
                "ask whoever publishes it for its signature, beside it; or remove signed_by if nobody signs it"
            }
            Self::Packed { .. } => "fetch it again: it is damaged or was cut off",
        }
    }
}

impl Input {
    /// Reads `source`, a file name below `base` if it is relative, or `-`.
    pub(crate) fn read(
        source: &str,
        base: &Path,
        request: &Request,
        out: &mut Diagnostics,
    ) -> Option<Self> {
        Self::of(source, base, bytes_of(source, base, request), request, out)
    }

    /// What was fetched of a source on the web.
    pub(crate) fn fetched(
        source: &str,
        base: &Path,
        packed: Vec<u8>,
        request: &Request,
        out: &mut Diagnostics,
    ) -> Option<Self> {
        Self::of(source, base, Ok(packed), request, out)
    }

    fn of(
        source: &str,
        base: &Path,
        packed: Result<Vec<u8>, Unusable>,
        request: &Request,
        out: &mut Diagnostics,
    ) -> Option<Self> {
        let path = Arc::new(match source {
            "-" => PathBuf::from("stdin"),
            web if fetch::is_web(web) => PathBuf::from(web),
            file => base.join(file),
        });
        let signed = packed.and_then(|packed| {
            check_signature(source, base, &packed, request)?;
            Ok(packed)
        });
        match signed.and_then(|packed| Self::unpack(Arc::clone(&path), packed)) {
            Ok(input) => Some(input),
            Err(error) => {
                let message = format!("the source {} {error}", quote(source));
                out.error(start_of(&path), "unreadable", message, error.help());
                None
            }
        }
    }

    /// What was read as `path`.
    pub(crate) fn unpack(path: Arc<PathBuf>, packed: Vec<u8>) -> Result<Self, Unusable> {
        let sha256 = hex::encode(Sha256::digest(&packed));
        let bytes = match packed.as_slice() {
            // Several members one after the other are one file, for both.
            [0x1f, 0x8b, ..] => unpacked("gzip", flate2::read::MultiGzDecoder::new(&packed[..]))?,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => {
                unpacked("bzip2", bzip2::read::MultiBzDecoder::new(&packed[..]))?
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
                return Err(refused("xz", "unpack it with xz -d first"));
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                return Err(refused("zstd", "unpack it with zstd -d first"));
            }
            [b'P', b'K', 3, 4, ..] => return Err(refused("zip", "unpack it with unzip first")),
            _ => packed,
        };
        Ok(Self {
            path,
            bytes,
            sha256,
            progress: Progress::default(),
        })
    }

    /// The same, and what will be read of it is counted for `progress`.
    pub(crate) fn counted(self, progress: &Progress) -> Self {
        progress.plan(self.bytes.len() as u64);
        Self {
            progress: progress.clone(),
            ..self
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where something is wrong with the source as a whole.
    pub(crate) fn start(&self) -> Place {
        start_of(&self.path)
    }

    /// The source as text; `None` if it is none, which is reported.
    pub(crate) fn text(&self, out: &mut Diagnostics) -> Option<SourceFile> {
        let source = |text: &str| SourceFile::new(Arc::clone(&self.path), text.to_owned());
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Some(source(text).counted(&self.progress)),
            Err(error) => {
                let valid = String::from_utf8_lossy(&self.bytes[..error.valid_up_to()]);
                let source = source(&valid);
                out.error(
                    source.place(source.text().len()),
                    "not-utf8",
                    "this byte is not UTF-8 text",
                    "check that this is the right file, and the format it is in",
                );
                None
            }
        }
    }
}

/// The bytes of a source, wherever it is.
fn bytes_of(source: &str, base: &Path, request: &Request) -> Result<Vec<u8>, Unusable> {
    if source == "-" {
        return limited(io::stdin().lock());
    }
    if !fetch::is_web(source) {
        return read_file(&base.join(source));
    }
    match fetch::fetch(source, &request.limits.below(base), None)? {
        Fetched::New(body) => Ok(body.bytes),
        // Nothing was said of what is known already.
        Fetched::Same => Err(Unfetched::Status(304).into()),
    }
}

/// Sees that a source has the signature it is to have.
fn check_signature(
    source: &str,
    base: &Path,
    packed: &[u8],
    request: &Request,
) -> Result<(), Unusable> {
    let Some(key) = &request.signed_by else {
        return Ok(());
    };
    let name = format!("{source}{SIGNATURE_END}");
    let signature = bytes_of(&name, base, request);
    let signature = signature.map_err(|error| Unusable::Unsigned(name, Box::new(error)))?;
    let signature = String::from_utf8_lossy(&signature);
    key.verify(packed, &signature).map_err(Unusable::Signature)
}

fn start_of(path: &Arc<PathBuf>) -> Place {
    Place {
        file: Arc::clone(path),
        line: 1,
        column: 1,
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Unusable> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Unusable::NotAFile);
    }
    limited(file)
}

fn limited(reader: impl Read) -> Result<Vec<u8>, Unusable> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Unusable::TooLarge);
    }
    Ok(bytes)
}

fn unpacked(packing: &'static str, reader: impl Read) -> Result<Vec<u8>, Unusable> {
    limited(reader).map_err(|error| match error {
        Unusable::Io(error) => Unusable::Packed { packing, error },
        other => other,
    })
}

fn refused(packing: &'static str, what_to_do: &str) -> Unusable {
    Unusable::Packed {
        packing,
        error: io::Error::new(io::ErrorKind::Unsupported, what_to_do),
    }
}
