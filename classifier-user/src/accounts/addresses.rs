//! A session's prefixes. Nearly all have one, which needs no memory of its own.

use std::ops::Deref;

use ipnet::IpNet;

/// Prefixes, as a slice of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(Held);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    One(IpNet),
    Other(Box<[IpNet]>),
}

impl From<Vec<IpNet>> for Addresses {
    fn from(prefixes: Vec<IpNet>) -> Self {
        Self(match *prefixes {
            [prefix] => Held::One(prefix),
            _ => Held::Other(prefixes.into()),
        })
    }
}

impl FromIterator<IpNet> for Addresses {
    fn from_iter<I: IntoIterator<Item = IpNet>>(prefixes: I) -> Self {
        Vec::from_iter(prefixes).into()
    }
}

impl Deref for Addresses {
    type Target = [IpNet];

    fn deref(&self) -> &[IpNet] {
        match &self.0 {
            Held::One(prefix) => std::slice::from_ref(prefix),
            Held::Other(prefixes) => prefixes,
        }
    }
}

impl<'a> IntoIterator for &'a Addresses {
    type Item = &'a IpNet;
    type IntoIter = std::slice::Iter<'a, IpNet>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_there_are_come_back() {
        let all: Vec<IpNet> = ["10.0.0.1/32", "2001:db8::/56", "100.64.0.0/30"]
            .map(|net| net.parse().unwrap())
            .into();
        for count in 0..=3 {
            let addresses: Addresses = all[..count].iter().copied().collect();
            assert_eq!(*addresses, all[..count]);
            assert_eq!((&addresses).into_iter().count(), count);
        }
        assert_eq!(size_of::<Addresses>(), 24);
    }
}
