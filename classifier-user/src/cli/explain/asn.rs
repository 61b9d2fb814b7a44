//! The reverse of explaining an address for a whole autonomous system: which sets touch the space it originates, after a table
//! or a dump of who originates what.

use std::path::Path;

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde::Serialize;

use super::address::Match;
use super::{Format, row};
use crate::import::{self, Addresses, Key, Request};
use crate::policy::{ListedPrefix, Policy, PrefixSet};

/// Where it is written who originates what.
#[derive(Debug, clap::Args)]
pub(super) struct Routes {
    /// With --asn: which AS originates which prefix, as `import table` reads it
    #[arg(long, value_name = "FILE", requires = "asn")]
    routes: Option<String>,
    /// The same, as `import mrt` reads it
    #[arg(long, value_name = "FILE", requires = "asn", conflicts_with = "routes")]
    dump: Option<String>,
}

/// What an AS meets.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "originated")]
struct Originated<'a> {
    asn: &'a str,
    at: String,
    policy_version: &'a str,
    /// Its prefixes, the fewest that have the same addresses.
    prefixes: usize,
    /// How many addresses they have, in words.
    space: String,
    /// Sets that touch them, in the order of the policy.
    sets: Vec<Touching<'a>>,
    /// Class of what none of them lists,
    otherwise: &'a str,
    /// and how many addresses that is.
    otherwise_space: String,
}

/// A set that touches the space of an AS.
#[derive(Serialize)]
struct Touching<'a> {
    set: &'a str,
    class: &'a str,
    /// Whether the set exists at that time.
    in_force: bool,
    /// Addresses that are in both.
    space: String,
    /// Its listings that touch the AS, by their places.
    listings: Vec<Match<'a>>,
}

impl Routes {
    /// Prints which sets touch what an AS originates.
    pub(super) fn explain(
        &self,
        policy: &Policy,
        asn: &str,
        at: Timestamp,
        format: Format,
    ) -> Result<()> {
        let (format_of_it, file) = match (&self.routes, &self.dump) {
            (Some(file), _) => (import::Format::Table, file),
            (None, Some(file)) => (import::Format::Mrt, file),
            (None, None) => bail!(
                "who originates what is in no policy: name a table of prefixes and AS numbers with --routes FILE, or an MRT \
                 dump with --dump FILE"
            ),
        };
        let mut request = Request::new(format_of_it, vec![file.clone()]);
        request.choices.insert(Key::Asn, vec![asn.to_owned()]);
        request.allow_empty = true;
        let space = import::import(&request, Path::new(""), None)?.list.space;
        if space.is_empty() {
            bail!("{file} has nothing that {asn} originates");
        }
        print(&Originated::of(policy, asn, &space, at), policy, format)
    }
}

impl<'a> Originated<'a> {
    fn of(policy: &'a Policy, asn: &'a str, space: &Addresses, at: Timestamp) -> Self {
        let mut rest = space.clone();
        let mut sets = Vec::new();
        for set in &policy.sets {
            let listings: Vec<&ListedPrefix> = touching(set, space);
            if listings.is_empty() {
                continue;
            }
            let listed = Addresses::of(listings.iter().map(|listing| &listing.net));
            let in_force = set.validity.contains(at);
            if in_force {
                rest = rest.minus(&listed);
            }
            sets.push(Touching {
                set: &set.name,
                class: &policy.classes[set.class].name,
                in_force,
                space: space.minus(&space.minus(&listed)).size().to_string(),
                listings: listings
                    .into_iter()
                    .map(|listing| Match::new(policy, (set, listing)))
                    .collect(),
            });
        }
        Self {
            asn,
            at: at.to_string(),
            policy_version: &policy.version,
            prefixes: space.prefixes().len(),
            space: space.size().to_string(),
            sets,
            otherwise: &policy.classes[policy.default_class].name,
            otherwise_space: rest.size().to_string(),
        }
    }
}

/// Listings that have an address of a space.
fn touching<'a>(set: &'a PrefixSet, space: &Addresses) -> Vec<&'a ListedPrefix> {
    let touches = |listing: &&ListedPrefix| {
        let listed = Addresses::of([&listing.net]);
        space.touches(&listed)
    };
    set.prefixes.iter().filter(touches).collect()
}

fn print(originated: &Originated<'_>, policy: &Policy, format: Format) -> Result<()> {
    if format == Format::Json {
        println!("{}", serde_json::to_string(originated)?);
        return Ok(());
    }
    row("asn", originated.asn);
    row("at", &originated.at);
    let version = format!("{} (version {})", policy.name, policy.version);
    row("policy", &version);
    let space = format!("{} prefixes, {}", originated.prefixes, originated.space);
    row("originates", &space);
    for set in &originated.sets {
        let name = if set.in_force {
            "touched by"
        } else {
            "not in force"
        };
        let first = set.listings.first().map_or_else(String::new, Match::place);
        let listings = match set.listings.len() {
            1 => format!("listing {first}"),
            n => format!("{n} listings from {first} on"),
        };
        let text = format!("set {} ({}), {listings}: {}", set.set, set.class, set.space);
        row(name, &text);
    }
    let rest = format!("{}: {}", originated.otherwise, originated.otherwise_space);
    row("the rest", &rest);
    Ok(())
}
