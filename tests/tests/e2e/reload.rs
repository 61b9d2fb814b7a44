//! What makes a running agent read its files again, and what it does when they are wrong.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Result, anyhow};
use nix::sys::signal::Signal;
use zerorate_tests::agent::Agent;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, POLICY, SUBSCRIBERS, lines, volume};
use zerorate_tests::wait::until;

/// The policy with the internet's address in class `messengers`.
fn other_policy() -> String {
    POLICY.replace("203.0.113.128/25", "198.51.100.0/24")
}

fn version(agent: &Agent) -> Result<String> {
    Ok(agent.status()?["policy_version"].to_string())
}

/// Three echoes of 100 bytes from a subscriber, all answered.
fn three_echoes(lab: &Lab, subscriber: &str, remote: &str) -> Result<Flow> {
    let near = lab.subscriber(subscriber).v4();
    assert_eq!(ping(&near, &lab.remote(remote), 3, 72)?, 3);
    let all = volume(3, 100);
    Ok(Flow { up: all, down: all })
}

#[test]
fn a_file_that_changes_is_read() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let first = version(&agent)?;
    let echoes = three_echoes(&lab, "alice", town::INTERNET)?;

    // A policy that is replaced, and a list that is written where it lies.
    let listed = POLICY.replace(
        "prefixes = [\"203.0.113.128/25\", \"2001:db8:30::/48\"]",
        "file = \"chats.txt\"",
    );
    let list = agent.policy_dir().join("chats.txt");
    fs::write(&list, "203.0.113.128/25\n")?;
    agent.write_policy(&listed)?;
    until("the policy is in force", || Ok(version(&agent)? != first))?;
    let second = version(&agent)?;
    fs::write(&list, "203.0.113.128/25\n198.51.100.0/24 # moved\n")?;
    until("the list is in force", || Ok(version(&agent)? != second))?;
    assert_eq!(three_echoes(&lab, "alice", town::INTERNET)?, echoes);

    // Subscribers, replaced and written in place.
    agent.write_subscribers("alice,basic,active,10.1.0.1")?;
    until("bob is gone", || Ok(agent.status()?["subscribers"] == 1))?;
    let text = format!("id,plan,state,addresses\n{SUBSCRIBERS}\n");
    fs::write(agent.subscribers_file(), text)?;
    until("bob is back", || Ok(agent.status()?["subscribers"] == 2))?;

    let expected = lines([
        ("alice", "internet", "main", echoes),
        ("alice", "messengers", "messengers", echoes),
    ]);
    assert_eq!(agent.bill()?.usage, expected);
    let log = agent.log();
    for line in [
        "reloading: a file changed",
        "1 prefix added to messengers: 198.51.100.0/24",
        "removed=1",
        "added=1",
    ] {
        assert!(log.contains(line), "no `{line}` in:\n{log}");
    }
    agent.check_order()
}

#[test]
fn a_policy_directory_that_is_swapped_is_read_and_watched_again() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    for (round, policy) in [other_policy(), POLICY.to_owned(), other_policy()]
        .iter()
        .enumerate()
    {
        let before = version(&agent)?;
        let (new, old) = (
            agent.home().join("new-policy"),
            agent.home().join(format!("old-policy-{round}")),
        );
        fs::create_dir(&new)?;
        fs::write(new.join("policy.toml"), policy)?;
        fs::rename(agent.policy_dir(), old)?;
        fs::rename(new, agent.policy_dir())?;
        until("the new directory is in force", || {
            Ok(version(&agent)? != before && agent.status()?["refused"].is_null())
        })?;
    }
    Ok(())
}

#[test]
fn links_to_files_elsewhere_are_followed() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).prepare()?;
    // As deployment tools lay files out: releases beside each other, and a link to the one that counts.
    let elsewhere = tempfile::tempdir()?;
    let at = |name: &str| elsewhere.path().join(name);
    let relink = |to: &Path, link: &Path| -> Result<()> {
        symlink(to, at("link"))?;
        Ok(fs::rename(at("link"), link)?)
    };
    for (release, policy) in [("one", POLICY), ("two", &other_policy())] {
        fs::create_dir(at(release))?;
        fs::write(at(release).join("policy.toml"), policy)?;
    }
    fs::write(
        at("list.csv"),
        format!("id,plan,state,addresses\n{SUBSCRIBERS}\n"),
    )?;
    fs::remove_dir_all(agent.policy_dir())?;
    relink(&at("one"), &agent.policy_dir())?;
    relink(&at("list.csv"), &agent.subscribers_file())?;
    agent.start()?;

    let first = version(&agent)?;
    relink(&at("two"), &agent.policy_dir())?;
    until("the other release is in force", || {
        Ok(version(&agent)? != first)
    })?;
    let second = version(&agent)?;
    fs::write(
        at("two").join("policy.toml"),
        POLICY.replace("64kB", "65kB"),
    )?;
    until("a change in it is in force", || {
        Ok(![&first, &second].contains(&&version(&agent)?))
    })?;
    fs::write(
        at("list.csv"),
        "id,plan,state,addresses\nalice,basic,active,10.1.0.1\n",
    )?;
    until("bob is gone", || Ok(agent.status()?["subscribers"] == 1))?;
    fs::write(
        at("list.new"),
        format!("id,plan,state,addresses\n{SUBSCRIBERS}\n"),
    )?;
    fs::rename(at("list.new"), at("list.csv"))?;
    until("bob is back", || Ok(agent.status()?["subscribers"] == 2))?;
    // A link behind the link, as where all files of a volume change at once.
    fs::create_dir(at("three"))?;
    fs::write(at("three").join("list.csv"), "id,plan,state,addresses\n")?;
    relink(Path::new("two"), &at("current"))?;
    fs::write(at("two").join("list.csv"), fs::read(at("list.csv"))?)?;
    relink(Path::new("current/list.csv"), &at("list.csv"))?;
    until("the new way is taken", || {
        Ok(agent.log().matches("nothing changed").count() > 0)
    })?;
    relink(Path::new("three"), &at("current"))?;
    until("everybody is gone", || {
        Ok(agent.status()?["subscribers"] == 0)
    })?;
    agent.check_order()
}

#[test]
fn a_file_that_is_written_all_the_time_is_read_all_the_same() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    // It looks after its interfaces more often than the file rests.
    let agent = town::agent(&lab)
        .section("[records]\ncheckpoint = \"100ms\"")
        .start()?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                agent.write_subscribers(&format!("c{round},basic,active,10.1.0.1"))?;
                sleep(Duration::from_millis(20));
            }
            anyhow::Ok(())
        });
        let read = until("it is read", || Ok(agent.status()?["subscribers"] == 1));
        done.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow!("a panic")).flatten()?;
        read
    })?;
    agent.check_order()
}

#[test]
fn sighup_and_the_command_read_files_that_nobody_watches() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    let first = version(&agent)?;
    agent.write_policy(&other_policy())?;
    agent.signal(Signal::SIGHUP)?;
    until("the policy is in force", || Ok(version(&agent)? != first))?;
    agent.write_policy(POLICY)?;
    let said = agent.reload()?;
    assert_eq!(version(&agent)?, first);
    assert!(
        said.contains("1 prefix removed from messengers: 198.51.100.0/24"),
        "{said}"
    );
    let said = agent.reload()?;
    assert!(said.starts_with("nothing changed: version"), "{said}");
    // A line that says the same is no change.
    agent.write_subscribers(&format!("\n{SUBSCRIBERS}"))?;
    let said = agent.reload()?;
    assert!(said.starts_with("nothing changed: version"), "{said}");
    agent.check_order()
}

#[test]
fn what_is_wrong_is_refused_whole_and_status_says_where() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let first = version(&agent)?;
    let mut echoes = three_echoes(&lab, "alice", town::GOVERNMENT)?;
    let refused = || -> Result<String> {
        Ok(agent.status()?["refused"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };

    // By command: the policy is wrong, and what is right beside it is not taken either.
    agent.write_subscribers("alice,basic,active,10.1.0.1")?;
    agent.write_policy(&POLICY.replace("203.0.113.128/25", "203.0.113.128/24"))?;
    let said = agent.reload().unwrap_err().to_string();
    let wrong = POLICY
        .lines()
        .position(|line| line.contains("203.0.113.128/25"));
    let line = wrong.map_or(0, |index| index + 1);
    let expected = format!("policy.toml:{line}:13: error:");
    assert!(
        said.contains(&expected) && said.contains("203.0.113.0/24"),
        "{said}"
    );
    assert!(refused()?.contains(&expected), "{}", refused()?);
    let table = agent
        .command(&["status", "--socket"])
        .arg(agent.socket())
        .output()?;
    assert_eq!(table.status.code(), Some(1));
    let table = String::from_utf8(table.stdout)?;
    assert!(
        table.contains("REFUSED") && table.contains(&expected),
        "{table}"
    );
    assert_eq!(version(&agent)?, first);
    assert_eq!(agent.status()?["subscribers"], 2);

    // By a file that changed: the subscribers are wrong.
    agent.write_policy(POLICY)?;
    agent.write_subscribers("alice,basic,active,10.1.0.1\ncarol,gold,active,10.1.0.1")?;
    until("the subscribers are refused", || {
        let refused = refused()?;
        Ok(refused.contains("subscribers.csv:3:7: error:") && refused.contains("no plan \"gold\""))
    })?;
    let carol = agent.ask(&["subscriber", "show", "carol"]).unwrap_err();
    assert!(
        carol
            .to_string()
            .contains("no subscriber `carol` has a session"),
        "{carol}"
    );

    // All the while it counts, and it takes the next good file.
    echoes += three_echoes(&lab, "alice", town::GOVERNMENT)?;
    assert_eq!(version(&agent)?, first);
    assert_eq!(
        agent.bill()?.usage,
        lines([("alice", "government", "free", echoes)])
    );
    // What else it has to do does not make it forget.
    lab.gateway.ip("address add 192.0.2.1/32 dev lo")?;
    until("the new address is known", || {
        Ok(agent.log().contains("the gateway's own addresses changed"))
    })?;
    assert!(refused()?.contains("no plan \"gold\""));
    fs::remove_file(agent.subscribers_file())?;
    until("a missing file is refused", || {
        Ok(refused()?.contains("subscribers.csv:1:1: error:"))
    })?;
    agent.write_subscribers(SUBSCRIBERS)?;
    until("all is in order again", || {
        Ok(agent.ask(&["status"]).is_ok())
    })?;
    assert!(refused()?.is_empty());
    Ok(())
}

#[test]
fn who_leaves_keeps_the_usage_and_finds_the_bucket_as_it_was() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    let mut echoes = three_echoes(&lab, "bob", town::INTERNET)?;
    let before = agent.bill()?;
    assert_eq!(before.usage, lines([("bob", "internet", "main", echoes)]));

    agent.write_subscribers("alice,basic,active,10.1.0.1")?;
    agent.reload()?;
    let unknown = three_echoes(&lab, "bob", town::INTERNET)?;
    let bill = agent.bill()?;
    assert_eq!(bill.usage, before.usage);
    assert_eq!(bill.unattributed["internet"], unknown);
    assert!(agent.ask(&["subscriber", "show", "bob"]).is_err());

    agent.write_subscribers(SUBSCRIBERS)?;
    agent.reload()?;
    assert_eq!(agent.left("bob", "main")?, 500_000 - 600);
    echoes += three_echoes(&lab, "bob", town::INTERNET)?;
    let bill = agent.bill()?;
    assert_eq!(bill.usage, lines([("bob", "internet", "main", echoes)]));
    assert_eq!(agent.left("bob", "main")?, 500_000 - 1200);
    agent.check_order()
}

#[test]
fn a_suspended_subscriber_has_what_is_essential_only() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    let mut internet = three_echoes(&lab, "alice", town::INTERNET)?;

    agent.write_subscribers(&SUBSCRIBERS.replace("alice,basic,active", "alice,basic,suspended"))?;
    let said = agent.reload()?;
    assert!(said.contains("1 suspended or resumed"), "{said}");
    assert_eq!(agent.status()?["suspended"], 1);
    let alice = lab.subscriber("alice").v4();
    assert_eq!(ping(&alice, &lab.remote(town::INTERNET), 2, 72)?, 0);
    let essential = three_echoes(&lab, "alice", town::GOVERNMENT)?;

    agent.write_subscribers(SUBSCRIBERS)?;
    agent.reload()?;
    internet += three_echoes(&lab, "alice", town::INTERNET)?;
    lab.settle()?;
    let bill = agent.bill()?;
    let expected = lines([
        ("alice", "government", "free", essential),
        ("alice", "internet", "dropped", town::up(volume(2, 100))),
        ("alice", "internet", "main", internet),
    ]);
    assert_eq!(bill.usage, expected);
    assert_eq!(agent.left("alice", "main")?, town::MAIN - 1200);
    agent.check_order()
}

#[test]
fn a_plan_that_changes_keeps_what_both_plans_call_the_same() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    let first = three_echoes(&lab, "bob", town::INTERNET)?;
    agent.write_subscribers(&SUBSCRIBERS.replace("bob,small", "bob,basic"))?;
    let said = agent.reload()?;
    assert!(said.contains("1 with another plan"), "{said}");
    // The bucket was granted under the first plan, and is not granted again under the second.
    assert_eq!(agent.left("bob", "main")?, 500_000 - 600);
    assert_eq!(agent.left("bob", "messengers")?, 64_000);
    let second = three_echoes(&lab, "bob", town::INTERNET)?;
    let bill = agent.bill()?;
    assert_eq!(
        bill.usage,
        lines([("bob", "internet", "main", first + second)])
    );
    let plans = agent.usage_json()?;
    let plans = plans.iter().filter_map(|line| line["plan"].as_str());
    assert_eq!(plans.collect::<Vec<_>>(), ["basic", "small"]);
    agent.check_order()
}
