//! The form of `policy.toml` as a JSON Schema, for editors: which keys there are, what they take, and what they mean.
//!
//! A policy that `check` finds no error in validates. What does not depend on anything else, such as a misspelled key, a
//! missing one, or a volume without a unit, does not; whether names fit each other, only `check` knows. The types below are
//! never filled: the reader (`read`) keeps the place of each value, which these have no room for. A test holds both to the
//! same keys.

#![expect(dead_code, reason = "types of which only the shape is used")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{CLASS_WARNINGS, KINDS, MAX_BUCKETS, MAX_CLASSES, MAX_GATE, MAX_PLANS, PLAN_WARNINGS};
use crate::import::FORMATS;

const NAME: &str = "^[a-z0-9._-]{1,64}$";
const VOLUME: &str = r"^(0|[0-9]+(\.[0-9]+)? *(B|kB|MB|GB|KiB|MiB|GiB))$";
const PRICE: &str = r"^[0-9]{1,12}(\.[0-9]{1,9})? [A-Z]{3}/(B|kB|MB|GB|KiB|MiB|GiB)$";

/// Up to 3660 days.
const AGE: &str = "^0*([1-9][0-9]{0,2}|[12][0-9]{3}|3[0-5][0-9]{2}|36[0-5][0-9]|3660)d$";
/// As many, or up to 120 months.
const CYCLE: &str = "^(([1-9][0-9]{0,2}|[12][0-9]{3}|3[0-5][0-9]{2}|36[0-5][0-9]|3660)d|([1-9][0-9]?|1[01][0-9]|120)mo)$";

/// A date, or an instant with its offset, as TOML has them; to a schema they are text.
const DAY: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2}))?$";

/// The schema. Draft 7 is what editors of TOML know.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07().with_transform(RecursiveTransform(without_null));
    let schema = settings
        .into_generator()
        .into_root_schema_for::<PolicyFile>();
    schema.to_value()
}

/// TOML has no null: a key that may be left out is left out.
fn without_null(schema: &mut Schema) {
    let is_null = |value: &Value| *value == json!("null") || *value == json!({"type": "null"});
    for key in ["type", "anyOf", "enum"] {
        let Some(Value::Array(all)) = schema.get_mut(key) else {
            continue;
        };
        all.retain(|one| !is_null(one) && !one.is_null());
        let [one] = all.as_slice() else { continue };
        let one = one.clone();
        match one {
            Value::Object(only) if key == "anyOf" => {
                schema.remove(key);
                // Beside a reference nothing else counts in this draft, so that it stands alone in a list.
                match only.contains_key("$ref") {
                    true => drop(schema.insert("allOf".to_owned(), json!([only]))),
                    false => only.into_iter().for_each(|(key, value)| {
                        schema.insert(key, value);
                    }),
                }
            }
            one if key == "type" => drop(schema.insert(key.to_owned(), one)),
            _ => {}
        }
    }
}

/// A name: 1 to 64 of the characters `a-z 0-9 . _ -`.
#[derive(JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
struct Name(#[schemars(regex(pattern = NAME))] String);

/// A tariff policy of zerorate. `zerorate check` says what an editor cannot know; docs/policy.md is the reference.
#[derive(JsonSchema)]
#[schemars(rename = "policy.toml", deny_unknown_fields)]
struct PolicyFile {
    /// Name of the policy.
    name: Name,
    /// The text the policy rests on: a law, an order, a price list. Not interpreted.
    basis: Option<String>,
    /// Class of every address that no set names.
    default_class: Name,
    #[schemars(flatten)]
    upkeep: Upkeep,
    /// List of address space that many services share, for the warning `hosting`: a file in the policy's directory.
    hosting: Option<String>,
    /// Public keys of minisign that sign lists, by name.
    #[schemars(extend("propertyNames" = {"pattern": NAME}))]
    keys: Option<BTreeMap<String, PublicKey>>,
    /// Service classes, by name; at least the default class.
    #[schemars(extend("propertyNames" = {"pattern": NAME}, "minProperties" = 1, "maxProperties" = MAX_CLASSES))]
    classes: BTreeMap<String, ClassTable>,
    /// Lists of prefixes, each of one class.
    sets: Option<Vec<SetTable>>,
    /// Tariff plans, by name.
    #[schemars(extend("propertyNames" = {"pattern": NAME}, "maxProperties" = MAX_PLANS))]
    plans: Option<BTreeMap<String, PlanTable>>,
    /// What people are told it is called.
    title: Option<Titles>,
    /// What people are told buckets are called, in whatever plan, by name.
    #[schemars(extend("propertyNames" = {"pattern": NAME}))]
    buckets: Option<BTreeMap<String, BucketTable>>,
}

/// A title in every language it is written in: `title.kk = "…"`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Titles {
    /// Kazakh.
    kk: Option<Title>,
    /// Russian.
    ru: Option<Title>,
    /// Uzbek, in Latin letters.
    uz: Option<Title>,
    /// Albanian.
    sq: Option<Title>,
    /// English.
    en: Option<Title>,
}

/// What people are to read.
#[derive(JsonSchema)]
struct Title(#[schemars(regex(pattern = r"\S"))] String);

/// What a bucket is called.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct BucketTable {
    /// What people are told it is called.
    title: Option<Titles>,
}

/// A public key of minisign: the second line of its minisign.pub.
#[derive(JsonSchema)]
struct PublicKey(#[schemars(regex(pattern = "^[A-Za-z0-9+/]{56}$"))] String);

/// How lists are kept. At the top of the file it holds for each set that does not say otherwise.
#[derive(JsonSchema)]
struct Upkeep {
    /// How old a list may be, in days: `"30d"`. Older than that it is `stale`.
    #[schemars(regex(pattern = AGE))]
    max_age: Option<String>,
    /// How much address space may come or go in one reload: `"20%"`. At the top, also for what each plan has free.
    #[schemars(regex(pattern = r"^[0-9]{1,4}(\.[0-9]{1,2})?%$"))]
    max_change: Option<String>,
    /// A reload by which a set comes to have fewer prefixes is refused.
    min_prefixes: Option<u32>,
    /// A shorter IPv4 prefix, or a set of more addresses than one such prefix has, is `wide`. Default 8.
    #[schemars(range(max = 32))]
    widest_ipv4: Option<u8>,
    /// A shorter IPv6 prefix, or a set of more addresses than one such prefix has, is `wide`. Default 16.
    #[schemars(range(max = 128))]
    widest_ipv6: Option<u8>,
}

/// A service class: what a remote address is.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ClassTable {
    /// The number billing knows the class by.
    #[schemars(range(max = u32::MAX))]
    rating_group: u32,
    /// Whether it stays reachable for a suspended subscriber, and is never dropped. Default `false`.
    essential: Option<bool>,
    /// What people are told it is called.
    title: Option<Titles>,
    /// Warnings about the class that are meant.
    expect: Option<Vec<ClassWarning>>,
}

/// A named, sourced list of prefixes of one class.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("dependencies" = needs(), "anyOf" = import_is_whole()))]
struct SetTable {
    /// Name of the set, once in the policy.
    name: Name,
    /// The class its addresses belong to.
    class: Name,
    /// What people are told it is called.
    title: Option<Titles>,
    /// Where the list comes from; `explain` shows it.
    source: Option<String>,
    /// Prefixes such as `"203.0.113.0/24"` or `"2001:db8::/32"`; an address alone is a host prefix.
    prefixes: Option<Vec<String>>,
    /// List file, one prefix a line, `#` comments; relative to policy.toml and inside its directory.
    file: Option<String>,
    /// How the list file is made, by `zerorate import --update`.
    import: Option<ImportTable>,
    /// A source that the agent follows: `mrt:FILE`, a routing table, `file:FILE`, a list, or `https://...`, one on the web.
    #[schemars(regex(pattern = "^((mrt|file):.+|https://.+)$"))]
    feed: Option<String>,
    /// How often the source is looked at. Default `"5m"`.
    feed_every: Option<String>,
    /// How old the source may be before somebody should look. Default `"24h"`.
    feed_stale_after: Option<String>,
    /// Of a feed on the web: the authority of the host's certificate, a PEM file. Default: those the system trusts.
    feed_ca: Option<String>,
    /// Of a feed on the web: most it may have. Default `"64MB"`.
    #[schemars(regex(pattern = VOLUME))]
    feed_max_bytes: Option<String>,
    /// Of a feed on the web: how long fetching it may take. Default `"30s"`.
    feed_timeout: Option<String>,
    /// The first instant at which the set exists: `2023-05-22T00:00:00+05:00`, without quotes.
    #[schemars(extend("format" = "date-time"))]
    valid_from: Option<String>,
    /// The first instant at which it no longer does.
    #[schemars(extend("format" = "date-time"))]
    valid_until: Option<String>,
    /// Warnings that are meant.
    expect: Option<Vec<SetWarning>>,
    #[schemars(flatten)]
    upkeep: Upkeep,
    /// When the list was last fetched or looked at: a date, or an instant with its offset; without quotes.
    #[schemars(regex(pattern = DAY))]
    updated: Option<String>,
    /// The last line of the file, such as `"# end"`: without it the list was cut short.
    ends_with: Option<String>,
    /// SHA-256 of the file: another list is an error.
    #[schemars(regex(pattern = "^[0-9A-Fa-f]{64}$"))]
    sha256: Option<String>,
    /// Who signs the file with minisign, into FILE.minisig beside it: a name of `[keys]`, or a public key. Of a list that is
    /// made of a source, the source is what is signed.
    signed_by: Option<String>,
}

/// How a set's list is made.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ImportTable {
    /// What the source is written in; required where the set has no feed.
    format: Option<ImportFormat>,
    /// Files, relative to policy.toml or with their whole path; required where the set has no feed.
    #[schemars(length(min = 1))]
    from: Option<Vec<String>>,
    /// Two letters of ISO 3166.
    #[schemars(length(min = 1))]
    country: Option<Vec<String>>,
    /// The registry's opaque identifier of the holder.
    #[schemars(length(min = 1))]
    holder: Option<Vec<String>>,
    /// The AS that originates a prefix, such as `"AS48979"`.
    #[schemars(length(min = 1))]
    asn: Option<Vec<String>>,
    /// The neighbour that told of a route: its address or AS number.
    #[schemars(length(min = 1))]
    peer: Option<Vec<String>>,
    /// The provider's name for a service.
    #[schemars(length(min = 1))]
    service: Option<Vec<String>>,
    /// The provider's name for a region.
    #[schemars(length(min = 1))]
    region: Option<Vec<String>>,
    /// The router's name for an address list.
    #[schemars(length(min = 1))]
    list: Option<Vec<String>>,
    /// Take a source with fewer entries than it says it has.
    allow_incomplete: Option<bool>,
    /// Take a list without a prefix.
    allow_empty: Option<bool>,
    /// Of the format `names`: how long an address is kept that is not seen again. Default 7.
    keep_days: Option<u16>,
}

/// A tariff plan: who pays for each class.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PlanTable {
    /// What people are told it is called.
    title: Option<Titles>,
    /// The first instant at which the plan exists: `2026-03-01T00:00:00+05:00`, without quotes.
    #[schemars(extend("format" = "date-time"))]
    valid_from: Option<String>,
    /// The first instant at which it no longer does: whoever is on it is on its successor then.
    #[schemars(extend("format" = "date-time"))]
    valid_until: Option<String>,
    /// The plan that whoever is on this one goes on to when it ends.
    successor: Option<Name>,
    /// Whether it takes nobody new. Default `false`.
    closed: Option<bool>,
    /// Which directions draw buckets down. Default `"both"`.
    count: Option<Count>,
    /// After how long packages begin anew: `"14d"` or `"1mo"`.
    #[schemars(regex(pattern = CYCLE))]
    cycle: Option<String>,
    /// Who begins a cycle. Default `"auto"`.
    renew: Option<Renew>,
    /// How what is used is paid. Default `"advance"`.
    settlement: Option<Settlement>,
    /// What becomes of what ran over. Default `"carry"`.
    overrun: Option<Overrun>,
    /// `"ignore"`: suspended subscribers on this plan keep their service.
    suspension: Option<Suspension>,
    /// Buckets of which at least one must hold something, or everything whose chain is not `free` is dropped.
    #[schemars(length(min = 1, max = MAX_GATE))]
    gate: Option<Vec<Name>>,
    /// Packages and balances, by name.
    #[schemars(extend("propertyNames" = bucket_name(), "maxProperties" = MAX_BUCKETS))]
    buckets: Option<BTreeMap<String, Bucket>>,
    /// Who pays for each class; `"*"` stands for every class that is not named.
    #[schemars(extend("propertyNames" = {"pattern": r"^(\*|[a-z0-9._-]{1,64})$"}))]
    charge: BTreeMap<String, Chain>,
    /// Warnings about the plan that are meant.
    expect: Option<Vec<PlanWarning>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Count {
    Both,
    Down,
    Up,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Renew {
    /// It begins by itself when the one before is over.
    Auto,
    /// An order of billing begins it.
    Billing,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Settlement {
    /// Before it is used.
    Advance,
    /// By a bill, up to the bucket `limit` where the plan has one.
    Credit,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum Overrun {
    /// The next grant pays it.
    Carry,
    /// Nobody pays it; it is recorded.
    WriteOff,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Suspension {
    Ignore,
}

/// What a bucket is filled with.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Bucket {
    /// A volume: `"3GB"`, granted each cycle; `"0"` starts empty.
    Volume(#[schemars(regex(pattern = VOLUME))] String),
    /// Money, turned into bytes at this price: billing grants amounts.
    Money(Money),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Money {
    /// Amount, currency and the volume it buys: `"630 UZS/MB"`.
    #[schemars(regex(pattern = PRICE))]
    price: String,
}

/// A charge chain: at most four buckets tried in turn, then `free`, `metered` or `drop`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Chain {
    /// An end alone.
    End(End),
    /// Buckets, and what comes when none of them holds anything.
    Steps(#[schemars(length(min = 1, max = 5))] Vec<Name>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum End {
    /// Nobody pays.
    Free,
    /// The subscriber pays by volume.
    Metered,
    /// The packet is dropped.
    Drop,
}

/// A type for each kind of word that a list elsewhere in this library has all of.
macro_rules! words {
    ($($name:ident: $words:expr;)*) => {$(
        struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "enum": $words})
            }
        }
    )*};
}

words! {
    ClassWarning: CLASS_WARNINGS;
    SetWarning: KINDS.map(super::Kind::name);
    PlanWarning: PLAN_WARNINGS;
    ImportFormat: FORMATS.map(crate::import::Format::name);
}

/// Keys of a set that say nothing without another one.
fn needs() -> Value {
    json!({
        "import": ["file"],
        "feed": ["file"],
        "feed_every": ["feed"],
        "feed_stale_after": ["feed"],
        "feed_ca": ["feed"],
        "feed_max_bytes": ["feed"],
        "feed_timeout": ["feed"],
        "ends_with": ["file"],
        "sha256": ["file"],
        "signed_by": ["file"],
    })
}

/// Where the set has a feed, that is the source, and says its format.
fn import_is_whole() -> Value {
    json!([
        {"required": ["feed"]},
        {"not": {"required": ["import"]}},
        {"properties": {"import": {"required": ["format", "from"]}}},
    ])
}

fn bucket_name() -> Value {
    json!({"pattern": NAME, "not": {"enum": super::RESERVED_BUCKETS}})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::section::ASKED;
    use super::*;

    /// A policy with a table of each kind.
    const POLICY: &str = "name = \"p\"\ndefault_class = \"c\"\n[classes.c]\nrating_group = 1\n\
        [[sets]]\nname = \"s\"\nclass = \"c\"\n[sets.import]\nformat = \"text\"\nfrom = [\"x\"]\n\
        [plans.p.buckets]\nb = { price = \"1 KZT/MB\" }\n[plans.p.charge]\n\"*\" = \"free\"\n\
        [title]\nen = \"P\"\n[buckets.b.title]\nen = \"B\"\n";

    #[test]
    fn the_schema_has_the_keys_that_are_read_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("policy.toml"), POLICY).unwrap();
        ASKED.take();
        // Whatever is wrong with it, each table is read.
        drop(super::super::load(dir.path()));
        let asked = ASKED.take();
        let schema = schema();
        let mut compared = 0;
        for (title, at) in [
            ("the policy", ""),
            ("class \"c\"", "/definitions/ClassTable"),
            ("set \"s\"", "/definitions/SetTable"),
            ("set \"s\": import", "/definitions/ImportTable"),
            ("plan \"p\"", "/definitions/PlanTable"),
            ("plan \"p\": bucket \"b\"", "/definitions/Money"),
            ("the title of the policy", "/definitions/Titles"),
            ("the title of bucket \"b\"", "/definitions/Titles"),
            ("bucket \"b\"", "/definitions/BucketTable"),
        ] {
            let table = schema.pointer(at).unwrap();
            assert_eq!(table["additionalProperties"], json!(false), "{title}");
            let has: BTreeSet<&str> = table["properties"]
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            assert_eq!(Some(&has), asked.get(title), "{title}");
            compared += 1;
        }
        assert_eq!(asked.len(), compared, "{:?}", asked.keys());
    }
}
