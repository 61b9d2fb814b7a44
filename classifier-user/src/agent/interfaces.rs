//! The interfaces a node counts on: attached at the start, looked after while they come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use aya_log::EbpfLogger;
use classifier::tag::Tagging;
use classifier::verdict::Plain;
use jiff::Timestamp;
use log::Log;
use tracing::{error, info, warn};

use crate::config::{self, Config, Downlink, Role, Tc};
use crate::datapath::links::{self, Arrival, AttachError, Attached, Loaded, Place};
use crate::datapath::maps::Maps;
use crate::datapath::object::{Entry, Settings};
use crate::datapath::way::{Point, Way};

/// How long a packet may take through the gateway, from the hook it was counted on to the one it will be counted on
/// next time.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// All interfaces of the configuration.
#[derive(Debug)]
pub struct Interfaces {
    wanted: Vec<Wanted>,
    /// Core interfaces, where downlink is counted elsewhere.
    uncounted: Vec<String>,
    /// Numbers in the books, of interfaces of earlier configurations too.
    numbers: BTreeMap<String, u32>,
    /// Those whose program was not in place for some of the time since that was last noted.
    disturbed: BTreeSet<String>,
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
    /// Looks whether every interface that is to be counted on is there, before anything is made or noted.
    ///
    /// # Errors
    /// The first that is not.
    pub(super) fn all_there(config: &Config) -> Result<(), AttachError> {
        let downlink = config.downlink();
        let mut counted = config
            .interfaces
            .iter()
            .filter(|interface| (interface.role, downlink) != (Role::Core, Downlink::Egress));
        counted.try_for_each(|interface| links::is_there(&interface.name))
    }

    pub(super) fn new(config: &Config, numbers: BTreeMap<String, u32>) -> Self {
        let since = Timestamp::now();
        let downlink = config.downlink();
        let places = config
            .interfaces
            .iter()
            .flat_map(|interface| places(interface, downlink, numbers[&interface.name]));
        let wanted = places.map(|place| Wanted {
            place,
            state: State::Detached { since },
            seen: since,
            told: None,
        });
        let uncounted = config
            .interfaces
            .iter()
            .filter(|interface| (interface.role, downlink) == (Role::Core, Downlink::Egress));
        Self {
            wanted: wanted.collect(),
            uncounted: uncounted.map(|interface| interface.name.clone()).collect(),
            numbers,
            disturbed: BTreeSet::new(),
        }
    }

    /// Interfaces whose program was not in place for some of the time since that was last noted.
    pub(super) const fn disturbed(&self) -> &BTreeSet<String> {
        &self.disturbed
    }

    /// That has been noted.
    pub(super) fn noted(&mut self) {
        self.disturbed.clear();
    }

    pub(super) const fn numbers(&self) -> &BTreeMap<String, u32> {
        &self.numbers
    }

    pub(super) fn any_attached(&self) -> bool {
        self.wanted
            .iter()
            .any(|wanted| matches!(wanted.state, State::Attached(..)))
    }

    /// What is attached to each interface and how, if it is, for `status`.
    pub(super) fn states(&self) -> impl Iterator<Item = (&Place, Option<&Attached>)> {
        self.wanted.iter().map(|wanted| match &wanted.state {
            State::Attached(attached, _) => (&wanted.place, Some(&**attached)),
            State::Detached { .. } => (&wanted.place, None),
        })
    }

    /// Core interfaces on which nothing is counted, because downlink is counted on access interfaces.
    pub(super) fn uncounted(&self) -> &[String] {
        &self.uncounted
    }

    /// Attaches to every interface, and takes programs off interfaces that are configured no longer.
    pub(super) fn attach_all(&mut self, maps: &Maps) -> Result<(), AttachError> {
        let loaded: Vec<Loaded> = self
            .wanted
            .iter()
            .map(|wanted| Loaded::new(maps, wanted.place.clone()))
            .collect::<Result<_, _>>()?;
        if self.downlink_moves(maps.path()) {
            // What was counted on the old hook must not be counted again on the new one.
            self.release_others(maps.path());
            thread::sleep(ON_ITS_WAY);
        }
        let mut new: Vec<(String, Point)> = Vec::new();
        for (wanted, loaded) in self.wanted.iter_mut().zip(loaded) {
            let (attached, arrival) = match loaded.attach(maps.path()) {
                Ok(attached) => attached,
                Err(error) => {
                    // A start that fails leaves interfaces as they were.
                    for (interface, point) in new {
                        if let Err(error) = links::release(maps.path(), &interface, point) {
                            error!(interface, "taking the program off again: {error}");
                        }
                    }
                    return Err(error);
                }
            };
            let how = match arrival {
                Arrival::New => {
                    self.disturbed.insert(wanted.place.interface.clone());
                    new.push((wanted.place.interface.clone(), wanted.place.point()));
                    "attached"
                }
                Arrival::TakenOver => "taken over without a gap",
            };
            wanted.attach(attached, how);
        }
        self.release_others(maps.path());
        Ok(())
    }

    /// Whether what is held counts downlink on other hooks than what is wanted.
    fn downlink_moves(&self, directory: &Path) -> bool {
        let held = links::held(directory).unwrap_or_default();
        let is_egress = |point: Point| point == Point::Egress;
        let before = held.iter().any(|(_, point)| is_egress(*point));
        let now = self
            .wanted
            .iter()
            .any(|wanted| is_egress(wanted.place.point()));
        !held.is_empty() && before != now
    }

    /// Takes programs off where none are wanted.
    fn release_others(&self, directory: &Path) {
        let held = match links::held(directory) {
            Ok(held) => held,
            Err(error) => return warn!("looking for programs that are not wanted: {error}"),
        };
        for (interface, point) in held {
            let is_wanted = self
                .wanted
                .iter()
                .any(|wanted| wanted.place.interface == interface && wanted.place.point() == point);
            if is_wanted {
                continue;
            }
            match links::release(directory, &interface, point) {
                Ok(()) => info!(interface, ?point, "no longer configured: taken off"),
                Err(error) => warn!(interface, ?point, "taking the program off: {error}"),
            }
        }
    }

    /// Sees which interfaces are gone, attaches to those that came back, and replaces programs that read an image
    /// map no longer published in.
    pub(super) fn look_after(&mut self, maps: &Maps) {
        for wanted in &mut self.wanted {
            if wanted.look_after(maps) {
                self.disturbed.insert(wanted.place.interface.clone());
            }
        }
        if self.all_current(maps) {
            maps.image.drop_smaller();
        }
    }

    /// Whether all programs that are attached read the image map that is published in.
    pub(super) fn all_current(&self, maps: &Maps) -> bool {
        self.wanted.iter().all(|wanted| match &wanted.state {
            State::Attached(attached, _) => attached.is_current(maps),
            State::Detached { .. } => true,
        })
    }

    /// Takes the programs off all interfaces; counters stay.
    pub(super) fn detach_all(&mut self, maps: &Maps) {
        for wanted in &mut self.wanted {
            let Place { interface, .. } = &wanted.place;
            let point = wanted.place.point();
            match links::release(maps.path(), interface, point) {
                Ok(()) => info!(interface, ?point, "detached"),
                Err(error) => error!(interface, ?point, "detaching: {error}"),
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
            way = attached.way().name(),
            "{how}"
        );
        let log = Box::new(KernelLog::of(&mut attached));
        self.state = State::Attached(Box::new(attached), log);
        self.seen = Timestamp::now();
        self.told = None;
    }

    /// Whether its program was not in place.
    fn look_after(&mut self, maps: &Maps) -> bool {
        let mut since = None;
        match &mut self.state {
            State::Attached(attached, log) => {
                log.flush();
                if attached.is_alive(maps.path()) {
                    self.seen = Timestamp::now();
                    if attached.is_current(maps) {
                        return false;
                    }
                } else {
                    let interface = &self.place.interface;
                    match self.place.entry {
                        Entry::Tag => warn!(
                            interface,
                            "the interface or its tc program is gone: packets have no marks until it is back"
                        ),
                        _ => warn!(
                            interface,
                            "the interface or its program is gone: nothing is counted there until it is back"
                        ),
                    }
                    // It may be there still, under another name, which nobody configured.
                    if let Err(error) = attached.take_off(maps.path()) {
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
                let (interface, to) = (&self.place.interface, Timestamp::now());
                match self.place.entry {
                    Entry::Tag => warn!(
                        interface, from = %since, %to,
                        "the tc program is back; what passed in between had no marks"
                    ),
                    _ => warn!(
                        interface, from = %since, %to,
                        "the interface is back; what passed it in between was not counted"
                    ),
                }
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
        since.is_some()
    }
}

/// What is to be attached to an interface.
fn places(interface: &config::Interface, downlink: Downlink, number: u32) -> Vec<Place> {
    let ingress: &[Way] = match interface.mode {
        config::Mode::Native => &[Way::Native],
        config::Mode::Generic => &[Way::Generic],
    };
    let tc: &[Way] = match interface.tc() {
        Tc::Auto => &[Way::Tcx, Way::Clsact],
        Tc::Tcx => &[Way::Tcx],
        Tc::Clsact => &[Way::Clsact],
    };
    // Generic XDP hands metadata on of frames in one piece only.
    let (access, core) = match interface.mode {
        config::Mode::Generic if interface.marks() => (Entry::AccessWhole, Entry::CoreWhole),
        _ => (Entry::Access, Entry::Core),
    };
    let mut hooks = match (interface.role, downlink) {
        (Role::Access, Downlink::Core) => vec![(access, ingress)],
        (Role::Access, Downlink::Egress) => vec![(access, ingress), (Entry::Egress, tc)],
        (Role::Core, Downlink::Core) => vec![(core, ingress)],
        (Role::Core, Downlink::Egress) => Vec::new(),
    };
    if interface.marks() && !hooks.is_empty() {
        // Before the program whose marks it takes: none is lost.
        hooks.insert(0, (Entry::Tag, tc));
    }
    let place = |(entry, ways)| Place {
        interface: interface.name.clone(),
        entry,
        ways,
        settings: Settings {
            interface: number,
            hook: Plain {
                drop_unknown: interface.unknown == config::Unknown::Drop,
                enforce: interface.enforce,
                mark_web: interface.on_block() == config::OnBlock::Mark,
                tagging: match interface.tag() {
                    config::Tag::None => Tagging::None,
                    config::Tag::Mark => Tagging::Mark,
                    config::Tag::Dscp => Tagging::Dscp,
                },
            },
        },
    };
    hooks.into_iter().map(place).collect()
}
