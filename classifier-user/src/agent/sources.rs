//! Where policy and subscribers come from: the configured files, or a kept version that holds in their place; at a start the
//! version that was in force last, where the files are wrong. Reading needs no node, and holds none up.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;

use super::error::NodeError;
use crate::config::Config;
use crate::history::{Chosen, Files, History, kept};
use crate::policy::{self, Checked, Policy};
use crate::subscribers;
use crate::trust::{Seal, Trust};

/// Where policy and subscribers are read from.
#[derive(Debug, Clone)]
pub struct Sources {
    policy: PathBuf,
    subscribers: PathBuf,
    history: PathBuf,
    /// The version in force in place of the files, if there is one.
    chosen: Option<Chosen>,
    /// Whose policies come into force.
    trust: Trust,
    /// What somebody signed of what is in force.
    sealed: Option<Seal>,
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
    /// That somebody who is trusted signed it, if somebody did.
    pub(super) seal: Option<Seal>,
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
    pub(super) fn of(config: &Config, history: &History) -> Self {
        Self {
            policy: config.policy.clone(),
            subscribers: config.subscribers.clone(),
            history: config.history(),
            chosen: history.chosen().cloned(),
            trust: config.trust.clone(),
            sealed: history.sealed().cloned(),
        }
    }

    /// Files that were handed in, as they are kept.
    ///
    /// # Errors
    /// Where they have to be signed, if they are not, or not by somebody who is trusted; as [`Self::verify`].
    pub(super) fn handed_in(
        &self,
        files: Files,
        is_bundle: bool,
        force: bool,
    ) -> Result<Files, NodeError> {
        if is_bundle || self.trust.require_signed {
            self.verify(&files, force)?;
        }
        Ok(self.trust.to_keep(files, &BTreeSet::new()))
    }

    /// Sees that somebody who is trusted signed all of these files, and that they may follow what is in force, unless that is
    /// overruled.
    ///
    /// # Errors
    /// Why not.
    fn verify(&self, files: &Files, force: bool) -> Result<(), NodeError> {
        // Lists of feeds, too: what is handed in is what was signed.
        let seal = self.trust.verify(files, &BTreeSet::new())?;
        if !force {
            seal.follows(self.sealed.as_ref())?;
        }
        Ok(())
    }

    /// Who signed a policy. Where nothing has to be signed, what is not says nothing.
    fn seal(&self, policy: &Policy) -> Result<Option<Seal>, NodeError> {
        if self.trust.keys.is_empty() {
            return Ok(None);
        }
        match self.trust.verify(&Files::of(policy)?, &kept::fed(policy)) {
            Ok(seal) => Ok(Some(seal)),
            Err(error) if self.trust.require_signed => Err(error.into()),
            Err(_) => Ok(None),
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
        let before = kept::load(&self.history, last).map_err(NodeError::from);
        let before = match before.and_then(|before| self.inputs(before, None, self.chosen.clone()))
        {
            Ok(before) => before,
            Err(error) => {
                tracing::error!("what was in force last cannot be compared with: {error}");
                return configured.map(|inputs| (inputs, None));
            }
        };
        let refused = match configured {
            Ok(inputs) => {
                let follows = inputs
                    .seal
                    .as_ref()
                    .map(|seal| seal.follows(self.sealed.as_ref()));
                let found = policy::breaches(before.policy(), inputs.policy(), Timestamp::now());
                let error = match follows {
                    Some(Err(older)) => older.into(),
                    _ if found.is_empty() => return Ok((inputs, None)),
                    _ => NodeError::Guarded(found),
                };
                Refused {
                    version: Some(inputs.policy().version.clone()),
                    error,
                }
            }
            Err(error) => Refused {
                version: None,
                error,
            },
        };
        Ok((before, Some(refused)))
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
                return self.inputs(checked, None, Some(chosen.clone()));
            }
            // Of a version that is kept, somebody may have signed another bundle since.
            if kept::is_kept(&self.history, version) && self.trust.keys.is_empty() {
                break (checked, None);
            }
            match Files::of(&checked.policy) {
                Ok(files) => break (checked, Some(files)),
                Err(_) if tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
        };
        self.inputs(checked, files, None)
    }

    fn read_version(&self, version: &str) -> Result<Inputs, NodeError> {
        let checked = kept::load(&self.history, version)?;
        let files = policy::load(&self.policy).ok();
        let files = files.map(|checked| checked.policy);
        if let Some(policy) = &files {
            // So that they can be gone back to, also if they never were in force.
            let files = self.trust.to_keep(Files::of(policy)?, &kept::fed(policy));
            kept::keep(&self.history, &policy.version, &files)?;
        }
        let files = files.map(|policy| policy.version);
        let chosen = (files.as_deref() != Some(version)).then(|| Chosen {
            version: version.to_owned(),
            files,
            since: Timestamp::now(),
            reason: None,
        });
        self.inputs(checked, None, chosen)
    }

    fn inputs(
        &self,
        checked: Checked,
        files: Option<Files>,
        chosen: Option<Chosen>,
    ) -> Result<Inputs, NodeError> {
        let seal = self.seal(&checked.policy)?;
        Ok(Inputs {
            lines: subscribers::Lines::read(&self.subscribers, &checked.policy),
            checked,
            files,
            chosen,
            seal,
            forced: None,
        })
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
