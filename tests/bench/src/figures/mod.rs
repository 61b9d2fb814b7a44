//! Everything that is no cost per packet: compiling, publishing, starting, reading, memory.
//!
//! Session changes a second belong here, too.

pub(crate) mod access;
pub(crate) mod compile;
pub(crate) mod read;
pub(crate) mod start;
pub(crate) mod swap;
