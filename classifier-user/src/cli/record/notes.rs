//! `zerorate record outage` and `record correct`: what people record themselves.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{ArgAction, ArgGroup};
use hyper::Method;
use serde::Serialize;

use super::Shown;
use crate::api::client::tell;
use crate::api::routes::{CorrectionRequest, OutageOf, OutageRequest};
use crate::cli::agent::Socket;
use crate::cli::records;
use crate::ledger::notes::Fault;
use crate::ledger::usage::AnyRecord;
use crate::report::{Format, record_rows};

/// An outage.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("scope").required(true).multiple(true)))]
pub(super) struct Outage {
    /// It began,
    #[arg(long, value_name = "TIME")]
    from: String,
    /// and ended: RFC 3339, or a date in the gateway's time zone.
    #[arg(long, value_name = "TIME")]
    to: String,
    /// The gateway was out.
    #[arg(long, group = "scope", conflicts_with_all = ["interface", "class"])]
    node: bool,
    /// One of its interfaces was out, or what is behind it.
    #[arg(long, value_name = "NAME", group = "scope", conflicts_with = "class")]
    interface: Option<String>,
    /// A service class was out; the rest of the service was there.
    #[arg(long, value_name = "NAME", group = "scope")]
    class: Option<String>,
    /// Who was without service; may be given several times. Without it, everybody.
    #[arg(long, value_name = "ID", group = "scope", action = ArgAction::Append)]
    subscriber: Vec<String>,
    /// What happened.
    #[arg(long, value_name = "TEXT")]
    cause: String,
    /// Whose fault it was. The operator's is credited.
    #[arg(long, value_enum)]
    fault: Fault,
    /// What is to be noted beside it.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// A correction.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("right").required(true).multiple(true)))]
pub(super) struct Correct {
    /// Number of the record that should have said something else.
    seq: u64,
    /// Who approved it.
    #[arg(long, value_name = "NAME")]
    approver: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Of usage: IP bytes sent that are right, in place of those in the record.
    #[arg(
        long,
        value_name = "N",
        group = "right",
        requires_all = ["bytes_down", "packets_up", "packets_down"],
        conflicts_with_all = ["from", "to"]
    )]
    bytes_up: Option<u64>,
    /// IP bytes received.
    #[arg(long, value_name = "N", group = "right", requires = "bytes_up")]
    bytes_down: Option<u64>,
    /// Packets sent.
    #[arg(long, value_name = "N", group = "right", requires = "bytes_up")]
    packets_up: Option<u64>,
    /// Packets received.
    #[arg(long, value_name = "N", group = "right", requires = "bytes_up")]
    packets_down: Option<u64>,
    /// Of an outage: it began,
    #[arg(long, value_name = "TIME", group = "right", requires = "to")]
    from: Option<String>,
    /// and ended; the same as `--from` where there was none.
    #[arg(long, value_name = "TIME", group = "right", requires = "from")]
    to: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Your id of it. It is recorded once, however often it is sent; the same id with something else is refused.
    #[arg(long, value_name = "ID")]
    id: String,
    #[command(flatten)]
    socket: Socket,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Outage {
    /// Records it, and prints the record.
    ///
    /// # Errors
    /// When the agent does not answer, or refuses.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let scope = match (&self.interface, &self.class) {
            (Some(_), _) => OutageOf::Interface,
            (None, Some(_)) => OutageOf::Class,
            (None, None) if self.node => OutageOf::Node,
            (None, None) => OutageOf::Subscribers,
        };
        let new = OutageRequest {
            id: self.common.id.clone(),
            scope,
            interface: self.interface.clone(),
            class: self.class.clone(),
            subscribers: self.subscriber.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            cause: self.cause.clone(),
            fault: self.fault,
            reason: self.reason.clone(),
        };
        self.common.record("/v1/outages", &new)
    }
}

impl Correct {
    /// Records it, and prints the record.
    ///
    /// # Errors
    /// When the agent does not answer, or refuses.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let new = CorrectionRequest {
            id: self.common.id.clone(),
            corrects: self.seq,
            approver: self.approver.clone(),
            reason: self.reason.clone(),
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            packets_up: self.packets_up,
            packets_down: self.packets_down,
            from: self.from.clone(),
            to: self.to.clone(),
        };
        self.common.record("/v1/corrections", &new)
    }
}

impl Common {
    fn record(&self, path: &str, new: &impl Serialize) -> anyhow::Result<ExitCode> {
        let record: AnyRecord = tell(&self.socket.socket, Method::POST, path, new)?;
        let mut out = io::stdout().lock();
        match self.format {
            // The columns of `record list`.
            Format::Csv => record_rows::write(&mut out, true, &[record])?,
            format => records::write(&mut out, format, &[Shown(&record)])?,
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
