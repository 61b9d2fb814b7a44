//! `zerorate replay`: a capture through the verdict, and what it would have cost.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::policy::Policy;
use crate::replay::against::Against;
use crate::replay::capture::{Capture, CaptureError};
use crate::replay::{EngineKind, Replay, Role};
use crate::report::Format;
use crate::subscribers::Subscriber;
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
    /// Directory of another policy, such as the one in force: says only what would be charged otherwise than under it, by
    /// subscriber, class and charge.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
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
    if let Some(old) = &args.against {
        return compare(args, old, (&policy, &subscribers));
    }
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
    finish(args, broken)
}

/// Both policies over the same packets.
fn compare(args: &Args, old: &Path, new: (&Policy, &[Subscriber])) -> anyhow::Result<ExitCode> {
    if args.engine == EngineKind::Kernel {
        bail!(
            "--against compares packet by packet, and the kernel only tells sums: leave out --engine kernel; both engines \
             judge alike"
        );
    }
    let old_policy = policy::load(old)?.policy;
    let subscribers = subscribers::load(&args.subscribers, &old_policy)?.subscribers;
    let capture = Capture::open(&args.pcap).with_context(|| args.pcap.display().to_string())?;
    let mut against = Against::new((&old_policy, &subscribers), new, args.role)?;
    let mut broken = None;
    for frame in capture {
        match frame {
            Ok(frame) => against.judge(&frame),
            Err(error) => broken = Some(error),
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    against.report().write(&mut out, args.format)?;
    out.flush()?;
    finish(args, broken)
}

fn finish(args: &Args, broken: Option<CaptureError>) -> anyhow::Result<ExitCode> {
    match broken {
        None => Ok(ExitCode::SUCCESS),
        Some(error) => Err(error).with_context(|| args.pcap.display().to_string()),
    }
}
