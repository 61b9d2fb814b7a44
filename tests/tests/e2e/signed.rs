//! A gateway that puts nothing in force but what somebody it trusts signed: what is unsigned, changed, signed by another or
//! older stays out, is told with the file and what to do, and changes nothing for anybody's traffic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use zerorate_tests::agent::Agent;
use zerorate_tests::minisign::Signer;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, POLICY};
use zerorate_tests::{can_use_namespaces, skip};

/// Of the government's prefixes in the town's policy, the one traffic goes to.
const OFFICES: &str = "prefixes = [\"203.0.113.0/25\", \"2001:db8:10::/48\"]";

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Has the policy in a directory signed, under a serial number.
fn sign(agent: &Agent, dir: &Path, serial: u64, signer: &Signer) -> Result<()> {
    let (dir_text, serial) = (dir.display().to_string(), serial.to_string());
    run(&mut agent.command(&["bundle", "manifest", &dir_text, "--serial", &serial]))?;
    signer.sign(&dir.join("bundle.json"))
}

/// A bundle of a policy.
fn bundle(agent: &Agent, name: &str, text: &str, serial: u64, signer: &Signer) -> Result<PathBuf> {
    let dir = agent.home().join(name);
    fs::create_dir(&dir)?;
    fs::write(dir.join("policy.toml"), text)?;
    sign(agent, &dir, serial, signer)?;
    let file = agent.home().join(format!("{name}.tar"));
    let (dir, to) = (dir.display().to_string(), file.display().to_string());
    run(&mut agent.command(&["bundle", "make", &dir, "-o", &to]))?;
    Ok(file)
}

/// Hands a bundle in; the version it has.
fn stage(agent: &Agent, bundle: &Path, more: &[&str]) -> Result<String> {
    let bundle = bundle.display().to_string();
    let said = agent.ask(&[&["policy", "stage", "--bundle", &bundle], more].concat())?;
    let first = said.lines().next().unwrap_or_default();
    assert!(first.starts_with("staged"), "{said}");
    Ok(first
        .rsplit(' ')
        .next()
        .context("nothing was said")?
        .to_owned())
}

fn version(agent: &Agent) -> Result<String> {
    let version = agent.status()?["policy_version"].clone();
    Ok(version.as_str().context("no version")?.to_owned())
}

/// Sees that something was refused, with all of these words, and that nothing is in force but what was.
fn refused<T: std::fmt::Debug>(agent: &Agent, result: Result<T>, words: &[&str]) -> Result<()> {
    let Err(error) = result else {
        bail!("it was not refused: {result:?}");
    };
    let said = format!("{error:#}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    agent.status().map(drop)
}

/// To whom an echo of alice to the offices is charged now.
fn charged(agent: &Agent, lab: &Lab) -> Result<String> {
    let before = agent.bill()?.usage;
    let near = lab.subscriber("alice").v4();
    assert_eq!(ping(&near, &lab.remote(town::GOVERNMENT), 1, 72)?, 1);
    lab.settle()?;
    let after = agent.bill()?.usage;
    let mut changed = after
        .iter()
        .filter(|(key, flow)| before.get(*key) != Some(*flow));
    let ((_, _, charged), _) = changed.next().context("nothing was counted")?;
    Ok(charged.clone())
}

#[test]
fn nothing_comes_into_force_but_what_was_signed_and_is_not_older() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let (Some(ministry), Some(other)) = (Signer::new()?, Signer::new()?) else {
        skip("there is no minisign");
        return Ok(());
    };
    let lab = town::lab().build()?;
    let trust = format!(
        "[trust]\nkeys = [\"{}\"]\nrequire_signed = true",
        ministry.public
    );
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section(&trust)
        .prepare()?;

    // A first start without a signature is none.
    let said = agent.refusal()?;
    assert!(said.contains("the policy is not signed"), "{said}");
    assert!(said.contains("zerorate bundle manifest DIR"), "{said}");
    sign(&agent, &agent.policy_dir(), 10, &other)?;
    let said = agent.refusal()?;
    assert!(said.contains("is signed by the key"), "{said}");
    sign(&agent, &agent.policy_dir(), 10, &ministry)?;
    agent.start()?;
    let first = version(&agent)?;
    assert_eq!(charged(&agent, &lab)?, "free");

    // What was signed comes into force, over a restart, too.
    let without = POLICY.replace(OFFICES, "prefixes = [\"2001:db8:10::/48\"]");
    assert_ne!(without, POLICY);
    let eleven = bundle(&agent, "eleven", &without, 11, &ministry)?;
    let second = stage(&agent, &eleven, &[])?;
    assert_eq!(version(&agent)?, first, "staging changes nothing");
    agent.ask(&["policy", "activate", &second])?;
    assert_eq!(version(&agent)?, second);
    let paid = charged(&agent, &lab)?;
    assert_ne!(paid, "free");
    agent.kill9()?;
    agent.start()?;
    assert_eq!(version(&agent)?, second);

    // Unsigned, changed, signed by another, signed by nobody known: each says what it is.
    let unsigned = agent.home().join("unsigned");
    fs::create_dir(&unsigned)?;
    fs::write(unsigned.join("policy.toml"), format!("# mine\n{POLICY}"))?;
    let unsigned = unsigned.display().to_string();
    let result = agent.ask(&["policy", "stage", &unsigned]);
    refused(
        &agent,
        result,
        &["not signed", "bundle.json", "minisign -Sm"],
    )?;
    let bytes = fs::read(&eleven)?;
    let at = bytes
        .windows(15)
        .position(|window| window == b"2001:db8:10::/4")
        .context("the prefix is not in the bundle")?;
    let mut changed = bytes.clone();
    changed[at..at + 15].copy_from_slice(b"2001:db8:11::/4");
    let tampered = agent.home().join("tampered.tar");
    fs::write(&tampered, changed)?;
    refused(
        &agent,
        stage(&agent, &tampered, &[]),
        &[
            "tampered.tar",
            "policy.toml is not the file that was signed",
            "Fetch the bundle again",
        ],
    )?;
    fs::write(&tampered, &bytes[..bytes.len() / 2])?;
    refused(
        &agent,
        stage(&agent, &tampered, &[]),
        &["tampered.tar: is no bundle, or was cut short"],
    )?;
    let theirs = bundle(&agent, "theirs", &format!("# theirs\n{POLICY}"), 12, &other)?;
    refused(
        &agent,
        stage(&agent, &theirs, &[]),
        &["is signed by the key", "and trusted are:"],
    )?;
    // What was signed as another policy of the same number is not that.
    let twin = bundle(&agent, "twin", &format!("# twin\n{POLICY}"), 11, &ministry)?;
    refused(
        &agent,
        stage(&agent, &twin, &[]),
        &["serial number 11 is in force with other files"],
    )?;

    // Nor do the configured files change by themselves.
    let toml = agent.policy_dir().join("policy.toml");
    let signed = fs::read_to_string(&toml)?;
    fs::write(&toml, format!("{signed}# by hand\n"))?;
    let reloaded = agent.reload();
    refused(
        &agent,
        reloaded,
        &["policy.toml is not the file that was signed"],
    )?;
    fs::write(&toml, signed)?;
    assert_eq!(version(&agent)?, second);
    assert_eq!(charged(&agent, &lab)?, paid);

    // Older ones go nowhere, unless somebody says why.
    let nine = bundle(&agent, "nine", &format!("# nine\n{POLICY}"), 9, &ministry)?;
    let older = ["serial number is 9, and 11 is in force", "--force --reason"];
    refused(&agent, stage(&agent, &nine, &[]), &older)?;
    let meant = ["--force", "--reason", "eleven was wrong"];
    let third = stage(&agent, &nine, &meant)?;
    let result = agent.ask(&["policy", "activate", &third]);
    refused(&agent, result, &older)?;
    assert_eq!(version(&agent)?, second);
    agent.ask(&[&["policy", "activate", &third], &meant[..]].concat())?;
    assert_eq!(version(&agent)?, third);
    assert_eq!(charged(&agent, &lab)?, "free");
    agent.kill9()?;
    agent.start()?;
    assert_eq!(
        version(&agent)?,
        third,
        "what was gone back to is what is in force"
    );
    agent.ask(&["policy", "rollback", "--reason", "nine was worse"])?;
    assert_eq!(version(&agent)?, second);

    // All of it stands in the audit log.
    let log = agent.ask(&["policy", "audit"])?;
    for word in [
        "not the file that was signed",
        "and 11 is in force",
        "eleven was wrong",
    ] {
        assert!(log.contains(word), "{word}: {log}");
    }
    Ok(())
}
