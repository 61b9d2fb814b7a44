//! What makes the agent look again: files that changed, interfaces and addresses that came or went.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tracing::warn;

use crate::config::Config;

/// Quiet time after the last event before files are read: editors and copies write in several steps.
const SETTLE: Duration = Duration::from_millis(150);

/// Watches the policy directory and the subscribers' file.
pub(super) struct Files {
    events: mpsc::UnboundedReceiver<()>,
    watcher: RecommendedWatcher,
    policy: PathBuf,
    subscribers: PathBuf,
    enabled: bool,
    /// Something changed that nobody was told of yet: a wait may be given up and begun again.
    pending: bool,
}

impl Files {
    pub(super) fn watch(config: &Config) -> Result<Self, notify::Error> {
        let (sender, events) = mpsc::unbounded_channel();
        let (policy, subscribers) = (absolute(&config.policy), absolute(&config.subscribers));
        let concerns = {
            let places = [
                policy.clone(),
                policy.canonicalize().unwrap_or_default(),
                subscribers.clone(),
            ];
            move |path: &Path| {
                places
                    .iter()
                    .any(|place| !place.as_os_str().is_empty() && path.starts_with(place))
            }
        };
        let watcher = notify::recommended_watcher(move |event: Result<notify::Event, _>| {
            let relevant = match event {
                Ok(event) => {
                    !matches!(event.kind, EventKind::Access(_))
                        && (event.need_rescan() || event.paths.iter().any(|path| concerns(path)))
                }
                // Lost events: look.
                Err(_) => true,
            };
            if relevant {
                // The receiver is gone only when the agent stops.
                let _ = sender.send(());
            }
        })?;
        let mut files = Self {
            events,
            watcher,
            policy,
            subscribers,
            enabled: config.watch,
            pending: false,
        };
        files.place_watches();
        Ok(files)
    }

    /// Watches directories, not files: files are replaced by renaming. Said again after every change, because a
    /// directory that was replaced is not watched any more.
    fn place_watches(&mut self) {
        if !self.enabled {
            return;
        }
        let parent = |path: &Path| path.parent().map(Path::to_owned);
        let watches = [
            (parent(&self.policy), RecursiveMode::NonRecursive),
            (parent(&self.subscribers), RecursiveMode::NonRecursive),
            (Some(self.policy.clone()), RecursiveMode::Recursive),
        ];
        for (path, mode) in watches {
            let Some(path) = path else { continue };
            if let Err(error) = self.watcher.watch(&path, mode) {
                warn!(
                    "{} cannot be watched, reload with SIGHUP: {error}",
                    path.display()
                );
            }
        }
    }

    /// Waits for a change, and for it to be complete.
    pub(super) async fn changed(&mut self) {
        if !self.pending && self.events.recv().await.is_none() {
            return std::future::pending().await;
        }
        self.pending = true;
        while let Ok(Some(())) = tokio::time::timeout(SETTLE, self.events.recv()).await {}
        self.pending = false;
        self.place_watches();
    }
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
