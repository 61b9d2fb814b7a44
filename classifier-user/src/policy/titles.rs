//! What people are told a policy, a class, a set, a plan or a bucket is called, in each language: `title.kk = "…"`.
//! Nothing is judged or counted by it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::model::{Place, Policy};
use super::names::suggest;
use super::plans::has_bucket;
use super::read::RawPlan;
use super::section::{At, Section};
use crate::diagnostic::{Diagnostic, Diagnostics, quote};
use crate::language::Language;

const TITLE: &str = "title.en = \"State services\"";
const BUCKETS: &str = "such as [buckets.main] with title.en = \"Main package\"";

/// A title in every language it was written in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Titles(pub BTreeMap<Language, String>);

impl Titles {
    /// Reads `title` of a section.
    pub(super) fn read(section: &mut Section<'_>, of: &str) -> Self {
        let mut titles = BTreeMap::new();
        let Some((mut table, _)) = section.table("title", format!("the title of {of}"), TITLE)
        else {
            return Self::default();
        };
        for language in Language::ALL {
            let Some(At { value, place }) = table.text(language.code(), "State services") else {
                continue;
            };
            if value.trim().is_empty() {
                let message = format!("the title of {of} in {} is empty", language.name());
                let help = "write what people are to read, or remove it";
                table.out().error(place, "empty-title", message, help);
            } else {
                titles.insert(language, value);
            }
        }
        table.finish();
        Self(titles)
    }

    /// The title in a language; `None` if there is none.
    #[must_use]
    pub fn get(&self, language: Language) -> Option<&str> {
        self.0.get(&language).map(String::as_str)
    }
}

impl fmt::Display for Titles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let titles = self.0.iter();
        let titles: Vec<String> = titles
            .map(|(language, title)| format!("{language} {}", quote(title)))
            .collect();
        f.write_str(&titles.join(", "))
    }
}

/// `[buckets.NAME]` of a policy: what buckets of a name are called, in whatever plan.
pub(super) struct RawBucketTitles(Vec<(At<String>, Titles)>);

impl RawBucketTitles {
    pub(super) fn read(policy: &mut Section<'_>) -> Self {
        let mut all = Vec::new();
        for entry in policy.entries("buckets", BUCKETS).unwrap_or_default() {
            let of = format!("bucket {}", quote(&entry.key.value));
            if let Some(mut bucket) = policy.child(&entry, of.clone(), BUCKETS) {
                let titles = Titles::read(&mut bucket, &of);
                bucket.finish();
                all.push((entry.key, titles));
            }
        }
        Self(all)
    }

    /// Every bucket of the plans once, where it is named first.
    pub(super) fn named(&self, plans: &[RawPlan]) -> Vec<Named> {
        let mut named: BTreeMap<&str, Named> = BTreeMap::new();
        for bucket in plans.iter().flat_map(|plan| &plan.buckets) {
            let name = &*bucket.name.value;
            let own = self.0.iter().find(|(own, _)| own.value == name);
            let (at, titles) = match own {
                Some((at, titles)) => (at, titles.clone()),
                None => (&bucket.name, Titles::default()),
            };
            named
                .entry(name)
                .or_insert_with(|| Named::new("bucket", at, &titles));
        }
        named.into_values().collect()
    }

    /// The titles by bucket, each of which some plan has.
    pub(super) fn check(
        &self,
        plans: &[RawPlan],
        out: &mut Diagnostics,
    ) -> BTreeMap<String, Titles> {
        for (name, _) in &self.0 {
            if !plans.iter().any(|plan| has_bucket(plan, &name.value)) {
                let known = plans.iter().flat_map(|plan| &plan.buckets);
                out.error(
                    name.place.clone(),
                    "unknown-bucket",
                    format!("no plan has a bucket {}", quote(&name.value)),
                    suggest(&name.value, "buckets", known.map(|one| &*one.name.value)),
                );
            }
        }
        let titles = self.0.iter();
        titles
            .map(|(name, titles)| (name.value.clone(), titles.clone()))
            .collect()
    }
}

/// Where titles are missed, and of what.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// `plan "basic"`.
    what: String,
    place: Place,
    titles: Titles,
}

impl Named {
    pub(super) fn new(kind: &str, name: &At<String>, titles: &Titles) -> Self {
        Self {
            what: format!("{kind} {}", quote(&name.value)),
            place: name.place.clone(),
            titles: titles.clone(),
        }
    }
}

impl Policy {
    /// What has no title in some of the languages, and is told by its name: a warning for each, sorted by place.
    #[must_use]
    pub fn untitled(&self, languages: &[Language]) -> Vec<Diagnostic> {
        let mut out = Diagnostics::default();
        for Named {
            what,
            place,
            titles,
        } in &self.named
        {
            let missing: Vec<Language> = languages
                .iter()
                .copied()
                .filter(|language| titles.get(*language).is_none())
                .collect();
            if missing.is_empty() {
                continue;
            }
            let names: Vec<_> = missing.iter().map(|language| language.name()).collect();
            let keys: Vec<_> = missing
                .iter()
                .map(|language| format!("title.{language} = \"...\""))
                .collect();
            out.warn(
                place.clone(),
                "no-title",
                format!(
                    "{what} has no title in {}: people read its name",
                    names.join(", ")
                ),
                format!("add {}", keys.join(", ")),
            );
        }
        out.sorted().iter().cloned().collect()
    }

    /// What people are told a bucket is called.
    #[must_use]
    pub fn bucket_titles(&self, bucket: &str) -> Titles {
        self.bucket_titles.get(bucket).cloned().unwrap_or_default()
    }
}
