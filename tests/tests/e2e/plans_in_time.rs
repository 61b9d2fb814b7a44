//! Plans that end under traffic and plans that are closed, on a running agent: who is on one that ends is on its successor
//! from that second on, with every byte under the plan that held; and nobody comes onto a closed one.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::{Timestamp, ToSpan as _};
use zerorate_tests::agent::Agent;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::records::{Usage, usage};
use zerorate_tests::town::{self, POLICY, SUBSCRIBERS, taken_in, under_load};
use zerorate_tests::wait::until;

const OFTEN: &str = "[records]\ninterval = \"300ms\"\ncheckpoint = \"100ms\"";

/// The town's policy, whose plan `basic` ends, and has `plus` as its successor; `plus` takes nobody new.
fn ending(at: Timestamp) -> String {
    let end = format!(
        "[plans.basic]\nvalid_until = {at}\nsuccessor = \"plus\"\nexpect = [\"expired\"]\n[plans.basic.buckets]"
    );
    let plus = "[plans.plus]\nclosed = true\n[plans.plus.buckets]\nmain = \"1000GB\"\nnight = \"1GB\"\n\
        [plans.plus.charge]\ngovernment = \"free\"\n\"*\" = [\"night\", \"main\", \"drop\"]\n";
    format!("{}\n{plus}", POLICY.replace("[plans.basic.buckets]", &end))
}

fn plan(agent: &Agent, id: &str) -> Result<String> {
    let shown = agent.ask_json(&["subscriber", "show", id])?;
    Ok(shown[0]["plan"].as_str().context("no plan")?.to_owned())
}

/// What a command is refused with.
fn refusal(agent: &Agent, arguments: &[&str]) -> Result<String> {
    match agent.ask(arguments) {
        Ok(said) => bail!("{arguments:?} is not refused: {said}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

#[test]
fn a_plan_ends_under_traffic_and_its_successor_holds_from_that_second() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section(OFTEN)
        .start()?;
    let pairs = [(lab.subscriber("alice").v4(), lab.remote(town::INTERNET))];
    let mut ends = Timestamp::now();
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            // A whole second, as people write it.
            ends = Timestamp::from_second((Timestamp::now() + 4.seconds()).as_second())?;
            agent.write_policy(&ending(ends))?;
            agent.reload()?;
            assert_eq!(plan(&agent, "alice")?, "basic");
            assert_eq!(agent.status()?["policy_until"], ends.to_string());
            until("the successor holds", || {
                Ok(plan(&agent, "alice")? == "plus")
            })?;
            assert!(Timestamp::now() >= ends);
            std::thread::sleep(Duration::from_millis(700));
            Ok(())
        })
    })?;
    assert_eq!(
        agent.bill()?.of("alice"),
        flow,
        "no byte is lost at the end"
    );
    // Bob was on another plan, and still is; another agent and a reload find everything as it is.
    assert_eq!(plan(&agent, "bob")?, "small");
    agent.kill9()?;
    agent.start()?;
    assert_eq!(plan(&agent, "alice")?, "plus");
    let said = agent.reload()?;
    assert!(
        said.contains("\"changed\":false") || said.contains("nothing changed"),
        "{said}"
    );
    agent.sigterm()?;
    agent.start()?;

    let records = usage(&agent)?;
    let alices = || records.iter().filter(|record| record.subscriber == "alice");
    let under = |plan: &str| {
        let of_plan = alices().filter(|record| record.plan == plan);
        of_plan.fold(Flow::default(), |mut sum, record| {
            sum += record.flow();
            sum
        })
    };
    let (before, after) = (under("basic"), under("plus"));
    assert!(
        before.up.bytes > 0 && after.up.bytes > 0,
        "{before:?} {after:?}"
    );
    let mut both = before;
    both += after;
    assert_eq!(both, flow);
    let charged = |plan: &str, charged: &str| {
        let mut of_plan = alices().filter(|record| record.plan == plan);
        of_plan.all(|record| record.charged == charged)
    };
    assert!(charged("basic", "main") && charged("plus", "night"));
    let closing: Vec<&Usage> = alices().filter(|record| record.cause == "plan").collect();
    assert_eq!(closing.len(), 1, "{closing:?}");
    assert_eq!(closing[0].plan, "basic");
    assert!(closing[0].end >= ends, "not before its end: {closing:?}");
    let first = alices().find(|record| record.plan == "plus");
    let first = first.context("no record of the successor")?;
    assert!(first.start >= ends, "not before its beginning: {first:?}");
    assert_eq!(first.session, closing[0].session, "the session goes on");

    let states = agent.ask_json(&["record", "list", "--subscriber", "alice", "--kind", "state"])?;
    assert_eq!(states.len(), 1, "{states:?}");
    assert_eq!(states[0]["plan"], "plus");
    let reason = format!("plan basic ended at {ends}: plus follows");
    assert_eq!(states[0]["reason"], *reason);
    let log = agent.ask(&["policy", "audit"])?;
    let line = format!("plan basic ended at {ends}: its successor is plus");
    assert!(log.contains(&line), "{log}");
    assert!(agent.log().contains(&line));
    agent.check_order()
}

#[test]
fn what_was_asked_by_command_outlives_the_end_of_a_plan() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let ends = Timestamp::from_second((Timestamp::now() + 5.seconds()).as_second())?;
    let mut agent = town::agent(&lab)
        .policy(&ending(ends))
        .setting("watch = false")
        .start()?;
    agent.ask(&["subscriber", "suspend", "alice", "--reason", "unpaid"])?;
    // The end comes while no agent runs.
    agent.kill9()?;
    until("the end", || Ok(Timestamp::now() >= ends))?;
    agent.start()?;
    let state = |agent: &Agent| -> Result<(String, String)> {
        let shown = &agent.ask_json(&["subscriber", "show", "alice"])?[0];
        Ok((shown["plan"].to_string(), shown["state"].to_string()))
    };
    let suspended = ("\"plus\"".to_owned(), "\"suspended\"".to_owned());
    assert_eq!(state(&agent)?, suspended);
    agent.reload()?;
    assert_eq!(state(&agent)?, suspended);
    // A file that says what holds is no other file; nor is there anything left to ask for.
    agent.write_subscribers(&SUBSCRIBERS.replace("alice,basic", "alice,plus"))?;
    agent.reload()?;
    assert_eq!(state(&agent)?, suspended);
    // Nor is the plan that ended needed any more.
    let whole = ending(ends);
    let (before, behind) = whole.split_once("[plans.basic]").context("no basic")?;
    let (_, behind) = behind
        .split_once("[plans.small.buckets]")
        .context("no small")?;
    agent.write_policy(&format!("{before}[plans.small.buckets]{behind}"))?;
    agent.reload()?;
    assert_eq!(state(&agent)?, suspended);
    agent.ask(&["subscriber", "resume", "alice"])?;
    assert_eq!(plan(&agent, "alice")?, "plus");
    agent.check_order()
}

#[test]
fn a_closed_plan_takes_nobody_new_and_keeps_who_is_on_it() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let closed = POLICY.replace(
        "[plans.basic.buckets]",
        "[plans.basic]\nclosed = true\n[plans.basic.buckets]",
    );
    let soon = Timestamp::now() + 3600.seconds();
    let later = format!(
        "{closed}\n[plans.later]\nvalid_from = {soon}\nexpect = [\"future\"]\n[plans.later.charge]\n\"*\" = \"free\"\n"
    );
    let agent = town::agent(&lab)
        .policy(&later)
        .setting("watch = false")
        .start()?;
    // At the start nobody is new; and who is on it may be changed otherwise.
    assert_eq!(plan(&agent, "alice")?, "basic");
    agent.ask(&["subscriber", "suspend", "alice"])?;
    agent.ask(&["subscriber", "resume", "alice"])?;
    agent.reload()?;

    let is_closed = "plan \"basic\" is closed: who is on it stays, and nobody is newly put on it; name a plan that is open";
    let add = [
        "subscriber",
        "add",
        "carol",
        "--plan",
        "basic",
        "--address",
        "10.1.0.32/32",
    ];
    for command in [&add[..], &["subscriber", "plan", "bob", "basic"]] {
        let said = refusal(&agent, command)?;
        assert!(
            said.contains(is_closed) && said.contains("\"small\""),
            "{said}"
        );
    }
    let at = (Timestamp::now() + 60.seconds()).to_string();
    let said = refusal(&agent, &["subscriber", "plan", "bob", "basic", "--at", &at])?;
    assert!(said.contains(is_closed), "{said}");
    let said = refusal(&agent, &["subscriber", "plan", "bob", "later"])?;
    assert!(
        said.contains(&format!("plan \"later\" begins at {soon}")),
        "{said}"
    );
    let then = (soon + 1.seconds()).to_string();
    agent.ask(&["subscriber", "plan", "bob", "later", "--at", &then])?;

    // By the file: the whole of it is refused, and what was in force stays.
    agent.write_subscribers(&format!("{SUBSCRIBERS}\ncarol,basic,active,10.1.0.32/32"))?;
    let said = refusal(&agent, &["policy", "reload"])?;
    assert!(
        said.contains(":4:1: error: subscriber \"carol\": plan \"basic\" is closed"),
        "{said}"
    );
    assert!(refusal(&agent, &["policy", "diff"])?.contains("is closed"));
    assert_eq!(plan(&agent, "alice")?, "basic");
    agent.write_subscribers(&format!("{SUBSCRIBERS}\ncarol,small,active,10.1.0.32/32"))?;
    agent.reload()?;
    assert_eq!(plan(&agent, "carol")?, "small");
    // Who leaves it does not come back.
    agent.ask(&["subscriber", "plan", "alice", "small"])?;
    assert!(refusal(&agent, &["subscriber", "plan", "alice", "basic"])?.contains(is_closed));
    Ok(())
}
