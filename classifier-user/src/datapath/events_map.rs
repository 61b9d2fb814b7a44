//! The ring the programs leave events in. It is pinned beside the other maps, so what happens while no agent runs waits
//! there for the next one, as long as there is room.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use aya::maps::{Map, MapData, RingBuf};
use classifier::events::{EVENT_BYTES, Event};
use tokio::io::unix::AsyncFd;

use super::maps::{MapsError, doing, pin};
use super::sys;

/// Name of its pin.
pub(super) const PIN: &str = "events";
/// Smallest ring: a page. The kernel takes powers of two, in whole pages.
pub const MIN_RING_BYTES: u32 = 4096;
/// Largest ring.
pub const MAX_RING_BYTES: u32 = 1 << 30;
/// Bytes of the ring an event takes: the kernel puts a header before it.
pub const RECORD_BYTES: u32 = EVENT_BYTES as u32 + 8;

/// The pinned ring.
#[derive(Debug)]
pub struct EventsMap {
    directory: PathBuf,
    map: OwnedFd,
}

impl EventsMap {
    /// Makes and pins the smallest ring; see [`Self::resize`].
    pub(super) fn create(directory: &Path) -> Result<Self, MapsError> {
        let map = make(MIN_RING_BYTES)?;
        pin(&map, &directory.join(PIN))?;
        Ok(Self {
            directory: directory.to_owned(),
            map,
        })
    }

    /// Opens the pinned one.
    pub(super) fn open(directory: &Path) -> Result<Self, MapsError> {
        let path = directory.join(PIN);
        let map = sys::open_pinned(&path).map_err(doing(format!("opening {}", path.display())))?;
        Ok(Self {
            directory: directory.to_owned(),
            map,
        })
    }

    /// Gives programs that are loaded from now on a ring of another size, if this one has not the size that is asked for.
    /// Returns the one it replaces, into which those go on writing that run until they are replaced themselves.
    ///
    /// # Errors
    /// When the kernel refuses the ring: it has to have a power of two of whole pages.
    pub fn resize(&mut self, bytes: u32) -> Result<Option<Ring>, MapsError> {
        let data = MapData::from_fd(self.duplicate()?)?;
        if data.info()?.max_entries() == bytes {
            return Ok(None);
        }
        let old = self.ring()?;
        let map = make(bytes)?;
        // In one step, or an agent that is killed in between would leave pins without a ring.
        let (path, new) = (
            self.directory.join(PIN),
            self.directory.join(format!("{PIN}-new")),
        );
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(doing(format!("unpinning {}", new.display()))(error));
            }
            _ => {}
        }
        pin(&map, &new)?;
        fs::rename(&new, &path).map_err(doing(format!("replacing {}", path.display())))?;
        self.map = map;
        Ok(Some(old))
    }

    /// The ring, to be read. There must be one reader.
    ///
    /// # Errors
    /// When it cannot be mapped.
    pub fn ring(&self) -> Result<Ring, MapsError> {
        let map = Map::from_map_data(MapData::from_fd(self.duplicate()?)?)?;
        Ok(Ring(map.try_into()?))
    }

    /// Becomes readable when there are events; to be called in a runtime.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn readable(&self) -> Result<AsyncFd<OwnedFd>, MapsError> {
        sys::readable(self.duplicate()?).map_err(doing("waiting for events"))
    }

    fn duplicate(&self) -> Result<OwnedFd, MapsError> {
        let map = self.map.as_fd().try_clone_to_owned();
        map.map_err(doing("opening the ring of events"))
    }
}

fn make(bytes: u32) -> Result<OwnedFd, MapsError> {
    sys::create_ring(c"zr_events", bytes)
        .map_err(doing(format!("making a ring of {bytes} bytes for events")))
}

/// A ring that is read.
pub struct Ring(RingBuf<MapData>);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

/// Takes events out, oldest first, until there are none. Those of another shape, which no program of this layout writes,
/// are left out.
impl Iterator for Ring {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let item = self.0.next()?;
            if let Ok(bytes) = <&[u8; EVENT_BYTES]>::try_from(&*item) {
                return Some(Event::of_bytes(bytes));
            }
        }
    }
}
