//! What goes wrong around the agent: a full disk, clients that do not behave, two agents started at once,
//! and an end in the middle of the beginning.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, SUBSCRIBERS, lines, taken_in, under_load, up, volume};
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

#[test]
fn a_full_disk_refuses_the_reload_and_nothing_is_half_done() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    // The ledger gets a disk of its own, which the agent alone sees.
    let place = tempfile::tempdir()?;
    let disk = place.path().display();
    let mount = format!("mount -t tmpfs -o size=900k none {disk} && exec \"$@\"");
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .through(&["unshare", "--mount", "sh", "-c", &mount, "sh"])
        .prepare()?;
    agent.configure(
        &format!("ledger = \"{}\"", agent.ledger().display()),
        &format!("ledger = \"{disk}/ledger.db\""),
    )?;
    agent.start()?;
    let alice = lab.subscriber("alice").v4();
    let send = || -> Result<()> {
        assert_eq!(udp(&alice, &lab.remote(town::GOVERNMENT), 20, 72)?, 20);
        lab.settle()
    };
    send()?;

    let mut crowd = SUBSCRIBERS.replace("10.1.0.1/32 ", "10.1.0.1/32 10.1.0.2/32 ");
    for n in 0..20_000 {
        write!(crowd, "\nc{n},basic,active,10.9.{}.{}", n >> 8, n & 255)?;
    }
    let before = agent.ask(&["subscriber", "list", "--format", "json"])?;
    for _ in 0..2 {
        agent.write_subscribers(&crowd)?;
        let said = agent.reload().unwrap_err().to_string();
        assert!(
            said.contains("ledger.db: database or disk is full"),
            "{said}"
        );
        assert!(!agent.status()?["refused"].is_null());
        assert_eq!(
            agent.ask(&["subscriber", "list", "--format", "json"])?,
            before
        );
        send()?;
    }
    // What is small still fits.
    agent.write_subscribers(&format!("{SUBSCRIBERS}\ncarol,small,active,10.9.0.1"))?;
    agent.reload()?;
    send()?;
    let counted = lines([("alice", "government", "free", up(volume(80, 100)))]);
    assert_eq!(agent.bill()?.usage, counted);
    assert_eq!(agent.left("carol", "main")?, 500_000);
    assert_eq!(agent.left("alice", "messengers")?, 64_000);
    assert!(agent.status()?["refused"].is_null());
    Ok(())
}

#[test]
fn a_client_that_does_not_behave_is_nobody_s_trouble() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    // Its owner and group may ask, and nobody else.
    let mode = fs::metadata(agent.socket())?.permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let silent = [(); 50].map(|()| UnixStream::connect(agent.socket()));
    for request in [
        "what?\r\n\r\n",
        "GET /v1/nothing HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /v1/policy/reload HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /v1/subscribers/%ff%00 HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        let mut stream = UnixStream::connect(agent.socket())?;
        stream.write_all(request.as_bytes())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        assert!(
            answer.starts_with(b"HTTP/1.1 4"),
            "{request}: {}",
            answer.escape_ascii()
        );
    }
    let mut half = UnixStream::connect(agent.socket())?;
    half.write_all(b"GET /v1/usage HTTP/1.1\r\nhost:")?;
    agent.check_order()?;
    let ended = agent.sigterm()?;
    assert!(ended.success(), "{ended}");
    drop((silent, half));
    Ok(())
}

#[test]
fn ended_while_it_starts_it_starts_again() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    let pairs = [(lab.subscriber("alice").v4(), lab.remote(town::GOVERNMENT))];
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            agent.sigterm()?;
            for round in 0..6 {
                agent.spawn()?;
                sleep(Duration::from_millis(30 + 70 * round));
                agent.signal([Signal::SIGTERM, Signal::SIGINT][round as usize % 2])?;
                agent.wait()?;
            }
            agent.start()
        })
    })?;
    assert_eq!(
        agent.bill()?.usage,
        lines([("alice", "government", "free", flow)])
    );
    agent.check_order()
}

/// Processes, ended with the test.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn started_at_once(lab: &Lab, agent: &Agent, count: usize) -> Result<Processes> {
    let mut processes = Processes(Vec::new());
    for _ in 0..count {
        let mut command = lab.gateway.command(zerorate_tests::agent::binary()?);
        command.arg("run").arg("--config").arg(agent.config());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        processes.0.push(command.spawn()?);
    }
    Ok(processes)
}

#[test]
fn of_agents_started_at_once_one_runs_and_answers() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).start()?;
    for _ in 0..4 {
        // Ends without a chance to take its socket away.
        if agent.id().is_some() {
            agent.kill9()?;
        }
        let mut processes = started_at_once(&lab, &agent, 4)?;
        until("all but one have ended", || {
            let ended = processes
                .0
                .iter_mut()
                .filter_map(|child| child.try_wait().transpose());
            Ok(ended.count() == 3)
        })?;
        until("the one that is left answers", || {
            Ok(agent.status().is_ok())
        })?;
    }
    agent.start()?;
    agent.check_order()
}
