//! The agent's API: HTTP on a Unix socket, and by TLS. [`server`] answers what [`routes`] has, to whom [`access`] lets;
//! [`client`] asks.

pub mod access;
mod body;
pub mod client;
mod doors;
mod extract;
pub mod openapi;
mod problem;
mod records;
pub mod routes;
pub mod server;
pub mod table;
mod times;
mod tls;

pub use problem::{PROBLEM_JSON, Problem};
