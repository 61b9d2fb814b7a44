//! The memory that counts: rows and bucket blocks in chunks of lines, read and written the same way whether a
//! chunk is a kernel map or a piece of this process.

use std::sync::atomic::{AtomicU64, Ordering};

use classifier::layout::{CHUNK_BYTES, CHUNK_LINES, LINE_BYTES, Meter, RowHead, meter_word};

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

    /// The 64-bit word that stands `word` words behind the beginning of a line.
    ///
    /// # Panics
    /// When the line lies in no chunk.
    #[must_use]
    pub fn word(&self, line: u32, word: u32) -> &AtomicU64 {
        let chunk = self
            .chunks
            .get((line / CHUNK_LINES) as usize)
            .expect(MISSING);
        &chunk.words()[(line % CHUNK_LINES * (LINE_BYTES / 8) + word) as usize]
    }

    /// Head of the row at a line.
    #[must_use]
    pub fn head(&self, line: u32) -> RowHead {
        let word = |n| self.word(line, n).load(Ordering::Acquire);
        let (first, second) = (word(0), word(1));
        RowHead {
            plan: first as u32,
            reserved: 0,
            bucket_line: second as u32,
            bucket_map: (second >> 32) as u32,
            session: word(2),
            reserved_too: 0,
        }
    }

    /// Writes the head of the row at a line.
    pub fn set_head(&self, line: u32, head: &RowHead) {
        let words = [
            u64::from(head.plan),
            u64::from(head.bucket_map) << 32 | u64::from(head.bucket_line),
            head.session,
            0,
        ];
        for (n, value) in words.into_iter().enumerate() {
            self.word(line, n as u32).store(value, Ordering::Release);
        }
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

    /// Sets `words` 64-bit words from the beginning of a line to zero, where nobody counts.
    pub fn clear(&self, line: u32, words: u32) {
        for word in 0..words {
            self.word(line, word).store(0, Ordering::Relaxed);
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
