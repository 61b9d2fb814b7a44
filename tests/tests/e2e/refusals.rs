//! What the agent refuses to start on: one message each, which says what is wrong and what to do, and
//! nothing left behind that counts.

use std::fs;

use anyhow::Result;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::netns::NetNs;
use zerorate_tests::town::{self, SUBSCRIBERS};
use zerorate_tests::xdp::Mode;

/// Asserts that the agent does not start, and that its one message has all of these parts.
fn refuses(agent: &mut Agent, parts: &[&str]) -> Result<()> {
    let said = agent.refusal()?;
    for part in parts {
        assert!(said.contains(part), "no `{part}` in:\n{said}");
        assert_eq!(
            said.matches(part).count(),
            1,
            "`{part}` is said twice in:\n{said}"
        );
    }
    let messages = said.lines().filter(|line| line.starts_with("zerorate: "));
    assert_eq!(messages.count(), 1, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    Ok(())
}

#[test]
fn an_interface_that_does_not_exist() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).interface("core9", "core", "").prepare()?;
    refuses(
        &mut agent,
        &["interface `core9` does not exist in this network namespace; see `ip link`"],
    )?;
    // Nor does it count on those that do.
    assert_eq!(lab.xdp_programs()?, 0);
    // Where an agent counted before, it goes on.
    agent.configure("name = \"core9\"", "name = \"lo\"\nmode = \"generic\"")?;
    agent.start()?;
    agent.sigterm()?;
    assert_eq!(lab.xdp_programs()?, 4);
    agent.configure("name = \"lo\"", "name = \"core9\"")?;
    refuses(&mut agent, &["interface `core9` does not exist"])?;
    assert_eq!(lab.xdp_programs()?, 4);
    Ok(())
}

#[test]
fn an_interface_that_has_a_program_of_somebody_else() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let core = &lab.core.near;
    for mode in [Mode::Native, Mode::Generic] {
        core.attach_pass_program(mode)?;
        let mut agent = town::agent(&lab).prepare()?;
        refuses(
            &mut agent,
            &[
                "interface `core0`: attaching XDP: ",
                "another XDP program is attached (see `ip link`)",
                "`ip link set dev NAME xdp off`",
            ],
        )?;
        // The other's program is where it was, and no other.
        assert_eq!(lab.xdp_programs()?, 1);
        core.detach_program(mode)?;
        agent.start()?;
    }
    Ok(())
}

#[test]
fn a_driver_without_native_xdp() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let namespace = NetNs::new("bridge")?;
    namespace.ip("link add bridge0 type bridge\nlink set bridge0 up")?;
    let mut agent = Agent::builder(&namespace)
        .interface("bridge0", "access", "")
        .prepare()?;
    refuses(
        &mut agent,
        &[
            "interface `bridge0`: attaching XDP: ",
            "its driver has no native XDP in this set-up: set mode = \"generic\" for it",
        ],
    )?;
    agent.configure(
        "role = \"access\"\n",
        "role = \"access\"\nmode = \"generic\"\n",
    )?;
    agent.start()?;
    agent.check_order()
}

#[test]
fn a_pin_directory_that_is_none() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).prepare()?;
    let pins = format!("pin_dir = \"{}\"", agent.pin_dir().display());
    let elsewhere = agent.home().join("pins");
    agent.configure(&pins, &format!("pin_dir = \"{}\"", elsewhere.display()))?;
    refuses(
        &mut agent,
        &["pins is not on a BPF file system: `mount -t bpf bpf /sys/fs/bpf`"],
    )?;
    assert!(!elsewhere.exists());
    // Counters of a version with another layout.
    agent.configure(&format!("pin_dir = \"{}\"", elsewhere.display()), &pins)?;
    fs::create_dir_all(agent.pin_dir().join("v4711"))?;
    refuses(
        &mut agent,
        &[
            "counters of another layout are pinned here",
            "`zerorate detach --purge`",
        ],
    )?;
    fs::remove_dir(agent.pin_dir().join("v4711"))?;
    agent.start()
}

#[test]
fn more_than_there_is_room_for() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .section("[limits]\nimage_words = 4000000000\nsubscribers = 1")
        .prepare()?;
    refuses(
        &mut agent,
        &["zerorate.toml:1:1: error: `image_words` is above 268435456, which is 1 GiB"],
    )?;
    agent.configure("image_words = 4000000000", "image_words = 0")?;
    let too_many =
        "2 subscribers are listed, `subscribers` under [limits] allows 1: raise it, or list fewer";
    refuses(&mut agent, &[too_many])?;
    // It holds for a reload as well, and leaves in force what is.
    agent.write_subscribers("alice,basic,active,10.1.0.1")?;
    agent.start()?;
    agent.write_subscribers(SUBSCRIBERS)?;
    let said = agent.reload().unwrap_err().to_string();
    assert!(said.contains(too_many), "{said}");
    assert_eq!(agent.status()?["subscribers"], 1);
    Ok(())
}

#[test]
fn a_configuration_with_mistakes() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .section("[records]\ninterval = \"60s\"")
        .prepare()?;
    let access = "name = \"access0\"\nrole = \"access\"\n";
    for (from, to, parts) in [
        (
            "node =",
            "nodes =",
            [
                "zerorate.toml:1:1: error: unknown field `nodes`",
                "expected one of",
            ],
        ),
        (
            "interval =",
            "intervall =",
            ["error: unknown field `intervall`", "`interval`"],
        ),
        (
            "role = \"access\"",
            "role = \"acess\"",
            ["error: unknown variant `acess`", "`access`"],
        ),
        (
            access,
            "name = \"access0\"\nrole = \"access\"\ndownlink = \"egress\"\n",
            [
                "zerorate.toml:9:12: error: interface `access1`: downlink = \"core\", but `access0` has \"egress\"",
                "give all access interfaces the same",
            ],
        ),
        (
            "name = \"access1\"",
            "name = \"access0\"",
            [
                "interface `access0` stands here twice",
                "remove one of the two",
            ],
        ),
        (
            "\"60s\"",
            "\"often\"",
            ["`often` is no duration", "write \"60s\""],
        ),
    ] {
        agent.configure(from, to)?;
        refuses(&mut agent, &parts)?;
        agent.configure(to, from)?;
    }
    assert_eq!(lab.xdp_programs()?, 0);
    fs::remove_file(agent.config())?;
    refuses(
        &mut agent,
        &["zerorate.toml:1:1: error: cannot be read", "--config FILE"],
    )
}

#[test]
fn a_second_agent() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let first = town::agent(&lab).start()?;
    let mut second = town::agent(&lab).prepare()?;
    let line = |key: &str, agent: &Agent| {
        let path = match key {
            "socket" => agent.socket(),
            "ledger" => agent.ledger(),
            _ => agent.pin_dir().to_owned(),
        };
        format!("{key} = \"{}\"", path.display())
    };
    for (key, parts) in [
        ("socket", ["API socket", "another agent listens there"]),
        (
            "ledger",
            [
                "another process has it open",
                "one agent may run on a ledger",
            ],
        ),
        (
            "pin_dir",
            ["are not those that ledger", "`zerorate detach --purge`"],
        ),
    ] {
        second.configure(&line(key, &second), &line(key, &first))?;
        refuses(&mut second, &parts)?;
        second.configure(&line(key, &first), &line(key, &second))?;
    }
    // With everything of its own the interfaces are taken.
    refuses(
        &mut second,
        &["interface `access0`", "another XDP program is attached"],
    )?;
    assert_eq!(lab.xdp_programs()?, 3);
    first.check_order()
}

#[test]
fn a_ledger_that_is_none() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).prepare()?;
    let text = "This is a text and not a database, however long it may go on.\n".repeat(100);
    fs::write(agent.ledger(), &text)?;
    refuses(&mut agent, &["ledger.db: ", "restore it from a backup"])?;
    assert_eq!(fs::read_to_string(agent.ledger())?, text);
    fs::remove_file(agent.ledger())?;
    fs::create_dir(agent.ledger())?;
    refuses(&mut agent, &["ledger.db: unable to open database file"])?;
    assert_eq!(lab.xdp_programs()?, 0);
    Ok(())
}
