//! From counters to usage records and statements: which rows move, when they are read, what is written of them.

pub(in crate::agent) mod checkpoint;
pub mod notes;
mod outages;
pub mod prune;
pub(in crate::agent) mod recorder;
pub(in crate::agent) mod recording;
pub(in crate::agent) mod roller;
pub(in crate::agent) mod sealer;
mod split;
pub mod statement;
mod trouble;
