//! Feeds: lists of the policy in force that follow a source. Each is made again on its schedule, the whole policy is
//! checked with it, it is written and put in force by a reload like any other. Whatever goes wrong on that way, the
//! list stays what it was, or becomes it again: the last good one.

mod web;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::activation::{Act, blocking};
use super::node::Node;
use super::sources::Want;
use crate::api::server::{self, Shared, with};
use crate::history::Action;
use crate::import::fetch;
use crate::import::update::{self, Refreshed};
use crate::policy::{self, Declared, Feed};
use crate::progress::Progress;

/// How often feeds are looked at for one that is due.
const TICK: Duration = Duration::from_millis(500);
/// How long a source has to lie there unchanged: a router writes its table in several steps, and half of one is a table,
/// too.
const SETTLE: Duration = Duration::from_secs(1);

/// How a feed does, in `zerorate status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeedStatus {
    /// The set.
    pub set: String,
    /// Where its list comes from, as the policy has it.
    pub feed: String,
    /// When it was last looked at.
    pub looked: Timestamp,
    /// Of when the list in force is: the time of the source it was made from; of one on the web, of its host's last good
    /// answer. `None` where none was taken since the agent started.
    pub fresh: Option<Timestamp>,
    /// Whether it has been older than it may be.
    pub stale: bool,
    /// What is wrong with the source, if something is; the list in force is the last good one.
    pub error: Option<String>,
}

/// A feed while the agent runs.
struct Followed {
    declared: Declared,
    feed: Feed,
    due: Instant,
    /// What the source was when it was last taken, or refused.
    seen: Option<Stamp>,
    /// Of a source on the web: what its host sent last.
    known: web::Known,
    since: Timestamp,
    status: FeedStatus,
}

/// By which a source is known to be the same: length, time, and number of its file.
#[derive(Clone, PartialEq)]
struct Stamp(Vec<(u64, Option<SystemTime>, u64)>);

impl Node {
    /// The policy's directory.
    #[must_use]
    pub fn policy_dir(&self) -> PathBuf {
        self.config.policy.clone()
    }

    /// Notes how feeds do.
    fn tell_feeds(&mut self, feeds: Vec<FeedStatus>) {
        self.feeds = feeds;
    }
}

/// Follows the feeds of the node's policy until it is told to stop.
pub(super) async fn run(node: Shared, mut stopped: watch::Receiver<bool>) {
    let dir = with(Arc::clone(&node), |node| node.policy_dir()).await;
    let mut followed: Vec<Followed> = Vec::new();
    let mut told = Vec::new();
    let mut policy = None;
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(TICK) => {}
        }
        let now = stamp(&[dir.join("policy.toml")]);
        if now.is_some() && policy != now {
            policy = now;
            // A policy that is wrong is told by its reload; until it is good, feeds are what they were.
            if let Ok(declared) = policy::declared(&dir) {
                follow(&mut followed, declared);
            }
        }
        for feed in &mut followed {
            if feed.due <= Instant::now() {
                feed.due = Instant::now() + feed.feed.every;
                look(&node, &dir, feed, &mut stopped).await;
            }
            feed.tell_if_stale();
        }
        let now: Vec<FeedStatus> = followed.iter().map(|feed| feed.status.clone()).collect();
        if now != told {
            told.clone_from(&now);
            with(Arc::clone(&node), move |node| node.tell_feeds(now)).await;
        }
    }
}

/// Takes on what the policy declares now; what is as before goes on.
fn follow(followed: &mut Vec<Followed>, declared: Vec<Declared>) {
    let mut before = std::mem::take(followed);
    for declared in declared {
        let Some(feed) = declared.feed.clone() else {
            continue;
        };
        let same = |known: &Followed| {
            known.feed == feed
                && known.declared.set == declared.set
                && known.declared.file == declared.file
                && known.declared.request == declared.request
        };
        match before.iter().position(same) {
            Some(index) => followed.push(before.swap_remove(index)),
            None => followed.push(Followed::new(declared, feed)),
        }
    }
}

impl Followed {
    fn new(declared: Declared, feed: Feed) -> Self {
        let now = Timestamp::now();
        let status = FeedStatus {
            set: declared.set.clone(),
            feed: feed.written.clone(),
            looked: now,
            fresh: None,
            stale: false,
            error: None,
        };
        Self {
            declared,
            feed,
            due: Instant::now(),
            seen: None,
            known: web::Known::default(),
            since: now,
            status,
        }
    }

    /// Says it once when the list becomes older than it may be, and once when it no longer is.
    fn tell_if_stale(&mut self) {
        let age = Timestamp::now().duration_since(self.status.fresh.unwrap_or(self.since));
        let most = SignedDuration::try_from(self.feed.stale_after).unwrap_or(SignedDuration::MAX);
        let stale = age > most;
        let (set, feed) = (&self.status.set, &self.status.feed);
        match (self.status.stale, stale) {
            (false, true) => {
                warn!(
                    "feed of set {set} is stale: nothing new from {feed} for {age:#}; the last good list stays"
                );
            }
            (true, false) => info!("feed of set {set} is fresh again"),
            _ => {}
        }
        self.status.stale = stale;
    }

    fn failed(&mut self, error: String) {
        if self.status.error.as_ref() != Some(&error) {
            error!(
                "feed of set {}: the last good list stays:\n{error}",
                self.status.set
            );
        }
        self.status.error = Some(error);
    }

    /// The source is good, as it was at `time`.
    fn good(&mut self, time: Option<Timestamp>) {
        if self.status.error.take().is_some() {
            info!("feed of set {}: its source is good again", self.status.set);
        }
        self.status.fresh = Some(time.unwrap_or_else(Timestamp::now));
    }
}

/// Looks at a feed's source, and takes what is new.
async fn look(node: &Shared, dir: &Path, feed: &mut Followed, stopped: &mut watch::Receiver<bool>) {
    feed.status.looked = Timestamp::now();
    let mut sources = feed.declared.request.sources.iter();
    if let Some(url) = sources.find(|source| fetch::is_web(source)).cloned() {
        return web::look(node, dir, feed, url, stopped).await;
    }
    let sources: Vec<PathBuf> = feed
        .declared
        .request
        .sources
        .iter()
        .map(|source| dir.join(source))
        .collect();
    let now = stamp(&sources);
    if now.is_some() && now == feed.seen {
        return;
    }
    if now.as_ref().is_some_and(Stamp::is_settling) {
        feed.due = Instant::now() + TICK;
        return;
    }
    let (declared, directory) = (feed.declared.clone(), dir.to_owned());
    let made = blocking(move || make(&declared, &directory)).await;
    if stamp(&sources) != now {
        // It was written while it was read.
        feed.due = Instant::now() + TICK;
        return;
    }
    let time = now.as_ref().and_then(Stamp::time);
    let taken = match made {
        Ok(made) if made.is_change() => activate(node, &made).await,
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    // A source that is refused is refused again only when it is another one.
    feed.seen = now;
    match taken {
        Ok(()) => feed.good(time),
        Err(error) => feed.failed(error),
    }
}

fn make(declared: &Declared, dir: &Path) -> Result<Refreshed, String> {
    let made =
        update::refresh(declared, dir, &Progress::default()).map_err(|error| error.to_string())?;
    update::check(dir, std::slice::from_ref(&made), &Progress::default())
        .map_err(|error| error.to_string())?;
    Ok(made)
}

/// Writes the list and puts it in force; where it is refused, the list becomes what it was.
async fn activate(node: &Shared, made: &Refreshed) -> Result<(), String> {
    let path = &made.path;
    let before = match fs::read(path) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    };
    made.imported
        .list
        .write(path, Timestamp::now())
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    let Err(refused) = server::load(Arc::clone(node), fed(), Want::Configured).await else {
        let (added, removed) = (made.added().prefixes(), made.removed().prefixes());
        info!(
            added = added.len(),
            removed = removed.len(),
            "feed of set {}: the new list is in force",
            made.set
        );
        return Ok(());
    };
    let refused = format!("the reload was refused: {refused}");
    update::restore(path, before.as_deref())
        .map_err(|error| format!("{refused}\n{} cannot be restored: {error}", path.display()))?;
    // What it says now, it said before.
    let _ = server::load(Arc::clone(node), fed(), Want::Configured).await;
    Err(refused)
}

fn stamp(paths: &[PathBuf]) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let stamps = paths.iter().map(|path| {
        let file = fs::metadata(path).ok()?;
        Some((file.len(), file.modified().ok(), file.ino()))
    });
    stamps.collect::<Option<_>>().map(Stamp)
}

impl Stamp {
    /// Whether one of the files was written just now.
    fn is_settling(&self) -> bool {
        let mut times = self.0.iter().filter_map(|(_, modified, _)| *modified);
        // A time to come says nothing.
        times.any(|time| time.elapsed().is_ok_and(|age| age < SETTLE))
    }

    /// The time of the oldest of the files.
    fn time(&self) -> Option<Timestamp> {
        let times = self.0.iter().filter_map(|(_, modified, _)| *modified);
        times.min().and_then(|time| Timestamp::try_from(time).ok())
    }
}
/// A reload for a list that followed its source.
fn fed() -> Act {
    Act::itself(Action::Reload, "feed")
}
