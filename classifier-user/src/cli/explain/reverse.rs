//! The reverse of explaining an address: what a set or a class holds, and which sets touch a whole prefix.

use anyhow::{Result, bail};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::Serialize;

use super::address::{Match, describe};
use super::{Format, row};
use crate::policy::{self, ListedPrefix, Policy, PrefixSet, Range};

/// How many prefixes of a set people are shown.
const SHOWN: usize = 10;

/// A set as it is at a time.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "set")]
struct Set<'a> {
    at: String,
    policy: &'a str,
    policy_version: &'a str,
    set: &'a str,
    class: &'a str,
    source: Option<&'a str>,
    file: String,
    valid_from: Option<String>,
    valid_until: Option<String>,
    /// Whether it exists at that time.
    valid: bool,
    prefixes: Vec<String>,
    #[serde(skip)]
    validity: String,
}

impl<'a> Set<'a> {
    fn new(policy: &'a Policy, set: &'a PrefixSet, at: Timestamp) -> Self {
        let list = set.list.as_ref().map(|list| &list.path);
        let file = list.or_else(|| policy.files.first());
        Self {
            at: at.to_string(),
            policy: &policy.name,
            policy_version: &policy.version,
            set: &set.name,
            class: &policy.classes[set.class].name,
            source: set.source.as_deref(),
            file: file.map_or_else(String::new, |file| file.display().to_string()),
            valid_from: set.validity.from.as_ref().map(Timestamp::to_string),
            valid_until: set.validity.until.as_ref().map(Timestamp::to_string),
            valid: set.validity.contains(at),
            prefixes: set
                .prefixes
                .iter()
                .map(|prefix| prefix.net.to_string())
                .collect(),
            validity: set.validity.to_string(),
        }
    }

    fn print(&self, format: Format) -> Result<()> {
        if format == Format::Json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let now = if self.valid {
            ""
        } else {
            " (not at this time)"
        };
        row("set", self.set);
        row("class", self.class);
        row("source", self.source.unwrap_or("not given"));
        row("file", &self.file);
        row("valid", &format!("{}{now}", self.validity));
        row("prefixes", &self.prefixes.len().to_string());
        for prefix in self.prefixes.iter().take(SHOWN) {
            row("", prefix);
        }
        if self.prefixes.len() > SHOWN {
            row("", "... (--format json has all)");
        }
        Ok(())
    }
}

/// Prints one set.
pub(super) fn set(policy: &Policy, name: &str, at: Timestamp, format: Format) -> Result<()> {
    let Some(set) = policy.sets.iter().find(|set| set.name == name) else {
        let known = policy.sets.iter().map(|set| set.name.as_str());
        bail!(
            "the policy has no set {name:?}; {}",
            policy::suggest(name, "sets", known)
        )
    };
    if format == Format::Table {
        head(policy, at);
    }
    Set::new(policy, set, at).print(format)
}

/// What is asked, and for when.
pub(super) fn head(policy: &Policy, at: Timestamp) {
    row("at", &at.to_string());
    row(
        "policy",
        &format!("{} (version {})", policy.name, policy.version),
    );
}

/// Prints the sets of a class; those that do not exist at the time, too, where `all` is asked for.
pub(super) fn sets_of(
    policy: &Policy,
    class: usize,
    at: Timestamp,
    all: bool,
    format: Format,
) -> Result<()> {
    let of_class = policy.sets.iter().filter(|set| set.class == class);
    for set in of_class.filter(|set| all || set.validity.contains(at)) {
        if format == Format::Table {
            println!();
        }
        Set::new(policy, set, at).print(format)?;
    }
    Ok(())
}

/// What a whole prefix meets.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "touched")]
struct Touched<'a> {
    remote: IpNet,
    at: String,
    policy_version: &'a str,
    /// Class of what is listed nowhere below, if there may be any.
    otherwise: &'a str,
    /// Listings that cover all of it, the longest first: the first decides where nothing of `inside` does.
    covering: Vec<Match<'a>>,
    /// Listings inside it, by address.
    inside: Vec<Match<'a>>,
    /// Listings that touch it, of sets that do not exist at that time.
    inactive: Vec<Match<'a>>,
}

/// Prints which sets touch a prefix.
pub(super) fn touching(policy: &Policy, net: IpNet, at: Timestamp, format: Format) -> Result<()> {
    let whole = Range::of(&net);
    let all = policy
        .sets
        .iter()
        .flat_map(|set| set.prefixes.iter().map(move |prefix| (set, prefix)));
    let (mut covering, mut inside, mut inactive) = (Vec::new(), Vec::new(), Vec::new());
    for (set, prefix) in all {
        let range = Range::of(&prefix.net);
        let found: (&PrefixSet, &ListedPrefix) = (set, prefix);
        if !range.contains(&whole) && !whole.contains(&range) {
            continue;
        }
        if !set.validity.contains(at) {
            inactive.push(found);
        } else if range.contains(&whole) {
            covering.push(found);
        } else {
            inside.push(found);
        }
    }
    covering.sort_by_key(|(_, prefix)| std::cmp::Reverse(prefix.net.prefix_len()));
    inside.sort_by_key(|(_, prefix)| Range::of(&prefix.net).sort_key());
    let class = covering
        .first()
        .map_or(policy.default_class, |(set, _)| set.class);
    let show = |found: Vec<_>| {
        found
            .into_iter()
            .map(|listing| Match::new(policy, listing))
            .collect()
    };
    let touched = Touched {
        remote: net,
        at: at.to_string(),
        policy_version: &policy.version,
        otherwise: &policy.classes[class].name,
        covering: show(covering),
        inside: show(inside),
        inactive: show(inactive),
    };
    if format == Format::Json {
        println!("{}", serde_json::to_string(&touched)?);
        return Ok(());
    }
    row("remote", &net.to_string());
    row("at", &touched.at);
    row(
        "policy",
        &format!("{} (version {})", policy.name, policy.version),
    );
    for found in &touched.covering {
        row("inside of", &describe(found));
    }
    for found in &touched.inside {
        row("holds", &describe(found));
    }
    for found in &touched.inactive {
        row(
            "not in force",
            &format!("{}, valid {}", describe(found), found.validity),
        );
    }
    row("the rest", touched.otherwise);
    Ok(())
}
