//! What a reload may not do to a running agent: a list that lost too much, or came cut short, is not put in force, and
//! traffic is charged as before, until somebody says that it is meant, and why.

use std::fs;

use anyhow::Result;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, POLICY, lines, volume};

/// Two offices in a list of their own; the second is where traffic goes.
const LIST: &str = "198.51.100.0/25\n203.0.113.0/25\n2001:db8:10::/48\n# end\n";
const LESS: &str = "198.51.100.0/25\n2001:db8:10::/48\n# end\n";

fn three_echoes(lab: &Lab) -> Result<Flow> {
    let near = lab.subscriber("alice").v4();
    assert_eq!(ping(&near, &lab.remote(town::GOVERNMENT), 3, 72)?, 3);
    let all = volume(3, 100);
    Ok(Flow { up: all, down: all })
}

#[test]
fn a_reload_beyond_the_guards_is_refused_unless_forced() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    let guarded = POLICY
        .replace("default_class", "max_change = \"20%\"\ndefault_class")
        .replace(
            "prefixes = [\"203.0.113.0/25\", \"2001:db8:10::/48\"]",
            "file = \"offices.txt\"",
        );
    let list = agent.policy_dir().join("offices.txt");
    fs::write(&list, LIST)?;
    agent.write_policy(&guarded)?;
    // What became free with it: 128 addresses more than the 128 there were.
    let said = agent.reload().unwrap_err().to_string();
    assert!(
        said.contains("what plan \"basic\" has free grows by 100.0%"),
        "{said}"
    );
    let force = |reason: &str| {
        let words = ["policy", "reload", "--force", "--reason", reason];
        agent.ask(&words)
    };
    force("the offices' list")?;
    let whole = agent.status()?["policy_version"].clone();
    let mut echoes = three_echoes(&lab)?;

    for (text, expected) in [
        (LESS, "set \"offices\" shrinks by 50.0%: 128 IPv4 addresses"),
        ("", "set \"offices\" is empty, and had 3 prefixes"),
        (
            "198.51.100.0/25\n203.0.113.0/25\n2001:db8:10::/48\n",
            "cut short: its last line is not # end",
        ),
    ] {
        fs::write(&list, text)?;
        let said = agent.reload().unwrap_err().to_string();
        assert!(
            said.contains(expected) && said.contains("--force --reason"),
            "{said}"
        );
        assert_eq!(agent.status()?["policy_version"], whole);
        let refused = agent.status()?["refused"].to_string();
        assert!(refused.contains("offices"), "{refused}");
        echoes += three_echoes(&lab)?;
    }
    assert_eq!(
        agent.bill()?.usage,
        lines([("alice", "government", "free", echoes)])
    );

    // It can be asked beforehand, and be meant.
    fs::write(&list, LESS)?;
    let mut ask = agent.command(&["policy", "diff", "--socket"]);
    let asked = ask.arg(agent.socket()).output()?;
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(
        said.contains("a reload is refused") && said.contains("version"),
        "{said}"
    );
    assert_eq!(asked.status.code(), Some(1));
    let bare = agent.ask(&["policy", "reload", "--force"]).unwrap_err();
    assert!(bare.to_string().contains("--reason"), "{bare}");
    force("one office closed; letter 7/3 & \"so on\"")?;
    assert_ne!(agent.status()?["policy_version"], whole);
    assert!(agent.status()?["refused"].is_null());
    let log = agent.log();
    for line in [
        "reload forced",
        "one office closed; letter 7/3 & \\\"so on\\\"",
        "in spite of: set \"offices\" shrinks by 50.0%",
    ] {
        assert!(log.contains(line), "no `{line}` in:\n{log}");
    }
    // What is in force now is what the next one is compared with.
    fs::write(&list, format!("# a comment\n{LESS}"))?;
    agent.reload()?;
    Ok(())
}
