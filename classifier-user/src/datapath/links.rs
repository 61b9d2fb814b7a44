//! Programs on interfaces. A link is pinned beside the maps, so it outlives the agent; the next agent finds it
//! there and puts its own program in place without a gap.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use aya::Ebpf;

use super::maps::Maps;
use super::object::{self, Entry, LoadError, Settings};
use super::sys::{self, XdpMode};

/// What to attach where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the interface.
    pub interface: String,
    /// Which program.
    pub entry: Entry,
    /// How.
    pub mode: XdpMode,
    /// With which constants.
    pub settings: Settings,
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
    #[error("interface `{interface}`: attaching XDP: {error}{}", hint(.error, *.mode))]
    Kernel {
        /// The interface.
        interface: String,
        /// How it was to be attached.
        mode: XdpMode,
        /// What the kernel said.
        error: io::Error,
    },
}

fn hint(error: &io::Error, mode: XdpMode) -> &'static str {
    match (error.raw_os_error(), mode) {
        (Some(libc::EBUSY | libc::EEXIST), _) => {
            "; another XDP program is attached (see `ip link`): take it off with `ip link set dev NAME xdp off`, \
             or end the agent whose pins hold it with `zerorate detach`"
        }
        (Some(libc::EOPNOTSUPP | libc::EINVAL), XdpMode::Native) => {
            "; its driver has no native XDP in this set-up: set mode = \"generic\" for it, knowing that generic \
             XDP is slower and sees packets merged by the driver"
        }
        (Some(libc::ERANGE), _) => "; its MTU is too large for XDP with this driver: lower it",
        (Some(libc::EPERM), _) => "; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
        _ => "",
    }
}

/// A program on an interface.
#[derive(Debug)]
pub struct Attached {
    place: Place,
    ifindex: u32,
    link: OwnedFd,
    /// Words of the image map the program reads.
    image_words: u32,
    /// Keeps the program's log alive; the kernel keeps the program.
    object: Ebpf,
}

/// How a program came to be where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Onto an interface that had none.
    New,
    /// In place of the program of an earlier agent.
    TakenOver,
}

impl Attached {
    /// Loads a program and puts it on its interface, in place of one that is there from before.
    ///
    /// # Errors
    /// When the program cannot be loaded, or the kernel refuses to attach it.
    pub fn new(maps: &Maps, place: Place) -> Result<(Self, Arrival), AttachError> {
        let interface = place.interface.clone();
        let mode = place.mode;
        let refused = |error| AttachError::Kernel {
            interface: interface.clone(),
            mode,
            error,
        };
        let load = |error| AttachError::Load {
            interface: interface.clone(),
            error,
        };
        let Some(ifindex) = index_of(&interface) else {
            return Err(AttachError::NoInterface { interface });
        };
        let mut object = object::load(maps, place.settings, &[place.entry]).map_err(load)?;
        let program = object::program(&mut object, place.entry).map_err(load)?;
        let program = program
            .fd()
            .map_err(|error| refused(io::Error::other(error)))?;
        let image_words = maps.image.words();
        let pin = pin_of(maps.path(), &interface, mode);
        if let Some(link) = present(&pin, ifindex) {
            sys::update_link(&link, program.as_fd()).map_err(refused)?;
            return Ok((
                Self {
                    place,
                    ifindex,
                    link,
                    image_words,
                    object,
                },
                Arrival::TakenOver,
            ));
        }
        // A pin that is left is of an interface that is gone, or of the other mode.
        release(maps.path(), &interface).map_err(refused)?;
        let link = match sys::create_xdp_link(program.as_fd(), ifindex, mode) {
            Ok(link) => link,
            // It went while the program was loaded.
            Err(_) if index_of(&interface) != Some(ifindex) => {
                return Err(AttachError::NoInterface { interface });
            }
            Err(error) => return Err(refused(error)),
        };
        sys::pin(&link, &pin).map_err(refused)?;
        Ok((
            Self {
                place,
                ifindex,
                link,
                image_words,
                object,
            },
            Arrival::New,
        ))
    }

    /// What is attached where.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
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
    pub fn is_alive(&self) -> bool {
        index_of(&self.place.interface) == Some(self.ifindex)
            && sys::link_ifindex(&self.link).is_ok_and(|ifindex| ifindex == self.ifindex)
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

fn pin_of(directory: &Path, interface: &str, mode: XdpMode) -> PathBuf {
    let mode = match mode {
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
    };
    // A BPF file system allows no dot in names; VLAN interfaces have one.
    let name = interface.replace('.', ":");
    directory.join(format!("{PREFIX}{name}-{mode}"))
}

/// Takes the programs off an interface, whichever way they are attached. They are off when this returns.
///
/// # Errors
/// When the kernel refuses, or a pin cannot be removed.
pub fn release(directory: &Path, interface: &str) -> io::Result<()> {
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let pin = pin_of(directory, interface, mode);
        if let Ok(link) = sys::open_pinned(&pin) {
            // A link nobody holds any more is taken off too, but some time later.
            sys::detach_link(link)?;
        }
        match fs::remove_file(pin) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Names of interfaces that have a pinned link.
///
/// # Errors
/// When the directory cannot be read.
pub fn pinned(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let interface = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.rsplit_once('-'))
            .map(|(interface, _)| interface.replace(':', "."));
        names.extend(interface);
    }
    Ok(names)
}
