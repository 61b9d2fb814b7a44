//! `zerorate import`: prefix lists from what others publish, for one file or for the sets of a policy that say how
//! their lists are made.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde_json::json;

use super::explain::Format as Output;
use super::progress::Shown;
use crate::import::update::{self, Refreshed, Refused};
use crate::import::{self, Addresses, Format, Imported, Key, List, Request, Written};
use crate::policy;
use crate::trust::Key as Signer;

/// Most prefixes that are shown of what comes and of what goes.
const SHOWN: usize = 20;

/// Make a prefix list of what others publish
///
/// Writes exactly the address space of the sources, as few prefixes as possible, sorted, behind a head that says where
/// it came from. Sources may be compressed with gzip or bzip2. If anything is wrong with one, nothing is written.
///
/// With --update the sets of a policy that say how their lists are made ([sets.import]) are made again: what would change
/// is shown, and written after a yes. Exits with 1 if it was not written.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the sources are written in
    #[arg(value_enum, value_name = "FORMAT", required_unless_present = "update")]
    format: Option<Format>,
    /// Files; - is standard input
    #[arg(required_unless_present = "update", value_name = "SOURCE")]
    sources: Vec<String>,
    /// List file to write, if its content changes [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only this country (delegated, table); may be repeated, like all of these
    #[arg(long, value_name = "CC")]
    country: Vec<String>,
    /// Only this holder, by the registry's opaque identifier (delegated)
    #[arg(long, value_name = "ID")]
    holder: Vec<String>,
    /// Only what this AS originates (table, mrt)
    #[arg(long, value_name = "ASN")]
    asn: Vec<String>,
    /// Only what this neighbour told, by address or AS number (mrt)
    #[arg(long, value_name = "PEER")]
    peer: Vec<String>,
    /// Only this service of the provider (services)
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,
    /// Only this region of the provider (services)
    #[arg(long, value_name = "NAME")]
    region: Vec<String>,
    /// Only this address list of the router (rsc)
    #[arg(long, value_name = "NAME")]
    list: Vec<String>,
    /// Take a delegation file with fewer records than it says it has
    #[arg(long)]
    allow_incomplete: bool,
    /// Take a list without a prefix
    #[arg(long)]
    allow_empty: bool,
    /// How many days an address is kept after its name was last resolved to it (names) [default: 7]
    #[arg(long, value_name = "DAYS")]
    keep_days: Option<u16>,
    /// Take nothing but what this public key of minisign signed, into SOURCE.minisig beside each source
    #[arg(long, value_name = "KEY", value_parser = Signer::parse)]
    signed_by: Option<Signer>,
    /// Authority of the certificate of a source on the web, a PEM file [default: those the system trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Policy directory: make the lists again that its sets say how to make
    #[arg(long, value_name = "POLICY_DIR", conflicts_with_all = [
        "format", "sources", "out", "country", "holder", "asn", "peer", "service", "region", "list", "allow_incomplete",
        "allow_empty", "keep_days", "signed_by", "ca",
    ])]
    update: Option<PathBuf>,
    /// Only this set; may be repeated
    #[arg(long, value_name = "NAME", requires = "update")]
    set: Vec<String>,
    /// Write without asking
    #[arg(long, requires = "update", conflicts_with = "dry_run")]
    yes: bool,
    /// Show what would change, and write nothing
    #[arg(long, requires = "update")]
    dry_run: bool,
    /// What to print of an update
    #[arg(long = "format", value_name = "FORMAT", value_enum, requires = "update", default_value_t = Output::Table)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Arguments that do not go together, and what the system refuses. What is wrong with the sources is printed and told
/// by the exit code.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.update {
        Some(dir) => run_update(args, dir),
        None => run_once(args),
    }
}

fn run_once(args: &Args) -> Result<ExitCode> {
    let request = request(args)?;
    let shown = Shown::start("importing", true);
    let old = args.out.as_deref();
    let imported = import::import_counted(&request, Path::new(""), old, &shown.progress);
    shown.end();
    let imported = match imported {
        Ok(imported) => imported,
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            return Ok(ExitCode::FAILURE);
        }
    };
    tell(&imported.notes, None);
    let Imported { list, .. } = imported;
    let now = Timestamp::now();
    let Some(path) = &args.out else {
        std::io::stdout().write_all(list.text(now).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    };
    let written = write(&list, path, now)?;
    eprintln!("{}: {written}, {}", path.display(), summary(&list.space));
    Ok(ExitCode::SUCCESS)
}

fn request(args: &Args) -> Result<Request> {
    let format = args.format.context("name a format")?;
    let mut request = Request::new(format, args.sources.clone());
    let choices = [
        (Key::Country, &args.country),
        (Key::Holder, &args.holder),
        (Key::Asn, &args.asn),
        (Key::Peer, &args.peer),
        (Key::Service, &args.service),
        (Key::Region, &args.region),
        (Key::List, &args.list),
    ];
    for (key, values) in choices {
        if values.is_empty() {
            continue;
        }
        if !format.keys().contains(&key) {
            let keys: Vec<String> = format
                .keys()
                .iter()
                .map(|key| format!("--{}", key.name()))
                .collect();
            let help = match keys.is_empty() {
                true => "its entries cannot be chosen".to_owned(),
                false => format!("its entries can be chosen by {}", keys.join(", ")),
            };
            bail!(
                "the format {} has no --{}: {help}",
                format.name(),
                key.name()
            );
        }
        let normal = values.iter().map(|value| {
            key.normal(value)
                .map_err(|error| anyhow::anyhow!("--{}: {error}: {}", key.name(), error.help()))
        });
        request.choices.insert(key, normal.collect::<Result<_>>()?);
    }
    request.signed_by.clone_from(&args.signed_by);
    request.limits.ca.clone_from(&args.ca);
    request.allow_incomplete = args.allow_incomplete;
    request.allow_empty = args.allow_empty;
    if let Some(days) = args.keep_days {
        if format != Format::Names {
            bail!("--keep-days is of the format names: other lists are kept as they are published");
        }
        request.keep_days = days;
    }
    if request
        .sources
        .iter()
        .filter(|source| *source == "-")
        .count()
        > 1
    {
        bail!("standard input (-) can be read once");
    }
    Ok(request)
}

fn run_update(args: &Args, dir: &Path) -> Result<ExitCode> {
    let looks = args.output == Output::Table;
    let Some(refreshed) = refresh(dir, &args.set, looks)? else {
        return Ok(ExitCode::FAILURE);
    };
    for list in &refreshed {
        match args.output {
            Output::Table => show(list),
            Output::Json => println!("{}", to_json(list)),
        }
        tell(&list.imported.notes, Some(&list.set));
    }
    let shown = Shown::start("checking", looks);
    let checked = update::check(dir, &refreshed, &shown.progress);
    shown.end();
    match checked {
        Ok(warnings) => warnings.iter().for_each(|warning| eprintln!("{warning}")),
        Err(Refused::Policy(diagnostics)) => {
            eprintln!("{diagnostics}");
            eprintln!("nothing was written: with these lists the policy would have errors");
            return Ok(ExitCode::FAILURE);
        }
        Err(refused) => return Err(refused.into()),
    }
    let changed: Vec<&Refreshed> = refreshed.iter().filter(|list| list.is_change()).collect();
    if changed.is_empty() || args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes && !ask(changed.len())? {
        eprintln!("nothing was written");
        return Ok(ExitCode::FAILURE);
    }
    for list in changed {
        let written = write(&list.imported.list, &list.path, Timestamp::now())?;
        eprintln!("{}: {written}", list.path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The lists that `sets` name, all where they name none, made again; `None` if that failed, which was printed.
fn refresh(dir: &Path, sets: &[String], looks: bool) -> Result<Option<Vec<Refreshed>>> {
    let mut declared = match policy::declared(dir) {
        Ok(declared) => declared,
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            return Ok(None);
        }
    };
    if declared.is_empty() {
        let path = dir.join("policy.toml");
        bail!(
            "no set of {} says how its list is made: add a table [sets.import] to one, with format and from",
            path.display()
        );
    }
    for name in sets {
        if !declared.iter().any(|one| one.set == *name) {
            let known = declared.iter().map(|one| one.set.as_str());
            let help = policy::suggest(name, "sets that do", known);
            bail!("no set {name:?} says how its list is made; {help}");
        }
    }
    declared.retain(|one| sets.is_empty() || sets.contains(&one.set));
    let shown = Shown::start("importing", looks);
    let made: Vec<_> = declared
        .iter()
        .map(|one| update::refresh(one, dir, &shown.progress))
        .collect();
    shown.end();
    let mut refreshed = Vec::new();
    let mut failed = 0;
    for list in made {
        match list {
            Ok(list) => refreshed.push(list),
            Err(diagnostics) => {
                eprintln!("{diagnostics}");
                failed += 1;
            }
        }
    }
    if failed > 0 {
        eprintln!(
            "nothing was written: {failed} of {} lists could not be made",
            declared.len()
        );
        return Ok(None);
    }
    Ok(Some(refreshed))
}

fn show(list: &Refreshed) {
    let (before, after) = list.sizes();
    println!("set {}: {}", list.set, list.path.display());
    if !list.is_change() {
        println!("  unchanged: {}", after);
        return;
    }
    for (sign, space) in [('-', list.removed()), ('+', list.added())] {
        let prefixes = space.prefixes();
        for prefix in prefixes.iter().take(SHOWN) {
            println!("  {sign} {prefix}");
        }
        if prefixes.len() > SHOWN {
            println!("  {sign} and {} more", prefixes.len() - SHOWN);
        }
        if !prefixes.is_empty() {
            println!("  {sign} {} in all", space.size());
        }
    }
    println!("  from {} to {}", before, after);
}

fn to_json(list: &Refreshed) -> serde_json::Value {
    let (before, after) = list.sizes();
    let size =
        |size: policy::Space| json!({"ipv4_addresses": size.v4 as u64, "ipv6_48s": size.v6_48s()});
    json!({
        "set": list.set,
        "file": list.path,
        "new": list.is_new(),
        "added": list.added().prefixes(),
        "removed": list.removed().prefixes(),
        "before": size(before),
        "after": size(after),
    })
}

fn summary(space: &Addresses) -> String {
    let prefixes = space.prefixes().len();
    format!("{prefixes} prefixes, {}", space.size())
}

fn tell(notes: &[String], set: Option<&str>) {
    for note in notes {
        match set {
            Some(set) => eprintln!("note: set {set}: {note}"),
            None => eprintln!("note: {note}"),
        }
    }
}

fn write(list: &List, path: &Path, now: Timestamp) -> Result<&'static str> {
    let written = list
        .write(path, now)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(match written {
        Written::Changed => "written",
        Written::Unchanged => "unchanged",
    })
}

/// Asks whoever sits there; who does not is asked to say it beforehand.
fn ask(files: usize) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        eprintln!("nobody can be asked here: add --yes to write, or --dry-run to look");
        return Ok(false);
    }
    let what = if files == 1 {
        "this file"
    } else {
        "these files"
    };
    eprint!("Write {what}? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
