//! `[[interface]]` of the configuration: which side of the gateway it is, and what is attached to it how.

use serde::Deserialize;

use super::key::Key;
use super::yes;
use crate::diagnostic::Diagnostics;
use crate::policy::Place;

/// An interface that is counted on.
#[derive(Debug, Clone, Deserialize)]
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
    downlink: Key<Downlink>,
    /// How the program on tc egress is attached.
    #[serde(default)]
    tc: Key<Tc>,
    /// What becomes of packets of unknown subscribers.
    #[serde(default)]
    pub unknown: Unknown,
    /// Whether what is to be dropped is dropped.
    #[serde(default = "yes")]
    pub enforce: bool,
    /// What becomes of subscribers' web traffic that is to be dropped.
    #[serde(default)]
    on_block: Key<OnBlock>,
    /// What packets tell the rest of the stack.
    #[serde(default)]
    tag: Key<Tag>,
}

impl Interface {
    /// Where what subscribers receive is counted.
    #[must_use]
    pub const fn downlink(&self) -> Downlink {
        self.downlink.value
    }

    /// How the program on tc egress is attached.
    #[must_use]
    pub const fn tc(&self) -> Tc {
        self.tc.value
    }

    /// What becomes of subscribers' web traffic that is to be dropped.
    #[must_use]
    pub const fn on_block(&self) -> OnBlock {
        self.on_block.value
    }

    /// What packets tell the rest of the stack.
    #[must_use]
    pub const fn tag(&self) -> Tag {
        self.tag.value
    }

    /// Where the file says what packets tell, if it does.
    pub(super) const fn tag_at(&self) -> Option<usize> {
        self.tag.at
    }

    /// Whether packets that arrive may get a mark.
    #[must_use]
    pub fn marks(&self) -> bool {
        self.on_block() == OnBlock::Mark || self.tag() == Tag::Mark
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

/// What becomes of subscribers' web traffic that is to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBlock {
    /// It is dropped.
    #[default]
    Drop,
    /// It passes with a mark, for rules that send it to a portal.
    Mark,
}

/// What packets tell the rest of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tag {
    /// Nothing.
    #[default]
    None,
    /// Class and payer, in the mark.
    Mark,
    /// The class, in the DSCP.
    Dscp,
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
        if let (Role::Core, Some(at), true) = (interface.role, interface.downlink.at, egress) {
            out.error(
                place(at),
                "config",
                format!("interface `{name}`: `downlink` is of access interfaces"),
                "say there where what subscribers receive is counted",
            );
        }
        let hooked = interface.role == Role::Access || !egress;
        let on_tc = interface.role == Role::Access && egress || hooked && interface.marks();
        if let (Some(at), false) = (interface.tc.at, on_tc)
            && interface.tc() != Tc::Auto
        {
            out.error(
                place(at),
                "config",
                format!(
                    "interface `{name}`: `tc` says how, but downlink = \"{}\" attaches nothing there",
                    if egress { "egress" } else { "core" }
                ),
                "remove it, or set downlink = \"egress\" on every access interface; or tag = \"mark\" or on_block = \
                 \"mark\", wherever packets are counted as they arrive",
            );
        }
        for (key, at, is_default) in [
            (
                "on_block",
                interface.on_block.at,
                interface.on_block() == OnBlock::Drop,
            ),
            ("tag", interface.tag.at, interface.tag() == Tag::None),
        ] {
            if let (Some(at), false, false) = (at, hooked, is_default) {
                out.error(
                    place(at),
                    "config",
                    format!("interface `{name}`: `{key}` does nothing where nothing is counted"),
                    "with downlink = \"egress\" nothing is attached to core interfaces: say it on access interfaces",
                );
            }
        }
    }
    let Some(first) = first else { return };
    for interface in access().filter(|interface| interface.downlink() != first.downlink()) {
        // One of the two says something: the default cannot differ from itself.
        let said = interface.downlink.at.or(first.downlink.at);
        out.error(
            place(said.unwrap_or(0)),
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
