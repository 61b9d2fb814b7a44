//! Where the demo takes place: the lab's gateway and subscribers, and behind its remote side, which
//! only forwards here, a namespace for each kind of service.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use ipnet::IpNet;
use zerorate_tests::netns::{Endpoint, NetNs};
use zerorate_tests::topology::{Lab, Subscriber};
use zerorate_tests::veth::Veth;

const MTU: u16 = 1500;

/// Somebody with a contract.
#[derive(Debug)]
pub(crate) struct Customer {
    pub(crate) id: &'static str,
    /// A plan of the demo's policy.
    pub(crate) plan: &'static str,
    pub(crate) state: &'static str,
    /// An IPv4 and an IPv6 address with the length of the prefix.
    pub(crate) addresses: [&'static str; 2],
    /// What the plan is about.
    pub(crate) terms: &'static str,
}

pub(crate) const CUSTOMERS: [Customer; 3] = [
    Customer {
        id: "alice",
        plan: "doctor",
        state: "active",
        addresses: ["10.1.0.1/32", "2001:db8:a::1/56"],
        terms: "packages: messengers 2 MB, exchange 5 MB, main 50 MB",
    },
    Customer {
        id: "bob",
        plan: "monthly",
        state: "active",
        addresses: ["10.1.0.9/29", "2001:db8:b::1/56"],
        terms: "all that is not free is metered for his bill",
    },
    Customer {
        id: "carol",
        plan: "prepaid",
        state: "suspended",
        addresses: ["10.1.0.17/32", "2001:db8:c::1/64"],
        terms: "has not paid: essential services only",
    },
];

impl Customer {
    /// What the subscriber file says it owns.
    pub(crate) fn prefixes(&self) -> Result<[IpNet; 2]> {
        let [v4, v6] = self.addresses;
        Ok([v4.parse::<IpNet>()?.trunc(), v6.parse::<IpNet>()?.trunc()])
    }
}

/// A service somewhere, of one class.
#[derive(Debug)]
pub(crate) struct Place {
    /// The class the policy gives it; also the name of its namespace.
    pub(crate) class: &'static str,
    /// What it is, for the reader.
    pub(crate) what: &'static str,
    /// Whether the policy keeps it reachable for suspended subscribers.
    pub(crate) essential: bool,
    v4: &'static str,
    v6: &'static str,
}

pub(crate) const PLACES: [Place; 6] = [
    Place {
        class: "operator",
        what: "resolver, payment page; essential",
        essential: true,
        v4: "192.0.2.1/28",
        v6: "2001:db8:2::1/48",
    },
    Place {
        class: "government",
        what: "state portals; essential",
        essential: true,
        v4: "198.51.100.10/25",
        v6: "2001:db8:10::10/48",
    },
    Place {
        class: "education",
        what: "learning platforms; essential",
        essential: true,
        v4: "198.51.100.130/25",
        v6: "2001:db8:20::10/48",
    },
    Place {
        class: "messengers",
        what: "messengers",
        essential: false,
        v4: "203.0.113.10/26",
        v6: "2001:db8:30::10/48",
    },
    Place {
        class: "exchange",
        what: "national exchange",
        essential: false,
        v4: "203.0.113.70/26",
        v6: "2001:db8:50::10/48",
    },
    Place {
        class: "internet",
        what: "everything no list names",
        essential: false,
        v4: "203.0.113.200/25",
        v6: "2001:db8:99::10/48",
    },
];

/// All namespaces and wires. They are gone when it is dropped.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) lab: Lab,
    remotes: Vec<Remote>,
}

/// A place that has been built.
#[derive(Debug)]
pub(crate) struct Remote {
    place: &'static Place,
    /// Its IPv4 and its IPv6 end.
    ends: [Endpoint; 2],
    /// From the backbone to it.
    pub(crate) wire: Veth,
}

impl World {
    pub(crate) fn build() -> Result<Self> {
        let builder = CUSTOMERS.iter().fold(Lab::builder(), |builder, customer| {
            builder.subscriber(customer.id, &customer.addresses)
        });
        let lab = builder.build()?;
        lab.remote.set("ipv4/ip_forward", "1")?;
        lab.remote.set("ipv6/conf/all/forwarding", "1")?;
        // A new interface that forwards joins the all-routers group, and says so.
        lab.remote.set("ipv6/conf/default/forwarding", "0")?;
        let mut remotes = Vec::new();
        for (number, place) in PLACES.iter().enumerate() {
            let remote = Remote::build(&lab.remote, number, place)
                .with_context(|| format!("remote {}", place.class))?;
            remotes.push(remote);
        }
        Ok(Self { lab, remotes })
    }

    pub(crate) fn subscriber(&self, id: &str) -> &Subscriber {
        self.lab.subscriber(id)
    }

    /// The remote of a class.
    pub(crate) fn remote(&self, class: &str) -> Result<&Remote> {
        self.remotes
            .iter()
            .find(|remote| remote.place.class == class)
            .with_context(|| format!("there is no remote of class {class}"))
    }

    /// How many namespaces it is made of.
    pub(crate) fn namespaces(&self) -> usize {
        let gateway_and_backbone = 2;
        gateway_and_backbone + self.lab.subscribers.len() + self.remotes.len()
    }
}

impl Place {
    /// Its IPv4 and its IPv6 address, with the length of the prefix that leads to it.
    pub(crate) fn networks(&self) -> Result<[IpNet; 2]> {
        Ok([self.v4.parse()?, self.v6.parse()?])
    }
}

impl Remote {
    /// A namespace behind the backbone that holds every address of the place's prefixes.
    fn build(backbone: &NetNs, number: usize, place: &'static Place) -> Result<Self> {
        let namespace = NetNs::new(place.class)?;
        let wire = Veth::new((backbone, place.class), (&namespace, "eth0"), MTU)?;
        let networks = place.networks()?;
        let links = [
            (format!("100.101.{number}."), 24, "0.0.0.0/0"),
            (format!("2001:db8:fffe:{number}::"), 64, "::/0"),
        ];
        for ((link, length, everything), network) in links.into_iter().zip(networks) {
            let near: IpAddr = format!("{link}1").parse()?;
            let far: IpAddr = format!("{link}2").parse()?;
            wire.near.add_address(IpNet::new(near, length)?)?;
            wire.far.add_address(IpNet::new(far, length)?)?;
            wire.near.add_neighbour(far, wire.far.mac)?;
            wire.far.add_neighbour(near, wire.near.mac)?;
            let (prefix, interface) = (network.trunc(), &wire.near.name);
            backbone.ip(&format!("route add {prefix} via {far} dev {interface}"))?;
            namespace.ip(&format!(
                "route add {everything} via {near} dev eth0\nroute add local {prefix} dev lo"
            ))?;
        }
        let ends = networks.map(|network| namespace.at(network.addr()));
        Ok(Self { place, ends, wire })
    }

    /// Its IPv4 address, or its IPv6 address.
    pub(crate) fn end(&self, family: Family) -> &Endpoint {
        &self.ends[family as usize]
    }
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// A subscriber's address.
    pub(crate) fn of(self, subscriber: &Subscriber) -> Endpoint {
        match self {
            Self::V4 => subscriber.v4(),
            Self::V6 => subscriber.v6(),
        }
    }
}
