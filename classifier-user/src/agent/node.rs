//! A node: its maps, what is counted in them, and the one way a policy and a list of subscribers come into
//! force (`Node::put_in_force`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use ipnet::IpNet;
use jiff::Timestamp;
use nix::sys::socket::SockaddrStorage;
use tracing::{info, warn};

use super::activation::Act;
use super::at_once::AtOnce;
use super::charging::cycles::Ends;
use super::charging::levels::Levels;
use super::error::NodeError;
use super::events::News;
use super::feeds::FeedStatus;
use super::gathering::Gathering;
use super::interfaces::Interfaces;
use super::preflight;
use super::reconcile::Readings;
use super::records::recording::Recording;
use super::reload::log_reload;
use super::schedule::Schedule;
use super::sources::{Refused, Sources};
use crate::accounts::Accounts;
use crate::config::Config;
use crate::datapath::aside_map::Merger;
use crate::datapath::live_image::LiveImage;
use crate::datapath::maps::Maps;
use crate::engine::lines::Lines;
use crate::history::{Action, History};
use crate::ledger::balances::Purse;
use crate::ledger::{Ledger, LedgerError};
use crate::policy::Policy;
use crate::sinks::board::Board;
use crate::subscribers::Wish;

/// What cannot be done when time, or the gateway, goes on and the policy cannot follow.
const BEHIND: &str = "bringing the policy up to date";

/// A running node.
#[derive(Debug)]
pub struct Node {
    pub(super) config: Config,
    pub(super) maps: Maps,
    pub(super) lines: Lines,
    pub(super) accounts: Accounts,
    pub(super) interfaces: Interfaces,
    pub(super) news: News,
    pub(super) in_force: Option<InForce>,
    pub(super) ledger: Ledger,
    /// Policy versions, and who put them in force.
    pub(super) history: History,
    /// What is counted and not yet recorded.
    pub(super) recording: Recording,
    /// Serial number of the latest image.
    pub(super) serial: u32,
    /// The image in force, for changes in place; `None` before the first.
    pub(super) live: Option<Arc<LiveImage>>,
    /// Adds to rows what CPUs counted.
    pub(super) gathering: Gathering,
    /// Adds to rows what was counted aside.
    pub(super) merger: Merger,
    /// Something was in the way of that.
    pub(super) unsettled: bool,
    /// What cannot wait for the node's lock.
    pub(super) at_once: Arc<AtOnce>,
    /// The ledger knows a change that the image in force does not: something was in the way of publishing it.
    pub(super) unpublished: bool,
    /// What was asked for subscribers otherwise than by their file.
    pub(super) wishes: BTreeMap<Arc<str>, Wish>,
    /// When whose cycle ends.
    pub(super) ends: Ends,
    /// What was drawn from buckets, as far as it is written down.
    pub(super) levels: Levels,
    /// What is asked for later.
    pub(super) schedule: Schedule,
    /// Money that may have to be priced anew.
    pub(super) purses: Vec<Purse>,
    /// Errors of the latest reload or start, if it failed.
    pub(super) refused: Option<String>,
    /// How feeds do.
    pub(super) feeds: Vec<FeedStatus>,
    /// What is in the way of sealing records.
    pub(super) unsealed: Option<String>,
    /// Where records are brought.
    pub(super) sinks: Board,
    /// What was read of interfaces.
    pub(super) readings: Readings,
}

/// What packets are judged by.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) policy: Arc<Policy>,
    pub(super) gateway: Vec<IpNet>,
    pub(super) since: Timestamp,
    pub(super) image_bytes: usize,
    /// Next instant at which the policy changes by itself.
    pub(super) until: Option<Timestamp>,
}

impl InForce {
    /// Whether the policy at a time is what the image says: no validity boundary lies between, in either direction,
    /// should the clock have been set back.
    pub(super) fn is_of(&self, time: Timestamp) -> bool {
        let between = |boundary: &Timestamp| *boundary <= self.since && *boundary > time;
        self.until.is_none_or(|until| until > time) && !self.policy.boundaries().iter().any(between)
    }
}

impl Node {
    /// Opens or makes the node's counters, puts policy and subscribers in force, and attaches.
    ///
    /// # Errors
    /// Whatever is in the way. Counting that goes on from before is not disturbed.
    pub fn start(config: Config) -> Result<Self, NodeError> {
        preflight::check(&config.pin_dir)?;
        Interfaces::all_there(&config)?;
        let history = History::open(&config.history())?;
        if let Some(flaw) = history.flaw() {
            tracing::error!("the audit log was changed by somebody: {flaw}");
        }
        let last = history
            .past()
            .map(|past| past.last())
            .unwrap_or_else(|error| {
                tracing::error!("{error}");
                None
            });
        let sources = Sources::of(&config, &history);
        // Each takes a second with a million subscribers.
        let (inputs, opened) = thread::scope(|scope| {
            let inputs = scope.spawn(|| sources.read_at_start(last.as_deref()));
            let opened = Ledger::open(&config.ledger);
            let inputs = inputs.join();
            (inputs.unwrap_or_else(|panic| resume_unwind(panic)), opened)
        });
        let (mut ledger, recalled) = opened?;
        let (mut maps, accounts) = match Maps::open(&config.pin_dir)? {
            Some(maps) if recalled.epoch == Some(maps.epoch()) => {
                let counting = maps.serials()?.last;
                if counting > recalled.serial {
                    return Err(NodeError::Outdated {
                        ledger: config.ledger.display().to_string(),
                        counting,
                        known: recalled.serial,
                    });
                }
                info!(
                    epoch = format!("{:016x}", maps.epoch()),
                    "taking over pinned counters"
                );
                (maps, recalled.accounts)
            }
            Some(maps) => {
                return Err(NodeError::Strangers {
                    pins: maps.path().display().to_string(),
                    ledger: config.ledger.display().to_string(),
                    counting: maps.epoch(),
                    known: recalled
                        .epoch
                        .map_or("knows none".into(), |epoch| format!("{epoch:016x}")),
                });
            }
            None => {
                if recalled.epoch.is_some() {
                    warn!(
                        "the counters of the last epoch are gone (reboot, or pins removed): counting begins at \
                         zero, and buckets hold what they held when it was last written down"
                    );
                }
                let epoch = random_epoch(&config)?;
                // The ledger first: pins it does not know would be strangers at the next start.
                ledger.begin_epoch(epoch, Timestamp::now())?;
                let image_words = config.limits.image_words;
                preflight::check_memory(u64::from(image_words) * 4, "the policy image")?;
                let maps = Maps::create(&config.pin_dir, image_words, epoch)?;
                info!(epoch = format!("{epoch:016x}"), "counting begins");
                (maps, recalled.accounts.anew())
            }
        };
        let mut accounts = Accounts {
            zone: config.timezone.clone(),
            ..accounts
        };
        // Also when an agent before this one began the epoch: who has no block yet has what it had.
        let without = accounts.without_block();
        if !without.is_empty() {
            accounts.carried = ledger.carried()?;
            accounts
                .carried
                .retain(|account, _| without.contains(account));
        }
        let mut lines = maps.rows.lines()?;
        maps.rows.grow(&mut lines, accounts.next_line)?;
        let interfaces = Interfaces::new(&config, ledger.interfaces(&names(&config))?);
        let in_rows = maps.serials()?.in_rows;
        let recording = Recording::recall(&config, &ledger, &accounts, maps.epoch(), in_rows)?;
        let merger = Merger::load(&maps)?;
        let news = News::take_over(&mut maps, &lines, &accounts, &config.events)?;
        // Behind that: it tells of first packets in the ring that is read from now on.
        let gathering = Gathering::load(&maps)?;
        let mut node = Self {
            config,
            maps,
            lines,
            accounts,
            interfaces,
            news,
            in_force: None,
            live: None,
            gathering,
            merger,
            unsettled: false,
            at_once: Arc::default(),
            unpublished: false,
            ledger,
            history,
            recording,
            serial: recalled.serial,
            wishes: recalled.wishes,
            ends: Ends::default(),
            levels: Levels::default(),
            schedule: Schedule::default(),
            purses: Vec::new(),
            refused: None,
            feeds: Vec::new(),
            unsealed: None,
            sinks: Board::default(),
            readings: Readings::default(),
        };
        node.ends = Ends::of(&node.accounts);
        node.levels = Levels::of(&node.accounts);
        node.schedule = Schedule::of(node.ledger.scheduled()?);
        node.recall_grants()?;
        node.ledger.told()?;
        let (inputs, refused) = inputs?;
        let act = Act::itself(Action::Start, "start");
        if let Some(Refused { version, error }) = refused {
            node.refused = Some(error.to_string());
            tracing::error!(
                "what is configured is refused, and what was in force last is again:\n{error}"
            );
            node.audit(&act, last.clone(), version, &Err(error));
        }
        node.resume_split()?;
        let reloaded = node.load(inputs)?;
        log_reload(&reloaded);
        node.audit(&act, last, None, &Ok(reloaded));
        if !node.interfaces.any_attached() {
            node.interfaces.attach_all(&node.maps)?;
        }
        node.readings = Readings::from(node.ledger.readings()?);
        node.reconcile();
        node.news.replaced();
        node.defer();
        Ok(node)
    }

    /// Compiles again what is in force when time, or the gateway's own addresses, made it another thing. What is in
    /// the way is logged, shown by `status`, and tried again at the next look.
    pub fn keep_up(&mut self) {
        self.history.write_down();
        self.settle();
        self.follow();
        self.defer();
    }

    /// Puts in force what has become of the policy in force.
    fn follow(&mut self) {
        let Some(in_force) = &self.in_force else {
            return;
        };
        let now = Timestamp::now();
        let boundary = !in_force.is_of(now);
        let moved = in_force.gateway != gateway_addresses();
        let since = in_force.since;
        if boundary || moved || self.unpublished {
            let policy = Arc::clone(&in_force.policy);
            let result = self
                .accounts
                .carry_on(&policy, now)
                .map_err(NodeError::from)
                .and_then(|mut change| {
                    change.wishes = self.succeeded(&policy, &change, now);
                    self.put_in_force(Arc::clone(&policy), change, now)
                });
            if let Err(error) = &result {
                let text = format!("{BEHIND}: {error}");
                // Tried at every look, said once.
                if self.refused.as_ref() != Some(&text) {
                    tracing::error!("{text}");
                    self.refused = Some(text);
                }
                return;
            }
            // A file that was refused is as wrong as before.
            self.refused.take_if(|text| text.starts_with(BEHIND));
            let replanned = result.map_or(0, |summary| summary.replanned);
            if replanned > 0 {
                // Another plan may have another price.
                self.keep_money(None);
            }
            if boundary {
                let moved = successions(&policy, since, now, replanned);
                info!("a validity boundary has passed: the policy of this time is in force");
                for line in &moved {
                    info!("policy: {line}");
                }
                self.audit_boundary(moved);
            }
            if moved {
                info!("the gateway's own addresses changed: the image knows them");
            }
        }
    }

    /// Next instant at which the policy in force changes by itself.
    #[must_use]
    pub fn next_boundary(&self) -> Option<Timestamp> {
        self.in_force.as_ref()?.until
    }

    /// Next instant at which anything changes by itself.
    #[must_use]
    pub fn next_change(&self) -> Option<Timestamp> {
        let activation = self.history.scheduled().first().map(|first| first.at);
        let next = [
            self.next_boundary(),
            self.next_end(),
            self.schedule.next(),
            activation,
        ];
        next.into_iter().flatten().min()
    }

    /// Re-attaches interfaces that came back.
    pub fn look_after_interfaces(&mut self) {
        self.interfaces.look_after(&self.maps);
    }

    /// Takes the programs off all interfaces; the counters stay.
    pub fn detach(&mut self) {
        self.interfaces.detach_all(&self.maps);
    }

    /// What cannot wait for whoever holds the node.
    #[must_use]
    pub fn at_once(&self) -> Arc<AtOnce> {
        Arc::clone(&self.at_once)
    }

    /// Time zone of the gateway's customers.
    #[must_use]
    pub fn timezone(&self) -> &jiff::tz::TimeZone {
        &self.config.timezone
    }

    /// Names of interfaces that are counted on, or were since the counters began.
    #[must_use]
    pub fn interface_names(&self) -> Vec<String> {
        self.numbered_interfaces().keys().cloned().collect()
    }

    /// Interfaces by name, with their numbers in the books.
    pub(super) fn numbered_interfaces(&self) -> &BTreeMap<String, u32> {
        self.interfaces.numbers()
    }
}

/// What became of plans that ended in a time, a line each, and how many subscribers went to another plan.
fn successions(policy: &Policy, since: Timestamp, now: Timestamp, replanned: usize) -> Vec<String> {
    let ended = policy.plans.iter().filter_map(|plan| {
        let end = plan.end.filter(|end| since < end.at && end.at <= now)?;
        let successor = &policy.plans[end.successor].name;
        Some(format!(
            "plan {} ended at {}: its successor is {successor}",
            plan.name, end.at
        ))
    });
    let went =
        (replanned > 0).then(|| format!("subscribers that went to a successor: {replanned}"));
    ended.chain(went).collect()
}

fn names(config: &Config) -> Vec<String> {
    config
        .interfaces
        .iter()
        .map(|interface| interface.name.clone())
        .collect()
}

fn random_epoch(config: &Config) -> Result<u64, NodeError> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| {
            NodeError::Ledger(LedgerError::Io {
                path: config.ledger.clone(),
                error,
            })
        })?;
    Ok(u64::from_ne_bytes(bytes).max(1))
}

/// Addresses this gateway answers to, and broadcast addresses of its links.
pub(super) fn gateway_addresses() -> Vec<IpNet> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let mut found: Vec<IpNet> = interfaces
        .flat_map(|interface| {
            let v4 = |address: Option<SockaddrStorage>| Some(address?.as_sockaddr_in()?.ip());
            let own = interface.address;
            let v6 = own.and_then(|address| Some(address.as_sockaddr_in6()?.ip()));
            // The kernel takes a network's last address for its broadcast address, named as such or not.
            let last = v4(own)
                .zip(v4(interface.netmask))
                .map(|(address, mask)| Ipv4Addr::from_bits(address.to_bits() | !mask.to_bits()));
            [v4(own), v4(interface.broadcast), last]
                .map(|address| address.map(IpAddr::V4))
                .into_iter()
                .chain([v6.map(IpAddr::V6)])
        })
        .flatten()
        .map(IpNet::from)
        .collect();
    found.sort();
    found.dedup();
    found
}
