//! `zerorate usage`: what every subscriber used, and the books; one subscriber's statement; or usage by the hour or the day.

mod by;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgGroup;
use hyper::Method;

use self::by::{Asked, By};
use super::agent::Socket;
use crate::api::client::{ApiError, ask, escape};
use crate::report::statement::Statement;
use crate::report::{Format, Report};

/// Shows what every subscriber used, by class and charge, and whether the books close; or the statement of one; or what was
/// recorded by the hour or by the day.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("period").multiple(true))]
pub struct Args {
    #[command(flatten)]
    socket: Socket,
    /// The statement of this subscriber: time, speed and volume, by class and charge. With --by, only its usage.
    #[arg(long, value_name = "ID", group = "period")]
    subscriber: Option<String>,
    /// What was recorded after this: a date in the gateway's time zone, or RFC 3339. With --by, whole hours or days.
    #[arg(long, value_name = "TIME", requires = "period")]
    from: Option<String>,
    /// And not after this; now, if it is not said.
    #[arg(long, value_name = "TIME", requires = "period")]
    to: Option<String>,
    #[command(flatten)]
    by: By,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Prints again every so many seconds.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
    watch: Option<f64>,
}

enum Answer {
    All(Report),
    One(Box<Statement>),
}

impl Answer {
    fn ask(args: &Args) -> Result<Self, ApiError> {
        let socket = &args.socket.socket;
        let Some(id) = &args.subscriber else {
            return ask(socket, Method::GET, "/v1/usage").map(Self::All);
        };
        let bounds = [("from", &args.from), ("to", &args.to)];
        let bounds: Vec<String> = bounds
            .iter()
            .filter_map(|(name, time)| Some(format!("{name}={}", escape((*time).as_ref()?))))
            .collect();
        let path = format!("/v1/subscribers/{}/usage?{}", escape(id), bounds.join("&"));
        ask(socket, Method::GET, &path).map(Self::One)
    }
}

/// Runs the command.
///
/// # Errors
/// When the agent does not answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(span) = args.by.by {
        return args.by.run(&Asked {
            socket: &args.socket.socket,
            span,
            subscriber: args.subscriber.as_deref(),
            from: args.from.as_deref(),
            to: args.to.as_deref(),
            format: args.format,
        });
    }
    let mut out = io::stdout().lock();
    loop {
        let answer = Answer::ask(args)?;
        if args.watch.is_some() && args.format == Format::Table && out.is_terminal() {
            // Clears the screen: ECMA-48 ED and CUP.
            write!(out, "\x1b[2J\x1b[H")?;
        }
        match &answer {
            Answer::All(report) => report.write(&mut out, args.format)?,
            Answer::One(statement) => statement.write(&mut out, args.format)?,
        }
        out.flush()?;
        let Some(seconds) = args.watch else {
            return Ok(ExitCode::SUCCESS);
        };
        std::thread::sleep(Duration::try_from_secs_f64(seconds.max(0.1))?);
    }
}
