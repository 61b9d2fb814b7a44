//! What a gateway takes in over all its wires, by the kernel's own count: what there is to be counted.

use anyhow::Result;

use crate::bill::Flow;
use crate::counters::Reading;
use crate::topology::Lab;

/// The counters of a gateway's wires at one moment.
#[derive(Debug)]
pub struct Wires {
    access: Vec<Reading>,
    core: Reading,
}

impl Wires {
    /// Reads them.
    ///
    /// # Errors
    /// If an interface is gone.
    pub fn read(lab: &Lab) -> Result<Self> {
        let access = lab.access.iter().map(|wire| wire.read());
        Ok(Self {
            access: access.collect::<Result<_>>()?,
            core: lab.core.read()?,
        })
    }

    /// What came in since: up from the access interfaces, down from the core.
    ///
    /// # Errors
    /// If an interface is gone, or XDP was attached or detached meanwhile.
    pub fn taken_in(&self, lab: &Lab) -> Result<Flow> {
        let mut flow = Flow {
            down: lab.core.since(&self.core)?.near_received,
            ..Flow::default()
        };
        for (wire, before) in lab.access.iter().zip(&self.access) {
            flow.up += wire.since(before)?.far_received;
        }
        Ok(flow)
    }
}
