//! How long an admin waits for `zerorate check` and `zerorate diff` of the largest node's prefixes, from the start of the process
//! to its end: lists read, prefixes held against each other, two policies compared.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;
use zerorate_tests::agent::BINARY_VARIABLE;

use crate::course::Course;
use crate::results::Results;
use crate::rounds::Timing;
use crate::tables::{Family, Tables};

/// Sets the prefixes are spread over, and classes the sets are spread over.
const SETS: usize = 16;
const CLASSES: usize = 7;
/// One prefix of so many is missing in the second policy.
const MISSING: usize = 256;

/// Measures both.
pub(crate) fn run(tables: &Tables, course: &Course, results: &mut Results) -> Result<()> {
    let Some(zerorate) = env::var_os(BINARY_VARIABLE) else {
        println!("SKIPPED: check and diff: {BINARY_VARIABLE} does not name the zerorate to run");
        return Ok(());
    };
    let [v4, v6, _] = course.largest;
    let prefixes = [(Family::V4, v4), (Family::V6, v6)]
        .into_iter()
        .flat_map(|(family, count)| tables.take(family, count));
    let prefixes: Vec<IpNet> = prefixes.copied().collect();
    let dir = tempfile::tempdir()?;
    write(&dir.path().join("old"), &prefixes, usize::MAX)?;
    write(&dir.path().join("new"), &prefixes, MISSING)?;
    for (figure, arguments) in [
        ("check_seconds", &["check", "old"][..]),
        ("diff_seconds", &["diff", "old", "new"]),
    ] {
        let mut command = Command::new(&zerorate);
        command.args(arguments).current_dir(dir.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut samples = Vec::new();
        for _ in 0..3 {
            let begun = Instant::now();
            let status = command.status().context("cannot start zerorate")?;
            samples.push(begun.elapsed().as_secs_f64());
            ensure!(status.success(), "{arguments:?}: {status}");
        }
        results.figure(figure, Timing::of(samples).ns);
    }
    Ok(())
}

/// A policy with these prefixes, one of `missing` left out.
fn write(dir: &Path, prefixes: &[IpNet], missing: usize) -> Result<()> {
    fs::create_dir(dir)?;
    let mut policy = "name = \"bench\"\ndefault_class = \"c0\"\n".to_owned();
    for class in 0..CLASSES {
        write!(policy, "[classes.c{class}]\nrating_group = {class}\n")?;
    }
    for set in 0..SETS {
        let mut list = String::new();
        let own = prefixes.iter().skip(set).step_by(SETS);
        for net in own.zip(1..).filter(|(_, number)| number % missing != 0) {
            writeln!(list, "{}", net.0)?;
        }
        fs::write(dir.join(format!("{set}.txt")), list)?;
        let class = set % CLASSES;
        write!(
            policy,
            "[[sets]]\nname = \"s{set}\"\nclass = \"c{class}\"\nfile = \"{set}.txt\"\n"
        )?;
    }
    policy += "[plans.basic.charge]\nc1 = \"free\"\nc2 = \"free\"\n\"*\" = \"metered\"\n";
    fs::write(dir.join("policy.toml"), policy)?;
    Ok(())
}
