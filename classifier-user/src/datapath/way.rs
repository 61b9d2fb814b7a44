//! Ways a program can be held on an interface, and where each lets it see packets.

use std::io;

use super::sys::XdpMode;

/// Where a program sees packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// As they arrive.
    Ingress,
    /// As the stack takes them in, behind XDP.
    Intake,
    /// As they leave.
    Egress,
}

impl Point {
    /// Whether it is one of tc's.
    #[must_use]
    pub const fn is_tc(self) -> bool {
        matches!(self, Self::Intake | Self::Egress)
    }
}

/// How a program is held on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// An XDP link, in the driver.
    Native,
    /// An XDP link, in the stack.
    Generic,
    /// A tcx link (Linux 6.6).
    Tcx,
    /// A filter on the clsact qdisc.
    Clsact,
}

impl Way {
    /// Its name in `status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    /// Links there can be: how, where, and what the names of their pins end in.
    pub(super) const LINKS: [(Self, Point, &str); 4] = [
        (Self::Native, Point::Ingress, "native"),
        (Self::Generic, Point::Ingress, "generic"),
        (Self::Tcx, Point::Egress, "tcx"),
        (Self::Tcx, Point::Intake, "intake"),
    ];

    /// What the name of its link's pin ends in.
    pub(super) fn suffix(self, point: Point) -> &'static str {
        let link = Self::LINKS
            .into_iter()
            .find(|(way, at, _)| (*way, *at) == (self, point));
        link.map_or(self.name(), |(.., suffix)| suffix)
    }

    /// How its link is made; `None` for what is no link.
    pub(super) const fn xdp(self) -> Option<XdpMode> {
        match self {
            Self::Native => Some(XdpMode::Native),
            Self::Generic => Some(XdpMode::Generic),
            Self::Tcx | Self::Clsact => None,
        }
    }

    /// What is being done, for an error.
    pub(super) const fn doing(self) -> &'static str {
        match self {
            Self::Native | Self::Generic => "attaching XDP",
            Self::Tcx => "attaching to tc by a tcx link",
            Self::Clsact => "attaching to tc by a clsact filter",
        }
    }

    /// What to do about an error.
    pub(super) fn hint(self, error: &io::Error) -> &'static str {
        match (error.raw_os_error(), self) {
            (Some(libc::EBUSY | libc::EEXIST), Self::Native | Self::Generic) => {
                "; another XDP program is attached (see `ip link`): take it off with `ip link set dev NAME xdp \
                 off`, or end the agent whose pins hold it with `zerorate detach`"
            }
            (Some(libc::EOPNOTSUPP | libc::EINVAL), Self::Native) => {
                "; its driver has no native XDP in this set-up: set mode = \"generic\" for it, knowing that \
                 generic XDP is slower and sees packets merged by the driver"
            }
            (Some(libc::ERANGE), _) => "; its MTU is too large for XDP with this driver: lower it",
            (Some(libc::EPERM), _) => {
                "; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
            }
            (Some(libc::EINVAL), Self::Tcx) => {
                "; tcx needs Linux 6.6: leave `tc` out, or set tc = \"clsact\""
            }
            (Some(libc::EEXIST | libc::EINVAL), Self::Clsact) => {
                "; another filter has priority 1 (see `tc filter show dev NAME egress`, or `ingress`): give it another, or end \
                 the agent whose it is with `zerorate detach`"
            }
            _ => "",
        }
    }
}
