//! `[[sink]]` of the configuration: where records are brought.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::duration;
use crate::diagnostic::Diagnostics;
use crate::policy::Place;
use crate::policy::parse_volume;

/// A place records are brought to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Sink {
    /// Files in a directory.
    Files(Files),
    /// Tables of a PostgreSQL database.
    Postgres(Postgres),
}

/// Files in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// What it is called in `status`, metrics and the log.
    #[serde(default = "files")]
    pub name: String,
    /// The directory.
    #[serde(default = "records_directory")]
    pub directory: PathBuf,
    /// What is in the files.
    #[serde(default)]
    pub format: FileFormat,
    /// A file is finished so long after its first record was put in it.
    #[serde(default = "quarter", deserialize_with = "duration")]
    pub every: Duration,
    /// A file is finished when it has so many bytes.
    #[serde(default = "hundred_megabytes", deserialize_with = "size")]
    pub size: u64,
}

/// What is in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// A JSON object a line.
    #[default]
    Json,
    /// Comma-separated, with a head.
    Csv,
}

/// Tables of a PostgreSQL database.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// What it is called in `status`, metrics and the log.
    #[serde(default = "postgres")]
    pub name: String,
    /// `postgresql://USER@HOST/DATABASE`, or `host=/run/postgresql dbname=billing`.
    pub url: String,
    /// A file with the password, if it is not in the URL.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) of who may have signed the server's; those of the system where none are named.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Schema of the tables.
    #[serde(default = "schema")]
    pub schema: String,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Postgres")
            .field("name", &self.name)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

fn files() -> String {
    "files".to_owned()
}
fn postgres() -> String {
    "postgres".to_owned()
}
fn schema() -> String {
    "zerorate".to_owned()
}
fn records_directory() -> PathBuf {
    PathBuf::from("/var/lib/zerorate/records")
}
const fn quarter() -> Duration {
    Duration::from_secs(900)
}
const fn hundred_megabytes() -> u64 {
    100_000_000
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    let bytes = parse_volume(&text)
        .map_err(|error| de::Error::custom(format!("`{text}`: {error}: {}", error.help())))?;
    if bytes == 0 {
        return Err(de::Error::custom("a file of 0 bytes holds no record"));
    }
    Ok(bytes)
}

impl Sink {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Files(files) => &files.name,
            Self::Postgres(postgres) => &postgres.name,
        }
    }

    /// The word for what it is.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Files(_) => "files",
            Self::Postgres(_) => "postgres",
        }
    }
}

pub(super) fn check(sinks: &[Sink], start: &Place, out: &mut Diagnostics) {
    let mut error = |message: String, help: &str| out.error(start.clone(), "config", message, help);
    let (mut names, mut directories) = (HashSet::new(), HashSet::new());
    for sink in sinks {
        let name = sink.name();
        if name.is_empty() || !names.insert(name) {
            error(
                format!("two [[sink]] are called `{name}`, or one has no name"),
                "give each a `name` of its own: `status`, metrics and the log know it by that",
            );
        }
        match sink {
            Sink::Files(files) => {
                if !files.directory.is_absolute() {
                    error(
                        format!("sink `{name}`: `directory` is a relative path"),
                        "write it from the root on",
                    );
                }
                if !directories.insert(&files.directory) {
                    error(
                        format!("sink `{name}`: another one writes to the same directory"),
                        "give each a directory of its own",
                    );
                }
            }
            Sink::Postgres(postgres) => {
                if let Err(wrong) = postgres.url.parse::<tokio_postgres::Config>() {
                    error(
                        format!("sink `{name}`: `url` cannot be understood: {wrong}"),
                        "write it as \"postgresql://USER@HOST/DATABASE\" or \"host=/run/postgresql dbname=DATABASE\"",
                    );
                }
                let schema = &postgres.schema;
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                if !schema.starts_with(|c: char| c.is_ascii_lowercase())
                    || !schema.chars().all(plain)
                    || schema.len() > 40
                    || schema.starts_with("pg_")
                {
                    error(
                        format!("sink `{name}`: `{schema}` is no name for a schema"),
                        "use at most 40 small letters, digits and _, a letter first, not pg_",
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Whole {
        sink: Vec<Sink>,
    }

    fn wrong(lines: &str) -> String {
        match toml::from_str::<Whole>(&format!("[[sink]]\n{lines}")) {
            Err(error) => error.message().to_owned(),
            Ok(read) => {
                let mut out = Diagnostics::default();
                let start = Place {
                    file: std::sync::Arc::new("zerorate.toml".into()),
                    line: 1,
                    column: 1,
                };
                check(&read.sink, &start, &mut out);
                out.finish()
                    .map_or_else(|wrong| wrong.to_string(), |_| String::new())
            }
        }
    }

    #[test]
    fn a_sink_says_what_is_wrong_with_it() {
        let url = "kind = \"postgres\"\nurl = \"host=/run/postgresql dbname=billing\"\n";
        assert_eq!(wrong("kind = \"files\""), "");
        assert_eq!(wrong(url), "");
        for (lines, expected) in [
            (
                "kind = \"fax\"",
                "unknown variant `fax`, expected `files` or `postgres`",
            ),
            ("kind = \"files\"\nurl = \"x\"", "unknown field `url`"),
            ("kind = \"files\"\nsize = \"big\"", "big"),
            (
                "kind = \"files\"\nevery = \"soon\"",
                "`soon` is no duration",
            ),
            (
                "kind = \"files\"\ndirectory = \"records\"",
                "`directory` is a relative path",
            ),
            ("kind = \"postgres\"", "missing field `url`"),
            (
                "kind = \"postgres\"\nurl = \"billing\"",
                "`url` cannot be understood",
            ),
            (
                &format!("{url}schema = \"Billing; drop\""),
                "no name for a schema",
            ),
            (
                "kind = \"files\"\n[[sink]]\nkind = \"files\"",
                "two [[sink]] are called `files`",
            ),
        ] {
            let said = wrong(lines);
            assert!(said.contains(expected), "{lines}: {said}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let sink: Whole =
            toml::from_str("[[sink]]\nkind = \"postgres\"\nurl = \"postgresql://z:secret@h/d\"")
                .unwrap();
        assert!(!format!("{:?}", sink.sink).contains("secret"));
    }
}
