//! The maps of a node, pinned in a directory named by their layout, so that counting does not depend on any
//! process: the [`ImageMap`], the [`RowsMap`] and its chunks, the [`AsideMap`], the [`BatchesMap`], `books`, the
//! [`EventsMap`], `frame`, and `node`, which says whose they are.

use std::ffi::CStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData, MapError, PerCpuArray};
use classifier::books::{BOOKS_WORDS, Books};
use classifier::layout::{FrameSlot, LAYOUT_VERSION, MAX_INTERFACES};

use super::aside_map::{self, AsideMap};
use super::batches_map::{self, BatchesMap};
use super::events_map::{self, EventsMap};
use super::image_map::{ImageMap, MAX_IMAGE_WORDS};
use super::rows_map::{self, RowsMap};
use super::sys::{self, Kind, Mapping, Shape};

/// The kernel would not make, pin, open or change a map.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// A system call failed.
    #[error("{what}: {error}{}", hint(.error))]
    Io {
        /// What was being done.
        what: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The image is larger than any map for it.
    #[error(
        "the policy image needs {words} words of 4 bytes, the map in use has {capacity} and the largest has \
         {MAX_IMAGE_WORDS}: list fewer prefixes or subscribers"
    )]
    ImageTooLarge {
        /// Words the image needs.
        words: usize,
        /// Words there are.
        capacity: u32,
    },
    /// What was put in force is not what packets are judged by.
    #[error(
        "{expected} was put in force, and reading it back finds {found}: is another program changing the pinned maps?"
    )]
    NotInForce {
        /// What was published.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The pins belong to something else.
    #[error("{}: {what}", path.display())]
    Foreign {
        /// The pin directory.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A map could not be read or written.
    #[error("using a pinned map: {0}")]
    Map(#[from] MapError),
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON and a pin directory of your own"
        }
        Some(libc::ENOMEM) => "; there is not enough memory for a map of this size",
        Some(libc::E2BIG) => "; the map is larger than this kernel allows",
        _ => "",
    }
}

pub(super) fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> MapsError {
    let what = what.into();
    move |error| MapsError::Io { what, error }
}

/// First word of the map `node`.
const NODE_MAGIC: u64 = 0x5a45_524f_5241_5445;

/// A node's maps.
pub struct Maps {
    directory: PathBuf,
    /// The policy image.
    pub image: ImageMap,
    /// Rows and bucket blocks.
    pub rows: RowsMap,
    /// What is counted while rows are kept still.
    pub aside: AsideMap,
    /// What is counted and not added to the rows yet.
    pub batches: BatchesMap,
    /// What the programs have to tell.
    pub events: EventsMap,
    books: MapData,
    node: Array<MapData, Identity>,
    epoch: u64,
}

/// What the map `node` holds: magic, layout, epoch, and the serial numbers.
type Identity = [u64; 5];

/// Serial numbers of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serials {
    /// Of the last one that was about to be published here.
    pub last: u32,
    /// Of the one that counted what is in the rows and in no record. Another one only while rows are kept still.
    pub in_rows: u32,
}

impl fmt::Debug for Maps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maps")
            .field("directory", &self.directory)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Maps {
    /// The directory maps of this layout are pinned in, below the configured one.
    #[must_use]
    pub fn directory(pin_dir: &Path) -> PathBuf {
        pin_dir.join(format!("v{LAYOUT_VERSION}"))
    }

    /// Makes and pins the maps of a new node.
    ///
    /// # Errors
    /// When the kernel refuses one; what was made before is unpinned again.
    pub fn create(pin_dir: &Path, image_words: u32, epoch: u64) -> Result<Self, MapsError> {
        let directory = Self::directory(pin_dir);
        fs::create_dir_all(&directory).map_err(doing(format!(
            "making the pin directory {}",
            directory.display()
        )))?;
        let made = Self::create_in(&directory, image_words, epoch);
        if made.is_err() {
            // Best effort: the error to report is the one that is at hand.
            let _ = fs::remove_dir_all(&directory);
        }
        made
    }

    fn create_in(directory: &Path, image_words: u32, epoch: u64) -> Result<Self, MapsError> {
        let image = ImageMap::create(directory, image_words)?;
        let rows = RowsMap::create(directory)?;
        let aside = AsideMap::create(directory)?;
        let batches = BatchesMap::create(directory)?;
        let events = EventsMap::create(directory)?;
        let books = array(
            c"zr_books",
            Kind::PerCpu,
            size_of::<Books>() as u32,
            2 * MAX_INTERFACES,
        )?;
        pin(&books, &directory.join("books"))?;
        let frame = array(c"zr_frame", Kind::Shared, size_of::<FrameSlot>() as u32, 1)?;
        pin(&frame, &directory.join("frame"))?;
        let node = array(c"zr_node", Kind::Plain, size_of::<Identity>() as u32, 1)?;
        let pinned = node.try_clone().map_err(doing("making the map `node`"))?;
        let mut node: Array<_, Identity> =
            Map::from_map_data(MapData::from_fd(node)?)?.try_into()?;
        node.set(0, [NODE_MAGIC, u64::from(LAYOUT_VERSION), epoch, 0, 0], 0)?;
        // Last: maps without it are not a node's.
        pin(&pinned, &directory.join("node"))?;
        let books = MapData::from_fd(books)?;
        Ok(Self {
            directory: directory.to_owned(),
            image,
            rows,
            aside,
            batches,
            events,
            books,
            node,
            epoch,
        })
    }

    /// Opens the maps of a node that is counting; `None` when there are none.
    ///
    /// # Errors
    /// When what is pinned is not a node's maps of this layout, or the kernel refuses to open it.
    pub fn open(pin_dir: &Path) -> Result<Option<Self>, MapsError> {
        let directory = Self::directory(pin_dir);
        refuse_other_layouts(pin_dir)?;
        if !directory.join("node").exists() {
            if directory.exists() {
                // A start that was cut short before there was a node.
                fs::remove_dir_all(&directory)
                    .map_err(doing(format!("clearing {}", directory.display())))?;
            }
            return Ok(None);
        }
        let open = |name: &str| {
            let path = directory.join(name);
            sys::open_pinned(&path).map_err(doing(format!("opening {}", path.display())))
        };
        let foreign = |what: &str| MapsError::Foreign {
            path: directory.clone(),
            what: what.to_owned(),
        };
        let node: Array<_, Identity> =
            Map::from_map_data(MapData::from_fd(open("node")?)?)?.try_into()?;
        let [magic, layout, epoch, ..] = node.get(&0, 0)?;
        if magic != NODE_MAGIC || layout != u64::from(LAYOUT_VERSION) {
            return Err(foreign("its map `node` was not written by zerorate"));
        }
        Ok(Some(Self {
            image: ImageMap::open(&directory)?
                .ok_or_else(|| foreign("it holds no policy image map"))?,
            rows: RowsMap::open(&directory)?,
            aside: AsideMap::open(&directory)?,
            batches: BatchesMap::open(&directory)?,
            events: EventsMap::open(&directory)?,
            books: MapData::from_fd(open("books")?)?,
            node,
            epoch,
            directory,
        }))
    }

    /// Epoch of the counters: a random number given when the maps were made.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Serial numbers of images.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn serials(&self) -> Result<Serials, MapsError> {
        let [.., last, in_rows] = self.node.get(&0, 0)?;
        Ok(Serials {
            last: last as u32,
            in_rows: in_rows as u32,
        })
    }

    /// Notes serial numbers: before an image is published, and when what it counts is to stand in the rows.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_serials(&mut self, serials: Serials) -> Result<(), MapsError> {
        let identity = [
            NODE_MAGIC,
            u64::from(LAYOUT_VERSION),
            self.epoch,
            u64::from(serials.last),
            u64::from(serials.in_rows),
        ];
        Ok(self.node.set(0, identity, 0)?)
    }

    /// Where the maps, and the links, are pinned.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The pins, by the names the eBPF object knows the maps by.
    #[must_use]
    pub fn pins(&self) -> [(&'static str, PathBuf); 7] {
        [
            ("IMAGE", self.image.path()),
            ("ROWS", self.directory.join(rows_map::PIN)),
            ("ASIDE", self.directory.join(aside_map::PIN)),
            ("BATCHES", self.directory.join(batches_map::PIN)),
            ("BOOKS", self.directory.join("books")),
            ("FRAME", self.directory.join("frame")),
            ("EVENTS", self.directory.join(events_map::PIN)),
        ]
    }

    /// A set of books, summed over all CPUs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn books(&self, index: u32) -> Result<Books, MapsError> {
        let map = MapData::from_fd(
            self.books
                .fd()
                .as_fd()
                .try_clone_to_owned()
                .map_err(doing("reading the books"))?,
        )?;
        let map: PerCpuArray<_, Books> = Map::from_map_data(map)?.try_into()?;
        let mut sum = [0; BOOKS_WORDS];
        for cpu in map.get(&index, 0)?.iter() {
            for (sum, n) in sum.iter_mut().zip(cpu) {
                *sum += n;
            }
        }
        Ok(sum)
    }

    /// The memory of the frame the `_frame` programs judge.
    ///
    /// # Errors
    /// When it cannot be mapped.
    pub fn frame(&self) -> Result<Mapping, MapsError> {
        let path = self.directory.join("frame");
        let frame = sys::open_pinned(&path).map_err(doing("opening the map `frame`"))?;
        // An element's value is rounded up to eight bytes, a mapping to whole pages.
        Mapping::new(&frame, size_of::<FrameSlot>().next_multiple_of(8))
            .map_err(doing("mapping the map `frame`"))
    }
}

pub(super) fn array(
    name: &'static CStr,
    kind: Kind,
    value_bytes: u32,
    entries: u32,
) -> Result<OwnedFd, MapsError> {
    sys::create_array(Shape {
        name,
        kind,
        value_bytes,
        entries,
    })
    .map_err(|error| MapsError::Io {
        what: format!("making the map {name:?} of {entries} × {value_bytes} bytes"),
        error,
    })
}

pub(super) fn pin(map: impl AsFd, path: &Path) -> Result<(), MapsError> {
    sys::pin(map, path).map_err(doing(format!("pinning {}", path.display())))
}

/// Another version's counters in the same place would be lost sight of.
fn refuse_other_layouts(pin_dir: &Path) -> Result<(), MapsError> {
    let Ok(entries) = fs::read_dir(pin_dir) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let other = name
            .to_str()
            .and_then(|name| name.strip_prefix('v')?.parse::<u32>().ok());
        if other.is_some_and(|layout| layout != LAYOUT_VERSION) {
            return Err(MapsError::Foreign {
                path: entry.path(),
                what: format!(
                    "counters of another layout are pinned here, this version counts in layout \
                     {LAYOUT_VERSION}; end that version with its own `zerorate detach --purge` first"
                ),
            });
        }
    }
    Ok(())
}
