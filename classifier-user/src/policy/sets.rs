//! From the sets as written to [`PrefixSet`]s: their list files read, their prefixes compared with
//! each other.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::findings::{Findings, Kind};
use super::hosting::Hosting;
use super::imports::check_imports;
use super::list::{self, listed, read_list};
use super::model::{Class, ListFile, ListedPrefix, Place, Plan, PrefixSet, Validity};
use super::names::{check_name, suggest};
use super::nesting::Nesting;
use super::overlap;
use super::prefix::Range;
use super::read::RawSet;
use super::section::At;
use super::signed::{self, Keys};
use super::source::SourceFile;
use super::special::{describe, kinds_of};
use super::upkeep::Upkeep;
use super::version::Version;
use crate::diagnostic::{Diagnostics, quote};
use crate::progress::Progress;

/// What the sets and their files come to.
pub(super) struct CheckedSets {
    pub(super) sets: Vec<PrefixSet>,
    /// List files, each once, in the order they are named.
    pub(super) files: Vec<Arc<PathBuf>>,
}

/// What sets are checked with.
pub(super) struct Around<'a> {
    /// The policy's directory.
    pub(super) dir: &'a Path,
    pub(super) classes: &'a [Class],
    /// The class of what no set names.
    pub(super) default_class: Option<usize>,
    /// Plans without errors, or none.
    pub(super) plans: &'a [Plan],
    /// How lists are kept that do not say otherwise.
    pub(super) upkeep: Upkeep,
    pub(super) hosting: Hosting,
    /// Keys that sign lists.
    pub(super) keys: &'a Keys<'a>,
    pub(super) now: Timestamp,
    pub(super) progress: &'a Progress,
}

/// Reads and checks the sets; list files go into the `version`, too.
pub(super) fn check_sets(
    raw: &[RawSet],
    around: &Around<'_>,
    version: &mut Version,
    out: &mut Diagnostics,
) -> CheckedSets {
    let mut files: Vec<Arc<PathBuf>> = Vec::new();
    let mut names: HashMap<&str, &Place> = HashMap::new();
    let mut sets = Vec::with_capacity(raw.len());
    let mut findings = Vec::with_capacity(raw.len());
    let mut checked = Vec::with_capacity(raw.len());
    let mut widest = Vec::with_capacity(raw.len());
    let work = Work::plan(raw, around);
    for set in raw {
        check_set_name(set, &mut names, out);
        let before = out.errors();
        let mut prefixes = inline(set, out);
        let source = set
            .file
            .as_ref()
            .and_then(|file| open(file, around.dir, out))
            .map(|source| source.counted(around.progress));
        let mut list = None;
        if let Some(source) = &source {
            version.add(source);
            if !files.contains(source.path()) {
                files.push(Arc::clone(source.path()));
            }
            list::check_whole(source, set, out);
            let signature = signed::check_list(source, set, around.keys, around.dir, out);
            if let Some(signature) = signature.filter(|one| !files.contains(one.path())) {
                version.add(&signature);
                files.push(Arc::clone(signature.path()));
            }
            prefixes.extend(read_list(source, out));
            work.noted(source);
            list = Some(ListFile::of(source));
        }
        list::check_has_file(set, out);
        signed::check_has_file(set, out);
        let validity = check_validity(set, out);
        let complete = !set.broken && out.errors() == before;
        let Some(class) = resolve_class(set, around.classes, out) else {
            continue;
        };
        let upkeep = around.upkeep.of_set(set);
        let mut found = Findings::new(complete, upkeep.timed(set, validity));
        if complete {
            upkeep.check(set, prefixes.len(), around.now, &mut found, out);
        }
        note_prefixes(set, &prefixes, complete, &upkeep, &mut found);
        if around.default_class != Some(class) {
            note_hosting(&prefixes, &around.hosting, &mut found);
        }
        findings.push(found);
        checked.push(set);
        widest.push(upkeep.widest);
        sets.push(PrefixSet {
            name: set
                .name
                .as_ref()
                .map(|name| name.value.clone())
                .unwrap_or_default(),
            titles: set.titles.clone(),
            class,
            source: set.source.clone(),
            validity,
            prefixes,
            is_fed: set
                .import
                .as_ref()
                .is_some_and(|import| import.feed.is_some()),
            list,
            guard: upkeep.guard,
        });
    }
    check_imports(raw, out);
    let items = overlap::sorted(&sets);
    work.compared();
    overlap::check(&sets, &items, around.classes, &mut findings, out);
    work.compared();
    let nesting = Nesting {
        sets: &sets,
        classes: around.classes,
        plans: around.plans,
        places: &checked.iter().map(|set| &set.place).collect::<Vec<_>>(),
        widest: &widest,
    };
    nesting.check(&items, &mut findings);
    work.compared();
    for ((found, set), raw) in findings.into_iter().zip(&sets).zip(checked) {
        found.report(&set.name, &raw.expect, out);
    }
    CheckedSets { sets, files }
}

/// How long the lists are in all, before any is read: once for reading them, and once for holding their prefixes against each
/// other, in three steps that take about as long as looking at each by itself.
struct Work<'a> {
    progress: &'a Progress,
    bytes: u64,
}

impl<'a> Work<'a> {
    fn plan(raw: &[RawSet], around: &Around<'a>) -> Self {
        let files = raw.iter().filter_map(|set| set.file.as_ref());
        let sizes = files.filter_map(|file| fs::metadata(around.dir.join(&file.value)).ok());
        let bytes = sizes.map(|metadata| metadata.len()).sum();
        around.progress.plan(2 * bytes);
        Work {
            progress: around.progress,
            bytes,
        }
    }

    /// The prefixes of a list were looked at.
    fn noted(&self, list: &SourceFile) {
        self.progress.advance(list.bytes().len() as u64 / 4);
    }

    /// One of the three steps is done.
    fn compared(&self) {
        self.progress.advance(self.bytes / 4);
    }
}

fn note_prefixes(
    set: &RawSet,
    prefixes: &[ListedPrefix],
    complete: bool,
    upkeep: &Upkeep,
    found: &mut Findings,
) {
    if prefixes.is_empty() && complete {
        found.note(Kind::Empty, &set.place, || {
            "there is no prefix in it".to_owned()
        });
    }
    for prefix in prefixes {
        for (kind, within) in kinds_of(&prefix.net, upkeep.widest) {
            found.note(kind, &prefix.place, || describe(&prefix.net, kind, within));
        }
    }
}

fn note_hosting(prefixes: &[ListedPrefix], hosting: &Hosting, found: &mut Findings) {
    for prefix in prefixes {
        if let Some(whose) = hosting.meets(&Range::of(&prefix.net)) {
            found.note(Kind::Hosting, &prefix.place, || {
                let whose = match whose {
                    "" => String::new(),
                    whose => format!(", of {whose}"),
                };
                format!(
                    "{} meets address space that many services share{whose}",
                    prefix.net
                )
            });
        }
    }
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

/// Opens a list file.
fn open(file: &At<String>, dir: &Path, out: &mut Diagnostics) -> Option<SourceFile> {
    SourceFile::read(&inside(file, dir, out)?)
        .map_err(|error| {
            let shown = format!("the list file {}", quote(&file.value));
            error.report(&shown, file.place.clone(), out);
        })
        .ok()
}

/// The path of a list file. It lies inside the policy's directory, so that a policy can be copied,
/// compared and versioned as a whole; a link inside the directory may lead elsewhere.
pub(super) fn inside(file: &At<String>, dir: &Path, out: &mut Diagnostics) -> Option<PathBuf> {
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
    Some(dir.join(name))
}
