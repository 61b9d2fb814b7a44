//! Downlink on tc egress: where it is tested, what is true there, and which hooks there are.
//!
//! What is true is counted where it arrives. A subscriber's interface with a native XDP program receives every packet
//! by itself, because its peer has to cut trains of segments apart behind the hook; see [`crate::counters`].

use std::fs;

use anyhow::Result;
use serde_json::Value;

use crate::agent::Agent;
use crate::bill::Flow;
use crate::topology::Lab;
use crate::town;
use crate::xdp::Mode;

/// What `tc` of an access interface can be to choose the hook.
pub const HOOKS: [&str; 2] = ["tcx", "clsact"];

/// The town, with every packet a subscriber receives counted on its wire. No more of TCP is under way than the
/// wire's ring takes: what it loses was counted, and nobody could say of how many bytes it was.
///
/// # Errors
/// Without root.
pub fn lab(offloads: bool, mtu: u16) -> Result<Lab> {
    let lab = town::lab().offloads(offloads).mtu(mtu).build()?;
    for subscriber in &lab.subscribers {
        subscriber.wire.near.attach_pass_program(Mode::Native)?;
        subscriber
            .namespace
            .set("ipv4/tcp_rmem", "4096 131072 131072")?;
    }
    Ok(lab)
}

/// What the gateway sent to, and received from, all subscribers.
#[derive(Default)]
pub struct Sent {
    /// What arrived, and what was sent the other way.
    pub received: Flow,
    /// Sent to subscribers, counted, and lost in the wire's ring.
    pub lost: u64,
}

impl Sent {
    /// That this is what was counted: to the byte, but for the size of what was lost.
    ///
    /// # Panics
    /// If it is not.
    pub fn check(&self, counted: Flow) {
        let (down, received) = (counted.down, self.received.down);
        assert_eq!(counted.up, self.received.up);
        assert_eq!(down.packets, received.packets + self.lost);
        let lost = down.bytes - received.bytes;
        assert!(
            (20 * self.lost..=1500 * self.lost).contains(&lost),
            "{lost} in {}",
            self.lost
        );
    }
}

/// What went over all subscribers' wires while `work` was done, until they fell silent.
///
/// # Errors
/// With those of `work`.
pub fn over_the_wires(lab: &Lab, work: impl FnOnce() -> Result<()>) -> Result<Sent> {
    let wires = lab.subscribers.iter().map(|subscriber| &subscriber.wire);
    let before = wires.clone().map(|wire| wire.read());
    let before = before.collect::<Result<Vec<_>>>()?;
    work()?;
    lab.settle()?;
    let mut sent = Sent::default();
    for (wire, before) in wires.zip(&before) {
        let went = wire.since(before)?;
        sent.lost += went.lost_by_far;
        sent.received += Flow {
            up: went.far_received,
            down: went.near_received,
        };
    }
    Ok(sent)
}

/// The line of the configuration that chooses a hook.
#[must_use]
pub fn with_hook(hook: &str) -> String {
    format!("tc = \"{hook}\"")
}

/// The hooks `status` shows: interface, hook, mode, whether attached.
///
/// # Errors
/// If the agent does not answer.
pub fn hooks(agent: &Agent) -> Result<Vec<String>> {
    let status = agent.status()?;
    let interfaces = status["interfaces"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |interface: &Value| {
        let [name, hook, mode] = ["name", "hook", "mode"].map(|key| text(&interface[key]));
        format!("{name} {hook} {mode} {}", interface["attached"])
    };
    Ok(interfaces.map(line).collect())
}

/// Filters and clsact qdiscs on the gateway's access interfaces.
///
/// # Errors
/// Without `tc`.
pub fn filters(lab: &Lab) -> Result<String> {
    let mut said = String::new();
    for wire in &lab.access {
        let name = &wire.far.name;
        said += &wire.far.tc(&["filter", "show", "dev", name, "egress"])?;
        let qdiscs = wire.far.tc(&["qdisc", "show", "dev", name])?;
        said.extend(qdiscs.lines().filter(|line| line.contains("clsact")));
    }
    Ok(said)
}

/// Names of pinned links.
///
/// # Errors
/// If there are no pins at all.
pub fn pinned_links(agent: &Agent) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for directory in fs::read_dir(agent.pin_dir())? {
        for entry in fs::read_dir(directory?.path())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.extend(name.starts_with("link-").then_some(name));
        }
    }
    names.sort();
    Ok(names)
}
