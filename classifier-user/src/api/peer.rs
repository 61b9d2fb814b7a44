//! Who asks: the process at the other end of the socket, as the kernel knows it.

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use nix::unistd::{Uid, User};
use tokio::net::UnixListener;

use crate::history::By;

/// The process at the other end; what the kernel does not say is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    uid: Option<u32>,
    pid: Option<i32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let peer = stream.io().peer_cred().ok();
        Self {
            uid: peer.map(|peer| peer.uid()),
            pid: peer.and_then(|peer| peer.pid()),
        }
    }
}

impl From<Peer> for By {
    fn from(peer: Peer) -> Self {
        let user = |uid| User::from_uid(Uid::from_raw(uid)).ok().flatten();
        By {
            how: "api".to_owned(),
            uid: peer.uid,
            user: peer.uid.and_then(user).map(|user| user.name),
            pid: peer.pid,
        }
    }
}
