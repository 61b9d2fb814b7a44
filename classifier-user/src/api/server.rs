//! The answering side of the API.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`crate::agent::views::Status`] |
//! | `GET /v1/usage` | [`crate::report::Report`] |
//! | `GET /v1/subscribers` | list of [`crate::agent::views::SubscriberView`] |
//! | `POST /v1/subscribers` | adds the one a [`NewSubscriber`] says; 409 when it is there |
//! | `GET /v1/subscribers/{id}` | one of them, or 404 |
//! | `PATCH /v1/subscribers/{id}` | changes what a [`Wanted`] says: plan, state, addresses |
//! | `DELETE /v1/subscribers/{id}?reason=TEXT` | removes it; the answer says what was left in its buckets |
//! | `POST /v1/subscribers/{id}/buckets/{bucket}/{action}` | follows a [`NewOrder`]: `grant`, `debit`, `return`, `set` or `restart`; 409 when its id was used for another one |
//! | `GET /v1/records?after=SEQ&subscriber=ID&limit=N` | [`crate::ledger::records::Record`]s behind a number, oldest first; at most 10,000 |
//! | `GET /v1/events?after=SEQ&subscriber=ID&follow=true` | [`super::stream::Line`]s, one a line: events that are kept, and those that come |
//! | `POST /v1/policy/reload` | [`crate::agent::node::Reloaded`], or 422 with what is wrong as text |

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path as PathOf, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use super::stream;
use crate::agent::balances::OrderError;
use crate::agent::error::NodeError;
use crate::agent::node::{Node, Reloaded};
use crate::agent::service::{ServiceError, Wanted};
use crate::balance::{Action, Order};
use crate::subscribers::State as SubscriberState;

/// The node, as tasks share it.
pub type Shared = Arc<Mutex<Node>>;

/// Listens on a Unix socket that only its owner and group can use. A socket left by an agent that is gone is
/// replaced; one that answers is not.
///
/// # Errors
/// When another agent listens there, or the socket cannot be made.
pub fn listen(socket: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = socket.parent() {
        std::fs::create_dir_all(directory)?;
    }
    if socket.exists() {
        if std::os::unix::net::UnixStream::connect(socket).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another agent listens there",
            ));
        }
        std::fs::remove_file(socket)?;
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answers until `shutdown` is done.
///
/// # Errors
/// When the socket fails.
pub async fn serve(
    listener: UnixListener,
    node: Shared,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let feed = node.lock().unwrap_or_else(PoisonError::into_inner).feed();
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/usage", get(usage))
        .route("/v1/subscribers", get(subscribers).post(add))
        .route(
            "/v1/subscribers/{id}",
            get(subscriber).patch(set).delete(remove),
        )
        .route(
            "/v1/subscribers/{id}/buckets/{bucket}/{action}",
            post(order),
        )
        .route("/v1/records", get(records))
        .route("/v1/policy/reload", post(reloaded))
        .with_state(node)
        .merge(stream::routes(feed));
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await
}

async fn status(State(node): State<Shared>) -> Response {
    answer(with(node, |node| node.status()).await)
}

async fn usage(State(node): State<Shared>) -> Response {
    answer(with(node, |node| node.usage()).await)
}

async fn subscribers(State(node): State<Shared>) -> Response {
    Json(with(node, |node| node.subscribers()).await).into_response()
}

async fn subscriber(State(node): State<Shared>, PathOf(id): PathOf<String>) -> Response {
    let asked = id.clone();
    match with(node, move |node| node.subscriber(&asked)).await {
        Some(view) => Json(view).into_response(),
        None => (
            StatusCode::NOT_FOUND,
            format!("no subscriber `{id}` has a session"),
        )
            .into_response(),
    }
}

/// A subscriber to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSubscriber {
    /// Its id.
    pub subscriber: String,
    /// Its plan.
    pub plan: String,
    /// Its prefixes.
    pub addresses: Vec<String>,
    /// Whether it has its service; it has when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<SubscriberState>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

async fn add(State(node): State<Shared>, Json(new): Json<NewSubscriber>) -> Response {
    let wanted = Wanted {
        plan: Some(new.plan),
        state: new.state,
        addresses: Some(new.addresses),
        reason: new.reason,
    };
    served(
        with(node, move |node| {
            node.add_subscriber(&new.subscriber, wanted)
        })
        .await,
    )
}

async fn set(
    State(node): State<Shared>,
    PathOf(id): PathOf<String>,
    Json(wanted): Json<Wanted>,
) -> Response {
    served(with(node, move |node| node.set_subscriber(&id, wanted)).await)
}

/// Why something is done.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    reason: Option<String>,
}

async fn remove(
    State(node): State<Shared>,
    PathOf(id): PathOf<String>,
    Query(why): Query<Why>,
) -> Response {
    served(with(node, move |node| node.remove_subscriber(&id, why.reason)).await)
}

fn served<T: Serialize>(result: Result<T, ServiceError>) -> Response {
    refused_with(result, |error| match error {
        ServiceError::Unknown(_) => StatusCode::NOT_FOUND,
        ServiceError::Exists(_) => StatusCode::CONFLICT,
        ServiceError::Invalid(_)
        | ServiceError::Node(
            NodeError::Full(_) | NodeError::TooMany { .. } | NodeError::TooLarge(_),
        ) => StatusCode::UNPROCESSABLE_ENTITY,
        ServiceError::Node(_) | ServiceError::Late(_) => StatusCode::SERVICE_UNAVAILABLE,
    })
}

/// An order for the bucket the path names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// The caller's id.
    pub id: String,
    /// How many bytes, where the action says so.
    #[serde(default)]
    pub bytes: u64,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

async fn order(
    State(node): State<Shared>,
    PathOf((subscriber, bucket, action)): PathOf<(String, String, Action)>,
    Json(new): Json<NewOrder>,
) -> Response {
    let order = Order {
        id: new.id,
        subscriber,
        bucket,
        action,
        bytes: new.bytes,
        reason: new.reason,
    };
    let result = with(node, move |node| node.order(order)).await;
    refused_with(result, |error| match error {
        OrderError::Subscriber(_) | OrderError::Bucket { .. } => StatusCode::NOT_FOUND,
        OrderError::Conflict(_) => StatusCode::CONFLICT,
        OrderError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        OrderError::Ledger(_) => StatusCode::SERVICE_UNAVAILABLE,
    })
}

/// Which records.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    after: u64,
    subscriber: Option<String>,
    limit: Option<usize>,
}

async fn records(State(node): State<Shared>, Query(which): Query<Which>) -> Response {
    const MOST: usize = 10_000;
    let limit = which.limit.unwrap_or(MOST).min(MOST);
    answer(
        with(node, move |node| {
            node.records(which.after, which.subscriber.as_deref(), limit)
        })
        .await,
    )
}

fn refused_with<T: Serialize, E: std::fmt::Display>(
    result: Result<T, E>,
    status: impl FnOnce(&E) -> StatusCode,
) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => (status(&error), error.to_string()).into_response(),
    }
}

async fn reloaded(State(node): State<Shared>) -> Response {
    refused_with(reload(node).await, |_| StatusCode::UNPROCESSABLE_ENTITY)
}

/// Reads policy and subscribers again, while the node goes on serving, and puts them in force.
///
/// # Errors
/// What is wrong with them, or in the way; nothing has changed then.
pub(crate) async fn reload(node: Shared) -> Result<Reloaded, NodeError> {
    /// One after the other, or what was read first could come into force last. There is one node in a process.
    static RELOADING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = RELOADING.lock().await;
    let sources = with(Arc::clone(&node), |node| node.sources()).await;
    let inputs = match tokio::task::spawn_blocking(move || sources.read()).await {
        Ok(inputs) => inputs,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    with(node, move |node| node.reload(inputs)).await
}

/// Works on the node where blocking is allowed.
pub(crate) async fn with<T: Send + 'static>(
    node: Shared,
    work: impl FnOnce(&mut Node) -> T + Send + 'static,
) -> T {
    let handle = tokio::runtime::Handle::current();
    let work = move || {
        let _context = handle.enter();
        // A panic while the lock was held has been reported; what the node holds is in the kernel anyway.
        work(&mut node.lock().unwrap_or_else(PoisonError::into_inner))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn answer<T: Serialize, E: std::fmt::Display>(result: Result<T, E>) -> Response {
    refused_with(result, |_| StatusCode::INTERNAL_SERVER_ERROR)
}
