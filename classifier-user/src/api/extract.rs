//! What is taken from a request: its body, its query, its path. What cannot be taken is refused in words of ours.

use std::error::Error;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::problem::Problem;

/// A body, or an answer, in JSON.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

/// What stands behind the `?`.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

/// What stands in the path.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Whether a body is said to be JSON: `application/json`, or anything `+json`.
fn says_json(request: &Request) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    let Some(kind) = kind.and_then(|kind| kind.to_str().ok()) else {
        return false;
    };
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !says_json(&request) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body has to be JSON: send it with `Content-Type: application/json`",
            ));
        }
        let body = tokio::time::timeout(PATIENCE, Bytes::from_request(request, state)).await;
        let body = body.map_err(|_| too_slow())?.map_err(cut_off)?;
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            let status = match error.classify() {
                Category::Data => return Problem::invalid(format!("the body: {error}")),
                _ => StatusCode::BAD_REQUEST,
            };
            Problem::new(status, format!("the body is no JSON: {error}"))
        })
    }
}

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

fn too_slow() -> Problem {
    let seconds = PATIENCE.as_secs();
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        format!("the body did not arrive in {seconds} s"),
    )
}

/// Why a body did not arrive.
fn cut_off(rejection: BytesRejection) -> Problem {
    let status = rejection.status();
    Problem::new(
        status,
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                "the body is larger than the agent takes; `body_bytes` under [api.limits] says how much that is"
                    .to_owned()
            }
            _ => format!("the body did not arrive: {}", innermost(&rejection)),
        },
    )
}

/// What is at the bottom of an error.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection: QueryRejection| {
                let why = match rejection.source() {
                    Some(why) => why.to_string(),
                    None => rejection.to_string(),
                };
                Problem::new(rejection.status(), format!("the query: {why}"))
            })
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path))
            .map_err(|rejection: PathRejection| {
                let why = match &rejection {
                    PathRejection::FailedToDeserializePathParams(error) => error.body_text(),
                    other => other.to_string(),
                };
                let why = why.strip_prefix("Invalid URL: ").unwrap_or(&why).to_owned();
                Problem::new(rejection.status(), format!("the path: {why}"))
            })
    }
}
