//! `zerorate doctor`: is this machine, as it is configured, fit to count, and what would make it fitter? Every question has
//! an answer of its own, and what cannot be asked is said.
//!
//! | file | looks at |
//! |---|---|
//! | `machine` | kernel, privileges, BPF file system, compiler of programs, memory, clock |
//! | `interfaces` | drivers, queues, offloads, forwarding, address translation |
//! | `files` | policy, subscribers, ledger and its disk |
//! | `running` | the agent, if one answers |

mod files;
mod interfaces;
mod machine;
mod running;

use std::path::Path;

use serde::Serialize;

use crate::config::Config;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Could not be asked, or is good to know.
    Note,
    /// Counting works, and could be better or safer.
    Warning,
    /// Counting does not work, or not as configured.
    Error,
}

impl Level {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub about: String,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    fn new(level: Level, about: &str, found: impl Into<String>) -> Self {
        Self {
            level,
            about: about.to_owned(),
            found: found.into(),
            advice: None,
        }
    }

    fn ok(about: &str, found: impl Into<String>) -> Self {
        Self::new(Level::Ok, about, found)
    }

    fn note(about: &str, found: impl Into<String>) -> Self {
        Self::new(Level::Note, about, found)
    }

    fn warning(about: &str, found: impl Into<String>) -> Self {
        Self::new(Level::Warning, about, found)
    }

    fn error(about: &str, found: impl Into<String>) -> Self {
        Self::new(Level::Error, about, found)
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Looks at everything; at the machine alone where its configuration cannot be read.
#[must_use]
pub fn examine(config: &Path) -> Vec<Finding> {
    let read = Config::load(config);
    let pin_dir = match &read {
        Ok(config) => config.pin_dir.clone(),
        Err(_) => crate::config::default_pin_dir(),
    };
    let mut found = machine::examine(&pin_dir);
    match read {
        Ok(read) => {
            found.push(Finding::ok("configuration", config.display().to_string()));
            found.extend(interfaces::examine(&read));
            found.extend(files::examine(&read));
            found.extend(running::examine(&read));
        }
        Err(diagnostics) => {
            // Says what to do itself.
            found.push(Finding::error("configuration", diagnostics.to_string()));
            found.push(Finding::note(
                "all else",
                "depends on the configuration, and was not looked at",
            ));
        }
    }
    found
}
