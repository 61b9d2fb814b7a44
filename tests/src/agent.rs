//! The real agent, running in a namespace with everything of its own: configuration, policy,
//! subscribers, ledger, socket and pins. All of it, the process first, is gone on drop.

mod builder;

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::bill::Bill;
use crate::interrupt;
use crate::netns::{NetNs, is_dead, maker};
use crate::process::run;
use crate::threads;

pub use builder::Builder;

/// The variable that names the binary under test.
pub const BINARY_VARIABLE: &str = "ZERORATE_BIN";

const BPFFS: &str = "/sys/fs/bpf";
const PIN_PREFIX: &str = "zr-test-";
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// The binary under test.
///
/// # Errors
/// If the environment does not say, or there is no such file.
pub fn binary() -> Result<PathBuf> {
    let path = env::var_os(BINARY_VARIABLE)
        .map(PathBuf::from)
        .with_context(|| {
            format!("{BINARY_VARIABLE} does not say which zerorate to test: run `cargo xtask test`")
        })?;
    ensure!(
        path.is_file(),
        "there is no {}: run `cargo xtask test`",
        path.display()
    );
    Ok(path)
}

/// A running agent, or one that was and can be started again with the same files and pins.
#[derive(Debug)]
pub struct Agent {
    binary: PathBuf,
    namespace: NetNs,
    home: TempDir,
    pin_dir: PathBuf,
    child: Option<Child>,
    /// A program, with its arguments, that starts the agent: `setpriv ...`.
    through: Vec<String>,
    /// Whether SIGTERM reaches it where this process waits for signals itself.
    hears_sigterm: bool,
}

impl Agent {
    /// An agent for a namespace, without interfaces and subscribers, and with a policy in which
    /// everything is metered.
    #[must_use]
    pub fn builder(namespace: &NetNs) -> Builder {
        Builder::new(namespace)
    }

    /// Starts the agent, again if it has ended, and waits until it answers.
    ///
    /// # Errors
    /// If it runs already, ends, or does not answer in time; the error has all it said.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.exited()? {
                bail!("the agent ended ({status}):\n{}", self.log());
            }
            if self.status().is_ok() {
                return Ok(());
            }
            sleep(PAUSE);
        }
        bail!("the agent does not answer:\n{}", self.log())
    }

    /// Starts the agent and does not wait for anything.
    ///
    /// # Errors
    /// If it runs already.
    pub fn spawn(&mut self) -> Result<()> {
        self.spawn_with(&[])
    }

    /// The same with environment variables.
    ///
    /// # Errors
    /// If it runs already.
    pub fn spawn_with(&mut self, variables: &[(&str, &str)]) -> Result<()> {
        ensure!(self.child.is_none(), "the agent is running");
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.log_file())?;
        let mut words = self.through.iter().map(OsStr::new);
        let program = words.next().unwrap_or(self.binary.as_os_str());
        let mut command = self.namespace.command(program);
        command.args(words);
        if !self.through.is_empty() {
            command.arg(&self.binary);
        }
        command.arg("run").arg("--config").arg(self.config());
        command
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = match self.hears_sigterm {
            true => interrupt::let_through(|| command.spawn()),
            false => command.spawn(),
        };
        self.child = Some(child.context("cannot start nsenter")?);
        Ok(())
    }

    /// Starts the agent, which is to end by itself, and returns what it said.
    ///
    /// # Errors
    /// If it goes on running, or ends with another exit code than 1.
    pub fn refusal(&mut self) -> Result<String> {
        let before = self.log().len();
        self.spawn()?;
        let status = self.wait()?;
        let said = self.log().split_off(before);
        ensure!(status.code() == Some(1), "it ended ({status}):\n{said}");
        Ok(said)
    }

    /// The directory of the policy it runs.
    #[must_use]
    pub fn policy_dir(&self) -> PathBuf {
        self.home.path().join("policy")
    }

    /// The subscriber file it runs with.
    #[must_use]
    pub fn subscribers_file(&self) -> PathBuf {
        self.home.path().join("subscribers.csv")
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.home.path().join("zerorate.toml")
    }

    /// Where it answers.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.home.path().join("api.sock")
    }

    /// The directory among its pins that has the maps, named by their layout; `None` while there are no maps.
    #[must_use]
    pub fn maps_dir(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(self.pin_dir()).ok()?;
        let mut names = entries.filter_map(|entry| Some(entry.ok()?.path()));
        names.find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('v'))
        })
    }

    /// Where its maps and links are pinned.
    #[must_use]
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// Replaces `policy.toml`. The new file is there at once, not piece by piece.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_policy(&self, text: &str) -> Result<()> {
        fs::create_dir_all(self.policy_dir()).context("cannot make the policy's directory")?;
        write(&self.policy_dir().join("policy.toml"), text)
    }

    /// Replaces the subscriber file; the header is put before the lines.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_subscribers(&self, lines: &str) -> Result<()> {
        let text = format!("id,plan,state,addresses\n{}\n", lines.trim());
        write(&self.subscribers_file(), &text)
    }

    /// Its ledger.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.home.path().join("ledger.db")
    }

    /// The directory all its files are in.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Replaces a piece of the configuration, for the next start.
    ///
    /// # Errors
    /// If there is no such piece, or the file cannot be written.
    pub fn configure(&self, from: &str, to: &str) -> Result<()> {
        let text = fs::read_to_string(self.config()).context("cannot read the configuration")?;
        ensure!(text.contains(from), "there is no `{from}` in:\n{text}");
        write(&self.config(), &text.replace(from, to))
    }

    /// Runs a command of zerorate against this agent and returns what it prints.
    ///
    /// # Errors
    /// If the command fails; the error has what it said.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        run(self.command(arguments).arg("--socket").arg(self.socket()))
    }

    /// What a command of the running agent prints, a JSON object a line.
    ///
    /// # Errors
    /// If it fails, or prints something else.
    pub fn ask_json(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let said = self.ask(&[arguments, &["--format", "json"]].concat())?;
        said.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect()
    }

    /// The binary with some arguments, on the machine itself: no agent is needed for it.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments);
        command
    }

    /// Takes the programs off and gives the counters up, as a reboot does. It must have ended.
    ///
    /// # Errors
    /// If the command fails.
    pub fn purge(&self) -> Result<String> {
        let arguments = ["detach", "--purge", "--config"];
        let mut command = self.namespace.command(self.binary.as_os_str());
        run(command.args(arguments).arg(self.config()))
    }

    /// Makes the agent read policy and subscribers again.
    ///
    /// # Errors
    /// If it refuses them; the error has its diagnostics.
    pub fn reload(&self) -> Result<String> {
        self.ask(&["policy", "reload"])
    }

    /// What `usage --format json` prints, an object for each line.
    ///
    /// # Errors
    /// If the agent does not answer, or not in JSON.
    pub fn usage_json(&self) -> Result<Vec<Value>> {
        self.ask_json(&["usage"])
    }

    /// What it says was used.
    ///
    /// # Errors
    /// If the agent does not answer.
    pub fn bill(&self) -> Result<Bill> {
        Bill::parse(self.usage_json()?)
    }

    /// What `status --format json` prints, whether or not it finds everything in order.
    ///
    /// # Errors
    /// If the agent does not answer.
    pub fn status(&self) -> Result<Value> {
        let mut command = self.command(&["status", "--format", "json", "--socket"]);
        let output = command.arg(self.socket()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("no status ({}): {said}", output.status))
    }

    /// What is left in a bucket, in bytes.
    ///
    /// # Errors
    /// If the agent does not answer, or there is no such subscriber or bucket.
    pub fn left(&self, subscriber: &str, bucket: &str) -> Result<i64> {
        let shown = self.ask(&["subscriber", "show", subscriber, "--format", "json"])?;
        let shown: Value = serde_json::from_str(&shown)?;
        let mut buckets = shown["buckets"].as_array().into_iter().flatten();
        buckets
            .find(|found| found["bucket"] == bucket)
            .and_then(|found| found["left"].as_i64())
            .with_context(|| format!("no bucket {bucket} in {shown}"))
    }

    /// Sees that all is well when traffic rests: `status` says so, the books close, and nothing was
    /// logged as an error.
    ///
    /// # Errors
    /// If it is not; the error says what is wrong.
    pub fn check_order(&self) -> Result<()> {
        self.ask(&["status"])?;
        let (status, bill) = (self.status()?, self.bill()?);
        ensure!(status["unpriced_packets"] == 0, "unpriced: {status}");
        ensure!(status["books_difference_bytes"] == 0, "books: {status}");
        ensure!(bill.closes(), "books: {:#?}", bill.books);
        let log = self.log();
        let bad = |line: &&str| line.contains("ERROR") || line.contains("panicked");
        match log.lines().find(bad) {
            Some(line) => bail!("in the log: {line}"),
            None => Ok(()),
        }
    }

    /// Everything it has logged, over all starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If it is not running.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.id().context("the agent is not running")?;
        kill(Pid::from_raw(i32::try_from(id)?), signal).context("cannot send the signal")
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// If it is not running, or goes on running.
    pub fn sigterm(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait()
    }

    /// Ends it without giving it a chance to do anything about it.
    ///
    /// # Errors
    /// If it is not running.
    pub fn kill9(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.wait()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// If it is not running, or goes on running; the error has all it said, and where it stands.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        ensure!(self.child.is_some(), "the agent is not running");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            sleep(PAUSE);
        }
        let stands = self.id().map(threads::stacks).unwrap_or_default();
        bail!("the agent does not end:\n{}\n{stands}", self.log())
    }

    /// How it ended, if it has ended by itself.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        let status = child.try_wait().context("cannot wait for the agent")?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("agent.log")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself in the meantime.
            let _ = child.kill();
            let _ = child.wait();
        }
        // A pinned link keeps its program attached: no pins, no programs.
        remove(&self.pin_dir);
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
    }
}

/// Removes pins that earlier runs, killed before they could, did not.
fn sweep() {
    for entry in fs::read_dir(BPFFS).into_iter().flatten().flatten() {
        if maker(&entry.file_name().to_string_lossy(), PIN_PREFIX).is_some_and(is_dead) {
            remove(&entry.path());
        }
    }
}

fn remove(pin_dir: &Path) {
    if pin_dir.exists()
        && let Err(error) = fs::remove_dir_all(pin_dir)
    {
        eprintln!("cannot remove {}: {error}", pin_dir.display());
    }
}

/// Writes a file so that a reader sees the old one or the new one.
fn write(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
