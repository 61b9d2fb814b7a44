//! TLS: the agent's certificate, and those of who comes in. The files are read again when they change, so that a renewed
//! certificate is in use without a restart; what is wrong with a new one is logged, and the old one stays in use.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::config::Tcp;

/// What is shown to who comes in.
pub(super) struct Tls {
    files: Tcp,
    in_use: Mutex<(Vec<Option<SystemTime>>, TlsAcceptor)>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads certificates and key.
    ///
    /// # Errors
    /// When one cannot be used.
    pub(super) fn open(files: &Tcp) -> anyhow::Result<Self> {
        Ok(Self {
            in_use: Mutex::new((changed(files), acceptor(files)?)),
            files: files.clone(),
        })
    }

    /// What is in use now.
    fn acceptor(&self) -> TlsAcceptor {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        let now = changed(&self.files);
        if in_use.0 != now {
            // Also when it is wrong: it is said once.
            in_use.0 = now;
            match acceptor(&self.files) {
                Ok(acceptor) => {
                    in_use.1 = acceptor;
                    tracing::info!("certificates of the API were read again");
                }
                Err(error) => {
                    tracing::error!("{error:#}; the certificates of before stay in use");
                }
            }
        }
        in_use.1.clone()
    }

    /// Lets somebody in; the names are those of its certificate, if it has one that is signed as it should be.
    ///
    /// # Errors
    /// When it does not speak TLS, or has a certificate that is not believed.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<(TlsStream<TcpStream>, Vec<String>)> {
        let stream = self.acceptor().accept(stream).await?;
        let certificates = stream.get_ref().1.peer_certificates();
        let names = certificates
            .and_then(<[_]>::first)
            .map(|certificate| names(certificate));
        Ok((stream, names.unwrap_or_default()))
    }
}

fn files(tcp: &Tcp) -> impl Iterator<Item = &PathBuf> {
    [&tcp.certificate, &tcp.key]
        .into_iter()
        .chain(&tcp.client_ca)
}

/// When the files were changed.
fn changed(tcp: &Tcp) -> Vec<Option<SystemTime>> {
    let changed = |path| {
        fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    files(tcp).map(changed).collect()
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.with_context(|| format!("certificate {}", path.display()))?;
    ensure!(
        !found.is_empty(),
        "certificate {}: there is none in it; it has to be PEM",
        path.display()
    );
    Ok(found)
}

fn acceptor(tcp: &Tcp) -> anyhow::Result<TlsAcceptor> {
    let chain = certificates(&tcp.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tcp.key)
        .with_context(|| format!("key {}", tcp.key.display()))?;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let config = match &tcp.client_ca {
        None => config.with_no_client_auth(),
        Some(path) => {
            let of = || format!("authorities {}", path.display());
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).with_context(of)?;
            }
            // Who has none may have a token.
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                .allow_unauthenticated()
                .build()
                .with_context(of)?;
            config.with_client_cert_verifier(verifier)
        }
    };
    let mut config = config
        .with_single_cert(chain, key)
        .with_context(|| format!("certificate {} with its key", tcp.certificate.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The common names and the alternative names of a certificate.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let common = certificate.subject().iter_common_name();
    let mut names: Vec<String> = common
        .filter_map(|name| Some(name.as_str().ok()?.to_owned()))
        .collect();
    let others = certificate.subject_alternative_name().ok().flatten();
    names.extend(
        others
            .iter()
            .flat_map(|others| &others.value.general_names)
            .filter_map(|name| match name {
                GeneralName::DNSName(name)
                | GeneralName::RFC822Name(name)
                | GeneralName::URI(name) => Some((*name).to_owned()),
                _ => None,
            }),
    );
    if names.is_empty() {
        // It was signed, and has a name that is none of these.
        names.push(certificate.subject().to_string());
    }
    names
}
