//! `cargo xtask demo`: real packets of three subscribers through a gateway that runs the real
//! zerorate, in network namespaces of their own, told as it happens.
//!
//! With `--scenario NAME` it plays one of the situations of `policies/` instead, as its test does: see
//! [`zerorate_tests::scenario`].
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
mod teller;
mod transfers;
mod world;

use std::env;
use std::fs;
use std::process::{self, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::geteuid;
use zerorate_tests::agent::BINARY_VARIABLE;

use screen::Screen;
use stage::Stage;
use teller::Teller;
use zerorate_tests::interrupt::{self, Interrupted};
use zerorate_tests::scenario::{self, Scenario};

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
    let Asked::Play(scenario) = asked(&env::args().skip(1).collect::<Vec<_>>())? else {
        print!("{}", list());
        return Ok(true);
    };
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
    let played = match scenario {
        Some(scenario) => tell(scenario),
        None => play(),
    };
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

/// What the command line asks for.
enum Asked {
    /// The names there are.
    List,
    /// A scenario, or the demo of everything.
    Play(Option<Scenario>),
}

fn asked(arguments: &[String]) -> Result<Asked> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => Ok(Asked::Play(None)),
        ["--scenario", "list"] => Ok(Asked::List),
        ["--scenario", name] => {
            let Some(scenario) = Scenario::find(name) else {
                bail!(
                    "there is no scenario `{name}`; there are:\n{}",
                    list().trim_end()
                );
            };
            Ok(Asked::Play(Some(scenario)))
        }
        _ => bail!(
            "the demo knows `--scenario NAME`, not `{}`; `--scenario list` says which there are",
            words.join(" ")
        ),
    }
}

/// A line a scenario.
fn list() -> String {
    let line = |scenario: &Scenario| format!("  {:<16} {}\n", scenario.name, scenario.about);
    scenario::ALL.iter().map(line).collect()
}

/// Plays a scenario; all it made is gone when it returns.
fn tell(scenario: Scenario) -> Result<(Screen, bool)> {
    let mut teller = Teller::new();
    scenario.play(&mut teller)?;
    Ok((teller.screen, true))
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
