//! What becomes of buckets while packets draw from them: orders of billing, ends of cycles, prices that change; and what was
//! drawn, written down. The rules are in `balance/`; here they meet the ledger and the kernel, in that order.

pub mod cycles;
pub(in crate::agent) mod held;
pub(in crate::agent) mod levels;
pub mod orders;
pub(in crate::agent) mod prices;
