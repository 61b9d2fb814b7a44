//! `zerorate check`: reads a policy, and subscribers if asked, and says what is wrong with them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use anyhow::Result;
use jiff::Timestamp;

use super::explain::parse_time;
use super::joined;
use super::progress::Shown;
use crate::diagnostic::render::Renderer;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::policy::{self, Checked, Terms};
use crate::subscribers::{self, Loaded};

/// Check a policy, and subscribers against it
///
/// Diagnostics go to standard error, each as `file:line:column: error: message`, a line of help, and the line it is about
/// with the text underlined and the code of the diagnostic under it. Exits with 0 if there is no error (warnings are none without --strict), else
/// with 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory with policy.toml and its lists
    policy_dir: PathBuf,
    /// Subscriber file (CSV: id,plan,state,addresses); also says which plans no subscriber is on
    #[arg(long, value_name = "FILE")]
    subscribers: Option<PathBuf>,
    /// Directory of the policy it is to follow: also says what becomes of subscribers' buckets, and whether a reload
    /// would be refused for how much changes (`zerorate diff` says what else changes)
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Make warnings errors
    #[arg(long)]
    strict: bool,
    /// List of address space that content networks and shared hosting use, one prefix a line and whose it is after it;
    /// goes before the one `hosting` in policy.toml names
    #[arg(long, value_name = "FILE")]
    hosting: Option<PathBuf>,
    /// The time at which lists may be stale and validities over or to come, as in 2024-05-01T00:00:00+05:00, or
    /// 2024-05-01 for its first instant in UTC [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
    /// What to print: text; or one JSON object for each diagnostic, to standard output and nothing else
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What was found, while it is told.
struct Findings {
    format: Format,
    strict: bool,
    renderer: Renderer,
    errors: usize,
    warnings: usize,
}

/// Runs the command.
///
/// # Errors
/// None of its own: what is wrong with the files is printed and told by the exit code.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut found = Findings {
        format: args.format,
        strict: args.strict,
        renderer: Renderer::for_stderr(),
        errors: 0,
        warnings: 0,
    };
    let summary = check(args, &mut found);
    if args.format == Format::Text {
        match summary {
            Some(summary) if found.errors == 0 => {
                for (name, value) in summary {
                    println!("{name:<12} {value}");
                }
                println!("{:<12} {}", "warnings", found.warnings);
            }
            _ => eprintln!("errors: {}, warnings: {}", found.errors, found.warnings),
        }
    }
    Ok(if found.errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the files say.
struct Read {
    checked: Result<Checked, Diagnostics>,
    /// Needs a policy without errors.
    subscribers: Option<Result<Loaded, Diagnostics>>,
    against: Option<Result<Checked, Diagnostics>>,
}

/// Reads everything that is to be checked, the two policies at once.
fn read(args: &Args, terms: &Terms) -> Read {
    thread::scope(|scope| {
        let against = args.against.as_ref();
        let against = against.map(|path| scope.spawn(|| policy::load_on(path, terms)));
        let checked = policy::load_on(&args.policy_dir, terms);
        let subscribers = match (&args.subscribers, &checked) {
            (Some(path), Ok(checked)) => {
                let policy = &checked.policy;
                Some(subscribers::load_at(
                    path,
                    policy,
                    terms.now,
                    &terms.progress,
                ))
            }
            _ => None,
        };
        Read {
            checked,
            subscribers,
            against: against.map(joined),
        }
    })
}

/// Tells everything that is wrong; what there is otherwise, unless the policy is of no use.
fn check(args: &Args, found: &mut Findings) -> Option<Vec<(&'static str, String)>> {
    let shown = Shown::start("checking", args.format == Format::Text);
    let terms = Terms {
        now: args.at.unwrap_or_else(Timestamp::now),
        hosting: args.hosting.clone(),
        progress: shown.progress.clone(),
    };
    let Read {
        checked,
        subscribers,
        against,
    } = read(args, &terms);
    shown.end();
    let checked = match checked {
        Ok(checked) => checked,
        Err(diagnostics) => {
            found.refuse(&diagnostics);
            if args.subscribers.is_some() && args.format == Format::Text {
                eprintln!("subscribers are not checked: they need a policy without errors");
            }
            return None;
        }
    };
    found.tell(&checked.warnings);
    let mut summary = summarise(&checked);
    let mut on = None;
    if let Some(subscribers) = subscribers {
        match subscribers {
            Ok(loaded) => {
                found.tell(&loaded.warnings);
                summary.push(("subscribers", loaded.subscribers.len().to_string()));
                let by_plan = loaded.by_plan(&checked.policy, terms.now);
                let unused = checked.policy.unused_plans(&by_plan, terms.now);
                found.tell(&unused);
                on = Some(by_plan);
            }
            Err(diagnostics) => found.refuse(&diagnostics),
        }
    }
    if let Some(against) = against {
        match against {
            Ok(old) => summary.extend(compare(&old, &checked, on.as_ref(), terms.now)),
            Err(diagnostics) => found.refuse(&diagnostics),
        }
    }
    Some(summary)
}

/// What a reload would do to buckets, and why it would be refused.
fn compare(
    old: &Checked,
    new: &Checked,
    on: Option<&HashMap<String, usize>>,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let effects = policy::effects(&old.policy, &new.policy, on);
    let effects = effects.iter().map(|effect| ("buckets", effect.to_string()));
    let breaches = policy::breaches(&old.policy, &new.policy, now);
    let breaches = breaches
        .iter()
        .map(|breach| ("guarded", breach.to_string()));
    effects.chain(breaches).collect()
}

fn summarise(checked: &Checked) -> Vec<(&'static str, String)> {
    let policy = &checked.policy;
    let (v4, v6) = policy.prefix_counts();
    vec![
        ("policy", policy.name.clone()),
        ("version", policy.version.clone()),
        ("classes", policy.classes.len().to_string()),
        ("sets", policy.sets.len().to_string()),
        ("prefixes", format!("{v4} IPv4, {v6} IPv6")),
        ("plans", policy.plans.len().to_string()),
    ]
}

impl Findings {
    fn refuse(&mut self, diagnostics: &Diagnostics) {
        let kept: Vec<_> = diagnostics.iter().cloned().collect();
        self.tell(&kept);
        let hidden = diagnostics.errors() + diagnostics.warnings() - kept.len();
        if hidden > 0 {
            // What is not kept is not told, in either format.
            eprintln!("... and {hidden} more");
            let warnings = diagnostics.warnings().saturating_sub(Diagnostics::LIMIT);
            self.count(Severity::Error, hidden - warnings);
            self.count(Severity::Warning, warnings);
        }
    }

    fn tell(&mut self, diagnostics: &[Diagnostic]) {
        for diagnostic in diagnostics {
            let mut diagnostic = diagnostic.clone();
            if self.strict {
                diagnostic = diagnostic.strict();
            }
            self.count(diagnostic.severity, 1);
            match self.format {
                Format::Text => eprintln!("{}", self.renderer.show(&diagnostic)),
                Format::Json => println!("{}", diagnostic.to_json()),
            }
        }
    }

    fn count(&mut self, severity: Severity, number: usize) {
        match severity {
            Severity::Warning if !self.strict => self.warnings += number,
            _ => self.errors += number,
        }
    }
}
