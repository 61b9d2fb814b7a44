//! What makes the agent look again: files that changed, interfaces and addresses that came or went.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::config::Config;

/// Quiet time after the last event before files are read: editors and copies write in several steps.
const SETTLE: Duration = Duration::from_millis(150);
/// How long to wait for that quiet time, where somebody writes all the time.
const PATIENCE: Duration = Duration::from_secs(2);
/// Links the kernel follows on the way to a file (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Watches the policy directory and the subscribers' file, and what links they are reached by.
pub(super) struct Files {
    events: mpsc::UnboundedReceiver<()>,
    watcher: RecommendedWatcher,
    policy: PathBuf,
    subscribers: PathBuf,
    /// What an event must be about to concern us.
    places: Arc<Mutex<BTreeSet<PathBuf>>>,
    watched: BTreeSet<PathBuf>,
    enabled: bool,
    /// Something changed that nobody was told of yet: when first, and when last. A wait may be given up and begun
    /// again.
    pending: Option<(Instant, Instant)>,
}

impl Files {
    pub(super) fn watch(config: &Config) -> Result<Self, notify::Error> {
        let (sender, events) = mpsc::unbounded_channel();
        let places = Arc::new(Mutex::new(BTreeSet::new()));
        let watcher = notify::recommended_watcher({
            let places = Arc::clone(&places);
            move |event: Result<notify::Event, _>| {
                let concerns = |path: &PathBuf| {
                    let places = places.lock().unwrap_or_else(PoisonError::into_inner);
                    places.iter().any(|place| path.starts_with(place))
                };
                let relevant = match event {
                    Ok(event) => {
                        !matches!(event.kind, EventKind::Access(_))
                            && (event.need_rescan() || event.paths.iter().any(concerns))
                    }
                    // Lost events: look.
                    Err(_) => true,
                };
                if relevant {
                    // The receiver is gone only when the agent stops.
                    let _ = sender.send(());
                }
            }
        })?;
        let mut files = Self {
            events,
            watcher,
            policy: absolute(&config.policy),
            subscribers: absolute(&config.subscribers),
            places,
            watched: BTreeSet::new(),
            enabled: config.watch,
            pending: None,
        };
        files.place_watches();
        Ok(files)
    }

    /// Watches directories, not files: files are replaced by renaming. Said again after every change, because a
    /// directory that was replaced is not watched any more, and a link may lead elsewhere.
    fn place_watches(&mut self) {
        if !self.enabled {
            return;
        }
        let mut places = BTreeSet::from([self.policy.clone(), self.subscribers.clone()]);
        let inside = fs::read_dir(&self.policy).into_iter().flatten().flatten();
        let inside = inside.map(|entry| entry.path());
        for path in inside.chain([self.policy.clone(), self.subscribers.clone()]) {
            let end = follow(&path, &mut places, &mut { MOST_LINKS });
            places.insert(end);
        }
        let parents = places.iter().filter_map(|place| place.parent());
        let wanted: BTreeSet<PathBuf> = parents.map(Path::to_owned).collect();
        for path in self.watched.difference(&wanted) {
            // It may be gone, and its watch with it.
            let _ = self.watcher.unwatch(path);
        }
        for path in &wanted {
            watch(&mut self.watcher, path, RecursiveMode::NonRecursive);
        }
        watch(&mut self.watcher, &self.policy, RecursiveMode::Recursive);
        self.watched = wanted;
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = places;
    }

    /// Waits for a change, and for it to be complete.
    pub(super) async fn changed(&mut self) {
        if self.pending.is_none() {
            if self.events.recv().await.is_none() {
                return std::future::pending().await;
            }
            let now = Instant::now();
            self.pending = Some((now, now));
        }
        while let Some((first, last)) = self.pending {
            // Whoever goes on writing will be heard again.
            let complete = (last + SETTLE).min(first + PATIENCE);
            if Instant::now() >= complete {
                self.pending = None;
            } else if timeout_at(complete, self.events.recv()).await.is_ok() {
                self.pending = Some((first, Instant::now()));
            }
        }
        self.place_watches();
    }
}

fn watch(watcher: &mut RecommendedWatcher, path: &Path, mode: RecursiveMode) {
    if let Err(error) = watcher.watch(path, mode) {
        warn!(
            "{} cannot be watched, reload with SIGHUP: {error}",
            path.display()
        );
    }
}

/// Where a path leads; every link on the way, of which there may be `left`, is added to `links`.
fn follow(path: &Path, links: &mut BTreeSet<PathBuf>, left: &mut usize) -> PathBuf {
    let mut reached = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => _ = reached.pop(),
            component => reached.push(component),
        }
        if *left > 0
            && let Ok(target) = fs::read_link(&reached)
        {
            *left -= 1;
            links.insert(reached.clone());
            reached.pop();
            reached = follow(&reached.join(target), links, left);
        }
    }
    reached
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Hears of interfaces and addresses from the kernel (rtnetlink(7)). What it says is not read: it is a reason to
/// look.
pub(super) struct Links {
    events: mpsc::UnboundedReceiver<()>,
}

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

impl Links {
    pub(super) fn watch() -> io::Result<Self> {
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        let (sender, events) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("rtnetlink".into())
            .spawn(move || {
                let mut buffer = [0; 8192];
                loop {
                    match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                        // ENOBUFS: something was lost, which is also a reason to look.
                        Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => {}
                        Err(error) => {
                            return warn!("rtnetlink: {error}; looking once a second instead");
                        }
                    }
                    if sender.send(()).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self { events })
    }

    /// Waits until something changed.
    pub(super) async fn changed(&mut self) {
        if self.events.recv().await.is_none() {
            return std::future::pending().await;
        }
        while self.events.try_recv().is_ok() {}
    }
}
