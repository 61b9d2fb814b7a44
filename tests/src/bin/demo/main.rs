//! `cargo xtask demo`: real packets of three subscribers through a gateway that runs the real
//! zerorate, in network namespaces of their own, told as it happens.
//!
//! It ends with the books beside the senders' own counters, and with status 1 unless they agree to
//! the byte. Whatever it made is gone afterwards, also after Ctrl-C, SIGTERM or a failure.

#![forbid(unsafe_code)]

mod closing;
mod figures;
mod scenes;
mod screen;
mod stage;
mod suspended;
mod transfers;
mod world;

use std::env;
use std::fs;
use std::process::{self, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use nix::unistd::geteuid;
use zerorate_tests::agent::BINARY_VARIABLE;

use screen::Screen;
use stage::Stage;
use zerorate_tests::interrupt::{self, Interrupted};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => match error.downcast_ref::<Interrupted>() {
            // As a shell reports a program that a signal has ended.
            Some(Interrupted(signal)) => ExitCode::from(128 + *signal as u8),
            None => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Whether everything was as it should be.
fn run() -> Result<bool> {
    ensure!(
        geteuid().is_root(),
        "the demo makes network namespaces and loads a kernel program: run it as root"
    );
    ensure!(
        env::var_os(BINARY_VARIABLE).is_some(),
        "{BINARY_VARIABLE} does not name the zerorate to show: run `cargo xtask demo`"
    );
    interrupt::watch().context("cannot wait for signals")?;
    let started = Instant::now();
    let played = play();
    let left = left_behind();
    for path in &left {
        eprintln!("left behind: {path}");
    }
    let (screen, all_well) = played?;
    if left.is_empty() {
        screen.say("All namespaces, pins, processes and files of the demo are gone again.")?;
    }
    screen.say(&format!(
        "It took {:.0} s.",
        started.elapsed().as_secs_f64()
    ))?;
    Ok(all_well && left.is_empty())
}

/// Plays the scenes and strikes the stage.
fn play() -> Result<(Screen, bool)> {
    let mut stage = Stage::set_up()?;
    scenes::play(&mut stage)?;
    let all_well = closing::accounts(&mut stage)?;
    Ok((stage.strike(), all_well))
}

/// Namespaces and pins that carry this process's number.
fn left_behind() -> Vec<String> {
    let ours = [
        ("/run/netns", format!("zr-{}-", process::id())),
        ("/sys/fs/bpf", format!("zr-test-{}-", process::id())),
    ];
    let mut left = Vec::new();
    for (directory, prefix) in ours {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                left.push(entry.path().display().to_string());
            }
        }
    }
    left
}
