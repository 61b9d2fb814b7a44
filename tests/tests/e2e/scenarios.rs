//! The situations of the shipped policies, played with real traffic; each step is checked by the scenario itself.

use anyhow::{Context as _, Result};
use zerorate_tests::can_use_namespaces;
use zerorate_tests::scenario::{Scenario, Silent};

fn play(name: &str) -> Result<()> {
    let scenario = Scenario::find(name).context("no such scenario")?;
    // What cannot be played here is told as skipped.
    if !can_use_namespaces() {
        return Ok(());
    }
    scenario.play(&mut Silent)
}

#[test]
fn kz_emergency() -> Result<()> {
    play("kz-emergency")
}

#[test]
fn xk_order() -> Result<()> {
    play("xk-order")
}

#[test]
fn uz_shifokor() -> Result<()> {
    play("uz-shifokor")
}

#[test]
fn kz_access_rules() -> Result<()> {
    play("kz-access-rules")
}
