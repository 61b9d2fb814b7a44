//! The agent's API: HTTP on a Unix socket. [`server`] answers, with events by [`stream`]; [`client`] asks.

pub mod client;
pub mod peer;
pub mod policies;
pub mod server;
pub mod stream;
