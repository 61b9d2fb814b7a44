//! The policy that is asked: a directory, or a version from the history, by its name or by when it was in force.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use crate::config::Config;
use crate::diagnostic::Diagnostics;
use crate::history::{Past, kept};
use crate::policy::{self, Policy};

/// Where the policy is.
#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// Directory with policy.toml and its lists
    #[arg(conflicts_with_all = ["history", "config"])]
    policy_dir: Option<PathBuf>,
    /// In place of a directory: the history of a gateway's policies, or a copy of it. What was in force at the time that is
    /// asked for answers
    #[arg(long, value_name = "DIR")]
    history: Option<PathBuf>,
    /// The same, where the agent with this configuration keeps its history
    #[arg(long, value_name = "FILE", conflicts_with = "history")]
    config: Option<PathBuf>,
    /// Of the history this version, or the one that begins so, whether or not it was in force
    #[arg(
        long = "version",
        value_name = "VERSION",
        conflicts_with = "policy_dir"
    )]
    kept: Option<String>,
}

/// A policy, and since when and until when it was in force, where that is known.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) policy: Policy,
    pub(super) in_force: Option<(Timestamp, Option<Timestamp>)>,
}

impl Source {
    fn config(&self) -> Result<Option<Config>> {
        let load = |path: &PathBuf| -> Result<Config> { Ok(Config::load(path)?) };
        self.config.as_ref().map(load).transpose()
    }

    /// The directory of the history, if one was named.
    fn history(&self) -> Result<Option<PathBuf>> {
        if self.history.is_some() {
            return Ok(self.history.clone());
        }
        Ok(self.config()?.map(|config| config.history()))
    }

    /// The ledger of the agent whose configuration was named.
    pub(super) fn ledger(&self) -> Result<Option<PathBuf>> {
        Ok(self.config()?.map(|config| config.ledger))
    }

    /// The policy for a time.
    pub(super) fn at(&self, at: Timestamp) -> Result<std::result::Result<Found, Diagnostics>> {
        let Some(history) = self.history()? else {
            let dir = self.policy_dir.clone().context(
                "name a policy directory; or a history, with --history DIR or --config FILE",
            )?;
            return Ok(policy::load(&dir).map(|checked| Found {
                policy: checked.policy,
                in_force: None,
            }));
        };
        if let Some(given) = &self.kept {
            return self.version(given).map(Ok);
        }
        let period = Past::read(&history)?.in_force_at(at)?;
        Ok(Ok(Found {
            policy: kept::load(&history, &period.version)?.policy,
            in_force: Some((period.from, period.until)),
        }))
    }

    /// A version of the history.
    pub(super) fn version(&self, given: &str) -> Result<Found> {
        let Some(history) = self.history()? else {
            bail!("versions are in a history: name it with --history DIR, or --config FILE");
        };
        let version = kept::resolve(&history, given)?;
        Ok(Found {
            policy: kept::load(&history, &version)?.policy,
            in_force: None,
        })
    }
}
