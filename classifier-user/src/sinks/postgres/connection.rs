//! A connection to the database, by a socket or by TLS, and what is told where it fails.

use std::error::Error as _;
use std::fmt::Write as _;
use std::fs;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Postgres;
use crate::sinks::runner::SinkError;

impl Postgres {
    /// Which database, as errors call it.
    pub(super) fn place(&self) -> String {
        format!("PostgreSQL ({})", self.settings.name)
    }

    pub(super) fn failed(&self, error: &tokio_postgres::Error) -> SinkError {
        let mut what = error.to_string();
        // The server's own words come behind, and what TLS or the system said.
        let mut source = error.source();
        while let Some(inner) = source {
            let _ = write!(what, ": {inner}");
            source = inner.source();
        }
        self.refused(what)
    }

    pub(super) fn refused(&self, what: String) -> SinkError {
        SinkError::Database {
            place: self.place(),
            what,
        }
    }

    pub(super) fn late(&self) -> SinkError {
        self.refused("it does not answer in time".to_owned())
    }

    pub(super) async fn connect(&self) -> Result<Client, SinkError> {
        let mut config: tokio_postgres::Config = self
            .settings
            .url
            .parse()
            .map_err(|error| self.failed(&error))?;
        if config.get_application_name().is_none() {
            config.application_name(format!("zerorate {}", self.node));
        }
        if let Some(file) = &self.settings.password_file {
            let password = fs::read_to_string(file).map_err(|error| SinkError::Io {
                path: file.clone(),
                error,
            })?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        let local = config
            .get_hosts()
            .iter()
            .all(|host| matches!(host, Host::Unix(_)));
        // Whoever is at the other end of a connection ends with it.
        let client = if local {
            let (client, connection) = config
                .connect(NoTls)
                .await
                .map_err(|error| self.failed(&error))?;
            self.runtime.spawn(connection);
            client
        } else {
            let tls = MakeRustlsConnect::new(self.tls()?);
            let (client, connection) = config
                .connect(tls)
                .await
                .map_err(|error| self.failed(&error))?;
            self.runtime.spawn(connection);
            client
        };
        // That a table is there already is no news.
        client
            .batch_execute("SET client_min_messages = warning")
            .await
            .map_err(|error| self.failed(&error))?;
        Ok(client)
    }

    fn tls(&self) -> Result<ClientConfig, SinkError> {
        let mut roots = rustls::RootCertStore::empty();
        match &self.settings.ca_file {
            Some(file) => {
                let read = CertificateDer::pem_file_iter(file)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>);
                let read =
                    read.map_err(|error| self.refused(format!("{}: {error}", file.display())))?;
                roots.add_parsable_certificates(read);
                if roots.is_empty() {
                    return Err(
                        self.refused(format!("{}: there is no certificate in it", file.display()))
                    );
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
        }
        let provider = rustls::crypto::ring::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| self.refused(error.to_string()))?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }
}
