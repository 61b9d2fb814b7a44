//! The stage of a scenario: a lab, an agent with a shipped policy on its gateway, and one attempt after the other, each
//! held to the byte against what went over the wires.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::deed::{Deed, Expected, Family, Place};
use super::tell::{Attempt, Narrator};
use crate::agent::{self, Agent};
use crate::bill::Flow;
use crate::netns::Endpoint;
use crate::numbers::grouped;
use crate::topology::Lab;
use crate::town::taken_in;

const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
/// Where all remotes are: documentation addresses, nobody's.
const REMOTES: [&str; 4] = [
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "2001:db8::/33",
];

/// A subscriber: id, plan, state, and prefixes as [`crate::topology::Builder::subscriber`] takes them.
pub(super) type Customer = (&'static str, &'static str, &'static str, [&'static str; 2]);

/// Traffic by subscriber, class and charge.
type Accounts = BTreeMap<(String, String, String), Flow>;

/// What is played on, and how it is told. The agent goes first when it is dropped, then what it runs in.
pub(super) struct Stage<'a> {
    /// zerorate on the gateway.
    pub(super) agent: Agent,
    /// Subscribers, gateway, world.
    pub(super) lab: Lab,
    /// Who is told.
    pub(super) narrator: &'a mut dyn Narrator,
    /// What there was on accounts after the last attempt.
    accounts: Accounts,
    /// What went into the gateway in all attempts.
    sent: Flow,
}

/// The directory of a shipped policy.
pub(super) fn policy(name: &str) -> PathBuf {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    policies.join(name)
}

impl<'a> Stage<'a> {
    /// Builds the lab and prepares an agent with the shipped policy and these subscribers; `prepare` adds to its
    /// configuration, `edit` changes its copy of the policy before it starts.
    pub(super) fn set_up(
        name: &str,
        customers: &[Customer],
        narrator: &'a mut dyn Narrator,
        prepare: impl FnOnce(agent::Builder) -> agent::Builder,
        edit: impl FnOnce(&Agent) -> Result<()>,
    ) -> Result<Self> {
        let mut lab = Lab::builder().remotes(&REMOTES);
        let mut lines = String::new();
        for (id, plan, state, prefixes) in customers {
            lab = lab.subscriber(id, prefixes);
            let mut addresses = Vec::new();
            for prefix in prefixes {
                let prefix: ipnet::IpNet = prefix.parse()?;
                addresses.push(prefix.trunc().to_string());
            }
            lines.push_str(&format!("{id},{plan},{state},{}\n", addresses.join(" ")));
        }
        let lab = lab.build()?;
        narrator.go_on()?;
        let mut builder = Agent::builder(&lab.gateway)
            .node("gw-demo")
            .policy_directory(&policy(name))
            .subscribers(&lines);
        for access in &lab.access {
            builder = builder.interface(&access.far.name, "access", "");
        }
        builder = builder.interface(&lab.core.near.name, "core", "");
        let mut agent = prepare(builder).prepare()?;
        edit(&agent)?;
        agent.start()?;
        lab.settle()?;
        Ok(Self {
            lab,
            agent,
            narrator,
            accounts: Accounts::new(),
            sent: Flow::default(),
        })
    }

    /// A subscriber's end and the remote's.
    pub(super) fn ends(&self, who: &str, place: &Place, family: Family) -> (Endpoint, Endpoint) {
        let subscriber = self.lab.subscriber(who);
        match family {
            Family::V4 => (subscriber.v4(), self.lab.remote(place.v4)),
            Family::V6 => (subscriber.v6(), self.lab.remote(place.v6)),
        }
    }

    /// Does something; it is to arrive, and one account to pay all of it, or everything is to be dropped.
    pub(super) fn attempt(
        &mut self,
        who: &str,
        place: &Place,
        deed: Deed,
        charged: &str,
    ) -> Result<()> {
        self.attempt_as(who, place, deed, Expected::All(charged))
    }

    /// Does something that several accounts pay in turn.
    pub(super) fn split(
        &mut self,
        who: &str,
        place: &Place,
        deed: Deed,
        charged: &[(&str, usize)],
    ) -> Result<()> {
        self.attempt_as(who, place, deed, Expected::Split(charged))
    }

    fn attempt_as(
        &mut self,
        who: &str,
        place: &Place,
        deed: Deed,
        expected: Expected<'_>,
    ) -> Result<()> {
        let (near, far) = self.ends(who, place, deed.family());
        let mut arrived = (0, String::new());
        let context = || format!("{who}, {} with {}", deed.what(), place.what);
        let flow = taken_in(&self.lab, || {
            arrived = deed.run(&near, &far).with_context(context)?;
            Ok(())
        })?;
        let (arrived, told) = arrived;
        let lines = match expected {
            Expected::All(charged) => vec![(place.class, charged, flow)],
            Expected::Split(parts) => {
                let flow = |&(charged, packets)| Ok((place.class, charged, deed.flow(packets)?));
                parts.iter().map(flow).collect::<Result<Vec<_>>>()?
            }
        };
        let dropped: u64 = match expected {
            Expected::All("dropped") => deed.amount(),
            Expected::All(_) => 0,
            Expected::Split(parts) => parts
                .iter()
                .filter(|(charged, _)| *charged == "dropped")
                .map(|(_, packets)| *packets as u64)
                .sum(),
        };
        ensure!(
            arrived + dropped == deed.amount(),
            "{}: {told} arrived, {} were sent, of which {dropped} should be dropped",
            context(),
            deed.amount()
        );
        self.check(who, flow, &lines).with_context(context)?;
        self.narrator.attempt(&Attempt {
            who: who.to_owned(),
            what: deed.what(),
            place: place.what.to_owned(),
            remote: far.address,
            arrived: told,
            accounts: owned(&lines),
        })
    }

    /// Does work of another kind, all of which one account is to pay; returns what there was of it. It is told if `what`
    /// says what it was and to where.
    pub(super) fn other(
        &mut self,
        who: &str,
        place: &Place,
        what: (&str, Endpoint),
        charged: &str,
        work: impl FnOnce(&Lab) -> Result<String>,
    ) -> Result<Flow> {
        let mut arrived = String::new();
        let flow = taken_in(&self.lab, || {
            arrived = work(&self.lab)?;
            Ok(())
        })?;
        let lines = [(place.class, charged, flow)];
        let context = || format!("{who}, {} with {}", what.0, place.what);
        self.check(who, flow, &lines).with_context(context)?;
        self.narrator.attempt(&Attempt {
            who: who.to_owned(),
            what: what.0.to_owned(),
            place: place.what.to_owned(),
            remote: what.1.address,
            arrived,
            accounts: owned(&lines),
        })?;
        Ok(flow)
    }

    /// Does work, and returns what the gateway took in, and what that put on accounts; the two are the same.
    pub(super) fn measured<T>(
        &mut self,
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<(T, Accounts)> {
        let mut result = None;
        let flow = taken_in(&self.lab, || {
            result = Some(work(self)?);
            Ok(())
        })?;
        let grown = self.grown(flow)?;
        Ok((result.context("nothing was done")?, grown))
    }

    /// What was put on accounts since this was asked last; `sent` is to be all of it.
    fn grown(&mut self, sent: Flow) -> Result<Accounts> {
        let bill = self.agent.bill()?;
        ensure!(
            bill.unattributed.is_empty(),
            "of nobody: {:?}",
            bill.unattributed
        );
        let mut grown = Accounts::new();
        let mut all = Flow::default();
        for (account, &now) in &bill.usage {
            let before = self.accounts.get(account).copied().unwrap_or_default();
            let more = less(now, before);
            if more != Flow::default() {
                grown.insert(account.clone(), more);
                all += more;
            }
        }
        ensure!(all == sent, "sent {sent:?}, counted {grown:?}");
        self.accounts = bill.usage;
        self.sent += sent;
        Ok(grown)
    }

    fn check(&mut self, who: &str, sent: Flow, lines: &[(&str, &str, Flow)]) -> Result<()> {
        let expected: Accounts = lines
            .iter()
            .filter(|(.., flow)| *flow != Flow::default())
            .map(|(class, charged, flow)| {
                let key = [who, class, charged].map(str::to_owned);
                (key.into(), *flow)
            })
            .collect();
        let found = self.grown(sent)?;
        ensure!(
            found == expected,
            "charged: {found:#?}\nexpected: {expected:#?}"
        );
        Ok(())
    }

    /// Asks the agent something, and tells the answer.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<String> {
        let said = self.agent.ask(words)?;
        let shown = words.iter().map(|word| quoted(word)).collect::<Vec<_>>();
        self.narrator
            .command(&format!("zerorate {}", shown.join(" ")), &said)?;
        Ok(said)
    }

    /// An order of billing's on a bucket, told.
    pub(super) fn order(
        &mut self,
        action: &str,
        who: &str,
        bucket: &str,
        amount: &str,
        id: &str,
    ) -> Result<()> {
        let words = ["bucket", action, who, bucket, amount, "--id", id];
        self.ask(&words).map(drop)
    }

    /// Adds lines to a list of the policy, in one go.
    pub(super) fn append(&self, list: &str, lines: &str) -> Result<()> {
        append(&self.agent, list, lines)
    }

    /// Waits until something is true.
    pub(super) fn until(
        &mut self,
        what: &str,
        mut is_true: impl FnMut(&Agent) -> Result<bool>,
    ) -> Result<()> {
        let started = Instant::now();
        while !is_true(&self.agent)? {
            self.narrator.go_on()?;
            if started.elapsed() > PATIENCE {
                bail!("waited in vain: {what}\n{}", self.agent.log());
            }
            sleep(PAUSE);
        }
        Ok(())
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, time: Duration) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < time {
            self.narrator.go_on()?;
            sleep(PAUSE.min(time));
        }
        Ok(())
    }

    /// The version of the policy in force.
    pub(super) fn version(&self) -> Result<String> {
        version(&self.agent)
    }

    /// What is in a bucket, as money.
    pub(super) fn money(&self, who: &str, bucket: &str) -> Result<String> {
        let shown = self.agent.ask_json(&["subscriber", "show", who])?;
        let mut buckets = shown[0]["buckets"].as_array().into_iter().flatten();
        let found = buckets.find(|found| found["bucket"] == bucket);
        let amount = found.and_then(|found| found["amount"].as_str());
        Ok(amount.context("no such money")?.to_owned())
    }

    /// Tells what a subscriber has in its buckets.
    pub(super) fn tell_buckets(&mut self, who: &str) -> Result<()> {
        let shown = self.agent.ask_json(&["subscriber", "show", who])?;
        let buckets = shown[0]["buckets"].as_array().into_iter().flatten();
        let left = |bucket: &Value| -> Result<String> {
            let name = bucket["bucket"].as_str().context("no name")?;
            let bytes = grouped(bucket["left"].as_i64().context("no level")?);
            Ok(match bucket["amount"].as_str() {
                Some(amount) => format!("{name} {bytes} bytes ({amount})"),
                None => format!("{name} {bytes} bytes"),
            })
        };
        let left = buckets.map(left).collect::<Result<Vec<_>>>()?;
        self.narrator
            .say(&format!("{who} has left: {}.", left.join(", ")))
    }

    /// The end: what was used by whom, and the books, which are to close to the byte against all that was sent.
    pub(super) fn close(mut self) -> Result<()> {
        self.narrator.scene("The books")?;
        self.agent.check_order()?;
        let rest = taken_in(&self.lab, || Ok(()))?;
        self.grown(rest)?;
        let bill = self.agent.bill()?;
        let counted = bill.sum(|_| true);
        ensure!(counted == self.sent, "{counted:?}, sent {:?}", self.sent);
        let books = bill.total();
        let sent = self.sent.up.bytes + self.sent.down.bytes;
        ensure!(books.ip_bytes == sent, "{sent} bytes sent: {books:?}");
        self.ask(&["usage"])?;
        self.ask(&["status"])?;
        self.narrator.say(&format!(
            "{} bytes went into the gateway by the kernel's own count, {} are on the accounts above: difference {}.",
            grouped(sent),
            grouped(counted.up.bytes + counted.down.bytes),
            grouped(i128::from(sent) - i128::from(counted.up.bytes + counted.down.bytes)),
        ))
    }
}

/// The version of the policy an agent has in force.
pub(super) fn version(agent: &Agent) -> Result<String> {
    let status = agent.status()?;
    let version = status["policy_version"].as_str();
    Ok(version
        .with_context(|| format!("no version in {status}"))?
        .to_owned())
}

/// Adds lines to a list of an agent's policy; a reader sees all of them, or none.
pub(super) fn append(agent: &Agent, list: &str, lines: &str) -> Result<()> {
    let path = agent.policy_dir().join(list);
    let context = || format!("cannot write {}", path.display());
    // Not a file of its own: nobody may append to a list that is not there.
    let mut file = File::options()
        .append(true)
        .open(&path)
        .with_context(context)?;
    file.write_all(format!("{lines}\n").as_bytes())
        .with_context(context)
}

fn owned(lines: &[(&str, &str, Flow)]) -> Vec<(String, String, Flow)> {
    lines
        .iter()
        .filter(|(.., flow)| *flow != Flow::default())
        .map(|&(class, charged, flow)| (class.to_owned(), charged.to_owned(), flow))
        .collect()
}

fn less(mut now: Flow, before: Flow) -> Flow {
    for (now, before) in [(&mut now.up, before.up), (&mut now.down, before.down)] {
        now.packets -= before.packets;
        now.bytes -= before.bytes;
    }
    now
}

fn quoted(word: &str) -> String {
    if word.contains(' ') {
        format!("\"{word}\"")
    } else {
        word.to_owned()
    }
}
