//! The oracle: a second, slow reading of the rules, which shares nothing with the product.
//!
//! It knows `zerorate replay` only by its public contract (a policy directory, a subscribers file and a
//! capture go in, JSON lines come out) and does every step the plainest way there is: all prefixes
//! scanned for every packet, 128-bit arithmetic, no tables built beforehand. Where it and the product
//! differ, one of them has misread the rules.

mod capture;
mod charge;
mod frame;
mod policy;
mod prefix;
mod report;
mod subscribers;

pub mod engine;
pub mod packets;
pub mod write;

pub use capture::{Captured, read_capture};
pub use charge::{Direction, Role};
pub use frame::{IpPacket, Reading, UnsupportedLink, read_frame};
pub use policy::{Nanoseconds, Policy};
pub use prefix::{Address, Prefix};
pub use subscribers::Subscribers;

use std::path::Path;

use anyhow::Result;

/// What `zerorate replay --format json` must print for these inputs.
///
/// # Errors
/// When one of the three cannot be read, or the capture holds a packet of an unsupported link type.
pub fn replay(policy: &Path, subscribers: &Path, capture: &Path, role: Role) -> Result<String> {
    let policy = Policy::read(policy)?;
    let subscribers = Subscribers::read(subscribers)?;
    let mut ledger = charge::Ledger::new(&policy, &subscribers)?;
    for captured in read_capture(capture)? {
        let reading = read_frame(captured.link, &captured.bytes, captured.original)?;
        ledger.count(role, captured.time, &reading)?;
    }
    report::json_lines(&policy, &subscribers, &ledger)
}
