//! From the sets as written to [`PrefixSet`]s: their list files read, their prefixes compared with
//! each other.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::imports::check_imports;
use super::list::{listed, read_list};
use super::model::{Class, ListedPrefix, Place, PrefixSet, Validity};
use super::names::{check_name, suggest};
use super::overlap;
use super::read::RawSet;
use super::section::At;
use super::source::SourceFile;
use super::special::{Findings, Kind, describe, kinds_of};
use super::version::Version;
use crate::diagnostic::{Diagnostics, quote};

/// What the sets and their files come to.
pub(super) struct CheckedSets {
    pub(super) sets: Vec<PrefixSet>,
    /// List files, each once, in the order they are named.
    pub(super) files: Vec<Arc<PathBuf>>,
}

/// Reads and checks the sets of the policy in `dir`; list files go into the `version`, too.
pub(super) fn check_sets(
    raw: &[RawSet],
    dir: &Path,
    classes: &[Class],
    version: &mut Version,
    out: &mut Diagnostics,
) -> CheckedSets {
    let mut files: Vec<Arc<PathBuf>> = Vec::new();
    let mut names: HashMap<&str, &Place> = HashMap::new();
    let mut sets = Vec::with_capacity(raw.len());
    let mut findings = Vec::with_capacity(raw.len());
    let mut checked = Vec::with_capacity(raw.len());
    for set in raw {
        check_set_name(set, &mut names, out);
        let before = out.errors();
        let mut prefixes = inline(set, out);
        if let Some(source) = set.file.as_ref().and_then(|file| open(file, dir, out)) {
            version.add(&source);
            if !files.contains(source.path()) {
                files.push(Arc::clone(source.path()));
            }
            prefixes.extend(read_list(&source, out));
        }
        let complete = !set.broken && out.errors() == before;
        let validity = check_validity(set, out);
        let Some(class) = resolve_class(set, classes, out) else {
            continue;
        };
        let mut found = Findings::new(complete);
        if prefixes.is_empty() && complete {
            found.note(Kind::Empty, &set.place, || {
                "there is no prefix in it".to_owned()
            });
        }
        for prefix in &prefixes {
            for (kind, within) in kinds_of(&prefix.net) {
                found.note(kind, &prefix.place, || describe(&prefix.net, kind, within));
            }
        }
        findings.push(found);
        checked.push(set);
        sets.push(PrefixSet {
            name: set
                .name
                .as_ref()
                .map(|name| name.value.clone())
                .unwrap_or_default(),
            class,
            source: set.source.clone(),
            validity,
            prefixes,
        });
    }
    check_imports(raw, out);
    overlap::check(&sets, classes, &mut findings, out);
    for ((found, set), raw) in findings.into_iter().zip(&sets).zip(checked) {
        found.report(&set.name, &raw.expect, out);
    }
    CheckedSets { sets, files }
}

fn check_set_name<'a>(
    set: &'a RawSet,
    names: &mut HashMap<&'a str, &'a Place>,
    out: &mut Diagnostics,
) {
    let Some(name) = &set.name else { return };
    check_name("set", name, out);
    match names.get(name.value.as_str()) {
        Some(first) => out.error(
            name.place.clone(),
            "duplicate-set",
            format!("there is another set {} at {first}", quote(&name.value)),
            "give each set a name of its own; one set may have both prefixes and a file",
        ),
        None => {
            names.insert(&name.value, &name.place);
        }
    }
}

fn inline(set: &RawSet, out: &mut Diagnostics) -> Vec<ListedPrefix> {
    set.prefixes
        .iter()
        .filter_map(|text| listed(text.value.trim(), text.place.clone(), out))
        .collect()
}

fn resolve_class(set: &RawSet, classes: &[Class], out: &mut Diagnostics) -> Option<usize> {
    let class = set.class.as_ref()?;
    let index = classes.iter().position(|known| known.name == class.value);
    if index.is_none() {
        out.error(
            class.place.clone(),
            "unknown-class",
            format!("there is no class {}", quote(&class.value)),
            suggest(
                &class.value,
                "classes",
                classes.iter().map(|known| known.name.as_str()),
            ),
        );
    }
    index
}

fn check_validity(set: &RawSet, out: &mut Diagnostics) -> Validity {
    let validity = Validity {
        from: set.valid_from.as_ref().map(|at| at.value),
        until: set.valid_until.as_ref().map(|at| at.value),
    };
    if let (Some(from), Some(until)) = (&set.valid_from, &set.valid_until)
        && until.value <= from.value
    {
        out.error(
            until.place.clone(),
            "never-valid",
            format!(
                "valid_until {} is not after valid_from {}, so the set never exists",
                until.value, from.value
            ),
            "make valid_until later: it is the first instant at which the set no longer exists",
        );
    }
    validity
}

/// Whether `file` names something inside the policy's directory.
pub(super) fn is_inside(file: &Path) -> bool {
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    !file.as_os_str().is_empty() && file.components().all(inside)
}

/// Opens a list file. It lies inside the policy's directory, so that a policy can be copied,
/// compared and versioned as a whole; a link inside the directory may lead elsewhere.
fn open(file: &At<String>, dir: &Path, out: &mut Diagnostics) -> Option<SourceFile> {
    let name = Path::new(&file.value);
    if !is_inside(name) {
        out.error(
            file.place.clone(),
            "outside",
            format!(
                "the list file {} is not inside the policy's directory",
                quote(&file.value)
            ),
            "name it relative to policy.toml and without ..; it may be a link to elsewhere",
        );
        return None;
    }
    SourceFile::read(&dir.join(name))
        .map_err(|error| {
            let shown = format!("the list file {}", quote(&file.value));
            error.report(&shown, file.place.clone(), out);
        })
        .ok()
}
