//! `[api]` of the configuration: where the agent listens, who may do what there, and how much of it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use nix::unistd::{Group, User};
use serde::Deserialize;

use super::key::Key;
use super::listen;
use crate::api::access::role::Role;
use crate::diagnostic::Diagnostics;
use crate::policy::Place;

/// Where commands look for the agent.
pub const DEFAULT_SOCKET: &str = "/run/zerorate/api.sock";

/// Where hashes of tokens are looked for.
pub const DEFAULT_TOKENS: &str = "/etc/zerorate/tokens";

/// The API.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Unix socket it listens on.
    pub socket: PathBuf,
    /// Who may do what on the socket; where nobody is named, whoever can open it may do everything.
    #[serde(rename = "peer")]
    pub peers: Vec<Peer>,
    /// Hashes of tokens; no file, no tokens.
    pub tokens: PathBuf,
    /// The address it listens on, too.
    pub tcp: Option<Tcp>,
    /// Who may do what by a certificate.
    #[serde(rename = "client")]
    pub clients: Vec<Client>,
    /// How much of it.
    pub limits: ApiLimits,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            socket: PathBuf::from(DEFAULT_SOCKET),
            peers: Vec::new(),
            tokens: PathBuf::from(DEFAULT_TOKENS),
            tcp: None,
            clients: Vec::new(),
            limits: ApiLimits::default(),
        }
    }
}

/// What somebody may do who opens the socket.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// It runs as this user, by name or number.
    #[serde(default)]
    user: Key<Option<Id>>,
    /// It is in this group, by name or number.
    #[serde(default)]
    group: Key<Option<Id>>,
    /// What it may do.
    pub role: Role,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u32),
    Name(String),
}

/// Who a [`Peer`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A user, by number.
    User(u32),
    /// A group, by number.
    Group(u32),
}

impl Peer {
    /// Who it is; nothing when nobody of this name is known.
    #[must_use]
    pub fn who(&self) -> Option<Who> {
        let user = |name: &str| User::from_name(name).ok()?.map(|user| user.uid.as_raw());
        let group = |name: &str| Group::from_name(name).ok()?.map(|group| group.gid.as_raw());
        match (&self.user.value, &self.group.value) {
            (Some(Id::Number(uid)), _) => Some(Who::User(*uid)),
            (Some(Id::Name(name)), _) => user(name).map(Who::User),
            (None, Some(Id::Number(gid))) => Some(Who::Group(*gid)),
            (None, Some(Id::Name(name))) => group(name).map(Who::Group),
            (None, None) => None,
        }
    }
}

/// An address the API is at, by TLS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcp {
    /// The address and port.
    #[serde(deserialize_with = "listen::address")]
    pub listen: SocketAddr,
    /// Its certificate, and those between it and the authority's, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Authorities of clients' certificates, PEM; none: clients have tokens.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// What somebody may do who has a certificate.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The common name, or an alternative name, of its certificate.
    subject: Key<String>,
    /// What it may do.
    pub role: Role,
}

impl Client {
    /// The common name, or an alternative name, of its certificate.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject.value
    }
}

/// How much is answered.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiLimits {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Requests that are worked on at once.
    pub requests: usize,
    /// Connections.
    pub connections: usize,
    /// Requests of one caller in a second; twice as many at once.
    pub rate: u32,
    /// The same of one subscriber by its own token, and of one address nobody is known at.
    pub self_rate: u32,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            requests: 256,
            connections: 1_024,
            rate: 1_000,
            self_rate: 10,
        }
    }
}

/// What is wrong with it.
pub(super) fn check(api: &Api, start: &Place, out: &mut Diagnostics, at: impl Fn(usize) -> Place) {
    let place = |offset: Option<usize>| offset.map_or_else(|| start.clone(), &at);
    for peer in &api.peers {
        let key = peer.user.at.or(peer.group.at);
        match (&peer.user.value, &peer.group.value) {
            (Some(_), Some(_)) => out.error(
                place(key),
                "config",
                "[[api.peer]] says `user` and `group`",
                "name one of them; a second [[api.peer]] names the other",
            ),
            (None, None) => out.error(
                start.clone(),
                "config",
                "[[api.peer]] says neither `user` nor `group`",
                "name one of them",
            ),
            _ if peer.who().is_none() => out.error(
                place(key),
                "config",
                "[[api.peer]] names somebody who is not known on this machine",
                "`getent passwd` and `getent group` say who is; numbers are taken as they are",
            ),
            _ => {}
        }
    }
    let mut seen = HashSet::new();
    for client in &api.clients {
        let subject = client.subject();
        if subject.is_empty() || !seen.insert((subject, client.role)) {
            out.error(
                place(client.subject.at),
                "config",
                format!("[[api.client]] `{subject}` is empty, or stands here twice"),
                "name the common name, or an alternative name, of a certificate once for each role",
            );
        }
    }
    let takes = api.tcp.as_ref().is_some_and(|tcp| tcp.client_ca.is_some());
    if let Some(client) = api.clients.first()
        && !takes
    {
        out.error(
            place(client.subject.at),
            "config",
            "[[api.client]] without `client_ca` under [api.tcp]: no certificate would be believed",
            "name the authorities of clients' certificates",
        );
    }
    let limits = &api.limits;
    let least = [
        limits.requests,
        limits.connections,
        limits.rate as usize,
        limits.self_rate as usize,
    ];
    if least.contains(&0) || limits.body_bytes < 1_024 {
        out.error(
            start.clone(),
            "config",
            "a limit under [api.limits] leaves no room for any request",
            "`body_bytes` is at least 1024, the others at least 1",
        );
    }
}
