//! The answering side of the API.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`crate::agent::views::Status`] |
//! | `GET /v1/usage` | [`crate::report::Report`] |
//! | `GET /v1/subscribers` | list of [`crate::agent::views::SubscriberView`] |
//! | `GET /v1/subscribers/{id}` | one of them, or 404 |
//! | `POST /v1/policy/reload` | [`crate::agent::node::Reloaded`], or 422 with what is wrong as text |

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path as PathOf, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::UnixListener;

use crate::agent::node::Node;

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
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/usage", get(usage))
        .route("/v1/subscribers", get(subscribers))
        .route("/v1/subscribers/{id}", get(subscriber))
        .route("/v1/policy/reload", post(reload))
        .with_state(node);
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

async fn reload(State(node): State<Shared>) -> Response {
    match with(node, Node::reload).await {
        Ok(reloaded) => Json(reloaded).into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response(),
    }
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
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
