//! What subscribers do in a scenario, where to, and who is to pay for it.

use anyhow::{Result, bail};

use crate::bill::Flow;
use crate::netns::Endpoint;
use crate::numbers::grouped;
use crate::ping::ping;
use crate::town::volume;
use crate::traffic::{Transfer, tcp, udp};

/// Somewhere to go, in both families.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// What it is to people.
    pub(super) what: &'static str,
    /// The service class it is in.
    pub(super) class: &'static str,
    /// One of its addresses.
    pub(super) v4: &'static str,
    /// Another one.
    pub(super) v6: &'static str,
}

/// What is sent, and in which family.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    /// Echo requests of 100 bytes of IP and their replies: whoever answers is there.
    Echo(Family, u16),
    /// Datagrams of so many bytes of IP to the remote.
    Up(Family, usize, u64),
    /// Datagrams of so many bytes of IP from the remote.
    Down(Family, usize, u64),
    /// A connection that moves so many bytes of payload up and down.
    Tcp(Family, u64, u64),
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Who is to pay.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected<'a> {
    /// One account for everything.
    All(&'a str),
    /// Accounts in turn, each for so many packets; of datagrams.
    Split(&'a [(&'a str, usize)]),
}

impl Place {
    /// What it is to people, its class, and its addresses.
    pub(super) const fn new(
        what: &'static str,
        class: &'static str,
        v4: &'static str,
        v6: &'static str,
    ) -> Self {
        Self {
            what,
            class,
            v4,
            v6,
        }
    }

    /// The same, in another class.
    pub(super) const fn now(self, class: &'static str) -> Self {
        Self { class, ..self }
    }
}

impl Deed {
    pub(super) fn family(self) -> Family {
        match self {
            Self::Echo(family, _)
            | Self::Up(family, ..)
            | Self::Down(family, ..)
            | Self::Tcp(family, ..) => family,
        }
    }

    fn header(self) -> u64 {
        match self.family() {
            Family::V4 => 20,
            Family::V6 => 40,
        }
    }

    /// What is to arrive if all of it does: answers, datagrams, or bytes.
    pub(super) fn amount(self) -> u64 {
        match self {
            Self::Echo(_, times) => times.into(),
            Self::Up(_, packets, _) | Self::Down(_, packets, _) => packets as u64,
            Self::Tcp(_, up, down) => up + down,
        }
    }

    pub(super) fn what(self) -> String {
        match self {
            Self::Echo(_, 1) => "1 echo".to_owned(),
            Self::Echo(_, times) => format!("{times} echoes"),
            Self::Up(_, packets, bytes) => format!("UDP up {packets} × {}", grouped(bytes)),
            Self::Down(_, packets, bytes) => format!("UDP down {packets} × {}", grouped(bytes)),
            Self::Tcp(_, 0, _) => "TCP down".to_owned(),
            Self::Tcp(_, _, 0) => "TCP up".to_owned(),
            Self::Tcp(..) => "TCP both ways".to_owned(),
        }
    }

    /// So many of its packets.
    pub(super) fn flow(self, packets: usize) -> Result<Flow> {
        let mut flow = Flow::default();
        match self {
            Self::Up(_, _, bytes) => flow.up = volume(packets, bytes),
            Self::Down(_, _, bytes) => flow.down = volume(packets, bytes),
            Self::Echo(..) | Self::Tcp(..) => bail!("only datagrams are told apart"),
        }
        Ok(flow)
    }

    /// Does it; how much arrived, and the same in words.
    pub(super) fn run(self, near: &Endpoint, far: &Endpoint) -> Result<(u64, String)> {
        let payload = |bytes: u64| usize::try_from(bytes - self.header() - 8);
        Ok(match self {
            Self::Echo(_, times) => {
                let answered = ping(near, far, times, payload(100)?)? as u64;
                let answers = if answered == 1 { "answer" } else { "answers" };
                (answered, format!("{answered} {answers}"))
            }
            Self::Up(_, packets, bytes) => {
                let arrived = udp(near, far, packets, payload(bytes)?)? as u64;
                (arrived, format!("{arrived} datagrams"))
            }
            Self::Down(_, packets, bytes) => {
                let arrived = udp(far, near, packets, payload(bytes)?)? as u64;
                (arrived, format!("{arrived} datagrams"))
            }
            Self::Tcp(_, up, down) => {
                let moved: Transfer = tcp(near, far, up, down)?;
                let arrived = moved.up + moved.down;
                (arrived, format!("{} bytes", grouped(arrived)))
            }
        })
    }
}
