//! Who asks, what they may, and how often.
//!
//! A request comes through two gates: `identify` finds out who asks, and whether it asks too often; `guard`, which each
//! route has by the table, whether it may ask that. What is refused is logged, never with a token, and never with a subscriber.

mod own_tokens;
pub(super) mod pace;
mod peers;
pub mod role;
pub mod tokens;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;
use tracing::warn;

use self::own_tokens::OwnTokens;
use self::pace::Pace;
use self::peers::Peers;
use self::role::{Access, Role};
use self::tokens::Tokens;
use super::problem::Problem;
use crate::config::Api;
use crate::history::By;

/// Who is at the other end of a connection, as the kernel or a certificate says.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    /// A process on this machine.
    Process {
        /// User it runs as.
        uid: u32,
        /// Its first group.
        gid: u32,
    },
    /// Somebody elsewhere.
    Client {
        /// Where.
        address: SocketAddr,
        /// Names in the certificate it has, which one of our authorities signed.
        names: Arc<[String]>,
    },
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// Somebody with roles.
    Staff { name: String, roles: Vec<Role> },
    /// A subscriber, for what is its own.
    Subscriber(String),
    /// Somebody of whom is known who it is, and who has no role.
    NoRole(String),
    /// Nobody knows.
    Unknown(IpAddr),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Staff { name, .. } | Self::NoRole(name) => f.write_str(name),
            // Which one is nobody's business.
            Self::Subscriber(_) => f.write_str("a subscriber"),
            Self::Unknown(address) => write!(f, "somebody at {address}"),
        }
    }
}

/// What is known of callers.
#[derive(Debug)]
pub(super) struct Gate {
    peers: Peers,
    clients: Vec<(String, Role)>,
    tokens: Tokens,
    pub(super) own_tokens: OwnTokens,
    pace: Pace,
    requests: Semaphore,
    refusals: pace::Seldom,
}

impl Gate {
    /// Reads what is to be known of callers.
    ///
    /// # Errors
    /// When the file of tokens, or the key of subscribers' tokens, is none.
    pub(super) fn open(api: &Api, ledger: &Path) -> anyhow::Result<Self> {
        let clients = api.clients.iter();
        Ok(Self {
            peers: Peers::of(&api.peers),
            clients: clients
                .map(|client| (client.subject().to_owned(), client.role))
                .collect(),
            tokens: Tokens::open(&api.tokens)?,
            own_tokens: OwnTokens::open(ledger)?,
            pace: Pace::new(api.limits.rate, api.limits.self_rate),
            requests: Semaphore::new(api.limits.requests),
            refusals: pace::Seldom::default(),
        })
    }

    /// Who asks: who a token is of, if there is one, or else who is at the other end.
    fn caller(&self, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Problem> {
        let mut said = headers.get_all(AUTHORIZATION).iter();
        match (said.next(), said.next()) {
            (None, _) => Ok(self.at_the_other_end(peer)),
            (Some(value), None) => self.by_token(value),
            (Some(_), Some(_)) => Err(unauthorized("say one `Authorization`, not several")),
        }
    }

    fn by_token(&self, value: &HeaderValue) -> Result<Caller, Problem> {
        let value = value.to_str().unwrap_or_default();
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unauthorized("say `Authorization: Bearer TOKEN`"));
        }
        let token = token.trim();
        if let Some(subscriber) = self.own_tokens.subscriber(token).map_err(unauthorized)? {
            return Ok(Caller::Subscriber(subscriber));
        }
        match self.tokens.find(token) {
            Some((name, role)) => Ok(Caller::Staff {
                name,
                roles: vec![role],
            }),
            None => Err(unauthorized(
                "this token is not known, or no longer: `zerorate api token new` makes one",
            )),
        }
    }

    fn at_the_other_end(&self, peer: &Peer) -> Caller {
        match peer {
            Peer::Process { uid, gid } => {
                let (name, roles) = self.peers.roles(*uid, *gid);
                match roles.is_empty() {
                    false => Caller::Staff { name, roles },
                    true => Caller::NoRole(name),
                }
            }
            Peer::Client { address, names } => {
                let Some(name) = names.first() else {
                    return Caller::Unknown(address.ip());
                };
                let name = format!("certificate `{name}`");
                let roles: Vec<Role> = self
                    .clients
                    .iter()
                    .filter(|(subject, _)| names.contains(subject))
                    .map(|(_, role)| *role)
                    .collect();
                match roles.is_empty() {
                    false => Caller::Staff { name, roles },
                    true => Caller::NoRole(name),
                }
            }
        }
    }

    /// Says in the log what was refused: some of it, where it is very much.
    fn refused(&self, caller: &str, request: &(String, String), problem: &Problem) {
        let Some(untold) = self.refusals.now() else {
            return;
        };
        let (method, path) = request;
        let more = match untold {
            0 => String::new(),
            n => format!(" (and {n} more were refused since the last one that was logged)"),
        };
        warn!(
            "refused {method} {path} of {caller}: {}{more}",
            problem.detail
        );
    }
}

fn unauthorized(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

/// A refusal for who it is, with the header that belongs to it.
fn refusal(problem: Problem) -> Response {
    let status = problem.status;
    let mut response = problem.into_response();
    let headers = response.headers_mut();
    match status {
        401 => {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"zerorate\""),
            );
        }
        429 | 503 => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

/// What was asked, for the log: the route, not what it was asked of.
fn asked(request: &Request) -> (String, String) {
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("a path that is none", MatchedPath::as_str);
    (request.method().to_string(), path.to_owned())
}

/// The first gate: who asks, and not too often.
pub(super) async fn identify(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let from = match &peer {
        Peer::Process { uid, .. } => format!("user {uid}"),
        Peer::Client { address, .. } => address.ip().to_string(),
    };
    let found = gate.caller(&peer, request.headers());
    let in_time = match &found {
        Ok(caller @ Caller::Staff { .. }) => gate.pace.staff(&caller.to_string()),
        Ok(Caller::Subscriber(id)) => gate.pace.other(&format!("subscriber {id}")),
        // Whoever guesses is slowed down by where it is.
        Ok(Caller::NoRole(_) | Caller::Unknown(_)) | Err(_) => gate.pace.other(&from),
    };
    let wrong = match (found, in_time) {
        (_, false) => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests: [api.limits] says how many there may be",
        ),
        (Err(problem), true) => problem,
        (Ok(caller), true) => {
            request.extensions_mut().insert(caller);
            return next.run(request).await;
        }
    };
    gate.refused(&from, &asked(&request), &wrong);
    refusal(wrong)
}

/// Whether somebody may ask what is for some.
fn allowed(caller: &Caller, access: Access) -> Result<(), Problem> {
    match (access, caller) {
        (Access::Anyone, _) | (Access::Own, Caller::Subscriber(_)) => Ok(()),
        (Access::Role(needed), Caller::Staff { roles, .. })
            if roles.iter().any(|role| role.may(needed)) =>
        {
            Ok(())
        }
        (_, Caller::Unknown(_)) => Err(unauthorized(
            "say who you are: by a client certificate, or by `Authorization: Bearer TOKEN`",
        )),
        (Access::Role(needed), caller) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "{caller} may not do this: it needs the role `{}`",
                needed.as_str()
            ),
        )),
        (Access::Own, caller) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("{caller} is no subscriber: this needs a token of POST /v1/self-tokens"),
        )),
    }
}

/// The second gate, of each route: whether who asks may ask that, and there is somebody to work on it.
pub(super) async fn guard(
    State((gate, access)): State<(Arc<Gate>, Access)>,
    request: Request,
    next: Next,
) -> Response {
    // Without the first gate nobody is known.
    let unknown = Caller::Unknown(IpAddr::from([0, 0, 0, 0]));
    let caller = request.extensions().get::<Caller>().unwrap_or(&unknown);
    if let Err(problem) = allowed(caller, access) {
        gate.refused(&caller.to_string(), &asked(&request), &problem);
        return refusal(problem);
    }
    if access == Access::Anyone {
        // Whether the agent is alive can be asked at any time.
        return next.run(request).await;
    }
    let Ok(_turn) = gate.requests.try_acquire() else {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the agent works on as many requests as `requests` under [api.limits] allows",
        );
        gate.refused(&caller.to_string(), &asked(&request), &problem);
        return refusal(problem);
    };
    next.run(request).await
}

/// Who asks for something that is written down with who asked.
#[derive(Debug)]
pub(super) struct Asker(pub(super) By);

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>();
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        Ok(Self(By {
            user: caller.map(Caller::to_string),
            uid: match peer {
                Some(ConnectInfo(Peer::Process { uid, .. })) => Some(*uid),
                _ => None,
            },
            ..By::itself("api")
        }))
    }
}

/// The subscriber that asks for what is its own.
#[derive(Debug)]
pub(super) struct Own(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Own {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Caller>() {
            Some(Caller::Subscriber(id)) => Ok(Self(id.clone())),
            _ => Err(unauthorized("this is for subscribers")),
        }
    }
}
