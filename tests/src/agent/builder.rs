//! The files an agent is started with.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use tempfile::TempDir;

use super::{Agent, BPFFS, PIN_PREFIX, binary, sweep, write};
use crate::netns::NetNs;
use crate::process::run;

static COUNTER: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// What an agent is to be started with.
#[derive(Clone, Debug)]
pub struct Builder {
    namespace: NetNs,
    node: String,
    policy: Policy,
    subscribers: String,
    settings: String,
    interfaces: String,
    sections: String,
    through: Vec<String>,
    hears_sigterm: bool,
}

#[derive(Clone, Debug)]
enum Policy {
    Text(String),
    Directory(PathBuf),
}

impl Builder {
    pub(super) fn new(namespace: &NetNs) -> Self {
        let policy = "name = \"test\"\ndefault_class = \"internet\"\n\
            [classes.internet]\nrating_group = 1\n\
            [plans.basic.charge]\n\"*\" = \"metered\"\n";
        Self {
            namespace: namespace.clone(),
            node: "test".to_owned(),
            policy: Policy::Text(policy.to_owned()),
            subscribers: String::new(),
            settings: String::new(),
            interfaces: String::new(),
            sections: String::new(),
            through: Vec::new(),
            hears_sigterm: false,
        }
    }

    /// What the node is called; `test` unless said otherwise.
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        self.node = name.to_owned();
        self
    }

    /// The policy, as the text of a `policy.toml`.
    #[must_use]
    pub fn policy(mut self, text: &str) -> Self {
        self.policy = Policy::Text(text.to_owned());
        self
    }

    /// The policy, as a directory that is copied.
    #[must_use]
    pub fn policy_directory(mut self, directory: &Path) -> Self {
        self.policy = Policy::Directory(directory.to_owned());
        self
    }

    /// The lines of the subscriber file after its header: `alice,basic,active,10.1.0.1/32`.
    #[must_use]
    pub fn subscribers(mut self, lines: &str) -> Self {
        self.subscribers = lines.to_owned();
        self
    }

    /// An interface with its role, `access` or `core`, and further lines of its section, such as
    /// `unknown = "drop"`.
    #[must_use]
    pub fn interface(mut self, name: &str, role: &str, lines: &str) -> Self {
        let section = format!("[[interface]]\nname = \"{name}\"\nrole = \"{role}\"\n{lines}\n");
        self.interfaces.push_str(&section);
        self
    }

    /// A line at the top of the configuration.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push_str(line);
        self.settings.push('\n');
        self
    }

    /// A section of the configuration, such as `[records]` and what belongs to it.
    #[must_use]
    pub fn section(mut self, lines: &str) -> Self {
        self.sections.push_str(lines);
        self.sections.push('\n');
        self
    }

    /// A program that starts the agent, with its arguments: `["setpriv", "--reuid=65534"]`.
    #[must_use]
    pub fn through<W: AsRef<str>>(mut self, words: &[W]) -> Self {
        self.through = words.iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// Lets SIGTERM reach it although this process waits for signals itself ([`crate::interrupt`]).
    #[must_use]
    pub const fn hears_sigterm(mut self) -> Self {
        self.hears_sigterm = true;
        self
    }

    /// Writes the files, starts the agent, and waits until it answers.
    ///
    /// # Errors
    /// If it ends or does not answer in time; the error has all it said.
    pub fn start(self) -> Result<Agent> {
        let mut agent = self.prepare()?;
        agent.start()?;
        Ok(agent)
    }

    /// Writes the files, and leaves starting to [`Agent::start`].
    ///
    /// # Errors
    /// If there is no bpffs, or a file cannot be written.
    pub fn prepare(self) -> Result<Agent> {
        let bpffs = statfs(BPFFS).is_ok_and(|status| status.filesystem_type() == BPF_FS_MAGIC);
        ensure!(
            bpffs,
            "bpffs is not mounted at {BPFFS}: run `cargo xtask setup`"
        );
        SWEEP.call_once(sweep);
        let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut agent = Agent {
            binary: binary()?,
            namespace: self.namespace,
            home: TempDir::with_prefix("zerorate-").context("cannot make a directory")?,
            pin_dir: Path::new(BPFFS).join(format!("{PIN_PREFIX}{}-{counter}", process::id())),
            child: None,
            through: self.through,
            hears_sigterm: self.hears_sigterm,
        };
        if !agent.through.is_empty() {
            // Whoever starts it need not be allowed where it was built. Copied by a process of its own:
            // a program that any child of ours has open for writing, by accident, cannot be started.
            let copy = agent.home.path().join("zerorate");
            run(Command::new("cp").arg(&agent.binary).arg(&copy))?;
            agent.binary = copy;
        }
        match &self.policy {
            Policy::Text(text) => agent.write_policy(text)?,
            Policy::Directory(from) => copy(from, &agent.policy_dir())?,
        }
        agent.write_subscribers(&self.subscribers)?;
        let mut config = self.settings;
        for (key, value) in [
            ("node", Path::new(&self.node)),
            ("policy", &agent.policy_dir()),
            ("subscribers", &agent.subscribers_file()),
            ("ledger", &agent.ledger()),
            ("pin_dir", &agent.pin_dir),
        ] {
            writeln!(config, "{key} = \"{}\"", value.display())?;
        }
        config.push_str(&self.interfaces);
        writeln!(config, "[api]\nsocket = \"{}\"", agent.socket().display())?;
        config.push_str(&self.sections);
        write(&agent.config(), &config)?;
        Ok(agent)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}
