//! `zerorate diff`: what one policy makes other than another one, what becomes of subscribers' buckets, and what it weighs in
//! traffic.

mod flows;
mod records;
mod usage;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde_json::{Value, json};

use self::usage::Weighed;
use super::explain::{Format, parse_time};
use super::joined;
use super::progress::Shown;
use crate::diagnostic::Diagnostics;
use crate::policy::{
    self, Becomes, Breach, Changes, Checked, Edit, Edits, Effect, Policy, SetEdits, Space, Terms,
    Weights, What,
};
use crate::progress::Progress;
use crate::subscribers::{self, Loaded};

/// Compare two policies
///
/// Says which prefixes change, by class and by set; how much address space changes class, and how much becomes free or
/// is no longer free under each plan; which terms of classes and plans change; what becomes of the buckets subscribers
/// have; and what a reload would refuse. Prints nothing where nothing changes.
///
/// Exits with 0 if they could be compared, whatever changes; with 1 if one is wrong, or if a reload from the one to the other would be
/// refused by its guards.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the policy as it is
    old_dir: PathBuf,
    /// Directory of the policy as it is to be
    new_dir: PathBuf,
    /// Subscriber file (CSV): says how many subscribers each change of a bucket is about
    #[arg(long, value_name = "FILE")]
    subscribers: Option<PathBuf>,
    /// The time at which classes and address space are compared, as in 2024-05-01T00:00:00+05:00, or 2024-05-01 for
    /// its first instant in UTC [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
    /// Weigh the change with what was used: a summary of flows, CSV with the columns `subscriber`, `remote` and `bytes`
    /// (needs --subscribers, for plans), or a ledger. Says how many bytes a day change price, and of how many subscribers
    #[arg(long, value_name = "FILE")]
    usage: Option<PathBuf>,
    /// Days of traffic: of a ledger, so many before --at [default: 7]; those a summary of flows is about, where it has no
    /// column `day` [default: 1]
    #[arg(long, value_name = "N", requires = "usage", value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: Option<u32>,
    /// Also print every prefix that a set lists otherwise: `+ SET PREFIX`, `- SET PREFIX`
    #[arg(long)]
    prefixes: bool,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// A policy that was read, or what is wrong with it.
type Read = Result<Checked, Diagnostics>;

/// Everything there is to say.
struct Difference {
    changes: Changes,
    edits: Edits,
    weights: Weights,
    effects: Vec<Effect>,
    breaches: Vec<Breach>,
    weighed: Option<Weighed>,
}

/// Runs the command.
///
/// # Errors
/// When standard output is gone. What is wrong with the files is reported like `check` does, by exit code 1.
pub fn run(args: &Args) -> Result<ExitCode> {
    let shown = Shown::start("comparing", args.format == Format::Table);
    let at = args.at.unwrap_or_else(Timestamp::now);
    let (old, new) = match load(args, &shown.progress) {
        (Ok(old), Ok(new)) => (old.policy, new.policy),
        (old, new) => {
            shown.end();
            for diagnostics in [old, new].into_iter().filter_map(Result::err) {
                eprintln!("{diagnostics}");
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let compared = thread::scope(|scope| {
        let weights = scope.spawn(|| Weights::between(&old, &new, at));
        let breaches = scope.spawn(|| policy::breaches(&old, &new, at));
        // As they are, not as they are to be: who is on a plan that goes is wrong with the new policy.
        let loaded = args.subscribers.as_ref();
        let loaded = loaded.map(|path| {
            let progress = &shown.progress;
            let read = || subscribers::load_at(path, &new, at, progress);
            scope.spawn(read)
        });
        let (changes, edits) = (Changes::between(&old, &new, at), Edits::between(&old, &new));
        let loaded = loaded.map(joined).transpose()?;
        let on = loaded.as_ref().map(|loaded| loaded.by_plan(&new, at));
        let difference = Difference {
            changes,
            edits,
            effects: policy::effects(&old, &new, on.as_ref()),
            weights: joined(weights),
            breaches: joined(breaches),
            weighed: None,
        };
        Ok((difference, loaded))
    });
    let (mut difference, loaded) = match compared {
        Ok(compared) => compared,
        Err(diagnostics) => {
            let diagnostics: Diagnostics = diagnostics;
            shown.end();
            eprintln!("{diagnostics}");
            return Ok(ExitCode::FAILURE);
        }
    };
    difference.weighed = weigh(args, (&old, &new), loaded.as_ref(), at)?;
    shown.end();
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Table => difference.print(args.prefixes, &mut out)?,
        Format::Json => difference.print_json(args.prefixes, &mut out)?,
    }
    out.flush()?;
    Ok(match difference.breaches.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The change in traffic, if what was used is given.
fn weigh(
    args: &Args,
    both: (&Policy, &Policy),
    loaded: Option<&Loaded>,
    at: Timestamp,
) -> Result<Option<Weighed>> {
    let Some(path) = &args.usage else {
        return Ok(None);
    };
    if records::is_ledger(path)? {
        return records::weigh(path, both, at, args.days).map(Some);
    }
    let Some(loaded) = loaded else {
        bail!("a summary of flows needs --subscribers FILE: it says which plan everybody is on");
    };
    flows::weigh(path, both, &loaded.subscribers, at, args.days).map(Some)
}

/// Both policies, read at once.
fn load(args: &Args, progress: &Progress) -> (Read, Read) {
    let terms = Terms {
        progress: progress.clone(),
        ..Terms::now()
    };
    thread::scope(|scope| {
        let old = scope.spawn(|| policy::load_on(&args.old_dir, &terms));
        let new = policy::load_on(&args.new_dir, &terms);
        (joined(old), new)
    })
}

impl Difference {
    fn print(&self, prefixes: bool, out: &mut impl Write) -> io::Result<()> {
        for change in &self.changes.prefixes {
            writeln!(out, "{change}")?;
        }
        for set in self.edits.by_set() {
            writeln!(out, "{set}")?;
        }
        for line in self.weights.to_string().lines() {
            writeln!(out, "{line}")?;
        }
        for change in &self.changes.terms {
            writeln!(out, "{change}")?;
        }
        for effect in &self.effects {
            writeln!(out, "{effect}")?;
        }
        for breach in &self.breaches {
            writeln!(out, "a reload is refused without --force: {breach}")?;
        }
        if let Some(weighed) = &self.weighed {
            weighed.print(out)?;
        }
        for edit in self.edits.edits.iter().filter(|_| prefixes) {
            if let Some(from) = edit.from {
                writeln!(out, "- {} {}", self.edits.name(from), edit.net)?;
            }
            if let Some(to) = edit.to {
                writeln!(out, "+ {} {}", self.edits.name(to), edit.net)?;
            }
        }
        Ok(())
    }

    fn print_json(&self, prefixes: bool, out: &mut impl Write) -> io::Result<()> {
        let sets = self.edits.by_set();
        let values = by_class(&self.changes)
            .chain(sets.iter().map(set))
            .chain(spaces(&self.weights))
            .chain(plans(&self.weights))
            .chain(terms(&self.changes))
            .chain(self.effects.iter().map(effect))
            .chain(self.breaches.iter().map(breach))
            .chain(self.weighed.iter().flat_map(Weighed::rows));
        for value in values {
            writeln!(out, "{value}")?;
        }
        for one in self.edits.edits.iter().filter(|_| prefixes) {
            writeln!(out, "{}", edit(&self.edits, one))?;
        }
        Ok(())
    }
}

fn by_class(changes: &Changes) -> impl Iterator<Item = Value> {
    changes.prefixes.iter().map(|change| {
        json!({
            "kind": "prefixes",
            "from": change.from,
            "to": change.to,
            "count": change.count,
            "samples": change.samples,
        })
    })
}

fn set(set: &SetEdits) -> Value {
    json!({
        "kind": "set",
        "set": set.set,
        "added": set.added,
        "removed": set.removed,
        "moved_in": set.moved_in,
        "moved_out": set.moved_out,
        "samples": set.samples,
    })
}

fn edit(edits: &Edits, edit: &Edit) -> Value {
    let name = |set: Option<u32>| set.map(|set| edits.name(set));
    json!({
        "kind": "prefix",
        "prefix": edit.net,
        "from": name(edit.from),
        "to": name(edit.to),
    })
}

fn spaces(weights: &Weights) -> impl Iterator<Item = Value> {
    weights.classes.iter().map(|weight| {
        let mut value = json!({"kind": "space", "from": weight.from, "to": weight.to});
        add_space(&mut value, weight.space);
        value
    })
}

fn plans(weights: &Weights) -> impl Iterator<Item = Value> {
    weights.plans.iter().flat_map(|weight| {
        let parts = [
            ("free", weight.becomes_free),
            ("not-free", weight.was_free),
            ("otherwise", weight.otherwise),
        ];
        parts.into_iter().map(|(becomes, space)| {
            let mut value = json!({"kind": "plan", "plan": weight.plan, "becomes": becomes});
            add_space(&mut value, space);
            value
        })
    })
}

/// IPv6 in /48s, since programs have no numbers for its addresses.
fn add_space(value: &mut Value, space: Space) {
    value["ipv4_addresses"] = json!(space.v4 as u64);
    value["ipv4_24s"] = json!(space.v4_24s());
    value["ipv6_48s"] = json!(space.v6_48s());
}

fn terms(changes: &Changes) -> impl Iterator<Item = Value> {
    changes.terms.iter().map(|change| {
        let (what, from, to) = match &change.what {
            What::Added => ("added", None, None),
            What::Removed => ("removed", None, None),
            What::Changed { from, to } => ("changed", Some(from), Some(to)),
        };
        json!({"kind": "term", "subject": change.subject, "what": what, "from": from, "to": to})
    })
}

fn breach(breach: &Breach) -> Value {
    json!({"kind": "guard", "subject": breach.subject, "text": breach.to_string()})
}

fn effect(effect: &Effect) -> Value {
    let what = match effect.what {
        Becomes::Created(_) => "created",
        Becomes::Unused => "unused",
        Becomes::Volume { .. } => "volume",
        Becomes::Price(_) => "price",
        Becomes::Kind => "kind",
    };
    json!({
        "kind": "bucket",
        "plan": effect.plan,
        "bucket": effect.bucket,
        "what": what,
        "subscribers": effect.subscribers,
        "text": effect.to_string(),
    })
}
