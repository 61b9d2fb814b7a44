//! `zerorate usage`: what every subscriber used, and the books.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use hyper::Method;

use super::agent::Socket;
use crate::api::client::ask;
use crate::report::{Format, Report};

/// Shows what every subscriber used, by class and charge, and whether the books close.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    socket: Socket,
    /// Only this subscriber.
    #[arg(long, value_name = "ID")]
    subscriber: Option<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Prints again every so many seconds.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
    watch: Option<f64>,
}

/// Runs the command.
///
/// # Errors
/// When the agent does not answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    loop {
        let mut report: Report = ask(&args.socket.socket, Method::GET, "/v1/usage")?;
        if let Some(id) = &args.subscriber {
            report.usage.retain(|row| row.subscriber == *id);
            report.unattributed.clear();
            report.books.clear();
        }
        if args.watch.is_some() && args.format == Format::Table && out.is_terminal() {
            // Clears the screen: ECMA-48 ED and CUP.
            write!(out, "\x1b[2J\x1b[H")?;
        }
        report.write(&mut out, args.format)?;
        out.flush()?;
        let Some(seconds) = args.watch else {
            return Ok(ExitCode::SUCCESS);
        };
        std::thread::sleep(Duration::try_from_secs_f64(seconds.max(0.1))?);
    }
}
