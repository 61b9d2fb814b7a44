//! The map of rows and bucket blocks: chunks of lines, each a map of its own, made when they are needed and mapped
//! into this process.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use classifier::layout::{CHUNK_BYTES, CHUNK_LINES, MAX_CHUNKS};

use super::maps::{MapsError, array, doing, pin};
use super::sys::{self, Kind, Mapping};
use crate::engine::lines::{Chunk, Lines};

/// A chunk in a map of its own.
struct MappedChunk(Mapping);

impl Chunk for MappedChunk {
    fn words(&self) -> &[AtomicU64] {
        self.0.words()
    }
}

/// Where the programs find chunks.
#[derive(Debug)]
pub struct RowsMap {
    directory: PathBuf,
    outer: OwnedFd,
}

/// Name of its pin.
pub(super) const PIN: &str = "rows";

impl RowsMap {
    /// Makes and pins a map without chunks.
    pub(super) fn create(directory: &Path) -> Result<Self, MapsError> {
        let chunk = array(c"zr_chunk", Kind::Shared, CHUNK_BYTES, 1)?;
        let outer = sys::create_array_of_maps(c"zr_rows", MAX_CHUNKS, &chunk)
            .map_err(doing("making the map `rows`"))?;
        pin(&outer, &directory.join(PIN))?;
        Ok(Self {
            directory: directory.to_owned(),
            outer,
        })
    }

    /// Opens the pinned one.
    pub(super) fn open(directory: &Path) -> Result<Self, MapsError> {
        let path = directory.join(PIN);
        let outer =
            sys::open_pinned(&path).map_err(doing(format!("opening {}", path.display())))?;
        Ok(Self {
            directory: directory.to_owned(),
            outer,
        })
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
                lines.used_before();
                return Ok(lines);
            }
            let chunk =
                sys::open_pinned(&path).map_err(doing(format!("opening {}", path.display())))?;
            if sys::has_inner(&self.outer, lines.len()).map_err(doing("looking for a chunk"))? {
                let chunk = map_chunk(chunk.as_fd())?;
                lines.push(Box::new(chunk));
            } else {
                // The node stopped between pinning the chunk and handing it to the programs.
                self.add_chunk(&mut lines, chunk.as_fd())?;
            }
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
        let mapped = map_chunk(chunk)?;
        sys::set_inner(&self.outer, lines.len(), chunk).map_err(doing("adding a chunk of rows"))?;
        lines.push(Box::new(mapped));
        Ok(())
    }

    fn chunk_pin(&self, chunk: u32) -> PathBuf {
        self.directory.join(format!("chunk-{chunk:04}"))
    }
}

fn map_chunk(chunk: BorrowedFd<'_>) -> Result<MappedChunk, MapsError> {
    Mapping::new(chunk, CHUNK_BYTES as usize)
        .map(MappedChunk)
        .map_err(doing("mapping a chunk"))
}
