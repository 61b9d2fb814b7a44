//! `policy.toml` as it is written: form and types are checked here, meaning in [`super::check`].
//! What is missing or of the wrong type has been reported when a field is `None`, so later stages
//! stay silent about it.

use jiff::Timestamp;
use toml::de::{DeTable, DeValue};

use super::imports::{RawImport, read_made};
use super::lifetime::RawLifetime;
use super::model::Place;
use super::section::{At, Entry, Section, kind_of};
use super::source::SourceFile;
use super::titles::{RawBucketTitles, Titles};
use super::upkeep::RawUpkeep;
use crate::diagnostic::{Diagnostics, quote};

const CLASS: &str = "such as [classes.internet]";
const PLAN: &str = "such as [plans.basic]";
const BUCKETS: &str = "such as [plans.basic.buckets] with main = \"3GB\"";
const CHARGE: &str = "such as [plans.basic.charge] with \"*\" = \"metered\"";
const KEYS: &str = "such as [keys] with ministry = \"RWQ...\", the second line of its minisign.pub";
const PREFIXES: &str = r#"["203.0.113.0/24"]"#;

pub(super) struct RawPolicy {
    pub(super) name: Option<At<String>>,
    pub(super) titles: Titles,
    pub(super) bucket_titles: RawBucketTitles,
    pub(super) basis: Option<String>,
    pub(super) default_class: Option<At<String>>,
    /// What holds for every set that does not say otherwise.
    pub(super) upkeep: RawUpkeep,
    /// List of address space that many services share.
    pub(super) hosting: Option<At<String>>,
    /// Public keys that sign lists.
    pub(super) keys: Vec<RawKey>,
    /// `None` if there is no such table, which has been reported.
    pub(super) classes: Option<Vec<RawClass>>,
    pub(super) sets: Vec<RawSet>,
    pub(super) plans: Vec<RawPlan>,
}

pub(super) struct RawKey {
    pub(super) name: At<String>,
    /// `None` if it is no string, which has been reported.
    pub(super) key: Option<At<String>>,
}

pub(super) struct RawClass {
    pub(super) name: At<String>,
    pub(super) titles: Titles,
    pub(super) rating_group: Option<At<u32>>,
    pub(super) essential: bool,
    pub(super) expect: Vec<At<String>>,
    /// Whether something in it was reported.
    pub(super) broken: bool,
}

pub(super) struct RawSet {
    pub(super) place: Place,
    pub(super) name: Option<At<String>>,
    pub(super) titles: Titles,
    pub(super) class: Option<At<String>>,
    pub(super) source: Option<String>,
    pub(super) prefixes: Vec<At<String>>,
    pub(super) file: Option<At<String>>,
    pub(super) import: Option<RawImport>,
    pub(super) valid_from: Option<At<Timestamp>>,
    pub(super) valid_until: Option<At<Timestamp>>,
    pub(super) expect: Vec<At<String>>,
    pub(super) upkeep: RawUpkeep,
    /// When the list was last looked at.
    pub(super) updated: Option<At<Timestamp>>,
    /// What the last line of the file is to be.
    pub(super) ends_with: Option<At<String>>,
    /// SHA-256 of the file.
    pub(super) sha256: Option<At<String>>,
    /// Who signs the file, or its source: a name of `[keys]`, or a public key.
    pub(super) signed_by: Option<At<String>>,
    /// Whether something in it was reported.
    pub(super) broken: bool,
}

pub(super) struct RawPlan {
    pub(super) name: At<String>,
    pub(super) titles: Titles,
    pub(super) life: RawLifetime,
    pub(super) count: Option<At<String>>,
    pub(super) cycle: Option<At<String>>,
    pub(super) renew: Option<At<String>>,
    pub(super) settlement: Option<At<String>>,
    pub(super) overrun: Option<At<String>>,
    pub(super) suspension: Option<At<String>>,
    pub(super) gate: Option<At<Vec<At<String>>>>,
    pub(super) buckets: Vec<RawBucket>,
    /// `None` if there is no such table, which has been reported; each key is a class or `*`.
    pub(super) charge: Option<Vec<RawCharge>>,
    pub(super) expect: Vec<At<String>>,
    /// Whether something in it was reported.
    pub(super) broken: bool,
}

pub(super) struct RawBucket {
    pub(super) name: At<String>,
    pub(super) grant: Option<RawGrant>,
}

pub(super) enum RawGrant {
    Bytes(At<String>),
    Price(At<String>),
}

pub(super) struct RawCharge {
    pub(super) class: At<String>,
    pub(super) chain: Option<At<Vec<At<String>>>>,
}

/// Reads the file; `None` if it is not TOML, which has been reported.
pub(super) fn read(source: &SourceFile, out: &mut Diagnostics) -> Option<RawPolicy> {
    let (document, errors) = DeTable::parse_recoverable(source.text());
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let help = match message.as_str() {
            "duplicate key" => "a key stands once in its table: remove or rename one of them",
            _ => "correct it (strings stand in double quotes); the rest is checked after that",
        };
        out.error(
            source.place(offset),
            "toml",
            format!("TOML: {message}"),
            help,
        );
    }
    if !errors.is_empty() {
        return None;
    }
    let place = source.at(1, 1);
    let mut policy = Section::new(source, document.get_ref(), "the policy", place, out);
    let raw = RawPolicy {
        name: policy.required_text("name", "xk-order"),
        titles: Titles::read(&mut policy, "the policy"),
        bucket_titles: RawBucketTitles::read(&mut policy),
        basis: policy
            .text("basis", "Order of 17 March 2020")
            .map(|at| at.value),
        default_class: policy.required_text("default_class", "internet"),
        upkeep: RawUpkeep::read(&mut policy),
        hosting: policy.text("hosting", "hosting.txt"),
        keys: read_keys(&mut policy),
        classes: read_classes(&mut policy),
        sets: policy
            .array_of_tables("sets")
            .into_iter()
            .map(|(table, place)| read_set(source, table, place, policy.out()))
            .collect(),
        plans: read_plans(&mut policy),
    };
    policy.finish();
    Some(raw)
}

fn read_keys(policy: &mut Section<'_>) -> Vec<RawKey> {
    let mut keys = Vec::new();
    for entry in policy.entries("keys", KEYS).unwrap_or_default() {
        let key = match entry.value {
            DeValue::String(text) => Some(At {
                value: text.to_string(),
                place: entry.place,
            }),
            other => {
                let message = format!(
                    "key {} is {}, not a string",
                    quote(&entry.key.value),
                    kind_of(other)
                );
                let help =
                    "write a public key, the second line of minisign.pub, such as \"RWQ...\"";
                policy.out().error(entry.place, "wrong-type", message, help);
                None
            }
        };
        keys.push(RawKey {
            name: entry.key,
            key,
        });
    }
    keys
}

fn read_classes(policy: &mut Section<'_>) -> Option<Vec<RawClass>> {
    let mut classes = Vec::new();
    for entry in policy.required_entries("classes", CLASS)? {
        let title = format!("class {}", quote(&entry.key.value));
        let mut read = RawClass {
            name: entry.key.clone(),
            titles: Titles::default(),
            rating_group: None,
            essential: false,
            expect: Vec::new(),
            broken: false,
        };
        let errors_before = policy.out().errors();
        if let Some(mut class) = policy.child(&entry, title.clone(), CLASS) {
            read.titles = Titles::read(&mut class, &title);
            read.rating_group = class.required_u32("rating_group", 10);
            read.essential = class.flag("essential").unwrap_or(false);
            read.expect = class.texts("expect", r#"["ipv4-only"]"#);
            class.finish();
        }
        read.broken = policy.out().errors() > errors_before;
        classes.push(read);
    }
    Some(classes)
}

fn read_set(
    source: &SourceFile,
    table: &DeTable<'_>,
    place: Place,
    out: &mut Diagnostics,
) -> RawSet {
    let title = match table.get("name").and_then(|name| name.get_ref().as_str()) {
        Some(name) => format!("set {}", quote(name)),
        None => "this set".to_owned(),
    };
    let errors_before = out.errors();
    let mut set = Section::new(source, table, title.clone(), place.clone(), out);
    let mut raw = RawSet {
        name: set.required_text("name", "state-portals"),
        titles: Titles::read(&mut set, &title),
        class: set.required_text("class", "government"),
        source: set
            .text("source", "where the list comes from")
            .map(|at| at.value),
        prefixes: set.texts("prefixes", PREFIXES),
        file: set.text("file", "state-portals.txt"),
        import: read_made(&mut set, &title),
        valid_from: set.instant("valid_from"),
        valid_until: set.instant("valid_until"),
        expect: set.texts("expect", r#"["multicast"]"#),
        upkeep: RawUpkeep::read(&mut set),
        updated: set.day("updated"),
        ends_with: set.text("ends_with", "# end"),
        sha256: set.text("sha256", "64 hex digits, as sha256sum prints them"),
        signed_by: set.text("signed_by", "ministry"),
        broken: false,
        place,
    };
    set.finish();
    raw.broken = out.errors() > errors_before;
    raw
}

fn read_plans(policy: &mut Section<'_>) -> Vec<RawPlan> {
    let mut plans = Vec::new();
    for entry in policy.entries("plans", PLAN).unwrap_or_default() {
        let title = format!("plan {}", quote(&entry.key.value));
        let errors_before = policy.out().errors();
        if let Some(mut plan) = policy.child(&entry, title.clone(), PLAN) {
            let mut raw = RawPlan {
                name: entry.key.clone(),
                titles: Titles::read(&mut plan, &title),
                life: RawLifetime::read(&mut plan),
                count: plan.text("count", "both"),
                cycle: plan.text("cycle", "30d"),
                renew: plan.text("renew", "billing"),
                settlement: plan.text("settlement", "credit"),
                overrun: plan.text("overrun", "write-off"),
                suspension: plan.text("suspension", "ignore"),
                gate: plan.texts_at("gate", r#"["main", "balance"]"#),
                buckets: read_buckets(&mut plan, &entry.key.value),
                charge: read_charge(&mut plan),
                expect: plan.texts("expect", r#"["unused-plan"]"#),
                broken: false,
            };
            plan.finish();
            raw.broken = policy.out().errors() > errors_before;
            plans.push(raw);
        }
    }
    plans
}

fn read_buckets(plan: &mut Section<'_>, plan_name: &str) -> Vec<RawBucket> {
    let mut buckets = Vec::new();
    for entry in plan.entries("buckets", BUCKETS).unwrap_or_default() {
        let grant = match entry.value {
            DeValue::String(text) => Some(RawGrant::Bytes(At {
                value: text.to_string(),
                place: entry.place.clone(),
            })),
            DeValue::Table(_) => read_money(plan, plan_name, &entry),
            other => {
                plan.out().error(
                    entry.place.clone(),
                    "wrong-type",
                    format!(
                        "plan {}: bucket {} is {}, not a volume or a price",
                        quote(plan_name),
                        quote(&entry.key.value),
                        kind_of(other)
                    ),
                    "write a volume such as \"3GB\", or { price = \"630 UZS/MB\" }",
                );
                None
            }
        };
        buckets.push(RawBucket {
            name: entry.key,
            grant,
        });
    }
    buckets
}

fn read_money<'a>(plan: &mut Section<'a>, plan_name: &str, entry: &Entry<'a>) -> Option<RawGrant> {
    let title = format!(
        "plan {}: bucket {}",
        quote(plan_name),
        quote(&entry.key.value)
    );
    let mut bucket = plan.child(entry, title, "such as { price = \"630 UZS/MB\" }")?;
    let price = bucket.required_text("price", "630 UZS/MB");
    bucket.finish();
    price.map(RawGrant::Price)
}

fn read_charge(plan: &mut Section<'_>) -> Option<Vec<RawCharge>> {
    let entries = plan.required_entries("charge", CHARGE)?;
    let mut charge = Vec::with_capacity(entries.len());
    for entry in entries {
        let words = match entry.value {
            DeValue::String(word) => Some(vec![At {
                value: word.to_string(),
                place: entry.place.clone(),
            }]),
            other => {
                let class = quote(&entry.key.value);
                plan.strings(
                    &format!("the chain of {class}"),
                    other,
                    &entry.place,
                    &format!("{class} = [\"main\", \"drop\"]"),
                )
            }
        };
        charge.push(RawCharge {
            class: entry.key,
            chain: words.map(|value| At {
                value,
                place: entry.place,
            }),
        });
    }
    Some(charge)
}
