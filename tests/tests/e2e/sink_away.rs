//! PostgreSQL is away for a day of records, most of which have left the database for sealed files when it is back.
//! `cargo xtask soak` does it with 300,000 of them.

use anyhow::Result;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::postgres::has_postgres;
use zerorate_tests::soak::away;

#[test]
fn a_server_that_was_away_for_a_day_gets_every_record_of_it() -> Result<()> {
    if !can_use_namespaces() || !has_postgres() {
        return Ok(());
    }
    let records = away::run(2, |_| Ok(()))?;
    assert!(records >= (away::HOURS * 2 * away::SUBSCRIBERS) as u64);
    Ok(())
}
