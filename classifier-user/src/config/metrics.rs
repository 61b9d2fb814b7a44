//! `[metrics]` of the configuration: where Prometheus finds the metrics beside the API, and of whom they tell.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::Deserialize;

use super::listen;
use crate::diagnostic::Diagnostics;
use crate::policy::Place;

/// Metrics for Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Address and port of a plain HTTP server that has `/metrics` and nothing else.
    #[serde(deserialize_with = "listen::optional")]
    pub listen: Option<SocketAddr>,
    /// Whose usage has series of its own.
    pub subscribers: Subscribers,
}

/// Whose usage has series of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "`subscribers` is true, false, or a list of ids")]
pub enum Subscribers {
    /// Everybody's, or nobody's.
    All(bool),
    /// That of these.
    These(BTreeSet<String>),
}

impl Default for Subscribers {
    fn default() -> Self {
        Self::All(false)
    }
}

impl Subscribers {
    /// Whether anybody is asked for.
    #[must_use]
    pub fn is_any(&self) -> bool {
        match self {
            Self::All(all) => *all,
            Self::These(ids) => !ids.is_empty(),
        }
    }

    /// Whether a subscriber is asked for.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        match self {
            Self::All(all) => *all,
            Self::These(ids) => ids.contains(id),
        }
    }
}

impl Metrics {
    pub(super) fn check(&self, start: &Place, out: &mut Diagnostics) {
        if let Some(listen) = self.listen
            && !listen.ip().is_loopback()
            && self.subscribers.is_any()
        {
            out.error(
                start.clone(),
                "config",
                format!(
                    "[metrics] names subscribers, and listens at {listen}, where anybody may ask who used how much"
                ),
                "listen at a loopback address such as 127.0.0.1:9477, or leave `subscribers` out",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscribers_are_all_none_or_some() {
        let read = |text: &str| toml::from_str::<Metrics>(text).map(|read| read.subscribers);
        assert!(!read("").unwrap().is_any());
        assert!(read("subscribers = true").unwrap().has("alice"));
        let some = read("subscribers = [\"alice\"]").unwrap();
        assert!(some.has("alice") && !some.has("bob"));
        let wrong = read("subscribers = 3").unwrap_err().to_string();
        assert!(wrong.contains("true, false, or a list of ids"), "{wrong}");
    }
}
