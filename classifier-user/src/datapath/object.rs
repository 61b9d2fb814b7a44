//! The eBPF object inside this binary: loading one of its programs with an interface's settings.

use std::borrow::Cow;

use aya::maps::Array;
use aya::programs::{Program, ProgramError, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};
use classifier::layout::LAYOUT_VERSION;
use classifier::tag::Tagging;
use classifier::verdict::Plain;

use super::maps::Maps;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/zerorate.bpf.o"));

/// A program could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The binary was built without the object.
    #[error("this binary holds no eBPF object; build it with `cargo xtask build`")]
    NoObject,
    /// The object was built for another layout.
    #[error(
        "the eBPF object was built for layout {found}, this binary for layout {LAYOUT_VERSION}; build both \
         with `cargo xtask build`"
    )]
    Layout {
        /// The object's layout.
        found: u64,
    },
    /// aya or the kernel refused the object.
    #[error("loading the eBPF object: {}", whole(.0.as_ref()))]
    Object(Box<EbpfError>),
    /// The kernel refused the program.
    #[error("loading the eBPF program `{name}`: {}", whole(.error.as_ref()))]
    Program {
        /// Its name.
        name: &'static str,
        /// What the kernel said, with the verifier's log.
        error: Box<ProgramError>,
    },
    /// The object lacks a program.
    #[error("the eBPF object has no program `{0}`")]
    Missing(&'static str),
}

/// An error with all that caused it, in a few lines: of a verifier's log the end says what was wrong.
pub(super) fn whole(error: &dyn std::error::Error) -> String {
    const KEPT: usize = 6;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    if lines.len() <= KEPT + 1 {
        return lines.join("\n");
    }
    let tail = lines[lines.len() - KEPT..].join("\n  ");
    format!(
        "{}\n  ... ({} lines left out)\n  {tail}",
        lines[0],
        lines.len() - KEPT - 1
    )
}

/// Entries of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Ingress of an access interface.
    Access,
    /// Ingress of a core interface.
    Core,
    /// Egress of an access interface.
    Egress,
    /// Ingress of an interface behind its XDP program, whose marks it takes.
    Tag,
    /// Adds to rows what was counted aside.
    Merge,
    /// Adds to rows what a CPU noted.
    Flush,
    /// Like `Access`, where frames have to be in one piece.
    AccessWhole,
    /// Like `Core`, where frames have to be in one piece.
    CoreWhole,
    /// Like `Access`, for the frame in the map.
    AccessFrame,
    /// Like `Core`, for the frame in the map.
    CoreFrame,
}

impl Entry {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Core => "core",
            Self::Egress => "egress",
            Self::Tag => "tag",
            Self::Merge => "merge",
            Self::Flush => "flush",
            Self::AccessWhole => "access_whole",
            Self::CoreWhole => "core_whole",
            Self::AccessFrame => "access_frame",
            Self::CoreFrame => "core_frame",
        }
    }
}

/// Constants of one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Number of the interface in the books.
    pub interface: u32,
    /// What the interface is configured to do.
    pub hook: Plain,
}

/// Whether this binary holds the object.
#[must_use]
pub fn is_embedded() -> bool {
    !OBJECT.is_empty()
}

/// Loads the entries with these settings over these maps.
///
/// # Errors
/// When the object is missing or of another layout, or the kernel refuses it.
pub fn load(maps: &Maps, settings: Settings, entries: &[Entry]) -> Result<Ebpf, LoadError> {
    let mut object = open(OBJECT, maps, settings, |_| {})?;
    for entry in entries {
        let loading = match object.program_mut(entry.name()) {
            Some(Program::Xdp(program)) => program.load(),
            Some(Program::SchedClassifier(program)) => program.load(),
            Some(Program::RawTracePoint(program)) => program.load(),
            _ => return Err(LoadError::Missing(entry.name())),
        };
        loading.map_err(|error| refused(*entry, error))?;
    }
    Ok(object)
}

/// Opens an object that was built from the product's maps, with these settings over these maps; `more` sets what
/// else the object has. Its programs are not loaded yet. Whoever measures or tries the verdict in programs of
/// their own begins here.
///
/// # Errors
/// When the object is empty or of another layout, or the kernel refuses its maps.
pub fn open(
    object: &[u8],
    maps: &Maps,
    settings: Settings,
    more: impl FnOnce(&mut EbpfLoader<'_>),
) -> Result<Ebpf, LoadError> {
    if object.is_empty() {
        return Err(LoadError::NoObject);
    }
    let mask = u64::from(maps.image.words()) * 4 - 1;
    let interface = u64::from(settings.interface);
    let Plain {
        drop_unknown,
        enforce,
        mark_web,
        tagging,
    } = settings.hook;
    let [unknown, enforce, mark_web] = [drop_unknown, enforce, mark_web].map(u64::from);
    // As `maps.rs` of the kernel programs reads it.
    let tagging: u64 = match tagging {
        Tagging::None => 0,
        Tagging::Mark => 1,
        Tagging::Dscp => 2,
    };
    let mut loader = EbpfLoader::new();
    loader
        // Nothing in the object depends on the kernel's types; reading them takes longer than all the rest.
        .btf(None)
        .override_global("CONFIG_IMAGE_MASK", &mask, true)
        .override_global("CONFIG_INTERFACE", &interface, true)
        .override_global("CONFIG_DROP_UNKNOWN", &unknown, true)
        .override_global("CONFIG_ENFORCE", &enforce, true)
        .override_global("CONFIG_MARK_WEB", &mark_web, true)
        .override_global("CONFIG_TAG", &tagging, true);
    for (name, path) in maps.pins() {
        loader.map_pin_path(name, Cow::Owned(path));
    }
    more(&mut loader);
    let object = loader
        .load(object)
        .map_err(|error| LoadError::Object(Box::new(error)))?;
    check_layout(&object)?;
    Ok(object)
}

fn refused(entry: Entry, error: ProgramError) -> LoadError {
    LoadError::Program {
        name: entry.name(),
        error: Box::new(error),
    }
}

/// One of the object's XDP programs, loaded if it was not yet.
///
/// # Errors
/// When the object does not have it, or the kernel refuses it.
pub fn loaded(object: &mut Ebpf, entry: Entry) -> Result<&mut Xdp, LoadError> {
    let Some(Program::Xdp(program)) = object.program_mut(entry.name()) else {
        return Err(LoadError::Missing(entry.name()));
    };
    if program.fd().is_err() {
        program.load().map_err(|error| refused(entry, error))?;
    }
    Ok(program)
}

/// One of the object's programs, which was loaded.
///
/// # Errors
/// When the object does not have it.
pub fn program(object: &Ebpf, entry: Entry) -> Result<&Program, LoadError> {
    object
        .program(entry.name())
        .ok_or(LoadError::Missing(entry.name()))
}

/// The layout stands in a constant of the object, which is a map by now.
fn check_layout(object: &Ebpf) -> Result<(), LoadError> {
    let constant = object
        .map(".rodata.layout")
        .and_then(|map| Array::<_, u64>::try_from(map).ok());
    let found = constant.and_then(|map| map.get(&0, 0).ok()).unwrap_or(0);
    if found == u64::from(LAYOUT_VERSION) {
        Ok(())
    } else {
        Err(LoadError::Layout { found })
    }
}
