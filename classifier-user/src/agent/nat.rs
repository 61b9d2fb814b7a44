//! Whether this gateway translates subscribers' addresses itself. What comes back to it then carries its own
//! address on the core side, and nobody's traffic would be found there.
//!
//! Asked once, at the start, of nftables by netlink and of iptables (legacy) by its own program. Translation that
//! neither knows of, in a card or by somebody's eBPF, is not seen.

use std::fs;
use std::io;
use std::process::Command;

use nix::sys::socket::SockProtocol;
use tracing::warn;

use crate::config::{Config, Downlink, Nat};
use crate::netlink::{DUMP, Netlink, attribute, attributes, text};

/// Addresses are translated, and downlink is to be counted on the core side.
#[derive(Debug, thiserror::Error)]
#[error(
    "this gateway translates addresses ({found}), and downlink = \"core\" counts where the subscriber's address is \
     not on the packets yet: set downlink = \"egress\" on the access interfaces; or, if these rules do not concern \
     subscribers, nat = \"ignore\" under [checks]"
)]
pub struct Translates {
    found: String,
}

/// Refuses to count downlink on the core side of a gateway that translates addresses.
///
/// # Errors
/// When it does, and the configuration does not say that this is no matter.
pub fn check(config: &Config) -> Result<(), Translates> {
    if config.downlink() == Downlink::Egress || config.checks.nat == Nat::Ignore {
        return Ok(());
    }
    let found = nftables().unwrap_or_else(|error| {
        warn!("whether nftables translates addresses cannot be seen: {error}");
        Vec::new()
    });
    match found.into_iter().chain(iptables()).next() {
        Some(found) => Err(Translates { found }),
        None => Ok(()),
    }
}

/// Rules of nftables that translate source addresses.
fn nftables() -> io::Result<Vec<String>> {
    // linux/netfilter/nfnetlink.h, nf_tables.h
    const GET_RULE: u16 = 10 << 8 | 7;
    const ANY_FAMILY: [u8; 4] = [0; 4];
    let rules = Netlink::open(SockProtocol::NetlinkNetFilter)
        .and_then(|netlink| netlink.ask(GET_RULE, DUMP, &ANY_FAMILY));
    match rules {
        Ok(rules) => Ok(rules.iter().filter_map(|rule| translation(rule)).collect()),
        // A kernel without nftables has no rules.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EINVAL | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT)
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Which rule it is, if it translates source addresses: `masquerade in chain postrouting of table nat`.
fn translation(rule: &[u8]) -> Option<String> {
    // linux/netfilter/nf_tables.h
    const TABLE: u16 = 1;
    const CHAIN: u16 = 2;
    const EXPRESSIONS: u16 = 4;
    let rule = rule.get(4..)?;
    let named = |kind| attribute(rule, kind).map(text).unwrap_or_default();
    let expressions = attribute(rule, EXPRESSIONS)?;
    let what = attributes(expressions).find_map(|(_, expression)| source_nat(expression))?;
    Some(format!(
        "{what} in chain {} of nftables table {}",
        named(CHAIN),
        named(TABLE)
    ))
}

/// What an expression of a rule does, if that is to translate source addresses.
fn source_nat(expression: &[u8]) -> Option<String> {
    const NAME: u16 = 1;
    const DATA: u16 = 2;
    /// First attribute of both: the kind of translation, 0 for the source; the name of the target.
    const KIND: u16 = 1;
    let data = attribute(expression, DATA).unwrap_or_default();
    match text(attribute(expression, NAME)?).as_str() {
        "masq" => Some("masquerade".into()),
        "nat" if attribute(data, KIND) == Some(&[0; 4]) => Some("snat".into()),
        // What iptables is made into.
        "target" => {
            let target = text(attribute(data, KIND)?);
            is_source_nat(&target).then_some(target)
        }
        _ => None,
    }
}

fn is_source_nat(target: &str) -> bool {
    matches!(target, "MASQUERADE" | "SNAT" | "NETMAP")
}

/// A rule of iptables that translates source addresses.
fn iptables() -> Option<String> {
    for (tables, program) in [
        ("/proc/net/ip_tables_names", "iptables-legacy-save"),
        ("/proc/net/ip6_tables_names", "ip6tables-legacy-save"),
    ] {
        let is_used = fs::read_to_string(tables)
            .is_ok_and(|tables| tables.lines().any(|table| table == "nat"));
        if !is_used {
            continue;
        }
        let saved = Command::new(program).args(["-t", "nat"]).output();
        match saved {
            Ok(saved) if saved.status.success() => {
                let rules = String::from_utf8_lossy(&saved.stdout).into_owned();
                let rule = rules.lines().find(|rule| translates(rule));
                if let Some(rule) = rule {
                    return Some(format!("iptables {rule}"));
                }
            }
            _ => warn!(
                "iptables has a nat table, and {program} does not tell what is in it: if it translates subscribers' \
                 addresses, what they receive is unattributed; set downlink = \"egress\" then"
            ),
        }
    }
    None
}

/// Whether a line as iptables-save writes it translates source addresses.
fn translates(rule: &str) -> bool {
    let mut words = rule.split_whitespace();
    words.any(|word| word == "-j") && words.next().is_some_and(is_source_nat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::put;

    fn expression(name: &[u8], kind: &[u8]) -> Vec<u8> {
        let (mut data, mut body) = (Vec::new(), Vec::new());
        put(&mut data, 1, kind);
        put(&mut body, 1, name);
        put(&mut body, 2, &data);
        body
    }

    #[test]
    fn only_source_translation_is_found() {
        let of = |name: &[u8], kind: &[u8]| source_nat(&expression(name, kind));
        assert_eq!(of(b"masq\0", &[]).as_deref(), Some("masquerade"));
        assert_eq!(of(b"nat\0", &[0; 4]).as_deref(), Some("snat"));
        assert_eq!(of(b"nat\0", &[0, 0, 0, 1]), None);
        assert_eq!(of(b"target\0", b"SNAT\0").as_deref(), Some("SNAT"));
        assert_eq!(of(b"target\0", b"TCPMSS\0"), None);
        assert_eq!(of(b"counter\0", &[0; 4]), None);
    }

    #[test]
    fn lines_of_iptables_are_read() {
        assert!(translates("-A POSTROUTING -o wan0 -j MASQUERADE"));
        assert!(translates("-A POSTROUTING -j SNAT --to-source 203.0.113.1"));
        assert!(!translates(
            "-A PREROUTING -j DNAT --to-destination 10.0.0.1"
        ));
        assert!(!translates(":POSTROUTING ACCEPT [0:0]"));
    }
}
