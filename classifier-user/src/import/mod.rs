//! Prefix lists made from what others publish: registries, routing tables, providers, routers.
//!
//! A [`Request`] says what is to be imported. [`import`] reads the sources, each in its format (`formats/`), and keeps
//! exactly the address space they have ([`Addresses`]); [`List`] writes it as a policy's list, with where it came from.
//! [`update`] does so for the sets of a policy that say how their list is made.

pub mod fetch;
mod formats;
mod gathered;
mod input;
mod list;
mod names;
pub mod request;
mod space;
pub mod update;

use std::path::Path;

use ipnet::IpNet;
use jiff::Timestamp;

pub use input::MAX_BYTES;
pub(crate) use list::replace;
pub use list::{List, Provenance, Written};
pub use names::{Learned, LearnedList};
pub use request::{FORMATS, Format, InvalidChoice, KEEP_DAYS, KEYS, Key, Request};
pub use space::Addresses;

use crate::diagnostic::Diagnostics;
use crate::progress::Progress;
use gathered::Gathered;
use input::Input;

/// What was imported.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The list.
    pub list: List,
    /// What whoever asked should know, a line each.
    pub notes: Vec<String>,
}

/// Imports what `request` asks for; relative sources are below `base`. `old` is the list that is to be replaced: of one
/// that was learned from names what is not too old is kept.
///
/// # Errors
/// Everything that is wrong with the sources, each with its place; a list that would be empty.
pub fn import(request: &Request, base: &Path, old: Option<&Path>) -> Result<Imported, Diagnostics> {
    import_counted(request, base, old, &Progress::default())
}

/// The same, counted for `progress`.
///
/// # Errors
/// As [`import`].
pub fn import_counted(
    request: &Request,
    base: &Path,
    old: Option<&Path>,
    progress: &Progress,
) -> Result<Imported, Diagnostics> {
    let mut out = Diagnostics::default();
    let mut inputs = Vec::new();
    for source in &request.sources {
        let input = Input::read(source, base, request, &mut out);
        inputs.extend(input.map(|input| input.counted(progress)));
    }
    of_inputs(request, inputs, old, progress, out)
}

/// The same of one source whose bytes are there already, since it was fetched.
///
/// # Errors
/// As [`import`].
pub fn import_fetched(
    request: &Request,
    base: &Path,
    old: Option<&Path>,
    bytes: Vec<u8>,
) -> Result<Imported, Diagnostics> {
    let mut out = Diagnostics::default();
    let source = request.sources.first().map_or("", String::as_str);
    let input = Input::fetched(source, base, bytes, request, &mut out);
    let inputs = input.into_iter().collect();
    of_inputs(request, inputs, old, &Progress::default(), out)
}

fn of_inputs(
    request: &Request,
    inputs: Vec<Input>,
    old: Option<&Path>,
    progress: &Progress,
    mut out: Diagnostics,
) -> Result<Imported, Diagnostics> {
    let (space, learned, notes) = if request.format == Format::Names {
        let now = Timestamp::now();
        let (learned, notes) = names::learn(&inputs, request, old, now, progress, &mut out);
        let hosts: Vec<IpNet> = learned
            .keys()
            .map(|address| IpNet::from(*address))
            .collect();
        (Addresses::of(&hosts), Some(learned), notes)
    } else {
        let mut gathered = Gathered::new(request);
        for input in &inputs {
            formats::read(input, request, &mut gathered, &mut out);
        }
        let (ranges, notes) = gathered.finish();
        (Addresses::of_ranges(ranges), None, notes)
    };
    if space.is_empty()
        && !request.allow_empty
        && out.errors() == 0
        && let Some(first) = inputs.first()
    {
        let message = match notes.is_empty() {
            true => "the list would be empty".to_owned(),
            false => format!("the list would be empty: {}", notes.join("; ")),
        };
        let help =
            "add --allow-empty (allow_empty = true) if a list without a prefix is what is meant";
        out.error(first.start(), "empty", message, help);
    }
    let sources = request.sources.iter().zip(inputs);
    let sources = sources.map(|(source, input)| Provenance {
        source: source.clone(),
        sha256: input.sha256,
    });
    let list = List {
        command: request.to_string(),
        sources: sources.collect(),
        space,
        learned,
    };
    out.finish().map(|_| Imported { list, notes })
}
