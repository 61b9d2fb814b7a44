//! The demo plays to its end, and leaves nothing behind, however it ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use zerorate_tests::agent::BINARY_VARIABLE;
use zerorate_tests::can_use_namespaces;

/// A demo that is playing, with a directory of its own for temporary files.
struct Demo {
    child: Child,
    temporary: TempDir,
}

/// How it ended, and all it printed.
struct Ended {
    status: ExitStatus,
    said: String,
    complained: String,
}

impl Demo {
    fn start(prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        let temporary = TempDir::with_prefix("zerorate-demo-")?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
        command
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        prepare(&mut command);
        let child = command.spawn()?;
        Ok(Self { child, temporary })
    }

    /// Reads what it prints up to the line that contains `text`.
    fn until(&mut self, text: &str) -> Result<String> {
        let mut said = String::new();
        // One byte at a time: what follows is for the next reader.
        let out = self.child.stdout.as_mut().context("nobody reads it")?;
        let mut out = BufReader::with_capacity(1, out);
        while !said.lines().last().is_some_and(|line| line.contains(text)) {
            ensure!(out.read_line(&mut said)? > 0, "no `{text}`:\n{said}");
        }
        Ok(said)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(id, signal).context("cannot send the signal")
    }

    /// Waits until it has ended, and asserts that nothing of it is left.
    fn end(mut self) -> Result<Ended> {
        let (mut said, mut complained) = (String::new(), String::new());
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_string(&mut said)?;
        }
        if let Some(mut out) = self.child.stderr.take() {
            out.read_to_string(&mut complained)?;
        }
        let status = self.child.wait()?;
        let id = self.child.id();
        for directory in ["/run/netns", "/sys/fs/bpf"] {
            for prefix in [format!("zr-{id}-"), format!("zr-test-{id}-")] {
                assert_eq!(names(Path::new(directory), &prefix)?, [""; 0]);
            }
        }
        assert_eq!(names(self.temporary.path(), "")?, [""; 0]);
        assert_eq!(processes_that_name(self.temporary.path())?, [""; 0]);
        Ok(Ended {
            status,
            said,
            complained,
        })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // A test has failed while it plays.
        if let Ok(None) = self.child.try_wait() {
            let _ = self.signal(Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

/// What in a directory begins with a prefix.
fn names(directory: &Path, prefix: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    // The first namespace makes its directory.
    if !directory.exists() {
        return Ok(names);
    }
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(prefix) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Command lines in which a path appears: the agent is given its configuration's.
fn processes_that_name(path: &Path) -> Result<Vec<String>> {
    let path = path.to_string_lossy();
    let lines = fs::read_dir("/proc")?
        .flatten()
        // A process may end while it is looked at.
        .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    Ok(lines.filter(|line| line.contains(&*path)).collect())
}

#[test]
fn the_demo_ends_with_books_that_close() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let ended = Demo::start(|_| {})?.end()?;
    let all = format!("{}\n{}", ended.said, ended.complained);
    assert!(ended.status.success(), "{all}");
    assert!(
        all.contains("on the accounts above: difference 0 bytes."),
        "{all}"
    );
    for told in [
        "added to education: 203.0.113.200/32",
        "taken over without a gap",
        "$ zerorate usage",
        "$ zerorate status",
        "are gone again",
    ] {
        assert!(all.contains(told), "`{told}` is missing:\n{all}");
    }
    assert!(!all.contains("WRONG") && !all.contains('\x1b'), "{all}");
    Ok(())
}

#[test]
fn a_scenario_is_told_to_its_end_and_leaves_nothing() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let ended = Demo::start(|command| _ = command.args(["--scenario", "xk-order"]))?.end()?;
    let all = format!("{}\n{}", ended.said, ended.complained);
    assert!(ended.status.success(), "{all}");
    for told in [
        "a new platform",
        "in force, without a command",
        "$ zerorate subscriber resume besnik --reason \"paid on the page\"",
        "$ zerorate usage --subscriber besnik",
        "$ zerorate status",
        "on the accounts above: difference 0.",
        "are gone again",
    ] {
        assert!(all.contains(told), "`{told}` is missing:\n{all}");
    }
    assert!(!all.contains('\x1b'), "{all}");
    Ok(())
}

#[test]
fn a_scenario_that_is_stopped_cleans_up() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let mut demo = Demo::start(|command| _ = command.args(["--scenario", "kz-emergency"]))?;
    let said = demo.until("3. ")?;
    demo.signal(Signal::SIGINT)?;
    let ended = demo.end()?;
    let code = ended.status.code();
    assert_eq!(
        code,
        Some(128 + Signal::SIGINT as i32),
        "{said}{}",
        ended.complained
    );
    assert!(!ended.said.contains("The books"), "{}", ended.said);
    Ok(())
}

#[test]
fn scenarios_are_listed_and_a_wrong_name_says_which_there_are() -> Result<()> {
    let ask = |words: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_demo"))
            .args(words)
            .output()
    };
    let list = ask(&["--scenario", "list"])?;
    assert!(list.status.success());
    let list = String::from_utf8(list.stdout)?;
    let policies = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies"))?;
    for policy in policies.flatten() {
        if policy.path().join("policy.toml").is_file() {
            let name = policy.file_name().to_string_lossy().into_owned();
            assert!(list.contains(&format!("  {name} ")), "{name}: {list}");
        }
    }
    let wrong = ask(&["--scenario", "nowhere"])?;
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8(wrong.stderr)?;
    assert!(
        said.contains("`nowhere`") && said.contains(list.trim_end()),
        "{said}"
    );
    let other = ask(&["--scene", "xk-order"])?;
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8(other.stderr)?.contains("`--scenario list`"));
    Ok(())
}

#[test]
fn a_demo_that_is_stopped_cleans_up() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    // While namespaces are made, between two deeds, and in mid-transfer.
    for (signal, scene) in [
        (Signal::SIGTERM, "1. "),
        (Signal::SIGINT, "2. "),
        (Signal::SIGHUP, "Bob downloads"),
    ] {
        let mut demo = Demo::start(|_| {})?;
        let said = demo.until(scene)?;
        demo.signal(signal)?;
        // Impatience does not stop the cleaning up.
        demo.signal(signal)?;
        let ended = demo.end()?;
        assert_eq!(
            ended.status.code(),
            Some(128 + signal as i32),
            "{said}{}",
            ended.complained
        );
        assert!(!ended.said.contains("$ zerorate usage"), "{}", ended.said);
    }
    Ok(())
}

#[test]
fn a_demo_nobody_reads_any_more_cleans_up() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let mut demo = Demo::start(|_| {})?;
    demo.until("2. ")?;
    demo.child.stdout = None;
    let ended = demo.end()?;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.complained);
    Ok(())
}

#[test]
fn whoever_cannot_play_it_is_told_in_one_line() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    const NOBODY: u32 = 65534;
    let mut as_nobody = Command::new(env!("CARGO_BIN_EXE_demo"));
    match as_nobody.uid(NOBODY).output() {
        Ok(output) => {
            assert_eq!(output.status.code(), Some(1));
            assert_eq!(
                String::from_utf8_lossy(&output.stderr),
                "error: the demo makes network namespaces and loads a kernel program: run it as root\n"
            );
        }
        Err(error) => zerorate_tests::skip(&format!("nobody may not run the demo: {error}")),
    }
    let ended = Demo::start(|command| _ = command.env_remove(BINARY_VARIABLE))?.end()?;
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.complained.lines().count(), 1, "{}", ended.complained);
    assert!(
        ended.complained.contains("cargo xtask demo"),
        "{}",
        ended.complained
    );
    Ok(())
}
