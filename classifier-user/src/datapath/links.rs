//! Programs on interfaces. A link is pinned beside the maps, so it outlives the agent; the next agent finds it
//! there and puts its own program in place without a gap. A clsact filter needs no pin: the interface keeps it, and
//! its name says whose it is.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::{Program, ProgramError};

use super::clsact::{self, Side};
use super::maps::Maps;
use super::object::{self, Entry, LoadError, Settings};
use super::sys;
use super::way::{Point, Way};

/// What to attach where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the interface.
    pub interface: String,
    /// Which program.
    pub entry: Entry,
    /// How: the first way the kernel knows.
    pub ways: &'static [Way],
    /// With which constants.
    pub settings: Settings,
}

impl Place {
    /// Where the program sees packets.
    #[must_use]
    pub const fn point(&self) -> Point {
        match self.entry {
            Entry::Egress => Point::Egress,
            Entry::Tag => Point::Intake,
            _ => Point::Ingress,
        }
    }
}

/// A program could not be put on an interface.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The program.
    #[error("interface `{interface}`: {error}")]
    Load {
        /// The interface.
        interface: String,
        /// What was wrong.
        error: LoadError,
    },
    /// There is no such interface.
    #[error("interface `{interface}` does not exist in this network namespace; see `ip link`")]
    NoInterface {
        /// The interface.
        interface: String,
    },
    /// The kernel refused.
    #[error("interface `{interface}`: {}: {error}{}", .way.doing(), .way.hint(.error))]
    Kernel {
        /// The interface.
        interface: String,
        /// How it was to be attached.
        way: Way,
        /// What the kernel said.
        error: io::Error,
    },
}

/// A program that is loaded and not attached yet.
#[derive(Debug)]
pub struct Loaded {
    place: Place,
    /// Words of the image map the program reads.
    image_words: u32,
    object: Ebpf,
}

/// A program on an interface.
#[derive(Debug)]
pub struct Attached {
    place: Place,
    way: Way,
    ifindex: u32,
    holder: Holder,
    image_words: u32,
    /// Keeps the program's log alive; the kernel keeps the program.
    object: Ebpf,
}

/// What keeps a program where it is.
#[derive(Debug)]
enum Holder {
    Link(OwnedFd),
    /// A filter, with the id of its program.
    Filter(u32),
}

/// How a program came to be where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Onto an interface that had none.
    New,
    /// In place of the program of an earlier agent.
    TakenOver,
}

impl Loaded {
    /// Loads a program for its place.
    ///
    /// # Errors
    /// When there is no such interface, or the program cannot be loaded.
    pub fn new(maps: &Maps, place: Place) -> Result<Self, AttachError> {
        let interface = &place.interface;
        is_there(interface)?;
        let object = object::load(maps, place.settings, &[place.entry]).map_err(|error| {
            AttachError::Load {
                interface: interface.clone(),
                error,
            }
        })?;
        Ok(Self {
            image_words: maps.image.words(),
            place,
            object,
        })
    }

    /// Puts it on its interface, in place of one that is there from before.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(self, directory: &Path) -> Result<(Attached, Arrival), AttachError> {
        let interface = &self.place.interface;
        let load = |error| AttachError::Load {
            interface: interface.clone(),
            error,
        };
        let gone = || AttachError::NoInterface {
            interface: interface.clone(),
        };
        let ifindex = index_of(interface).ok_or_else(gone)?;
        let program = object::program(&self.object, self.place.entry).map_err(load)?;
        let attaching = Attaching {
            directory,
            interface,
            ifindex,
            point: self.place.point(),
            program,
        };
        let refused = |way, error| match index_of(interface) {
            Some(now) if now == ifindex => AttachError::Kernel {
                interface: interface.clone(),
                way,
                error,
            },
            // It went while the program was loaded.
            _ => gone(),
        };
        let (way, holder, arrival) = attaching
            .attach(self.place.ways)
            .map_err(|(way, error)| refused(way, error))?;
        let attached = Attached {
            way,
            ifindex,
            holder,
            image_words: self.image_words,
            place: self.place,
            object: self.object,
        };
        Ok((attached, arrival))
    }
}

/// One attempt to attach.
struct Attaching<'a> {
    directory: &'a Path,
    interface: &'a str,
    ifindex: u32,
    point: Point,
    program: &'a Program,
}

impl Attaching<'_> {
    fn attach(&self, ways: &[Way]) -> Result<(Way, Holder, Arrival), (Way, io::Error)> {
        for way in ways {
            if let Some(holder) = self.take_over(*way).map_err(|error| (*way, error))? {
                return Ok((*way, holder, Arrival::TakenOver));
            }
        }
        let (last, others) = ways.split_last().unwrap_or((&Way::Native, &[]));
        // What is left is of an interface that is gone, or held another way.
        release(self.directory, self.interface, self.point).map_err(|error| (*last, error))?;
        for way in others {
            match self.create(*way) {
                Ok(holder) => return Ok((*way, holder, Arrival::New)),
                Err(error) if is_unknown(&error) => {}
                Err(error) => return Err((*way, error)),
            }
        }
        let holder = self.create(*last).map_err(|error| (*last, error))?;
        Ok((*last, holder, Arrival::New))
    }

    /// Puts the program in the place of one that is held this way.
    fn take_over(&self, way: Way) -> io::Result<Option<Holder>> {
        if way == Way::Clsact {
            let old = clsact::find(self.ifindex, side(self.point), self.directory)?;
            return old.map(|old| self.filter(Some(old))).transpose();
        }
        let pin = pin_of(self.directory, self.interface, way.suffix(self.point));
        let Some(link) = present(&pin, self.ifindex) else {
            return Ok(None);
        };
        sys::update_link(&link, self.fd()?)?;
        Ok(Some(Holder::Link(link)))
    }

    fn create(&self, way: Way) -> io::Result<Holder> {
        let link = match (way, way.xdp()) {
            (Way::Clsact, _) => return self.filter(None),
            (_, Some(mode)) => sys::create_xdp_link(self.fd()?, self.ifindex, mode)?,
            (_, None) => {
                sys::create_tcx_link(self.fd()?, self.ifindex, self.point == Point::Egress)?
            }
        };
        let suffix = way.suffix(self.point);
        sys::pin(&link, &pin_of(self.directory, self.interface, suffix))?;
        Ok(Holder::Link(link))
    }

    fn filter(&self, old: Option<clsact::Found>) -> io::Result<Holder> {
        let id = self.program.info().map_err(io::Error::other)?.id();
        let side = side(self.point);
        clsact::put_filter(self.ifindex, side, self.fd()?, self.directory, old)?;
        Ok(Holder::Filter(id))
    }

    fn fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>> {
        let loaded: Result<_, ProgramError> = self.program.fd();
        Ok(loaded.map_err(io::Error::other)?.as_fd())
    }
}

/// Whether the kernel, or the way it was built, has no such thing.
fn is_unknown(error: &io::Error) -> bool {
    /// `ENOTSUPP`, which is the kernel's own.
    const NOT_SUPPORTED: i32 = 524;
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EOPNOTSUPP | NOT_SUPPORTED)
    )
}

impl Attached {
    /// Loads a program and puts it on its interface, in place of one that is there from before.
    ///
    /// # Errors
    /// When the program cannot be loaded, or the kernel refuses to attach it.
    pub fn new(maps: &Maps, place: Place) -> Result<(Self, Arrival), AttachError> {
        Loaded::new(maps, place)?.attach(maps.path())
    }

    /// What is attached where.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// How it is held there.
    #[must_use]
    pub const fn way(&self) -> Way {
        self.way
    }

    /// Number of the interface.
    #[must_use]
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The loaded object, for its log.
    pub const fn object(&mut self) -> &mut Ebpf {
        &mut self.object
    }

    /// Whether the program reads the image map that is published in.
    #[must_use]
    pub const fn is_current(&self, maps: &Maps) -> bool {
        self.image_words == maps.image.words()
    }

    /// Whether packets of the interface of this name still meet the program.
    #[must_use]
    pub fn is_alive(&self, directory: &Path) -> bool {
        index_of(&self.place.interface) == Some(self.ifindex)
            && match &self.holder {
                Holder::Link(link) => {
                    sys::link_ifindex(link).is_ok_and(|ifindex| ifindex == self.ifindex)
                }
                Holder::Filter(program) => matches!(
                    clsact::find(self.ifindex, side(self.place.point()), directory),
                    Ok(Some(found)) if found.program == *program
                ),
            }
    }

    /// Takes the program off the interface it was put on, whatever that is called by now.
    ///
    /// # Errors
    /// When the kernel refuses, or a pin cannot be removed.
    pub fn take_off(&self, directory: &Path) -> io::Result<()> {
        if matches!(self.holder, Holder::Filter(_)) {
            clsact::remove(self.ifindex, side(self.place.point()), directory)?;
        }
        release(directory, &self.place.interface, self.place.point())
    }
}

/// Whether there is such an interface.
///
/// # Errors
/// When there is none.
pub fn is_there(interface: &str) -> Result<(), AttachError> {
    match index_of(interface) {
        Some(_) => Ok(()),
        None => Err(AttachError::NoInterface {
            interface: interface.to_owned(),
        }),
    }
}

/// Number of an interface.
fn index_of(interface: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(interface).ok()
}

/// A pinned link that is attached to the interface of this number.
fn present(pin: &Path, ifindex: u32) -> Option<OwnedFd> {
    let link = sys::open_pinned(pin).ok()?;
    (sys::link_ifindex(&link).ok()? == ifindex).then_some(link)
}

const PREFIX: &str = "link-";

fn pin_of(directory: &Path, interface: &str, suffix: &str) -> PathBuf {
    // A BPF file system allows no dot in names; VLAN interfaces have one.
    let name = interface.replace('.', ":");
    directory.join(format!("{PREFIX}{name}-{suffix}"))
}

/// The side of tc that a filter is on.
fn side(point: Point) -> Side {
    match point {
        Point::Egress => Side::Egress,
        Point::Ingress | Point::Intake => Side::Ingress,
    }
}

/// Takes the program off one side of an interface, whichever way it is attached. It is off when this returns.
///
/// # Errors
/// When the kernel refuses, or a pin cannot be removed.
pub fn release(directory: &Path, interface: &str, point: Point) -> io::Result<()> {
    let links = Way::LINKS.into_iter();
    for (.., suffix) in links.filter(|(_, at, _)| *at == point) {
        let pin = pin_of(directory, interface, suffix);
        if let Ok(link) = sys::open_pinned(&pin) {
            // A link nobody holds any more is taken off too, but some time later.
            sys::detach_link(link)?;
        }
        match fs::remove_file(pin) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match index_of(interface) {
        Some(ifindex) if point.is_tc() => clsact::remove(ifindex, side(point), directory),
        _ => Ok(()),
    }
}

/// Interfaces, and sides of them, that programs over the maps of this directory are held on.
///
/// # Errors
/// When the directory cannot be read, or the kernel does not tell.
pub fn held(directory: &Path) -> io::Result<Vec<(String, Point)>> {
    let filters = clsact::interfaces(directory)?.into_iter();
    let point = |side| match side {
        Side::Ingress => Point::Intake,
        Side::Egress => Point::Egress,
    };
    let mut held: Vec<_> = filters.map(|(name, side)| (name, point(side))).collect();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(held),
        entries => entries?,
    };
    for entry in entries {
        let file = entry?.file_name();
        let link = Way::LINKS.into_iter().find_map(|(_, point, suffix)| {
            let (name, found) = file.to_str()?.strip_prefix(PREFIX)?.rsplit_once('-')?;
            (found == suffix).then(|| (name.replace(':', "."), point))
        });
        held.extend(link);
    }
    Ok(held)
}
