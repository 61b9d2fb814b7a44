//! The library of `zerorate`, a packet-level zero-rating classifier for Linux gateways.
#![deny(unsafe_code)]

pub mod accounts;
pub mod cli;
pub mod datapath;
pub mod diagnostic;
pub mod engine;
pub mod image;
pub mod policy;
pub mod replay;
pub mod report;
pub mod subscribers;
