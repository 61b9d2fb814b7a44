//! The asking side of the API: what `status`, `usage` and the other commands use.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::problem::Problem;

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

const JSON: &str = "application/json";

fn exchange<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<T, ApiError> {
    runtime(socket)?.block_on(async {
        let answer = send(socket, method, path, JSON, body).await?;
        let body = answer.into_body().collect().await?.to_bytes();
        // What has nothing to say says `null`.
        let body = if body.is_empty() { b"null" } else { &*body };
        Ok(serde_json::from_slice(body)?)
    })
}

/// Asks for something that is answered line by line, perhaps for ever.
///
/// # Errors
/// When there is no answer, or it is a refusal.
pub fn lines(socket: &Path, path: &str) -> Result<Lines, ApiError> {
    fetch(socket, path, "application/x-ndjson").map(Lines::of)
}

/// Asks for something in a form, to be read as it comes.
///
/// # Errors
/// When there is no answer, or it is a refusal.
pub fn fetch(socket: &Path, path: &str, accept: &str) -> Result<Fetched, ApiError> {
    let runtime = runtime(socket)?;
    let answer = runtime.block_on(send(socket, Method::GET, path, accept, Bytes::new()))?;
    let (head, body) = answer.into_parts();
    Ok(Fetched {
        runtime,
        headers: head.headers,
        body,
    })
}

/// An answer that is read as it comes.
#[derive(Debug)]
pub struct Fetched {
    runtime: Runtime,
    headers: HeaderMap,
    body: Incoming,
}

impl Fetched {
    /// A number in its head.
    #[must_use]
    pub fn number(&self, header: &str) -> Option<u64> {
        self.headers.get(header)?.to_str().ok()?.parse().ok()
    }

    /// What its head says under a name.
    #[must_use]
    pub fn text(&self, header: &str) -> Option<String> {
        Some(self.headers.get(header)?.to_str().ok()?.to_owned())
    }

    /// Waits for the next piece; `None` when there are no more.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn piece(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            match self.runtime.block_on(self.body.frame()) {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// Reads what a line says.
///
/// # Errors
/// When it is not that.
pub fn parse<T: DeserializeOwned>(line: &str) -> Result<T, ApiError> {
    Ok(serde_json::from_str(line)?)
}

/// An answer that comes line by line.
#[derive(Debug)]
pub struct Lines {
    answer: Fetched,
    /// What has arrived and was not given out.
    read: Vec<u8>,
    /// Bytes of it in which there is no end of a line.
    seen: usize,
}

impl Lines {
    /// The lines of an answer.
    #[must_use]
    pub const fn of(answer: Fetched) -> Self {
        Self {
            answer,
            read: Vec::new(),
            seen: 0,
        }
    }

    /// Waits for the next line; `None` when there are no more.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn wait(&mut self) -> Result<Option<String>, ApiError> {
        loop {
            let end = self.read[self.seen..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line: Vec<u8> = self.read.drain(..=self.seen + end).collect();
                self.seen = 0;
                let line = String::from_utf8_lossy(&line);
                return Ok(Some(line.trim_end().to_owned()));
            }
            self.seen = self.read.len();
            let Some(piece) = self.answer.piece()? else {
                return Ok(None);
            };
            self.read.extend_from_slice(&piece);
        }
    }
}

fn unreachable(socket: &Path) -> impl Fn(io::Error) -> ApiError {
    |error| ApiError::Unreachable {
        socket: socket.to_owned(),
        error,
    }
}

fn runtime(socket: &Path) -> Result<Runtime, ApiError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(unreachable(socket))
}

/// Sends a request; an answer that is a refusal is an error.
async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    accept: &str,
    body: Bytes,
) -> Result<Response<Incoming>, ApiError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(unreachable(socket))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "zerorate")
        .header("accept", accept)
        .header("content-type", JSON)
        .body(Full::new(body))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.into_body().collect().await?.to_bytes();
    let said = match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => problem.detail,
        Err(_) => String::from_utf8_lossy(&body).into_owned(),
    };
    Err(ApiError::Refused(if said.is_empty() {
        format!("the agent answers {status} to {path}")
    } else {
        said
    }))
}
