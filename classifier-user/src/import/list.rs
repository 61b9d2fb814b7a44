//! A list as a file: where it came from, then its prefixes, one a line. The same content gives the same bytes, but for
//! the time, so that version control shows what changed and nothing else; a file whose content did not change is not
//! touched, so that nothing is reloaded for it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use ipnet::IpNet;
use jiff::Timestamp;

use super::names::{self, LearnedList, MARK};
use super::space::Addresses;

/// Lines that differ from one import of the same content to the next: when it was made, and hashes of sources that
/// changed elsewhere.
const FLEETING: [&str; 2] = ["# Time: ", "# Source: "];

/// A list that was imported.
#[derive(Debug, Clone)]
pub struct List {
    /// The command that makes it.
    pub command: String,
    /// What it was made from.
    pub sources: Vec<Provenance>,
    /// Its addresses.
    pub space: Addresses,
    /// Where names led to them: which, and until when each is kept.
    pub learned: Option<LearnedList>,
}

/// A source, and what was read from it.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// Its name in the request.
    pub source: String,
    /// SHA-256 of its bytes, compressed where it is, in hex.
    pub sha256: String,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is new, or has another content.
    Changed,
    /// It has this content and was left alone.
    Unchanged,
}

impl List {
    /// The file's text.
    #[must_use]
    pub fn text(&self, time: Timestamp) -> String {
        let prefixes = self.space.prefixes();
        let v4 = prefixes
            .iter()
            .filter(|net| matches!(net, IpNet::V4(_)))
            .count();
        let mut text =
            "# Written by zerorate import: what is changed here by hand is lost at the next one.\n"
                .to_owned();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# Command: {}", self.command);
        for source in &self.sources {
            let name: String = source.source.chars().filter(|c| !c.is_control()).collect();
            let _ = writeln!(text, "# Source: {name} (SHA-256 {})", source.sha256);
        }
        let _ = writeln!(text, "# Time: {}", time.strftime("%Y-%m-%dT%H:%M:%SZ"));
        if let Some(learned) = &self.learned {
            let _ = writeln!(text, "{MARK}from names, which lead elsewhere at any time");
            for (address, entry) in learned {
                text.push_str(&names::line(address, entry));
                text.push('\n');
            }
            return text;
        }
        let _ = writeln!(text, "# Prefixes: {v4} IPv4, {} IPv6", prefixes.len() - v4);
        for prefix in prefixes {
            let _ = writeln!(text, "{prefix}");
        }
        text
    }

    /// Whether the file at `path` has this content.
    #[must_use]
    pub fn is_written(&self, path: &Path) -> bool {
        fs::read(path).is_ok_and(|old| is_same(&old, &self.text(Timestamp::UNIX_EPOCH)))
    }

    /// Writes the file, whole or not at all, if its content changed. Where `path` is a link, what it leads to is
    /// written.
    ///
    /// # Errors
    /// What the system refused; the file is as it was then.
    pub fn write(&self, path: &Path, time: Timestamp) -> io::Result<Written> {
        let text = self.text(time);
        match fs::read(path) {
            Ok(old) if is_same(&old, &text) => return Ok(Written::Unchanged),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        replace(path, text.as_bytes()).map(|()| Written::Changed)
    }
}

/// Whether a file has the same content.
fn is_same(old: &[u8], new: &str) -> bool {
    let lasting = |line: &&str| !FLEETING.iter().any(|head| line.starts_with(head));
    std::str::from_utf8(old)
        .is_ok_and(|old| old.lines().filter(lasting).eq(new.lines().filter(lasting)))
}

/// Writes a file under another name beside `path`, and gives it the name when it is on the disk.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let write = || {
        let mut file = File::create(&temporary)?;
        if let Ok(old) = fs::metadata(&path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().inspect_err(|_| {
        // It may not even have been created.
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(prefixes: &[&str]) -> List {
        let nets: Vec<IpNet> = prefixes.iter().map(|net| net.parse().unwrap()).collect();
        List {
            command: "zerorate import text a".to_owned(),
            sources: vec![Provenance {
                source: "a".to_owned(),
                sha256: "00".to_owned(),
            }],
            space: Addresses::of(&nets),
            learned: None,
        }
    }

    fn names(dir: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_file_is_written_when_its_content_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.txt");
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut made = list(&[
            "2001:db8::/33",
            "192.0.2.128/25",
            "192.0.2.0/25",
            "2001:db8:8000::/33",
        ]);
        assert_eq!(made.write(&path, at(0)).unwrap(), Written::Changed);
        let first = fs::read_to_string(&path).unwrap();
        assert_eq!(
            first,
            "# Written by zerorate import: what is changed here by hand is lost at the next one.\n\
             # Command: zerorate import text a\n# Source: a (SHA-256 00)\n# Time: 1970-01-01T00:00:00Z\n\
             # Prefixes: 1 IPv4, 1 IPv6\n192.0.2.0/24\n2001:db8::/32\n"
        );
        made.sources[0].sha256 = "11".to_owned();
        assert_eq!(made.write(&path, at(9)).unwrap(), Written::Unchanged);
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        made.space = list(&["192.0.2.0/24"]).space;
        assert_eq!(made.write(&path, at(9)).unwrap(), Written::Changed);
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .contains("1970-01-01T00:00:09Z")
        );
        assert_eq!(names(dir.path()), ["list.txt"]);
    }

    #[test]
    fn links_and_modes_stay() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.txt"), dir.path().join("link.txt"));
        fs::write(&real, "").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real.txt", &link).unwrap();
        list(&["192.0.2.0/24"])
            .write(&link, Timestamp::UNIX_EPOCH)
            .unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::metadata(&real).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert!(
            fs::read_to_string(&real)
                .unwrap()
                .ends_with("192.0.2.0/24\n")
        );
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        fs::create_dir_all(taken.join("inside")).unwrap();
        assert!(
            list(&["192.0.2.0/24"])
                .write(&taken, Timestamp::UNIX_EPOCH)
                .is_err()
        );
        assert_eq!(names(dir.path()), ["taken"]);
        let missing = dir.path().join("missing/list.txt");
        assert!(
            list(&["192.0.2.0/24"])
                .write(&missing, Timestamp::UNIX_EPOCH)
                .is_err()
        );
    }
}
