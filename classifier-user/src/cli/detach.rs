//! `zerorate detach`: ends counting on this gateway.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::config::Config;
use crate::datapath::links;
use crate::datapath::maps::Maps;
use crate::datapath::way::Point;

/// Takes the programs off all interfaces. Counters are kept, unless they are purged.
///
/// For a gateway whose agent has stopped; traffic then passes unseen and uncounted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/zerorate/zerorate.toml"
    )]
    config: PathBuf,
    /// Also gives up the counters: what was not taken from them is lost.
    #[arg(long)]
    purge: bool,
}

/// Runs the command.
///
/// # Errors
/// When an agent is still running, or pins cannot be removed.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    if UnixStream::connect(&config.api.socket).is_ok() {
        bail!(
            "an agent is running on {}: stop it first",
            config.api.socket.display()
        );
    }
    let directory = Maps::directory(&config.pin_dir);
    let failed = || format!("removing pins in {}", directory.display());
    for (interface, point) in links::held(&directory).with_context(failed)? {
        links::release(&directory, &interface, point).with_context(failed)?;
        match point {
            Point::Ingress => println!("{interface}: detached"),
            Point::Intake => println!("{interface}: detached from tc ingress"),
            Point::Egress => println!("{interface}: detached from egress"),
        }
    }
    if !directory.exists() {
        println!("nothing is pinned in {}", directory.display());
        return Ok(ExitCode::SUCCESS);
    }
    if args.purge {
        fs::remove_dir_all(&directory).with_context(failed)?;
        // Only if nothing of another version is there.
        let _ = fs::remove_dir(&config.pin_dir);
        println!("counters purged");
    } else {
        println!("counters kept in {}", directory.display());
    }
    Ok(ExitCode::SUCCESS)
}
