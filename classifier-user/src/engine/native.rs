//! The verdict over this process's own memory: no kernel, no privileges.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use classifier::books::BOOKS_WORDS;
use classifier::case::{Case, Ruling};
use classifier::events::Event;
use classifier::layout::{Place, RowHead, bucket_word, meter_word};
use classifier::packet::Packet;
use classifier::verdict::{Hook, Size, Tables, Verdict, verdict};

use super::lines::Lines;
use crate::image::Compiled;

/// One set of books in this process.
pub struct HeapBooks([AtomicU64; BOOKS_WORDS]);

impl Default for HeapBooks {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BOOKS_WORDS])
    }
}

impl HeapBooks {
    /// The counters now.
    #[must_use]
    pub fn read(&self) -> [u64; BOOKS_WORDS] {
        std::array::from_fn(|cell| self.0[cell].load(Ordering::Relaxed))
    }
}

/// Events in the order they were raised.
#[derive(Debug, Default)]
pub struct Raised(Mutex<Vec<Event>>);

impl Raised {
    /// The events since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a verdict reads and counts in.
#[derive(Clone, Copy)]
pub struct NativeTables<'a> {
    /// The image in force.
    pub image: &'a Compiled,
    /// Rows and bucket blocks.
    pub lines: &'a Lines,
    /// Books of the hook.
    pub books: &'a HeapBooks,
    /// Where events are collected, if anybody wants to know.
    pub raised: Option<&'a Raised>,
}

impl NativeTables<'_> {
    /// Judges and counts one packet.
    pub fn judge<P: Packet>(&self, packet: &P, hook: Hook) -> Verdict {
        verdict(packet, hook, self)
    }
}

impl<'a> Tables for NativeTables<'a> {
    type Words = &'a Compiled;
    type Line = u32;

    fn image(&self) -> Option<&'a Compiled> {
        Some(self.image)
    }
    fn line(&self, line: u32) -> Option<u32> {
        self.lines.holds(line).then_some(line)
    }
    fn approach_buckets(&self, line: u32) {
        black_box(self.lines.head(line));
    }
    fn row(&self, line: u32) -> RowHead {
        self.lines.head(line)
    }
    fn add_again(&self, _: Case, _: Size) -> Option<Ruling> {
        // Each packet is decided about for itself: what this engine counts is held against what the kernel does.
        None
    }
    fn defer(&self, _: Case, _: Size, _: bool) -> bool {
        false
    }
    fn add(&self, place: Place, size: Size, _: Option<(Case, Ruling)>) -> bool {
        if !self.lines.holds(place.line) {
            return false;
        }
        let counter = |word| self.lines.word(place.line, word);
        let packets = |down| counter(meter_word(place.meter, down) + 1).load(Ordering::Relaxed);
        if let Some(event) = place.first_use(packets) {
            self.report(event);
        }
        counter(place.bytes()).fetch_add(size.bytes.into(), Ordering::Relaxed);
        counter(place.bytes() + 1).fetch_add(size.packets, Ordering::Relaxed);
        true
    }
    fn add_aside(&self, _: u32, _: Place, _: Size) -> bool {
        // Nobody keeps rows still here: whoever compiles an image for this engine publishes none over another.
        false
    }
    fn level(&self, block: u32, position: u32) -> i64 {
        self.lines.level(block, position)
    }
    fn draw(&self, block: u32, position: u32, bytes: u32) -> i64 {
        let word = self.lines.word(block, bucket_word(position));
        let drawn = word.fetch_add(u64::from(bytes), Ordering::SeqCst);
        self.lines.granted(block, position).wrapping_sub(drawn) as i64
    }
    fn report(&self, event: Event) {
        if let Some(Raised(raised)) = self.raised {
            let mut raised = raised.lock().unwrap_or_else(PoisonError::into_inner);
            raised.push(event);
        }
    }
    fn tally(&self, cell: u32, n: u64) {
        self.books.0[cell as usize].fetch_add(n, Ordering::Relaxed);
    }
}
