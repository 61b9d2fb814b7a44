//! How a set's list is made, where the policy says so: `[sets.import]`. A check reads and checks it, and imports
//! nothing; `zerorate import --update` does.

use std::path::{Path, PathBuf};

use super::model::Place;
use super::read::RawSet;
use super::section::{At, Section};
use crate::diagnostic::{Diagnostics, quote};
use crate::import::{Format, KEEP_DAYS, KEYS, Request};

/// A set whose list is made by an import.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The set's name.
    pub set: String,
    /// Its list file, relative to the policy's directory.
    pub file: PathBuf,
    /// How it is made.
    pub request: Request,
    /// Where that stands.
    pub place: Place,
}

/// `[sets.import]` as it is written.
pub(super) struct RawImport {
    pub(super) place: Place,
    /// `None` if something in it was reported.
    pub(super) request: Option<Request>,
}

/// Reads the table `import` of a set, if it has one.
pub(super) fn read_import(set: &mut Section<'_>, title: &str) -> Option<RawImport> {
    let title = format!("{title}: import");
    let errors_before = set.out().errors();
    let (mut table, place) = set.table(
        "import",
        title,
        "such as [sets.import] with format = \"text\"",
    )?;
    let format = table.required_text("format", "delegated").and_then(|name| {
        let format = Format::from_name(&name.value);
        format
            .map_err(|help| {
                let message = format!("{} is no format of an import", quote(&name.value));
                table
                    .out()
                    .error(name.place.clone(), "unknown-format", message, help);
            })
            .ok()
    });
    if !table.has("from") {
        table.missing("from", "add from = [\"delegated-ripencc-extended-latest\"]");
    }
    let from = table.texts_at("from", "[\"delegated-ripencc-extended-latest\"]");
    let mut request = Request::new(format.unwrap_or(Format::Text), Vec::new());
    request.allow_incomplete = table.flag("allow_incomplete").unwrap_or(false);
    request.allow_empty = table.flag("allow_empty").unwrap_or(false);
    if let Some(days) = table.u16("keep_days", KEEP_DAYS) {
        if format.is_some_and(|format| format != Format::Names) {
            let message = "keep_days is of the format names";
            let help = "remove it: other lists are kept as they are published";
            table
                .out()
                .error(days.place, "no-such-choice", message, help);
        }
        request.keep_days = days.value;
    }
    if let Some(from) = from {
        read_sources(from, &mut request, table.out());
    }
    for key in KEYS {
        let values = table.texts_at(key.name(), &format!("[{:?}]", key.example()));
        let Some(At {
            value: values,
            place,
        }) = values
        else {
            continue;
        };
        if let Some(format) = format
            && !format.keys().contains(&key)
        {
            let keys: Vec<&str> = format.keys().iter().map(|key| key.name()).collect();
            let help = match keys.is_empty() {
                true => "remove it: entries of this format cannot be chosen".to_owned(),
                false => format!(
                    "entries of this format can be chosen by {}",
                    keys.join(", ")
                ),
            };
            let (format, key) = (format.name(), key.name());
            let message = format!("entries of the format {format} have no {key}");
            table.out().error(place, "no-such-choice", message, help);
            continue;
        }
        let mut normal = Vec::new();
        for value in values {
            match key.normal(&value.value) {
                Ok(value) => normal.push(value),
                Err(error) => {
                    let (message, help) = (error.to_string(), error.help());
                    table.out().error(value.place, "bad-choice", message, help);
                }
            }
        }
        if normal.is_empty() {
            let message = format!("{} has no value, so nothing would be chosen", key.name());
            let help = "remove it, or write what is to be chosen";
            table.out().error(place, "bad-choice", message, help);
        } else {
            request.choices.insert(key, normal);
        }
    }
    table.finish();
    let request = (set.out().errors() == errors_before).then_some(request);
    Some(RawImport { place, request })
}

fn read_sources(from: At<Vec<At<String>>>, request: &mut Request, out: &mut Diagnostics) {
    if from.value.is_empty() {
        let message = "from names no source";
        out.error(
            from.place,
            "no-source",
            message,
            "name the file the list is made from",
        );
    }
    for source in from.value {
        if matches!(source.value.as_str(), "" | "-") {
            let message = format!("{} is no file name", quote(&source.value));
            let help = "name a file, relative to policy.toml or with its whole path";
            out.error(source.place, "no-source", message, help);
        } else {
            request.sources.push(source.value);
        }
    }
}

/// Reports sets that say how their list is made and name no list, or one another set names.
pub(super) fn check_imports(sets: &[RawSet], out: &mut Diagnostics) {
    for (index, set) in sets.iter().enumerate() {
        let Some(import) = &set.import else { continue };
        let Some(file) = &set.file else {
            let message = "this set says how its list is made, and names no file to write it to";
            let help = "add file = \"NAME.txt\" to the set";
            out.error(import.place.clone(), "missing-key", message, help);
            continue;
        };
        let path = Path::new(&file.value);
        let other = sets.iter().enumerate().find(|(at, other)| {
            *at != index
                && other
                    .file
                    .as_ref()
                    .is_some_and(|file| Path::new(&file.value) == path)
        });
        if let Some((_, other)) = other {
            let message = format!(
                "{} is made by an import, and is the list of the set at {}, too",
                quote(&file.value),
                other.place
            );
            let help = "give each set a list of its own";
            out.error(file.place.clone(), "shared-file", message, help);
        }
    }
}

/// The sets whose lists are made by imports.
pub(super) fn declared(sets: Vec<RawSet>) -> Vec<Declared> {
    let sets = sets.into_iter().filter_map(|set| {
        let import = set.import?;
        Some(Declared {
            set: set.name?.value,
            file: set.file?.value.into(),
            request: import.request?,
            place: import.place,
        })
    });
    sets.collect()
}
