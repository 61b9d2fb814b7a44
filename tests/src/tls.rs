//! Certificates, made with openssl: an authority of its own for each test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process::run;

/// An authority that signs certificates into a directory.
#[derive(Clone, Debug)]
pub struct Authority {
    directory: PathBuf,
    name: String,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// If openssl is not there, or refuses.
    pub fn new(directory: &Path, name: &str) -> Result<Self> {
        let authority = Self {
            directory: directory.to_owned(),
            name: name.to_owned(),
        };
        authority.make(name, &["basicConstraints=critical,CA:TRUE"], None)?;
        Ok(authority)
    }

    /// Its own certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join(format!("{}.pem", self.name))
    }

    /// Signs a certificate with a common name, and an alternative name such as `IP:127.0.0.1`.
    ///
    /// # Errors
    /// If openssl refuses.
    pub fn sign(&self, common: &str, alternative: &str) -> Result<Certificate> {
        let alternative = format!("subjectAltName={alternative}");
        self.make(
            common,
            &["basicConstraints=CA:FALSE", &alternative],
            Some(&self.name),
        )
    }

    fn make(&self, common: &str, extensions: &[&str], by: Option<&str>) -> Result<Certificate> {
        let file = |name: &str, kind: &str| self.directory.join(format!("{name}.{kind}"));
        let made = Certificate {
            certificate: file(common, "pem"),
            key: file(common, "key"),
        };
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ]);
        openssl.args(["-nodes", "-days", "2", "-subj", &format!("/CN={common}")]);
        openssl
            .arg("-keyout")
            .arg(&made.key)
            .arg("-out")
            .arg(&made.certificate);
        for extension in extensions {
            openssl.args(["-addext", extension]);
        }
        if let Some(by) = by {
            openssl
                .arg("-CA")
                .arg(file(by, "pem"))
                .arg("-CAkey")
                .arg(file(by, "key"));
        }
        run(&mut openssl)?;
        Ok(made)
    }
}
