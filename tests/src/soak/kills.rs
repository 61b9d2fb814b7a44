//! An agent that is killed at any moment, again and again: in the middle of records, of the end of a row, of a change of
//! policy, of a start. Each time the next one goes on, and at the end nothing is recorded twice and nothing forgotten.

use std::fmt::Write as _;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::agent::Agent;
use crate::dice::Dice;
use crate::records::{check_records, check_statements};
use crate::town::{self, POLICY, SUBSCRIBERS, taken_in, under_load};

/// Those with traffic.
const TOWN: &[&str] = &["alice", "bob"];
/// Newcomers that are listed at once: older ones leave.
const LISTED: usize = 40;

/// Kills an agent so many times under traffic, and calls `each` after every one with how many there were.
///
/// # Errors
/// If anything is lost, doubled or out of order afterwards, and with those of `each`.
pub fn run(kills: usize, mut each: impl FnMut(usize) -> Result<()>) -> Result<()> {
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .hears_sigterm()
        .setting("watch = false")
        .section("[records]\ninterval = \"100ms\"\ncheckpoint = \"100ms\"")
        .start()?;
    let mut dice = Dice::new();
    let flow = taken_in(&lab, || {
        under_load(&town::pairs(&lab), || {
            let (mut killed, mut round) = (0, 0);
            while killed < kills {
                let mut asked = busy(&agent, round)?;
                sleep(dice.time_below(Duration::from_millis(400)));
                agent.kill9()?;
                killed += 1;
                asked.wait()?;
                if round % 3 == 0 && killed < kills {
                    agent.spawn()?;
                    sleep(dice.time_below(Duration::from_millis(700)));
                    agent.kill9()?;
                    killed += 1;
                }
                agent.start()?;
                round += 1;
                each(killed)?;
            }
            Ok(())
        })
    })?;
    let counted = agent.bill()?.sum(|_| true);
    ensure!(
        counted == flow,
        "{counted:?} counted, {flow:?} on the wires"
    );
    check_statements(&agent, TOWN)?;
    agent.check_order()?;
    agent.sigterm()?;
    agent.start()?;
    check_statements(&agent, TOWN)?;
    agent.check_order()?;
    let records = check_records(&agent, TOWN)?;
    for cause in ["recovered", "interval"] {
        ensure!(
            records.iter().any(|record| record.cause == cause),
            "no record because of `{cause}`"
        );
    }
    Ok(())
}

/// Has it do something else in each round, which it will not finish.
fn busy(agent: &Agent, round: usize) -> Result<std::process::Child> {
    let asked: &[&str] = match round % 4 {
        0 => &["status"],
        1 => &["subscriber", "plan", "alice", "small"],
        2 => &["subscriber", "plan", "alice", "basic"],
        _ => {
            let mut list = SUBSCRIBERS.to_owned();
            for newcomer in round.saturating_sub(LISTED)..round {
                let [.., third, fourth] = newcomer.to_be_bytes();
                write!(list, "\nc{newcomer},small,active,10.3.{third}.{fourth}")?;
            }
            agent.write_subscribers(&list)?;
            let group = format!("rating_group = 3{round}");
            agent.write_policy(&POLICY.replace("rating_group = 30", &group))?;
            &["policy", "reload"]
        }
    };
    let mut asked = agent.command(&[asked, &["--socket"]].concat());
    asked.arg(agent.socket());
    Ok(asked.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}
