//! The answering side of the API.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`crate::agent::views::Status`] |
//! | `GET /v1/usage` | [`crate::report::Report`] |
//! | `GET /v1/subscribers` | list of [`crate::agent::subscribers::SubscriberView`] |
//! | `POST /v1/subscribers` | adds the one a [`NewSubscriber`] says; 409 when it is there |
//! | `GET /v1/subscribers/{id}` | one of them, or 404 |
//! | `PATCH /v1/subscribers/{id}` | changes what a [`Wanted`] says: plan, state, addresses |
//! | `DELETE /v1/subscribers/{id}?reason=TEXT` | removes it; the answer says what was left in its buckets |
//! | the same with `?at=TIME` | a change of plan or state, or a removal, for that time: a [`Scheduled`] |
//! | `GET /v1/subscribers/{id}/usage?from=TIME&to=TIME` | its [`crate::report::statement::Statement`]; 404 for whom nothing is known of |
//! | `POST /v1/subscribers/{id}/buckets/{bucket}/{action}` | follows a [`NewOrder`]: `grant`, `debit`, `return`, `set` or `restart`; 409 when its id was used for another one |
//! | `POST /v1/subscribers/{id}/restart` | restarts all packages of its plan, as a [`NewOrder`] that says no quantity |
//! | `GET /v1/scheduled` | list of [`Scheduled`] changes, the next first |
//! | `DELETE /v1/scheduled/{number}` | gives one up, or 404 |
//! | `GET /v1/records?after=SEQ&subscriber=ID&kind=KIND&limit=N` | [`crate::ledger::usage::AnyRecord`]s behind a number, oldest first; at most 10,000 |
//! | `GET /v1/events?after=SEQ&subscriber=ID&follow=true` | [`super::stream::Line`]s, one a line: events that are kept, and those that come |
//! | `GET /metrics` | [`crate::metrics`], for Prometheus |
//! | `GET /v1/policy/diff` | what a reload would answer, without doing it |
//! | `POST /v1/policy/reload?force=true&reason=TEXT` | [`crate::agent::reload::Reloaded`], or 422 with what is wrong as text; without the query the policy's guards hold |

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path as PathOf, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use super::stream;
use crate::agent::at_once::{self, AtOnce};
use crate::agent::charging::orders::OrderError;
use crate::agent::error::NodeError;
use crate::agent::node::Node;
use crate::agent::records::statement::parse_time;
use crate::agent::reload::{Inputs, Reloaded};
use crate::agent::service::{ServiceError, Wanted};
use crate::balance::money::Amount;
use crate::balance::{Action, Order};
use crate::ledger::usage::Which as Asked;
use crate::metrics::Source;
use crate::subscribers::{Planned, Scheduled, State as SubscriberState, Step};

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
    metrics: Source,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let feed = node.work(|node| node.feed());
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/usage", get(usage))
        .route("/v1/subscribers", get(subscribers).post(add))
        .route(
            "/v1/subscribers/{id}",
            get(subscriber).patch(set).delete(remove),
        )
        .route("/v1/subscribers/{id}/usage", get(statement))
        .route(
            "/v1/subscribers/{id}/buckets/{bucket}/{action}",
            post(order),
        )
        .route("/v1/subscribers/{id}/restart", post(restart))
        .route("/v1/scheduled", get(scheduled))
        .route("/v1/scheduled/{number}", delete(unschedule))
        .route("/v1/records", get(records))
        .route("/v1/policy/reload", post(reloaded))
        .route("/v1/policy/diff", get(previewed))
        .with_state(node)
        .merge(stream::routes(feed))
        .merge(metrics.routes());
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
    match with(node, move |node| node.shown(&asked)).await {
        Ok(Some(view)) => Json(view).into_response(),
        Err(error) => answer(Err::<(), _>(error)),
        Ok(None) => (
            StatusCode::NOT_FOUND,
            format!("no subscriber `{id}` has a session"),
        )
            .into_response(),
    }
}

/// The period a statement is for: RFC 3339, or dates in the configured time zone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Period {
    from: Option<String>,
    to: Option<String>,
}

async fn statement(
    State(node): State<Shared>,
    PathOf(id): PathOf<String>,
    Query(period): Query<Period>,
) -> Response {
    let asked = id.clone();
    let result = with(node, move |node| {
        let time = |text: Option<String>| {
            let parse = |text: String| parse_time(&text, node.timezone());
            text.map(parse).transpose()
        };
        let (from, to) = (time(period.from)?, time(period.to)?);
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            return Err(format!("the period begins at {from}, after its end {to}"));
        }
        Ok(node.statement(&asked, from, to))
    })
    .await;
    match result {
        Err(wrong) => (StatusCode::UNPROCESSABLE_ENTITY, wrong).into_response(),
        Ok(Ok(Some(statement))) => Json(statement).into_response(),
        Ok(Ok(None)) => (
            StatusCode::NOT_FOUND,
            format!("nothing is known of a subscriber `{id}`"),
        )
            .into_response(),
        Ok(Err(error)) => answer(Err::<(), _>(error)),
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
    Query(when): Query<Why>,
    Json(wanted): Json<Wanted>,
) -> Response {
    let Some(at) = when.at else {
        return served(at_once::set_subscriber(node, id, wanted).await);
    };
    let step = match (wanted.plan, wanted.state, wanted.addresses) {
        (Some(plan), None, None) => Step::Plan(plan),
        (None, Some(SubscriberState::Active), None) => Step::Resume,
        (None, Some(SubscriberState::Suspended), None) => Step::Suspend,
        _ => {
            let one = "for a later time say one thing: a plan, or a state".to_owned();
            return served::<Scheduled>(Err(ServiceError::Invalid(one)));
        }
    };
    schedule(node, id, step, wanted.reason, at).await
}

/// Why something is done, and when.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    reason: Option<String>,
    at: Option<Timestamp>,
}

async fn remove(
    State(node): State<Shared>,
    PathOf(id): PathOf<String>,
    Query(why): Query<Why>,
) -> Response {
    match why.at {
        Some(at) => schedule(node, id, Step::Remove, why.reason, at).await,
        None => served(with(node, move |node| node.remove_subscriber(&id, why.reason)).await),
    }
}

async fn schedule(
    node: Shared,
    subscriber: String,
    step: Step,
    reason: Option<String>,
    at: Timestamp,
) -> Response {
    let planned = Planned {
        subscriber,
        step,
        reason,
    };
    served(with(node, move |node| node.schedule(planned, at)).await)
}

async fn scheduled(State(node): State<Shared>) -> Response {
    Json(with(node, |node| node.scheduled()).await).into_response()
}

async fn unschedule(State(node): State<Shared>, PathOf(number): PathOf<u64>) -> Response {
    match with(node, move |node| node.unschedule(number)).await {
        Ok(false) => {
            let none = format!("nothing is scheduled under the number {number}");
            (StatusCode::NOT_FOUND, none).into_response()
        }
        result => served(result.map(drop)),
    }
}

fn served<T: Serialize>(result: Result<T, ServiceError>) -> Response {
    refused_with(result, |error| match error {
        ServiceError::Unknown(_) => StatusCode::NOT_FOUND,
        ServiceError::Exists(_) => StatusCode::CONFLICT,
        ServiceError::Invalid(_)
        | ServiceError::Node(
            NodeError::Full(_) | NodeError::TooMany { .. } | NodeError::TooLarge(_),
        ) => StatusCode::UNPROCESSABLE_ENTITY,
        ServiceError::Node(_) | ServiceError::Ledger(_) | ServiceError::Late(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    })
}

/// An order for the bucket the path names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// The caller's id.
    pub id: String,
    /// How many bytes, where the action says so.
    #[serde(default)]
    pub bytes: u64,
    /// How much money, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

async fn order(
    State(node): State<Shared>,
    PathOf((subscriber, bucket, action)): PathOf<(String, String, Action)>,
    Json(new): Json<NewOrder>,
) -> Response {
    follow(node, subscriber, Some(bucket), action, new).await
}

async fn restart(
    State(node): State<Shared>,
    PathOf(subscriber): PathOf<String>,
    Json(new): Json<NewOrder>,
) -> Response {
    follow(node, subscriber, None, Action::Restart, new).await
}

async fn follow(
    node: Shared,
    subscriber: String,
    bucket: Option<String>,
    action: Action,
    new: NewOrder,
) -> Response {
    let order = Order {
        id: new.id,
        subscriber,
        bucket,
        action,
        bytes: new.bytes,
        amount: new.amount,
        reason: new.reason,
    };
    let result = with(node, move |node| node.order(order)).await;
    refused_with(result, |error| match error {
        OrderError::Subscriber(_) | OrderError::Bucket { .. } => StatusCode::NOT_FOUND,
        OrderError::Conflict(_) => StatusCode::CONFLICT,
        OrderError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        OrderError::Ledger(_) | OrderError::Node(_) => StatusCode::SERVICE_UNAVAILABLE,
    })
}

/// Which records.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    after: u64,
    subscriber: Option<String>,
    kind: Option<String>,
    limit: Option<usize>,
}

/// Kinds of records.
const KINDS: [&str; 7] = [
    "usage",
    "grant",
    "debit",
    "return",
    "expire",
    "write_off",
    "state",
];

async fn records(State(node): State<Shared>, Query(which): Query<Which>) -> Response {
    const MOST: usize = 10_000;
    let limit = which.limit.unwrap_or(MOST).min(MOST);
    if let Some(kind) = &which.kind
        && !KINDS.contains(&kind.as_str())
    {
        let help = format!(
            "there are no records of kind `{kind}`: {}",
            KINDS.join(", ")
        );
        return (StatusCode::UNPROCESSABLE_ENTITY, help).into_response();
    }
    answer(
        with(node, move |node| {
            node.records(Asked {
                after: which.after,
                subscriber: which.subscriber.as_deref(),
                kind: which.kind.as_deref(),
                limit,
            })
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

/// Whether guards are overruled, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Force {
    #[serde(default)]
    force: bool,
    reason: Option<String>,
}

async fn reloaded(State(node): State<Shared>, Query(force): Query<Force>) -> Response {
    let reason = force.reason.filter(|reason| !reason.trim().is_empty());
    if force.force != reason.is_some() {
        let text = "a forced reload is `force=true` with a `reason`, and only that has a reason";
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let reloaded = reload_for(node, reason).await;
    refused_with(reloaded, |_| StatusCode::UNPROCESSABLE_ENTITY)
}

async fn previewed(State(node): State<Shared>) -> Response {
    let inputs = read(&node).await;
    let previewed = with(node, move |node| node.preview(inputs)).await;
    refused_with(previewed, |_| StatusCode::UNPROCESSABLE_ENTITY)
}

/// Reads the files, while the node goes on serving.
async fn read(node: &Shared) -> Result<Inputs, NodeError> {
    let sources = with(Arc::clone(node), |node| node.sources()).await;
    match tokio::task::spawn_blocking(move || sources.read()).await {
        Ok(inputs) => inputs,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Reads policy and subscribers again, while the node goes on serving, and puts them in force.
///
/// # Errors
/// What is wrong with them, or in the way; nothing has changed then.
pub(crate) async fn reload(node: Shared) -> Result<Reloaded, NodeError> {
    reload_for(node, None).await
}

/// The same; with a reason, whatever the policy's guards say.
async fn reload_for(node: Shared, reason: Option<String>) -> Result<Reloaded, NodeError> {
    /// One after the other, or what was read first could come into force last. There is one node in a process.
    static RELOADING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = RELOADING.lock().await;
    let inputs = read(&node).await.map(|inputs| inputs.forced(reason));
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
        node.work(work)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn answer<T: Serialize, E: std::fmt::Display>(result: Result<T, E>) -> Response {
    refused_with(result, |_| StatusCode::INTERNAL_SERVER_ERROR)
}
