//! A sealed file: blocks of some thousand rows, each a zstd frame of its own, and behind them an index in a frame that
//! zstd passes over. `zstd -dc FILE` gives all rows; who seeks one record, or those of one subscriber, reads the end of
//! the file and the blocks it names.
//!
//! The index, numbers of eight bytes, highest first: for each block `first`, `last`, where it begins, its length, and its
//! length when it is read; for each key its hash, and where its blocks stand behind the keys: how many, and their numbers,
//! each as the difference to the one before (LEB128). At the end: how many blocks and keys, bytes of what stands behind
//! the keys, the hash of blocks and these three numbers, and eight letters.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use super::super::chain::{Batch, Hash, Written, hash};
use super::super::usage::codec::{put as put_number, take as take_number};
use super::rows;
use crate::disk::{Disk, Out};

/// How hard zstd tries. More takes much longer and saves little.
const LEVEL: i32 = 12;

/// A block is closed with so many rows,
const ROWS: usize = 2_048;
/// or so many bytes.
const BYTES: usize = 1 << 20;
/// No block is larger than this when it is read.
const MOST_BYTES: u64 = 1 << 30;

/// What a frame begins with that zstd passes over.
const PASSED_OVER: u32 = 0x184D_2A5F;
/// What a sealed file ends with.
const END: &[u8; 8] = b"zrsealed";
/// Bytes of the end: four numbers, and the letters.
const END_BYTES: u64 = 40;
/// Bytes of a block in the index.
const BLOCK_BYTES: u64 = 40;
/// Bytes of a key in the index.
const KEY_BYTES: u64 = 16;

/// Some rows of a file.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct Block {
    /// Number of the first record.
    pub(in crate::ledger) first: i64,
    /// Of the last.
    pub(in crate::ledger) last: i64,
    at: u64,
    length: u64,
    /// When it is read.
    whole: u64,
}

/// What blocks are found by.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) enum Key<'a> {
    /// Usage of a subscriber.
    UsageOf(&'a str),
    /// Everything else of a subscriber.
    OthersOf(&'a str),
    /// Everything else of a kind.
    Kind(&'a str),
    /// Everything else.
    Others,
}

impl Key<'_> {
    /// The first eight bytes of a hash: two that have the same share their blocks, where what is read says whose it is.
    fn number(self) -> u64 {
        let text = match self {
            Self::UsageOf(id) => format!("usage of {id}"),
            Self::OthersOf(id) => format!("others of {id}"),
            Self::Kind(kind) => format!("kind {kind}"),
            Self::Others => "others".to_owned(),
        };
        short(&hash(&text))
    }
}

fn short(hash: &Hash) -> u64 {
    let (first, _) = hash.split_at(8);
    first
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A file that is written.
pub(in crate::ledger) struct Writer<'d> {
    disk: &'d mut Disk,
    out: Out,
    compressor: Compressor<'static>,
    /// Rows that are in no block yet,
    open: Vec<u8>,
    /// how many,
    rows: usize,
    /// the first record among them,
    first: i64,
    /// the number behind the last,
    next: i64,
    /// and the terms they refer to.
    terms: HashSet<Hash>,
    at: u64,
    blocks: Vec<Block>,
    /// Numbers of blocks by key.
    keys: BTreeMap<u64, Vec<u32>>,
}

impl<'d> Writer<'d> {
    pub(in crate::ledger) fn create(
        disk: &'d mut Disk,
        path: &Path,
        first: i64,
    ) -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self {
            out: disk.create(path)?,
            disk,
            compressor,
            open: Vec::new(),
            rows: 0,
            first,
            next: first,
            terms: HashSet::new(),
            at: 0,
            blocks: Vec::new(),
            keys: BTreeMap::new(),
        })
    }

    /// Whether the terms with a hash stand in front of what comes next.
    pub(in crate::ledger) fn knows(&self, terms: &Hash) -> bool {
        self.terms.contains(terms)
    }

    pub(in crate::ledger) fn terms(&mut self, content: &str) {
        self.terms.insert(hash(content));
        rows::put_terms(&mut self.open, content);
    }

    /// Adds records, which are found by `keys`.
    pub(in crate::ledger) fn add<'k>(
        &mut self,
        written: &Written<'_>,
        keys: impl IntoIterator<Item = Key<'k>>,
    ) {
        let block = self.blocks.len() as u32;
        for key in keys {
            let blocks = self.keys.entry(key.number()).or_default();
            if blocks.last() != Some(&block) {
                blocks.push(block);
            }
        }
        rows::put(&mut self.open, written);
        self.rows += 1;
        self.next = written.seq() + written.records();
    }

    pub(in crate::ledger) fn batch(&mut self, batch: &Batch) {
        rows::put_batch(&mut self.open, batch);
    }

    /// Closes the block if it is full: between two rows, and behind the batch that ends with the first.
    pub(in crate::ledger) fn close_if_full(&mut self) -> io::Result<()> {
        if self.rows >= ROWS || self.open.len() >= BYTES {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let frame = self.compressor.compress(&self.open)?;
        self.disk.write(&mut self.out, &frame)?;
        self.blocks.push(Block {
            first: self.first,
            last: self.next - 1,
            at: self.at,
            length: frame.len() as u64,
            whole: self.open.len() as u64,
        });
        self.at += frame.len() as u64;
        self.open.clear();
        self.rows = 0;
        self.first = self.next;
        self.terms.clear();
        Ok(())
    }

    /// Writes the index, and sees that all of it is on the disk.
    pub(in crate::ledger) fn finish(mut self) -> io::Result<()> {
        self.close()?;
        let index = self.index();
        let length = u32::try_from(index.len())
            .map_err(|_| io::Error::other("the index of a sealed file has no room in a frame"))?;
        let head = [PASSED_OVER.to_le_bytes(), length.to_le_bytes()].concat();
        self.disk.write(&mut self.out, &head)?;
        self.disk.write(&mut self.out, &index)?;
        self.disk.finish(self.out)
    }

    fn index(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for block in &self.blocks {
            let (first, last) = (block.first as u64, block.last as u64);
            for number in [first, last, block.at, block.length, block.whole] {
                out.extend(number.to_be_bytes());
            }
        }
        let mut end = out.clone();
        let mut places = Vec::new();
        for (key, blocks) in &self.keys {
            out.extend(key.to_be_bytes());
            out.extend((places.len() as u64).to_be_bytes());
            put_number(&mut places, blocks.len() as u64);
            let mut before = 0;
            for block in blocks {
                put_number(&mut places, u64::from(block - before));
                before = *block;
            }
        }
        out.extend(&places);
        let numbers = [self.blocks.len(), self.keys.len(), places.len()];
        for number in numbers {
            end.extend((number as u64).to_be_bytes());
        }
        let sum: Hash = Sha256::digest(&end).into();
        out.extend(&end[end.len() - 24..]);
        out.extend(short(&sum).to_be_bytes());
        out.extend(END);
        out
    }
}

/// A file that is read.
#[derive(Debug)]
pub(in crate::ledger) struct Opened {
    file: File,
    pub(in crate::ledger) blocks: Vec<Block>,
    keys_at: u64,
    keys: u64,
    places_at: u64,
    places: u64,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn number(bytes: &[u8]) -> u64 {
    let (first, _) = bytes.split_at(8);
    first
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Opened {
    pub(in crate::ledger) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let no_index = || damaged("it has no index at its end, or that is damaged");
        let end_at = size.checked_sub(END_BYTES).ok_or_else(no_index)?;
        let mut end = [0; END_BYTES as usize];
        file.read_exact_at(&mut end, end_at)?;
        let (blocks, keys, places) = (number(&end), number(&end[8..]), number(&end[16..]));
        let room = || {
            let blocks = blocks.checked_mul(BLOCK_BYTES)?;
            let keys = keys.checked_mul(KEY_BYTES)?;
            let places_at = end_at.checked_sub(places)?;
            let keys_at = places_at.checked_sub(keys)?;
            Some((keys_at.checked_sub(blocks)?, keys_at, places_at))
        };
        let (at, keys_at, places_at) = room().ok_or_else(no_index)?;
        let mut table = vec![0; (keys_at - at) as usize];
        file.read_exact_at(&mut table, at)?;
        let mut summed = Sha256::new();
        summed.update(&table);
        summed.update(&end[..24]);
        if short(&summed.finalize().into()) != number(&end[24..]) || &end[32..] != END {
            return Err(no_index());
        }
        let block = |row: &[u8]| Block {
            first: number(row) as i64,
            last: number(&row[8..]) as i64,
            at: number(&row[16..]),
            length: number(&row[24..]),
            whole: number(&row[32..]),
        };
        Ok(Self {
            file,
            blocks: table
                .chunks_exact(BLOCK_BYTES as usize)
                .map(block)
                .collect(),
            keys_at,
            keys,
            places_at,
            places,
        })
    }

    /// The rows of a block.
    pub(in crate::ledger) fn read(&self, block: &Block) -> io::Result<Vec<u8>> {
        if block.whole > MOST_BYTES || block.length > MOST_BYTES {
            return Err(damaged("a block is larger than any"));
        }
        let mut frame = vec![0; block.length as usize];
        self.file.read_exact_at(&mut frame, block.at)?;
        let rows = Decompressor::new()?.decompress(&frame, block.whole as usize)?;
        if rows.len() as u64 != block.whole {
            return Err(damaged("a block is shorter than it was"));
        }
        Ok(rows)
    }

    /// The blocks in which something has a key.
    pub(in crate::ledger) fn with_key(&self, key: Key<'_>) -> io::Result<Vec<usize>> {
        let key = key.number();
        let (mut low, mut high) = (0, self.keys);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut row = [0; KEY_BYTES as usize];
            self.file
                .read_exact_at(&mut row, self.keys_at + middle * KEY_BYTES)?;
            match number(&row).cmp(&key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.places(number(&row[8..])),
            }
        }
        Ok(Vec::new())
    }

    fn places(&self, at: u64) -> io::Result<Vec<usize>> {
        let wrong = || damaged("its index is damaged");
        // Numbers are below 2^32: five bytes each, at most.
        let most = 10 + 5 * self.blocks.len() as u64;
        let length = self.places.checked_sub(at).ok_or_else(wrong)?.min(most);
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, self.places_at + at)?;
        let mut rest = &bytes[..];
        let count = take_number(&mut rest).ok_or_else(wrong)?;
        let mut found = Vec::new();
        let mut block = 0_u64;
        for _ in 0..count {
            let step = take_number(&mut rest).ok_or_else(wrong)?;
            block = block.checked_add(step).ok_or_else(wrong)?;
            if block >= self.blocks.len() as u64 {
                return Err(wrong());
            }
            found.push(block as usize);
        }
        Ok(found)
    }

    /// The blocks in which something has any of several keys, in their order.
    pub(in crate::ledger) fn with_keys(&self, keys: &[Key<'_>]) -> io::Result<Vec<usize>> {
        let mut found = Vec::new();
        for key in keys {
            found.extend(self.with_key(*key)?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}
