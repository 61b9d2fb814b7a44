//! The bytes of a capture file in order, with the place of each: what lets every error say where it happened.

use std::fmt;
use std::io::{BufRead, BufReader, ErrorKind, Read};

use super::{CaptureError, MAX_RECORD};

/// Bytes read from the file at a time.
const BUFFER: usize = 256 << 10;

/// A capture file being read.
pub(super) struct Input {
    reader: BufReader<Box<dyn Read + Send>>,
    /// Bytes consumed so far.
    offset: u64,
    /// Where the record being read began.
    start: u64,
    /// What [`Input::bytes`] lends out, kept from record to record.
    bytes: Vec<u8>,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl Input {
    pub(super) fn new(source: impl Read + Send + 'static) -> Self {
        let reader = BufReader::with_capacity(BUFFER, Box::new(source) as Box<dyn Read + Send>);
        Self {
            reader,
            offset: 0,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// Begins a record here; `false` at the end of the file, where it may end.
    pub(super) fn begin_record(&mut self) -> Result<bool, CaptureError> {
        self.start = self.offset;
        Ok(!self.available()?.is_empty())
    }

    /// Where the record being read began.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CaptureError> {
        let mut array = [0; N];
        self.load(N)?;
        array.copy_from_slice(&self.bytes);
        Ok(array)
    }

    /// The next `count` bytes. More than [`MAX_RECORD`] is an error, and so is less than there should be.
    pub(super) fn bytes(&mut self, count: u32) -> Result<&[u8], CaptureError> {
        if count > MAX_RECORD {
            let what = format!("it claims {count} bytes, and none has more than {MAX_RECORD}");
            return Err(CaptureError::Damaged {
                start: self.start,
                what,
            });
        }
        self.load(count as usize)?;
        Ok(&self.bytes)
    }

    /// What was read last, also when it was less than asked for.
    pub(super) fn last(&self) -> &[u8] {
        &self.bytes
    }

    /// Passes over `count` bytes.
    pub(super) fn skip(&mut self, count: u32) -> Result<(), CaptureError> {
        let mut left = count as usize;
        while left > 0 {
            let step = self.available()?.len().min(left);
            if step == 0 {
                return Err(self.truncated());
            }
            self.consume(step);
            left -= step;
        }
        Ok(())
    }

    fn truncated(&self) -> CaptureError {
        CaptureError::Truncated {
            start: self.start,
            end: self.offset,
        }
    }

    /// Reads `count` bytes into `self.bytes`, piece by piece: memory grows with what is there, not with what is
    /// claimed.
    fn load(&mut self, count: usize) -> Result<(), CaptureError> {
        self.bytes.clear();
        while self.bytes.len() < count {
            let left = count - self.bytes.len();
            let available = self.available()?;
            let step = available.len().min(left);
            if step == 0 {
                return Err(self.truncated());
            }
            self.bytes.extend_from_slice(&self.reader.buffer()[..step]);
            self.consume(step);
        }
        Ok(())
    }

    fn consume(&mut self, count: usize) {
        self.reader.consume(count);
        self.offset += count as u64;
    }

    /// Bytes that can be had without waiting for more; none at the end of the file.
    fn available(&mut self) -> Result<&[u8], CaptureError> {
        loop {
            match self.reader.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(CaptureError::Read {
                        offset: self.offset,
                        source,
                    });
                }
            }
        }
        Ok(self.reader.buffer())
    }
}
