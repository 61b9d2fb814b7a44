//! `zerorate new`: files to begin with, each key explained where it stands.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::schema;

/// Write a commented policy, list, subscribers and configuration to begin with
///
/// What is written passes `zerorate check --strict`, with addresses that are nobody's: replace them. No file is ever
/// overwritten: where one of these names is taken, nothing is written.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory to write to, such as /etc/zerorate; made where there is none
    dir: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When a file is there already, or one cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let dir = &args.dir;
    fs::create_dir_all(dir).with_context(|| format!("{}: cannot be made", dir.display()))?;
    // The agent finds its files from wherever it is started.
    let whole = dir
        .canonicalize()
        .with_context(|| dir.display().to_string())?;
    let config = include_str!("new/zerorate.toml").replace("DIR", &toml_text(&whole)?);
    let schema = schema::text()?;
    let files: [(&str, &str); 5] = [
        ("zerorate.toml", &config),
        ("subscribers.csv", include_str!("new/subscribers.csv")),
        ("policy/policy.toml", include_str!("new/policy.toml")),
        ("policy/portals.txt", include_str!("new/portals.txt")),
        ("policy/policy.schema.json", &schema),
    ];
    let is_there = |name: &&str| dir.join(name).symlink_metadata().is_ok();
    let taken: Vec<&str> = files
        .map(|(name, _)| name)
        .into_iter()
        .filter(is_there)
        .collect();
    if !taken.is_empty() {
        bail!(
            "{}: there already: {}; nothing was written. Name another directory, or move them away",
            dir.display(),
            taken.join(", ")
        );
    }
    for (name, text) in files {
        let path = dir.join(name);
        write(&path, text).with_context(|| path.display().to_string())?;
        println!("{}", path.display());
    }
    let shown = dir.display();
    println!(
        "\nwhat is wrong with them: zerorate check {shown}/policy --subscribers {shown}/subscribers.csv"
    );
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create_new(path)?.write_all(text.as_bytes())
}

/// A path as it stands between the quotes of a TOML string.
fn toml_text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str();
    let text = text.with_context(|| {
        format!(
            "{}: is not UTF-8, as files that name it have to be",
            path.display()
        )
    })?;
    Ok(text.replace('\\', "\\\\").replace('"', "\\\""))
}
