//! The maps of a node, pinned in a directory named by their layout, so that counting does not depend on any
//! process: `image` (the outer map, named with its capacity), `rows` and its chunks, `books`, `frame`, and
//! `node`, which says whose they are.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{Map, MapData, MapError, PerCpuArray};
use classifier::books::{BOOKS_WORDS, Books};
use classifier::layout::{
    CHUNK_BYTES, CHUNK_LINES, FrameSlot, LAYOUT_VERSION, MAX_CHUNKS, MAX_INTERFACES,
};

use super::sys::{self, Kind, Mapping, Shape};
use crate::engine::lines::{Chunk, Lines};
use crate::image::Compiled;

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
    /// The pins belong to something else.
    #[error("{}: {what}", path.display())]
    Foreign {
        /// The pin directory.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// aya's view of a map failed.
    #[error("reading the books: {0}")]
    Books(#[from] MapError),
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

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> MapsError {
    let what = what.into();
    move |error| MapsError::Io { what, error }
}

/// Largest image map: 1 GiB.
pub const MAX_IMAGE_WORDS: u32 = 1 << 28;
/// Smallest image map: 2 MiB.
const LEAST_IMAGE_WORDS: u32 = 1 << 19;
/// Magic of the `node` map, its layout, and the epoch of its counters.
const NODE_MAGIC: u64 = 0x5a45_524f_5241_5445;

/// A node's maps.
#[derive(Debug)]
pub struct Maps {
    directory: PathBuf,
    image: OwnedFd,
    image_words: u32,
    rows: OwnedFd,
    books: MapData,
    epoch: u64,
}

/// A chunk in a map of its own.
struct MappedChunk(Mapping);

impl Chunk for MappedChunk {
    fn words(&self) -> &[AtomicU64] {
        self.0.words()
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
        let image_words = image_capacity(image_words);
        let image = create_image_outer(image_words)?;
        pin(&image, &directory.join(image_pin(image_words)))?;
        let chunk = array(c"zr_chunk", Kind::Shared, CHUNK_BYTES, 1)?;
        let rows = sys::create_array_of_maps(c"zr_rows", MAX_CHUNKS, &chunk)
            .map_err(doing("making the map `rows`"))?;
        pin(&rows, &directory.join("rows"))?;
        let books = array(
            c"zr_books",
            Kind::PerCpu,
            size_of::<Books>() as u32,
            2 * MAX_INTERFACES,
        )?;
        pin(&books, &directory.join("books"))?;
        let frame = array(c"zr_frame", Kind::Shared, size_of::<FrameSlot>() as u32, 1)?;
        pin(&frame, &directory.join("frame"))?;
        let node = array(c"zr_node", Kind::Plain, 24, 1)?;
        let identity = [NODE_MAGIC, u64::from(LAYOUT_VERSION), epoch]
            .map(u64::to_ne_bytes)
            .concat();
        sys::update(&node, 0, &identity).map_err(doing("writing the map `node`"))?;
        // Last: maps without it are not a node's.
        pin(&node, &directory.join("node"))?;
        let books = MapData::from_fd(books)?;
        Ok(Self {
            directory: directory.to_owned(),
            image,
            image_words,
            rows,
            books,
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
        let node: aya::maps::Array<_, [u64; 3]> =
            Map::from_map_data(MapData::from_fd(open("node")?)?)?.try_into()?;
        let [magic, layout, epoch] = node.get(&0, 0)?;
        if magic != NODE_MAGIC || layout != u64::from(LAYOUT_VERSION) {
            return Err(foreign("its map `node` was not written by zerorate"));
        }
        let image_words =
            newest_image(&directory)?.ok_or_else(|| foreign("it holds no policy image map"))?;
        Ok(Some(Self {
            image: open(&image_pin(image_words))?,
            image_words,
            rows: open("rows")?,
            books: MapData::from_fd(open("books")?)?,
            epoch,
            directory,
        }))
    }

    /// Epoch of the counters: a random number given when the maps were made.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Words an image may have.
    #[must_use]
    pub const fn image_words(&self) -> u32 {
        self.image_words
    }

    /// Where the maps, and the links, are pinned.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The pins, by the names the eBPF object knows the maps by.
    #[must_use]
    pub fn pins(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("IMAGE", self.directory.join(image_pin(self.image_words))),
            ("ROWS", self.directory.join("rows")),
            ("BOOKS", self.directory.join("books")),
            ("FRAME", self.directory.join("frame")),
        ]
    }

    /// Makes room for images of `words` words, in a map of its own: the programs that run now keep theirs
    /// until each has been replaced.
    ///
    /// # Errors
    /// When the kernel refuses the map.
    pub fn make_image_room(&mut self, words: u32) -> Result<(), MapsError> {
        let words = image_capacity(words);
        if words > self.image_words {
            let image = create_image_outer(words)?;
            pin(&image, &self.directory.join(image_pin(words)))?;
            (self.image, self.image_words) = (image, words);
        }
        Ok(())
    }

    /// Makes another image map of the same size in place of the present one, for programs loaded from now on.
    ///
    /// # Errors
    /// When the kernel refuses the map.
    pub fn renew_image(&mut self) -> Result<(), MapsError> {
        let path = self.directory.join(image_pin(self.image_words));
        let image = create_image_outer(self.image_words)?;
        fs::remove_file(&path).map_err(doing(format!("unpinning {}", path.display())))?;
        pin(&image, &path)?;
        self.image = image;
        Ok(())
    }

    /// Forgets image maps no program uses any more.
    pub fn drop_smaller_images(&self) {
        for words in image_pins(&self.directory).into_iter().flatten() {
            if words < self.image_words {
                // A pin that stays costs memory, nothing else.
                let _ = fs::remove_file(self.directory.join(image_pin(words)));
            }
        }
    }

    /// Fills a map with an image, out of sight of the programs.
    ///
    /// # Errors
    /// When the image does not fit, or there is no memory for it.
    pub fn prepare(&self, image: &Compiled) -> Result<Prepared, MapsError> {
        let words = image.words();
        if words.len() > self.image_words as usize {
            return Err(MapsError::ImageTooLarge {
                words: words.len(),
                capacity: self.image_words,
            });
        }
        let map = image_inner(self.image_words)?;
        let mapping = Mapping::new(&map, self.image_words as usize * 4)
            .map_err(doing("mapping a policy image"))?;
        for (to, from) in mapping.words().iter().zip(words.chunks(2)) {
            let high = from.get(1).copied().unwrap_or(0);
            to.store(
                u64::from(high) << 32 | u64::from(from[0]),
                Ordering::Relaxed,
            );
        }
        Ok(Prepared(map))
    }

    /// Puts an image in force. When this returns no packet is judged by an older one any more: the kernel
    /// waits for the programs that may still read it (`synchronize_rcu` in `map_update_elem` of maps in maps,
    /// Linux 5.0).
    ///
    /// # Errors
    /// When the kernel refuses; the old image is then still in force.
    pub fn publish(&self, image: &Prepared) -> Result<(), MapsError> {
        sys::set_inner(&self.image, 0, &image.0).map_err(doing("publishing a policy image"))
    }

    /// Maps the chunks there are.
    ///
    /// # Errors
    /// When one cannot be opened or mapped.
    pub fn lines(&self) -> Result<Lines, MapsError> {
        let mut lines = Lines::default();
        loop {
            let path = self.chunk_pin(lines.len());
            if !path.exists() {
                return Ok(lines);
            }
            let chunk =
                sys::open_pinned(&path).map_err(doing(format!("opening {}", path.display())))?;
            // Again, in case the node stopped between pinning the chunk and handing it to the programs.
            self.add_chunk(&mut lines, chunk.as_fd())?;
        }
    }

    /// Sees that there is memory for every line below `next_line`.
    ///
    /// # Errors
    /// When there is no memory for another chunk.
    pub fn grow(&self, lines: &mut Lines, next_line: u32) -> Result<(), MapsError> {
        while lines.len() * CHUNK_LINES < next_line {
            let chunk = array(c"zr_chunk", Kind::Shared, CHUNK_BYTES, 1)?;
            pin(&chunk, &self.chunk_pin(lines.len()))?;
            self.add_chunk(lines, chunk.as_fd())?;
        }
        Ok(())
    }

    fn add_chunk(&self, lines: &mut Lines, chunk: BorrowedFd<'_>) -> Result<(), MapsError> {
        let mapping =
            Mapping::new(chunk, CHUNK_BYTES as usize).map_err(doing("mapping a chunk"))?;
        sys::set_inner(&self.rows, lines.len(), chunk).map_err(doing("adding a chunk of rows"))?;
        lines.push(Box::new(MappedChunk(mapping)));
        Ok(())
    }

    fn chunk_pin(&self, chunk: u32) -> PathBuf {
        self.directory.join(format!("chunk-{chunk:04}"))
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

/// An image in a map, ready to be put in force.
#[derive(Debug)]
pub struct Prepared(OwnedFd);

fn array(
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

/// A power of two, so that an index can be masked.
fn image_capacity(words: u32) -> u32 {
    words
        .clamp(LEAST_IMAGE_WORDS, MAX_IMAGE_WORDS)
        .next_power_of_two()
}

fn image_inner(words: u32) -> Result<OwnedFd, MapsError> {
    array(c"zr_image", Kind::Shared, words * 4, 1)
}

fn create_image_outer(words: u32) -> Result<OwnedFd, MapsError> {
    // The kernel takes the shape of the inner maps from one of them.
    let inner = image_inner(words)?;
    sys::create_array_of_maps(c"zr_images", 1, &inner).map_err(doing("making the map `image`"))
}

fn image_pin(words: u32) -> String {
    format!("image-{words}")
}

fn image_pins(directory: &Path) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if let Some(words) = name
            .to_str()
            .and_then(|name| name.strip_prefix("image-")?.parse().ok())
        {
            found.push(words);
        }
    }
    Ok(found)
}

fn newest_image(directory: &Path) -> Result<Option<u32>, MapsError> {
    let pins = image_pins(directory).map_err(doing(format!("reading {}", directory.display())))?;
    Ok(pins.into_iter().max())
}

fn pin(map: impl AsFd, path: &Path) -> Result<(), MapsError> {
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
