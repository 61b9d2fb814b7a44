//! `docs/policy-guide.md` word for word: every session it shows (a block of kind `console live`) is typed into a shell beside a
//! running gateway, and what is printed has to be what the guide prints.
//!
//! Comments in the guide, which its readers do not see, say what happens between the sessions: `<!-- clock TIME -->`, the day
//! comes; `<!-- traffic SUBSCRIBER ADDRESS -->`, somebody visits a site. With `UPDATE_SNAPSHOTS=1` in the environment the guide
//! is given what is printed: read what changed.

mod sessions;
mod shell;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::clock::Clock;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::wait::until;

use sessions::{Known, Step};
use shell::Shell;

const GUIDE: &str = "../docs/policy-guide.md";
/// When it begins.
const BEGIN: &str = "2026-11-26T10:00:00+05:00";

/// The clock's offset at which it is `time` now.
fn offset(time: Timestamp) -> String {
    let seconds = time.as_second() - Timestamp::now().as_second();
    format!("{seconds:+}")
}

/// What somebody has who did what the guide's beginning says: the files that `zerorate new` writes, and an agent that runs on
/// them between subscribers and the world.
fn gateway(lab: &Lab, clock: &Clock) -> Result<Agent> {
    let files = tempfile::tempdir()?;
    let skeleton = files.path().join("zerorate");
    let bare = Agent::builder(&lab.gateway).prepare()?;
    let made = bare
        .command(&["new", &skeleton.display().to_string()])
        .output()?;
    ensure!(made.status.success(), "{made:?}");
    let lines = fs::read_to_string(skeleton.join("subscribers.csv"))?;
    let lines = lines.split_once('\n').context("a header")?.1;
    // The lab's own links have the addresses of the skeleton's subscribers.
    let lines = lines.replace("100.64.0.", "10.1.0.");
    let agent = Agent::builder(&lab.gateway)
        .node("gw-1")
        .setting("timezone = \"Asia/Almaty\"")
        .section("[records]\ninterval = \"3s\"")
        .policy_directory(&skeleton.join("policy"))
        .subscribers(&lines)
        .through(&clock.through());
    lab.access
        .iter()
        .fold(agent, |agent, wire| {
            agent.interface(&wire.far.name, "access", "")
        })
        .interface(&lab.core.near.name, "core", "")
        .start()
}

/// How many records of usage there are.
fn recorded(agent: &Agent) -> Result<usize> {
    Ok(agent
        .ask_json(&["record", "list", "--kind", "usage"])?
        .len())
}

#[test]
fn every_session_of_the_guide_prints_what_the_guide_says() -> Result<()> {
    let clock = Clock::new()?;
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = Lab::builder()
        .subscriber("account-1001", &["10.1.0.2/32"])
        .remotes(&["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"])
        .build()?;
    clock.set(&offset(BEGIN.parse()?))?;
    let agent = gateway(&lab, &clock)?;
    let shell = Shell::new(&agent, &clock)?;

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GUIDE);
    let guide = fs::read_to_string(&path)?;
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1");
    let (mut known, mut written, mut commands) = (Known::default(), String::new(), 0);
    let mut wrong = Vec::new();
    for step in sessions::steps(&guide)? {
        match step {
            Step::Text(text) => written.push_str(text),
            Step::Clock(line, time) => {
                written.push_str(line);
                clock.set(&offset(time))?;
                until("what was to come is in force", || {
                    let scheduled = agent.status()?["policy_scheduled"].take();
                    Ok(scheduled.as_array().is_some_and(Vec::is_empty))
                })?;
            }
            Step::Traffic(line, subscriber, address) => {
                written.push_str(line);
                let before = recorded(&agent)?;
                let near = lab.subscriber(subscriber).v4();
                ensure!(ping(&near, &lab.remote(address), 3, 972)? == 3, "{line}");
                until("what was used is recorded", || {
                    Ok(recorded(&agent)? > before)
                })?;
            }
            Step::Command { typed, shown } => {
                commands += 1;
                let command = known.in_this_run(&sessions::command(typed));
                let printed = shell.run(&command)?;
                if let Err(difference) = known.compare(shown, &printed) {
                    wrong.push(format!("{typed}{difference}\n-- printed\n{printed}"));
                }
                written.push_str(typed);
                written.push_str(&known.as_shown(&printed));
            }
        }
    }
    if update {
        fs::write(&path, written)?;
    } else {
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }
    assert!(commands > 20, "the guide shows {commands} commands");
    agent.check_order()
}
