//! The HTTP API, asked as its users ask it: billing that pulls records, probes, staff and subscribers with their certificates
//! and tokens, and a client that tries whatever the description allows.

mod access;
mod description;
mod health;
mod office;
mod records;
mod refusals;
