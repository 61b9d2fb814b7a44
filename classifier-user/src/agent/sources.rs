//! Where policy and subscribers come from: the configured files, or a kept version that holds in their place; at a start the
//! version that was in force last, where the files are wrong. Reading needs no node, and holds none up.

use std::path::PathBuf;

use jiff::Timestamp;

use super::error::NodeError;
use crate::config::Config;
use crate::history::{Chosen, Files, kept};
use crate::policy::{self, Checked, Policy};
use crate::subscribers;

/// Where policy and subscribers are read from.
#[derive(Debug, Clone)]
pub struct Sources {
    policy: PathBuf,
    subscribers: PathBuf,
    history: PathBuf,
    /// The version in force in place of the files, if there is one.
    chosen: Option<Chosen>,
}

/// Which policy is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// What is configured: the files, or the version that was chosen, for as long as the files are what they were then.
    Configured,
    /// A kept version.
    Version(String),
}

/// Policy and subscribers as they were read.
#[derive(Debug)]
pub struct Inputs {
    pub(super) checked: Checked,
    pub(super) lines: subscribers::Lines,
    /// The files, where the version is not kept yet.
    pub(super) files: Option<Files>,
    /// What is to hold in place of the files once this is in force.
    pub(super) chosen: Option<Chosen>,
    pub(super) forced: Option<String>,
}

impl Inputs {
    /// The same, to be put in force whatever the policy's guards say, for a reason.
    #[must_use]
    pub fn forced(mut self, reason: Option<String>) -> Self {
        self.forced = reason;
        self
    }

    /// The same, with why a version is to hold in place of the files.
    #[must_use]
    pub fn because(mut self, reason: Option<String>) -> Self {
        if let Some(chosen) = &mut self.chosen {
            chosen.reason = reason;
        }
        self
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.checked.policy
    }
}

impl Sources {
    pub(super) fn of(config: &Config, chosen: Option<&Chosen>) -> Self {
        Self {
            policy: config.policy.clone(),
            subscribers: config.subscribers.clone(),
            history: config.history(),
            chosen: chosen.cloned(),
        }
    }

    /// Reads them. It needs no node, and holds none up.
    ///
    /// # Errors
    /// What is wrong with the policy.
    pub fn read(&self, want: &Want) -> Result<Inputs, NodeError> {
        match want {
            Want::Configured => self.read_configured(),
            Want::Version(version) => self.read_version(version),
        }
    }

    /// Reads what is to be in force when an agent starts. Where the files are wrong, or go beyond the policy's guards,
    /// and the version that was in force last is kept, it is that one, with what is wrong: a gateway that starts again does
    /// not put in force what it refused before, nor stay without a policy.
    ///
    /// # Errors
    /// What is wrong with the policy, where there is no other.
    pub(super) fn read_at_start(
        &self,
        last: Option<&str>,
    ) -> Result<(Inputs, Option<Refused>), NodeError> {
        let configured = self.read_configured();
        let Some(last) = last.filter(|last| kept::is_kept(&self.history, last)) else {
            return configured.map(|inputs| (inputs, None));
        };
        if let Ok(inputs) = &configured
            && (inputs.policy().version == last || inputs.chosen.is_some())
        {
            return configured.map(|inputs| (inputs, None));
        }
        let before = match kept::load(&self.history, last) {
            Ok(before) => before,
            Err(error) => {
                tracing::error!("what was in force last cannot be compared with: {error}");
                return configured.map(|inputs| (inputs, None));
            }
        };
        let refused = match configured {
            Ok(inputs) => {
                let found = policy::breaches(&before.policy, inputs.policy(), Timestamp::now());
                if found.is_empty() {
                    return Ok((inputs, None));
                }
                Refused {
                    version: Some(inputs.policy().version.clone()),
                    error: NodeError::Guarded(found),
                }
            }
            Err(error) => Refused {
                version: None,
                error,
            },
        };
        Ok((
            self.inputs(before, None, self.chosen.clone()),
            Some(refused),
        ))
    }

    fn read_configured(&self) -> Result<Inputs, NodeError> {
        // Whoever saves files while they are read is met again a moment later.
        const TRIES: u32 = 5;
        let mut tries = 0;
        let (checked, files) = loop {
            let checked = policy::load(&self.policy)?;
            let version = &checked.policy.version;
            let chosen = self.chosen.as_ref();
            if let Some(chosen) = chosen.filter(|chosen| chosen.files.as_ref() == Some(version)) {
                let checked = kept::load(&self.history, &chosen.version)?;
                return Ok(self.inputs(checked, None, Some(chosen.clone())));
            }
            if kept::is_kept(&self.history, version) {
                break (checked, None);
            }
            match Files::of(&checked.policy) {
                Ok(files) => break (checked, Some(files)),
                Err(_) if tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
        };
        Ok(self.inputs(checked, files, None))
    }

    fn read_version(&self, version: &str) -> Result<Inputs, NodeError> {
        let checked = kept::load(&self.history, version)?;
        let files = policy::load(&self.policy).ok();
        let files = files.map(|checked| checked.policy);
        if let Some(policy) = &files {
            // So that they can be gone back to, also if they never were in force.
            kept::keep(&self.history, &policy.version, &Files::of(policy)?)?;
        }
        let files = files.map(|policy| policy.version);
        let chosen = (files.as_deref() != Some(version)).then(|| Chosen {
            version: version.to_owned(),
            files,
            since: Timestamp::now(),
            reason: None,
        });
        Ok(self.inputs(checked, None, chosen))
    }

    fn inputs(&self, checked: Checked, files: Option<Files>, chosen: Option<Chosen>) -> Inputs {
        Inputs {
            lines: subscribers::Lines::read(&self.subscribers, &checked.policy),
            checked,
            files,
            chosen,
            forced: None,
        }
    }
}

/// What is configured, and is not put in force at a start.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its version, if it is a policy.
    pub(super) version: Option<String>,
    /// Why.
    pub(super) error: NodeError,
}
