//! Policy and subscribers, read again and put in force, or only looked at: all of it or nothing.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::activation::Act;
use super::charging::cycles::Ends;
use super::charging::prices;
use super::error::NodeError;
use super::feeds::FeedStatus;
use super::node::Node;
use crate::accounts::Summary;
use crate::config::Config;
use crate::history::{Chosen, Files, kept};
use crate::policy::{self, Breach, Changes, Checked, Policy};
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
    checked: Checked,
    lines: subscribers::Lines,
    /// The files, where the version is not kept yet.
    files: Option<Files>,
    /// What is to hold in place of the files once this is in force.
    chosen: Option<Chosen>,
    forced: Option<String>,
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

/// What a reload did.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reloaded {
    /// Version of the policy now in force.
    pub policy_version: String,
    /// Whether anything is different from before.
    pub changed: bool,
    /// What changed in the policy, a line each.
    pub policy: Vec<String>,
    /// What changed among subscribers.
    pub subscribers: Summary,
    /// Warnings, as `check` prints them.
    pub warnings: Vec<String>,
    /// What goes beyond the policy's guards: overruled where it was forced, the reason for a refusal where it was only
    /// asked.
    #[serde(default)]
    pub guarded: Vec<String>,
    /// Why it was forced, if it was.
    #[serde(default)]
    pub forced: Option<String>,
}

impl Node {
    /// The policy's directory.
    #[must_use]
    pub fn policy_dir(&self) -> PathBuf {
        self.config.policy.clone()
    }

    /// Notes how feeds do.
    pub(super) fn tell_feeds(&mut self, feeds: Vec<FeedStatus>) {
        self.feeds = feeds;
    }

    /// Where policy and subscribers are read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        Sources::of(&self.config, self.history.chosen())
    }

    /// Puts policy and subscribers that were read again in force if they are good and not what is in force.
    ///
    /// # Errors
    /// What is wrong with them, or in the way; nothing has changed then.
    pub fn reload(
        &mut self,
        act: Act,
        inputs: Result<Inputs, NodeError>,
    ) -> Result<Reloaded, NodeError> {
        let about = inputs
            .as_ref()
            .ok()
            .map(|inputs| inputs.policy().version.clone());
        let before = self.version_in_force();
        let result = inputs.and_then(|inputs| self.load(act.choosing(inputs)));
        self.audit(&act, before, about, &result);
        match &result {
            Ok(reloaded) => {
                self.refused = None;
                log_reload(reloaded);
            }
            Err(error) => {
                self.refused = Some(error.to_string());
                tracing::error!("reload refused, what was in force stays in force:\n{error}");
            }
        }
        result
    }

    /// What a reload would do, without doing it.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn preview(&self, inputs: Result<Inputs, NodeError>) -> Result<Reloaded, NodeError> {
        let Inputs { checked, lines, .. } = inputs?;
        let listed = lines.finish(&checked.policy, &self.wishes, true)?;
        let now = Timestamp::now();
        let change = self
            .accounts
            .plan(&checked.policy, &listed.subscribers, now)?;
        let warnings = checked.warnings.iter().chain(&listed.warnings);
        let mut reloaded = Reloaded {
            policy_version: checked.policy.version.clone(),
            changed: !change.is_empty(),
            policy: Vec::new(),
            subscribers: change.summary,
            warnings: warnings.map(ToString::to_string).collect(),
            guarded: self
                .breaches(&checked.policy, now)
                .iter()
                .map(ToString::to_string)
                .collect(),
            forced: None,
        };
        if let Some(before) = &self.in_force {
            let on = listed.by_plan(&checked.policy);
            let changes = Changes::between(&before.policy, &checked.policy, now).to_string();
            let effects = policy::effects(&before.policy, &checked.policy, Some(&on));
            let effects = effects.iter().map(ToString::to_string);
            let lines = changes.lines().map(str::to_owned);
            reloaded.policy = lines.chain(effects).collect();
            reloaded.changed |= before.policy.version != checked.policy.version;
        }
        Ok(reloaded)
    }

    /// In what a policy goes beyond its guards, compared with the one in force.
    fn breaches(&self, new: &Policy, now: Timestamp) -> Vec<Breach> {
        match &self.in_force {
            Some(before) if before.policy.version != new.version => {
                policy::breaches(&before.policy, new, now)
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn load(&mut self, inputs: Inputs) -> Result<Reloaded, NodeError> {
        let Inputs {
            checked,
            lines,
            files,
            chosen,
            forced,
        } = inputs;
        // Who could not start could not be told to change its wishes either.
        let strict = self.in_force.is_some();
        let listed = lines.finish(&checked.policy, &self.wishes, strict)?;
        let limit = self.config.limits.subscribers;
        if limit != 0 && listed.subscribers.len() > limit {
            return Err(NodeError::TooMany {
                found: listed.subscribers.len(),
                limit,
            });
        }
        let warnings = checked.warnings.iter().chain(&listed.warnings);
        let mut warnings: Vec<String> = warnings.map(ToString::to_string).collect();
        warnings.extend(listed.overtaken.iter().map(|id| {
            format!(
                "subscriber {id:?}: its line in the subscribers' file changed and holds; what was asked by command \
                 before is forgotten"
            )
        }));
        warnings.extend(chosen.iter().filter_map(|chosen| {
            let files = chosen.files.as_ref()?;
            let holds = self.version_in_force().as_ref() == Some(&chosen.version);
            holds.then(|| {
                format!(
                    "version {}, which was activated by command, holds until the configured files change; to have them in \
                     force as they are: zerorate policy activate {files}",
                    chosen.version
                )
            })
        }));
        warnings.extend(self.config.tags.without_class(&checked.policy));
        let now = Timestamp::now();
        let breaches = self.breaches(&checked.policy, now);
        if !breaches.is_empty() && forced.is_none() {
            return Err(NodeError::Guarded(breaches));
        }
        let changes = match &self.in_force {
            Some(before) => Changes::between(&before.policy, &checked.policy, now),
            None => Changes::default(),
        };
        let policy = Arc::new(checked.policy);
        let policy_version = policy.version.clone();
        let mut change = self.accounts.plan(&policy, &listed.subscribers, now)?;
        let overtaken = listed.overtaken.iter();
        change
            .wishes
            .extend(overtaken.map(|id| (Arc::clone(id), None)));
        // Not needed any more, and large.
        drop(listed);
        let same = self.in_force.as_ref().is_some_and(|before| {
            before.policy.version == policy.version && change.is_empty() && !self.unpublished
        });
        let before = self
            .in_force
            .as_ref()
            .map(|before| Arc::clone(&before.policy));
        let other_prices = before
            .as_ref()
            .is_none_or(|before| prices::differ(before, &policy));
        // Who comes back may find another price, and so may who has another plan.
        let others = change.summary.replanned + change.summary.added > 0;
        let other_version = before.is_none_or(|before| before.version != policy.version);
        // Before it is in force: what cannot be kept could not be proved later.
        if let Some(files) = &files {
            self.history.keep(&policy_version, files)?;
        }
        let chosen_before = self.history.choose(chosen)?;
        let subscribers = if same {
            Summary::default()
        } else {
            let done = self.put_in_force(policy, change, now);
            if done.is_err() {
                self.history.choose(chosen_before)?;
            }
            done?
        };
        if other_prices || others {
            self.keep_money(None);
        }
        if other_version {
            // Plans may have cycles again that had none.
            self.ends = Ends::of(&self.accounts);
        }
        let policy = changes.to_string().lines().map(str::to_owned).collect();
        Ok(Reloaded {
            policy_version,
            changed: !same,
            policy,
            subscribers,
            warnings,
            guarded: breaches.iter().map(ToString::to_string).collect(),
            forced,
        })
    }
}

pub(super) fn log_reload(reloaded: &Reloaded) {
    for warning in &reloaded.warnings {
        warn!("{warning}");
    }
    if let Some(reason) = reloaded
        .forced
        .as_ref()
        .filter(|_| !reloaded.guarded.is_empty())
    {
        warn!(reason, "reload forced");
        for line in &reloaded.guarded {
            warn!("reload forced in spite of: {line}");
        }
    }
    if !reloaded.changed {
        info!(version = reloaded.policy_version, "nothing changed");
        return;
    }
    let Summary {
        added,
        removed,
        readdressed,
        replanned,
        state_changed,
    } = reloaded.subscribers;
    info!(
        version = reloaded.policy_version,
        added, removed, readdressed, replanned, state_changed, "policy and subscribers in force"
    );
    for line in &reloaded.policy {
        info!("policy: {line}");
    }
}
