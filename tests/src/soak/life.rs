//! That an agent does not grow: what it has of memory and open files some time after its start, and later.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::agent::Agent;
use crate::memory::Memory;

/// When an agent has all it needs: so many looks after its start.
const GROWN_UP: u32 = 2;
/// What may come on top: pages of its database's cache, what its allocator keeps.
const MARGIN: u64 = 6 << 20;
/// One request may be under way, and connections to a server that comes and goes.
const FILES: usize = 8;

/// One agent, from its start to its end.
#[derive(Debug, Default)]
pub(super) struct Life {
    process: Option<u32>,
    looks: u32,
    /// Memory of its own and open files when it was grown up.
    then: Option<(u64, usize)>,
}

impl Life {
    /// Looks at it; its memory in bytes, and by how much it has grown since it was grown up.
    ///
    /// # Errors
    /// If it has grown too much.
    pub(super) fn look(&mut self, agent: &Agent) -> Result<(u64, Option<i64>)> {
        let process = agent.id();
        if self.process != process {
            *self = Self {
                process,
                ..Self::default()
            };
        }
        self.looks += 1;
        let id = process.context("the agent has ended")?;
        let own = Memory::of(id)?.own;
        let files = fs::read_dir(format!("/proc/{id}/fd"))?.count();
        if self.looks < GROWN_UP {
            return Ok((own, None));
        }
        let (memory, open) = *self.then.get_or_insert((own, files));
        ensure!(
            own <= memory + memory / 10 + MARGIN,
            "the agent had {memory} bytes, and has {own} now"
        );
        ensure!(
            files <= open + FILES,
            "the agent had {open} files open, and has {files} now"
        );
        Ok((own, Some(own as i64 - memory as i64)))
    }
}
