//! A shell as an admin has it on the gateway: `zerorate` and `sudo` are there, the configuration is in `/etc/zerorate`, the
//! ledger in `/var/lib/zerorate`, and the names of the letter resolve. All of it in a mount namespace of its own: nothing of
//! the machine is changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use zerorate_tests::agent::{Agent, binary};
use zerorate_tests::clock::Clock;

/// What the letter's names lead to.
const HOSTS: &str = "\
192.0.2.101 portal.school.example
2001:db8:12::101 portal.school.example
192.0.2.102 lessons.school.example
192.0.2.103 diary.school.example
192.0.2.104 library.example
192.0.2.105 university.example
192.0.2.106 exams.example
192.0.2.107 olympiad.example
192.0.2.108 kindergarten.example
192.0.2.109 college.example
192.0.2.110 science.example
2001:db8:12::110 science.example
192.0.2.111 teachers.example
192.0.2.112 museum.example
";

/// Puts the admin's directories where they belong, then does what is typed.
const ENTER: &str = "mount --make-rprivate / && mount --bind \"$1/etc\" /etc && mount --bind \"$2\" /etc/zerorate \
    && mount -t tmpfs none /var/lib && mkdir /var/lib/zerorate && mount --bind \"$2\" /var/lib/zerorate \
    && cd \"$1/work\" && exec 2>&1 && eval \"$3\"";

pub(crate) struct Shell {
    place: TempDir,
    home: PathBuf,
    through: Vec<String>,
    socket: PathBuf,
}

impl Shell {
    /// Beside a running agent, whose directory is the admin's `/etc/zerorate`.
    pub(crate) fn new(agent: &Agent, clock: &Clock) -> Result<Self> {
        let place = TempDir::with_prefix("zerorate-guide-")?;
        let within = |name: &str| place.path().join(name);
        for name in ["work", "bin"] {
            fs::create_dir(within(name))?;
        }
        symlink(binary()?.canonicalize()?, within("bin/zerorate"))?;
        fs::write(within("bin/sudo"), "#!/bin/sh\nexec \"$@\"\n")?;
        fs::set_permissions(within("bin/sudo"), Permissions::from_mode(0o755))?;
        let copied = Command::new("cp")
            .args(["-a", "/etc"])
            .arg(within("etc"))
            .status()?;
        ensure!(copied.success(), "cannot copy /etc");
        fs::create_dir_all(within("etc/zerorate"))?;
        fs::write(within("etc/hosts"), HOSTS)?;
        fs::write(within("etc/nsswitch.conf"), "hosts: files\n")?;
        Ok(Self {
            home: agent.home().to_owned(),
            socket: agent.socket(),
            through: clock.through(),
            place,
        })
    }

    /// What somebody sees who types this.
    pub(crate) fn run(&self, command: &str) -> Result<String> {
        let path = std::env::var("PATH").context("PATH")?;
        let bin = self.place.path().join("bin");
        // The clock is that of what is typed, not that of mounting.
        let mut words = vec!["--mount", "sh", "-c", ENTER, "sh"];
        let (place, home) = (show(self.place.path()), show(&self.home));
        let clock = self.through[1..]
            .iter()
            .map(|word| format!("export '{word}'; "));
        let typed = clock.chain([command.to_owned()]).collect::<String>();
        words.extend([place.as_str(), home.as_str(), typed.as_str()]);
        let output = Command::new("unshare")
            .args(words)
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("ZERORATE_SOCKET", &self.socket)
            .env_remove("COLUMNS")
            .stdin(Stdio::null())
            .output()?;
        let printed = String::from_utf8([output.stderr, output.stdout].concat())?;
        Ok(printed.replace(&home, "/etc/zerorate"))
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
