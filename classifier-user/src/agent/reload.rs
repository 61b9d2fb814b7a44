//! Policy and subscribers that were read, put in force or only looked at: all of it or nothing.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::activation::Act;
use super::admission;
use super::charging::cycles::Ends;
use super::charging::prices;
use super::error::NodeError;
use super::node::Node;
use super::sources::{Inputs, Sources};
use crate::accounts::Summary;
use crate::history::kept;
use crate::policy::{self, Breach, Changes, Policy};

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
    /// Where policy and subscribers are read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        Sources::of(&self.config, &self.history)
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
        let Inputs {
            checked,
            lines,
            seal,
            ..
        } = inputs?;
        let now = Timestamp::now();
        let listed = lines.finish(&checked.policy, &self.wishes, true, now)?;
        admission::check(&self.accounts, &checked.policy, &listed.subscribers, now)?;
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
        let follows = seal.map(|seal| seal.follows(self.history.sealed()));
        if let Some(Err(older)) = follows {
            reloaded.guarded.push(older.to_string());
        }
        if let Some(before) = &self.in_force {
            let on = listed.by_plan(&checked.policy, now);
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
            seal,
            forced,
        } = inputs;
        // Who could not start could not be told to change its wishes either.
        let strict = self.in_force.is_some();
        let now = Timestamp::now();
        let listed = lines.finish(&checked.policy, &self.wishes, strict, now)?;
        if strict {
            // At a start nobody knows who is new.
            admission::check(&self.accounts, &checked.policy, &listed.subscribers, now)?;
        }
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
        let breaches = self.breaches(&checked.policy, now);
        if !breaches.is_empty() && forced.is_none() {
            return Err(NodeError::Guarded(breaches));
        }
        if let (Some(seal), None) = (&seal, &forced) {
            seal.follows(self.history.sealed())?;
        }
        let changes = match &self.in_force {
            Some(before) => Changes::between(&before.policy, &checked.policy, now),
            None => Changes::default(),
        };
        let policy = Arc::new(checked.policy);
        let policy_version = policy.version.clone();
        let mut change = self.accounts.plan(&policy, &listed.subscribers, now)?;
        change.wishes = self.succeeded(&policy, &change, now);
        // Behind those, so that it is what holds.
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
            let files = self
                .config
                .trust
                .to_keep(files.clone(), &kept::fed(&policy));
            self.history.keep(&policy_version, &files)?;
        }
        let chosen_before = self.history.choose(chosen)?;
        let sealed = seal.or_else(|| self.history.sealed().cloned());
        let sealed_before = self.history.seal(sealed)?;
        let subscribers = if same {
            Summary::default()
        } else {
            let done = self.put_in_force(policy, change, now);
            if done.is_err() {
                self.history.choose(chosen_before)?;
                self.history.seal(sealed_before)?;
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
