//! What the end-to-end tests and the demo of zerorate are made of.
//!
//! * [`oracle`]: what the product must say, worked out a second time in the plainest way.
//! * [`topology`], [`netns`], [`veth`]: subscribers, a gateway and the world, in network namespaces.
//! * [`traffic`], [`ping`], [`raw`], [`frames`]: what goes over the wires, down to single bits.
//! * [`counters`]: what the kernel counted on them, to hold zerorate's books against; [`wires`]: over all of a gateway's.
//! * [`marks`]: what nftables sees of packets, and counts.
//! * [`xdp`]: somebody else's program, for an interface that has one already.
//! * [`agent`]: the real binary, running in a namespace; [`bill`]: what it says was used; [`records`]: and when;
//!   [`news`]: what happened; [`balance`]: what is in a bucket, and whether it adds up; [`clock`]: the time it believes it is.
//! * [`api`]: what the agent answers over HTTP, asked with curl; [`tls`]: certificates for it.
//! * [`town`]: what most of them are used on together; [`egress`]: the same, with downlink on tc egress.
//! * [`scenario`]: the situations of the shipped policies, played step by step, for tests and the demo.
//! * [`soak`]: what goes on for an hour: kills, and subscribers that come and go; [`memory`]: what a process has of it.
//! * [`numbers`]: figures as people read them.
//! * [`wait`]: for what comes sooner or later; [`interrupt`]: for Ctrl-C, where people are watching.
//!
//! Nothing here touches an interface of the machine itself, and everything a test makes is gone when
//! it returns, also by a panic.

#![forbid(unsafe_code)]

pub mod agent;
pub mod api;
pub mod balance;
pub mod bill;
pub mod clock;
pub mod counters;
pub mod dice;
pub mod disk;
pub mod egress;
pub mod feeds;
pub mod frames;
pub mod interrupt;
pub mod marks;
pub mod memory;
pub mod minisign;
pub mod netns;
pub mod news;
pub mod numbers;
pub mod oracle;
pub mod ping;
pub mod raw;
pub mod records;
pub mod scenario;
pub mod soak;
pub mod threads;
pub mod tls;
pub mod topology;
pub mod town;
pub mod traffic;
pub mod veth;
pub mod wait;
pub mod web;
pub mod wires;
pub mod xdp;

pub mod postgres;
mod process;
pub mod prometheus;
pub mod sinks;
mod skip;

pub use skip::{SKIPS_VARIABLE, can_use_namespaces, skip};
