//! Before the node reads its rows, it has added to them what CPUs counted and have not added yet. And before it publishes an
//! image, it has CPUs find the classes of what they counted by the one before.

use std::cell::RefCell;
use std::num::NonZeroU32;

use tracing::{error, info, warn};

use super::node::Node;
use crate::datapath::batches_map::{FlushError, Flusher};
use crate::datapath::maps::Maps;
use crate::datapath::object::LoadError;
use crate::engine::lines::Lines;

/// What adds it, and what was in the way.
#[derive(Debug)]
pub(super) struct Gathering {
    flusher: Flusher,
    /// Words of the image map it finds classes in.
    image_words: u32,
    finding: Finding,
    trouble: RefCell<Option<String>>,
}

impl Gathering {
    pub(super) fn load(maps: &Maps) -> Result<Self, LoadError> {
        Ok(Self {
            flusher: Flusher::load(maps)?,
            image_words: maps.image.words(),
            finding: Finding::Unknown,
            trouble: RefCell::default(),
        })
    }

    /// Has all that packets counted until now added to the rows.
    ///
    /// # Errors
    /// When the kernel would not.
    pub(super) fn flush(&self, maps: &Maps) -> Result<(), FlushError> {
        self.flusher.flush(&maps.batches)
    }

    /// Has classes found at once from here on, until [`Node::defer`].
    ///
    /// # Errors
    /// When those that are not found yet cannot be: no other image may be published then.
    pub(super) fn settle(&mut self, maps: &Maps) -> Result<(), FlushError> {
        if self.finding != Finding::AtOnce {
            self.finding = Finding::Unknown;
            self.flusher.settle(&maps.batches)?;
            self.finding = Finding::AtOnce;
        }
        Ok(())
    }

    /// Whether something is in the way.
    pub(super) fn is_troubled(&self) -> bool {
        self.trouble.borrow().is_some()
    }
}

/// When CPUs find the classes of what they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// As an agent before this one left it.
    Unknown,
    /// At once, and none is left to be found.
    AtOnce,
    /// Later, where that does not matter, by the image in force.
    Later,
}

impl Node {
    /// Lets CPUs find classes later, by the image in force, where all programs that are attached read its map. What is in the
    /// way is tried again at the next look: until then a packet takes longer, and nothing else.
    pub(in crate::agent) fn defer(&mut self) {
        let gathering = &mut self.gathering;
        let Some(serial) = NonZeroU32::new(self.serial) else {
            return;
        };
        if self.in_force.is_none()
            || self.unpublished
            || gathering.finding != Finding::AtOnce
            || !self.interfaces.all_current(&self.maps)
        {
            return;
        }
        if gathering.image_words != self.maps.image.words() {
            match Flusher::load(&self.maps) {
                Ok(flusher) => gathering.flusher = flusher,
                Err(error) => return warn!("the classes of packets are found at once: {error}"),
            }
            gathering.image_words = self.maps.image.words();
        }
        self.maps.batches.defer(serial);
        gathering.finding = Finding::Later;
    }

    /// The rows, with all in them that packets counted until now.
    pub(in crate::agent) fn rows(&self) -> &Lines {
        self.gather();
        &self.lines
    }

    /// Has all that packets counted until now added to the rows. `false` when that cannot be done: it is counted, and is added
    /// later; whoever wants a row's last word waits for it.
    pub(in crate::agent) fn gather(&self) -> bool {
        let trouble = &self.gathering.trouble;
        match self.gathering.flush(&self.maps) {
            Ok(()) => {
                if trouble.take().is_some() {
                    info!("what CPUs count is added to the rows again; nothing was lost");
                }
                true
            }
            Err(error) => {
                let text = error.to_string();
                // Tried at every reading, said once.
                if trouble.borrow().as_ref() != Some(&text) {
                    error!(
                        "what CPUs counted is not added to the rows yet, and shows later; it is tried again: {text}"
                    );
                    trouble.replace(Some(text));
                }
                false
            }
        }
    }
}
