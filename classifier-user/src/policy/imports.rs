//! How a set's list is made, where the policy says so: `[sets.import]`, and `feed` where the agent is to follow the
//! source. A check reads and checks it, and imports nothing; `zerorate import --update` and the agent do.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::model::Place;
use super::read::RawSet;
use super::section::{At, Section};
use super::signed::Keys;
use super::volume::parse_volume;
use crate::diagnostic::{Diagnostics, quote};
use crate::import::fetch::{self, Limits};
use crate::import::{Format, KEEP_DAYS, KEYS, Request};

/// A set whose list is made by an import.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The set's name.
    pub set: String,
    /// Its list file, relative to the policy's directory.
    pub file: PathBuf,
    /// How it is made.
    pub request: Request,
    /// How the agent follows the source, if it does.
    pub feed: Option<Feed>,
    /// Where that stands.
    pub place: Place,
}

/// A source that the agent follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// As it is written: `mrt:/var/lib/bird/exchange.mrt`.
    pub written: String,
    /// How often it is looked at.
    pub every: Duration,
    /// How old the list may be before somebody should look.
    pub stale_after: Duration,
}

/// How often a feed is looked at where nothing else is said.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// How old a feed's list may be where nothing else is said.
const STALE_AFTER: Duration = Duration::from_secs(24 * 3600);

/// `[sets.import]` as it is written.
pub(super) struct RawImport {
    pub(super) place: Place,
    pub(super) feed: Option<Feed>,
    /// `None` if something in it was reported.
    pub(super) request: Option<Request>,
}

/// Reads `import` and `feed` of a set, if it has them.
pub(super) fn read_made(set: &mut Section<'_>, title: &str) -> Option<RawImport> {
    let errors_before = set.out().errors();
    let feed = read_feed(set, title);
    let import = read_import(set, title, feed.as_ref().map(|(_, request, _)| request));
    let (feed, request, place) = match (feed, import) {
        (None, None) => return None,
        (None, Some((request, place))) => (None, request, place),
        (Some((feed, request, place)), None) => (Some(feed), request, place),
        (Some((feed, ..)), Some((request, place))) => (Some(feed), request, place),
    };
    let request = (set.out().errors() == errors_before).then_some(request);
    Some(RawImport {
        place,
        feed,
        request,
    })
}

/// Reads `feed`, and what goes with it.
fn read_feed(set: &mut Section<'_>, title: &str) -> Option<(Feed, Request, Place)> {
    let every = set.duration("feed_every", "5m");
    let stale_after = set.duration("feed_stale_after", "24h");
    let of_web = Web::read(set);
    let Some(feed) = set.text("feed", "mrt:/var/lib/bird/exchange.mrt") else {
        let times = [("feed_every", every), ("feed_stale_after", stale_after)];
        let times = times
            .into_iter()
            .filter_map(|(key, at)| Some((key, at?.place)));
        for (key, place) in times.chain(of_web.places()) {
            let message = format!("{title} has {key} and no feed");
            let help = "add feed = \"mrt:FILE\", or remove it";
            set.out().error(place, "missing-key", message, help);
        }
        return None;
    };
    let (format, path) = match feed.value.split_once(':') {
        Some(("mrt", path)) if !path.is_empty() => (Format::Mrt, path),
        Some(("file", path)) if !path.is_empty() => (Format::Text, path),
        Some(("https", _)) => {
            if let Err(what) = fetch::check_address(&feed.value) {
                // Not the address itself: a password in it is not for logs.
                let message = format!("the address of the feed {what}");
                let help = "write an address such as https://lists.example/kz.txt";
                set.out().error(feed.place, "bad-feed", message, help);
                return None;
            }
            (Format::Text, feed.value.as_str())
        }
        _ => {
            let message = format!("{} is no feed", quote(&feed.value));
            let help = "write mrt:FILE for a routing table, file:FILE for a list, or https:ADDRESS for one on the web";
            set.out().error(feed.place, "bad-feed", message, help);
            return None;
        }
    };
    let mut request = Request::new(format, vec![path.to_owned()]);
    if fetch::is_web(path) {
        request.limits = of_web.limits(set.out());
    } else {
        for (key, place) in of_web.places() {
            let message = format!("{title} has {key}, and its feed is not on the web");
            let help = "remove it: it is of feeds that begin with https:";
            set.out().error(place, "no-such-choice", message, help);
        }
    }
    let every = every.map_or(EVERY, |at| at.value);
    let feed_of = Feed {
        written: feed.value.clone(),
        every,
        stale_after: stale_after.map_or(STALE_AFTER.max(every * 3), |at| at.value),
    };
    Some((feed_of, request, feed.place))
}

/// What is said of a feed on the web.
struct Web {
    ca: Option<At<String>>,
    max_bytes: Option<At<String>>,
    timeout: Option<At<Duration>>,
}

impl Web {
    fn read(set: &mut Section<'_>) -> Self {
        Self {
            ca: set.text("feed_ca", "/etc/ssl/ministry.pem"),
            max_bytes: set.text("feed_max_bytes", "64MB"),
            timeout: set.duration("feed_timeout", "30s"),
        }
    }

    /// What is there, and where.
    fn places(&self) -> impl Iterator<Item = (&'static str, Place)> {
        let place = |at: &At<String>| at.place.clone();
        let all = [
            ("feed_ca", self.ca.as_ref().map(place)),
            ("feed_max_bytes", self.max_bytes.as_ref().map(place)),
            (
                "feed_timeout",
                self.timeout.as_ref().map(|at| at.place.clone()),
            ),
        ];
        all.into_iter()
            .filter_map(|(key, place)| Some((key, place?)))
    }

    fn limits(self, out: &mut Diagnostics) -> Limits {
        let mut limits = Limits {
            ca: self.ca.map(|at| at.value.into()),
            ..Limits::default()
        };
        if let Some(timeout) = self.timeout {
            limits.timeout = timeout.value;
        }
        if let Some(at) = self.max_bytes {
            match parse_volume(&at.value) {
                Ok(bytes) => limits.max_bytes = bytes.clamp(1, crate::import::MAX_BYTES),
                Err(error) => {
                    let message = format!(
                        "feed_max_bytes {} is not a volume: {error}",
                        quote(&at.value)
                    );
                    out.error(at.place, "bad-volume", message, error.help());
                }
            }
        }
        limits
    }
}

/// Reads the table `import` of a set, if it has one; where the set has a feed, `fed`, the source is the feed's.
fn read_import(
    set: &mut Section<'_>,
    title: &str,
    fed: Option<&Request>,
) -> Option<(Request, Place)> {
    let title = format!("{title}: import");
    let (mut table, place) = set.table(
        "import",
        title,
        "such as [sets.import] with format = \"text\"",
    )?;
    let format = match fed {
        // A file may be in any format; a routing table is one.
        Some(_) => table.text("format", "delegated"),
        None => table.required_text("format", "delegated"),
    };
    let format = format.and_then(|name| {
        let format = Format::from_name(&name.value);
        format
            .map_err(|help| {
                let message = format!("{} is no format of an import", quote(&name.value));
                table
                    .out()
                    .error(name.place.clone(), "unknown-format", message, help);
            })
            .ok()
    });
    let format = format.or(fed.map(|fed| fed.format));
    if !table.has("from") && fed.is_none() {
        table.missing("from", "add from = [\"delegated-ripencc-extended-latest\"]");
    }
    let from = table.texts_at("from", "[\"delegated-ripencc-extended-latest\"]");
    let sources = fed.map(|fed| fed.sources.clone()).unwrap_or_default();
    let mut request = Request::new(format.unwrap_or(Format::Text), sources);
    request.limits = fed.map(|fed| fed.limits.clone()).unwrap_or_default();
    request.allow_incomplete = table.flag("allow_incomplete").unwrap_or(false);
    request.allow_empty = table.flag("allow_empty").unwrap_or(false);
    if let Some(days) = table.u16("keep_days", KEEP_DAYS) {
        if format.is_some_and(|format| format != Format::Names) {
            let message = "keep_days is of the format names";
            let help = "remove it: other lists are kept as they are published";
            table
                .out()
                .error(days.place, "no-such-choice", message, help);
        }
        request.keep_days = days.value;
    }
    if let (Some(from), Some(_)) = (&from, fed) {
        let message = "the set has a feed, which is what its list is made from";
        let help = "remove from, or the feed";
        table
            .out()
            .error(from.place.clone(), "two-sources", message, help);
    } else if let Some(from) = from {
        read_sources(from, &mut request, table.out());
    }
    for key in KEYS {
        let values = table.texts_at(key.name(), &format!("[{:?}]", key.example()));
        let Some(At {
            value: values,
            place,
        }) = values
        else {
            continue;
        };
        if let Some(format) = format
            && !format.keys().contains(&key)
        {
            let keys: Vec<&str> = format.keys().iter().map(|key| key.name()).collect();
            let help = match keys.is_empty() {
                true => "remove it: entries of this format cannot be chosen".to_owned(),
                false => format!(
                    "entries of this format can be chosen by {}",
                    keys.join(", ")
                ),
            };
            let (format, key) = (format.name(), key.name());
            let message = format!("entries of the format {format} have no {key}");
            table.out().error(place, "no-such-choice", message, help);
            continue;
        }
        let mut normal = Vec::new();
        for value in values {
            match key.normal(&value.value) {
                Ok(value) => normal.push(value),
                Err(error) => {
                    let (message, help) = (error.to_string(), error.help());
                    table.out().error(value.place, "bad-choice", message, help);
                }
            }
        }
        if normal.is_empty() {
            let message = format!("{} has no value, so nothing would be chosen", key.name());
            let help = "remove it, or write what is to be chosen";
            table.out().error(place, "bad-choice", message, help);
        } else {
            request.choices.insert(key, normal);
        }
    }
    table.finish();
    Some((request, place))
}

fn read_sources(from: At<Vec<At<String>>>, request: &mut Request, out: &mut Diagnostics) {
    if from.value.is_empty() {
        let message = "from names no source";
        out.error(
            from.place,
            "no-source",
            message,
            "name the file the list is made from",
        );
    }
    for source in from.value {
        if matches!(source.value.as_str(), "" | "-") {
            let message = format!("{} is no file name", quote(&source.value));
            let help = "name a file, relative to policy.toml or with its whole path";
            out.error(source.place, "no-source", message, help);
        } else {
            request.sources.push(source.value);
        }
    }
}

/// Reports sets that say how their list is made and name no list, or one another set names.
pub(super) fn check_imports(sets: &[RawSet], out: &mut Diagnostics) {
    for (index, set) in sets.iter().enumerate() {
        let Some(import) = &set.import else { continue };
        let Some(file) = &set.file else {
            let message = "this set says how its list is made, and names no file to write it to";
            let help = "add file = \"NAME.txt\" to the set";
            out.error(import.place.clone(), "missing-key", message, help);
            continue;
        };
        let same = |other: &RawSet| {
            let other = other.file.as_ref();
            other.is_some_and(|other| parts(&other.value).eq(parts(&file.value)))
        };
        let mut others = sets.iter().enumerate();
        let other = others.find(|(at, other)| *at != index && same(other));
        if let Some((_, other)) = other {
            let message = format!(
                "{} is made by an import, and is the list of the set at {}, too",
                quote(&file.value),
                other.place
            );
            let help = "give each set a list of its own";
            out.error(file.place.clone(), "shared-file", message, help);
        }
    }
}

/// The parts of a path: `./a` is `a`.
fn parts(file: &str) -> impl Iterator<Item = Component<'_>> {
    let parts = Path::new(file).components();
    parts.filter(|part| *part != Component::CurDir)
}

/// The sets whose lists are made by imports.
pub(super) fn declared(sets: Vec<RawSet>, keys: &Keys<'_>, out: &mut Diagnostics) -> Vec<Declared> {
    let sets = sets.into_iter().filter_map(|set| {
        let import = set.import?;
        let mut request = import.request?;
        if let Some(signed_by) = &set.signed_by {
            request.signed_by = Some(keys.find(signed_by, out)?);
        }
        Some(Declared {
            set: set.name?.value,
            file: set.file?.value.into(),
            request,
            feed: import.feed,
            place: import.place,
        })
    });
    sets.collect()
}
