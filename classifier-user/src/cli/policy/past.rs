//! `zerorate policy history`, `show`, `audit`: which versions there were, who put them in force, and the proof.
//!
//! They ask the agent, or read the history's directory or a copy of it (`--history`).

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use hyper::Method;
use jiff::Timestamp;
use serde::Serialize;

use super::super::agent::Socket;
use super::super::records::{self, Line};
use crate::api::client::{ask, escape, lines};
use crate::api::routes::Version;
use crate::history::audit::{self, FILE};
use crate::history::{Action, Files, Outcome, Past, Scheduled, kept, state};
use crate::report::Format;

/// Where the history is.
#[derive(Debug, clap::Args)]
struct Source {
    /// The history's directory, or a copy of it, in place of the running agent
    #[arg(long, value_name = "DIR")]
    history: Option<PathBuf>,
    #[command(flatten)]
    socket: Socket,
}

impl Source {
    /// The audit log as it is.
    fn log(&self) -> Result<String> {
        if let Some(dir) = &self.history {
            let path = dir.join(FILE);
            return fs::read_to_string(&path).with_context(|| path.display().to_string());
        }
        let mut log = String::new();
        let mut found = lines(&self.socket.socket, "/v1/policy/audit")?;
        while let Some(line) = found.wait()? {
            log.push_str(&line);
            log.push('\n');
        }
        Ok(log)
    }

    fn past(&self) -> Result<Past> {
        Past::parse(&self.log()?)
            .map_err(|error| anyhow::anyhow!("the audit log is damaged: {error}"))
    }

    fn scheduled(&self) -> Result<Vec<Scheduled>> {
        match &self.history {
            Some(dir) => Ok(state::scheduled(dir)?),
            None => Ok(ask(
                &self.socket.socket,
                Method::GET,
                "/v1/policy/scheduled",
            )?),
        }
    }

    fn version(&self, given: &str) -> Result<Version> {
        let Some(dir) = &self.history else {
            let path = format!("/v1/policy/versions/{}", escape(given));
            return Ok(ask(&self.socket.socket, Method::GET, &path)?);
        };
        let version = kept::resolve(dir, given)?;
        let files = Files::of(&kept::load(dir, &version)?.policy)?;
        Ok(Version { version, files })
    }
}

/// Lists the versions that were in force, are, were handed in, and are to come.
#[derive(Debug, clap::Args)]
pub(super) struct History {
    #[command(flatten)]
    source: Source,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// A time of a version.
#[derive(Debug, Serialize)]
struct Row {
    version: String,
    /// `in force`, `past`, `staged`, `scheduled`.
    state: &'static str,
    from: Timestamp,
    until: Option<Timestamp>,
    action: Action,
    by: String,
    reason: Option<String>,
    /// Number it can be given up by.
    scheduled: Option<u64>,
}

impl Line for Row {
    const HEADS: &'static [&'static str] =
        &["version", "state", "from", "until", "by", "how", "reason"];
    fn cells(&self) -> Vec<String> {
        let state = match self.scheduled {
            Some(number) => format!("{} ({number})", self.state),
            None => self.state.to_owned(),
        };
        vec![
            self.version.clone(),
            state,
            self.from.to_string(),
            self.until
                .as_ref()
                .map_or_else(String::new, Timestamp::to_string),
            self.by.clone(),
            self.action.as_str().to_owned(),
            self.reason.clone().unwrap_or_default(),
        ]
    }
}

impl History {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let past = self.source.past()?;
        let mut rows: Vec<Row> = past
            .periods()
            .into_iter()
            .map(|period| Row {
                state: if period.until.is_some() {
                    "past"
                } else {
                    "in force"
                },
                version: period.version,
                from: period.from,
                until: period.until,
                action: period.action,
                by: period.by.to_string(),
                reason: period.reason,
                scheduled: None,
            })
            .collect();
        let staged = past.entries.iter().filter(|entry| {
            let was = |row: &Row| entry.version.as_ref() == Some(&row.version);
            entry.action == Action::Stage && entry.result == Outcome::Noted && !rows.iter().any(was)
        });
        let staged: Vec<Row> = staged
            .map(|entry| Row {
                version: entry.version.clone().unwrap_or_default(),
                state: "staged",
                from: entry.time,
                until: None,
                action: entry.action,
                by: entry.by.to_string(),
                reason: entry.reason.clone(),
                scheduled: None,
            })
            .collect();
        rows.extend(staged);
        rows.extend(self.source.scheduled()?.into_iter().map(|scheduled| Row {
            version: scheduled.version,
            state: "scheduled",
            from: scheduled.at,
            until: None,
            action: Action::Schedule,
            by: scheduled.by.to_string(),
            reason: scheduled.reason,
            scheduled: Some(scheduled.number),
        }));
        records::write(&mut io::stdout().lock(), self.format, &rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Shows a kept version: when it was in force, what changed with it, its files.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The version, or its beginning
    version: String,
    /// Write its files into this new directory, to look at, edit or compare
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

impl Show {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let Version { version, files } = self.source.version(&self.version)?;
        if let Some(dir) = &self.to {
            fs::create_dir(dir).with_context(|| format!("a new directory {}", dir.display()))?;
            files.write(dir)?;
            println!("version {version} written to {}", dir.display());
            return Ok(ExitCode::SUCCESS);
        }
        println!("version {version}");
        for (name, bytes) in kept::sizes(&files) {
            println!("  {name}: {bytes} bytes");
        }
        for entry in self.source.past()?.entries {
            if entry.version.as_ref() != Some(&version) || entry.action == Action::Boundary {
                continue;
            }
            let at = entry.at.map_or_else(String::new, |at| format!(" for {at}"));
            let reason = entry
                .reason
                .map_or_else(String::new, |reason| format!(": {reason}"));
            println!(
                "{} {}{at} by {}, {}{reason}",
                entry.time,
                entry.action.as_str(),
                entry.by,
                entry.result.as_str()
            );
            let changes = entry.changes.iter().chain(&entry.error);
            for line in changes.flat_map(|text| text.lines()) {
                println!("  {line}");
            }
            for line in &entry.overruled {
                println!("  in spite of: {line}");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints the audit log: a line of JSON for every activation, refused or not.
#[derive(Debug, clap::Args)]
pub(super) struct Audit {
    /// In place of printing it: see that no line was changed, taken out or put in. Exit code 1 if one was
    #[arg(long)]
    verify: bool,
    /// With --verify: and that a line with this hash is in it, as the agent's log or an earlier run had it
    #[arg(long, value_name = "SHA256", requires = "verify")]
    holds: Option<String>,
    #[command(flatten)]
    source: Source,
}

impl Audit {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let log = self.source.log()?;
        if !self.verify {
            print!("{log}");
            return Ok(ExitCode::SUCCESS);
        }
        let (head, flaw) = audit::verify(log.lines());
        if let Some(flaw) = flaw {
            bail!("the audit log was changed: {flaw}");
        }
        if let Some(hash) = &self.holds
            && !log
                .lines()
                .any(|line| audit::hash(line) == hash.to_ascii_lowercase())
        {
            bail!(
                "no line of the audit log has the hash {hash}: lines were taken off its end, or it is another log"
            );
        }
        println!(
            "{} lines, none changed; the last has the hash {head}",
            log.lines().count()
        );
        Ok(ExitCode::SUCCESS)
    }
}
