//! An image in its map, ready to be put in force or in force already: its subscriber indices can be changed in place,
//! for as long as there is room behind the image. Two may do so at the same time.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use classifier::image::subscribers::NODE_BITS;
use classifier::image::{Binding, LINE_WORDS, MAGIC, at};
use ipnet::IpNet;

use super::sys::Mapping;
use crate::image::bindings::{self, Room, Unfit, node_lines};
use crate::image::outermost;

/// An image in its map.
#[derive(Debug)]
pub struct LiveImage {
    map: OwnedFd,
    room: Mutex<MappedRoom>,
}

/// Prefixes that are bound anew before somebody else may change the image: well below a millisecond.
const AT_ONCE: usize = 1_000;

impl LiveImage {
    /// Takes charge of an image of `words` words that was written to a map.
    pub(super) const fn new(map: OwnedFd, mapping: Mapping, words: u32) -> Self {
        let room = MappedRoom {
            mapping,
            next: words.div_ceil(LINE_WORDS),
            free: Vec::new(),
            resting: Vec::new(),
        };
        Self {
            map,
            room: Mutex::new(room),
        }
    }

    pub(super) const fn map(&self) -> &OwnedFd {
        &self.map
    }

    /// Takes prefixes from those who have them and binds others, one after the other: a packet meets each address
    /// before or after. What is bound anew stays bound all the while. Of one's own prefixes that nest, the outermost
    /// counts.
    ///
    /// # Errors
    /// When the index cannot take one in place; those before it are bound.
    pub fn rebind(&self, unbound: &[IpNet], bound: &[(IpNet, Binding)]) -> Result<(), Unfit> {
        let bound = outermost(bound);
        let is_bound = |net: &IpNet| {
            let after = bound.partition_point(|(other, _)| *other <= net);
            after > 0 && bound[after - 1].0.contains(net)
        };
        let gone: Vec<_> = unbound.iter().filter(|net| !is_bound(net)).collect();
        for part in gone.chunks(AT_ONCE) {
            let mut room = self.room();
            part.iter()
                .try_for_each(|net| bindings::unbind(&mut *room, net))?;
        }
        for part in bound.chunks(AT_ONCE) {
            let mut room = self.room();
            part.iter()
                .try_for_each(|(net, binding)| bindings::bind(&mut *room, net, *binding))?;
        }
        Ok(())
    }

    /// Suspends who is counted in the row at a line, or gives it its service: for those of its prefixes that are bound
    /// to that row here.
    ///
    /// # Errors
    /// When the index cannot take one in place; those before it are as they are to be.
    pub fn suspend(&self, nets: &[IpNet], line: u32, suspended: bool) -> Result<(), Unfit> {
        let mut room = self.room();
        nets.iter()
            .try_for_each(|net| bindings::suspend(&mut *room, net, line, suspended))
    }

    /// Has packets counted aside, or in their rows. Where the image is in force it holds for all packets after the next
    /// one is published, this one again or another.
    pub fn count_aside(&self, serial: Option<u32>) {
        let mut room = self.room();
        let word = room.get(at::ASIDE / 2) & u64::from(u32::MAX);
        room.set(at::ASIDE / 2, u64::from(serial.unwrap_or(0)) << 32 | word);
    }

    /// Lets what was given back be used again. To be called when no packet can be reading it any more: when an image
    /// was published since, this one again or another.
    pub fn rested(&self) {
        let room = &mut *self.room();
        room.free.append(&mut room.resting);
    }

    /// The serial number in the memory packets are judged by; `None` if that is no image.
    pub(super) fn serial(&self) -> Option<u32> {
        let room = self.room();
        let head = |index: u32| (room.get(index / 2) >> (32 * (index % 2))) as u32;
        (head(at::MAGIC) == MAGIC).then(|| head(at::SERIAL))
    }

    fn room(&self) -> MutexGuard<'_, MappedRoom> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The image's memory, and what of it is free.
#[derive(Debug)]
struct MappedRoom {
    mapping: Mapping,
    /// First line nothing was ever written to.
    next: u32,
    free: Vec<u32>,
    /// Given back, and perhaps still read.
    resting: Vec<u32>,
}

impl Room for MappedRoom {
    fn get(&self, index: u32) -> u64 {
        self.mapping.words()[index as usize].load(Ordering::Relaxed)
    }
    fn set(&mut self, index: u32, word: u64) {
        self.mapping.words()[index as usize].store(word, Ordering::Release);
    }
    fn take(&mut self, bits: u32) -> Option<u32> {
        let reused = if bits == NODE_BITS {
            self.free.pop()
        } else {
            None
        };
        let lines = match reused {
            Some(lines) => lines,
            None => {
                let lines = self.next;
                let room = (self.mapping.words().len() * 2) as u32 / LINE_WORDS;
                if lines + node_lines(bits) > room {
                    return None;
                }
                self.next += node_lines(bits);
                lines
            }
        };
        let first = lines * LINE_WORDS / 2;
        for word in first..first + (1 << bits) {
            self.set(word, 0);
        }
        Some(lines)
    }
    fn give_back(&mut self, lines: u32) {
        self.resting.push(lines);
    }
}
