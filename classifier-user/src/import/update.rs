//! Lists of a policy that say how they are made (`[sets.import]`), made again: what would change is known before
//! anything is written, and what the policy would be then is checked as a whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Addresses, Imported, import_counted, import_fetched};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::{self, Declared, Terms};
use crate::progress::Progress;

/// One set's list, made again and not yet written.
#[derive(Debug)]
pub struct Refreshed {
    /// The set.
    pub set: String,
    /// Its list file.
    pub path: PathBuf,
    /// The list as it is to be.
    pub imported: Imported,
    /// What it has now; `None` where there is no list that can be read.
    old: Option<Addresses>,
}

impl Refreshed {
    /// Address space that is new.
    #[must_use]
    pub fn added(&self) -> Addresses {
        match &self.old {
            Some(old) => self.imported.list.space.minus(old),
            None => self.imported.list.space.clone(),
        }
    }

    /// Address space that goes.
    #[must_use]
    pub fn removed(&self) -> Addresses {
        let old = self
            .old
            .as_ref()
            .map(|old| old.minus(&self.imported.list.space));
        old.unwrap_or_default()
    }

    /// How much there is before, and after.
    #[must_use]
    pub fn sizes(&self) -> (policy::Space, policy::Space) {
        let before = self.old.as_ref().map(Addresses::size).unwrap_or_default();
        (before, self.imported.list.space.size())
    }

    /// Whether there is anything to write.
    #[must_use]
    pub fn is_change(&self) -> bool {
        !self.imported.list.is_written(&self.path)
    }

    /// Whether there was a list to compare with.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.old.is_none()
    }
}

/// Makes the list of a set again, counted for `progress`.
///
/// # Errors
/// What is wrong with its sources.
pub fn refresh(
    declared: &Declared,
    dir: &Path,
    progress: &Progress,
) -> Result<Refreshed, Diagnostics> {
    let path = dir.join(&declared.file);
    let imported = import_counted(&declared.request, dir, Some(&path), progress)?;
    Ok(refreshed(declared, path, imported))
}

/// Makes the list of a set again, of what was fetched of its source.
///
/// # Errors
/// What is wrong with it.
pub fn refresh_fetched(
    declared: &Declared,
    dir: &Path,
    bytes: Vec<u8>,
) -> Result<Refreshed, Diagnostics> {
    let path = dir.join(&declared.file);
    let imported = import_fetched(&declared.request, dir, Some(&path), bytes)?;
    Ok(refreshed(declared, path, imported))
}

fn refreshed(declared: &Declared, path: PathBuf, imported: Imported) -> Refreshed {
    let old = policy::listed_prefixes(&path).map(|prefixes| Addresses::of(&prefixes));
    Refreshed {
        set: declared.set.clone(),
        path,
        imported,
        old,
    }
}

/// Makes a list again what it was, whole or not at all; `None` where there was none.
///
/// # Errors
/// What the system refused.
pub fn restore(path: &Path, before: Option<&[u8]>) -> io::Result<()> {
    match before {
        Some(before) => super::list::replace(path, before),
        None => fs::remove_file(path),
    }
}

/// Why the policy could not be checked with its new lists.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Errors the policy would have.
    #[error("{0}")]
    Policy(Diagnostics),
    /// The system's.
    #[error("cannot make a copy of the policy to check: {0}")]
    Io(#[from] io::Error),
}

/// Checks the policy in `dir` as it would be with these lists, counted for `progress`; its warnings.
///
/// # Errors
/// What would be wrong with it. Places are those of the policy's own files.
pub fn check(
    dir: &Path,
    refreshed: &[Refreshed],
    progress: &Progress,
) -> Result<Vec<Diagnostic>, Refused> {
    let files = policy::files(dir).map_err(Refused::Policy)?;
    let copy = tempfile::tempdir()?;
    for file in files {
        let from = dir.join(&file);
        let to = copy.path().join(&file);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        match refreshed.iter().find(|list| list.path == from) {
            Some(list) => {
                let text = list.imported.list.text(jiff::Timestamp::now());
                fs::write(to, text)?;
            }
            // What is missing is told by the check.
            None if from.exists() => drop(fs::copy(from, to)?),
            None => {}
        }
    }
    let back = |diagnostic: &mut Diagnostic| {
        let place = &mut diagnostic.place;
        if let Ok(file) = place.file.strip_prefix(copy.path()) {
            place.file = dir.join(file).into();
        }
        let inside = format!("{}/", copy.path().display());
        let outside = format!("{}/", dir.display());
        diagnostic.message = diagnostic.message.replace(&inside, &outside);
    };
    let terms = Terms {
        progress: progress.clone(),
        ..Terms::now()
    };
    match policy::load_on(copy.path(), &terms) {
        Ok(mut checked) => {
            checked.warnings.iter_mut().for_each(back);
            Ok(checked.warnings)
        }
        Err(mut diagnostics) => {
            diagnostics.iter_mut().for_each(back);
            Err(Refused::Policy(diagnostics))
        }
    }
}
