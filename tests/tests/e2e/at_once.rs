//! Whoever is suspended, or has the service back, does not wait for a large change that holds the node: packets know
//! of it at once, and the answer follows when it is written down.

use std::fmt::Write as _;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use zerorate_tests::can_use_namespaces;
use zerorate_tests::town::{self, SUBSCRIBERS};
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

/// How many others there are: so many that the node is busy for a second or more when all get other rows.
const CROWD: usize = 60_000;

/// Longer than a command takes to end that has its answer.
const A_WHILE: Duration = Duration::from_millis(200);

fn subscribers(plan: &str) -> String {
    let mut lines = SUBSCRIBERS.to_owned();
    for number in 0..CROWD {
        let (high, low) = (number >> 8, number & 255);
        // Writing to a string does not fail.
        let _ = write!(
            lines,
            "\ncrowd-{number},{plan},active,10.{}.{}.{low}",
            64 + (high >> 8),
            high & 255
        );
    }
    lines
}

#[test]
fn suspension_and_resumption_do_not_wait_for_a_large_change() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab)
        .subscribers(&subscribers("small"))
        .setting("watch = false")
        .start()?;
    let (alice, internet) = (lab.subscriber("alice").v4(), lab.remote(town::INTERNET));
    let passes = || Ok::<_, anyhow::Error>(udp(&alice, &internet, 1, 100)? == 1);
    ensure!(passes()?, "alice has no service to begin with");

    let socket = agent.socket();
    let quietly = |words: &[&str]| -> Result<_> {
        let mut command = agent.command(words);
        command.arg("--socket").arg(&socket).stdout(Stdio::null());
        Ok(command.spawn()?)
    };
    // Effects that were there while the answer was still being worked on.
    let mut early = 0;
    let mut asked_for = "resume";
    for plan in ["basic", "small", "basic"] {
        agent.write_subscribers(&subscribers(plan))?;
        let mut change = quietly(&["policy", "reload"])?;
        while change.try_wait()?.is_none() {
            asked_for = if asked_for == "resume" {
                "suspend"
            } else {
                "resume"
            };
            let mut request = quietly(&["subscriber", asked_for, "alice"])?;
            until(asked_for, || Ok(passes()? == (asked_for == "resume")))?;
            sleep(A_WHILE);
            early += usize::from(request.try_wait()?.is_none() && change.try_wait()?.is_none());
            ensure!(
                request.wait()?.success(),
                "{asked_for} failed\n{}",
                agent.log()
            );
            assert_eq!(passes()?, asked_for == "resume", "after {asked_for}");
        }
        ensure!(
            change.wait()?.success(),
            "the reload failed\n{}",
            agent.log()
        );
        // The image that came into force says the same.
        assert_eq!(
            passes()?,
            asked_for == "resume",
            "after the change to {plan}"
        );
    }
    assert!(
        early > 0,
        "no change was large enough, or somebody had to wait for it"
    );
    let listed = agent.ask_json(&["subscriber", "show", "alice"])?;
    let state = if asked_for == "resume" {
        "active"
    } else {
        "suspended"
    };
    assert_eq!(listed[0]["state"], state);
    agent.check_order()
}
