//! What is to become of a subscriber at a later time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A change that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Planned {
    /// Id of the subscriber.
    pub subscriber: String,
    /// What is to become of it.
    #[serde(flatten)]
    pub step: Step,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What can be asked for later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ScheduledStep)]
#[serde(rename_all = "lowercase", tag = "action", content = "plan")]
pub enum Step {
    /// It loses its service.
    Suspend,
    /// It has its service again.
    Resume,
    /// It is put on a plan.
    Plan(String),
    /// It is removed.
    Remove,
}

/// A change and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Scheduled {
    /// Its number on this node.
    pub number: u64,
    /// When it is made.
    pub at: Timestamp,
    /// What it is.
    #[serde(flatten)]
    pub planned: Planned,
}
