//! The agent's API: HTTP on a Unix socket. [`server`] answers, [`client`] asks.

pub mod client;
pub mod server;
