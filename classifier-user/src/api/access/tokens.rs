//! Bearer tokens, of which the agent's machine keeps the hashes only: a file, a line each,
//! `SHA-256 ROLE NAME [EXPIRES]`. It is read again when it changes; a file with mistakes never replaces a good one.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum as _;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::role::Role;

/// How tokens begin: who finds one knows what it is.
const BEGINNING: &str = "zrt_";

/// What a line of the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// SHA-256 of the token, in hexadecimal digits.
    pub hash: String,
    /// What its bearer may do.
    pub role: Role,
    /// What its bearer is called.
    pub name: String,
    /// When it ends, if it does.
    pub expires: Option<Timestamp>,
}

/// A file of tokens that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The system says no.
    #[error("tokens {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// A line is none.
    #[error("{}:{line}:1: error: {what}; a line is `SHA-256 ROLE NAME [EXPIRES]`", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A name is there already.
    #[error("tokens {}: there is one of `{name}` already; `zerorate api token revoke` ends it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// It is no name.
    #[error("`{0}` is no name of a token: letters, digits, `.`, `_`, `-` and `@`")]
    Name(String),
}

/// Tokens as they are known now.
#[derive(Debug)]
pub(super) struct Tokens {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Which file it was.
    stamp: Option<Stamp>,
    by_hash: HashMap<String, Token>,
}

/// What is different when a file is.
type Stamp = (u64, u64, i64, i64, u64);

fn stamp(metadata: &Metadata) -> Stamp {
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    (
        metadata.dev(),
        metadata.ino(),
        changed.0,
        changed.1,
        metadata.len(),
    )
}

/// Bytes nobody can guess.
pub(super) fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    !name.is_empty() && name.bytes().all(known)
}

fn io(path: &Path) -> impl Fn(io::Error) -> TokensError {
    |error| TokensError::Io {
        path: path.to_owned(),
        error,
    }
}

/// Reads a file of tokens; of none, none.
///
/// # Errors
/// When it cannot be read, or a line of it is none.
pub fn read(path: &Path) -> Result<Vec<Token>, TokensError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(path)(error)),
    };
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        found.push(parse(line).map_err(|what| TokensError::Line {
            path: path.to_owned(),
            line: number,
            what,
        })?);
    }
    Ok(found)
}

fn parse(line: &str) -> Result<Token, String> {
    let mut words = line.split_whitespace();
    let mut next = |what: &str| words.next().ok_or_else(|| format!("{what} is missing"));
    let hash = next("the hash")?.to_ascii_lowercase();
    if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("the hash is not 64 hexadecimal digits".to_owned());
    }
    let role = next("the role")?;
    let role = Role::from_str(role, false)
        .map_err(|_| format!("`{role}` is no role: read, billing, policy, admin"))?;
    let name = next("the name")?.to_owned();
    let expires = words.next().map(|text| {
        let wrong = |error| format!("`{text}` is no time: {error}");
        text.parse::<Timestamp>().map_err(wrong)
    });
    let expires = expires.transpose()?;
    match words.next() {
        None => Ok(Token {
            hash,
            role,
            name,
            expires,
        }),
        Some(more) => Err(format!("`{more}` is one word too many")),
    }
}

impl Token {
    fn line(&self) -> String {
        let mut line = format!("{} {} {}", self.hash, self.role.as_str(), self.name);
        if let Some(expires) = self.expires {
            line += &format!(" {expires}");
        }
        line + "\n"
    }
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or a line of it is none.
    pub(super) fn open(path: &Path) -> Result<Self, TokensError> {
        let tokens = Self {
            path: path.to_owned(),
            known: Mutex::default(),
        };
        tokens.look(&mut tokens.lock())?;
        Ok(tokens)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file again if it is another one.
    fn look(&self, known: &mut Known) -> Result<(), TokensError> {
        let now = match fs::metadata(&self.path) {
            Ok(metadata) => Some(stamp(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io(&self.path)(error)),
        };
        if now == known.stamp {
            return Ok(());
        }
        // Also when it is wrong: it is said once.
        known.stamp = now;
        let found = read(&self.path)?.into_iter();
        known.by_hash = found.map(|token| (token.hash.clone(), token)).collect();
        Ok(())
    }

    /// Whose token it is, and what its bearer may do.
    pub(super) fn find(&self, token: &str) -> Option<(String, Role)> {
        let mut known = self.lock();
        if let Err(error) = self.look(&mut known) {
            tracing::error!("{error}; the tokens of before are still good");
        }
        let found = known.by_hash.get(&hash(token))?;
        let ended = found
            .expires
            .is_some_and(|expires| expires <= Timestamp::now());
        (!ended).then(|| (format!("token `{}`", found.name), found.role))
    }
}

/// Makes a token, and notes its hash in a file.
///
/// # Errors
/// When it is no name, or the file has one of this name, or cannot be written.
pub fn add(
    path: &Path,
    role: Role,
    name: &str,
    expires: Option<Timestamp>,
) -> Result<String, TokensError> {
    if !is_name(name) {
        return Err(TokensError::Name(name.to_owned()));
    }
    if read(path)?.iter().any(|known| known.name == name) {
        return Err(TokensError::Exists {
            path: path.to_owned(),
            name: name.to_owned(),
        });
    }
    let token = format!("{BEGINNING}{}", hex::encode(random().map_err(io(path))?));
    let line = Token {
        hash: hash(&token),
        role,
        name: name.to_owned(),
        expires,
    }
    .line();
    let file = File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| {
        file.write_all(line.as_bytes())?;
        file.sync_all()
    });
    written.map_err(io(path))?;
    Ok(token)
}

/// Takes the token of a name out of a file; whether there was one.
///
/// # Errors
/// When the file cannot be read or written.
pub fn revoke(path: &Path, name: &str) -> Result<bool, TokensError> {
    let known = read(path)?;
    if known.iter().all(|token| token.name != name) {
        return Ok(false);
    }
    // Comments stay.
    let text = fs::read_to_string(path).map_err(io(path))?;
    let is_it = |line: &&str| !parse(line.trim()).is_ok_and(|token| token.name == name);
    let text: String = text
        .lines()
        .filter(is_it)
        .map(|line| format!("{line}\n"))
        .collect();
    let new = path.with_extension("new");
    let mode = fs::metadata(path).map_or(0o600, |metadata| metadata.permissions().mode());
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    written.map(|()| true).map_err(io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_and_go_while_the_agent_runs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        let tokens = Tokens::open(&path).unwrap();
        let token = add(&path, Role::Billing, "cdr", None).unwrap();
        assert_eq!(
            tokens.find(&token),
            Some(("token `cdr`".to_owned(), Role::Billing))
        );
        assert_eq!(tokens.find("zrt_0"), None);
        assert!(!fs::read_to_string(&path).unwrap().contains(&token));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(
            add(&path, Role::Read, "cdr", None),
            Err(TokensError::Exists { .. })
        ));
        assert!(matches!(
            add(&path, Role::Read, "c d", None),
            Err(TokensError::Name(_))
        ));
        let past = add(&path, Role::Admin, "past", Some(Timestamp::UNIX_EPOCH)).unwrap();
        assert_eq!(tokens.find(&past), None);
        // A file with mistakes replaces nothing.
        let good = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("# staff\n{good}0123 king lear\n")).unwrap();
        assert!(tokens.find(&token).is_some());
        let wrong = Tokens::open(&path).unwrap_err().to_string();
        assert!(
            wrong.contains("tokens:4:1: error: the hash is not 64"),
            "{wrong}"
        );
        fs::write(&path, format!("# staff\n{good}")).unwrap();
        assert!(revoke(&path, "cdr").unwrap());
        assert!(!revoke(&path, "cdr").unwrap());
        assert_eq!(tokens.find(&token), None);
        assert!(fs::read_to_string(&path).unwrap().starts_with("# staff\n"));
        assert_eq!(read(&path).unwrap().len(), 1);
    }
}
