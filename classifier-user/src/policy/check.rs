//! What a policy means: names resolved, classes, sets and plans checked against each other. Only
//! here a [`Policy`] comes into being, and only if nothing was found wrong.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::model::{Class, Policy};
use super::names::{check_name, suggest};
use super::plans::check_plans;
use super::read::{RawClass, RawPolicy};
use super::section::At;
use super::sets::check_sets;
use super::source::SourceFile;
use super::version::Version;
use crate::diagnostic::{Diagnostics, quote};

/// Most service classes of a policy.
pub const MAX_CLASSES: usize = 64;

/// Checks what was read from `source`, the policy file in `dir`; `None` after an error.
pub(super) fn check(
    raw: &RawPolicy,
    source: &SourceFile,
    dir: &Path,
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
    let sets = check_sets(&raw.sets, dir, &classes, &mut version, out);
    let plans = check_plans(&raw.plans, &classes, out);
    if out.errors() > 0 {
        return None;
    }
    let mut files = vec![Arc::clone(source.path())];
    files.extend(sets.files);
    Some(Policy {
        name: raw.name.as_ref()?.value.clone(),
        basis: raw.basis.clone(),
        default_class: default_class?,
        classes,
        sets: sets.sets,
        plans,
        version: version.finish(),
        files,
    })
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
    let mut groups: HashMap<u32, &RawClass> = HashMap::new();
    for class in listed {
        check_name("class", &class.name, out);
        let Some(group) = &class.rating_group else {
            continue;
        };
        match groups.get(&group.value) {
            Some(first) => out.warn(
                group.place.clone(),
                "shared-rating-group",
                format!(
                    "class {} has the rating group {} of class {} at {}",
                    quote(&class.name.value),
                    group.value,
                    quote(&first.name.value),
                    first.name.place
                ),
                "give each class a rating group of its own, or billing cannot tell the two apart",
            ),
            None => {
                groups.insert(group.value, class);
            }
        }
    }
    let mut classes: Vec<Class> = listed
        .iter()
        .map(|class| Class {
            name: class.name.value.clone(),
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
