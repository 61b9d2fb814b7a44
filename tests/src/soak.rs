//! What is done a few times in each run of the tests, and for an hour by `cargo xtask soak`: an agent that is killed at
//! any moment ([`kills`]), subscribers that come, go and take over each other's addresses ([`churn`]), a server that is
//! away for a day ([`away`]), and all of it at once under steady traffic ([`steady`]).

pub mod away;
pub mod churn;
mod deeds;
pub mod kills;
mod life;
pub mod steady;
mod sums;
mod traffic;
