//! A publication on disk: a page for each language, and `publication.json`. Each is written under another name and renamed, the
//! record last: a publication that was cut short is made again, and finds the same one before it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{FORMAT, Publication, page};
use crate::import::replace;
use crate::language::Language;

/// Name of the file that holds what was published.
pub const RECORD: &str = "publication.json";

/// Why nothing can be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The disk would not.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// What was published last cannot be read.
    #[error(
        "{}: not a publication: {error}; put the file as it was back, or remove it, and what is published now is the first one",
        path.display()
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// It is of another version of zerorate.
    #[error(
        "{}: a publication of layout {format}, and this zerorate knows {FORMAT}: publish with the version that wrote it, or \
         remove the file, and what is published now is the first one",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its layout.
        format: u64,
    },
}

/// What was published last in a directory.
pub type Previous = Option<Publication>;

/// Reads what was published last in a directory; `None` where nothing was.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn previous(dir: &Path) -> Result<Previous, PublishError> {
    let path = dir.join(RECORD);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PublishError::Io { path, error }),
    };
    let record = |error| PublishError::Record {
        path: path.clone(),
        error,
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(record)?;
    match value["format"].as_u64() {
        Some(format) if format != u64::from(FORMAT) => Err(PublishError::Format {
            path: path.clone(),
            format,
        }),
        _ => serde_json::from_value(value).map(Some).map_err(record),
    }
}

/// Writes a publication into a directory, which is made if it is not there; says what was written.
///
/// # Errors
/// When the disk would not; pages may be of this publication and others of the one before then.
pub fn write(
    dir: &Path,
    publication: &Publication,
    languages: &[Language],
) -> Result<Vec<PathBuf>, PublishError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| PublishError::Io { path, error }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let mut written = Vec::new();
    for language in languages {
        let path = dir.join(format!("{language}.html"));
        let text = page(publication, *language, languages);
        replace(&path, text.as_bytes()).map_err(failed(&path))?;
        written.push(path);
    }
    let path = dir.join(RECORD);
    let mut record = serde_json::to_vec_pretty(publication)
        .map_err(io::Error::from)
        .map_err(failed(&path))?;
    record.push(b'\n');
    replace(&path, &record).map_err(failed(&path))?;
    written.push(path);
    Ok(written)
}
