//! `zerorate subscriber`: who has a session on the running agent, and one who is to change while it runs.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use serde::Serialize;

use super::agent::Socket;
use super::records::{self, Line};
use crate::agent::service::Wanted;
use crate::agent::subscribers::{BucketView, SubscriberView};
use crate::api::client::{ask, escape, tell};
use crate::api::routes::NewSubscriber;
use crate::report::Format;
use crate::subscribers::{Planned, Scheduled, State, Step};

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
    /// Shows one subscriber, with the time and speed of its session.
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        socket: Socket,
        /// How to print.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Adds a subscriber.
    Add {
        /// Its id.
        id: String,
        /// Its plan.
        #[arg(long)]
        plan: String,
        /// A prefix of it; may be said several times.
        #[arg(long = "address", value_name = "PREFIX", required = true)]
        addresses: Vec<String>,
        /// Without its service, but for essential classes.
        #[arg(long)]
        suspended: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Changes a subscriber; what is not said stays.
    Set {
        /// Its id.
        id: String,
        /// Its plan.
        #[arg(long)]
        plan: Option<String>,
        /// A prefix of it, instead of those it has: a new session begins. May be said several times.
        #[arg(long = "address", value_name = "PREFIX")]
        addresses: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Puts a subscriber on another plan. Buckets of the same name keep what is left.
    Plan {
        /// Its id.
        id: String,
        /// The plan.
        plan: String,
        #[command(flatten)]
        when: When,
        #[command(flatten)]
        common: Common,
    },
    /// Takes a subscriber's service away; essential classes stay reachable.
    Suspend {
        /// Its id.
        id: String,
        #[command(flatten)]
        when: When,
        #[command(flatten)]
        common: Common,
    },
    /// Gives a subscriber its service back.
    Resume {
        /// Its id.
        id: String,
        #[command(flatten)]
        when: When,
        #[command(flatten)]
        common: Common,
    },
    /// Lists what is to be changed later.
    Scheduled {
        #[command(flatten)]
        socket: Socket,
        /// How to print.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Gives up what was to be changed later.
    Unschedule {
        /// Its number.
        number: u64,
        #[command(flatten)]
        socket: Socket,
    },
    /// Removes a subscriber, and says what was left in its buckets.
    Remove {
        /// Its id.
        id: String,
        #[command(flatten)]
        when: When,
        #[command(flatten)]
        common: Common,
    },
}

/// When a change is made.
#[derive(Debug, clap::Args)]
struct When {
    /// Not now, but at this time: a date in the gateway's time zone, or RFC 3339; `subscriber scheduled` shows what is to come.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// What the commands that change something share. What they change wins over the subscribers' file until that
/// subscriber's line changes.
#[derive(Debug, clap::Args)]
struct Common {
    /// Why; it is recorded.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    socket: Socket,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
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
        "cycle until",
    ];
    fn cells(&self) -> Vec<String> {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let buckets: Vec<_> = self
            .buckets
            .iter()
            .map(
                |BucketView {
                     bucket,
                     left,
                     amount,
                 }| match amount {
                    Some(amount) => format!("{bucket}={left} ({amount})"),
                    None => format!("{bucket}={left}"),
                },
            )
            .collect();
        vec![
            self.subscriber.clone(),
            self.plan.clone(),
            self.state.clone(),
            self.session.to_string(),
            self.start.to_string(),
            addresses.join(" "),
            buckets.join(" "),
            self.cycle_until
                .map_or_else(String::new, |until| until.to_string()),
        ]
    }
}

impl Line for Scheduled {
    const HEADS: &'static [&'static str] =
        &["number", "at", "subscriber", "action", "plan", "reason"];
    fn cells(&self) -> Vec<String> {
        let Planned {
            subscriber,
            step,
            reason,
        } = &self.planned;
        let (action, plan) = match step {
            Step::Suspend => ("suspend", ""),
            Step::Resume => ("resume", ""),
            Step::Remove => ("remove", ""),
            Step::Plan(plan) => ("plan", plan.as_str()),
        };
        vec![
            self.number.to_string(),
            self.at.to_string(),
            subscriber.clone(),
            action.to_owned(),
            plan.to_owned(),
            reason.clone().unwrap_or_default(),
        ]
    }
}

/// One subscriber, with the time and speed of its session.
#[derive(Serialize)]
#[serde(transparent)]
struct Shown(SubscriberView);

impl Line for Shown {
    const HEADS: &'static [&'static str] = &[
        "subscriber",
        "plan",
        "state",
        "session",
        "start",
        "duration_seconds",
        "last_activity",
        "active_seconds",
        "average_up_bps",
        "average_down_bps",
        "peak_up_bps",
        "peak_down_bps",
        "addresses",
        "buckets",
        "cycle until",
    ];
    fn cells(&self) -> Vec<String> {
        let mut cells = self.0.cells();
        let figures = self.0.activity.as_ref().map_or_else(
            || std::array::from_fn(|_| String::new()),
            |activity| {
                let used = &activity.used;
                let last = activity.last_activity;
                [
                    activity.duration_seconds.to_string(),
                    last.map_or_else(|| "-".to_owned(), |last| last.to_string()),
                    used.active_seconds.to_string(),
                    used.average_up_bps.to_string(),
                    used.average_down_bps.to_string(),
                    used.peak_up_bps.to_string(),
                    used.peak_down_bps.to_string(),
                ]
            },
        );
        cells.splice(5..5, figures);
        cells
    }
}

/// Runs the command.
///
/// # Errors
/// When the agent does not answer, or knows no such subscriber.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::List { socket, format } => {
            let found: Vec<SubscriberView> = ask(&socket.socket, Method::GET, "/v1/subscribers")?;
            print(*format, &found)
        }
        Command::Show { id, socket, format } => {
            let view: SubscriberView = ask(&socket.socket, Method::GET, &path_of(id))?;
            print(*format, &[Shown(view)])
        }
        Command::Add {
            id,
            plan,
            addresses,
            suspended,
            common,
        } => {
            let new = NewSubscriber {
                subscriber: id.clone(),
                plan: plan.clone(),
                state: suspended.then_some(State::Suspended),
                addresses: addresses.clone(),
                reason: common.reason.clone(),
            };
            let socket: &Path = &common.socket.socket;
            let added: SubscriberView = tell(socket, Method::POST, "/v1/subscribers", &new)?;
            print(common.format, &[added])
        }
        Command::Set {
            id,
            plan,
            addresses,
            common,
        } => {
            let wanted = Wanted {
                plan: plan.clone(),
                addresses: (!addresses.is_empty()).then(|| addresses.clone()),
                ..Wanted::default()
            };
            change(id, wanted, None, common)
        }
        Command::Plan {
            id,
            plan,
            when,
            common,
        } => {
            let wanted = Wanted {
                plan: Some(plan.clone()),
                ..Wanted::default()
            };
            change(id, wanted, when.at.as_deref(), common)
        }
        Command::Suspend { id, when, common } => {
            change(id, in_state(State::Suspended), when.at.as_deref(), common)
        }
        Command::Resume { id, when, common } => {
            change(id, in_state(State::Active), when.at.as_deref(), common)
        }
        Command::Remove { id, when, common } => {
            let why = common.reason.as_deref();
            let why = why.map(|why| format!("reason={}", escape(why)));
            let at = when.at.as_ref().map(|at| format!("at={}", escape(at)));
            let query: Vec<_> = why.into_iter().chain(at).collect();
            let path = format!("{}?{}", path_of(id), query.join("&"));
            let socket: &Path = &common.socket.socket;
            if when.at.is_some() {
                let scheduled: Scheduled = ask(socket, Method::DELETE, &path)?;
                return print(common.format, &[scheduled]);
            }
            let removed: SubscriberView = ask(socket, Method::DELETE, &path)?;
            print(common.format, &[removed])
        }
        Command::Scheduled { socket, format } => {
            let found: Vec<Scheduled> = ask(&socket.socket, Method::GET, "/v1/scheduled")?;
            print(*format, &found)
        }
        Command::Unschedule { number, socket } => {
            let path = format!("/v1/scheduled/{number}");
            let () = ask(&socket.socket, Method::DELETE, &path)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn print<L: Line>(format: Format, lines: &[L]) -> anyhow::Result<ExitCode> {
    records::write(&mut io::stdout().lock(), format, lines)?;
    Ok(ExitCode::SUCCESS)
}

fn path_of(id: &str) -> String {
    format!("/v1/subscribers/{}", escape(id))
}

fn in_state(state: State) -> Wanted {
    Wanted {
        state: Some(state),
        ..Wanted::default()
    }
}

fn change(id: &str, wanted: Wanted, at: Option<&str>, common: &Common) -> anyhow::Result<ExitCode> {
    let wanted = Wanted {
        reason: common.reason.clone(),
        ..wanted
    };
    let socket: &Path = &common.socket.socket;
    let path = path_of(id);
    if let Some(at) = at {
        let path = format!("{path}?at={}", escape(at));
        let scheduled: Scheduled = tell(socket, Method::PATCH, &path, &wanted)?;
        return print(common.format, &[scheduled]);
    }
    let changed: SubscriberView = tell(socket, Method::PATCH, &path, &wanted)?;
    print(common.format, &[changed])
}
