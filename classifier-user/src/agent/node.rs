//! A node: its maps, what is counted in them, and the one way a policy and a list of subscribers come into
//! force (`Node::put_in_force`).

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use ipnet::IpNet;
use jiff::Timestamp;
use nix::sys::socket::SockaddrStorage;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::cycles::Ends;
use super::error::NodeError;
use super::events::News;
use super::interfaces::Interfaces;
use super::levels::Levels;
use super::recording::Recording;
use super::schedule::Schedule;
use super::{preflight, prices};
use crate::accounts::{Accounts, Summary};
use crate::config::Config;
use crate::datapath::live_image::LiveImage;
use crate::datapath::maps::Maps;
use crate::engine::lines::Lines;
use crate::ledger::{Ledger, LedgerError};
use crate::policy::{self, Changes, Checked, Policy};
use crate::subscribers::{self, Wish};

/// What cannot be done when time, or the gateway, goes on and the policy cannot follow.
const BEHIND: &str = "bringing the policy up to date";

/// Where policy and subscribers are read from.
#[derive(Debug, Clone)]
pub struct Sources {
    policy: PathBuf,
    subscribers: PathBuf,
}

/// Policy and subscribers as they were read.
#[derive(Debug)]
pub struct Inputs {
    checked: Checked,
    lines: subscribers::Lines,
}

impl Sources {
    fn of(config: &Config) -> Self {
        Self {
            policy: config.policy.clone(),
            subscribers: config.subscribers.clone(),
        }
    }

    /// Reads them. It needs no node, and holds none up.
    ///
    /// # Errors
    /// What is wrong with the policy.
    pub fn read(&self) -> Result<Inputs, NodeError> {
        let checked = policy::load(&self.policy)?;
        let lines = subscribers::Lines::read(&self.subscribers, &checked.policy);
        Ok(Inputs { checked, lines })
    }
}

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
    /// What is counted and not yet recorded.
    pub(super) recording: Recording,
    /// Serial number of the latest image.
    pub(super) serial: u32,
    /// The image in force, for changes in place; `None` before the first.
    pub(super) live: Option<LiveImage>,
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
    /// Errors of the latest reload, if it failed.
    pub(super) refused: Option<String>,
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

/// What a reload did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reloaded {
    /// Version of the policy now in force.
    pub policy_version: String,
    /// Whether anything is different from before.
    pub changed: bool,
    /// What changed in the policy, a line each.
    pub policy: Vec<String>,
    /// What changed among subscribers.
    pub subscribers: Summary,
    /// Warnings, as `check` prints them.
    pub warnings: Vec<String>,
}

impl Node {
    /// Opens or makes the node's counters, puts policy and subscribers in force, and attaches.
    ///
    /// # Errors
    /// Whatever is in the way. Counting that goes on from before is not disturbed.
    pub fn start(config: Config) -> Result<Self, NodeError> {
        preflight::check(&config.pin_dir)?;
        let sources = Sources::of(&config);
        // Each takes a second with a million subscribers.
        let (inputs, opened) = thread::scope(|scope| {
            let inputs = scope.spawn(|| sources.read());
            let opened = Ledger::open(&config.ledger);
            let inputs = inputs.join();
            (inputs.unwrap_or_else(|panic| resume_unwind(panic)), opened)
        });
        let (mut ledger, recalled) = opened?;
        let (mut maps, accounts) = match Maps::open(&config.pin_dir)? {
            Some(maps) if recalled.epoch == Some(maps.epoch()) => {
                let counting = maps.serial()?;
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
                let carried = ledger.carried()?;
                let epoch = random_epoch(&config)?;
                // The ledger first: pins it does not know would be strangers at the next start.
                ledger.begin_epoch(epoch)?;
                let image_words = config.limits.image_words;
                preflight::check_memory(u64::from(image_words) * 4, "the policy image")?;
                let maps = Maps::create(&config.pin_dir, image_words, epoch)?;
                info!(epoch = format!("{epoch:016x}"), "counting begins");
                (maps, recalled.accounts.anew(carried))
            }
        };
        let accounts = Accounts {
            zone: config.timezone.clone(),
            ..accounts
        };
        let mut lines = maps.rows.lines()?;
        maps.rows.grow(&mut lines, accounts.next_line)?;
        let interfaces = Interfaces::new(&config, ledger.interfaces(&names(&config))?);
        let recording =
            Recording::recall(&config, &ledger, &accounts, maps.epoch(), maps.serial()?)?;
        let news = News::take_over(&mut maps, &lines, &accounts, &config.events)?;
        let mut node = Self {
            config,
            maps,
            lines,
            accounts,
            interfaces,
            news,
            in_force: None,
            live: None,
            unpublished: false,
            ledger,
            recording,
            serial: recalled.serial,
            wishes: recalled.wishes,
            ends: Ends::default(),
            levels: Levels::default(),
            schedule: Schedule::default(),
            refused: None,
        };
        node.ends = Ends::of(&node.accounts);
        node.levels = Levels::of(&node.accounts);
        node.schedule = Schedule::of(node.ledger.scheduled()?);
        node.recall_grants()?;
        node.ledger.told()?;
        node.forget_orders();
        let reloaded = node.load(inputs?)?;
        log_reload(&reloaded);
        node.interfaces.attach_all(&node.maps)?;
        node.news.replaced();
        Ok(node)
    }

    /// Where policy and subscribers are read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        Sources::of(&self.config)
    }

    /// Puts policy and subscribers that were read again in force if they are good and not what is in force.
    ///
    /// # Errors
    /// What is wrong with them, or in the way; nothing has changed then.
    pub fn reload(&mut self, inputs: Result<Inputs, NodeError>) -> Result<Reloaded, NodeError> {
        let result = inputs.and_then(|inputs| self.load(inputs));
        match &result {
            Ok(reloaded) => {
                self.refused = None;
                log_reload(reloaded);
            }
            Err(error) => {
                self.refused = Some(error.to_string());
                tracing::error!("reload refused, what was in force stays in force:\n{error}");
            }
        }
        result
    }

    /// What a reload would do, without doing it.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn preview(&self, inputs: Result<Inputs, NodeError>) -> Result<Reloaded, NodeError> {
        let Inputs { checked, lines } = inputs?;
        let listed = lines.finish(&checked.policy, &self.wishes, true)?;
        let now = Timestamp::now();
        let change = self
            .accounts
            .plan(&checked.policy, &listed.subscribers, now)?;
        let warnings = checked.warnings.iter().chain(&listed.warnings);
        let mut reloaded = Reloaded {
            policy_version: checked.policy.version.clone(),
            changed: !change.is_empty(),
            policy: Vec::new(),
            subscribers: change.summary,
            warnings: warnings.map(ToString::to_string).collect(),
        };
        if let Some(before) = &self.in_force {
            let mut on: HashMap<String, usize> = HashMap::new();
            for subscriber in &listed.subscribers {
                let plan = &checked.policy.plans[subscriber.plan];
                *on.entry(plan.name.clone()).or_default() += 1;
            }
            let changes = Changes::between(&before.policy, &checked.policy, now).to_string();
            let effects = policy::effects(&before.policy, &checked.policy, Some(&on));
            let effects = effects.iter().map(ToString::to_string);
            let lines = changes.lines().map(str::to_owned);
            reloaded.policy = lines.chain(effects).collect();
            reloaded.changed |= before.policy.version != checked.policy.version;
        }
        Ok(reloaded)
    }

    fn load(&mut self, inputs: Inputs) -> Result<Reloaded, NodeError> {
        let Inputs { checked, lines } = inputs;
        // Who could not start could not be told to change its wishes either.
        let strict = self.in_force.is_some();
        let listed = lines.finish(&checked.policy, &self.wishes, strict)?;
        let limit = self.config.limits.subscribers;
        if limit != 0 && listed.subscribers.len() > limit {
            return Err(NodeError::TooMany {
                found: listed.subscribers.len(),
                limit,
            });
        }
        let warnings = checked.warnings.iter().chain(&listed.warnings);
        let mut warnings: Vec<String> = warnings.map(ToString::to_string).collect();
        warnings.extend(listed.overtaken.iter().map(|id| {
            format!(
                "subscriber {id:?}: its line in the subscribers' file changed and holds; what was asked by command \
                 before is forgotten"
            )
        }));
        warnings.extend(self.config.tags.without_class(&checked.policy));
        let now = Timestamp::now();
        let changes = match &self.in_force {
            Some(before) => Changes::between(&before.policy, &checked.policy, now),
            None => Changes::default(),
        };
        let policy = Arc::new(checked.policy);
        let policy_version = policy.version.clone();
        let mut change = self.accounts.plan(&policy, &listed.subscribers, now)?;
        let overtaken = listed.overtaken.iter();
        change
            .wishes
            .extend(overtaken.map(|id| (Arc::clone(id), None)));
        // Not needed any more, and large.
        drop(listed);
        let same = self.in_force.as_ref().is_some_and(|before| {
            before.policy.version == policy.version && change.is_empty() && !self.unpublished
        });
        let before = self
            .in_force
            .as_ref()
            .map(|before| Arc::clone(&before.policy));
        let other_prices = before.is_none_or(|before| prices::differ(&before, &policy));
        let other_plans = change.summary.replanned > 0;
        let subscribers = if same {
            Summary::default()
        } else {
            self.put_in_force(policy, change, now)?
        };
        if other_prices || other_plans {
            self.keep_money(None);
        }
        let policy = changes.to_string().lines().map(str::to_owned).collect();
        Ok(Reloaded {
            policy_version,
            changed: !same,
            policy,
            subscribers,
            warnings,
        })
    }

    /// Compiles again what is in force when time, or the gateway's own addresses, made it another thing. What is in
    /// the way is logged, shown by `status`, and tried again at the next look.
    pub fn keep_up(&mut self) {
        let Some(in_force) = &self.in_force else {
            return;
        };
        let now = Timestamp::now();
        let boundary = !in_force.is_of(now);
        let moved = in_force.gateway != gateway_addresses();
        if boundary || moved || self.unpublished {
            let policy = Arc::clone(&in_force.policy);
            let result = self
                .accounts
                .carry_on(&policy, now)
                .map_err(NodeError::from)
                .and_then(|change| self.put_in_force(policy, change, now));
            if let Err(error) = result {
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
            if boundary {
                info!("a validity boundary has passed: the policy of this time is in force");
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
        let next = [self.next_boundary(), self.next_end(), self.schedule.next()];
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

    /// Time zone of the gateway's customers.
    #[must_use]
    pub fn timezone(&self) -> &jiff::tz::TimeZone {
        &self.config.timezone
    }

    /// Interfaces by name, with their numbers in the books.
    pub(super) fn numbered_interfaces(&self) -> &BTreeMap<String, u32> {
        self.interfaces.numbers()
    }
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

fn log_reload(reloaded: &Reloaded) {
    for warning in &reloaded.warnings {
        warn!("{warning}");
    }
    if !reloaded.changed {
        info!(version = reloaded.policy_version, "nothing changed");
        return;
    }
    let Summary {
        added,
        removed,
        readdressed,
        replanned,
        state_changed,
    } = reloaded.subscribers;
    info!(
        version = reloaded.policy_version,
        added, removed, readdressed, replanned, state_changed, "policy and subscribers in force"
    );
    for line in &reloaded.policy {
        info!("policy: {line}");
    }
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
