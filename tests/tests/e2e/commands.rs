//! The commands that ask a running agent: the same figures in every format, exit codes scripts can rely on,
//! and a message where nobody answers.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Output, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::netns::NetNs;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town;
use zerorate_tests::wait::until;

/// A lab in which everything there is to be shown has happened.
fn busy() -> Result<(Lab, Agent)> {
    let lab = town::lab().build()?;
    let agent = town::agent(&lab)
        .setting("timezone = \"Asia/Almaty\"")
        .start()?;
    let alice = lab.subscriber("alice");
    for remote in [town::GOVERNMENT, town::INTERNET, town::MESSENGERS] {
        assert_eq!(ping(&alice.v4(), &lab.remote(remote), 3, 72)?, 3);
    }
    alice.namespace.ip("route add local 10.9.9.9 dev lo")?;
    assert_eq!(
        ping(&alice.at("10.9.9.9"), &lab.remote(town::INTERNET), 2, 72)?,
        0
    );
    lab.settle()?;
    Ok((lab, agent))
}

/// CSV as rows of cells, the header first.
fn cells(text: &str) -> Result<Vec<Vec<String>>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let rows = reader
        .records()
        .map(|row| Ok(row?.iter().map(str::to_owned).collect()));
    rows.collect()
}

fn asked(agent: &Agent, arguments: &[&str]) -> Result<Output> {
    let mut command = agent.command(arguments);
    Ok(command.arg("--socket").arg(agent.socket()).output()?)
}

#[test]
fn usage_says_the_same_in_every_format() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let (_lab, agent) = busy()?;
    let json = agent.usage_json()?;
    let kinds: Vec<_> = json
        .iter()
        .filter_map(|line| line["kind"].as_str())
        .collect();
    // Books: two interfaces that have seen something, one way each, and their sum.
    let expected = [
        "usage",
        "usage",
        "usage",
        "unattributed",
        "books",
        "books",
        "books",
    ];
    assert_eq!(kinds, expected);

    let csv = cells(&agent.ask(&["usage", "--format", "csv"])?)?;
    let (header, rows) = csv.split_first().context("no header")?;
    assert_eq!(rows.len(), json.len());
    for (row, line) in rows.iter().zip(&json) {
        let fields = line.as_object().context("no object")?;
        for (name, value) in fields {
            let column = header.iter().position(|head| head == name);
            let cell = column
                .and_then(|column| row.get(column))
                .context("no column")?;
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(*cell, text, "{name} of {line}");
        }
        assert_eq!(
            row.iter().filter(|cell| !cell.is_empty()).count(),
            fields.len()
        );
    }

    let table = agent.ask(&["usage"])?;
    for line in &json {
        for name in ["subscriber", "class", "charged", "interface"] {
            let shown = line[name].as_str().is_none_or(|name| table.contains(name));
            assert!(shown, "{name} of {line} is not in\n{table}");
        }
    }
    for title in [
        "Usage",
        "Unattributed",
        "Books",
        "total charged",
        "difference",
    ] {
        assert!(table.contains(title), "no `{title}` in\n{table}");
    }

    // A statement has the same rows, and a line for the whole and one for each session and record before them.
    let rows = |lines: &[Value]| {
        let usage = lines.iter().filter(|line| line["kind"] == "usage");
        let fields = [
            "subscriber",
            "plan",
            "class",
            "charged",
            "bytes_up",
            "packets_down",
        ];
        let row = |line: &Value| fields.map(|field| line[field].to_string());
        usage.map(row).collect::<Vec<_>>()
    };
    let of_bob = agent.ask_json(&["usage", "--subscriber", "bob"])?;
    // The record is of what the plan grants at first.
    assert_eq!((of_bob.len(), rows(&of_bob).len()), (3, 0));
    let of_alice = agent.ask_json(&["usage", "--subscriber", "alice"])?;
    assert_eq!(rows(&of_alice), rows(&json));
    Ok(())
}

#[test]
fn status_and_subscribers_say_the_same_in_every_format() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let (_lab, agent) = busy()?;
    let status = agent.status()?;
    assert_eq!(status["node"], "test");
    assert_eq!(status["policy"], "town");
    assert_eq!(
        (&status["subscribers"], &status["suspended"]),
        (&2.into(), &0.into())
    );
    let interfaces = status["interfaces"].as_array().context("no interfaces")?;
    let csv = cells(&agent.ask(&["status", "--format", "csv"])?)?;
    let heads = [
        "interface",
        "role",
        "mode",
        "attached",
        "ifindex",
        "packets",
        "ip_bytes",
        "hook",
    ];
    assert_eq!(csv[0], heads);
    assert_eq!(csv.len(), 1 + interfaces.len());
    let table = agent.ask(&["status"])?;
    for (row, interface) in csv[1..].iter().zip(interfaces) {
        let keys = [
            "name", "role", "mode", "attached", "ifindex", "packets", "ip_bytes", "hook",
        ];
        let values = keys.map(|key| match &interface[key] {
            Value::String(text) => text.clone(),
            Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            number => number.to_string(),
        });
        assert_eq!(*row, values);
        let line = table
            .lines()
            .find(|line| line.trim_start().starts_with(&values[0]));
        let line = line.with_context(|| format!("no {} in\n{table}", values[0]))?;
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), values);
    }
    let version = status["policy_version"].as_str().context("no version")?;
    for text in ["town", version, "closed", "2, of these 0 suspended"] {
        assert!(table.contains(text), "no `{text}` in\n{table}");
    }

    let list = agent.ask(&["subscriber", "list", "--format", "json"])?;
    let one = agent.ask(&["subscriber", "show", "alice", "--format", "json"])?;
    let listed: Value = serde_json::from_str(list.lines().next().context("nobody")?)?;
    let alice: Value = serde_json::from_str(&one)?;
    // One that is asked for alone has the time and speed of its session, too.
    for (field, value) in listed.as_object().context("no object")? {
        assert_eq!(alice[field], *value, "{field}");
    }
    assert_eq!(
        (&alice["packets_up"], &alice["bytes_down"]),
        (&9.into(), &900.into())
    );
    assert_eq!(
        alice["addresses"],
        serde_json::json!(["10.1.0.1/32", "2001:db8:a::/64"])
    );
    let buckets = serde_json::json!([
        { "bucket": "main", "left": town::MAIN - 600 },
        { "bucket": "messengers", "left": 64_000 - 600 }
    ]);
    assert_eq!(alice["buckets"], buckets);
    let csv = cells(&agent.ask(&["subscriber", "list", "--format", "csv"])?)?;
    let heads = [
        "subscriber",
        "plan",
        "state",
        "session",
        "start",
        "addresses",
        "buckets",
        "cycle until",
    ];
    assert_eq!(csv[0], heads);
    assert_eq!(csv[1][..3], ["alice", "basic", "active"]);
    assert_eq!(csv[2][..3], ["bob", "small", "active"]);
    let rest = ["10.1.0.8/29 2001:db8:b::/56", "main=500000", ""];
    assert_eq!(csv[2][5..], rest);
    let table = agent.ask(&["subscriber", "show", "bob"])?;
    assert!(
        csv[2].iter().all(|cell| table.contains(cell.as_str())),
        "{table}"
    );
    assert!(!table.contains("alice"), "{table}");
    Ok(())
}

#[test]
fn exit_codes_and_messages_where_something_is_wrong() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let (mut lab, mut agent) = busy()?;
    // Asked for what there is not.
    let output = asked(&agent, &["subscriber", "show", "n o/body?"])?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(said, "zerorate: no subscriber `n o/body?` has a session\n");
    let output = asked(&agent, &["usage", "--format", "xml"])?;
    assert_eq!(output.status.code(), Some(2));

    // An interface is gone.
    lab.unplug("bob")?;
    until("status exits with 1", || {
        Ok(asked(&agent, &["status"])?.status.code() == Some(1))
    })?;
    let table = asked(&agent, &["status"])?.stdout;
    let table = String::from_utf8(table)?;
    let line = table
        .lines()
        .find(|line| line.trim_start().starts_with("access1"));
    assert!(line.is_some_and(|line| line.contains(" no ")), "{table}");
    lab.replug("bob")?;
    until("status exits with 0", || {
        Ok(asked(&agent, &["status"])?.status.success())
    })?;

    // Nobody is there.
    agent.sigterm()?;
    for arguments in [
        &["status"][..],
        &["usage"],
        &["usage", "--watch"],
        &["subscriber", "list"],
        &["subscriber", "show", "alice"],
        &["policy", "reload"],
    ] {
        let output = asked(&agent, arguments)?;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let said = String::from_utf8(output.stderr)?;
        let expected = format!(
            "zerorate: no agent answers on {}: ",
            agent.socket().display()
        );
        assert!(said.starts_with(&expected), "{arguments:?}: {said}");
        assert!(said.contains("is `zerorate run` running"), "{said}");
    }
    Ok(())
}

/// A command that goes on, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn started(agent: &Agent, arguments: &[&str]) -> Result<Running> {
    let mut command = agent.command(arguments);
    command.arg("--socket").arg(agent.socket());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(Running(command.spawn()?))
}

#[test]
fn watched_usage_goes_on_until_the_agent_ends() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let (lab, mut agent) = busy()?;
    let mut watch = started(&agent, &["usage", "--watch", "0.1", "--format", "json"])?;
    let lines = BufReader::new(watch.0.stdout.take().context("no output")?).lines();
    let mut sums = lines.filter_map(|line| {
        let line: Value = serde_json::from_str(&line.ok()?).ok()?;
        let is_sum = line["kind"] == "books" && line["interface"].is_null();
        is_sum.then(|| line["ip_packets"].as_u64())?
    });
    let first = sums.next().context("nothing was printed")?;
    assert_eq!(sums.next(), Some(first));
    assert_eq!(
        ping(
            &lab.subscriber("bob").v4(),
            &lab.remote(town::GOVERNMENT),
            5,
            72
        )?,
        5
    );
    assert!(
        sums.any(|packets| packets == first + 10),
        "it never showed the echoes"
    );
    agent.sigterm()?;
    // Also the end of what it prints.
    assert_eq!(sums.filter(|packets| *packets != first + 10).count(), 0);
    let mut said = String::new();
    let mut errors = watch.0.stderr.take().context("no errors")?;
    errors.read_to_string(&mut said)?;
    assert!(said.starts_with("zerorate: "), "{said}");
    assert_eq!(watch.0.wait()?.code(), Some(1));
    Ok(())
}

#[test]
fn who_has_seen_enough_may_close_the_pipe() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let namespace = NetNs::new("crowd")?;
    let mut crowd = String::new();
    for n in 0..5000 {
        writeln!(crowd, "s{n},basic,active,10.9.{}.{}", n >> 8, n & 255)?;
    }
    let agent = Agent::builder(&namespace)
        .subscribers(&crowd)
        .interface("lo", "access", "mode = \"generic\"")
        .start()?;
    for format in ["table", "csv", "json"] {
        let mut command = started(&agent, &["subscriber", "list", "--format", format])?;
        let mut first = String::new();
        let mut output = BufReader::new(command.0.stdout.take().context("no output")?);
        output.read_line(&mut first)?;
        assert!(!first.is_empty());
        drop(output);
        let mut said = String::new();
        let mut errors = command.0.stderr.take().context("no errors")?;
        errors.read_to_string(&mut said)?;
        assert_eq!(said, "", "{format}");
        assert!(command.0.wait()?.success(), "{format}");
    }
    Ok(())
}

#[test]
fn systemd_is_told_when_it_is_ready_reloads_and_stops() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_nonblocking(true)?;
    let hear = |expected: &str| {
        until(expected, || {
            let mut buffer = [0; 1024];
            match socket.recv(&mut buffer) {
                Ok(length) => Ok(buffer[..length].starts_with(expected.as_bytes())),
                Err(_) => Ok(false),
            }
        })
    };
    let lab = town::lab().build()?;
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let mut agent = town::agent(&lab).through(&["env", &variable]).start()?;
    hear("READY=1")?;
    agent.signal(nix::sys::signal::Signal::SIGHUP)?;
    hear("RELOADING=1\nMONOTONIC_USEC=")?;
    hear("READY=1")?;
    agent.sigterm()?;
    hear("STOPPING=1")?;
    Ok(())
}
