//! What happens to an agent in an hour of its life, at random: other policies, subscribers that come, go and move, orders,
//! its end, and that of the server its records are brought to.

use std::fmt::{self, Write as _};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use crate::agent::Agent;
use crate::dice::Dice;
use crate::postgres::Postgres;
use crate::town::{POLICY, SUBSCRIBERS};

/// Addresses that have now this owner and now that one, or none.
pub(super) const CROWD: usize = 48;
/// Who may have them: not more, or memory would grow because everybody is remembered.
const NAMES: usize = 200;

/// One of the crowd's addresses.
pub(super) fn address(one: usize) -> String {
    format!("10.3.0.{}", one + 1)
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    kills: usize,
    outages: usize,
    policies: usize,
    /// Subscribers that joined, left, or have another address.
    changes: usize,
    orders: usize,
}

impl fmt::Display for Done {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kills,
            outages,
            policies,
            changes,
            orders,
        } = self;
        write!(
            out,
            "{kills} kills, {outages} PostgreSQL restarts, {policies} policies, {changes} joins, leaves and moves, \
             {orders} orders"
        )
    }
}

/// Does one thing after another.
pub(super) struct Deeds {
    dice: Dice,
    pub(super) done: Done,
    /// Who has which of the crowd's addresses.
    owners: [Option<usize>; CROWD],
    suspended: bool,
    without_v4: bool,
    small: bool,
}

impl Deeds {
    pub(super) fn new() -> Self {
        Self {
            dice: Dice::new(),
            done: Done::default(),
            owners: [None; CROWD],
            suspended: false,
            without_v4: false,
            small: false,
        }
    }

    /// Does one thing, and pauses. `kills`: it may be the agent's end.
    pub(super) fn one(
        &mut self,
        agent: &mut Agent,
        server: &mut Postgres,
        kills: bool,
    ) -> Result<()> {
        match self.dice.below(20) {
            0..4 => self.policy(agent)?,
            4..10 => self.crowd(agent)?,
            10..13 => self.state(agent)?,
            13..15 => self.plan(agent)?,
            15..17 => self.addresses(agent)?,
            17 => self.outage(agent, server)?,
            _ if kills => self.kill(agent)?,
            _ => self.order(agent)?,
        }
        sleep(self.dice.time_below(Duration::from_millis(1_500)));
        Ok(())
    }

    fn policy(&mut self, agent: &Agent) -> Result<()> {
        let group = format!("rating_group = 3{}", self.dice.below(5));
        agent.write_policy(&POLICY.replace("rating_group = 30", &group))?;
        self.done.policies += 1;
        agent.reload().map(drop)
    }

    /// Some of the addresses go to others, or to nobody; nobody has two.
    fn crowd(&mut self, agent: &Agent) -> Result<()> {
        for _ in 0..8 {
            let one = self.dice.below(CROWD);
            let name = self.dice.below(NAMES);
            let before = self.owners[one].take();
            if !self.owners.contains(&Some(name)) && self.dice.below(4) > 0 {
                self.owners[one] = Some(name);
            }
            self.done.changes += usize::from(before != self.owners[one]);
        }
        let mut list = SUBSCRIBERS.to_owned();
        for (one, owner) in self.owners.iter().enumerate() {
            if let Some(owner) = owner {
                write!(list, "\ns{owner},small,active,{}", address(one))?;
            }
        }
        agent.write_subscribers(&list)?;
        agent.reload().map(drop)
    }

    fn state(&mut self, agent: &Agent) -> Result<()> {
        self.suspended = !self.suspended;
        let word = if self.suspended { "suspend" } else { "resume" };
        self.done.changes += 1;
        agent.ask(&["subscriber", word, "bob"]).map(drop)
    }

    fn plan(&mut self, agent: &Agent) -> Result<()> {
        self.small = !self.small;
        let plan = if self.small { "small" } else { "basic" };
        self.done.changes += 1;
        agent.ask(&["subscriber", "plan", "alice", plan]).map(drop)
    }

    fn addresses(&mut self, agent: &Agent) -> Result<()> {
        self.without_v4 = !self.without_v4;
        let all = ["--address", "2001:db8:b::/56", "--address", "10.1.0.8/29"];
        let some = if self.without_v4 { &all[..2] } else { &all };
        self.done.changes += 1;
        let asked = [&["subscriber", "set", "bob"], some].concat();
        agent.ask(&asked).map(drop)
    }

    fn order(&mut self, agent: &Agent) -> Result<()> {
        self.done.orders += 1;
        let id = format!("order-{}", self.done.orders);
        let asked = match self.done.orders % 2 {
            0 => ["bucket", "grant", "bob", "main", "200kB", "--id", &id],
            _ => ["bucket", "debit", "alice", "main", "1kB", "--id", &id],
        };
        agent.ask(&asked).map(drop)
    }

    /// The server is away, and things go on.
    fn outage(&mut self, agent: &Agent, server: &mut Postgres) -> Result<()> {
        server.down()?;
        self.done.outages += 1;
        self.order(agent)?;
        sleep(self.dice.time_below(Duration::from_secs(3)));
        server.up()
    }

    /// In the middle of something, and perhaps of the next start, too.
    fn kill(&mut self, agent: &mut Agent) -> Result<()> {
        let group = format!("rating_group = 3{}", self.dice.below(5));
        agent.write_policy(&POLICY.replace("rating_group = 30", &group))?;
        let mut asked = agent.command(&["policy", "reload", "--socket"]);
        asked.arg(agent.socket());
        let mut asked = asked.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        sleep(self.dice.time_below(Duration::from_millis(400)));
        agent.kill9()?;
        self.done.kills += 1;
        asked.wait()?;
        if self.dice.below(3) == 0 {
            agent.spawn()?;
            sleep(self.dice.time_below(Duration::from_millis(700)));
            agent.kill9()?;
            self.done.kills += 1;
        }
        agent.start()
    }
}
