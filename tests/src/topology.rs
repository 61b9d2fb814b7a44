//! The lab most tests stand in: subscribers, a gateway, and the rest of the world.
//!
//! ```text
//! alice (eth0) ──── (access0) gateway (core0) ──── (eth0) remote
//! bob   (eth0) ──── (access1)
//! ```
//!
//! With [`Builder::shared_access`] all subscribers are on one segment, a bridge in a namespace of
//! its own, behind the gateway's `access0`. The subscribers' and the remotes' prefixes are routed
//! to their namespaces whole: any address in them can send and answer.
//!
//! Links have addresses of their own, which no traffic uses: 100.64.N.0/24 and
//! 2001:db8:ffff:N::/64 on access link N, 100.100.0.0/24 and 2001:db8:ffff:ffff::/64 on the core.

mod links;

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;

use crate::counters;
use crate::netns::{Endpoint, NetNs};
use crate::veth::Veth;

use links::{Network, Segment, hold, route, wire};

const DEFAULT_MTU: u16 = 1500;

/// A gateway between subscribers and the world. All of it is gone when it is dropped.
#[derive(Debug)]
pub struct Lab {
    /// Where zerorate runs.
    pub gateway: NetNs,
    /// Where all remote addresses are.
    pub remote: NetNs,
    /// The subscribers, in the order they were given.
    pub subscribers: Vec<Subscriber>,
    /// The wires to the gateway's access interfaces (`access0`, ...), which are their far ends.
    pub access: Vec<Veth>,
    /// The wire from the gateway's `core0`, its near end, to the remotes.
    pub core: Veth,
    settings: Settings,
}

/// A subscriber's equipment.
#[derive(Debug)]
pub struct Subscriber {
    /// As it was given.
    pub name: String,
    /// Where its addresses are.
    pub namespace: NetNs,
    /// What is routed to it.
    pub prefixes: Vec<IpNet>,
    /// The wire from its `eth0`; to the gateway, or to the shared segment.
    pub wire: Veth,
}

/// What a lab is to look like.
#[derive(Clone, Debug)]
pub struct Builder {
    subscribers: Vec<(String, Vec<String>)>,
    remotes: Vec<String>,
    shared_access: bool,
    settings: Settings,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    mtu: u16,
    offloads: bool,
}

impl Builder {
    /// Adds a subscriber with prefixes such as `10.1.0.1/32` or `2001:db8:1::1/56`; the address
    /// before the slash is the one [`Subscriber::v4`] and [`Subscriber::v6`] give.
    #[must_use]
    pub fn subscriber(mut self, name: &str, prefixes: &[&str]) -> Self {
        let prefixes = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        self.subscribers.push((name.to_owned(), prefixes));
        self
    }

    /// Adds prefixes in the rest of the world.
    #[must_use]
    pub fn remotes(mut self, prefixes: &[&str]) -> Self {
        self.remotes
            .extend(prefixes.iter().map(|&prefix| prefix.to_owned()));
        self
    }

    /// Puts all subscribers behind one access interface.
    #[must_use]
    pub fn shared_access(mut self) -> Self {
        self.shared_access = true;
        self
    }

    /// Whether the kernel may send TCP in packets larger than the MTU and leave checksums out, as
    /// it does by default.
    #[must_use]
    pub fn offloads(mut self, on: bool) -> Self {
        self.settings.offloads = on;
        self
    }

    /// The MTU of every interface, in bytes; 1500 by default.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.settings.mtu = mtu;
        self
    }

    /// Makes the namespaces and the wires between them.
    ///
    /// # Errors
    /// If a prefix is not one, or without root.
    pub fn build(self) -> Result<Lab> {
        let settings = self.settings;
        let gateway = NetNs::new("gateway")?;
        gateway.set("ipv4/ip_forward", "1")?;
        gateway.set("ipv6/conf/all/forwarding", "1")?;
        // A new interface that forwards joins the all-routers group, and says so.
        gateway.set("ipv6/conf/default/forwarding", "0")?;

        let remote = NetNs::new("remote")?;
        let core = wire((&gateway, "core0"), (&remote, "eth0"), settings)?;
        hold(&remote, &parse(&self.remotes)?)?;
        let network = Network::Core;
        network.join(&core.near, 1)?;
        network.join(&core.far, 2)?;
        network.give_default_route(&core.near, 2, &core.far)?;
        network.give_default_route(&core.far, 1, &core.near)?;

        let segment = self
            .shared_access
            .then(|| Segment::new(&gateway, settings))
            .transpose()?;
        let mut lab = Lab {
            gateway,
            remote,
            subscribers: Vec::new(),
            access: segment
                .iter()
                .map(|segment| segment.uplink.clone())
                .collect(),
            core,
            settings,
        };
        for (name, prefixes) in &self.subscribers {
            lab.add_subscriber(name, &parse(prefixes)?, segment.as_ref())
                .with_context(|| format!("subscriber {name}"))?;
        }
        Ok(lab)
    }
}

impl Lab {
    /// An empty lab with an MTU of 1500 bytes and offloads on.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            subscribers: Vec::new(),
            remotes: Vec::new(),
            shared_access: false,
            settings: Settings {
                mtu: DEFAULT_MTU,
                offloads: true,
            },
        }
    }

    /// How many interfaces of the gateway have an XDP program.
    ///
    /// # Errors
    /// When `ip` does not list them.
    pub fn xdp_programs(&self) -> Result<usize> {
        let links = self.gateway.run("ip", &["link"])?;
        Ok(links.matches("prog/xdp").count())
    }

    /// The subscriber of that name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn subscriber(&self, name: &str) -> &Subscriber {
        match self
            .subscribers
            .iter()
            .find(|subscriber| subscriber.name == name)
        {
            Some(subscriber) => subscriber,
            None => panic!("there is no subscriber {name} in this lab"),
        }
    }

    /// A remote address, which has to be in one of the remotes' prefixes to answer.
    ///
    /// # Panics
    /// If the text is not an address.
    #[must_use]
    pub fn remote(&self, address: &str) -> Endpoint {
        self.remote.at(parse_address(address))
    }

    /// Every wire there is, each once.
    pub fn wires(&self) -> impl Iterator<Item = &Veth> {
        let shared = self.access.iter().filter(|access| {
            self.subscribers
                .iter()
                .all(|subscriber| subscriber.wire.far.mac != access.far.mac)
        });
        shared
            .chain(self.subscribers.iter().map(|subscriber| &subscriber.wire))
            .chain(std::iter::once(&self.core))
    }

    /// Waits until nothing moves on any wire.
    ///
    /// # Errors
    /// If something still does after ten seconds.
    pub fn settle(&self) -> Result<()> {
        counters::settle(self.wires())
    }

    /// Pulls out a subscriber's wire: the gateway's access interface disappears.
    ///
    /// # Errors
    /// If it is pulled out already.
    pub fn unplug(&self, name: &str) -> Result<()> {
        self.subscriber(name).wire.unplug()
    }

    /// Puts an unplugged wire back, under the same names but as new interfaces.
    ///
    /// # Errors
    /// If it is not unplugged, or access is shared: the bridge's port would be another.
    pub fn replug(&mut self, name: &str) -> Result<()> {
        let index = self
            .subscribers
            .iter()
            .position(|subscriber| subscriber.name == name)
            .with_context(|| format!("there is no subscriber {name}"))?;
        ensure!(
            self.access.len() == self.subscribers.len(),
            "shared access cannot be replugged"
        );
        let subscriber = &self.subscribers[index];
        let wire = self.connect(&subscriber.namespace, index)?;
        route(&wire, &wire.far, index, 2, &subscriber.prefixes)?;
        self.subscribers[index].wire = wire.clone();
        self.access[index] = wire;
        Ok(())
    }

    fn connect(&self, subscriber: &NetNs, index: usize) -> Result<Veth> {
        let access = format!("access{index}");
        let wire = wire(
            (subscriber, "eth0"),
            (&self.gateway, &access),
            self.settings,
        )?;
        Network::Access(index).join(&wire.far, 1)?;
        Ok(wire)
    }

    fn add_subscriber(
        &mut self,
        name: &str,
        prefixes: &[IpNet],
        segment: Option<&Segment>,
    ) -> Result<()> {
        let namespace = NetNs::new(name)?;
        let index = self.subscribers.len();
        let wire = match segment {
            Some(segment) => {
                let wire = segment.plug_in(&namespace, index, self.settings)?;
                route(&wire, &segment.uplink.far, 0, 2 + index, prefixes)?;
                wire
            }
            None => {
                let wire = self.connect(&namespace, index)?;
                route(&wire, &wire.far, index, 2, prefixes)?;
                self.access.push(wire.clone());
                wire
            }
        };
        hold(&namespace, prefixes)?;
        let prefixes = prefixes.to_vec();
        self.subscribers.push(Subscriber {
            name: name.to_owned(),
            namespace,
            prefixes,
            wire,
        });
        Ok(())
    }
}

impl Subscriber {
    /// Its first IPv4 address.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn v4(&self) -> Endpoint {
        self.first(IpAddr::is_ipv4)
    }

    /// Its first IPv6 address.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn v6(&self) -> Endpoint {
        self.first(IpAddr::is_ipv6)
    }

    /// One of its addresses, or one that is not its own, to send from it nevertheless.
    ///
    /// # Panics
    /// If the text is not an address.
    #[must_use]
    pub fn at(&self, address: &str) -> Endpoint {
        self.namespace.at(parse_address(address))
    }

    fn first(&self, family: fn(&IpAddr) -> bool) -> Endpoint {
        match self.prefixes.iter().map(IpNet::addr).find(family) {
            Some(address) => self.namespace.at(address),
            None => panic!("subscriber {} has no address of that family", self.name),
        }
    }
}

fn parse(prefixes: &[String]) -> Result<Vec<IpNet>> {
    prefixes
        .iter()
        .map(|text| {
            text.parse()
                .with_context(|| format!("`{text}` is not a prefix"))
        })
        .collect()
}

fn parse_address(text: &str) -> IpAddr {
    match text.parse() {
        Ok(address) => address,
        Err(_) => panic!("`{text}` is not an address"),
    }
}
