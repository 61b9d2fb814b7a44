//! The asking side of the API: what `status`, `usage` and the other commands use.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// The agent did not give an answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody listens.
    #[error("no agent answers on {}: {error}; is `zerorate run` running, and is this its socket (--socket)?", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The connection broke.
    #[error("asking the agent: {0}")]
    Broken(#[from] hyper::Error),
    /// The request is not one.
    #[error("asking the agent: {0}")]
    Request(#[from] hyper::http::Error),
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// Its answer is not of this version.
    #[error("the agent's answer cannot be read ({0}): is it of another version?")]
    Unreadable(#[from] serde_json::Error),
}

/// Asks the agent, from a command that runs no tasks of its own.
///
/// # Errors
/// When there is no answer, or it is a refusal.
pub fn ask<T: DeserializeOwned>(socket: &Path, method: Method, path: &str) -> Result<T, ApiError> {
    exchange(socket, method, path, Bytes::new())
}

/// Asks the agent for something that takes more than a path to say.
///
/// # Errors
/// As above.
pub fn tell<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> Result<T, ApiError> {
    exchange(socket, method, path, serde_json::to_vec(body)?.into())
}

/// Text as a segment of a path, or a value of a query: RFC 3986 percent-encoding.
#[must_use]
pub fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn exchange<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<T, ApiError> {
    let unreachable = |error| ApiError::Unreachable {
        socket: socket.to_owned(),
        error,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(unreachable)?;
    runtime.block_on(async {
        let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "zerorate")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            Ok(serde_json::from_slice(&body)?)
        } else {
            let said = String::from_utf8_lossy(&body).into_owned();
            Err(ApiError::Refused(if said.is_empty() {
                format!("the agent answers {status} to {path}")
            } else {
                said
            }))
        }
    })
}
