//! `zerorate policy stage`, `activate`, `rollback`, `unschedule`: a version's way into force, and back.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use hyper::Method;

use super::super::agent::Socket;
use super::super::bundle;
use super::super::progress::Shown;
use super::tell;
use crate::agent::reload::Reloaded;
use crate::api::client::{ask, escape, tell as send};
use crate::history::{Files, Scheduled};
use crate::policy::{self, Terms};

/// Hands a policy in: it is checked, compared with the one in force, and kept under its version, to be activated.
#[derive(Debug, clap::Args)]
pub(super) struct Stage {
    /// Directory with policy.toml and its lists
    #[arg(required_unless_present = "bundle")]
    policy_dir: Option<PathBuf>,
    /// A signed bundle in place of a directory: the gateway takes it if a key it trusts signed it, and its serial number is not
    /// below the one in force
    #[arg(long, value_name = "FILE", conflicts_with = "policy_dir")]
    bundle: Option<PathBuf>,
    /// Take a bundle although its serial number is below the one in force
    #[arg(long, requires_all = ["bundle", "reason"])]
    force: bool,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    socket: Socket,
}

impl Stage {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let staged = match (&self.policy_dir, &self.bundle) {
            (Some(dir), _) => {
                let shown = Shown::start("checking", true);
                let terms = Terms {
                    progress: shown.progress.clone(),
                    ..Terms::now()
                };
                let checked = match policy::load_on(dir, &terms) {
                    Ok(checked) => checked,
                    Err(diagnostics) => {
                        shown.end();
                        eprintln!("{diagnostics}");
                        return Ok(ExitCode::FAILURE);
                    }
                };
                // The bar stays while the agent checks them once more.
                let staged = Files::of(&checked.policy).map_err(Into::into);
                let staged = staged.and_then(|files| self.send(&files));
                shown.end();
                let staged = staged?;
                // Its warnings name the agent's copy; these name the files that were handed in.
                for warning in &checked.warnings {
                    eprintln!("{warning}");
                }
                Reloaded {
                    warnings: Vec::new(),
                    ..staged
                }
            }
            (None, bundle) => {
                let bundle = bundle
                    .as_deref()
                    .context("name a directory, or --bundle FILE")?;
                let files = bundle::read(bundle)?;
                self.send(&files)
                    .with_context(|| bundle.display().to_string())?
            }
        };
        tell(&staged, "staged; activating it would put in force");
        Ok(ExitCode::SUCCESS)
    }
}

impl Stage {
    fn send(&self, files: &Files) -> anyhow::Result<Reloaded> {
        let query = query([
            ("reason", self.reason.as_deref()),
            ("bundle", self.bundle.is_some().then_some("true")),
            ("force", self.force.then_some("true")),
        ]);
        let path = format!("/v1/policy/stage{query}");
        Ok(send(&self.socket.socket, Method::POST, &path, files)?)
    }
}

/// Puts a version that is kept in force, now or at a time. It holds until the configured files change.
#[derive(Debug, clap::Args)]
pub(super) struct Activate {
    /// The version, or its beginning
    version: String,
    /// Not now: at this time, a date in the gateway's time zone or RFC 3339; also if the agent is started again before
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Although it changes more than its guards (`max_change`, `min_prefixes`) allow
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    socket: Socket,
}

impl Activate {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let query = query([
            ("reason", self.reason.as_deref()),
            ("at", self.at.as_deref()),
            ("force", self.force.then_some("true")),
        ]);
        let path = format!(
            "/v1/policy/versions/{}/activate{query}",
            escape(&self.version)
        );
        if self.at.is_some() {
            let scheduled: Scheduled = ask(&self.socket.socket, Method::POST, &path)?;
            println!(
                "version {} comes into force at {}; to give it up: zerorate policy unschedule {}",
                scheduled.version, scheduled.at, scheduled.number
            );
        } else {
            let reloaded: Reloaded = ask(&self.socket.socket, Method::POST, &path)?;
            tell(&reloaded, "in force");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Puts the version before the present one in force again, or an earlier one. Guards do not hold it up.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// The version, or its beginning [default: the one before the one in force]
    version: Option<String>,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    socket: Socket,
}

impl Rollback {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let query = query([
            ("reason", Some(self.reason.as_str())),
            ("version", self.version.as_deref()),
        ]);
        let path = format!("/v1/policy/rollback{query}");
        let reloaded: Reloaded = ask(&self.socket.socket, Method::POST, &path)?;
        tell(&reloaded, "in force again");
        Ok(ExitCode::SUCCESS)
    }
}

/// Gives up an activation that was asked for at a later time.
#[derive(Debug, clap::Args)]
pub(super) struct Unschedule {
    /// Its number, as `policy history` has it
    number: u64,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    socket: Socket,
}

impl Unschedule {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let query = query([("reason", self.reason.as_deref())]);
        let path = format!("/v1/policy/scheduled/{}{query}", self.number);
        let given_up: Option<Scheduled> = ask(&self.socket.socket, Method::DELETE, &path)?;
        let given_up = given_up.context("the agent does not say what was given up")?;
        println!(
            "version {} does not come into force at {}",
            given_up.version, given_up.at
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// What stands behind the path, of what there is.
fn query<const N: usize>(pairs: [(&str, Option<&str>); N]) -> String {
    let pairs = pairs
        .iter()
        .filter_map(|(name, value)| Some((name, (*value)?)));
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{name}={}", escape(value)))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}
