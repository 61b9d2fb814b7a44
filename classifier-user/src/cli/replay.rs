//! `zerorate replay`: a capture through the verdict, and what it would have cost.

use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::replay::capture::Capture;
use crate::replay::{EngineKind, Replay, Role};
use crate::report::Format;
use crate::{policy, subscribers};

/// Replays a capture through the verdict: who would have been charged what.
///
/// Reads pcap and pcapng (Ethernet, raw IP, NULL/loopback, Linux cooked). Each packet is judged at its own time
/// under the policy of that time; every bucket holds its plan's grant at the beginning and none restarts.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Policy directory.
    #[arg(long, value_name = "DIR")]
    policy: PathBuf,
    /// Subscribers, CSV with the header `id,plan,state,addresses`.
    #[arg(long, value_name = "FILE")]
    subscribers: PathBuf,
    /// Capture file.
    #[arg(long, value_name = "FILE")]
    pcap: PathBuf,
    /// Role of the interface the capture was made on.
    #[arg(long, value_enum, default_value_t = Role::Auto)]
    role: Role,
    /// `native` needs no privileges; `kernel` runs the real program.
    #[arg(long, value_enum, default_value_t = EngineKind::Native)]
    engine: EngineKind,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// When an input cannot be read, or the kernel engine fails.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let policy = policy::load(&args.policy)?.policy;
    let subscribers = subscribers::load(&args.subscribers, &policy)?.subscribers;
    let capture = Capture::open(&args.pcap).with_context(|| args.pcap.display().to_string())?;
    let mut replay = Replay::new(&policy, &subscribers, args.role, args.engine)?;
    let mut broken = None;
    for frame in capture {
        match frame {
            Ok(frame) => replay.judge(&frame)?,
            // What was read so far is still the truth about that much.
            Err(error) => broken = Some(error),
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut report = replay.report()?;
    report.sort();
    report.write(&mut out, args.format)?;
    out.flush()?;
    match broken {
        None => Ok(ExitCode::SUCCESS),
        Some(error) => Err(error).with_context(|| args.pcap.display().to_string()),
    }
}
