//! `cargo xtask soak`: what takes too long for each run of the tests. An agent is killed a thousand times; a hundred
//! thousand subscribers join, leave and move under traffic; PostgreSQL misses a day of 300,000 records; and a gateway
//! lives through an hour of everything at once.
//!
//! It says a line a minute, and ends at the first difference, of a single byte, with status 1. Whatever it made is gone
//! afterwards, also after Ctrl-C, SIGTERM or a failure.

#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::process::{self, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::geteuid;
use zerorate_tests::agent::BINARY_VARIABLE;
use zerorate_tests::interrupt::{self, Interrupted};
use zerorate_tests::numbers::grouped;
use zerorate_tests::postgres::has_postgres;
use zerorate_tests::soak::steady::Course;
use zerorate_tests::soak::{away, churn, kills, steady};

const MINUTE: Duration = Duration::from_secs(60);

/// What is to be done, and how much of it; nothing is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    kills: usize,
    joins: usize,
    records: usize,
    minutes: u32,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
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

fn run() -> Result<()> {
    let asked = asked(&env::args().skip(1).collect::<Vec<_>>())?;
    ensure!(
        geteuid().is_root(),
        "the soak makes network namespaces and loads a kernel program: run it as root"
    );
    ensure!(
        env::var_os(BINARY_VARIABLE).is_some(),
        "{BINARY_VARIABLE} does not name the zerorate to try: run `cargo xtask soak`"
    );
    ensure!(
        asked.minutes == 0 && asked.records == 0 || has_postgres(),
        "there is no PostgreSQL: install Debian's `postgresql`"
    );
    interrupt::watch().context("cannot wait for signals")?;
    let done = all(asked);
    let left = left_behind();
    for path in &left {
        eprintln!("left behind: {path}");
    }
    done?;
    ensure!(
        left.is_empty(),
        "something was left behind, which is named above"
    );
    say("All of it was as it should be, and nothing is left of it.")
}

fn all(asked: Asked) -> Result<()> {
    let Asked {
        kills,
        joins,
        records,
        minutes,
    } = asked;
    if kills > 0 {
        say(&format!(
            "An agent is killed {} times.",
            grouped(kills as i128)
        ))?;
        let mut told = Clock::new();
        kills::run(kills, |killed| {
            told.tell(|| format!("{} kills", grouped(killed as i128)))
        })
        .context("kills")?;
        told.done("wires = counted = recorded")?;
    }
    if joins > 0 {
        let rounds = joins.div_ceil(churn::EACH_ROUND);
        say(&format!(
            "{} subscribers join, leave or move.",
            grouped((rounds * churn::EACH_ROUND) as i128)
        ))?;
        let mut told = Clock::new();
        churn::run(rounds, |round| {
            let so_far = round * churn::EACH_ROUND;
            told.tell(|| format!("{} joins, leaves and moves", grouped(so_far as i128)))
        })
        .context("joins, leaves and moves")?;
        told.done("each has its own packets, by their size, and nobody's else")?;
    }
    if records > 0 {
        say(&format!(
            "PostgreSQL is away for a day, and misses {} records.",
            grouped(records as i128)
        ))?;
        let mut told = Clock::new();
        let intervals = records.div_ceil(away::HOURS * away::SUBSCRIBERS);
        let brought = away::run(intervals, |hour| {
            told.tell(|| format!("{hour} hours of its day"))
        });
        let brought = brought.context("a server that is away")?;
        told.done(&format!(
            "{} records, each in the tables as in the ledger; neither the agent nor its database grew",
            grouped(i128::from(brought))
        ))?;
    }
    if minutes > 0 {
        say(&format!(
            "{minutes} minutes of everything at once; a line at every rest, and each `=` is to the byte."
        ))?;
        let course = Course {
            period: MINUTE,
            periods: minutes,
        };
        steady::run(course, say).context("the soak")?;
    }
    Ok(())
}

/// Says how far something is, once a minute.
struct Clock {
    begun: Instant,
    next: Instant,
}

impl Clock {
    fn new() -> Self {
        let begun = Instant::now();
        Self {
            begun,
            next: begun + MINUTE,
        }
    }

    fn tell(&mut self, what: impl FnOnce() -> String) -> Result<()> {
        interrupt::check()?;
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next += MINUTE;
        self.done(&what())
    }

    fn done(&self, what: &str) -> Result<()> {
        let seconds = self.begun.elapsed().as_secs();
        say(&format!("{:>3}:{:02}  {what}", seconds / 60, seconds % 60))
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn asked(words: &[String]) -> Result<Asked> {
    let mut asked = Asked {
        kills: 1_000,
        joins: 100_000,
        records: 300_000,
        minutes: 60,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let number = words
            .next()
            .with_context(|| format!("`{word}` needs a number; 0 leaves that part out"))?;
        let context = || format!("`{number}` is not a number");
        match &**word {
            "--kills" => asked.kills = number.parse().with_context(context)?,
            "--joins" => asked.joins = number.parse().with_context(context)?,
            "--records" => asked.records = number.parse().with_context(context)?,
            "--minutes" => asked.minutes = number.parse().with_context(context)?,
            _ => bail!("the soak knows --kills, --joins, --records and --minutes, not `{word}`"),
        }
    }
    Ok(asked)
}

/// Namespaces and pins of this process that are still there.
fn left_behind() -> Vec<String> {
    let own = process::id();
    let mut left = Vec::new();
    for (directory, prefix) in [
        ("/run/netns", format!("zr-{own}-")),
        ("/sys/fs/bpf", format!("zr-test-{own}-")),
    ] {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let of_ours = entries.filter(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with(&prefix)
        });
        left.extend(of_ours.map(|entry| entry.path().display().to_string()));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn all_of_it_unless_it_is_told_otherwise() {
        let asked_by = |line| asked(&words(line)).unwrap();
        let all = Asked {
            kills: 1_000,
            joins: 100_000,
            records: 300_000,
            minutes: 60,
        };
        assert_eq!(asked_by(""), all);
        assert_eq!(
            asked_by("--minutes 5 --kills 0"),
            Asked {
                kills: 0,
                minutes: 5,
                ..all
            }
        );
        for wrong in ["--minutes", "--minutes x", "--hours 1"] {
            assert!(asked(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
