//! Which policy version is in force, by whose will, and since when: versions are staged, put in force now or at a time,
//! and gone back to. Everything that is tried is written down, refused or not.
//!
//! The configured files and the commands do not fight: a version a command puts in force holds until the files say
//! something else than they did then.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::error;

use super::error::NodeError;
use super::node::Node;
use super::reload::Reloaded;
use super::service::check_reason;
use super::sources::{Inputs, Want};
use crate::api::server::{self, Shared, with};
use crate::history::{Action, By, Entry, Files, History, HistoryError, Outcome, Scheduled, kept};

/// What somebody does, and why.
#[derive(Debug, Clone)]
pub struct Act {
    /// What is done.
    pub action: Action,
    /// By whom.
    pub by: By,
    /// Why.
    pub reason: Option<String>,
    /// Whether the policy's guards are overruled; there is a reason then.
    pub force: bool,
}

impl Act {
    /// The agent does something by itself.
    #[must_use]
    pub fn itself(action: Action, how: &str) -> Self {
        Self {
            action,
            by: By::itself(how),
            reason: None,
            force: false,
        }
    }

    /// Sees that there is a reason where there has to be one, and that it is not too long to be recorded.
    ///
    /// # Errors
    /// When not.
    pub fn check(&self) -> Result<(), NodeError> {
        let blank = |reason: &String| reason.trim().is_empty();
        let none = self.reason.as_ref().is_none_or(blank);
        if none && (self.force || self.action == Action::Rollback) {
            let text = "say why, with --reason TEXT: it is kept in the audit log";
            return Err(NodeError::Invalid(text.to_owned()));
        }
        check_reason(self.reason.as_deref()).map_err(|error| NodeError::Invalid(error.to_string()))
    }

    /// What is to be put in force, with why.
    pub(super) fn choosing(&self, inputs: Inputs) -> Inputs {
        let forced = self.force.then(|| self.reason.clone()).flatten();
        let inputs = inputs.forced(forced);
        match self.action {
            Action::Activate | Action::Rollback => inputs.because(self.reason.clone()),
            _ => inputs,
        }
    }

    /// Whether it is tried again by itself when something is in the way that may pass.
    fn is_tried_again(&self) -> bool {
        self.by.how == CLOCK
    }
}

/// What is done because its time has come.
const CLOCK: &str = "clock";

impl Node {
    /// The history of its policy.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// The version in force.
    #[must_use]
    pub fn version_in_force(&self) -> Option<String> {
        let in_force = self.in_force.as_ref();
        in_force.map(|in_force| in_force.policy.version.clone())
    }

    /// Writes down what became of an attempt to put a version in force, if it is about another version than before, was
    /// asked for, or was refused.
    pub(super) fn audit(
        &mut self,
        act: &Act,
        before: Option<String>,
        about: Option<String>,
        result: &Result<Reloaded, NodeError>,
    ) {
        let asked = matches!(act.action, Action::Activate | Action::Rollback);
        let worth = match result {
            Ok(reloaded) => asked || before.as_ref() != Some(&reloaded.policy_version),
            Err(error) => !(act.is_tried_again() && error.may_pass()),
        };
        if !worth {
            return;
        }
        let mut entry = self.entry(act, before, about);
        match result {
            Ok(reloaded) => {
                entry.result = Outcome::InForce;
                entry.version = Some(reloaded.policy_version.clone());
                entry.changes.clone_from(&reloaded.policy);
                entry.overruled.clone_from(&reloaded.guarded);
            }
            Err(error) => {
                entry.result = Outcome::Refused;
                entry.error = Some(error.to_string());
            }
        }
        self.history.note(entry);
    }

    /// Writes down that time made the version in force another thing.
    pub(super) fn audit_boundary(&mut self, changes: Vec<String>) {
        let version = self.version_in_force();
        let act = Act::itself(Action::Boundary, CLOCK);
        let mut entry = self.entry(&act, version.clone(), version);
        entry.result = Outcome::InForce;
        entry.changes = changes;
        self.history.note(entry);
    }

    fn entry(&self, act: &Act, before: Option<String>, version: Option<String>) -> Entry {
        Entry {
            seq: 0,
            time: Timestamp::now(),
            node: self.config.node.clone(),
            action: act.action,
            result: Outcome::Noted,
            by: act.by.clone(),
            reason: act.reason.clone(),
            before,
            version,
            at: None,
            changes: Vec::new(),
            overruled: Vec::new(),
            error: None,
            previous: String::new(),
        }
    }

    /// The scheduled activation whose time has come.
    fn due(&self) -> Option<Scheduled> {
        let first = self.history.scheduled().first();
        first.filter(|first| first.at <= Timestamp::now()).cloned()
    }

    /// Gives up what was asked for at a later time; `None` if nothing has this number.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn unschedule_policy(
        &mut self,
        act: &Act,
        number: u64,
    ) -> Result<Option<Scheduled>, NodeError> {
        let found = self.history.unschedule(number)?;
        if let Some(found) = &found {
            let mut entry = self.entry(act, self.version_in_force(), Some(found.version.clone()));
            entry.at = Some(found.at);
            self.history.note(entry);
        }
        Ok(found)
    }

    /// Writes down that a version was handed in, or why it was not taken.
    fn audit_stage(&mut self, act: &Act, version: String, result: &Result<Reloaded, NodeError>) {
        let mut entry = self.entry(act, self.version_in_force(), Some(version));
        match result {
            Ok(reloaded) => entry.changes.clone_from(&reloaded.policy),
            Err(error) => {
                entry.result = Outcome::Refused;
                entry.error = Some(error.to_string());
            }
        }
        self.history.note(entry);
    }
}

/// Keeps a policy that was handed in, if it could come into force; says what it would change. Of a bundle somebody who is
/// trusted has to have signed it all.
///
/// # Errors
/// What is wrong with it; it is not kept then.
pub async fn stage(
    node: Shared,
    act: Act,
    files: Files,
    is_bundle: bool,
) -> Result<Reloaded, NodeError> {
    act.check()?;
    files.check().map_err(NodeError::Invalid)?;
    let sources = with(Arc::clone(&node), |node| node.sources()).await;
    let version = files.version();
    let dir = with(Arc::clone(&node), |node| node.history.dir().to_owned()).await;
    let was_kept = kept::is_kept(&dir, &version);
    let inputs = blocking({
        let (dir, version, force) = (dir.clone(), version.clone(), act.force);
        move || {
            let files = sources.handed_in(files, is_bundle, force)?;
            kept::keep(&dir, &version, &files)?;
            sources.read(&Want::Version(version))
        }
    });
    let inputs = inputs.await;
    with(node, move |node| {
        let result = node.preview(inputs);
        if result.is_err() && !was_kept {
            kept::forget(&dir, &version);
        }
        node.audit_stage(&act, version, &result);
        result
    })
    .await
}

/// Puts a kept version in force.
///
/// # Errors
/// What is wrong with it, or in the way; nothing has changed then.
pub async fn activate(node: Shared, act: Act, given: &str) -> Result<Reloaded, NodeError> {
    act.check()?;
    let version = resolve(&node, given).await?;
    server::load(node, act, Want::Version(version)).await
}

/// Puts a kept version in force at a later time.
///
/// # Errors
/// When it could not come into force now, but for guards that are overruled, or the time has passed.
pub async fn schedule(
    node: Shared,
    act: Act,
    given: &str,
    at: Timestamp,
) -> Result<Scheduled, NodeError> {
    act.check()?;
    let version = resolve(&node, given).await?;
    if at <= Timestamp::now() {
        let past = format!("{at} has passed: leave the time out to have it in force at once");
        return Err(NodeError::Invalid(past));
    }
    let sources = with(Arc::clone(&node), |node| node.sources()).await;
    let want = Want::Version(version.clone());
    let inputs = blocking(move || sources.read(&want)).await;
    with(node, move |node| {
        let before = node.version_in_force();
        let mut entry = node.entry(&act, before, Some(version.clone()));
        entry.at = Some(at);
        let scheduled = node.preview(inputs).and_then(|would| {
            if !would.guarded.is_empty() && !act.force {
                return Err(NodeError::Invalid(format!(
                    "the version changes more than it allows:\n  {}\nif this is meant, say so with --force --reason TEXT",
                    would.guarded.join("\n  ")
                )));
            }
            entry.changes = would.policy;
            entry.overruled = would.guarded;
            let scheduled = Scheduled {
                number: 0,
                at,
                version,
                reason: act.reason.clone(),
                force: act.force,
                by: act.by.clone(),
            };
            Ok(node.history.schedule(scheduled)?)
        });
        if let Err(error) = &scheduled {
            entry.result = Outcome::Refused;
            entry.error = Some(error.to_string());
        }
        node.history.note(entry);
        scheduled
    })
    .await
}

/// Puts an earlier version in force again: the one before the present one, where none is named. Guards do not hold
/// somebody up who goes back; what they would have said is written down.
///
/// # Errors
/// When there is none, or something is in the way.
pub async fn roll_back(node: Shared, act: Act, given: Option<&str>) -> Result<Reloaded, NodeError> {
    let act = Act { force: true, ..act };
    act.check()?;
    let version = match given {
        Some(given) => resolve(&node, given).await?,
        None => {
            let found = with(Arc::clone(&node), |node| {
                let now = node.version_in_force().unwrap_or_default();
                node.history.past()?.before(&now)
            });
            found.await?
        }
    };
    server::load(node, act, Want::Version(version)).await
}

/// Puts in force what was asked for this time.
pub(super) async fn keep_time(node: &Shared) {
    while let Some(due) = with(Arc::clone(node), |node| node.due()).await {
        let by = By {
            how: CLOCK.to_owned(),
            ..due.by
        };
        let act = Act {
            action: Action::Activate,
            by,
            reason: due.reason,
            force: due.force,
        };
        let want = Want::Version(due.version);
        let result = server::load(Arc::clone(node), act, want).await;
        // Nothing wrong with what was asked: the next look tries again.
        if result.is_err_and(|error| error.may_pass()) {
            return;
        }
        let forgotten = with(Arc::clone(node), move |node| {
            node.history.unschedule(due.number)
        });
        if let Err(error) = forgotten.await {
            error!("{error}; it is put in force once more, which changes nothing");
            return;
        }
    }
}

async fn resolve(node: &Shared, given: &str) -> Result<String, HistoryError> {
    let given = given.to_owned();
    with(Arc::clone(node), move |node| {
        kept::resolve(node.history.dir(), &given)
    })
    .await
}

/// Works where blocking is allowed.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
