//! Running the product's own `replay`, and saying where it and the oracle part ways.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::capture::Captured;
use super::charge::Role;
use super::frame::UnsupportedLink;

/// The product said that it would not read the inputs, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("refused: {0}")]
pub struct Refused(pub String);

/// The two engines of `zerorate replay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The shared library, unprivileged.
    Native,
    /// The real program, by the kernel's test run.
    Kernel,
}

impl Engine {
    /// The name it has on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Kernel => "kernel",
        }
    }

    /// The engines that can run here: the kernel's needs root, and its absence is said.
    #[must_use]
    pub fn available() -> Vec<Self> {
        if nix::unistd::geteuid().is_root() {
            vec![Self::Native, Self::Kernel]
        } else {
            crate::skip("replay --engine kernel needs root");
            vec![Self::Native]
        }
    }

    /// What the product prints for these inputs.
    ///
    /// # Errors
    /// When there is no binary, or it fails; the error holds what it said.
    pub fn replay(
        self,
        policy: &Path,
        subscribers: &Path,
        capture: &Path,
        role: Role,
    ) -> Result<String> {
        let output = Command::new(binary()?)
            .args([
                "replay",
                "--format",
                "json",
                "--engine",
                self.name(),
                "--role",
                role.name(),
            ])
            .arg("--policy")
            .arg(policy)
            .arg("--subscribers")
            .arg(subscribers)
            .arg("--pcap")
            .arg(capture)
            .output()
            .context("running the binary that ZERORATE_BIN names")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // A signal or a panic (101) is no refusal.
            let refused = matches!(output.status.code(), Some(1..=100));
            ensure!(refused, "{}: {said}", output.status);
            bail!(Refused(said));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The binary under test.
///
/// # Errors
/// When the environment does not name one.
pub fn binary() -> Result<PathBuf> {
    let path = std::env::var_os("ZERORATE_BIN").context(
        "ZERORATE_BIN is not set: run `cargo xtask test`, or `cargo xtask build` and then set it to \
         the full path of target/release/zerorate",
    )?;
    let path = PathBuf::from(path);
    ensure!(
        path.is_file(),
        "ZERORATE_BIN names {}, which is no file",
        path.display()
    );
    Ok(path)
}

/// Has the engines replay a capture, and says where one of them does not say what the oracle says: what
/// each of them said, and the packets.
///
/// A capture of an unsupported link type must be refused by all of them.
#[must_use]
pub fn disagreement(
    engines: &[Engine],
    policy: &Path,
    subscribers: &Path,
    capture: &Path,
    role: Role,
) -> Option<String> {
    let expected = super::replay(policy, subscribers, capture, role);
    let refused = expected
        .as_ref()
        .is_err_and(|error| error.is::<UnsupportedLink>());
    let mut agree = expected.is_ok() || refused;
    let mut readings = vec![("oracle", text(&expected))];
    for engine in engines {
        let output = engine.replay(policy, subscribers, capture, role);
        agree &= match (&expected, &output) {
            (Ok(expected), Ok(output)) => expected == output,
            (Err(_), Err(error)) => error.is::<Refused>(),
            _ => false,
        };
        readings.push((engine.name(), text(&output)));
    }
    if agree {
        return None;
    }
    let readings: Vec<(&str, &str)> = readings
        .iter()
        .map(|(who, reading)| (*who, reading.as_str()))
        .collect();
    let name = format!("{} (--role {})", capture.display(), role.name());
    let packets = super::read_capture(capture).unwrap_or_default();
    Some(side_by_side(
        &name,
        &readings,
        &packets[..packets.len().min(LISTED)],
    ))
}

/// How many packets of a long capture are listed.
const LISTED: usize = 100;

fn text(reading: &Result<String>) -> String {
    match reading {
        Ok(reading) => reading.clone(),
        Err(error) => format!("error: {error:#}\n"),
    }
}

/// Several readings of the same packets, by who gave them, and the packets in hexadecimal.
#[must_use]
pub fn side_by_side(name: &str, readings: &[(&str, &str)], packets: &[Captured]) -> String {
    let mut text = format!("\n=== {name}\n");
    for (who, reading) in readings {
        let _ = write!(text, "--- {who}\n{reading}");
    }
    for (number, packet) in packets.iter().enumerate() {
        let _ = writeln!(
            text,
            "--- packet {}: link type {}, {} of {} bytes, at {} ns",
            number + 1,
            packet.link,
            packet.bytes.len(),
            packet.original,
            packet.time,
        );
        for (row, bytes) in packet.bytes.chunks(16).enumerate() {
            let _ = write!(text, "{:04x} ", row * 16);
            for byte in bytes {
                let _ = write!(text, " {byte:02x}");
            }
            text.push('\n');
        }
    }
    text
}
