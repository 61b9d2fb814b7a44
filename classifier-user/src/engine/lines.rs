//! The memory that counts: rows and bucket blocks in chunks of lines, read and written the same way whether a
//! chunk is a kernel map or a piece of this process.

use std::sync::atomic::{AtomicU64, Ordering};

use classifier::layout::{
    CHUNK_BYTES, CHUNK_LINES, HALF_WORDS, HALVES_BYTES, LOWER_HALF, Meter, RowHead, meter_word,
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
    #[must_use]
    pub fn meter(&self, line: u32, meter: u32) -> Meter {
        let word = |n| self.word(line, n).load(Ordering::Relaxed);
        let (up, down) = (meter_word(meter, false), meter_word(meter, true));
        Meter {
            bytes_up: word(up),
            packets_up: word(up + 1),
            bytes_down: word(down),
            packets_down: word(down + 1),
        }
    }

    /// Sets lines to zero, where nobody counts.
    pub fn clear(&self, first: u32, lines: u32) {
        for line in first..first + lines {
            for word in 0..HALF_WORDS {
                self.word(line, word).store(0, Ordering::Relaxed);
                self.word(line, LOWER_HALF + word)
                    .store(0, Ordering::Relaxed);
            }
            self.head_word(line).store(0, Ordering::Relaxed);
        }
    }

    /// Level of the bucket at a position of a block, in bytes.
    #[must_use]
    pub fn level(&self, block: u32, position: u32) -> i64 {
        self.word(block, position).load(Ordering::Relaxed) as i64
    }

    /// Stores the level of a bucket nobody draws from yet.
    pub fn set_level(&self, block: u32, position: u32, bytes: i64) {
        self.word(block, position)
            .store(bytes as u64, Ordering::Release);
    }
}
