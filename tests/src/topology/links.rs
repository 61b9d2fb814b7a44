//! Wires that are links: addresses at both ends, neighbours, routes, and the shared segment.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Settings;
use crate::netns::NetNs;
use crate::veth::{End, Veth};

/// The addresses of a link, which only routes name.
#[derive(Clone, Copy)]
pub(super) enum Network {
    Access(usize),
    Core,
}

impl Network {
    fn addresses(self, station: usize) -> [IpNet; 2] {
        let host = station as u8;
        let (v4, link) = match self {
            Self::Access(index) => (Ipv4Addr::new(100, 64, index as u8, host), index as u16),
            Self::Core => (Ipv4Addr::new(100, 100, 0, host), 0xffff),
        };
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, link, 0, 0, 0, host.into());
        [
            Ipv4Net::new_assert(v4, 24).into(),
            Ipv6Net::new_assert(v6, 64).into(),
        ]
    }

    pub(super) fn join(self, end: &End, station: usize) -> Result<()> {
        self.addresses(station)
            .into_iter()
            .try_for_each(|address| end.add_address(address))
    }

    /// Sends everything `end` has no better route for to the station at the other end.
    pub(super) fn give_default_route(self, end: &End, station: usize, other: &End) -> Result<()> {
        let everything: [IpNet; 2] = [Ipv4Net::default().into(), Ipv6Net::default().into()];
        self.give_routes(end, station, other, &everything)
    }

    /// Sends the prefixes from `end` to the station whose interface is `other`.
    fn give_routes(self, end: &End, station: usize, other: &End, prefixes: &[IpNet]) -> Result<()> {
        for hop in self.addresses(station).map(|address| address.addr()) {
            end.add_neighbour(hop, other.mac)?;
            for prefix in prefixes
                .iter()
                .filter(|prefix| prefix.addr().is_ipv4() == hop.is_ipv4())
            {
                end.namespace.ip(&format!(
                    "route add {} via {hop} dev {}",
                    prefix.trunc(),
                    end.name
                ))?;
            }
        }
        Ok(())
    }
}

/// Routes between a subscriber, a station of access link `link`, and the gateway's end of it.
pub(super) fn route(
    wire: &Veth,
    gateway: &End,
    link: usize,
    station: usize,
    prefixes: &[IpNet],
) -> Result<()> {
    let network = Network::Access(link);
    network.join(&wire.near, station)?;
    network.give_default_route(&wire.near, 1, gateway)?;
    network.give_routes(gateway, station, &wire.near, prefixes)
}

/// Makes a namespace the holder of every address of some prefixes.
pub(super) fn hold(namespace: &NetNs, prefixes: &[IpNet]) -> Result<()> {
    let lines: Vec<String> = prefixes
        .iter()
        .map(|prefix| format!("route add local {} dev lo", prefix.trunc()))
        .collect();
    namespace.ip(&lines.join("\n"))
}

pub(super) fn wire(near: (&NetNs, &str), far: (&NetNs, &str), settings: Settings) -> Result<Veth> {
    let wire = Veth::new(near, far, settings.mtu)?;
    if !settings.offloads {
        wire.set_offloads(false)?;
    }
    Ok(wire)
}

/// One access segment for all subscribers.
pub(super) struct Segment {
    namespace: NetNs,
    /// The wire from the segment to the gateway's `access0`.
    pub(super) uplink: Veth,
}

impl Segment {
    pub(super) fn new(gateway: &NetNs, settings: Settings) -> Result<Self> {
        let namespace = NetNs::new("segment")?;
        namespace.ip("link add br0 type bridge stp_state 0 mcast_snooping 0\n\
             link set br0 arp off multicast off\n\
             link set br0 up")?;
        let uplink = wire((&namespace, "uplink"), (gateway, "access0"), settings)?;
        Network::Access(0).join(&uplink.far, 1)?;
        let segment = Self { namespace, uplink };
        segment.add_port("uplink", &segment.uplink.far)?;
        Ok(segment)
    }

    pub(super) fn plug_in(
        &self,
        subscriber: &NetNs,
        index: usize,
        settings: Settings,
    ) -> Result<Veth> {
        let port = format!("port{index}");
        let wire = wire((subscriber, "eth0"), (&self.namespace, &port), settings)?;
        self.add_port(&port, &wire.near)?;
        Ok(wire)
    }

    /// Adds a port behind which `station` is, and nobody else: no frame goes to a port by guess.
    fn add_port(&self, port: &str, station: &End) -> Result<()> {
        self.namespace.ip(&format!("link set {port} master br0"))?;
        let mac = station.mac.to_string();
        self.namespace.run(
            "bridge",
            &["fdb", "add", &mac, "dev", port, "master", "static"],
        )?;
        self.namespace
            .run(
                "bridge",
                &[
                    "link",
                    "set",
                    "dev",
                    port,
                    "flood",
                    "off",
                    "mcast_flood",
                    "off",
                ],
            )
            .map(drop)
    }
}
