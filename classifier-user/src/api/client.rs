//! The asking side of the API: what `status`, `usage` and the other commands use.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
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
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            Ok(serde_json::from_slice(&body)?)
        } else {
            Err(ApiError::Refused(
                String::from_utf8_lossy(&body).into_owned(),
            ))
        }
    })
}
