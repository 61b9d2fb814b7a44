//! The kernel engine of replay: the real programs, run on one frame at a time by BPF_PROG_TEST_RUN.
//!
//! The kernel refuses frames below 14 bytes, takes what it is given for the whole frame, and limits its length;
//! frames it would not take as they were go through the map entry of the same program instead.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use aya::Ebpf;
use aya::programs::{ProgramError, TestRun as _, TestRunOptions};
use classifier::books::{self, Books};
use classifier::charge::Direction;
use classifier::layout::HEAD_BYTES;

use super::capture::Frame;
use crate::datapath::batches_map::{FlushError, Flusher};
use crate::datapath::maps::{Maps, MapsError};
use crate::datapath::object::{self, Entry, LoadError, Settings};
use crate::datapath::sys::Mapping;
use crate::engine::lines::Lines;
use crate::image::Compiled;

/// The kernel engine failed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Maps.
    #[error("kernel engine: {0}")]
    Maps(#[from] MapsError),
    /// Programs.
    #[error("kernel engine: {0}")]
    Load(#[from] LoadError),
    /// Adding up.
    #[error("kernel engine: {0}")]
    Flush(#[from] FlushError),
    /// A run.
    #[error("kernel engine: running the program on packet {packet}: {error}")]
    Run {
        /// Number of the packet.
        packet: u64,
        /// What the kernel said.
        error: ProgramError,
    },
}

/// Longest frame given to the kernel as it is.
const LONGEST: usize = 60_000;
/// Shortest frame the kernel takes: an Ethernet header.
const SHORTEST: usize = 14;

/// Programs over maps of their own.
pub(super) struct KernelEngine {
    maps: Maps,
    lines: Lines,
    frame: Mapping,
    flusher: Flusher,
    /// The programs of each interval, each loaded when it is first run.
    intervals: Vec<Ebpf>,
}

/// A pin directory that goes when the replay does.
struct TemporaryPins(PathBuf);

impl TemporaryPins {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zerorate-replay-{}-{n}", std::process::id());
        Self(Path::new("/sys/fs/bpf").join(name))
    }
}

impl Drop for TemporaryPins {
    fn drop(&mut self) {
        // Nothing is left to report to; what remains is named after this process.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl KernelEngine {
    /// Makes memory for all lines below `next_line`, and programs for each image.
    pub(super) fn new(images: &[Compiled], next_line: u32) -> Result<Self, KernelError> {
        // Pins are how programs find their maps while they are made; afterwards nobody needs them.
        let pins = TemporaryPins::new();
        let words = images
            .iter()
            .map(|image| image.words().len())
            .max()
            .unwrap_or(0) as u32;
        let mut maps = Maps::create(&pins.0, words, 0)?;
        let mut lines = Lines::default();
        maps.rows.grow(&mut lines, next_line)?;
        let mut intervals = Vec::new();
        for (number, image) in images.iter().enumerate() {
            if number > 0 {
                // Programs keep the image map they were made with.
                maps.image.renew()?;
            }
            maps.image.publish(&maps.image.prepare(image)?)?;
            let settings = Settings::default();
            intervals.push(object::load(&maps, settings, &[])?);
        }
        Ok(Self {
            lines,
            frame: maps.frame()?,
            flusher: Flusher::load(&maps)?,
            maps,
            intervals,
        })
    }

    /// Adds to the lines what was counted.
    pub(super) fn flush(&self) -> Result<(), KernelError> {
        Ok(self.flusher.flush(&self.maps.batches)?)
    }

    pub(super) fn lines(&self) -> &Lines {
        &self.lines
    }

    pub(super) fn books(&self, direction: Direction) -> Result<Books, KernelError> {
        Ok(self.maps.books(books::index(0, direction))?)
    }

    pub(super) fn judge(
        &mut self,
        interval: usize,
        direction: Direction,
        frame: &Frame,
    ) -> Result<(), KernelError> {
        let whole = frame.bytes.len() == frame.original_len as usize
            && (SHORTEST..=LONGEST).contains(&frame.bytes.len());
        let entry = match (direction, whole) {
            (Direction::Up, true) => Entry::Access,
            (Direction::Up, false) => Entry::AccessFrame,
            (Direction::Down, true) => Entry::Core,
            (Direction::Down, false) => Entry::CoreFrame,
        };
        let program = object::loaded(&mut self.intervals[interval], entry)?;
        let mut options = TestRunOptions::new();
        let carrier = [0; SHORTEST];
        options.data_in = Some(if whole { &frame.bytes } else { &carrier });
        if !whole {
            put(&self.frame, frame);
        }
        program
            .test_run(options)
            .map_err(|error| KernelError::Run {
                packet: frame.number,
                error,
            })?;
        Ok(())
    }
}

/// Writes a frame into the map's memory, in the shape of [`classifier::layout::FrameSlot`].
fn put(slot: &Mapping, frame: &Frame) {
    let head = &frame.bytes[..frame.bytes.len().min(HEAD_BYTES as usize)];
    let words = slot.words();
    words[0].store(
        u64::from(frame.original_len) << 32 | head.len() as u64,
        Ordering::Release,
    );
    for (to, from) in words[1..].iter().zip(head.chunks(8)) {
        let mut bytes = [0; 8];
        bytes[..from.len()].copy_from_slice(from);
        to.store(u64::from_ne_bytes(bytes), Ordering::Release);
    }
}
