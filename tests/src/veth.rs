//! Pairs of virtual Ethernet interfaces between namespaces, silent until a test sends.
//!
//! Neither end resolves addresses (`arp off`, neighbours are given) nor joins multicast groups, so
//! the kernel puts no packet of its own on the wire.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, Result};
use ipnet::IpNet;
use serde::Deserialize;

use crate::netns::NetNs;

static STATIONS: AtomicU16 = AtomicU16::new(1);

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// A locally administered address nobody else in this process has.
    fn unique() -> Self {
        let [high, low] = STATIONS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Self([0x02, 0x7a, 0x72, 0, high, low])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// One end of a pair.
#[derive(Clone, Debug)]
pub struct End {
    /// The namespace it is in.
    pub namespace: NetNs,
    /// Its name there, at most 15 bytes.
    pub name: String,
    /// Its Ethernet address.
    pub mac: Mac,
}

/// A pair of interfaces that is one wire. It goes with either of its namespaces.
#[derive(Clone, Debug)]
pub struct Veth {
    /// The end nearer to the subscriber, where there is a difference.
    pub near: End,
    /// The other end.
    pub far: End,
}

impl Veth {
    /// Connects two namespaces by interfaces of the given names, both up, `mtu` in bytes.
    ///
    /// # Errors
    /// If a name is taken or too long, or veth is not to be had.
    pub fn new(near: (&NetNs, &str), far: (&NetNs, &str), mtu: u16) -> Result<Self> {
        let end = |(namespace, name): (&NetNs, &str)| End {
            namespace: namespace.clone(),
            name: name.to_owned(),
            mac: Mac::unique(),
        };
        let veth = Self {
            near: end(near),
            far: end(far),
        };
        veth.near.namespace.ip(&format!(
            "link add {} mtu {mtu} address {} type veth peer name {} mtu {mtu} address {} netns {}",
            veth.near.name,
            veth.near.mac,
            veth.far.name,
            veth.far.mac,
            veth.far.namespace.name()
        ))?;
        for end in [&veth.near, &veth.far] {
            end.namespace.ip(&format!(
                "link set {0} arp off multicast off\nlink set {0} up",
                end.name
            ))?;
        }
        Ok(veth)
    }

    /// Switches what spares the sender work (checksums, segmentation of large packets) on or off at
    /// both ends. With it off every packet is on the wire as it is sent.
    ///
    /// # Errors
    /// If `ethtool` is missing.
    pub fn set_offloads(&self, on: bool) -> Result<()> {
        let value = if on { "on" } else { "off" };
        for end in [&self.near, &self.far] {
            end.ethtool(&["tx", value, "tso", value, "gso", value])?;
        }
        Ok(())
    }

    /// Gives the wire several queues each way, so that several CPUs can receive from it at once. To be
    /// done before XDP is attached.
    ///
    /// # Errors
    /// If `ethtool` is missing, or the machine has fewer CPUs than `queues`.
    pub fn set_queues(&self, queues: usize) -> Result<()> {
        let count = queues.to_string();
        for way in ["rx", "tx"] {
            for end in [&self.near, &self.far] {
                let arguments = ["-L", &end.name, way, &count];
                end.namespace.run("ethtool", &arguments)?;
            }
        }
        Ok(())
    }

    /// Deletes both ends, as when a cable and its cards are pulled out.
    ///
    /// # Errors
    /// If they are gone already.
    pub fn unplug(&self) -> Result<()> {
        self.near
            .namespace
            .ip(&format!("link delete {}", self.near.name))
    }
}

impl End {
    /// Gives the interface an address with the prefix of its link.
    ///
    /// # Errors
    /// If it has that address already.
    pub fn add_address(&self, address: IpNet) -> Result<()> {
        self.namespace
            .ip(&format!("address add {address} dev {}", self.name))
    }

    /// Says which station answers for an address on this wire.
    ///
    /// # Errors
    /// If the interface is down.
    pub fn add_neighbour(&self, address: IpAddr, mac: Mac) -> Result<()> {
        self.namespace.ip(&format!(
            "neighbour replace {address} lladdr {mac} dev {} nud permanent",
            self.name
        ))
    }

    /// Sets features as `ethtool -K` does: `["gro", "on"]`.
    ///
    /// # Errors
    /// If `ethtool` is missing or does not know the feature.
    pub fn ethtool(&self, features: &[&str]) -> Result<()> {
        let mut arguments = vec!["-K", &self.name];
        arguments.extend(features);
        self.namespace.run("ethtool", &arguments).map(drop)
    }

    /// What the kernel says of the interface.
    pub(crate) fn state(&self) -> Result<LinkState> {
        let json = self
            .namespace
            .run("ip", &["-s", "-j", "link", "show", &self.name])?;
        let mut links: Vec<LinkState> = serde_json::from_str(&json)
            .with_context(|| format!("what ip says of {} is not understood: {json}", self.name))?;
        links
            .pop()
            .with_context(|| format!("there is no interface {}", self.name))
    }
}

/// The part of `ip -s -j link` that is used here.
#[derive(Debug, Deserialize)]
pub(crate) struct LinkState {
    pub(crate) xdp: Option<Xdp>,
    pub(crate) stats64: Stats,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Xdp {
    /// `XDP_ATTACHED_DRV` is 1.
    pub(crate) mode: u8,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Stats {
    pub(crate) rx: RawCount,
    pub(crate) tx: RawCount,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) struct RawCount {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
}
