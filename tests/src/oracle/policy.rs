//! A policy directory, read the plain way: every key by name out of the parsed TOML.
//!
//! It trusts that the policy is a good one; it only refuses what it would have to guess at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use toml::{Table, Value};

use super::prefix::{Address, Prefix};

/// Nanoseconds since 1970 in UTC.
pub type Nanoseconds = i128;

/// A whole policy.
#[derive(Debug)]
pub struct Policy {
    /// Classes by name.
    pub classes: BTreeMap<String, Class>,
    /// The class of everything no set names.
    pub default_class: String,
    /// Tariff plans by name.
    pub plans: BTreeMap<String, Plan>,
    entries: Vec<Entry>,
}

/// A service class.
#[derive(Debug)]
pub struct Class {
    /// The number billing knows it by.
    pub rating_group: u64,
    /// Whether it stays reachable for those who are cut off.
    pub essential: bool,
}

/// A tariff plan.
#[derive(Debug)]
pub struct Plan {
    /// Whether packets going up draw buckets down.
    pub counts_up: bool,
    /// Whether packets coming down draw buckets down.
    pub counts_down: bool,
    /// Buckets of which one must hold something; empty where there is no gate.
    pub gate: Vec<String>,
    /// What each bucket is granted once, in bytes.
    pub buckets: BTreeMap<String, i128>,
    /// Whether what is metered is drawn from the bucket `limit`, and dropped beyond it.
    pub limited: bool,
    /// Whether suspension is ignored.
    pub ignores_suspension: bool,
    chains: BTreeMap<String, Vec<String>>,
}

/// One prefix of one set.
#[derive(Debug)]
struct Entry {
    prefix: Prefix,
    class: String,
    from: Nanoseconds,
    until: Nanoseconds,
}

impl Policy {
    /// Reads a policy directory.
    ///
    /// # Errors
    /// When a file is missing, is not TOML, or lacks what a policy must have.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join("policy.toml");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let policy: Table = toml::from_str(&text)?;
        let classes = table(&policy, "classes")?
            .iter()
            .map(|(name, class)| Ok((name.clone(), read_class(as_table(class)?)?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        let mut entries = Vec::new();
        if let Some(sets) = policy.get("sets") {
            for set in sets.as_array().context("sets is an array")? {
                read_set(directory, as_table(set)?, &mut entries)?;
            }
        }
        let plans = match policy.get("plans") {
            None => BTreeMap::new(),
            Some(plans) => as_table(plans)?
                .iter()
                .map(|(name, plan)| Ok((name.clone(), read_plan(as_table(plan)?)?)))
                .collect::<Result<_>>()?,
        };
        let default_class = string(&policy, "default_class")?.to_owned();
        for class in entries
            .iter()
            .map(|entry| &entry.class)
            .chain([&default_class])
        {
            ensure!(classes.contains_key(class), "no class {class:?}");
        }
        Ok(Self {
            classes,
            default_class,
            plans,
            entries,
        })
    }

    /// The class of a remote address at a time: the longest prefix that exists then.
    ///
    /// # Errors
    /// When two classes claim the same prefix at that time.
    pub fn class_of(&self, remote: Address, time: Nanoseconds) -> Result<&str> {
        let mut best: Option<&Entry> = None;
        for entry in &self.entries {
            if !(entry.from <= time && time < entry.until && entry.prefix.contains(remote)) {
                continue;
            }
            match best {
                Some(best) if best.prefix.length > entry.prefix.length => continue,
                Some(best) if best.prefix.length == entry.prefix.length => {
                    ensure!(
                        best.class == entry.class,
                        "{} is in two classes",
                        entry.prefix
                    );
                }
                _ => {}
            }
            best = Some(entry);
        }
        Ok(best.map_or(&self.default_class, |entry| &entry.class))
    }

    /// Every prefix of every set, whenever it is valid.
    pub fn prefixes(&self) -> BTreeSet<Prefix> {
        self.entries.iter().map(|entry| entry.prefix).collect()
    }
}

impl Plan {
    /// The charge chain of a class: its own, else that of `"*"`.
    ///
    /// # Errors
    /// When the plan says nothing about the class.
    pub fn chain(&self, class: &str) -> Result<&[String]> {
        let chain = self.chains.get(class).or_else(|| self.chains.get("*"));
        Ok(chain.with_context(|| format!("no chain for class {class:?}"))?)
    }
}

fn read_class(class: &Table) -> Result<Class> {
    let rating_group = class.get("rating_group").and_then(Value::as_integer);
    Ok(Class {
        rating_group: rating_group.context("rating_group")?.try_into()?,
        essential: class
            .get("essential")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    })
}

fn read_set(directory: &Path, set: &Table, entries: &mut Vec<Entry>) -> Result<()> {
    let class = string(set, "class")?;
    let from = instant(set, "valid_from")?.unwrap_or(Nanoseconds::MIN);
    let until = instant(set, "valid_until")?.unwrap_or(Nanoseconds::MAX);
    let mut prefixes = strings(set.get("prefixes"))?;
    if let Some(file) = set.get("file") {
        let path = directory.join(file.as_str().context("file is a string")?);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                prefixes.push(line.to_owned());
            }
        }
    }
    for prefix in prefixes {
        let prefix = Prefix::parse(&prefix)?;
        entries.push(Entry {
            prefix,
            class: class.to_owned(),
            from,
            until,
        });
    }
    Ok(())
}

fn read_plan(plan: &Table) -> Result<Plan> {
    let (counts_up, counts_down) = match plan.get("count").map(Value::as_str) {
        None | Some(Some("both")) => (true, true),
        Some(Some("up")) => (true, false),
        Some(Some("down")) => (false, true),
        other => bail!("count = {other:?}"),
    };
    let ignores_suspension = match plan.get("suspension").map(Value::as_str) {
        None => false,
        Some(Some("ignore")) => true,
        other => bail!("suspension = {other:?}"),
    };
    let mut buckets = BTreeMap::new();
    if let Some(granted) = plan.get("buckets") {
        for (name, grant) in as_table(granted)? {
            let bytes = match grant {
                Value::String(size) => size_in_bytes(size)?,
                Value::Table(money) if money.contains_key("price") => 0,
                other => bail!("bucket {name} = {other:?}"),
            };
            buckets.insert(name.clone(), bytes);
        }
    }
    let mut chains = BTreeMap::new();
    for (class, chain) in table(plan, "charge")? {
        let chain = match chain {
            Value::String(end) => vec![end.clone()],
            chain => strings(Some(chain))?,
        };
        let (end, links) = chain.split_last().context("an empty chain")?;
        ensure!(
            matches!(end.as_str(), "free" | "metered" | "drop"),
            "a chain ends in {end:?}"
        );
        for bucket in links {
            ensure!(buckets.contains_key(bucket), "no bucket {bucket:?}");
        }
        chains.insert(class.clone(), chain);
    }
    let gate = strings(plan.get("gate"))?;
    for bucket in &gate {
        ensure!(buckets.contains_key(bucket), "no bucket {bucket:?}");
    }
    let credit = plan.get("settlement").and_then(Value::as_str) == Some("credit");
    Ok(Plan {
        limited: credit && buckets.contains_key("limit"),
        counts_up,
        counts_down,
        gate,
        buckets,
        ignores_suspension,
        chains,
    })
}

/// `"3GB"` in bytes: decimal units of 1000, binary ones of 1024; `"0"` needs no unit.
fn size_in_bytes(text: &str) -> Result<i128> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: i128 = digits.parse().with_context(|| format!("size {text:?}"))?;
    let unit = match text[digits.len()..].trim_start() {
        "B" => 1,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" if number == 0 => 1,
        _ => bail!("size {text:?}"),
    };
    Ok(number * unit)
}

fn instant(table: &Table, key: &str) -> Result<Option<Nanoseconds>> {
    let Some(value) = table.get(key) else {
        return Ok(None);
    };
    let text = value
        .as_datetime()
        .with_context(|| format!("{key} is a date"))?
        .to_string();
    let instant: Timestamp = text.parse().with_context(|| format!("{key} = {text}"))?;
    Ok(Some(instant.as_nanosecond()))
}

fn as_table(value: &Value) -> Result<&Table> {
    value
        .as_table()
        .with_context(|| format!("a table where {value} stands"))
}

fn table<'a>(parent: &'a Table, key: &str) -> Result<&'a Table> {
    as_table(parent.get(key).with_context(|| format!("no {key}"))?)
}

fn string<'a>(parent: &'a Table, key: &str) -> Result<&'a str> {
    parent
        .get(key)
        .and_then(Value::as_str)
        .with_context(|| format!("no string {key}"))
}

fn strings(value: Option<&Value>) -> Result<Vec<String>> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let array = value
        .as_array()
        .with_context(|| format!("an array where {value} stands"))?;
    array
        .iter()
        .map(|item| Ok(item.as_str().context("an array of strings")?.to_owned()))
        .collect()
}
