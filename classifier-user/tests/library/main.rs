//! What the library and the commands do without an agent, and mostly without a kernel: one program, so that all of it shares
//! its threads. `cargo test -p classifier-user --test library malformed` runs one room. What the process itself matters to has a
//! program of its own: a file system that fails (`ledger_faults`), a lock that a child would have for a moment (`ledger_bits`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../ledger/agent.rs"]
mod agent;
mod shell;
#[path = "../skip/mod.rs"]
mod skip;

// Policies: read, refused, compared, changed.
mod commands;
mod diff;
mod difference;
mod editors;
mod explained;
mod guards;
mod imports;
mod malformed;
mod policies;
mod publish;
mod real_tables;
mod rewriting;
mod signed;
mod what_if;

// Images in the kernel.
mod batches;
mod cases;
mod deferred;
mod image_map;

// The ledger, and what is made of it.
mod ledger_disk;
mod statement;

// What is written about all of it.
mod documents;
