//! `zerorate subscriber`: who has a session on the running agent.

use std::io;
use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;

use super::agent::Socket;
use super::records::{self, Line};
use crate::agent::views::SubscriberView;
use crate::api::client::ask;
use crate::report::Format;

/// Subscribers of the running agent.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists subscribers with their plan, state, addresses and what is left in their buckets.
    List {
        #[command(flatten)]
        socket: Socket,
        /// How to print.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Shows one subscriber.
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        socket: Socket,
        /// How to print.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

impl Line for SubscriberView {
    const HEADS: &'static [&'static str] = &[
        "subscriber",
        "plan",
        "state",
        "session",
        "start",
        "addresses",
        "buckets",
    ];
    fn cells(&self) -> Vec<String> {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let buckets: Vec<_> = self
            .buckets
            .iter()
            .map(|bucket| format!("{}={}", bucket.bucket, bucket.left))
            .collect();
        vec![
            self.subscriber.clone(),
            self.plan.clone(),
            self.state.clone(),
            self.session.to_string(),
            self.start.to_string(),
            addresses.join(" "),
            buckets.join(" "),
        ]
    }
}

/// Runs the command.
///
/// # Errors
/// When the agent does not answer, or knows no such subscriber.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (found, format): (Vec<SubscriberView>, _) = match &args.command {
        Command::List { socket, format } => (
            ask(&socket.socket, Method::GET, "/v1/subscribers")?,
            *format,
        ),
        Command::Show { id, socket, format } => {
            let path = format!("/v1/subscribers/{}", escape(id));
            (vec![ask(&socket.socket, Method::GET, &path)?], *format)
        }
    };
    records::write(&mut io::stdout().lock(), format, &found)?;
    Ok(ExitCode::SUCCESS)
}

/// An id as a path segment: RFC 3986 percent-encoding.
fn escape(id: &str) -> String {
    id.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
