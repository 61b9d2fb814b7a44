//! Interfaces: whether they are there, what their drivers can do, and what would make them count wrong, or slowly.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::process::Command;
use std::thread;

use nix::sys::socket::SockProtocol;

use super::Finding;
use super::machine::kernel_setting;
use crate::agent::nat;
use crate::config::{Config, Downlink, Interface, Mode, Role};
use crate::netlink::{ACK, DUMP, Netlink, attribute, number, put, text};

/// What the kernel says of an interface.
#[derive(Debug)]
struct Link {
    index: u32,
    is_up: bool,
    receive_queues: u32,
}

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let links = match links() {
        Ok(links) => links,
        Err(error) => {
            let found = format!("the kernel does not tell of them: {error}");
            return vec![Finding::error("interfaces", found)];
        }
    };
    let features = Features::open();
    let mut found: Vec<Finding> = Vec::new();
    for interface in &config.interfaces {
        let about = &*interface.name;
        match links.get(about) {
            Some(link) => found.extend(one(interface, link, config, &features)),
            None => found.push(Finding::error(about, "there is no such interface").advice(
                "correct its name, or make it: interfaces have to exist when the agent starts",
            )),
        }
    }
    for (role, why) in [
        (Role::Access, "nothing subscribers send is counted"),
        (Role::Core, "nothing subscribers receive is counted"),
    ] {
        let has = config
            .interfaces
            .iter()
            .any(|interface| interface.role == role);
        if !has && (role == Role::Access || config.downlink() == Downlink::Core) {
            let word = if role == Role::Access {
                "access"
            } else {
                "core"
            };
            found.push(
                Finding::warning("interfaces", format!("none has role = \"{word}\": {why}"))
                    .advice("name it under [[interface]]"),
            );
        }
    }
    found.extend(forwarding());
    found.push(match nat::check(config) {
        Ok(()) => Finding::ok("address translation", "none that downlink would be lost to"),
        // Says what to do itself.
        Err(translates) => Finding::error("address translation", translates.to_string()),
    });
    found
}

fn one(interface: &Interface, link: &Link, config: &Config, features: &Features) -> Vec<Finding> {
    let about = &*interface.name;
    let mut found = Vec::new();
    if !link.is_up {
        found.push(Finding::warning(about, "it is down").advice(format!("ip link set {about} up")));
    }
    let counts_by_xdp = interface.role == Role::Access || config.downlink() == Downlink::Core;
    if counts_by_xdp {
        found.push(match (interface.mode, features.native_xdp(link.index)) {
            (Mode::Native, Some(true)) => Finding::ok(about, "its driver has native XDP"),
            (Mode::Native, Some(false)) => Finding::error(about, "its driver has no native XDP")
                .advice("another card or driver; mode = \"generic\" works, at several times the cost"),
            (Mode::Native, None) => Finding::note(
                about,
                "whether its driver has native XDP is not known before Linux 6.3: the agent says so when it starts",
            ),
            (Mode::Generic, Some(true)) => Finding::warning(about, "mode = \"generic\", and its driver has native XDP")
                .advice("mode = \"native\" costs a fraction"),
            (Mode::Generic, _) => {
                Finding::warning(about, "mode = \"generic\": each packet costs several times as much")
            }
        });
    }
    let cpus = thread::available_parallelism().map_or(1, NonZero::get);
    if link.receive_queues == 1 && cpus > 1 {
        found.push(
            Finding::warning(
                about,
                format!("one receive queue: one CPU of {cpus} does all its work"),
            )
            .advice(format!(
                "ethtool -L {about} combined {cpus}, if the card can"
            )),
        );
    }
    found.push(large_receive(about));
    found
}

/// Packets that a card joins before anything counts them are counted as one, and some drivers refuse XDP then.
fn large_receive(about: &str) -> Finding {
    let said = match Command::new("ethtool").args(["-k", about]).output() {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Finding::note(
                about,
                format!("ethtool does not tell of its offloads: {why}"),
            );
        }
        Err(_) => {
            return Finding::note(
                about,
                "its offloads are not known: ethtool is not installed",
            );
        }
    };
    let said = String::from_utf8_lossy(&said).into_owned();
    let on = ["large-receive-offload", "rx-gro-hw"]
        .into_iter()
        .filter(|feature| said.contains(&format!("{feature}: on")));
    let on: Vec<&str> = on.collect();
    if on.is_empty() {
        return Finding::ok(about, "its card joins no packets");
    }
    let off: Vec<String> = on.iter().map(|feature| format!("{feature} off")).collect();
    Finding::error(
        about,
        format!(
            "its card joins packets before they are counted ({})",
            on.join(", ")
        ),
    )
    .advice(format!("ethtool -K {about} {}", off.join(" ")))
}

fn forwarding() -> Vec<Finding> {
    [
        ("IPv4", "net/ipv4/ip_forward"),
        ("IPv6", "net/ipv6/conf/all/forwarding"),
    ]
    .into_iter()
    .filter_map(|(family, name)| {
        let setting = kernel_setting(name)?;
        Some(match &*setting {
            "0" => Finding::warning("forwarding", format!("{family} packets are not forwarded"))
                .advice(format!(
                    "on a gateway that routes: sysctl -w {}=1",
                    name.replace('/', ".")
                )),
            _ => Finding::ok("forwarding", format!("{family} packets are forwarded")),
        })
    })
    .collect()
}

/// All interfaces of this network namespace, by name.
fn links() -> io::Result<BTreeMap<String, Link>> {
    // linux/rtnetlink.h, if_link.h, if.h
    const GET_LINK: u16 = 18;
    const NAME: u16 = 3;
    const RECEIVE_QUEUES: u16 = 32;
    const UP: u32 = 1;
    const HEAD: usize = 16;
    let answers = Netlink::open(SockProtocol::NetlinkRoute)?.ask(GET_LINK, DUMP, &[0; HEAD])?;
    let link = |answer: &Vec<u8>| {
        let attributes = answer.get(HEAD..)?;
        let link = Link {
            index: number(answer.get(4..)?)?,
            is_up: number(answer.get(8..)?)? & UP != 0,
            receive_queues: attribute(attributes, RECEIVE_QUEUES)
                .and_then(number)
                .unwrap_or(0),
        };
        Some((text(attribute(attributes, NAME)?), link))
    };
    Ok(answers.iter().filter_map(link).collect())
}

/// What drivers can do, which the kernel tells since 6.3 (generic netlink, family `netdev`).
struct Features(Option<(Netlink, u16)>);

impl Features {
    fn open() -> Self {
        // linux/genetlink.h
        const CONTROL: u16 = 0x10;
        const GET_FAMILY: u8 = 3;
        const FAMILY_ID: u16 = 1;
        const FAMILY_NAME: u16 = 2;
        let ask = || {
            let netlink = Netlink::open(SockProtocol::NetlinkGeneric).ok()?;
            let mut body = vec![GET_FAMILY, 1, 0, 0];
            put(&mut body, FAMILY_NAME, b"netdev\0");
            let answers = netlink.ask(CONTROL, ACK, &body).ok()?;
            let id = attribute(answers.first()?.get(4..)?, FAMILY_ID)?;
            let id = u16::from_ne_bytes(id.get(..2)?.try_into().ok()?);
            Some((netlink, id))
        };
        Self(ask())
    }

    /// Whether an interface's driver has native XDP; `None` where nobody says.
    fn native_xdp(&self, index: u32) -> Option<bool> {
        // linux/netdev.h
        const GET_DEVICE: u8 = 1;
        const INDEX: u16 = 1;
        const XDP_FEATURES: u16 = 3;
        const BASIC: u32 = 1;
        let (netlink, family) = self.0.as_ref()?;
        let mut body = vec![GET_DEVICE, 1, 0, 0];
        put(&mut body, INDEX, &index.to_ne_bytes());
        let answers = netlink.ask(*family, ACK, &body).ok()?;
        let features = attribute(answers.first()?.get(4..)?, XDP_FEATURES)?;
        let low = match cfg!(target_endian = "little") {
            true => number(features)?,
            false => number(features.get(4..)?)?,
        };
        Some(low & BASIC != 0)
    }
}
