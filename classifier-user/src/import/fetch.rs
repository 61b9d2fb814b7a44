//! Lists that are published on the web: fetched by HTTPS, within limits of size and time, and only when they changed.
//!
//! Whoever answers has to prove to be the host by a certificate of an authority that is trusted: the system's, or the one a
//! set names. Redirects lead nowhere but to another path of the same host. No proxy is used.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// How a source on the web is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The authority of the host's certificate, a PEM file; `None`: those the system trusts.
    pub ca: Option<PathBuf>,
    /// Most bytes it may have.
    pub max_bytes: u64,
    /// How long all of it may take.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ca: None,
            max_bytes: 64_000_000,
            timeout: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// The same, with files relative to a directory.
    #[must_use]
    pub fn below(&self, base: &Path) -> Self {
        Self {
            ca: self.ca.as_ref().map(|ca| base.join(ca)),
            ..self.clone()
        }
    }
}

/// Most redirects from one path of the host to another.
const MOST_REDIRECTS: u32 = 3;

/// What a source has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// By what the host knows them again.
    pub etag: Option<String>,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// What was asked for is what it was.
    Same,
    /// It is this.
    New(Body),
}

/// Why a source could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Unfetched {
    /// No connection, no certificate, no answer, no end.
    #[error("cannot be fetched: {}", said(.0))]
    Failed(ureq::Error),
    /// The answer is another one.
    #[error("cannot be fetched: the host answers with status {0}")]
    Status(u16),
    /// It leads elsewhere.
    #[error(
        "cannot be fetched: it leads to {0:?}, and only another path of the same host by https is followed, {MOST_REDIRECTS} times"
    )]
    Elsewhere(String),
    /// More than may be.
    #[error("cannot be fetched: it is larger than {0} bytes")]
    TooLarge(u64),
    /// It ended early.
    #[error("was cut off while it was fetched: {0}")]
    Cut(io::Error),
    /// Authorities.
    #[error("cannot be fetched: the certificates in {path}: {error}", path = .path.display())]
    Authorities {
        /// Their file, or what stands for the system's.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
}

impl Unfetched {
    /// What to do.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Failed(ureq::Error::Timeout(_)) => {
                "try again later; if the host is slow, allow more with feed_timeout"
            }
            Self::Failed(_) => {
                "check the address, and that the host's certificate is of an authority the system trusts, or name that one with \
                 feed_ca"
            }
            Self::Status(_) => "ask whoever publishes it where it is now",
            Self::Elsewhere(_) => "write the address it leads to, if that is meant",
            Self::TooLarge(_) => {
                "check that this is the right file; allow more with feed_max_bytes"
            }
            Self::Cut(_) => "try again: it was not all there",
            Self::Authorities { .. } => "name a PEM file with the authority's certificate",
        }
    }
}

/// The system's words for what it refused.
fn said(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(_) => "it took too long".to_owned(),
        error => error.to_string(),
    }
}

/// Whether a source is one of these.
#[must_use]
pub fn is_web(source: &str) -> bool {
    source.starts_with("https://")
}

/// What is wrong with an address.
///
/// # Errors
/// Why nothing could be fetched from there.
pub fn check_address(url: &str) -> Result<(), &'static str> {
    if !is_web(url) {
        return Err("does not begin with https://");
    }
    let uri: Uri = url.parse().map_err(|_| "is none of the web")?;
    let authority = uri.authority().ok_or("names no host")?;
    if authority.host().is_empty() {
        return Err("names no host");
    }
    // It would be in the policy, in its history, and in logs.
    if authority.as_str().contains('@') {
        return Err("holds a name or a password, which everybody who reads the policy would read");
    }
    Ok(())
}

/// Fetches a source; of one that the host knows again by `etag`, nothing.
///
/// # Errors
/// Why not.
pub fn fetch(url: &str, limits: &Limits, etag: Option<&str>) -> Result<Fetched, Unfetched> {
    let agent = agent(limits)?;
    let mut at = url.to_owned();
    let mut redirects = 0;
    loop {
        let mut request = agent.get(&at);
        if let Some(etag) = etag {
            request = request.header("if-none-match", etag);
        }
        let mut answer = request.call().map_err(Unfetched::Failed)?;
        let header = |name: &str| {
            let value = answer.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        match answer.status().as_u16() {
            200 => {
                let etag = header("etag");
                let bytes = read(answer.body_mut().as_reader(), limits.max_bytes)?;
                return Ok(Fetched::New(Body { bytes, etag }));
            }
            304 if etag.is_some() => return Ok(Fetched::Same),
            301 | 302 | 303 | 307 | 308 => {
                let to = header("location").unwrap_or_default();
                let next = same_host(&at, &to).filter(|_| redirects < MOST_REDIRECTS);
                at = next.ok_or(Unfetched::Elsewhere(to))?;
                redirects += 1;
            }
            other => return Err(Unfetched::Status(other)),
        }
    }
}

fn read(body: impl io::Read, most: u64) -> Result<Vec<u8>, Unfetched> {
    let mut bytes = Vec::new();
    let read = body.take(most + 1).read_to_end(&mut bytes);
    read.map_err(
        |error| match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(ureq::Error::Timeout(which)) => Unfetched::Failed(ureq::Error::Timeout(*which)),
            _ => Unfetched::Cut(error),
        },
    )?;
    if bytes.len() as u64 > most {
        return Err(Unfetched::TooLarge(most));
    }
    Ok(bytes)
}

/// Where a redirect leads, if it stays with the host.
fn same_host(from: &str, to: &str) -> Option<String> {
    let here: Uri = from.parse().ok()?;
    let authority = here.authority()?;
    if to.starts_with('/') && !to.starts_with("//") {
        return Some(format!("https://{authority}{to}"));
    }
    let there: Uri = to.parse().ok()?;
    let same = there.scheme_str() == Some("https") && there.authority() == Some(authority);
    same.then(|| to.to_owned())
}

fn agent(limits: &Limits) -> Result<Agent, Unfetched> {
    let roots = match &limits.ca {
        Some(path) => authorities(path)?,
        None => system()?,
    };
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build();
    let config = Agent::config_builder()
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(limits.timeout))
        .user_agent(concat!("zerorate/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build();
    Ok(config.into())
}

fn authorities(path: &Path) -> Result<Vec<Certificate<'static>>, Unfetched> {
    let wrong = |error: String| Unfetched::Authorities {
        path: path.to_owned(),
        error,
    };
    let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
    if found.is_empty() {
        return Err(wrong("there is none".to_owned()));
    }
    Ok(found)
}

fn system() -> Result<Vec<Certificate<'static>>, Unfetched> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let error = found.errors.first().map(ToString::to_string);
        return Err(Unfetched::Authorities {
            path: "the system's store".into(),
            error: error.unwrap_or_else(|| "there is none: install ca-certificates".to_owned()),
        });
    }
    let certificates = found.certs.iter();
    Ok(certificates
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_with_the_host() {
        let from = "https://lists.example/a/kz.txt";
        for (to, expected) in [
            ("/b", Some("https://lists.example/b")),
            (
                "https://lists.example/b?c",
                Some("https://lists.example/b?c"),
            ),
            ("http://lists.example/b", None),
            ("https://lists.example:8443/b", None),
            ("https://other.example/b", None),
            ("//other.example/b", None),
            ("https://lists.example@other.example/b", None),
            ("b.txt", None),
            ("", None),
        ] {
            assert_eq!(same_host(from, to).as_deref(), expected, "{to}");
        }
    }

    #[test]
    fn addresses_name_a_host_and_nobody() {
        for (url, good) in [
            ("https://lists.example/kz.txt", true),
            ("https://192.0.2.1:8443/kz.txt", true),
            ("https://[2001:db8::1]/kz.txt", true),
            ("https://", false),
            ("https:kz.txt", false),
            ("http://lists.example/kz.txt", false),
            ("https:///kz.txt", false),
            ("https://me:secret@lists.example/kz.txt", false),
            ("https://lists.example/a b", false),
        ] {
            assert_eq!(check_address(url).is_ok(), good, "{url}");
        }
    }
}
