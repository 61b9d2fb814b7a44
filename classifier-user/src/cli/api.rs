//! `zerorate api`: what others need to use the agent's API: its description, and tokens.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use comfy_table::{Table, presets};
use jiff::{Timestamp, ToSpan as _};

use crate::api::access::role::Role;
use crate::api::access::tokens::{self, Token};
use crate::api::openapi;
use crate::config::DEFAULT_TOKENS;

/// The HTTP API of the agent: its description, and who may use it by a token.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the description of the API, OpenAPI 3.1. No agent is needed for it.
    Openapi,
    /// Tokens: a file of their hashes, which the agent reads again when it changes.
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Makes a token, notes its hash, and prints it: this once.
    New {
        /// What its bearer may do.
        #[arg(long, value_enum)]
        role: Role,
        /// What its bearer is called in the log.
        #[arg(long)]
        name: String,
        /// After how many days it ends; without, it does not.
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
        #[command(flatten)]
        file: File,
    },
    /// Lists whose tokens there are.
    List {
        #[command(flatten)]
        file: File,
    },
    /// Ends the token of a name.
    Revoke {
        /// The name.
        name: String,
        #[command(flatten)]
        file: File,
    },
}

/// Where hashes of tokens are.
#[derive(Debug, clap::Args)]
struct File {
    /// File of the hashes: `tokens` under [api] of the configuration.
    #[arg(long = "file", value_name = "FILE", default_value = DEFAULT_TOKENS)]
    path: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read or written, or has a token of this name already.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Openapi => io::stdout().lock().write_all(openapi::text().as_bytes())?,
        Command::Token(command) => token(command)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn token(command: &TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::New {
            role,
            name,
            days,
            file,
        } => {
            let end = |days: u32| {
                let hours = i64::from(days) * 24;
                let end = Timestamp::now().checked_add(hours.hours());
                end.with_context(|| format!("{days} days are too many"))
            };
            let expires = days.map(end).transpose()?;
            println!("{}", tokens::add(&file.path, *role, name, expires)?);
            eprintln!(
                "zerorate: this is the only time it is shown; {} has its hash",
                file.path.display()
            );
        }
        TokenCommand::List { file } => {
            let mut table = Table::new();
            table
                .load_preset(presets::NOTHING)
                .set_header(["name", "role", "expires"]);
            for Token {
                name,
                role,
                expires,
                ..
            } in tokens::read(&file.path)?
            {
                let expires =
                    expires.map_or_else(|| "never".to_owned(), |expires| expires.to_string());
                table.add_row([&name, role.as_str(), &*expires]);
            }
            println!("{}", table.trim_fmt());
        }
        TokenCommand::Revoke { name, file } => {
            if !tokens::revoke(&file.path, name)? {
                bail!("there is no token of `{name}` in {}", file.path.display());
            }
            println!("the token of {name} is no longer good");
        }
    }
    Ok(())
}
