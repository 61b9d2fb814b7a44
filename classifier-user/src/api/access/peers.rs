//! Processes on this machine, by the user they run as, which the kernel says.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist};

use super::role::Role;
use crate::config::{Peer, Who};

/// What processes may do.
#[derive(Debug)]
pub(super) struct Peers {
    rules: Vec<(Who, Role)>,
    /// Somebody was named; else whoever can open the socket may do everything.
    named: bool,
    /// User the agent runs as.
    own: u32,
    /// What was found out a moment ago: the user database may be far away.
    found: Mutex<HashMap<(u32, u32), (Instant, Known)>>,
}

/// The name of a user, and its roles.
type Known = (String, Vec<Role>);

/// How long that is good.
const MOMENT: Duration = Duration::from_secs(10);

impl Peers {
    pub(super) fn of(peers: &[Peer]) -> Self {
        // Nobody is left out: a name that is not known is refused with the configuration.
        let rules = peers
            .iter()
            .filter_map(|peer| Some((peer.who()?, peer.role)));
        Self {
            rules: rules.collect(),
            named: !peers.is_empty(),
            own: geteuid().as_raw(),
            found: Mutex::default(),
        }
    }

    /// The name of a user, and the roles it has by itself or by its groups: those of the process, and of the user.
    pub(super) fn roles(&self, uid: u32, gid: u32) -> Known {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.retain(|_, (at, _)| at.elapsed() < MOMENT);
        let known = found
            .entry((uid, gid))
            .or_insert_with(|| (Instant::now(), self.find(uid, gid)));
        known.1.clone()
    }

    fn find(&self, uid: u32, gid: u32) -> Known {
        let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name = match &known {
            Some(user) => format!("user `{}`", user.name),
            None => format!("user {uid}"),
        };
        if !self.named || uid == 0 || uid == self.own {
            return (name, vec![Role::Admin]);
        }
        let mut groups = vec![gid];
        let by_groups = self
            .rules
            .iter()
            .any(|(who, _)| matches!(who, Who::Group(_)));
        if by_groups
            && let Some(user) = known
            && let Ok(login) = CString::new(user.name)
            && let Ok(all) = getgrouplist(&login, Gid::from_raw(gid))
        {
            groups.extend(all.into_iter().map(Gid::as_raw));
        }
        let is = |who: &Who| match who {
            Who::User(user) => *user == uid,
            Who::Group(group) => groups.contains(group),
        };
        let roles = self.rules.iter().filter(|(who, _)| is(who));
        (name, roles.map(|(_, role)| *role).collect())
    }
}
