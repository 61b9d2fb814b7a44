//! `zerorate bundle`: a policy to be signed, carried to gateways, and checked when it is there.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use jiff::Timestamp;

use crate::config::Config;
use crate::history::Files;
use crate::policy;
use crate::trust::{Key, MANIFEST, Manifest, SIGNATURE, Trust, bundle};

/// Sign a policy, carry it to gateways, and check it there
///
/// Three steps where the policy is kept: `zerorate bundle manifest DIR`, `minisign -Sm DIR/bundle.json`, and
/// `zerorate bundle make DIR -o FILE`. On the gateway: `zerorate policy stage --bundle FILE`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Manifest(Make),
    Make(Pack),
    Verify(Verify),
}

/// Write DIR/bundle.json: what is to be signed, the hash of every file and a serial number
#[derive(Debug, clap::Args)]
struct Make {
    /// Directory with policy.toml and its lists
    dir: PathBuf,
    /// Serial number; a gateway does not go back to a lower one [default: seconds since 1970, so that it rises]
    #[arg(long, value_name = "N")]
    serial: Option<u64>,
}

/// Put a signed policy into one file
#[derive(Debug, clap::Args)]
struct Pack {
    /// Directory with policy.toml, its lists, bundle.json and bundle.json.minisig
    dir: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Check that a key signed a bundle, or a policy's directory, as it is
#[derive(Debug, clap::Args)]
struct Verify {
    /// The bundle, or the directory
    bundle: PathBuf,
    /// A public key: the second line of minisign.pub. May be repeated
    #[arg(long, value_name = "KEY", required_unless_present = "config")]
    key: Vec<String>,
    /// The agent's configuration: the keys it trusts
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    config: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// What is wrong with the policy, its signature, or the file.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Manifest(args) => args.run(),
        Command::Make(args) => args.run(),
        Command::Verify(args) => args.run(),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Name and files of the policy in a directory, which has no errors.
fn load(dir: &Path) -> Result<(String, Files)> {
    let checked = policy::load(dir)?;
    let files = Files::of(&checked.policy)?;
    Ok((checked.policy.name, files))
}

impl Make {
    fn run(&self) -> Result<()> {
        let (name, files) = load(&self.dir)?;
        let now = Timestamp::now();
        let serial = self.serial.unwrap_or(now.as_second().unsigned_abs());
        let text = Manifest::of(&name, serial, &files, now).text()?;
        let path = self.dir.join(MANIFEST);
        // The signature of the one before would be one of another text.
        match fs::remove_file(self.dir.join(SIGNATURE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                bail!("{}: {error}", self.dir.join(SIGNATURE).display())
            }
            _ => {}
        }
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        let (dir, path) = (self.dir.display(), path.display());
        println!("{path}: serial number {serial}");
        println!("to sign it: minisign -Sm {path}");
        println!("then: zerorate bundle make {dir} -o FILE");
        Ok(())
    }
}

impl Pack {
    fn run(&self) -> Result<()> {
        let (name, files) = load(&self.dir)?;
        let text = |wanted: &str| {
            let found = files.beside.iter().find(|(name, _)| name == wanted);
            found.map(|(_, text)| text)
        };
        let dir = self.dir.display();
        let (Some(manifest), Some(_)) = (text(MANIFEST), text(SIGNATURE)) else {
            bail!(
                "{dir}: is not signed yet: zerorate bundle manifest {dir}, then minisign -Sm {dir}/{MANIFEST}, then this again"
            );
        };
        let signed: Manifest = serde_json::from_str(manifest).with_context(|| {
            format!("{dir}/{MANIFEST}: make it again: zerorate bundle manifest {dir}")
        })?;
        let now = Manifest::of(&name, signed.serial, &files, signed.made);
        if now != signed {
            bail!(
                "{dir}: its files are no longer those of {MANIFEST}: zerorate bundle manifest {dir}, then minisign -Sm \
                 {dir}/{MANIFEST}, then this again"
            );
        }
        let shown = self.output.display();
        let directory = self
            .output
            .parent()
            .filter(|parent| *parent != Path::new(""));
        let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))
            .with_context(|| shown.to_string())?;
        bundle::pack(&files, &mut file).with_context(|| shown.to_string())?;
        file.flush().with_context(|| shown.to_string())?;
        file.persist(&self.output)
            .with_context(|| shown.to_string())?;
        println!(
            "{shown}: {name}, version {}, serial number {}",
            files.version(),
            signed.serial
        );
        Ok(())
    }
}

impl Verify {
    fn run(&self) -> Result<()> {
        let trust = match &self.config {
            Some(path) => Config::load(path)?.trust,
            None => Trust {
                keys: self
                    .key
                    .iter()
                    .map(|key| Key::parse(key))
                    .collect::<Result<_, _>>()?,
                require_signed: true,
            },
        };
        let shown = self.bundle.display().to_string();
        let files = if self.bundle.is_dir() {
            load(&self.bundle)?.1
        } else {
            read(&self.bundle)?
        };
        let seal = trust.verify(&files, &Default::default()).context(shown)?;
        println!("version        {}", files.version());
        println!("serial number  {}", seal.serial);
        println!("signed by      {}", seal.key);
        Ok(())
    }
}

/// The files of a bundle.
pub(super) fn read(path: &Path) -> Result<Files> {
    let shown = path.display();
    let bytes = fs::read(path).with_context(|| shown.to_string())?;
    bundle::unpack(&bytes).with_context(|| shown.to_string())
}
