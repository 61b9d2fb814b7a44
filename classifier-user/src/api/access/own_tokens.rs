//! Tokens of subscribers: they say whose they are and when they end, and are signed by the agent, which keeps nothing of them but
//! the key, in a file beside the ledger. Without the file all of them end.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hmac::{Hmac, Mac as _};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

use super::tokens::random;

/// How they begin.
const BEGINNING: &str = "zrs1";

/// The key they are signed with.
#[derive(Debug)]
pub(in crate::api) struct OwnTokens {
    key: Key,
}

struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// A token, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct OwnToken {
    pub(in crate::api) token: String,
    pub(in crate::api) expires: Timestamp,
}

impl OwnTokens {
    /// Reads the key, making it where there is none.
    ///
    /// # Errors
    /// When it cannot be read or made, or is none.
    pub(super) fn open(ledger: &Path) -> anyhow::Result<Self> {
        let mut path = ledger.as_os_str().to_owned();
        path.push(".self-key");
        let path = PathBuf::from(path);
        let of = || format!("key of subscribers' tokens {}", path.display());
        match fs::read_to_string(&path) {
            Ok(text) => {
                let key = hex::decode(text.trim())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok());
                let key = key.with_context(|| {
                    format!(
                        "{}: it is not 64 hexadecimal digits; remove it, and there is a new one",
                        of()
                    )
                })?;
                Ok(Self { key: Key(key) })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // It is the first thing that is written there, and says so in place of the ledger.
                let of = || {
                    let (ledger, key) = (ledger.display(), path.display());
                    format!("ledger {ledger}: its directory cannot be written to: {key}")
                };
                if let Some(directory) = path.parent() {
                    fs::create_dir_all(directory).with_context(of)?;
                }
                let key = random().with_context(of)?;
                let file = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&path);
                let written = file.and_then(|mut file| {
                    file.write_all(format!("{}\n", hex::encode(key)).as_bytes())?;
                    file.sync_all()
                });
                written.with_context(of)?;
                Ok(Self { key: Key(key) })
            }
            Err(error) => Err(error).with_context(of),
        }
    }

    /// A token of a subscriber, good for a while.
    pub(in crate::api) fn make(
        &self,
        subscriber: &str,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Option<OwnToken> {
        let expires = now.checked_add(lifetime).ok()?;
        let said = format!(
            "{BEGINNING}.{}.{}",
            hex::encode(subscriber.as_bytes()),
            expires.as_second()
        );
        let signature = hex::encode(self.signed(&said)?.finalize().into_bytes());
        Some(OwnToken {
            token: format!("{said}.{signature}"),
            expires: Timestamp::from_second(expires.as_second()).ok()?,
        })
    }

    fn signed(&self, said: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key.0).ok()?;
        mac.update(said.as_bytes());
        Some(mac)
    }

    /// Whose token it is; nothing if it is of another sort.
    ///
    /// # Errors
    /// When it is not ours, or has ended.
    pub(super) fn subscriber(&self, token: &str) -> Result<Option<String>, &'static str> {
        self.at(token, Timestamp::now())
    }

    fn at(&self, token: &str, now: Timestamp) -> Result<Option<String>, &'static str> {
        const NOT_OURS: &str = "this token is not one of this agent's";
        let parts: Vec<&str> = token.split('.').collect();
        let [BEGINNING, subscriber, expires, signature] = *parts else {
            return Ok(None);
        };
        let said = &token[..token.len() - signature.len() - 1];
        let signature = hex::decode(signature).map_err(|_| NOT_OURS)?;
        let signed = self.signed(said).ok_or(NOT_OURS)?;
        // In a time that does not depend on how much of it is right.
        signed.verify_slice(&signature).map_err(|_| NOT_OURS)?;
        let expires: i64 = expires.parse().map_err(|_| NOT_OURS)?;
        if expires <= now.as_second() {
            return Err("this token has ended: ask for a new one");
        }
        let subscriber = hex::decode(subscriber)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        subscriber.map(Some).ok_or(NOT_OURS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_subscriber_and_for_a_while() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = directory.path().join("ledger.db");
        let tokens = OwnTokens::open(&ledger).unwrap();
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let made = tokens
            .make("anna.k-7", now, SignedDuration::from_mins(15))
            .unwrap();
        let anna = Ok(Some("anna.k-7".to_owned()));
        assert_eq!(tokens.at(&made.token, now), anna);
        // The next agent knows it, too.
        let later = now + SignedDuration::from_secs(899);
        assert_eq!(
            OwnTokens::open(&ledger).unwrap().at(&made.token, later),
            anna
        );
        assert!(tokens.at(&made.token, made.expires).is_err());
        let other = hex::encode(b"bert");
        let forged = made.token.replace(&hex::encode(b"anna.k-7"), &other);
        assert!(tokens.at(&forged, now).is_err());
        let longer = made.token.replace("1790000900", "1890000900");
        assert!(longer != made.token && tokens.at(&longer, now).is_err());
        assert!(tokens.at(&made.token[..made.token.len() - 1], now).is_err());
        assert_eq!(tokens.at("zrt_0123", now), Ok(None));
        let nowhere = Path::new("/proc/zerorate/ledger.db");
        let error = OwnTokens::open(nowhere).unwrap_err();
        let said = format!("{error:#}");
        let expected = "ledger /proc/zerorate/ledger.db: its directory cannot be written to";
        assert!(said.starts_with(expected), "{said}");
        fs::remove_file(directory.path().join("ledger.db.self-key")).unwrap();
        assert!(
            OwnTokens::open(&ledger)
                .unwrap()
                .at(&made.token, now)
                .is_err()
        );
    }
}
