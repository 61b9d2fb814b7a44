//! What is to be imported: a format, sources, and which part of them. The same request is typed as a command or
//! stands in a policy, and is written into the list it makes.

use std::collections::BTreeMap;
use std::fmt;

use super::fetch::Limits;
use crate::policy::suggest;
use crate::trust::Key as Signer;

/// What a source is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub enum Format {
    /// A registry's delegations: RIR statistics exchange, plain or extended
    Delegated,
    /// Tables of prefixes or address ranges with an AS number or a country behind each
    Table,
    /// Route objects as bgpq4 prints them, as text (Cisco, Junos, BIRD) or JSON
    Bgpq4,
    /// A routing table as routers and route collectors dump it (MRT, RFC 6396)
    Mrt,
    /// The JSON lists that cloud and CDN providers publish
    Services,
    /// One prefix, address or range a line
    Text,
    /// A .netset or .ipset: as text
    Netset,
    /// A RouterOS export: /ip and /ipv6 firewall address-list
    Rsc,
    /// One name a line, to be resolved by this system: a list that is learned, and kept for a time
    Names,
}

/// Every format.
pub const FORMATS: [Format; 9] = [
    Format::Delegated,
    Format::Table,
    Format::Bgpq4,
    Format::Mrt,
    Format::Services,
    Format::Text,
    Format::Netset,
    Format::Rsc,
    Format::Names,
];

impl Format {
    /// The word for it on the command line and in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delegated => "delegated",
            Self::Table => "table",
            Self::Bgpq4 => "bgpq4",
            Self::Mrt => "mrt",
            Self::Services => "services",
            Self::Text => "text",
            Self::Netset => "netset",
            Self::Rsc => "rsc",
            Self::Names => "names",
        }
    }

    /// What its entries can be chosen by.
    #[must_use]
    pub fn keys(self) -> &'static [Key] {
        match self {
            Self::Delegated => &[Key::Country, Key::Holder],
            Self::Table => &[Key::Asn, Key::Country],
            Self::Mrt => &[Key::Asn, Key::Peer],
            Self::Services => &[Key::Service, Key::Region],
            Self::Rsc => &[Key::List],
            Self::Bgpq4 | Self::Text | Self::Netset | Self::Names => &[],
        }
    }

    /// The format of this name, or help for one that is none.
    ///
    /// # Errors
    /// What was meant, or all there is.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let found = FORMATS.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| suggest(name, "formats", FORMATS.map(Self::name)))
    }
}

/// What entries of a source are chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The country a registry notes, two letters.
    Country,
    /// The registry's opaque identifier of the holder.
    Holder,
    /// The AS number that originates a prefix.
    Asn,
    /// The neighbour that told of a route: its address or AS number.
    Peer,
    /// The provider's name for a service.
    Service,
    /// The provider's name for a region.
    Region,
    /// The router's name for an address list.
    List,
}

/// Every key.
pub const KEYS: [Key; 7] = [
    Key::Country,
    Key::Holder,
    Key::Asn,
    Key::Peer,
    Key::Service,
    Key::Region,
    Key::List,
];

impl Key {
    /// The word for it on the command line and in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::Holder => "holder",
            Self::Asn => "asn",
            Self::Peer => "peer",
            Self::Service => "service",
            Self::Region => "region",
            Self::List => "list",
        }
    }

    /// An example of a value.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self {
            Self::Country => "KZ",
            Self::Holder => "A91A560A",
            Self::Asn => "AS48979",
            Self::Peer => "192.0.2.1",
            Self::Service => "CLOUDFRONT",
            Self::Region => "eu-central-1",
            Self::List => "tasix",
        }
    }

    /// `value` as entries are compared with it.
    ///
    /// # Errors
    /// What it is not.
    pub fn normal(self, value: &str) -> Result<String, InvalidChoice> {
        let invalid = || InvalidChoice {
            key: self,
            value: value.to_owned(),
        };
        match self {
            Self::Country if value.len() == 2 && value.bytes().all(|b| b.is_ascii_alphabetic()) => {
                Ok(value.to_ascii_uppercase())
            }
            Self::Country => Err(invalid()),
            Self::Asn => as_number(value)
                .map(|number| format!("AS{number}"))
                .ok_or_else(invalid),
            Self::Peer => match value.parse::<std::net::IpAddr>() {
                Ok(address) => Ok(address.to_string()),
                Err(_) => as_number(value)
                    .map(|number| format!("AS{number}"))
                    .ok_or_else(invalid),
            },
            _ if value.is_empty() => Err(invalid()),
            _ => Ok(value.to_owned()),
        }
    }
}

/// An AS number as people write it: `AS64500` or `64500`.
pub(crate) fn as_number(text: &str) -> Option<u32> {
    let digits = match text.get(..2) {
        Some(letters) if letters.eq_ignore_ascii_case("as") => &text[2..],
        _ => text,
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// A value that nothing can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is no {}", .key.name())]
pub struct InvalidChoice {
    /// What it was to be.
    pub key: Key,
    /// What was written.
    pub value: String,
}

impl InvalidChoice {
    /// What to write.
    #[must_use]
    pub fn help(&self) -> String {
        match self.key {
            Key::Country => "write the two letters of ISO 3166, such as KZ".to_owned(),
            Key::Asn => "write a number from 0 to 4294967295, such as AS48979 or 48979".to_owned(),
            Key::Peer => {
                "write the neighbour's address or its AS number, such as AS48979".to_owned()
            }
            key => format!("write a name, such as {}", key.example()),
        }
    }
}

/// What is to be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What the sources are written in.
    pub format: Format,
    /// File names, or `-` for standard input.
    pub sources: Vec<String>,
    /// By key, the values of which an entry has to have one; in their normal form.
    pub choices: BTreeMap<Key, Vec<String>>,
    /// Whether a source may have fewer entries than it says it has.
    pub allow_incomplete: bool,
    /// Whether the list may have no prefix.
    pub allow_empty: bool,
    /// How many days an address is kept after its name was last resolved to it.
    pub keep_days: u16,
    /// Whose signature each source has to have, beside it.
    pub signed_by: Option<Signer>,
    /// How sources on the web are fetched.
    pub limits: Limits,
}

/// How long an address is kept where nothing else is said, in days.
pub const KEEP_DAYS: u16 = 7;

impl Request {
    /// Everything that `sources` have.
    #[must_use]
    pub fn new(format: Format, sources: Vec<String>) -> Self {
        Self {
            format,
            sources,
            choices: BTreeMap::new(),
            allow_incomplete: false,
            allow_empty: false,
            keep_days: KEEP_DAYS,
            signed_by: None,
            limits: Limits::default(),
        }
    }
}

/// The command that makes the list.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zerorate import {}", self.format.name())?;
        for source in &self.sources {
            write!(f, " {}", word(source))?;
        }
        for (key, values) in &self.choices {
            for value in values {
                write!(f, " --{} {}", key.name(), word(value))?;
            }
        }
        if self.keep_days != KEEP_DAYS {
            write!(f, " --keep-days {}", self.keep_days)?;
        }
        if let Some(key) = &self.signed_by {
            write!(f, " --signed-by {}", word(key.text()))?;
        }
        if let Some(ca) = &self.limits.ca {
            write!(f, " --ca {}", word(&ca.to_string_lossy()))?;
        }
        for (set, flag) in [
            (self.allow_incomplete, " --allow-incomplete"),
            (self.allow_empty, " --allow-empty"),
        ] {
            if set {
                f.write_str(flag)?;
            }
        }
        Ok(())
    }
}

/// `text` as one word of a shell's command, on one line.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let safe: String = text
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    format!("'{}'", safe.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_typed_again() {
        let mut request = Request::new(
            Format::Table,
            vec!["a b.csv".to_owned(), "it's.csv".to_owned()],
        );
        request
            .choices
            .insert(Key::Asn, vec!["AS1".to_owned(), "AS2".to_owned()]);
        request.allow_empty = true;
        assert_eq!(
            request.to_string(),
            r"zerorate import table 'a b.csv' 'it'\''s.csv' --asn AS1 --asn AS2 --allow-empty"
        );
    }

    #[test]
    fn values_have_one_form() {
        for (key, written, normal) in [
            (Key::Country, "kz", "KZ"),
            (Key::Asn, "64500", "AS64500"),
            (Key::Asn, "as4294967295", "AS4294967295"),
            (Key::Peer, "2001:DB8::1", "2001:db8::1"),
            (Key::Peer, "64500", "AS64500"),
            (Key::List, "my list", "my list"),
        ] {
            assert_eq!(key.normal(written).unwrap(), normal);
        }
        for (key, written) in [
            (Key::Country, "KAZ"),
            (Key::Country, "é"),
            (Key::Asn, "AS"),
            (Key::Asn, "4294967296"),
            (Key::Asn, "+1"),
            (Key::Asn, "é1"),
            (Key::Peer, "router"),
            (Key::List, ""),
        ] {
            let error = key.normal(written).unwrap_err();
            assert!(!error.help().is_empty(), "{error}");
        }
    }

    #[test]
    fn every_format_has_a_name() {
        for format in FORMATS {
            assert_eq!(Format::from_name(format.name()), Ok(format));
        }
        assert_eq!(
            Format::from_name("delegate"),
            Err("did you mean \"delegated\"?".to_owned())
        );
    }
}
