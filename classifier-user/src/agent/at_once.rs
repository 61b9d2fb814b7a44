//! Suspension and resumption, which cannot wait: who has paid has the service back at once.
//!
//! The node is one lock's. Whoever holds it for a second or two (a million subscribers on another plan, a report over
//! them) holds up what is asked meanwhile; but who is suspended is one bit of a word in the image packets are judged by,
//! and that needs no node. So whoever takes the lock says first what this is about (`AtOnce::hold`): who has which
//! addresses, and which image is in force. A request flips the bit there and then waits for its turn, in which it is
//! written down as any other change; only then it is answered. What the ledger says holds: should it refuse, the bit goes
//! back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::node::Node;
use super::service::{ServiceError, Wanted};
use super::subscribers::SubscriberView;
use crate::accounts::Directory;
use crate::api::server::{Shared, with};
use crate::datapath::live_image::LiveImage;
use crate::subscribers::State;

/// An image that is or is about to be in force, and who has which addresses in it.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    pub(super) subscribers: Directory,
    pub(super) image: Arc<LiveImage>,
}

impl Sight {
    /// Has a subscriber suspended, or not, as far as it is counted in this image as it is here.
    fn suspend(&self, id: &str, suspended: bool) {
        let account = self.subscribers.get(id);
        if let Some(session) = account.and_then(|account| account.session.as_ref()) {
            let (nets, line) = (&session.addresses, session.row.line);
            // Where there is no room for it, it waits for its turn.
            let _ = self.image.suspend(nets, line, suspended);
        }
    }
}

/// What was asked for and had no turn yet.
#[derive(Debug, Default)]
pub struct AtOnce(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    next: u64,
    waiting: Vec<Request>,
    /// What packets are judged by while somebody holds the node: one image, or two while one replaces the other.
    sights: Vec<Sight>,
}

#[derive(Debug)]
struct Request {
    number: u64,
    id: String,
    suspended: bool,
    /// Whether packets know of it.
    seen: bool,
}

impl Request {
    fn show(&mut self, sights: &[Sight]) {
        for sight in sights {
            sight.suspend(&self.id, self.suspended);
            self.seen = true;
        }
    }
}

impl AtOnce {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Suspends a subscriber or resumes it, if somebody holds the node or will before the request has its turn.
    fn ask(self: &Arc<Self>, id: &str, suspended: bool) -> Waiting {
        let Asked {
            next,
            waiting,
            sights,
        } = &mut *self.asked();
        let number = *next;
        *next += 1;
        let mut request = Request {
            number,
            id: id.to_owned(),
            suspended,
            seen: false,
        };
        request.show(sights);
        waiting.push(request);
        Waiting {
            number,
            among: Arc::clone(self),
        }
    }

    /// Says what packets are judged by, while the node is held.
    pub(crate) fn hold(self: Arc<Self>, node: &Node) -> Held {
        let sights: Vec<Sight> = node.sight().into_iter().collect();
        let mut asked = self.asked();
        let unseen = asked.waiting.iter_mut().filter(|request| !request.seen);
        unseen.for_each(|request| request.show(&sights));
        asked.sights = sights;
        drop(asked);
        Held(self)
    }

    /// Says it again after the node changed what it is.
    pub(super) fn sees(&self, sights: Vec<Sight>) {
        let mut asked = self.asked();
        let waiting = asked.waiting.iter_mut();
        waiting.for_each(|request| request.show(&sights));
        asked.sights = sights;
    }

    /// Adds the image that is about to be published.
    pub(super) fn also_sees(&self, sight: Sight) {
        let mut sights = self.asked().sights.clone();
        sights.push(sight);
        self.sees(sights);
    }
}

/// While it is there, the node is held.
pub(crate) struct Held(Arc<AtOnce>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.asked().sights.clear();
    }
}

/// A request that waits for its turn.
struct Waiting {
    number: u64,
    among: Arc<AtOnce>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waiting = &mut self.among.asked().waiting;
        waiting.retain(|request| request.number != self.number);
    }
}

/// Changes a subscriber; where this is only about whether it has its service, that changes before the node has time for
/// the rest.
///
/// # Errors
/// See [`Node::set_subscriber`].
pub async fn set_subscriber(
    node: Shared,
    id: String,
    wanted: Wanted,
) -> Result<SubscriberView, ServiceError> {
    let Wanted {
        plan: None,
        state: Some(state),
        addresses: None,
        ..
    } = wanted
    else {
        return with(node, move |node| node.set_subscriber(&id, wanted)).await;
    };
    let waiting = node.at_once().ask(&id, state == State::Suspended);
    with(node, move |node| {
        let result = node.set_subscriber(&id, wanted);
        drop(waiting);
        node.straighten(&id);
        result
    })
    .await
}

impl Node {
    /// What packets are judged by now.
    pub(super) fn sight(&self) -> Option<Sight> {
        Some(Sight {
            subscribers: self.accounts.subscribers.clone(),
            image: Arc::clone(self.live.as_ref()?),
        })
    }

    /// Sees that a subscriber is suspended in the image in force if it is in the ledger.
    fn straighten(&self, id: &str) {
        let account = self.accounts.subscribers.get(id);
        let session = account.and_then(|account| account.session.as_ref());
        if let (Some(session), Some(sight)) = (session, self.sight()) {
            sight.suspend(id, session.suspended);
        }
    }
}
