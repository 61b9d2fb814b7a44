//! The memory that counts: rows and bucket blocks in chunks of lines, read and written the same way whether a
//! chunk is a kernel map or a piece of this process.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use classifier::layout::{
    CHUNK_BYTES, CHUNK_LINES, HALF_WORDS, HALVES_BYTES, LOWER_HALF, Meter, RowHead, bucket_word,
    meter_word,
};

/// A chunk: [`CHUNK_BYTES`] bytes of counters shared with whoever counts in them.
pub trait Chunk: Send + Sync {
    /// Its 64-bit words.
    fn words(&self) -> &[AtomicU64];
}

/// A chunk in this process, for the native engine.
struct HeapChunk(Vec<AtomicU64>);

impl Chunk for HeapChunk {
    fn words(&self) -> &[AtomicU64] {
        &self.0
    }
}

/// All chunks, by number.
#[derive(Default)]
pub struct Lines {
    chunks: Vec<Box<dyn Chunk>>,
    /// First line of those nobody has touched: they are zero.
    untouched: AtomicU32,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines")
            .field("chunks", &self.chunks.len())
            .finish()
    }
}

/// Whether a chunk exists for every line below `lines` is the owner's to see to.
const MISSING: &str = "a line was read whose chunk does not exist";

impl Lines {
    /// Number of chunks.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.chunks.len() as u32
    }

    /// Whether there is no chunk yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Appends a chunk.
    pub fn push(&mut self, chunk: Box<dyn Chunk>) {
        debug_assert_eq!(chunk.words().len(), CHUNK_BYTES as usize / 8);
        self.chunks.push(chunk);
    }

    /// Memory in this process for every line below `next_line`.
    #[must_use]
    pub fn on_heap(next_line: u32) -> Self {
        let mut lines = Self::default();
        while lines.len() * CHUNK_LINES < next_line {
            let words = std::iter::repeat_with(AtomicU64::default).take(CHUNK_BYTES as usize / 8);
            lines.push(Box::new(HeapChunk(words.collect())));
        }
        lines
    }

    /// Whether a line can be reached.
    #[must_use]
    pub fn holds(&self, line: u32) -> bool {
        line / CHUNK_LINES < self.len()
    }

    /// The 64-bit word that stands `word` words behind the beginning of a line's upper half.
    ///
    /// # Panics
    /// When the line lies in no chunk.
    #[must_use]
    pub fn word(&self, line: u32, word: u32) -> &AtomicU64 {
        &self.chunk(line)[(line % CHUNK_LINES * HALF_WORDS + word) as usize]
    }

    fn chunk(&self, line: u32) -> &[AtomicU64] {
        let chunk = self.chunks.get((line / CHUNK_LINES) as usize);
        chunk.expect(MISSING).words()
    }

    fn head_word(&self, line: u32) -> &AtomicU64 {
        &self.chunk(line)[(HALVES_BYTES / 8 + line % CHUNK_LINES) as usize]
    }

    /// Head of the row at a line.
    #[must_use]
    pub fn head(&self, line: u32) -> RowHead {
        RowHead::of_word(self.head_word(line).load(Ordering::Acquire))
    }

    /// Writes the head of the row at a line.
    pub fn set_head(&self, line: u32, head: RowHead) {
        self.head_word(line).store(head.word(), Ordering::Release);
    }

    /// A meter of the row at a line.
    ///
    /// # Panics
    /// When the line lies in no chunk.
    #[must_use]
    pub fn meter(&self, line: u32, meter: u32) -> Meter {
        let found = self.meters(line, meter + 1).nth(meter as usize);
        found.expect("there are as many as were asked for")
    }

    /// The first meters of the row at a line.
    ///
    /// # Panics
    /// When the line lies in no chunk.
    pub fn meters(&self, line: u32, meters: u32) -> impl Iterator<Item = Meter> {
        let chunk = self.chunk(line);
        let first = (line % CHUNK_LINES * HALF_WORDS) as usize;
        let half = |down| {
            let first = first + meter_word(0, down) as usize;
            chunk[first..][..2 * meters as usize].as_chunks::<2>().0
        };
        let read = |word: &AtomicU64| word.load(Ordering::Relaxed);
        half(false)
            .iter()
            .zip(half(true))
            .map(move |(up, down)| Meter {
                bytes_up: read(&up[0]),
                packets_up: read(&up[1]),
                bytes_down: read(&down[0]),
                packets_down: read(&down[1]),
            })
    }

    /// Notes that all lines of the chunks there are may have been touched, by a process before this one.
    pub fn used_before(&self) {
        self.untouched
            .store(self.len() * CHUNK_LINES, Ordering::Relaxed);
    }

    /// Sets lines to zero, where nobody counts. Memory nobody has touched is.
    pub fn clear(&self, lines: Range<u32>) {
        let touched = self.untouched.fetch_max(lines.end, Ordering::Relaxed);
        let (mut first, end) = (lines.start, lines.end.min(touched));
        while first < end {
            let next = end.min((first / CHUNK_LINES + 1) * CHUNK_LINES);
            self.clear_in_chunk(first, next - first);
            first = next;
        }
    }

    fn clear_in_chunk(&self, first: u32, lines: u32) {
        let chunk = self.chunk(first);
        let first = (first % CHUNK_LINES) as usize;
        let (upper, words) = (first * HALF_WORDS as usize, (lines * HALF_WORDS) as usize);
        let lower = upper + LOWER_HALF as usize;
        let heads = (HALVES_BYTES / 8) as usize + first;
        for (at, count) in [(upper, words), (lower, words), (heads, lines as usize)] {
            for word in &chunk[at..][..count] {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// What is left in the bucket at a position of a block, in bytes; it may be below zero.
    #[must_use]
    pub fn level(&self, block: u32, position: u32) -> i64 {
        let drawn = self.drawn(block, position);
        self.granted(block, position).wrapping_sub(drawn) as i64
    }

    /// What packets ever drew from a bucket, in bytes.
    #[must_use]
    pub fn drawn(&self, block: u32, position: u32) -> u64 {
        self.word(block, bucket_word(position))
            .load(Ordering::Relaxed)
    }

    /// What a bucket was ever granted, less what was taken back, in bytes.
    #[must_use]
    pub fn granted(&self, block: u32, position: u32) -> u64 {
        self.word(block, bucket_word(position) + 1)
            .load(Ordering::Relaxed)
    }

    /// Stores what was ever drawn from a bucket, where nobody draws.
    pub fn set_drawn(&self, block: u32, position: u32, bytes: u64) {
        self.word(block, bucket_word(position))
            .store(bytes, Ordering::Release);
    }

    /// Stores what a bucket was ever granted. Packets may draw from it meanwhile.
    pub fn set_granted(&self, block: u32, position: u32, bytes: u64) {
        self.word(block, bucket_word(position) + 1)
            .store(bytes, Ordering::Release);
    }
}
