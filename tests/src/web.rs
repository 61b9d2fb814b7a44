//! A real server that publishes a list by HTTPS: as it should, or in one of the ways in which servers do not.

use std::fs;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::netns::NetNs;
use crate::tls::Certificate;
use crate::wait::until;

/// The port it listens at, on 127.0.0.1.
pub const PORT: u16 = 8443;

/// A running server; ended on drop.
#[derive(Debug)]
pub struct Publisher {
    namespace: NetNs,
    directory: TempDir,
    child: Option<Child>,
}

impl Publisher {
    /// Starts one with a certificate. It publishes `list` as it should.
    ///
    /// # Errors
    /// If there is no python3, or it does not come up.
    pub fn start(namespace: &NetNs, certificate: &Certificate, list: &str) -> Result<Self> {
        let directory = TempDir::with_prefix("zerorate-web-")?;
        fs::write(
            directory.path().join("server.py"),
            include_str!("web/server.py"),
        )?;
        let mut publisher = Self {
            namespace: namespace.clone(),
            directory,
            child: None,
        };
        publisher.publish(list)?;
        publisher.way("good")?;
        publisher.again(certificate)?;
        Ok(publisher)
    }

    /// Starts it again, with another certificate or the same.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn again(&mut self, certificate: &Certificate) -> Result<()> {
        self.stop()?;
        let at = self.directory.path();
        let mut python = self.namespace.command("python3");
        python
            .arg(at.join("server.py"))
            .arg(at)
            .args([&certificate.certificate, &certificate.key])
            .arg(PORT.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(python.spawn().context("cannot start python3")?);
        until("the server listens", || {
            let mut bash = self.namespace.command("bash");
            let probe = bash.args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{PORT}")]);
            Ok(probe.stderr(Stdio::null()).status()?.success())
        })
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Publishes another list: readers find the old one or this.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn publish(&self, list: &str) -> Result<()> {
        self.replace("list.txt", list)
    }

    /// In which way it answers from now on; `server.py` has them.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn way(&self, way: &str) -> Result<()> {
        self.replace("way", way)
    }

    /// What it answered so far: path and status, a line each.
    #[must_use]
    pub fn answers(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn replace(&self, name: &str, text: &str) -> Result<()> {
        let new = self.directory.path().join(format!("{name}.new"));
        fs::write(&new, text)?;
        Ok(fs::rename(new, self.directory.path().join(name))?)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Nothing is left to report to.
        let _ = self.stop();
    }
}
