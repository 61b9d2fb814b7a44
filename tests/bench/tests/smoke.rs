//! The bench at its smallest runs to its end: its programs load, count the same packets alike, and its figures can
//! be read. What they are says nothing here.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use zerorate_tests::agent::BINARY_VARIABLE;
use zerorate_tests::{can_use_namespaces, skip};

const BENCH: &str = env!("CARGO_BIN_EXE_zerorate-bench");

fn is_built() -> bool {
    let built = Path::new(BENCH)
        .ancestors()
        .any(|directory| directory.join("bpf-bench/zerorate-bench.bpf.o").exists());
    if !built {
        skip("the bench's kernel programs are not built: run `cargo xtask ebpf`");
    }
    if env::var_os(BINARY_VARIABLE).is_none() {
        skip(&format!("{BINARY_VARIABLE} does not name a zerorate"));
        return false;
    }
    built
}

#[test]
fn the_smallest_bench_runs_to_its_end_and_leaves_nothing() -> Result<()> {
    if !can_use_namespaces() || !is_built() {
        return Ok(());
    }
    let directory = TempDir::with_prefix("zerorate-bench-")?;
    let (json, svg) = (directory.path().join("json"), directory.path().join("svg"));
    let child = Command::new(BENCH)
        .args(["--smoke", "--json"])
        .arg(&json)
        .arg("--svg")
        .arg(&svg)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let id = child.id();
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the bench ended with {}:\n{said}\n{complained}",
        output.status
    );

    let (mut programs, mut figures) = (BTreeSet::new(), BTreeSet::new());
    for line in fs::read_to_string(&json)?.lines() {
        let value: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        if let Some(program) = value["program"].as_str() {
            for number in ["family", "prefixes", "subscribers", "cpus"] {
                ensure!(value[number].as_u64().is_some_and(|n| n > 0), "{line}");
            }
            ensure!(value["ns"].is_f64() && value["spread"].is_f64(), "{line}");
            let pattern = value["pattern"].as_str().context(line.to_owned())?;
            programs.insert(format!("{program} {} {pattern}", value["family"]));
        } else {
            let figure = value["figure"].as_str().context(line.to_owned())?;
            ensure!(value["value"].is_number(), "{line}");
            ensure!(figures.insert(figure.to_owned()), "{figure} stands twice");
            if figure.ends_with("unpriced_packets") || figure.ends_with("mixed_packets") {
                ensure!(value["value"] == 0.0, "{line}");
            }
        }
    }
    for program in [
        "floor",
        "parse",
        "reference",
        "nftables",
        "ours",
        "ours-tc",
        "native",
    ] {
        for family in [4, 6] {
            for pattern in ["hot", "zipf", "uniform"] {
                let wanted = format!("{program} {family} {pattern}");
                ensure!(programs.contains(&wanted), "{wanted} is missing");
            }
        }
    }
    for figure in [
        "compile_seconds",
        "check_seconds",
        "diff_seconds",
        "image_bytes",
        "publish_seconds",
        "publish_mixed_packets",
        "read_seconds",
        "checkpoint_seconds",
        "checkpoint_active_seconds",
        "record_seconds",
        "record_bytes",
        "start_seconds",
        "kernel_bytes",
        "agent_bytes",
        "agent_bytes_changed",
        "veth_ratio",
        "bucket_ratio",
    ] {
        ensure!(figures.contains(figure), "{figure} is missing");
    }
    ensure!(fs::read_to_string(&svg)?.starts_with("<svg"));

    for (place, prefix) in [("/run/netns", "zr"), ("/sys/fs/bpf", "zr-test")] {
        let left = format!("{prefix}-{}-", id);
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            ensure!(!name.starts_with(&left), "{place}/{name} is left");
        }
    }
    Ok(())
}
