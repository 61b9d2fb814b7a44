//! A few seconds of what `cargo xtask soak` does for an hour.

use std::time::Duration;

use anyhow::Result;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::postgres::has_postgres;
use zerorate_tests::soak::steady::{self, Course};

#[test]
fn whatever_happens_to_a_gateway_wires_counters_records_files_and_tables_are_one() -> Result<()> {
    if !can_use_namespaces() || !has_postgres() {
        return Ok(());
    }
    let course = Course {
        period: Duration::from_secs(8),
        periods: 2,
    };
    steady::run(course, |line| {
        println!("{line}");
        Ok(())
    })
}
