//! The peer: nftables on the same packets, its sets filled with the same prefixes and subscribers, each element with
//! a counter, on the ingress hook of an interface.
//!
//! Frames of a live test run arrive at one end of a virtual wire in a namespace of its own. Beside it another wire
//! has a chain that only drops: that is the floor nftables is measured over.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;
use nix::net::if_::if_nametoindex;
use zerorate_tests::netns::NetNs;
use zerorate_tests::veth::Veth;

use crate::course::Course;
use crate::lab::Lab;
use crate::packets::{Pattern, headers};
use crate::results::{Place, Program, Results};
use crate::rounds::{Contender, measure};
use crate::tables::Family;
use crate::world::World;
use crate::{lookups, packets};

const MTU: u16 = 1_500;

/// Measures nftables in a world whose other programs have been.
pub(crate) fn run(
    world: &World,
    lab: &mut Lab,
    course: &Course,
    cpu: usize,
    results: &mut Results,
) -> Result<()> {
    let namespace = NetNs::new("nftables")?;
    let _floor = Veth::new((&namespace, "floor"), (&namespace, "floor-far"), MTU)?;
    let _peer = Veth::new((&namespace, "peer"), (&namespace, "peer-far"), MTU)?;
    load(&namespace, &rules(world))?;
    for pattern in Pattern::ALL {
        let headers = headers(world, pattern, course.headers);
        lab.show(&headers, &[cpu])?;
        let frame = carrier(world.size.family);
        let lab = &*lab;
        let timings = namespace.enter(|| {
            let indices = [if_nametoindex("floor")?, if_nametoindex("peer")?];
            let contenders = indices.map(|index| {
                let frame = &frame;
                Contender::new(move |_, packets| lab.run_live("deliver", packets, frame, index))
            });
            measure(&contenders, &[cpu], course.effort)
        })?;
        let place = Place {
            size: world.size,
            pattern,
            cpus: 1,
        };
        let floor = results.timing(Program::Floor, place);
        let common = floor.context("nftables is measured after the floor")?;
        let timing = lookups::moved(timings[1], timings[0], common);
        results.line(Program::Nftables, place, timing);
    }
    check(world, lab, &namespace)
}

/// A frame whose addresses the program replaces.
pub(crate) fn carrier(family: Family) -> packets::Slot {
    let (source, destination): (IpAddr, IpAddr) = match family {
        Family::V4 => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()),
        Family::V6 => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()),
    };
    packets::frame(source, destination, 50)
}

fn rules(world: &World) -> String {
    let (kind, ip, subscriber) = match world.size.family {
        Family::V4 => ("ipv4_addr", "ip", "ip saddr"),
        Family::V6 => ("ipv6_addr", "ip6", "ip6 saddr and ffff:ffff:ffff:ff00::"),
    };
    let mut rules = String::from(
        "table netdev floor {\n chain ingress {\n  type filter hook ingress device \"floor\" priority 0; policy drop;\n }\n}\n\
         table netdev peer {\n",
    );
    let _ = writeln!(
        rules,
        " set remotes {{\n  type {kind}\n  flags interval\n  counter\n  elements = {{"
    );
    for (first, last) in disjoint(world.prefixes.iter().map(|(net, _)| *net)) {
        let _ = match world.size.family {
            Family::V4 => {
                let [first, last] = [first, last].map(|bits| Ipv4Addr::from(bits as u32));
                writeln!(rules, "{first}-{last},")
            }
            Family::V6 => {
                let [first, last] = [first, last].map(Ipv6Addr::from);
                writeln!(rules, "{first}-{last},")
            }
        };
    }
    let _ = writeln!(
        rules,
        "  }}\n }}\n set subscribers {{\n  type {kind}\n  counter\n  elements = {{"
    );
    for (net, _) in &world.subscribers {
        let _ = writeln!(rules, "{},", net.network());
    }
    let _ = writeln!(
        rules,
        "  }}\n }}\n chain ingress {{\n  type filter hook ingress device \"peer\" priority 0; policy drop;\n  \
         {subscriber} @subscribers {ip} daddr @remotes\n }}\n}}"
    );
    rules
}

/// Nested prefixes as ranges that do not overlap, which is all an interval set takes: each address in the range of
/// the longest prefix that covers it.
fn disjoint(prefixes: impl Iterator<Item = IpNet>) -> Vec<(u128, u128)> {
    let mut spans: Vec<(u128, u128)> = prefixes
        .map(|net| match net {
            IpNet::V4(net) => (
                net.network().to_bits().into(),
                net.broadcast().to_bits().into(),
            ),
            IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
        })
        .collect();
    // A prefix before those inside it.
    spans.sort_unstable_by_key(|&(first, last)| (first, std::cmp::Reverse(last)));
    let mut ranges = Vec::with_capacity(spans.len());
    let mut open: Vec<u128> = Vec::new();
    let mut next = 0;
    for (first, last) in spans {
        while let Some(end) = open.pop_if(|end| *end < first) {
            if next <= end {
                ranges.push((next, end));
                next = end + 1;
            }
        }
        if !open.is_empty() && next < first {
            ranges.push((next, first - 1));
        }
        next = first;
        open.push(last);
    }
    while let Some(end) = open.pop() {
        if next <= end {
            ranges.push((next, end));
            next = end.saturating_add(1);
        }
    }
    ranges
}

fn load(namespace: &NetNs, rules: &str) -> Result<()> {
    let directory = tempfile::tempdir().context("cannot make a directory")?;
    let file = directory.path().join("rules.nft");
    fs::write(&file, rules).context("cannot write the rules")?;
    let path = file.to_str().context("a temporary path is text")?;
    namespace.run("nft", &["-f", path]).map(drop)
}

/// Most elements whose counters are read back: `nft` takes long to list more.
const LISTED: usize = 20_000;

/// Sees that every packet was counted with one prefix and with one subscriber.
fn check(world: &World, lab: &Lab, namespace: &NetNs) -> Result<()> {
    if world.prefixes.len().max(world.subscribers.len()) > LISTED {
        return Ok(());
    }
    // The first of them is enough to see that packets are counted as they should be.
    let cpu = crate::rounds::cpus()?[0];
    let before = counted(namespace)?;
    let packets = 1_u32 << 12;
    namespace.enter(|| {
        crate::rounds::pin(cpu)?;
        let frame = carrier(world.size.family);
        lab.run_live("deliver", packets, &frame, if_nametoindex("peer")?)
    })?;
    for (now, then) in counted(namespace)?.into_iter().zip(before) {
        ensure!(
            now - then == u64::from(packets),
            "of {packets} packets nftables counted {}",
            now - then
        );
    }
    Ok(())
}

/// Packets counted with all prefixes, and with all subscribers.
fn counted(namespace: &NetNs) -> Result<[u64; 2]> {
    let mut sums = [0; 2];
    for (sum, set) in sums.iter_mut().zip(["remotes", "subscribers"]) {
        let listed = namespace.run("nft", &["list", "set", "netdev", "peer", set])?;
        *sum = listed
            .split("counter packets ")
            .skip(1)
            .filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok())
            .sum();
    }
    Ok(sums)
}
