//! The usual surroundings of an agent under test: two subscribers, remotes of three classes, and a
//! policy in which every kind of charge occurs.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, anyhow};

use crate::agent::{self, Agent};
use crate::bill::Flow;
use crate::counters::Volume;
use crate::netns::Endpoint;
use crate::topology::{self, Lab};
use crate::traffic::{Load, udp};
use crate::wires::Wires;

/// `government` is free and essential; `messengers` have a bucket of 64 kB and are metered after it;
/// everything else is paid from `main`, which is large for `basic` and 500 kB for `small`.
pub const POLICY: &str = r#"
name = "town"
default_class = "internet"

[classes.internet]
rating_group = 1

[classes.government]
rating_group = 10
essential = true

[classes.messengers]
rating_group = 30

[[sets]]
name = "offices"
class = "government"
source = "made up"
prefixes = ["203.0.113.0/25", "2001:db8:10::/48"]
expect = ["documentation"]

[[sets]]
name = "chats"
class = "messengers"
source = "made up"
prefixes = ["203.0.113.128/25", "2001:db8:30::/48"]
expect = ["documentation"]

[plans.basic.buckets]
main = "1000GB"
messengers = "64kB"

[plans.basic.charge]
government = "free"
messengers = ["messengers", "metered"]
"*" = ["main", "drop"]

[plans.small.buckets]
main = "500kB"

[plans.small.charge]
government = "free"
"*" = ["main", "drop"]
"#;

/// A further plan, which draws from nothing and drops nothing: the classes of its packets are found later.
const OPEN: &str = r#"
[plans.open.charge]
government = "free"
"*" = "metered"
"#;

/// The policy with the plan `open` as well.
#[must_use]
pub fn with_open() -> String {
    format!("{POLICY}{OPEN}")
}

/// What `main` holds under `basic` before anything is drawn, in bytes.
pub const MAIN: i64 = 1_000_000_000_000;

/// Alice's plan is `basic`, Bob's `small`.
pub const SUBSCRIBERS: &str = "alice,basic,active,10.1.0.1/32 2001:db8:a::/64\n\
    bob,small,active,10.1.0.8/29 2001:db8:b::/56";

/// Where the classes' remotes are, and more: an address of class `government`, ...
pub const GOVERNMENT: &str = "203.0.113.7";
/// ... of class `messengers`, ...
pub const MESSENGERS: &str = "203.0.113.200";
/// ... and of no set.
pub const INTERNET: &str = "198.51.100.7";
/// The same in IPv6: `government` ...
pub const GOVERNMENT6: &str = "2001:db8:10::7";
/// ... and of no set.
pub const INTERNET6: &str = "2001:db8:ff::7";

/// The subscribers and remotes, yet to be built.
#[must_use]
pub fn lab() -> topology::Builder {
    Lab::builder()
        .subscriber("alice", &["10.1.0.1/32", "2001:db8:a::1/64"])
        .subscriber("bob", &["10.1.0.9/29", "2001:db8:b::1/56"])
        .remotes(&[
            "203.0.113.0/24",
            "198.51.100.0/24",
            "2001:db8:10::/48",
            "2001:db8:ff::/48",
        ])
}

/// An agent with the policy and the subscribers on every interface of the gateway, yet to be started.
#[must_use]
pub fn agent(lab: &Lab) -> agent::Builder {
    agent_with(lab, "")
}

/// Like [`agent()`], with further lines in the section of each interface.
#[must_use]
pub fn agent_with(lab: &Lab, settings: &str) -> agent::Builder {
    let agent = Agent::builder(&lab.gateway)
        .policy(POLICY)
        .subscribers(SUBSCRIBERS);
    lab.access
        .iter()
        .fold(agent, |agent, wire| {
            agent.interface(&wire.far.name, "access", settings)
        })
        .interface(&lab.core.near.name, "core", settings)
}

/// Like [`agent()`], with downlink counted on tc egress, and further lines in the sections of access interfaces.
#[must_use]
pub fn egress_agent(lab: &Lab, settings: &str) -> agent::Builder {
    let agent = Agent::builder(&lab.gateway)
        .policy(POLICY)
        .subscribers(SUBSCRIBERS);
    let settings = format!("downlink = \"egress\"\n{settings}");
    lab.access
        .iter()
        .fold(agent, |agent, wire| {
            agent.interface(&wire.far.name, "access", &settings)
        })
        .interface(&lab.core.near.name, "core", "")
}

/// Who talks to whom where it does not matter: one of each family, paid from a bucket and free.
#[must_use]
pub fn pairs(lab: &Lab) -> [(Endpoint, Endpoint); 2] {
    [
        (lab.subscriber("alice").v4(), lab.remote(INTERNET)),
        (lab.subscriber("bob").v6(), lab.remote(GOVERNMENT6)),
    ]
}

/// What the gateway took in while `work` was done, and until the wires fell silent: from its access interfaces, and from the
/// core. This is what there is to be counted.
///
/// # Errors
/// With those of `work`, or if XDP was attached or detached meanwhile.
pub fn taken_in(lab: &Lab, work: impl FnOnce() -> Result<()>) -> Result<Flow> {
    let wires = Wires::read(lab)?;
    work()?;
    lab.settle()?;
    wires.taken_in(lab)
}

/// Does `work` while TCP and UDP go both ways between each two places, and stops them.
///
/// # Errors
/// With those of `work`, or if a connection breaks.
pub fn under_load<T>(
    pairs: &[(Endpoint, Endpoint)],
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let tcp = pairs
        .iter()
        .map(|(near, far)| Load::start(near, far, true, true))
        .collect::<Result<Vec<_>>>()?;
    let done = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        let udp: Vec<_> = pairs
            .iter()
            .flat_map(|(near, far)| [(near, far), (far, near)])
            .map(|(from, to)| {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        udp(from, to, 50, 400)?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        let result = catch_unwind(AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        let ended = udp.into_iter().try_for_each(|sender| {
            sender
                .join()
                .map_err(|_| anyhow!("a sender panicked"))
                .flatten()
        });
        (result, ended)
    });
    for load in tcp {
        load.stop()?;
    }
    let (result, ended) = result;
    ended?;
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Lines of a bill, as [`crate::bill::Bill::usage`] has them: subscriber, class, charged.
#[must_use]
pub fn lines<const N: usize>(
    lines: [(&str, &str, &str, Flow); N],
) -> BTreeMap<(String, String, String), Flow> {
    lines
        .into_iter()
        .map(|(subscriber, class, charged, flow)| {
            let key = [subscriber, class, charged].map(str::to_owned);
            (key.into(), flow)
        })
        .collect()
}

/// So many packets of so many IP bytes each.
#[must_use]
pub fn volume(packets: usize, bytes_each: u64) -> Volume {
    let packets = packets as u64;
    Volume {
        packets,
        bytes: packets * bytes_each,
    }
}

/// Traffic that only went up.
#[must_use]
pub fn up(up: Volume) -> Flow {
    Flow {
        up,
        ..Flow::default()
    }
}

/// No traffic at all.
pub const NOTHING: Flow = Flow {
    up: Volume {
        packets: 0,
        bytes: 0,
    },
    down: Volume {
        packets: 0,
        bytes: 0,
    },
};
