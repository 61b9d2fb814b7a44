//! What the commands that ask a running agent share.

use std::path::PathBuf;

use crate::config::DEFAULT_SOCKET;

/// Where the agent listens.
#[derive(Debug, clap::Args)]
pub struct Socket {
    /// API socket of the agent.
    #[arg(long, value_name = "PATH", env = "ZERORATE_SOCKET", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
}
