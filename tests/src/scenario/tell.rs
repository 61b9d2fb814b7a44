//! What a scenario tells while it is played, and nobody who listens.

use std::net::IpAddr;

use anyhow::Result;

use crate::bill::Flow;

/// Somebody a scenario is told to. Each method may fail to end it, for instance on Ctrl-C.
pub trait Narrator {
    /// What it is about, before anything else.
    ///
    /// # Errors
    /// To end the scenario.
    fn title(&mut self, text: &str) -> Result<()>;

    /// A new scene begins.
    ///
    /// # Errors
    /// To end the scenario.
    fn scene(&mut self, text: &str) -> Result<()>;

    /// A sentence.
    ///
    /// # Errors
    /// To end the scenario.
    fn say(&mut self, text: &str) -> Result<()>;

    /// A row of a table: somebody sent something, and it was charged as it should be.
    ///
    /// # Errors
    /// To end the scenario.
    fn attempt(&mut self, attempt: &Attempt) -> Result<()>;

    /// A command of zerorate, and what it printed.
    ///
    /// # Errors
    /// To end the scenario.
    fn command(&mut self, command: &str, output: &str) -> Result<()>;

    /// Time passes; called often while something is waited for.
    ///
    /// # Errors
    /// To end the scenario.
    fn go_on(&mut self) -> Result<()>;
}

/// Something a subscriber sent or was sent, and whose it is.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The subscriber.
    pub who: String,
    /// What was sent: `UDP, 50 × 1,000 bytes down`.
    pub what: String,
    /// What the remote is to people: `online diary`.
    pub place: String,
    /// Its address.
    pub remote: IpAddr,
    /// What arrived: `50 datagrams`.
    pub arrived: String,
    /// The accounts it was put on, in the order of the chain: class, charged, how much.
    pub accounts: Vec<(String, String, Flow)>,
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Narrator for Silent {
    fn title(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn scene(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn say(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn attempt(&mut self, _: &Attempt) -> Result<()> {
        Ok(())
    }

    fn command(&mut self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }

    fn go_on(&mut self) -> Result<()> {
        Ok(())
    }
}
