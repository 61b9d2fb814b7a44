//! A real PostgreSQL server with a directory of its own, run by an unprivileged user: on a Unix socket and, with TLS, on
//! 127.0.0.1 of a namespace.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use tempfile::TempDir;

use crate::netns::NetNs;
use crate::process::run;
use crate::skip::skip;
use crate::wait::until;

/// Where Debian has the programs of its newest version.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let bins = versions.map(|version| version.path().join("bin"));
    bins.filter(|bin| bin.join("initdb").is_file()).max()
}

/// Whether Debian's `postgresql` is here; if not, the calling test is skipped.
#[must_use]
pub fn has_postgres() -> bool {
    let there = programs().is_some();
    if !there {
        skip("there is no PostgreSQL: install Debian's `postgresql`");
    }
    there
}

/// A server, running or not; gone on drop.
#[derive(Debug)]
pub struct Postgres {
    namespace: NetNs,
    home: TempDir,
    programs: PathBuf,
    user: User,
    child: Option<Child>,
}

impl Postgres {
    /// Makes a server's directory, and starts it.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(namespace: &NetNs) -> Result<Self> {
        let home = TempDir::with_prefix("zr-pg-")?;
        let user = User::from_name("postgres")?.context("there is no user postgres")?;
        chown(
            home.path(),
            Some(user.uid.as_raw()),
            Some(user.gid.as_raw()),
        )?;
        let mut server = Self {
            namespace: namespace.clone(),
            home,
            programs: programs().context("there is no PostgreSQL")?,
            user,
            child: None,
        };
        let mut initdb = server.command("initdb");
        initdb.args([
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--no-sync",
        ]);
        initdb
            .arg("--username=zerorate")
            .arg("-D")
            .arg(server.data());
        run(&mut initdb)?;
        let (key, certificate) = (server.data().join("server.key"), server.certificate());
        let mut openssl = server.through("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=billing",
        ]);
        openssl.args([
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]);
        run(openssl
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate))?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        server.up()?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The certificate it shows.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.data().join("server.crt")
    }

    /// What connects to it by its socket.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "host={} user=zerorate dbname=postgres",
            self.home.path().display()
        )
    }

    /// A program as the unprivileged user, in the namespace.
    fn through(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.namespace.command("setpriv");
        command.args([
            &format!("--reuid={}", self.user.uid),
            &format!("--regid={}", self.user.gid),
            "--clear-groups",
        ]);
        command.arg(program.as_ref()).current_dir("/");
        command
    }

    fn command(&self, program: &str) -> Command {
        self.through(self.programs.join(program))
    }

    /// Starts it, again if it has ended.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn up(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "it is running");
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.home.path().join("log"))?;
        let mut postgres = self.command("postgres");
        postgres
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.home.path());
        for setting in [
            "fsync=off",
            "listen_addresses=127.0.0.1",
            "ssl=on",
            "max_connections=20",
        ] {
            postgres.args(["-c", setting]);
        }
        postgres
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(postgres.spawn().context("cannot start postgres")?);
        until("PostgreSQL answers", || Ok(self.sql("SELECT 1").is_ok()))
            .with_context(|| fs::read_to_string(self.home.path().join("log")).unwrap_or_default())
    }

    /// Ends it at once, in the middle of whatever it does.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn down(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        // The postmaster: `nsenter` and `setpriv` have become it.
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGQUIT)?;
        child.wait()?;
        Ok(())
    }

    /// What a statement answers, a line a row.
    ///
    /// # Errors
    /// If the server refuses, or is not there.
    pub fn sql(&self, statement: &str) -> Result<String> {
        let mut psql = Command::new("psql");
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "zerorate",
            "-d",
            "postgres",
        ]);
        psql.env(
            "PGOPTIONS",
            "-c search_path=zerorate,public -c timezone=UTC",
        );
        Ok(run(psql
            .arg("-h")
            .arg(self.home.path())
            .arg("-c")
            .arg(statement))?
        .trim()
        .to_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Err(error) = self.down() {
            eprintln!("cannot end PostgreSQL: {error}");
        }
    }
}
