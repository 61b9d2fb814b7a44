//! The packet-level verdict of zerorate, written once.
//!
//! Plain `no_std` code, compiled for the kernel (the programs in `main.rs`) and for the host (replay, explain,
//! tests). A packet's way reads top to bottom:
//!
//! [`packet`] frame → addresses and IP bytes → [`image`] address → subscriber row and service class →
//! [`charge`] who pays → [`books`] what was counted → [`tag`] what the rest of the stack is told. [`verdict`] is the
//! recipe that calls them in turn, or goes by what it decided about the packet before in the same [`case`]; what is news on
//! the way is one of the [`events`]; [`web`] and [`dscp`] are for interfaces that ask for more than pass and drop.
//!
//! What differs between kernel and host is only how memory is reached; the two traits that say so are
//! [`packet::Packet`] (a frame) and [`verdict::Tables`] (image, rows, books). [`layout`] holds the numbers both
//! sides must agree on.

#![no_std]
#![forbid(unsafe_code)]

pub mod books;
pub mod case;
pub mod charge;
pub mod dscp;
pub mod events;
pub mod image;
pub mod layout;
pub mod packet;
pub mod tag;
pub mod train;
pub mod verdict;
pub mod web;
