//! Everything that is no cost per packet: compiling, publishing, starting, reading, memory.

pub(crate) mod access;
pub(crate) mod active;
pub(crate) mod check;
pub(crate) mod checkpoint;
pub(crate) mod compile;
pub(crate) mod read;
pub(crate) mod start;
pub(crate) mod swap;
