//! What the agent must be allowed to do, and that it asks for no more; and what it says when there is not
//! enough memory.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, Result};
use zerorate_tests::agent::Agent;
use zerorate_tests::bill::Flow;
use zerorate_tests::ping::ping;
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, SUBSCRIBERS, lines, volume};
use zerorate_tests::wait::until;
use zerorate_tests::{can_use_namespaces, skip};

/// Somebody who is not root, and nobody this machine knows.
const USER: u32 = 64321;

/// An agent of that user, with these capabilities of root's.
fn agent_of_user(lab: &Lab, capabilities: &str) -> Result<Agent> {
    let [inherited, ambient] =
        ["inh", "ambient"].map(|set| format!("--{set}-caps=-all{capabilities}"));
    let (user, group) = (format!("--reuid={USER}"), format!("--regid={USER}"));
    let agent = town::agent_with(lab, "tag = \"mark\"")
        .through(&[
            "setpriv",
            &user,
            &group,
            "--clear-groups",
            &inherited,
            &ambient,
        ])
        .prepare()?;
    give(agent.home())?;
    fs::create_dir(agent.pin_dir())?;
    give(agent.pin_dir())?;
    Ok(agent)
}

/// Makes the user the owner of a directory and of all that is in it.
fn give(directory: &Path) -> Result<()> {
    chown(directory, Some(USER), Some(USER))?;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            give(&path)?;
        } else {
            chown(path, Some(USER), Some(USER))?;
        }
    }
    Ok(())
}

#[test]
fn without_capabilities_it_names_those_that_are_missing() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    for (capabilities, missing) in [
        (
            "",
            "missing CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF: run as root, or give",
        ),
        (
            ",+net_admin,+bpf",
            "missing CAP_PERFMON: run as root, or give",
        ),
        (
            ",+net_admin,+perfmon",
            "missing CAP_BPF: run as root, or give",
        ),
        (",+sys_admin", "missing CAP_NET_ADMIN: run as root, or give"),
    ] {
        let mut agent = agent_of_user(&lab, capabilities)?;
        let said = agent.refusal()?;
        assert!(said.contains(missing), "{said}");
        assert!(
            said.contains("CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"),
            "{said}"
        );
    }
    Ok(())
}

/// Files in a directory that others than owner and group can do something with: those in directories closed to them are not
/// among them.
fn open_to_others(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if fs::metadata(directory)?.mode() & 0o001 == 0 {
        return Ok(found);
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(open_to_others(&path)?);
        } else if fs::metadata(&path)?.mode() & 0o007 != 0 {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn what_subscribers_did_is_readable_for_nobody_else_whatever_the_umask() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let sinks = tempfile::tempdir()?;
    fs::set_permissions(sinks.path(), fs::Permissions::from_mode(0o755))?;
    let sink = format!(
        "[[sink]]\nkind = \"files\"\nevery = \"100ms\"\ndirectory = \"{}\"",
        sinks.path().display()
    );
    let mut agent = town::agent(&lab)
        .section("[records]\ninterval = \"100ms\"\ncheckpoint = \"100ms\"\noriginals = \"1s\"")
        .section(&sink)
        .through(&["sh", "-c", "umask 000; exec \"$@\"", "sh"])
        .prepare()?;
    fs::set_permissions(agent.home(), fs::Permissions::from_mode(0o755))?;
    // What is there already is not the agent's.
    let mut others = open_to_others(agent.home())?;
    others.push(agent.home().join("agent.log"));
    agent.start()?;
    assert_eq!(
        ping(
            &lab.subscriber("alice").v4(),
            &lab.remote(town::INTERNET),
            3,
            72
        )?,
        3
    );
    let mut sealed = agent.ledger().into_os_string();
    sealed.push(".sealed");
    until("records are sealed, and at the sink", || {
        let count = |directory: &Path| fs::read_dir(directory).map_or(0, Iterator::count);
        Ok(count(Path::new(&sealed)) > 0 && count(sinks.path()) > 0)
    })?;
    let mut found = open_to_others(agent.home())?;
    found.retain(|path| !others.contains(path));
    found.extend(open_to_others(sinks.path())?);
    assert!(found.is_empty(), "{found:?}");
    agent.check_order()
}

#[test]
fn three_capabilities_are_enough_for_all_it_does() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    if fs::metadata("/sys/fs/bpf")?.mode() & 1 == 0 {
        skip("the BPF file system is closed to all but root");
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = agent_of_user(&lab, ",+bpf,+net_admin,+perfmon")?;
    agent.start()?;
    let alice = lab.subscriber("alice").v4();
    let mut flow = Flow::default();
    let mut echoes = || -> Result<()> {
        assert_eq!(ping(&alice, &lab.remote(town::INTERNET), 3, 72)?, 3);
        let all = volume(3, 100);
        flow += Flow { up: all, down: all };
        Ok(())
    };
    echoes()?;
    // A reload, with a subscriber more; the end of this agent and the beginning of another; and a program on
    // an interface that has one, and on one that is new.
    agent.write_subscribers(&format!("{SUBSCRIBERS}\ncarol,small,active,10.1.1.1"))?;
    agent.reload()?;
    agent.kill9()?;
    agent.start()?;
    echoes()?;
    agent.sigterm()?;
    agent.configure("node = ", "on_exit = \"detach\"\nnode = ")?;
    agent.start()?;
    agent.sigterm()?;
    agent.start()?;
    echoes()?;
    let bill = agent.bill()?;
    assert_eq!(bill.usage, lines([("alice", "internet", "main", flow)]));
    agent.check_order()
}

/// A memory cgroup; processes in it have `limit` bytes and no more.
struct MemoryLimit(PathBuf);

impl MemoryLimit {
    /// `None` where there are none to be had.
    fn new(limit: u64) -> Result<Option<Self>> {
        let name = format!("zr-test-{}", process::id());
        for (root, file) in [
            ("/sys/fs/cgroup", "memory.max"),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ] {
            let group = Path::new(root).join(&name);
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let group = Self(group);
            if group.0.join(file).exists() {
                fs::write(group.0.join(file), limit.to_string()).context(file)?;
                return Ok(Some(group));
            }
        }
        Ok(None)
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

#[test]
fn a_map_that_does_not_fit_in_memory_is_refused() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let Some(limit) = MemoryLimit::new(200 << 20)? else {
        skip("there is no memory cgroup");
        return Ok(());
    };
    let lab = town::lab().build()?;
    let join = format!(
        "echo $$ > {}/cgroup.procs && exec \"$@\"",
        limit.0.display()
    );
    let mut agent = town::agent(&lab)
        .through(&["sh", "-c", &join, "sh"])
        .section("[limits]\nimage_words = 67108864")
        .prepare()?;
    let said = agent.refusal()?;
    for part in [
        "zr_image",
        "268435456 bytes",
        "there is not enough memory for a map of this size",
    ] {
        assert!(said.contains(part), "no `{part}` in: {said}");
    }
    assert_eq!(agent.maps_dir(), None);
    agent.configure("image_words = 67108864", "image_words = 0")?;
    agent.start()?;
    agent.check_order()?;
    agent.sigterm()?;
    Ok(())
}
