//! The library of `zerorate`, a packet-level zero-rating classifier for Linux gateways.
//!
//! A policy's way: [`policy`] reads and checks it, [`accounts`] gives its names and the [`subscribers`] their
//! places, [`image`] compiles it, [`datapath`] puts it in front of the packets. [`engine`] is the memory they are
//! counted in; [`agent`] keeps it all up to date; [`ledger`] and [`history`] remember; [`api`] and [`cli`] tell; [`replay`] does
//! the same with a capture. [`import`] makes prefix lists of what others publish, [`trust`] sees who signed them; [`publish`]
//! makes the pages that subscribers read, in every [`language`]; [`doctor`] looks whether a machine is fit for all of it.
#![deny(unsafe_code)]

pub mod accounts;
pub mod agent;
pub mod api;
pub mod balance;
pub mod cli;
pub mod config;
pub mod datapath;
pub mod diagnostic;
mod disk;
pub mod doctor;
pub mod engine;
mod fault;
pub mod history;
pub mod image;
pub mod import;
pub mod language;
pub mod ledger;
mod lock;
pub mod metrics;
pub mod netlink;
pub mod policy;
pub mod progress;
pub mod publish;
pub mod reconcile;
pub mod replay;
pub mod report;
pub mod sinks;
pub mod subscribers;
pub mod trust;
