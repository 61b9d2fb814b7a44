//! The interfaces a node counts on: attached at the start, looked after while they come and go.

use std::collections::BTreeMap;
use std::fmt;

use aya_log::EbpfLogger;
use jiff::Timestamp;
use log::Log;
use tracing::{error, info, warn};

use crate::config::{self, Config};
use crate::datapath::links::{self, Arrival, AttachError, Attached, Place};
use crate::datapath::maps::Maps;
use crate::datapath::object::{Entry, Settings};
use crate::datapath::sys::XdpMode;

/// All interfaces of the configuration.
#[derive(Debug)]
pub struct Interfaces {
    wanted: Vec<Wanted>,
    /// Numbers in the books, of interfaces of earlier configurations too.
    numbers: BTreeMap<String, u32>,
}

#[derive(Debug)]
struct Wanted {
    place: Place,
    state: State,
    /// When its program was last seen in place.
    seen: Timestamp,
    /// What was last said to be in the way of attaching.
    told: Option<String>,
}

#[derive(Debug)]
enum State {
    Detached { since: Timestamp },
    Attached(Box<Attached>, Box<KernelLog>),
}

/// What a program has to say: rarely anything (an image it cannot read), never per packet.
struct KernelLog(Option<EbpfLogger<&'static dyn Log>>);

impl fmt::Debug for KernelLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KernelLog")
    }
}

impl KernelLog {
    fn of(attached: &mut Attached) -> Self {
        match EbpfLogger::init(attached.object()) {
            Ok(logger) => Self(Some(logger)),
            Err(error) => {
                warn!(
                    interface = attached.place().interface,
                    "no log from the kernel: {error}"
                );
                Self(None)
            }
        }
    }

    fn flush(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.flush();
        }
    }
}

impl Interfaces {
    pub(super) fn new(config: &Config, numbers: BTreeMap<String, u32>) -> Self {
        let since = Timestamp::now();
        let wanted = config.interfaces.iter().map(|interface| Wanted {
            place: place(interface, numbers[&interface.name]),
            state: State::Detached { since },
            seen: since,
            told: None,
        });
        Self {
            wanted: wanted.collect(),
            numbers,
        }
    }

    pub(super) const fn numbers(&self) -> &BTreeMap<String, u32> {
        &self.numbers
    }

    pub(super) fn any_attached(&self) -> bool {
        self.wanted
            .iter()
            .any(|wanted| matches!(wanted.state, State::Attached(..)))
    }

    /// What each interface is, for `status`.
    pub(super) fn states(&self) -> impl Iterator<Item = (&Place, Option<u32>)> {
        self.wanted.iter().map(|wanted| match &wanted.state {
            State::Attached(attached, _) => (&wanted.place, Some(attached.ifindex())),
            State::Detached { .. } => (&wanted.place, None),
        })
    }

    /// Attaches to every interface, and takes programs off interfaces that are configured no longer.
    pub(super) fn attach_all(&mut self, maps: &Maps) -> Result<(), AttachError> {
        let mut new: Vec<String> = Vec::new();
        for wanted in &mut self.wanted {
            let (attached, arrival) = match Attached::new(maps, wanted.place.clone()) {
                Ok(attached) => attached,
                Err(error) => {
                    // A start that fails leaves interfaces as they were.
                    for interface in new {
                        if let Err(error) = links::release(maps.path(), &interface) {
                            error!(interface, "taking the program off again: {error}");
                        }
                    }
                    return Err(error);
                }
            };
            let how = match arrival {
                Arrival::New => {
                    new.push(wanted.place.interface.clone());
                    "attached"
                }
                Arrival::TakenOver => "taken over without a gap",
            };
            wanted.attach(attached, how);
        }
        for name in links::pinned(maps.path()).unwrap_or_default() {
            if !self
                .wanted
                .iter()
                .any(|wanted| wanted.place.interface == name)
            {
                match links::release(maps.path(), &name) {
                    Ok(()) => info!(interface = name, "no longer configured: taken off"),
                    Err(error) => warn!(interface = name, "taking the program off: {error}"),
                }
            }
        }
        Ok(())
    }

    /// Sees which interfaces are gone, attaches to those that came back, and replaces programs that read an image
    /// map no longer published in.
    pub(super) fn look_after(&mut self, maps: &Maps) {
        for wanted in &mut self.wanted {
            wanted.look_after(maps);
        }
        let current = |wanted: &Wanted| match &wanted.state {
            State::Attached(attached, _) => attached.is_current(maps),
            State::Detached { .. } => true,
        };
        if self.wanted.iter().all(current) {
            maps.image.drop_smaller();
        }
    }

    /// Takes the programs off all interfaces; counters stay.
    pub(super) fn detach_all(&mut self, maps: &Maps) {
        for wanted in &mut self.wanted {
            let interface = &wanted.place.interface;
            match links::release(maps.path(), interface) {
                Ok(()) => info!(interface, "detached"),
                Err(error) => error!(interface, "detaching: {error}"),
            }
            wanted.state = State::Detached {
                since: Timestamp::now(),
            };
        }
    }
}

impl Wanted {
    fn attach(&mut self, mut attached: Attached, how: &str) {
        info!(
            interface = self.place.interface,
            ifindex = attached.ifindex(),
            program = ?self.place.entry,
            mode = ?self.place.mode,
            "{how}"
        );
        let log = Box::new(KernelLog::of(&mut attached));
        self.state = State::Attached(Box::new(attached), log);
        self.seen = Timestamp::now();
        self.told = None;
    }

    fn look_after(&mut self, maps: &Maps) {
        let mut since = None;
        match &mut self.state {
            State::Attached(attached, log) => {
                log.flush();
                if attached.is_alive() {
                    self.seen = Timestamp::now();
                    if attached.is_current(maps) {
                        return;
                    }
                } else {
                    let interface = &self.place.interface;
                    warn!(
                        interface,
                        "the interface or its program is gone: nothing is counted there until it is back"
                    );
                    // It may be there still, under another name, which nobody configured.
                    if let Err(error) = links::release(maps.path(), interface) {
                        warn!(interface, "taking the program off: {error}");
                    }
                    since = Some(self.seen);
                    self.state = State::Detached { since: self.seen };
                }
            }
            State::Detached { since: gone } => since = Some(*gone),
        }
        match (Attached::new(maps, self.place.clone()), since) {
            (Ok((attached, _)), Some(since)) => {
                warn!(
                    interface = self.place.interface,
                    from = %since,
                    to = %Timestamp::now(),
                    "the interface is back; what passed it in between was not counted"
                );
                self.attach(attached, "attached");
            }
            (Ok((attached, _)), None) => self.attach(attached, "replaced, for a larger image"),
            (Err(AttachError::NoInterface { .. }), _) => {}
            (Err(error), _) => {
                // Said once, not at every look.
                let text = error.to_string();
                if self.told.as_ref() != Some(&text) {
                    error!("{text}");
                    self.told = Some(text);
                }
            }
        }
    }
}

fn place(interface: &config::Interface, number: u32) -> Place {
    Place {
        interface: interface.name.clone(),
        entry: match interface.role {
            config::Role::Access => Entry::Access,
            config::Role::Core => Entry::Core,
        },
        mode: match interface.mode {
            config::Mode::Native => XdpMode::Native,
            config::Mode::Generic => XdpMode::Generic,
        },
        settings: Settings {
            interface: number,
            drop_unknown: interface.unknown == config::Unknown::Drop,
            enforce: interface.enforce,
        },
    }
}
