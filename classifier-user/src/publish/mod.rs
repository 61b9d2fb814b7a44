//! What operators owe their subscribers, from the policy: plans, what packages cover and what happens behind their end, the
//! list of free services with since when and until when, restrictions, and what changed since the last publication.
//!
//! [`Content`] is all of it in names and numbers, the same in every language; [`page`] tells it in one. The file
//! `publication.json` holds what was published, and is what the next publication is compared with.

mod changes;
mod content;
mod files;
mod page;
mod plan;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

pub use changes::{Changed, Deed};
pub use content::{Content, Kind, Names, Package, PlanFacts, Service, Titled};
pub use files::{Previous, PublishError, RECORD, previous, write};
pub(crate) use page::document;
pub use page::page;

use crate::policy::Policy;

/// Layout of `publication.json`: another layout has another number.
pub const FORMAT: u32 = 1;

/// One publication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Publication {
    /// [`FORMAT`].
    pub format: u32,
    /// When it was first published like this.
    pub published: Timestamp,
    /// When something else was published before it, if anything was.
    pub previous: Option<Timestamp>,
    /// Time zone in which the pages have times.
    pub timezone: String,
    /// The policy it was made of.
    pub policy_version: String,
    /// What it says.
    #[serde(flatten)]
    pub content: Content,
    /// In what it differs from the one before.
    pub changes: Vec<Changed>,
}

impl Publication {
    /// What there is to publish of a policy at a time. Where it says what was published last, it is that publication, with
    /// its time and its changes: to publish twice is to publish once.
    #[must_use]
    pub fn of(policy: &Policy, at: Timestamp, zone: &TimeZone, last: Option<&Self>) -> Self {
        let content = Content::of(policy, at, last.map(|last| &last.content));
        let mut publication = Self {
            format: FORMAT,
            published: at,
            previous: None,
            timezone: zone.iana_name().unwrap_or("UTC").to_owned(),
            policy_version: policy.version.clone(),
            content,
            changes: Vec::new(),
        };
        if let Some(last) = last {
            if last.content == publication.content {
                publication.published = last.published;
                publication.previous = last.previous;
                publication.changes.clone_from(&last.changes);
            } else {
                publication.previous = Some(last.published);
                publication.changes = changes::between(&last.content, &publication.content);
            }
        }
        publication
    }
}
