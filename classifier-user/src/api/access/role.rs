//! Who may do what.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What somebody may do. Everybody with a role may read.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks, and changes nothing.
    Read,
    /// Changes subscribers and buckets, pulls and acknowledges records, lets subscribers look at what is theirs.
    Billing,
    /// Puts policies in force.
    Policy,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Billing, Self::Policy, Self::Admin];

    /// Whether it may do what another one is for.
    #[must_use]
    pub fn may(self, what: Self) -> bool {
        what == Self::Read || self == what || self == Self::Admin
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Billing => "billing",
            Self::Policy => "policy",
            Self::Admin => "admin",
        }
    }
}

/// For whom a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever can connect: it says nothing of anybody.
    Anyone,
    /// Who has this role, or one that may do what it is for.
    Role(Role),
    /// One subscriber, for what is its own.
    Own,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anyone => "anyone",
            Self::Role(role) => role.as_str(),
            Self::Own => "self",
        })
    }
}
