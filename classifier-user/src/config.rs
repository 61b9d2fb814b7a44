//! The agent's configuration file. Every key is read by something; an unknown one is an error with its place.

mod age;
mod api;
mod events;
mod interface;
mod key;
mod listen;
mod metrics;
mod sinks;
mod tags;
mod trust;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use classifier::layout::MAX_INTERFACES;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, de};

pub use self::age::Age;
pub use self::api::{Api, ApiLimits, Client, DEFAULT_SOCKET, DEFAULT_TOKENS, Peer, Tcp, Who};
pub use self::events::{EventKind, Events};
pub use self::interface::{Downlink, Interface, Mode, OnBlock, Role, Tag, Tc, Unknown};
pub use self::metrics::{Metrics, Subscribers};
pub use self::sinks::{FileFormat, Files, Postgres, Sink};
pub use self::tags::Tags;

use crate::datapath::image_map::MAX_IMAGE_WORDS;
use crate::diagnostic::Diagnostics;
use crate::policy::Place;
use crate::trust::Trust;

/// `zerorate.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of this gateway in records and logs.
    pub node: String,
    /// IANA time zone whose days count.
    #[serde(default = "utc", deserialize_with = "time_zone")]
    pub timezone: TimeZone,
    /// Policy directory.
    pub policy: PathBuf,
    /// Subscribers, CSV.
    pub subscribers: PathBuf,
    /// Database file of what must outlive the process.
    #[serde(default = "default_ledger")]
    pub ledger: PathBuf,
    /// Directory of sealed files; see [`Config::sealed`].
    #[serde(default, rename = "sealed")]
    sealed_in: Option<PathBuf>,
    /// Directory in which policy versions are kept; see [`Config::history`].
    #[serde(default, rename = "history")]
    kept: Option<PathBuf>,
    /// Directory on a BPF file system.
    #[serde(default = "default_pin_dir")]
    pub pin_dir: PathBuf,
    /// What SIGTERM leaves behind.
    #[serde(default)]
    pub on_exit: OnExit,
    /// Whether files are reloaded when they change.
    #[serde(default = "yes")]
    pub watch: bool,
    /// Interfaces that are counted on.
    #[serde(rename = "interface")]
    pub interfaces: Vec<Interface>,
    /// What packets are told of, where interfaces tell.
    #[serde(default)]
    pub tags: Tags,
    /// Sizes.
    #[serde(default)]
    pub limits: Limits,
    /// What is looked for before counting begins.
    #[serde(default)]
    pub checks: Checks,
    /// Usage records.
    #[serde(default)]
    pub records: Records,
    /// News from packets.
    #[serde(default)]
    pub events: Events,
    /// Whose policies come into force.
    #[serde(default)]
    pub trust: Trust,
    /// The API.
    #[serde(default)]
    pub api: Api,
    /// Metrics for Prometheus.
    #[serde(default)]
    pub metrics: Metrics,
    /// Where records are brought.
    #[serde(default, rename = "sink")]
    pub sinks: Vec<Sink>,
}

/// What SIGTERM leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExit {
    /// Programs stay attached and go on counting; the next start takes over.
    #[default]
    Keep,
    /// Programs are detached; counters stay pinned and the next start counts on.
    Detach,
}

/// Sizes that are fixed while programs run. 0 chooses by what is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// 32-bit words of a policy image at least; the default leaves room for twice the first one.
    pub image_words: u32,
    /// Subscribers the file may list; the default is whatever memory holds.
    pub subscribers: usize,
}

/// What is looked for before counting begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checks {
    /// What to do about a gateway that translates addresses, where downlink is counted on the core side.
    pub nat: Nat,
}

/// What to do about a gateway that translates addresses, where downlink is counted on the core side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nat {
    /// Not to start.
    #[default]
    Refuse,
    /// Nothing: what it translates does not concern subscribers.
    Ignore,
}

/// How often usage is written down, and how long it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Records {
    /// How often usage is recorded of what moved, and the agent sums up the books in its log.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// How often it looks at all counters, and whether the books close and the interfaces are there.
    #[serde(deserialize_with = "duration")]
    pub checkpoint: Duration,
    /// How long records stay in the ledger before they are sealed.
    pub originals: Age,
    /// How long they have to be kept: what is younger is pruned only by force.
    pub retention: Age,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
            checkpoint: Duration::from_secs(1),
            originals: Age::days(14),
            retention: Age::years(2),
        }
    }
}

fn default_ledger() -> PathBuf {
    PathBuf::from("/var/lib/zerorate/ledger.db")
}
pub(crate) fn default_pin_dir() -> PathBuf {
    PathBuf::from("/sys/fs/bpf/zerorate")
}
fn utc() -> TimeZone {
    TimeZone::UTC
}
const fn yes() -> bool {
    true
}

fn time_zone<'de, D: Deserializer<'de>>(from: D) -> Result<TimeZone, D::Error> {
    let name = String::deserialize(from)?;
    TimeZone::get(&name).map_err(|_| {
        de::Error::custom(format!(
            "unknown time zone `{name}`: use an IANA name such as \"Asia/Almaty\""
        ))
    })
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(from)?).map_err(de::Error::custom)
}

/// A duration such as `60s`.
///
/// # Errors
/// What it is, if it is none, or too short for anything that is done again and again.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| *duration >= Duration::from_millis(100))
        .ok_or_else(|| {
            format!("`{text}` is no duration of at least 100ms: write \"60s\" or \"1m\"")
        })
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn load(path: &Path) -> Result<Self, Diagnostics> {
        let file = Arc::new(path.to_owned());
        let mut out = Diagnostics::default();
        let start = Place {
            file: Arc::clone(&file),
            line: 1,
            column: 1,
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("cannot be read: {error}");
                out.error(
                    start,
                    "unreadable",
                    message,
                    "name the configuration with --config FILE",
                );
                return Err(out);
            }
        };
        let mut config: Self = match toml::from_str(&text) {
            Ok(config) => config,
            Err(error) => {
                let place = error
                    .span()
                    .map_or(start, |span| place(Arc::clone(&file), &text, span.start));
                let message = error.message().trim().replace('\n', ", ");
                out.error(
                    place,
                    "config",
                    message,
                    "see docs/zerorate.toml for every key and its default",
                );
                return Err(out);
            }
        };
        config.kept = Some(config.history());
        config.sealed_in = Some(config.sealed());
        config.check(&start, &mut out);
        let at = |offset| place(Arc::clone(&file), &text, offset);
        interface::check(&config.interfaces, &mut out, at);
        tags::check(&config.tags, &config.interfaces, &mut out, at);
        api::check(&config.api, &start, &mut out, at);
        out.finish().map(|_| config)
    }

    /// Directory in which every policy version is kept, with the audit log: `policies` beside the ledger, where nothing is
    /// said.
    #[must_use]
    pub fn history(&self) -> PathBuf {
        self.kept
            .clone()
            .unwrap_or_else(|| self.ledger.with_file_name("policies"))
    }

    /// Directory in which records are sealed that have left the ledger: `<ledger>.sealed`, where nothing is said.
    #[must_use]
    pub fn sealed(&self) -> PathBuf {
        self.sealed_in.clone().unwrap_or_else(|| {
            let mut name = self.ledger.clone().into_os_string();
            name.push(".sealed");
            name.into()
        })
    }

    /// Where what subscribers receive is counted: the choice all access interfaces share.
    #[must_use]
    pub fn downlink(&self) -> Downlink {
        self.interfaces
            .iter()
            .find(|interface| interface.role == Role::Access)
            .map_or(Downlink::Core, Interface::downlink)
    }

    fn check(&self, start: &Place, out: &mut Diagnostics) {
        let mut error =
            |message: String, help: &str| out.error(start.clone(), "config", message, help);
        if self.node.is_empty() {
            error(
                "`node` is empty".into(),
                "give this gateway a name of its own",
            );
        }
        if self.interfaces.is_empty() {
            error(
                "no interface to count on".into(),
                "add an [[interface]] with `name` and `role`",
            );
        }
        if self.interfaces.len() > MAX_INTERFACES as usize {
            let message = format!(
                "{} interfaces; at most {MAX_INTERFACES}",
                self.interfaces.len()
            );
            error(message, "count on fewer, or on a bridge or bond above them");
        }
        let mut seen = HashSet::new();
        for interface in &self.interfaces {
            let name = &interface.name;
            if !seen.insert(name) {
                error(
                    format!("interface `{name}` stands here twice"),
                    "remove one of the two",
                );
            }
            if name.is_empty() || name.len() > 15 || name.contains(['/', ' ']) {
                error(
                    format!("`{name}` is no interface name"),
                    "use the name that `ip link` shows",
                );
            }
        }
        if self.limits.image_words > MAX_IMAGE_WORDS {
            let message = format!("`image_words` is above {MAX_IMAGE_WORDS}, which is 1 GiB");
            error(
                message,
                "leave it out: the agent makes the map as large as the policy needs",
            );
        }
        if !self.pin_dir.is_absolute() {
            error(
                "`pin_dir` is a relative path".into(),
                "use a path below a mounted BPF file system",
            );
        }
        let now = Timestamp::now();
        let [kept, originals] = [self.records.retention, self.records.originals]
            .map(|age| age.before(now, &self.timezone));
        if kept > originals {
            error(
                "`retention` under [records] is shorter than `originals`".into(),
                "keep records as long as they are in the ledger, at least",
            );
        }
        self.events.check(start, out);
        self.metrics.check(start, out);
        trust::check(&self.trust, start, out);
        sinks::check(&self.sinks, start, out);
    }
}

/// The place of a byte of a text.
fn place(file: Arc<PathBuf>, text: &str, offset: usize) -> Place {
    let before = &text[..offset.min(text.len())];
    let line = before.matches('\n').count() as u32 + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |line| line.chars().count()) as u32
        + 1;
    Place { file, line, column }
}

#[cfg(test)]
mod tests;
