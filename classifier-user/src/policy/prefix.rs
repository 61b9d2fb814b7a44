//! From text to an IP prefix. What is refused is refused with its correction, where there is one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::diagnostic::quote;

/// Text that is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrefix {
    /// Nothing there.
    #[error("the prefix is empty")]
    Empty,
    /// Two words or more.
    #[error("{} is more than one prefix", quote(.0))]
    Several(String),
    /// `first-last`.
    #[error("{} is a range, not a prefix", quote(.0))]
    Range(String),
    /// Letters and dots, but no address.
    #[error("{} is a name, not an address", quote(.0))]
    Name(String),
    /// An interface after `%`.
    #[error("{} names an interface", quote(.0))]
    Zone(String),
    /// Not an IP address for another reason.
    #[error("{} is not an IP address", quote(.0))]
    Address(String),
    /// A netmask behind the slash; with the same as a length, if the mask is one.
    #[error("{} has a netmask where the prefix length belongs", quote(.text))]
    Netmask {
        /// What stands there.
        text: String,
        /// The same with a length.
        corrected: Option<String>,
    },
    /// Not a number, or more bits than an address has.
    #[error("{}: {} is not a prefix length from 0 to {max}", quote(.text), quote(.length))]
    Length {
        /// What stands there.
        text: String,
        /// What stands behind the slash.
        length: String,
        /// 32 or 128.
        max: u8,
    },
    /// Bits to the right of the prefix are not zero.
    #[error("{text} has host bits set; the prefix is {corrected}")]
    HostBits {
        /// What stands there.
        text: String,
        /// The prefix that holds that address.
        corrected: IpNet,
    },
}

impl InvalidPrefix {
    /// Short name of the error for programs.
    pub fn code(&self) -> &'static str {
        match self {
            InvalidPrefix::HostBits { .. } => "host-bits",
            _ => "bad-prefix",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            InvalidPrefix::Empty => {
                "write a prefix such as 203.0.113.0/24 or 2001:db8::/32".to_owned()
            }
            InvalidPrefix::Several(_) => "write each prefix by itself".to_owned(),
            InvalidPrefix::Range(_) => "write the range as the prefixes that make it up".to_owned(),
            InvalidPrefix::Name(_) => {
                "list the addresses the name resolves to: packets carry no names".to_owned()
            }
            InvalidPrefix::Zone(_) => "leave out the % and what follows it".to_owned(),
            InvalidPrefix::Address(text) => meant_by(text).to_owned(),
            InvalidPrefix::Netmask {
                corrected: Some(corrected),
                ..
            } => format!("write {corrected}"),
            InvalidPrefix::Netmask {
                corrected: None, ..
            } => "write a prefix length; this mask has holes and is none".to_owned(),
            InvalidPrefix::Length { length, .. } if length.contains('\r') => {
                "end lines with LF or CRLF: in this file they end with CR alone".to_owned()
            }
            InvalidPrefix::Length { max, .. } => {
                format!("write a length from 0 to {max}, or leave /length out for a single address")
            }
            InvalidPrefix::HostBits { text, corrected } => {
                let address = text.split('/').next().unwrap_or(text);
                format!("write {corrected}, or {address} alone if the one address is meant")
            }
        }
    }
}

/// What to write in place of `text`, which is no address.
fn meant_by(text: &str) -> &'static str {
    let quotes = ['"', '\'', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}'];
    if text.contains('|') {
        "make a list of it: zerorate import delegated takes the registries' files"
    } else if text.parse::<SocketAddr>().is_ok() {
        "leave out the port: a prefix has none"
    } else if text.contains(quotes) {
        "leave out the quotes"
    } else if text.contains('*') || text.contains('x') {
        "write a prefix, such as 203.0.113.0/24 for 203.0.113.0 to 203.0.113.255"
    } else if text.contains(':') {
        "write up to eight groups of up to four hex digits with : between them, such as 2001:db8::/32"
    } else {
        "write four decimal numbers without leading zeros, or an IPv6 address"
    }
}

/// Reads `address/length`, or an address alone, which is a host prefix.
pub fn parse_prefix(text: &str) -> Result<IpNet, InvalidPrefix> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(not_an_address(text, address));
    };
    let max = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => max,
        Some(length) => parse_length(text, address, length, max)?,
    };
    let (start, end) = bounds(address, length);
    let base = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(start as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(start)),
    };
    debug_assert!(start <= end);
    let net = IpNet::new(base, length).map_err(|_| InvalidPrefix::Address(text.to_owned()))?;
    if base == address {
        Ok(net)
    } else {
        Err(InvalidPrefix::HostBits {
            text: text.to_owned(),
            corrected: net,
        })
    }
}

fn parse_length(text: &str, address: IpAddr, length: &str, max: u8) -> Result<u8, InvalidPrefix> {
    if address.is_ipv4()
        && let Ok(mask) = length.parse::<Ipv4Addr>()
    {
        let ones = mask.to_bits().leading_ones();
        let whole = ones == mask.to_bits().count_ones();
        return Err(InvalidPrefix::Netmask {
            text: text.to_owned(),
            corrected: whole.then(|| format!("{address}/{ones}")),
        });
    }
    let plain = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    match length.parse::<u8>() {
        Ok(number) if plain && number <= max && (number == 0 || !length.starts_with('0')) => {
            Ok(number)
        }
        _ => Err(InvalidPrefix::Length {
            text: text.to_owned(),
            length: length.to_owned(),
            max,
        }),
    }
}

/// Says why `address`, which stands in `text`, is none.
fn not_an_address(text: &str, address: &str) -> InvalidPrefix {
    let whole = text.to_owned();
    let is_address = |part: &str| part.trim().parse::<IpAddr>().is_ok();
    if text.is_empty() {
        InvalidPrefix::Empty
    } else if text
        .split_once('-')
        .is_some_and(|(a, b)| is_address(a) && is_address(b))
    {
        InvalidPrefix::Range(whole)
    } else if address.split_once('%').is_some_and(|(a, _)| is_address(a)) {
        InvalidPrefix::Zone(whole)
    } else if text.contains([' ', '\t', ',', ';']) {
        InvalidPrefix::Several(whole)
    } else if is_name(address) {
        InvalidPrefix::Name(whole)
    } else {
        InvalidPrefix::Address(whole)
    }
}

/// Whether `text` looks like a domain name: labels with dots between them, the last one not a
/// number.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_alphanumeric() || c == '-' || c == '_' || c == '*')
    };
    text.split('.').all(label)
        && text
            .rsplit_once('.')
            .is_some_and(|(_, last)| !last.bytes().all(|b| b.is_ascii_digit()))
}

/// First and last address of the prefix around `address`, as numbers.
fn bounds(address: IpAddr, length: u8) -> (u128, u128) {
    let (bits, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let host = match width - u32::from(length) {
        128 => u128::MAX,
        free => (1 << free) - 1,
    };
    (bits & !host, bits | host)
}

/// The addresses of a prefix as numbers, for sorting and comparing by the hundred thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) v6: bool,
    pub(crate) first: u128,
    pub(crate) last: u128,
}

impl Range {
    pub(crate) fn of(net: &IpNet) -> Self {
        let address = net.addr();
        let (first, last) = bounds(address, net.prefix_len());
        Range {
            v6: address.is_ipv6(),
            first,
            last,
        }
    }

    /// Whether every address of `other` is in this range.
    pub(crate) fn contains(&self, other: &Range) -> bool {
        self.v6 == other.v6 && self.first <= other.first && other.last <= self.last
    }

    /// Sorts by address, and a prefix before the longer ones in it.
    pub(crate) fn sort_key(&self) -> (bool, u128, u128) {
        (self.v6, self.first, !self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prefixes_and_addresses() {
        for (text, expected) in [
            ("203.0.113.0/24", "203.0.113.0/24"),
            ("203.0.113.7", "203.0.113.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("255.255.255.255/32", "255.255.255.255/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:DB8::1", "2001:db8::1/128"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(parse_prefix(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn refusals_say_why() {
        for (text, message) in [
            ("", "the prefix is empty"),
            ("/24", "\"/24\" is not an IP address"),
            (
                "10.0.0.1/24",
                "10.0.0.1/24 has host bits set; the prefix is 10.0.0.0/24",
            ),
            (
                "2001:db8::1/64",
                "2001:db8::1/64 has host bits set; the prefix is 2001:db8::/64",
            ),
            (
                "10.0.0.0/33",
                "\"10.0.0.0/33\": \"33\" is not a prefix length from 0 to 32",
            ),
            (
                "10.0.0.0/+8",
                "\"10.0.0.0/+8\": \"+8\" is not a prefix length from 0 to 32",
            ),
            (
                "10.0.0.0/08",
                "\"10.0.0.0/08\": \"08\" is not a prefix length from 0 to 32",
            ),
            (
                "10.0.0.0/",
                "\"10.0.0.0/\": \"\" is not a prefix length from 0 to 32",
            ),
            (
                "::/129",
                "\"::/129\": \"129\" is not a prefix length from 0 to 128",
            ),
            (
                "10.0.0.0/255.0.0.0",
                "\"10.0.0.0/255.0.0.0\" has a netmask where the prefix length belongs",
            ),
            ("010.0.0.0/8", "\"010.0.0.0/8\" is not an IP address"),
            ("10.0.0", "\"10.0.0\" is not an IP address"),
            (
                "10.0.0.0-10.0.0.255",
                "\"10.0.0.0-10.0.0.255\" is a range, not a prefix",
            ),
            (
                "10.0.0.0/8 11.0.0.0/8",
                "\"10.0.0.0/8 11.0.0.0/8\": \"8 11.0.0.0/8\" is not a prefix length from 0 to 32",
            ),
            ("egov.kz", "\"egov.kz\" is a name, not an address"),
            ("fe80::1%eth0", "\"fe80::1%eth0\" names an interface"),
        ] {
            assert_eq!(
                parse_prefix(text).unwrap_err().to_string(),
                message,
                "{text}"
            );
        }
    }

    #[test]
    fn netmasks_are_turned_into_lengths() {
        let help = |text| parse_prefix(text).unwrap_err().help();
        assert_eq!(help("10.0.0.0/255.255.0.0"), "write 10.0.0.0/16");
        assert!(help("10.0.0.0/255.0.255.0").contains("holes"));
    }

    proptest! {
        #[test]
        fn every_prefix_reads_back(bits: u128, v6: bool, length in 0u8..=128) {
            let (address, length) = if v6 {
                (IpAddr::V6(Ipv6Addr::from_bits(bits)), length)
            } else {
                (IpAddr::V4(Ipv4Addr::from_bits(bits as u32)), length % 33)
            };
            let net = IpNet::new(address, length).unwrap().trunc();
            prop_assert_eq!(parse_prefix(&net.to_string()), Ok(net));
            let range = Range::of(&net);
            let number = |address: IpAddr| match address {
                IpAddr::V4(v4) => u128::from(v4.to_bits()),
                IpAddr::V6(v6) => v6.to_bits(),
            };
            prop_assert_eq!(range.first, number(net.network()));
            prop_assert_eq!(range.last, number(net.broadcast()));
            let typed = format!("{address}/{length}");
            match parse_prefix(&typed) {
                Ok(read) => prop_assert_eq!((read, address), (net, net.addr())),
                Err(InvalidPrefix::HostBits { corrected, .. }) => {
                    prop_assert_eq!(corrected, net);
                    prop_assert_ne!(address, net.addr());
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            if let Err(error) = parse_prefix(&text) {
                prop_assert!(!error.to_string().contains('\n'));
                prop_assert!(!error.help().is_empty());
            }
        }
    }
}
