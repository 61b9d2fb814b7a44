//! Before the node reads its rows, it has added to them what CPUs counted and have not added yet.

use std::cell::RefCell;

use tracing::{error, info};

use super::node::Node;
use crate::datapath::batches_map::{FlushError, Flusher};
use crate::datapath::maps::Maps;
use crate::datapath::object::LoadError;
use crate::engine::lines::Lines;

/// What adds it, and what was in the way.
#[derive(Debug)]
pub(super) struct Gathering {
    flusher: Flusher,
    trouble: RefCell<Option<String>>,
}

impl Gathering {
    pub(super) fn load(maps: &Maps) -> Result<Self, LoadError> {
        Ok(Self {
            flusher: Flusher::load(maps)?,
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

    /// Whether something is in the way.
    pub(super) fn is_troubled(&self) -> bool {
        self.trouble.borrow().is_some()
    }
}

impl Node {
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
