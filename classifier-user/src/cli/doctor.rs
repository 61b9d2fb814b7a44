//! `zerorate doctor`: what is wrong with this machine and its configuration, and what to do.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::records::{self, Line};
use crate::doctor::{Finding, Level, examine};
use crate::report::Format;

/// Says whether this machine is fit to count, as it is configured: kernel, interfaces, files, disk, clock, and the agent if one
/// answers.
///
/// Nothing is changed. Exits with 1 when something is an error, with --strict also when something is a warning.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration of the agent.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/zerorate/zerorate.toml"
    )]
    config: PathBuf,
    /// Makes warnings errors.
    #[arg(long)]
    strict: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Line for Finding {
    const HEADS: &'static [&'static str] = &["level", "about", "found", "advice"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.level.as_str().to_owned(),
            self.about.clone(),
            self.found.clone(),
            self.advice.clone().unwrap_or_default(),
        ]
    }
}

/// Runs the command.
///
/// # Errors
/// When it cannot be printed.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let found = examine(&args.config);
    let mut out = io::stdout().lock();
    match args.format {
        Format::Table => text(&mut out, &found)?,
        other => records::write(&mut out, other, &found)?,
    }
    let bad = if args.strict {
        Level::Warning
    } else {
        Level::Error
    };
    let is_fit = found.iter().all(|finding| finding.level < bad);
    Ok(if is_fit {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A line for each, what to do below it, and how many there were.
fn text(out: &mut impl Write, found: &[Finding]) -> io::Result<()> {
    let widest = found.iter().map(|finding| finding.about.chars().count());
    let width = widest.max().unwrap_or(0);
    let margin = " ".repeat("warning  ".len() + width + 2);
    for Finding {
        level,
        about,
        found,
        advice,
    } in found
    {
        let mut lines = found.lines();
        let first = lines.next().unwrap_or_default();
        writeln!(out, "{:<7}  {about:<width$}  {first}", level.as_str())?;
        for line in lines {
            writeln!(out, "{margin}{line}")?;
        }
        if let Some(advice) = advice {
            writeln!(out, "{margin}-> {advice}")?;
        }
    }
    let count = |level| {
        found
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    };
    writeln!(
        out,
        "errors: {}, warnings: {}, notes: {}",
        count(Level::Error),
        count(Level::Warning),
        count(Level::Note)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_stands_below_what_is_wrong() {
        let finding = |level, about: &str, found: &str, advice: Option<&str>| Finding {
            level,
            about: about.to_owned(),
            found: found.to_owned(),
            advice: advice.map(str::to_owned),
        };
        let found = [
            finding(Level::Ok, "kernel", "Linux 6.1", None),
            finding(Level::Error, "policy", "one\ntwo", Some("mend it")),
        ];
        let mut out = Vec::new();
        text(&mut out, &found).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ok       kernel  Linux 6.1\n\
             error    policy  one\n\
             \x20                two\n\
             \x20                -> mend it\n\
             errors: 1, warnings: 0, notes: 0\n"
        );
    }
}
