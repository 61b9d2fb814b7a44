//! Addresses and prefixes as plain 128-bit numbers, the family beside them.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};

/// An IPv4 or IPv6 address; an IPv4 address fills the low 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Which of the two families.
    pub v6: bool,
    /// The address as a number.
    pub bits: u128,
}

impl Address {
    /// How many bits an address of this family has.
    #[must_use]
    pub fn width(self) -> u32 {
        if self.v6 { 128 } else { 32 }
    }

    /// The address in the standard library's form, to print it.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        if self.v6 {
            IpAddr::V6(self.bits.into())
        } else {
            let low = u32::try_from(self.bits & u128::from(u32::MAX)).unwrap_or(0);
            IpAddr::V4(low.into())
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self {
                v6: false,
                bits: u128::from(u32::from(ip)),
            },
            IpAddr::V6(ip) => Self {
                v6: true,
                bits: u128::from(ip),
            },
        }
    }
}

/// An address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The lowest address of the prefix.
    pub first: Address,
    /// Leading bits that count: 0 to 32, or 0 to 128.
    pub length: u32,
}

impl Prefix {
    /// The prefix of this length around an address, whose host bits are cleared.
    #[must_use]
    pub fn around(address: Address, length: u32) -> Self {
        let host_bits = address.width() - length;
        let bits = if host_bits == 128 {
            0
        } else {
            (address.bits >> host_bits) << host_bits
        };
        Self {
            first: Address {
                v6: address.v6,
                bits,
            },
            length,
        }
    }

    /// Reads `address/length`, or a bare address as a host prefix.
    ///
    /// # Errors
    /// When it is neither, or host bits are set.
    pub fn parse(text: &str) -> Result<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .with_context(|| format!("address in {text:?}"))?;
        let address = Address::from(address);
        let length = match length {
            Some(length) => length
                .parse()
                .with_context(|| format!("length in {text:?}"))?,
            None => address.width(),
        };
        ensure!(length <= address.width(), "length of {text:?}");
        let prefix = Self::around(address, length);
        ensure!(prefix.first == address, "host bits set in {text:?}");
        Ok(prefix)
    }

    /// Whether the address lies in the prefix.
    #[must_use]
    pub fn contains(&self, address: Address) -> bool {
        let host_bits = self.first.width() - self.length;
        self.first.v6 == address.v6
            && (host_bits == 128 || self.first.bits >> host_bits == address.bits >> host_bits)
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.first.ip(), self.length)
    }
}
