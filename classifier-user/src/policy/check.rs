//! What a policy means: names resolved, classes, sets and plans checked against each other. Only
//! here a [`Policy`] comes into being, and only if nothing was found wrong.

use std::path::Path;
use std::sync::Arc;

use super::Terms;
use super::expect::PlanPlace;
use super::families::{self, Uses};
use super::hosting::Hosting;
use super::model::{Class, Policy};
use super::names::{check_name, suggest};
use super::plans::check_plans;
use super::read::{RawClass, RawPolicy};
use super::section::At;
use super::sets::{Around, check_sets, inside};
use super::signed::Keys;
use super::source::SourceFile;
use super::titles::Named;
use super::upkeep::Upkeep;
use super::version::Version;
use crate::diagnostic::{Diagnostics, quote};
use crate::trust::{MANIFEST, SIGNATURE};

/// Most service classes of a policy.
pub const MAX_CLASSES: usize = 64;

/// Checks what was read from `source`, the policy file in `dir`; `None` after an error.
pub(super) fn check(
    raw: &RawPolicy,
    source: &SourceFile,
    dir: &Path,
    terms: &Terms,
    out: &mut Diagnostics,
) -> Option<Policy> {
    if let Some(name) = &raw.name {
        check_name("policy", name, out);
    }
    let classes = check_classes(raw.classes.as_deref().unwrap_or_default(), out);
    let default_class = match &raw.classes {
        Some(_) => resolve_default(raw.default_class.as_ref(), &classes, out),
        None => None,
    };
    let mut version = Version::new();
    version.add(source);
    let plans = check_plans(&raw.plans, &classes, terms.now, out);
    let bucket_titles = raw.bucket_titles.check(&raw.plans, out);
    let sound = out.errors() == 0;
    let upkeep = Upkeep::of_policy(&raw.upkeep);
    let guard = upkeep.guard;
    let keys = Keys::check(&raw.keys, out);
    let around = Around {
        dir,
        classes: &classes,
        default_class,
        // After an error they are good for their names only.
        plans: if sound { &plans } else { &[] },
        upkeep,
        hosting: read_hosting(raw, source, dir, terms, out),
        keys: &keys,
        now: terms.now,
        progress: &terms.progress,
    };
    let sets = check_sets(&raw.sets, &around, &mut version, out);
    let uses = default_class.filter(|_| out.errors() == 0);
    let uses = uses.map(|default_class| Uses {
        names: classes.iter().map(|class| class.name.as_str()).collect(),
        default_class,
        sets: &sets.sets,
        plans: &plans,
    });
    families::check(
        raw.classes.as_deref().unwrap_or_default(),
        uses.as_ref(),
        out,
    );
    if out.errors() > 0 {
        return None;
    }
    let mut files = vec![Arc::clone(source.path())];
    files.extend(sets.files);
    let hosting = raw
        .hosting
        .iter()
        .map(|named| Arc::new(dir.join(&named.value)));
    // What somebody signed goes where the files go.
    let signed = [MANIFEST, SIGNATURE].map(|name| Arc::new(dir.join(name)));
    let signed = signed.into_iter().filter(|path| path.is_file());
    let beside = hosting.chain(signed);
    let beside = beside.filter(|path| !files.contains(path)).collect();
    Some(Policy {
        name: raw.name.as_ref()?.value.clone(),
        titles: raw.titles.clone(),
        basis: raw.basis.clone(),
        default_class: default_class?,
        classes,
        sets: sets.sets,
        plans,
        bucket_titles,
        named: named(raw),
        plan_places: raw.plans.iter().map(PlanPlace::of).collect(),
        guard,
        version: version.finish(),
        files,
        beside,
    })
}

/// Everything that people are told of by a title.
fn named(raw: &RawPolicy) -> Vec<Named> {
    let policy = raw
        .name
        .iter()
        .map(|name| Named::new("policy", name, &raw.titles));
    let classes = raw.classes.iter().flatten();
    let classes = classes.map(|class| Named::new("class", &class.name, &class.titles));
    let sets = raw.sets.iter().filter_map(|set| {
        let name = set.name.as_ref()?;
        Some(Named::new("set", name, &set.titles))
    });
    let plans = raw.plans.iter();
    let plans = plans.map(|plan| Named::new("plan", &plan.name, &plan.titles));
    let named = policy.chain(classes).chain(sets).chain(plans);
    named.chain(raw.bucket_titles.named(&raw.plans)).collect()
}

/// The list of shared hosting: the one that was asked for, or else the one the policy names.
fn read_hosting(
    raw: &RawPolicy,
    source: &SourceFile,
    dir: &Path,
    terms: &Terms,
    out: &mut Diagnostics,
) -> Hosting {
    match (&terms.hosting, &raw.hosting) {
        (Some(path), _) => Hosting::read(path, source.at(1, 1), out),
        (None, Some(named)) => match inside(named, dir, out) {
            Some(path) => Hosting::read(&path, named.place.clone(), out),
            None => Hosting::default(),
        },
        (None, None) => Hosting::default(),
    }
}

/// The classes, sorted by name. One whose rating group was refused is kept, so that its name is
/// known.
fn check_classes(listed: &[RawClass], out: &mut Diagnostics) -> Vec<Class> {
    if let Some(first_too_many) = listed.get(MAX_CLASSES) {
        out.error(
            first_too_many.name.place.clone(),
            "too-many-classes",
            format!(
                "the policy has {} classes; {MAX_CLASSES} are possible",
                listed.len()
            ),
            "join classes that are charged alike",
        );
    }
    for class in listed {
        check_name("class", &class.name, out);
    }
    let mut classes: Vec<Class> = listed
        .iter()
        .map(|class| Class {
            name: class.name.value.clone(),
            titles: class.titles.clone(),
            rating_group: class.rating_group.as_ref().map_or(0, |group| group.value),
            essential: class.essential,
        })
        .collect();
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    classes
}

fn resolve_default(
    name: Option<&At<String>>,
    classes: &[Class],
    out: &mut Diagnostics,
) -> Option<usize> {
    let name = name?;
    let index = classes.iter().position(|class| class.name == name.value);
    if index.is_none() {
        out.error(
            name.place.clone(),
            "unknown-class",
            format!(
                "default_class names {}, and there is no such class",
                quote(&name.value)
            ),
            suggest(
                &name.value,
                "classes",
                classes.iter().map(|class| class.name.as_str()),
            ),
        );
    }
    index
}
