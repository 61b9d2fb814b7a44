//! Pruning, after a question.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use hyper::Method;

use crate::api::client::tell;
use crate::api::routes::{PruneAnswer, PruneRequest};
use crate::cli::agent::Socket;

/// What is pruned, and why.
#[derive(Debug, clap::Args)]
pub(super) struct What {
    /// Sealed files all of whose records ended before this: a date in the gateway's time zone, or RFC 3339.
    #[arg(long, value_name = "TIME", required_unless_present = "retention")]
    before: Option<String>,
    /// What is older than `retention` under [records].
    #[arg(long, conflicts_with = "before")]
    retention: bool,
    /// Why. It is recorded.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Also what is younger than `retention`, and what consumers or sinks do not have yet.
    #[arg(long)]
    force: bool,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    socket: Socket,
}

/// Says what would be pruned, asks, and prunes.
///
/// # Errors
/// When the agent does not answer, or refuses.
pub(super) fn run(what: &What) -> anyhow::Result<ExitCode> {
    let path = "/v1/ledger/prune";
    let mut request = PruneRequest {
        before: what.before.clone(),
        reason: what.reason.clone(),
        force: what.force,
        dry_run: true,
    };
    let socket = &what.socket.socket;
    if !what.yes {
        let would: PruneAnswer = tell(socket, Method::POST, path, &request)?;
        eprintln!("{} would be removed for good.", said(&would));
        if !asked()? {
            eprintln!("Nothing was pruned.");
            return Ok(ExitCode::FAILURE);
        }
    }
    request.dry_run = false;
    let pruned: PruneAnswer = tell(socket, Method::POST, path, &request)?;
    let record = pruned.record.as_ref().map_or(0, |record| record.seq);
    println!("{} are gone; record {record} says so", said(&pruned));
    Ok(ExitCode::SUCCESS)
}

fn said(answer: &PruneAnswer) -> String {
    let PruneAnswer {
        first_seq,
        last_seq,
        files,
        bytes,
        latest,
        ..
    } = answer;
    format!("Records {first_seq} to {last_seq}, until {latest}, in {files} files of {bytes} bytes,")
}

/// Asks whoever sits there; who does not is asked to say it beforehand.
fn asked() -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        eprintln!("Nobody can be asked here: add --yes.");
        return Ok(false);
    }
    eprint!("Remove them? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
