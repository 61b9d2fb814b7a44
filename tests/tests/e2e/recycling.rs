//! Subscribers come, go and move all the time: whoever comes has the memory of who left, nobody has anybody's bytes, and
//! memory does not grow. `cargo xtask soak` does it 100,000 times.

use anyhow::Result;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::soak::churn;

/// As many as some seconds take.
const ROUNDS: usize = 60;

#[test]
fn who_comes_has_the_memory_of_who_left_and_nobody_has_anothers_bytes() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    churn::run(ROUNDS, |_| Ok(()))
}
