//! `cargo xtask test`: every check and test there is, in order, and one line that adds them up.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::build;
use crate::ebpf;
use crate::process;
use crate::setup::{self, Need};
use crate::soak;
use crate::tally::{Skips, Tally};
use crate::workspace::{Workspace, find_program};

/// One step, under its own heading and on its own clock.
struct Step {
    name: &'static str,
    /// Whether the steps after it make sense only if it succeeds.
    vital: bool,
    run: fn(&Run<'_>) -> Result<Tally>,
}

const STEPS: &[Step] = &[
    Step {
        name: "setup",
        vital: true,
        run: |run| nothing(setup::setup(run.workspace, Need::Test)),
    },
    Step {
        name: "ebpf",
        vital: true,
        run: |run| nothing(ebpf::build(run.workspace)),
    },
    Step {
        name: "fmt",
        vital: false,
        run: |run| run.cargo(&["fmt", "--all", "--check"]),
    },
    Step {
        name: "clippy",
        vital: false,
        run: |run| {
            clippy(
                &mut run.workspace.cargo(),
                &["--workspace", "--all-targets"],
            )
        },
    },
    Step {
        name: "clippy-ebpf",
        vital: false,
        run: clippy_ebpf,
    },
    Step {
        name: "doc",
        vital: false,
        run: doc,
    },
    Step {
        name: "deny",
        vital: false,
        run: deny,
    },
    Step {
        name: "binary",
        vital: true,
        run: |run| run.cargo(BINARY),
    },
    Step {
        name: "tests",
        vital: true,
        run: cargo_test,
    },
    Step {
        name: SOAK,
        vital: true,
        run: |run| nothing(process::run(&mut soak::prepare(run.workspace)?)),
    },
];

/// Hours: only for who asks for it.
const SOAK: &str = "soak";

pub(crate) const BINARY: &[&str] = &["build", "--package", build::PACKAGE, "--bin", build::BINARY];
/// What the step `tests` cannot do without, also when it is asked for alone.
const BEFORE_TESTS: &[&str] = &["ebpf", "binary"];

/// The names `--only` takes.
pub(crate) fn step_names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// `cargo xtask test [--soak] [--only STEP] [-- ARGS]`.
pub(crate) fn command(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    let arguments = Arguments::parse(arguments)?;
    let run = Run {
        workspace,
        test_arguments: &arguments.for_cargo_test,
    };
    let mut total = Tally::default();
    for step in STEPS.iter().filter(|step| arguments.wants(step)) {
        println!("── {} ──", step.name);
        let started = Instant::now();
        let tally = (step.run)(&run).unwrap_or_else(|error| {
            println!("{error:#}");
            Tally::FAILURE
        });
        let outcome = if tally.failed == 0 { "ok" } else { "FAILED" };
        let seconds = started.elapsed().as_secs_f64();
        println!("{}: {outcome} in {seconds:.1} s", step.name);
        total += tally;
        if step.vital && tally.failed > 0 {
            break;
        }
    }
    // The last line, whatever happened.
    println!("{total}");
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[derive(Debug, Default, PartialEq)]
struct Arguments {
    only: Option<String>,
    soak: bool,
    for_cargo_test: Vec<String>,
}

impl Arguments {
    fn parse(words: &[String]) -> Result<Self> {
        let mut parsed = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--only" => {
                    let step = words.next().context("--only needs the name of a step")?;
                    if !step_names().contains(&step.as_str()) {
                        bail!(
                            "there is no step `{step}`; there are {}",
                            step_names().join(", ")
                        );
                    }
                    parsed.only = Some(step.clone());
                }
                "--soak" => parsed.soak = true,
                "--" => parsed.for_cargo_test = words.by_ref().cloned().collect(),
                other => bail!("`cargo xtask test` does not know `{other}`"),
            }
        }
        Ok(parsed)
    }

    fn wants(&self, step: &Step) -> bool {
        match self.only.as_deref() {
            None => self.soak || step.name != SOAK,
            Some("tests") => step.name == "tests" || BEFORE_TESTS.contains(&step.name),
            Some(only) => step.name == only || (self.soak && step.name == SOAK),
        }
    }
}

/// What the steps need to know.
struct Run<'a> {
    workspace: &'a Workspace,
    test_arguments: &'a [String],
}

impl Run<'_> {
    fn cargo(&self, arguments: &[&str]) -> Result<Tally> {
        nothing(process::run(self.workspace.cargo().args(arguments)))
    }
}

/// A step that has no tests in it: it succeeds or it does not.
fn nothing(result: Result<()>) -> Result<Tally> {
    result.map(|()| Tally::default())
}

fn clippy(cargo: &mut Command, what: &[&str]) -> Result<Tally> {
    nothing(process::run(
        cargo
            .arg("clippy")
            .args(what)
            .args(["--", "-D", "warnings"]),
    ))
}

/// The kernel programs, checked as code for the host: clippy has no `core` for the BPF target.
fn clippy_ebpf(run: &Run<'_>) -> Result<Tally> {
    let mut cargo = run.workspace.cargo();
    // Nothing unwinds without std, and on the host that has to be said.
    cargo.env("CARGO_PROFILE_DEV_PANIC", "abort");
    let programs = [
        "--package",
        ebpf::PACKAGE,
        "--features",
        "kernel",
        "--bin",
        ebpf::BINARY,
        "--bin",
        ebpf::BENCH,
    ];
    clippy(&mut cargo, &programs)
}

fn doc(run: &Run<'_>) -> Result<Tally> {
    let mut cargo = run.workspace.cargo();
    cargo
        .args(["doc", "--no-deps", "--workspace"])
        .env("RUSTDOCFLAGS", "-D warnings");
    nothing(process::run(&mut cargo))
}

/// Licences and sources of what we depend on, where cargo-deny is installed.
fn deny(run: &Run<'_>) -> Result<Tally> {
    if find_program("cargo-deny").is_none() {
        println!("SKIPPED: cargo-deny is not installed (cargo install cargo-deny --locked)");
        return Ok(Tally {
            skipped: 1,
            ..Tally::default()
        });
    }
    run.cargo(&["deny", "check", "licenses", "sources", "bans"])
}

fn cargo_test(run: &Run<'_>) -> Result<Tally> {
    let skip_file = run.workspace.target.join("skips.txt");
    fs::write(&skip_file, "").with_context(|| format!("cannot write {}", skip_file.display()))?;
    let mut cargo = run.workspace.cargo();
    cargo.args(["test", "--no-fail-fast"]);
    if run.test_arguments.is_empty() {
        cargo.arg("--workspace");
    }
    cargo.args(run.test_arguments);
    cargo.env("ZERORATE_BIN", run.workspace.binary("debug"));
    if env::var_os("RUST_TEST_THREADS").is_none() {
        // Most of the time a test waits, for packets, agents and the kernel's grace periods.
        let cpus = thread::available_parallelism().map_or(2, NonZero::get);
        cargo.env("RUST_TEST_THREADS", (2 * cpus).to_string());
    }
    cargo.env("ZERORATE_SKIPS", &skip_file);
    if let Some(data) = data_dir(run.workspace) {
        cargo.env("ZERORATE_DATA", data);
    }
    let mut tally = counted(&mut cargo)?;
    let skips = Skips::parse(&fs::read_to_string(&skip_file).unwrap_or_default());
    for skip in skips.iter() {
        println!("SKIPPED: {skip}");
    }
    tally.take_skips(&skips);
    Ok(tally)
}

/// The captures and prefix lists the tests may use: as the caller says, or beside the clone.
pub(crate) fn data_dir(workspace: &Workspace) -> Option<PathBuf> {
    match env::var_os("ZERORATE_DATA") {
        Some(dir) => Some(dir.into()),
        None => Some(workspace.root.join("../shared/data")).filter(|dir| dir.is_dir()),
    }
}

/// Runs test binaries, showing what they print and adding up what they say.
fn counted(cargo: &mut Command) -> Result<Tally> {
    let line = process::describe(cargo);
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let stdout = child
        .stdout
        .take()
        .context("the tests' output is not to be had")?;
    let mut tally = Tally::default();
    // A test may print anything: not every line is text.
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read the tests' output")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read_line(&line);
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{line}`"))?;
    if !status.success() && tally.failed == 0 {
        // A binary that did not compile, or died, reports no failed test.
        println!("`{line}` failed ({status})");
        tally.failed = 1;
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    fn wanted(line: &str) -> Vec<&'static str> {
        let arguments = parse(line).unwrap();
        STEPS
            .iter()
            .filter(|step| arguments.wants(step))
            .map(|step| step.name)
            .collect()
    }

    #[test]
    fn only_one_step_or_all_of_them() {
        let [usual @ .., soak] = &step_names()[..] else {
            panic!("no steps");
        };
        assert_eq!(wanted(""), usual);
        assert_eq!(wanted("--soak"), step_names());
        assert_eq!(wanted("--only soak"), [*soak]);
        assert_eq!(wanted("--only fmt --soak"), ["fmt", *soak]);
        assert_eq!(wanted("--only fmt"), ["fmt"]);
        assert_eq!(wanted("--only tests"), ["ebpf", "binary", "tests"]);
        assert!(parse("--only").is_err());
        assert!(parse("--fast").is_err());
    }

    #[test]
    fn what_follows_the_dashes_is_for_cargo_test() {
        let arguments = parse("--only tests -- -p zerorate-tests -- lab").unwrap();
        assert_eq!(
            arguments.for_cargo_test,
            ["-p", "zerorate-tests", "--", "lab"]
        );
    }

    #[test]
    fn a_run_of_tests_that_dies_has_failed() {
        let script = |text: &str| {
            counted(Command::new("sh").args(["-c", text]))
                .unwrap()
                .to_string()
        };
        assert_eq!(
            script("echo 'test result: ok. 2 passed; 0 failed'"),
            "2 passed, 0 failed, 0 skipped"
        );
        assert_eq!(script("kill -9 $$"), "0 passed, 1 failed, 0 skipped");
        assert_eq!(
            script("echo 'test result: FAILED. 1 passed; 2 failed'; exit 101"),
            "1 passed, 2 failed, 0 skipped"
        );
    }
}
