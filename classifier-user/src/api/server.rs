//! The answering side of the API: listening, and the node as its tasks share it. [`super::routes`] has all there is to be
//! asked.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{DefaultBodyLimit, FromRef};
use axum::middleware::from_fn_with_state;

use super::access::{Gate, identify};
use super::doors::Doors;
use super::problem::{nothing_here, wrong_method};
use super::routes;
use crate::agent::activation::{Act, blocking};
use crate::agent::at_once::AtOnce;
use crate::agent::error::NodeError;
use crate::agent::events::Feed;
use crate::agent::node::Node;
use crate::agent::reload::Reloaded;
use crate::agent::sources::{Inputs, Want};
use crate::config::Api;
use crate::metrics::Source;

/// The node, as tasks share it.
pub type Shared = Arc<SharedNode>;

/// The node behind its lock, and beside it what cannot wait for that.
#[derive(Debug)]
pub struct SharedNode {
    node: Mutex<Node>,
    at_once: Arc<AtOnce>,
}

impl SharedNode {
    /// A node to be shared.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self {
            at_once: node.at_once(),
            node: Mutex::new(node),
        }
    }

    /// What cannot wait.
    #[must_use]
    pub const fn at_once(&self) -> &Arc<AtOnce> {
        &self.at_once
    }

    /// Works on the node, as soon as nobody else does.
    fn work<T>(&self, work: impl FnOnce(&mut Node) -> T) -> T {
        // A panic while the lock was held has been reported; what the node holds is in the kernel anyway.
        let mut node = self.node.lock().unwrap_or_else(PoisonError::into_inner);
        let _held = Arc::clone(&self.at_once).hold(&node);
        work(&mut node)
    }
}

/// What handlers work with.
#[derive(Debug, Clone)]
pub(super) struct App {
    node: Shared,
    feed: Arc<Feed>,
    /// Where records are read, beside the node.
    ledger: LedgerPath,
    gate: Arc<Gate>,
    metrics: Source,
}

/// Where the ledger is.
#[derive(Debug, Clone)]
pub(super) struct LedgerPath(pub(super) Arc<Path>);

impl FromRef<App> for Shared {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.node)
    }
}

impl FromRef<App> for Arc<Feed> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.feed)
    }
}

impl FromRef<App> for Source {
    fn from_ref(app: &App) -> Self {
        app.metrics.clone()
    }
}

impl FromRef<App> for LedgerPath {
    fn from_ref(app: &App) -> Self {
        app.ledger.clone()
    }
}

impl FromRef<App> for Arc<Gate> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.gate)
    }
}

/// The API, about to answer: who may ask what is known, and the doors are open.
#[derive(Debug)]
pub struct Server {
    doors: Doors,
    gate: Arc<Gate>,
    body_bytes: usize,
}

impl Server {
    /// Opens the doors.
    ///
    /// # Errors
    /// When another agent listens on the socket, an address is taken, or certificates or tokens cannot be used.
    pub async fn open(api: &Api, ledger: &Path) -> anyhow::Result<Self> {
        let doors = Doors::open(api).await?;
        let gate = Gate::open(api, ledger)?;
        Ok(Self {
            doors,
            gate: Arc::new(gate),
            body_bytes: api.limits.body_bytes,
        })
    }

    /// Where it listens, in words.
    #[must_use]
    pub fn places(&self) -> String {
        let socket = self.doors.socket().display().to_string();
        match self.doors.address() {
            Some(address) => format!("{socket} and {address}"),
            None => socket,
        }
    }
}

/// Answers until `shutdown` is done.
pub async fn serve(
    server: Server,
    node: Shared,
    metrics: Source,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let Server {
        doors,
        gate,
        body_bytes,
    } = server;
    let (feed, ledger) = with(Arc::clone(&node), |node| (node.feed(), node.ledger_path())).await;
    let app = App {
        node,
        feed,
        ledger: LedgerPath(ledger),
        gate: Arc::clone(&gate),
        metrics,
    };
    let router = routes::table()
        .router(&gate)
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(body_bytes))
        .layer(from_fn_with_state(gate, identify))
        .with_state(app);
    doors.answer(router, shutdown).await;
}

/// Reads the files, while the node goes on serving.
async fn read(node: &Shared, want: Want) -> Result<Inputs, NodeError> {
    let sources = with(Arc::clone(node), |node| node.sources()).await;
    blocking(move || sources.read(&want)).await
}

/// What a reload would do, without doing it.
///
/// # Errors
/// What is wrong with the files.
pub(super) async fn preview(node: Shared) -> Result<Reloaded, NodeError> {
    let inputs = read(&node, Want::Configured).await;
    with(node, move |node| node.preview(inputs)).await
}

/// Reads a policy and the subscribers, while the node goes on serving, and puts them in force.
///
/// # Errors
/// What is wrong with them, or in the way; nothing has changed then.
pub(crate) async fn load(node: Shared, act: Act, want: Want) -> Result<Reloaded, NodeError> {
    /// One after the other, or what was read first could come into force last. There is one node in a process.
    static RELOADING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = RELOADING.lock().await;
    let inputs = read(&node, want).await;
    with(node, move |node| node.reload(act, inputs)).await
}

/// Works on the node where blocking is allowed.
pub(crate) async fn with<T: Send + 'static>(
    node: Shared,
    work: impl FnOnce(&mut Node) -> T + Send + 'static,
) -> T {
    let handle = tokio::runtime::Handle::current();
    blocking(move || {
        let _context = handle.enter();
        node.work(work)
    })
    .await
}
