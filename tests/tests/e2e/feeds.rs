//! Lists that follow a source under a running agent: a file, and the routing table of a real BIRD. What is new comes
//! into force by itself; what is wrong leaves the last good list in force, and is told.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use zerorate_tests::agent::Agent;
use zerorate_tests::bill::Flow;
use zerorate_tests::feeds::{feed, in_order, list, status};
use zerorate_tests::netns::NetNs;
use zerorate_tests::ping::ping;
use zerorate_tests::town::{self, POLICY, lines, volume};
use zerorate_tests::wait::until;
use zerorate_tests::{can_use_namespaces, skip};

const LISTED: &str = r#"prefixes = ["203.0.113.128/25", "2001:db8:30::/48"]"#;

/// The town's policy, with the list of `chats` made from a feed.
fn fed(feed: &str) -> String {
    let lines = format!(
        "file = \"chats.txt\"\nfeed = \"{feed}\"\nfeed_every = \"200ms\"\nfeed_stale_after = \"1h\""
    );
    POLICY.replace(LISTED, &lines)
}

/// Seen by whoever reads: the old file or the new one.
fn publish(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    Ok(fs::rename(new, path)?)
}

#[test]
fn a_list_follows_a_file_and_the_last_good_one_stays() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let directory = tempfile::tempdir()?;
    let source = directory.path().join("published.txt");
    let good = "203.0.113.128/25\n2001:db8:30::/48\n";
    publish(&source, good)?;
    let mut agent = town::agent(&lab)
        .policy(&fed(&format!("file:{}", source.display())))
        .prepare()?;
    fs::write(agent.policy_dir().join("chats.txt"), good)?;
    agent.start()?;
    let alice = lab.subscriber("alice").v4();
    let echoes = || -> Result<()> {
        assert_eq!(ping(&alice, &lab.remote(town::INTERNET), 3, 72)?, 3);
        Ok(())
    };
    echoes()?;

    // Where the internet's address is says who pays.
    publish(&source, &format!("{good}198.51.100.0/24\n"))?;
    until("the feed's list is in force", || {
        let feed = feed(&agent)?;
        let good = feed["fresh"].is_string() && feed["error"].is_null();
        Ok(list(&agent)?.contains("198.51.100.0/24") && good)
    })?;
    let first = status(&agent)?["policy_version"].clone();
    echoes()?;
    let all = volume(3, 100);
    let expected = lines([
        ("alice", "internet", "main", Flow { up: all, down: all }),
        (
            "alice",
            "messengers",
            "messengers",
            Flow { up: all, down: all },
        ),
    ]);
    assert_eq!(agent.bill()?.usage, expected);
    let kept = list(&agent)?;
    assert!(kept.contains("# Command: zerorate import text "), "{kept}");

    // What is no list, is cut to nothing, gone, or would break the policy.
    for (text, expected) in [
        ("<html>502 Bad Gateway</html>", "this is HTML or XML"),
        ("", "the source is empty"),
        ("203.0.113.0/25\n", "in class \"government\""),
        ("198.51.100.1/24\n", "published.txt:1:1: error: "),
    ] {
        publish(&source, text)?;
        until(&format!("{text:?} is refused"), || {
            let error = feed(&agent)?["error"].clone();
            Ok(error.as_str().is_some_and(|error| error.contains(expected)))
        })?;
        assert_eq!(list(&agent)?, kept);
        assert_eq!(status(&agent)?["policy_version"], first);
        assert!(!in_order(&agent)?);
    }
    fs::remove_file(&source)?;
    until("what is gone is told", || {
        let error = feed(&agent)?["error"].clone();
        Ok(error
            .as_str()
            .is_some_and(|error| error.contains("No such file")))
    })?;
    assert_eq!(list(&agent)?, kept);
    echoes()?;
    let six = volume(6, 100);
    let expected = lines([
        ("alice", "internet", "main", Flow { up: all, down: all }),
        (
            "alice",
            "messengers",
            "messengers",
            Flow { up: six, down: six },
        ),
    ]);
    assert_eq!(agent.bill()?.usage, expected);

    // Good again, but nothing new for two hours.
    publish(&source, &format!("{good}198.51.100.0/24\n"))?;
    until("the source is good again", || {
        Ok(feed(&agent)?["error"].is_null())
    })?;
    until("all is in order", || in_order(&agent))?;
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    fs::File::options()
        .write(true)
        .open(&source)?
        .set_modified(long_ago)?;
    until("it is stale", || Ok(feed(&agent)?["stale"] == true))?;
    assert!(!in_order(&agent)?);
    let shown = agent
        .command(&["status", "--socket"])
        .arg(agent.socket())
        .output()?;
    let shown = String::from_utf8(shown.stdout)?;
    assert!(shown.contains("STALE FEED   chats from file:"), "{shown}");
    assert!(agent.log().contains("feed of set chats is stale"));
    publish(&source, &format!("{good}198.51.100.0/24\n"))?;
    until("it is fresh again", || in_order(&agent))?;
    assert_eq!(status(&agent)?["books_difference_bytes"], 0);
    assert!(agent.bill()?.closes());
    Ok(())
}

/// A BIRD, ended with the test.
struct Bird(Child);

impl Drop for Bird {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bird {
    fn start(namespace: &NetNs, directory: &Path, name: &str, config: &str) -> Result<Self> {
        let file = directory.join(format!("{name}.conf"));
        fs::write(&file, config)?;
        let mut command = namespace.command("bird");
        command.arg("-f").arg("-c").arg(file);
        command.arg("-s").arg(directory.join(format!("{name}.ctl")));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

const EXCHANGE: &str = "router id 10.0.0.1;\nprotocol device {}\n\
    protocol static members { ipv4; route 203.0.113.128/26 blackhole; route 203.0.113.192/26 blackhole; }\n\
    protocol static leaving { ipv4; route 198.51.100.0/24 blackhole; route 0.0.0.0/0 blackhole; }\n\
    protocol static six { ipv6; route 2001:db8:30::/48 blackhole; }\n\
    protocol bgp peer_b { local 10.0.0.1 port 1790 as 64501; neighbor 10.0.0.2 port 1791 as 64500; multihop;\n\
    strict bind yes; connect delay time 1; connect retry time 1;\n\
    ipv4 { import none; export all; next hop self; };\n\
    ipv6 { import none; export all; next hop address 2001:db8:ffff::1; }; }\n";

const GATEWAY: &str = "router id 10.0.0.2;\nprotocol device {}\n\
    protocol static own { ipv4; route 192.0.2.0/24 blackhole; }\n\
    protocol mrt { table \"*\"; filename \"DIRECTORY/exchange.mrt\"; period 3; }\n\
    protocol bgp peer_a { local 10.0.0.2 port 1791 as 64500; neighbor 10.0.0.1 port 1790 as 64501; multihop;\n\
    strict bind yes; connect delay time 1; connect retry time 1;\n\
    ipv4 { import all; export none; }; ipv6 { import all; export none; }; }\n";

#[test]
fn a_list_follows_the_routing_table_of_a_bird() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    if Command::new("bird").arg("--version").output().is_err() {
        skip("BIRD is not installed: apt-get install bird2");
        return Ok(());
    }
    let namespace = NetNs::new("bird")?;
    namespace.ip(
        "address add 10.0.0.1/32 dev lo\naddress add 10.0.0.2/32 dev lo\naddress add 2001:db8:ffff::1/128 dev lo",
    )?;
    let directory = tempfile::tempdir()?;
    let at = directory.path().display().to_string();
    let _exchange = Bird::start(&namespace, directory.path(), "exchange", EXCHANGE)?;
    let gateway = GATEWAY.replace("DIRECTORY", &at);
    let _gateway = Bird::start(&namespace, directory.path(), "gateway", &gateway)?;
    let dump = directory.path().join("exchange.mrt");
    until("BIRD has dumped its tables", || Ok(dump.exists()))?;

    // What the neighbour tells, and not what the router has itself.
    let policy = fed(&format!("mrt:{}", dump.display())).replace(
        "feed_stale_after = \"1h\"",
        "feed_stale_after = \"1h\"\nimport = { peer = [\"AS64501\"] }",
    );
    let mut agent = Agent::builder(&namespace)
        .policy(&policy)
        .interface("lo", "access", "mode = \"generic\"")
        .prepare()?;
    fs::write(agent.policy_dir().join("chats.txt"), "203.0.113.128/25\n")?;
    agent.start()?;
    let prefixes = |agent: &Agent| -> Result<String> {
        let list = list(agent)?;
        let prefixes = list.lines().filter(|line| !line.starts_with('#'));
        Ok(prefixes.collect::<Vec<_>>().join(" "))
    };
    let table = until("the table is the list", || {
        Ok(prefixes(&agent)? == "198.51.100.0/24 203.0.113.128/25 2001:db8:30::/48")
    });
    table.with_context(|| format!("{:?}\n{}", prefixes(&agent), agent.log()))?;
    // A route that is withdrawn leaves the list, though BIRD's earlier dumps are in the file before the last one.
    let mut birdc = Command::new("birdc");
    birdc.arg("-s").arg(directory.path().join("exchange.ctl"));
    let said = birdc.args(["disable", "leaving"]).output()?;
    assert!(said.status.success(), "{said:?}");
    until("what was withdrawn is gone", || {
        Ok(prefixes(&agent)? == "203.0.113.128/25 2001:db8:30::/48")
    })?;
    until("the agent has it in force", || {
        let explained = agent.log().matches("the new list is in force").count();
        Ok(explained >= 2)
    })?;
    assert!(feed(&agent)?["fresh"].is_string());
    Ok(())
}
