//! The class of one address at one time, and why.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use super::{Charge, print_charge, row};
use crate::policy::{Class, ListedPrefix, Policy, PrefixSet};

/// The class of one address at one time, and why.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "explain")]
pub(super) struct Answer<'a> {
    remote: IpAddr,
    at: String,
    policy: &'a str,
    policy_version: &'a str,
    pub(super) class: &'a str,
    rating_group: u32,
    pub(super) essential: bool,
    /// `None` if no set names the address: its class is the default class.
    #[serde(rename = "match")]
    matched: Option<Match<'a>>,
    /// Less specific listings that would decide if the match were not there.
    shadowed: Vec<Match<'a>>,
    /// Listings of sets that do not exist at that time.
    inactive: Vec<Match<'a>>,
    /// Since when this version was in force, where that was asked of a history.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force_from: Option<String>,
    /// Until when, if it no longer is.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force_until: Option<String>,
    #[serde(skip)]
    pub(super) index: usize,
}

/// A listing that covers the address.
#[derive(Serialize)]
pub(super) struct Match<'a> {
    prefix: String,
    set: &'a str,
    class: &'a str,
    source: Option<&'a str>,
    file: String,
    line: u32,
    column: u32,
    valid_from: Option<String>,
    valid_until: Option<String>,
    #[serde(skip)]
    pub(super) validity: String,
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        policy: &'a Policy,
        remote: IpAddr,
        at: Timestamp,
        in_force: Option<(Timestamp, Option<Timestamp>)>,
    ) -> Self {
        let (index, _) = policy.class_of(remote, at);
        let Class {
            name,
            rating_group,
            essential,
            ..
        } = &policy.classes[index];
        let (active, inactive): (Vec<_>, Vec<_>) = policy
            .listings_of(remote)
            .into_iter()
            .partition(|(set, _)| set.validity.contains(at));
        let show = |listing| Match::new(policy, listing);
        let mut active = active.into_iter().map(show);
        Answer {
            remote,
            at: at.to_string(),
            policy: &policy.name,
            policy_version: &policy.version,
            class: name,
            rating_group: *rating_group,
            essential: *essential,
            matched: active.next(),
            shadowed: active.collect(),
            inactive: inactive.into_iter().map(show).collect(),
            in_force_from: in_force.map(|(from, _)| from.to_string()),
            in_force_until: in_force.and_then(|(_, until)| Some(until?.to_string())),
            index,
        }
    }
}

impl<'a> Match<'a> {
    pub(super) fn new(policy: &'a Policy, (set, prefix): (&'a PrefixSet, &ListedPrefix)) -> Self {
        Match {
            prefix: prefix.net.to_string(),
            set: &set.name,
            class: &policy.classes[set.class].name,
            source: set.source.as_deref(),
            file: prefix.place.file.display().to_string(),
            line: prefix.place.line,
            column: prefix.place.column,
            valid_from: set.validity.from.as_ref().map(Timestamp::to_string),
            valid_until: set.validity.until.as_ref().map(Timestamp::to_string),
            validity: set.validity.to_string(),
        }
    }

    pub(super) fn place(&self) -> String {
        format!("{}:{}:{}", self.file, self.line, self.column)
    }
}

pub(super) fn print_table(answer: &Answer<'_>, charges: &[Charge<'_>]) {
    let essential = if answer.essential { ", essential" } else { "" };
    row("remote", &answer.remote.to_string());
    row("at", &answer.at);
    row(
        "policy",
        &format!("{} (version {})", answer.policy, answer.policy_version),
    );
    if let Some(from) = &answer.in_force_from {
        let until = answer.in_force_until.as_ref();
        let until = until.map_or_else(String::new, |until| format!(" until {until}"));
        row("in force", &format!("from {from}{until}"));
    }
    row(
        "class",
        &format!(
            "{} (rating group {}{essential})",
            answer.class, answer.rating_group
        ),
    );
    match &answer.matched {
        None => row("set", "none: this is the default class"),
        Some(found) => {
            row("set", found.set);
            row("source", found.source.unwrap_or("not given"));
            row("prefix", &found.prefix);
            row("listed at", &found.place());
            row("valid", &found.validity);
        }
    }
    for other in &answer.shadowed {
        row("less specific", &describe(other));
    }
    for other in &answer.inactive {
        row(
            "not in force",
            &format!("{}, valid {}", describe(other), other.validity),
        );
    }
    for charge in charges {
        print_charge(answer.essential, charge);
    }
}

pub(super) fn describe(found: &Match<'_>) -> String {
    format!(
        "{} {} (set {}, {})",
        found.prefix,
        found.class,
        found.set,
        found.place()
    )
}
