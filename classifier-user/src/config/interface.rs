//! `[[interface]]` of the configuration: which side of the gateway it is, and what is attached to it how.

use serde::Deserialize;
use toml::Spanned;

use super::yes;
use crate::diagnostic::Diagnostics;
use crate::policy::Place;

/// An interface that is counted on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Which side of the gateway it is.
    pub role: Role,
    /// How XDP is attached.
    #[serde(default)]
    pub mode: Mode,
    /// Where what subscribers receive is counted.
    #[serde(default)]
    downlink: Option<Spanned<Downlink>>,
    /// How the program on tc egress is attached.
    #[serde(default)]
    tc: Option<Spanned<Tc>>,
    /// What becomes of packets of unknown subscribers.
    #[serde(default)]
    pub unknown: Unknown,
    /// Whether what is to be dropped is dropped.
    #[serde(default = "yes")]
    pub enforce: bool,
}

impl Interface {
    /// Where what subscribers receive is counted.
    #[must_use]
    pub fn downlink(&self) -> Downlink {
        self.downlink
            .as_ref()
            .map_or(Downlink::default(), |value| *value.as_ref())
    }

    /// How the program on tc egress is attached.
    #[must_use]
    pub fn tc(&self) -> Tc {
        self.tc
            .as_ref()
            .map_or(Tc::default(), |value| *value.as_ref())
    }
}

/// Which side of the gateway an interface is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Subscribers are behind it: what arrives is up.
    Access,
    /// The network is behind it: what arrives is down.
    Core,
}

/// How XDP is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the driver.
    #[default]
    Native,
    /// In the stack, behind the driver: slower, and it sees merged packets.
    Generic,
}

/// Where what subscribers receive is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Downlink {
    /// On ingress of the core interfaces.
    #[default]
    Core,
    /// On the access interface's tc egress.
    Egress,
}

/// How the program on tc egress is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tc {
    /// By a tcx link where the kernel has them, else as a clsact filter.
    #[default]
    Auto,
    /// By a tcx link (Linux 6.6).
    Tcx,
    /// As a filter on the clsact qdisc.
    Clsact,
}

/// What becomes of packets of unknown subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// They pass, counted as unattributed.
    #[default]
    Pass,
    /// They are dropped, but for what keeps the link and the gateway alive.
    Drop,
}

impl Downlink {
    const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Egress => "egress",
        }
    }
}

/// Checks what interfaces say of downlink against each other; `place` knows where a byte of the file stands.
pub(super) fn check(
    interfaces: &[Interface],
    out: &mut Diagnostics,
    place: impl Fn(usize) -> Place,
) {
    let access = || {
        interfaces
            .iter()
            .filter(|interface| interface.role == Role::Access)
    };
    let first = access().next();
    for interface in interfaces {
        let name = &interface.name;
        let egress = interface.downlink() == Downlink::Egress
            || first.is_some_and(|first| first.downlink() == Downlink::Egress);
        if let (Role::Core, Some(key), true) = (interface.role, &interface.downlink, egress) {
            out.error(
                place(key.span().start),
                "config",
                format!("interface `{name}`: `downlink` is of access interfaces"),
                "say there where what subscribers receive is counted",
            );
        } else if let (Some(key), Some(first)) = (&interface.tc, first)
            && first.downlink() == Downlink::Core
            && *key.as_ref() != Tc::Auto
        {
            out.error(
                place(key.span().start),
                "config",
                format!("interface `{name}`: `tc` says how, but downlink = \"core\" attaches nothing there"),
                "remove it, or set downlink = \"egress\" on every access interface",
            );
        }
    }
    let Some(first) = first else { return };
    for interface in access().filter(|interface| interface.downlink() != first.downlink()) {
        // One of the two says something: the default cannot differ from itself.
        let said = interface.downlink.as_ref().or(first.downlink.as_ref());
        out.error(
            place(said.map_or(0, |key| key.span().start)),
            "config",
            format!(
                "interface `{}`: downlink = \"{}\", but `{}` has \"{}\"",
                interface.name,
                interface.downlink().name(),
                first.name,
                first.downlink().name()
            ),
            "give all access interfaces the same: a packet is counted once, here or there",
        );
    }
}
