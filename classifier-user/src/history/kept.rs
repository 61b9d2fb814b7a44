//! Versions as they were: the files of a policy directory, byte for byte, under the version that is their hash.
//!
//! A kept version is a policy directory like any other. Contents that versions share are on the disk once: a version's
//! files are hard links to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{HistoryError, Result, io_at, sync_dir};
use crate::policy::{self, Policy};
use crate::trust::{MANIFEST, SIGNATURE};

pub(super) fn versions_dir(dir: &Path) -> PathBuf {
    dir.join("versions")
}

pub(super) fn objects_dir(dir: &Path) -> PathBuf {
    dir.join("objects")
}

/// The files of a policy directory: names relative to it, and texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyFiles)]
pub struct Files {
    /// Files the version is the hash of, `policy.toml` first: name and text of each.
    #[schema(value_type = Vec<Vec<String>>)]
    pub read: Vec<(String, String)>,
    /// Files that change nothing in what the policy says.
    #[schema(value_type = Vec<Vec<String>>)]
    pub beside: Vec<(String, String)>,
}

impl Files {
    /// Reads the files a policy was read from, once more.
    ///
    /// # Errors
    /// When they cannot be read, or are no longer those the policy was read from.
    pub fn of(policy: &Policy) -> Result<Self> {
        let root = root(policy);
        let read = |path: &PathBuf| -> Result<(String, String)> {
            let text = fs::read_to_string(path).map_err(io_at(path))?;
            Ok((name_below(root, path), text))
        };
        let each = |paths: &[std::sync::Arc<PathBuf>]| -> Result<Vec<_>> {
            paths.iter().map(|path| read(path)).collect()
        };
        let files = Self {
            read: each(&policy.files)?,
            beside: each(&policy.beside)?,
        };
        if files.version() == policy.version {
            Ok(files)
        } else {
            Err(HistoryError::Moving)
        }
    }

    /// The version of a policy that is read from these.
    #[must_use]
    pub fn version(&self) -> String {
        policy::version_of(self.read.iter().map(|(_, text)| text.as_bytes()))
    }

    /// Sees that they can be the files of a policy directory.
    ///
    /// # Errors
    /// When not; says why.
    pub fn check(&self) -> std::result::Result<(), String> {
        /// Longest name a directory takes (`NAME_MAX`), with room for what is put behind it.
        const LONGEST: usize = 200;
        if self
            .read
            .first()
            .is_none_or(|(name, _)| name != "policy.toml")
        {
            return Err("the first file of `read` has to be policy.toml".to_owned());
        }
        let mut names: Vec<&Path> = Vec::new();
        for (name, _) in self.all() {
            let long = |part: Component<'_>| part.as_os_str().len() > LONGEST;
            let path = Path::new(name);
            let is_name = inside(path, name).is_ok() && !name.contains('\0');
            if !is_name || name.len() > 10 * LONGEST || path.components().any(long) {
                return Err(format!(
                    "{name:?} is no name of a file in the policy's directory"
                ));
            }
            let clash = |other: &&&Path| path.starts_with(other) || other.starts_with(path);
            if let Some(other) = names.iter().find(clash) {
                let other = other.display();
                return Err(format!("{name:?} and {other} cannot both be files"));
            }
            names.push(path);
        }
        Ok(())
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &(String, String)> {
        self.read.iter().chain(&self.beside)
    }

    /// Writes them into an empty or new directory.
    ///
    /// # Errors
    /// When a name leads out of it, something is there already, or it cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        for (name, text) in self.all() {
            let path = dir.join(inside(dir, name)?);
            make_parent(&path)?;
            let write = || File::create_new(&path)?.write_all(text.as_bytes());
            write().map_err(io_at(&path))?;
        }
        Ok(())
    }
}

/// A name that stays in the directory.
fn inside<'a>(dir: &Path, name: &'a str) -> Result<&'a Path> {
    let path = Path::new(name);
    let stays = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if name.is_empty() || !path.components().all(stays) {
        return Err(HistoryError::Damaged {
            path: dir.to_owned(),
            what: format!("a file named {name:?} would not lie in it"),
        });
    }
    Ok(path)
}

fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(io_at(parent)),
        None => Ok(()),
    }
}

/// The directory of a kept version.
#[must_use]
pub fn path_of(dir: &Path, version: &str) -> PathBuf {
    versions_dir(dir).join(version)
}

/// Whether a version is kept.
#[must_use]
pub fn is_kept(dir: &Path, version: &str) -> bool {
    path_of(dir, version).is_dir()
}

/// Versions that are kept, sorted.
///
/// # Errors
/// When the directory cannot be read.
pub fn versions(dir: &Path) -> Result<Vec<String>> {
    let path = versions_dir(dir);
    let mut found = Vec::new();
    for entry in fs::read_dir(&path).map_err(io_at(&path))? {
        let name = entry.map_err(io_at(&path))?.file_name();
        let name = name.to_string_lossy();
        if is_version(&name) {
            found.push(name.into_owned());
        }
    }
    found.sort();
    Ok(found)
}

fn is_version(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The version of which `given` is the beginning.
///
/// # Errors
/// When there is none, or more than one.
pub fn resolve(dir: &Path, given: &str) -> Result<String> {
    let mut found = versions(dir)?;
    found.retain(|version| version.starts_with(given));
    match (found.len(), given.len()) {
        (1, 4..) => Ok(found.swap_remove(0)),
        (0 | 1, _) => Err(HistoryError::Unknown(given.to_owned())),
        _ => Err(HistoryError::Ambiguous {
            given: given.to_owned(),
            found,
        }),
    }
}

/// Keeps the files of a version, if they are not kept yet.
///
/// # Errors
/// When they cannot be written; nothing is kept then.
pub fn keep(dir: &Path, version: &str, files: &Files) -> Result<()> {
    let path = path_of(dir, version);
    if path.exists() {
        return sign_again(dir, &path, files);
    }
    let new = versions_dir(dir).join(format!(".new-{version}"));
    // Somebody may have been interrupted here.
    if new.exists() {
        fs::remove_dir_all(&new).map_err(io_at(&new))?;
    }
    for (name, text) in files.all() {
        let object = object(dir, text)?;
        let link = new.join(inside(&new, name)?);
        make_parent(&link)?;
        // A list may be named twice, as a list of shared hosting, too.
        if !link.exists() {
            fs::hard_link(&object, &link)
                .or_else(|_| fs::copy(&object, &link).map(drop))
                .map_err(io_at(&link))?;
        }
        if let Some(parent) = link.parent() {
            sync_dir(parent).map_err(io_at(parent))?;
        }
    }
    fs::rename(&new, &path).map_err(io_at(&path))?;
    sync_dir(&versions_dir(dir)).map_err(io_at(&path))
}

/// Puts what somebody signed of a kept version beside it, where it was signed since, or again.
fn sign_again(dir: &Path, path: &Path, files: &Files) -> Result<()> {
    for (name, text) in &files.beside {
        let link = path.join(inside(path, name)?);
        let is_signed = [MANIFEST, SIGNATURE].contains(&name.as_str());
        if !is_signed || fs::read(&link).is_ok_and(|found| found == text.as_bytes()) {
            continue;
        }
        let object = object(dir, text)?;
        let new = path.join(format!(".new-{name}"));
        let put = || {
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::hard_link(&object, &new).or_else(|_| fs::copy(&object, &new).map(drop))?;
            fs::rename(&new, &link)?;
            sync_dir(path)
        };
        put().map_err(io_at(&link))?;
    }
    Ok(())
}

/// Names of the lists the agent makes of feeds, as [`Files`] have them.
#[must_use]
pub fn fed(policy: &Policy) -> BTreeSet<String> {
    let root = root(policy);
    let lists = policy.sets.iter().filter(|set| set.is_fed);
    let lists = lists.filter_map(|set| set.list.as_ref());
    lists.map(|list| name_below(root, &list.path)).collect()
}

/// The directory a policy was read from.
fn root(policy: &Policy) -> &Path {
    let toml = policy.files.first().map(|path| path.as_path());
    toml.and_then(Path::parent).unwrap_or(Path::new("."))
}

fn name_below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Forgets a version nobody was told of.
pub fn forget(dir: &Path, version: &str) {
    let path = path_of(dir, version);
    if let Err(error) = fs::remove_dir_all(&path) {
        tracing::warn!("removing {}: {error}", path.display());
    }
}

/// The file of a content, written if there is none.
fn object(dir: &Path, text: &str) -> Result<PathBuf> {
    let path = objects_dir(dir).join(hex::encode(Sha256::digest(text)));
    let new = path.with_extension("new");
    let is_whole = fs::read(&path).is_ok_and(|found| found == text.as_bytes());
    if !is_whole {
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.set_permissions(fs::Permissions::from_mode(0o444))?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync_dir(&objects_dir(dir))
        };
        write().map_err(io_at(&path))?;
    }
    Ok(path)
}

/// Reads a kept version, and sees that it is what was kept.
///
/// # Errors
/// When there is none, or it is another policy now, or none.
pub fn load(dir: &Path, version: &str) -> Result<policy::Checked> {
    let path = path_of(dir, version);
    if !path.is_dir() {
        return Err(HistoryError::Unknown(version.to_owned()));
    }
    let damaged = |what: String| HistoryError::Damaged {
        path: path.clone(),
        what: format!("{what}; restore it from a copy, or put another version in force"),
    };
    let checked = policy::load(&path).map_err(|error| damaged(error.to_string()))?;
    if checked.policy.version != version {
        let found = &checked.policy.version;
        return Err(damaged(format!(
            "its files have the version {found}: they were changed"
        )));
    }
    Ok(checked)
}

/// Sizes of the files of a kept version, by name.
///
/// # Errors
/// When they cannot be read.
pub fn sizes(files: &Files) -> BTreeMap<&str, usize> {
    let sizes = files.all().map(|(name, text)| (name.as_str(), text.len()));
    sizes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "name = \"kept\"\ndefault_class = \"internet\"\nhosting = \"shared.txt\"\n\
        [classes.internet]\nrating_group = 1\n[classes.portal]\nrating_group = 2\n\
        [[sets]]\nname = \"portals\"\nclass = \"portal\"\nfile = \"lists/portals.txt\"\n\
        [plans.basic.charge]\n\"*\" = \"metered\"\n";

    fn write(dir: &Path, list: &str) {
        fs::create_dir_all(dir.join("lists")).unwrap();
        for (name, text) in [
            ("policy.toml", POLICY),
            ("lists/portals.txt", list),
            ("shared.txt", ""),
        ] {
            fs::write(dir.join(name), text).unwrap();
        }
    }

    #[test]
    fn a_version_is_kept_whole_once_and_unchanged() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut kept = Vec::new();
        for list in ["\u{feff}8.8.8.0/24\r\n", "8.8.4.0/24\n"] {
            write(from.path(), list);
            let policy = policy::load(from.path()).unwrap().policy;
            let files = Files::of(&policy).unwrap();
            super::super::History::open(to.path()).unwrap();
            for _ in 0..2 {
                keep(to.path(), &policy.version, &files).unwrap();
            }
            let again = load(to.path(), &policy.version).unwrap().policy;
            assert_eq!(Files::of(&again).unwrap(), files);
            kept.push(policy.version.clone());

            // What is read once more is what was read, or it is not kept.
            write(from.path(), "1.1.1.0/24\n");
            assert!(matches!(Files::of(&policy), Err(HistoryError::Moving)));
        }
        // Two lists; the policy and the list of shared hosting are the same in both.
        assert_eq!(fs::read_dir(objects_dir(to.path())).unwrap().count(), 4);
        assert_eq!(resolve(to.path(), &kept[0][..8]).unwrap(), kept[0]);
        assert!(resolve(to.path(), "").is_err());
        assert!(matches!(
            resolve(to.path(), "../x"),
            Err(HistoryError::Unknown(_))
        ));

        let list = path_of(to.path(), &kept[0]).join("lists/portals.txt");
        fs::remove_file(&list).unwrap();
        fs::write(&list, "9.9.9.0/24\n").unwrap();
        let said = load(to.path(), &kept[0]).unwrap_err().to_string();
        assert!(said.contains("they were changed"), "{said}");
    }

    #[test]
    fn no_name_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["../x", "/etc/x", ""] {
            let files = Files {
                read: vec![(name.to_owned(), String::new())],
                beside: Vec::new(),
            };
            assert!(
                keep(dir.path(), "0123456789abcdef", &files).is_err(),
                "{name}"
            );
            assert!(files.write(dir.path()).is_err(), "{name}");
        }
    }
}
