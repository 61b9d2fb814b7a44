//! Records in files that are read without zerorate: JSON lines or CSV, beside a manifest that says what is in them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::agent::records::statement::parse_time;
use crate::ledger::Reader;
use crate::ledger::usage::{AnyRecord, Which};
use crate::ledger::verify::Sums;
use crate::report::record_rows;

/// Records that are read in one go.
const PAGE: usize = 10_000;

/// What is copied, and where to.
#[derive(Debug, clap::Args)]
pub(super) struct What {
    /// Only what ends after this: a date in the gateway's time zone, or RFC 3339.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// And not after this.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only records behind this number.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// At most so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How they are written.
    #[arg(long, value_enum, default_value_t = Form::Json)]
    format: Form,
    /// The directory, which is made, or is empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    /// An object a line.
    Json,
    /// Comma-separated values under one header.
    Csv,
}

/// What is in the files.
#[derive(Debug, Serialize)]
struct Manifest<'a> {
    file: &'a str,
    format: Form,
    bytes: u64,
    sha256: String,
    /// As it was asked for.
    after: u64,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    count: u64,
    /// Whether it is all records from the first to the last.
    contiguous: bool,
    sums: Sums,
    /// The chain's when it was copied: number of the last record then, and hash over all.
    head: Option<String>,
}

/// Counts and hashes what is written.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Copies records out.
///
/// # Errors
/// When the ledger cannot be read, or the directory cannot be written or is not empty.
pub(super) fn run(reader: &Reader, zone: &TimeZone, what: &What) -> anyhow::Result<ExitCode> {
    let time = |text: &Option<String>| {
        let parse = |text: &String| parse_time(text, zone).map_err(anyhow::Error::msg);
        text.as_ref().map(parse).transpose()
    };
    let (from, to) = (time(&what.from)?, time(&what.to)?);
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        bail!("--from {from} is after --to {to}");
    }
    let out = &what.out;
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    if fs::read_dir(out)
        .with_context(|| format!("reading {}", out.display()))?
        .next()
        .is_some()
    {
        bail!("{} is not empty: name a new directory", out.display());
    }
    // What is recorded from now on is not in it.
    let head = reader.head()?;
    let name = match what.format {
        Form::Json => "records.jsonl",
        Form::Csv => "records.csv",
    };
    let mut copy = Copy {
        after: what.after,
        last: head.map_or(0, |head| head.seq),
        left: what.limit.unwrap_or(u64::MAX),
        from,
        to,
        first: None,
        latest: None,
        count: 0,
        sums: Sums::default(),
    };
    let (bytes, sha256) = whole(&out.join(name), |file| match what.format {
        Form::Json => copy.each(reader, |record| {
            serde_json::to_writer(&mut *file, record)?;
            Ok(writeln!(file)?)
        }),
        Form::Csv => {
            let mut csv = csv::Writer::from_writer(&mut *file);
            csv.write_record(record_rows::COLUMNS)?;
            copy.each(reader, |record| Ok(record_rows::one(&mut csv, record)?))?;
            Ok(csv.flush()?)
        }
    })?;
    let manifest = Manifest {
        file: name,
        format: what.format,
        bytes,
        sha256: sha256.clone(),
        after: what.after,
        from,
        to,
        first_seq: copy.first,
        last_seq: copy.latest,
        count: copy.count,
        contiguous: match (copy.first, copy.latest) {
            (Some(first), Some(last)) => last - first + 1 == copy.count,
            _ => true,
        },
        sums: copy.sums,
        head: head.map(|head| head.to_string()),
    };
    whole(&out.join("SHA256SUMS"), |file| {
        Ok(writeln!(file, "{sha256}  {name}")?)
    })?;
    // Last: where there is a manifest, what it speaks of is complete.
    whole(&out.join("manifest.json"), |file| {
        serde_json::to_writer_pretty(&mut *file, &manifest)?;
        Ok(writeln!(file)?)
    })?;
    let range = match (copy.first, copy.latest) {
        (Some(first), Some(last)) => format!(", {first} to {last}"),
        _ => String::new(),
    };
    println!("{} records{range}, in {}", copy.count, out.display());
    Ok(ExitCode::SUCCESS)
}

/// Writes a file under another name, and renames it when it is complete: its length and hash.
fn whole(
    path: &Path,
    write: impl FnOnce(&mut Hashed<BufWriter<File>>) -> anyhow::Result<()>,
) -> anyhow::Result<(u64, String)> {
    let failed = || format!("writing {}", path.display());
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let file = File::create_new(&part).with_context(failed)?;
    let mut file = Hashed {
        inner: BufWriter::new(file),
        hash: Sha256::new(),
        bytes: 0,
    };
    write(&mut file).with_context(failed)?;
    let Hashed { inner, hash, bytes } = file;
    let inner = inner.into_inner().with_context(failed)?;
    inner.sync_all().with_context(failed)?;
    fs::rename(&part, path).with_context(failed)?;
    Ok((bytes, hex::encode(hash.finalize())))
}

/// Which records are copied, and what they come to.
struct Copy {
    after: u64,
    /// Behind this none was there when it began.
    last: u64,
    left: u64,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    first: Option<u64>,
    latest: Option<u64>,
    count: u64,
    sums: Sums,
}

impl Copy {
    fn each(
        &mut self,
        reader: &Reader,
        mut write: impl FnMut(&AnyRecord) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        loop {
            let page = reader.all_records(Which {
                after: self.after,
                limit: PAGE,
                ..Which::default()
            })?;
            let Some(last) = page.last().map(AnyRecord::seq) else {
                return Ok(());
            };
            for record in &page {
                let seq = record.seq();
                if seq > self.last || self.left == 0 {
                    return Ok(());
                }
                let time = match record {
                    AnyRecord::Usage(usage) => usage.end,
                    AnyRecord::Other(other) => other.time,
                };
                if self.from.is_some_and(|from| time <= from) || self.to.is_some_and(|to| time > to)
                {
                    continue;
                }
                write(record)?;
                if let AnyRecord::Usage(usage) = record {
                    self.sums.add_record(usage);
                }
                self.first.get_or_insert(seq);
                self.latest = Some(seq);
                self.count += 1;
                self.left -= 1;
            }
            self.after = last;
        }
    }
}
