//! Records in files: each finished one whole, with a manifest beside it, and no record in two of them.
//!
//! A file is written under a hidden name and comes into being in three steps, each of which is on the disk before the next:
//!
//! 1. file and manifest are there under hidden names;
//! 2. `.NODE.position` says what the manifest says: from here on these records are brought;
//! 3. both get their names, the file first.
//!
//! Whatever a crash leaves before 2 is thrown away, and the records are written again; what it leaves after 2 is given its name
//! at the next start. Whoever takes files away need not leave anything behind: how far the sink is, it reads from
//! `.NODE.position`.

mod format;
mod manifest;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use self::manifest::{Manifest, Previous};
use super::runner::{Sink, SinkError};
use super::{fingerprint, same_record};
use crate::config::{self, FileFormat};
use crate::disk::{Disk, Out};
use crate::ledger::Reader;
use crate::ledger::usage::AnyRecord;

/// Files in a directory.
#[derive(Debug)]
pub(super) struct Files {
    node: String,
    /// What names of files begin with.
    stem: String,
    directory: PathBuf,
    format: FileFormat,
    every: Duration,
    size: u64,
    disk: Disk,
    /// The last finished file.
    last: Option<Manifest>,
    /// The one that is written.
    open: Option<Open>,
}

/// A file that is not finished.
#[derive(Debug)]
struct Open {
    out: Out,
    path: PathBuf,
    since: Instant,
    hash: Sha256,
    /// What it holds so far.
    manifest: Manifest,
    /// Of the last record.
    fingerprint: String,
}

impl Files {
    pub(super) fn new(settings: &config::Files, node: &str) -> Self {
        Self {
            node: node.to_owned(),
            stem: stem(node),
            directory: settings.directory.clone(),
            format: settings.format,
            every: settings.every,
            size: settings.size,
            disk: Disk::default(),
            last: None,
            open: None,
        }
    }

    fn position_file(&self) -> PathBuf {
        self.directory.join(format!(".{}.position", self.stem))
    }

    fn position(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.last_seq)
    }

    /// Gives a file that is brought, and its manifest, their names, if a crash came between.
    fn publish(&mut self, manifest: &Manifest) -> io::Result<()> {
        for name in [manifest.file.clone(), manifest.name()] {
            let (hidden, named) = (
                self.directory.join(hidden(&name)),
                self.directory.join(&name),
            );
            if hidden.exists() {
                self.disk.rename(&hidden, &named)?;
            }
        }
        self.disk.sync_directory(&self.directory)
    }

    /// Puts a record in the file that is written.
    fn put(&mut self, record: &AnyRecord) -> Result<(), SinkError> {
        let first = self.open.is_none();
        if first {
            self.begin(record)?;
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        if first {
            bytes.extend(format::head(self.format));
        }
        let line = format::line(record, self.format).map_err(|error| SinkError::Unreadable {
            place: format!("record {}", record.seq()),
            what: error.to_string(),
        })?;
        bytes.extend(line);
        self.disk
            .write(&mut open.out, &bytes)
            .map_err(io_error(&open.path))?;
        open.hash.update(&bytes);
        open.manifest.add(record, bytes.len() as u64);
        open.fingerprint = fingerprint(record);
        if open.manifest.size >= self.size {
            self.finish()?;
        }
        Ok(())
    }

    fn begin(&mut self, record: &AnyRecord) -> Result<(), SinkError> {
        let path = self.directory.join(format!(".{}.partial", self.stem));
        let out = self.disk.create(&path).map_err(io_error(&path))?;
        let previous = self.last.as_ref().map(|last| Previous {
            file: last.file.clone(),
            sha256: last.sha256.clone(),
        });
        self.open = Some(Open {
            out,
            path,
            since: Instant::now(),
            hash: Sha256::new(),
            manifest: Manifest::new(&self.node, self.format, record.seq(), previous),
            fingerprint: String::new(),
        });
        Ok(())
    }

    /// Finishes the file that is written.
    fn finish(&mut self) -> Result<(), SinkError> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let mut manifest = open.manifest;
        manifest.sha256 = hex::encode(open.hash.finalize());
        manifest.fingerprint = open.fingerprint;
        manifest.file = format!(
            "{}.{:012}-{:012}.{}",
            self.stem,
            manifest.first_seq,
            manifest.last_seq,
            format::extension(self.format)
        );
        self.bring(open.out, &open.path, &manifest)
            .map_err(io_error(&self.directory.join(&manifest.file)))?;
        self.last = Some(manifest);
        Ok(())
    }

    fn bring(&mut self, out: Out, path: &Path, manifest: &Manifest) -> io::Result<()> {
        let directory = self.directory.clone();
        self.disk.finish(out)?;
        let file = directory.join(hidden(&manifest.file));
        self.disk.rename(path, &file)?;
        let text = manifest.text()?;
        let of_manifest = directory.join(hidden(&manifest.name()));
        self.disk.write_whole(&of_manifest, &text)?;
        self.disk.sync_directory(&directory)?;
        let position = self.position_file();
        let new = directory.join(format!(".{}.position.partial", self.stem));
        self.disk.write_whole(&new, &text)?;
        self.disk.rename(&new, &position)?;
        self.disk.sync_directory(&directory)?;
        self.publish(manifest)
    }

    /// The last finished file, as the directory knows it.
    fn recall(&self) -> Result<Option<Manifest>, SinkError> {
        let position = self.position_file();
        if position.exists() {
            return Manifest::read(&position).map(Some);
        }
        // Somebody took more than files and manifests away.
        let mut last: Option<Manifest> = None;
        for name in self.names()? {
            if name.starts_with(&format!("{}.", self.stem)) && name.ends_with(manifest::SUFFIX) {
                let found = Manifest::read(&self.directory.join(&name))?;
                if found.node == self.node
                    && last
                        .as_ref()
                        .is_none_or(|last| last.last_seq < found.last_seq)
                {
                    last = Some(found);
                }
            }
        }
        Ok(last)
    }

    fn names(&self) -> Result<Vec<String>, SinkError> {
        let read = || {
            let entries = std::fs::read_dir(&self.directory)?;
            let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect::<io::Result<Vec<_>>>()
        };
        read().map_err(io_error(&self.directory))
    }

    /// Finds out which file was finished last, and sees that nothing else is left of the time before.
    fn find(&mut self) -> Result<(), SinkError> {
        self.open = None;
        let directory = self.directory.clone();
        self.disk
            .make_directory(&directory)
            .map_err(io_error(&directory))?;
        self.last = self.recall()?;
        if let Some(last) = self.last.clone() {
            self.publish(&last)
                .map_err(io_error(&directory.join(&last.file)))?;
        }
        self.tidy()
    }

    /// Throws away what was never finished.
    fn tidy(&mut self) -> Result<(), SinkError> {
        // Another gateway may have the same directory, and a longer name; none has a dot in it.
        let ours = format!(".{}.", self.stem);
        for name in self.names()? {
            if name.ends_with(".partial") && name.starts_with(&ours) {
                let path = self.directory.join(&name);
                self.disk.remove(&path).map_err(io_error(&path))?;
            }
        }
        Ok(())
    }
}

impl Sink for Files {
    fn resume(&mut self, ledger: &Reader) -> Result<u64, SinkError> {
        self.find()?;
        if let Some(last) = &self.last {
            let file = self.directory.join(&last.file);
            same_record(ledger, last.last_seq, &last.fingerprint)
                .map_err(|strange| strange.at(file.display().to_string(), &self.node))?;
        }
        Ok(self.position())
    }

    fn take(&mut self, records: &[AnyRecord]) -> Result<u64, SinkError> {
        for record in records {
            self.put(record)?;
        }
        if let Some(open) = &mut self.open {
            // A disk that is full says so now, not when the file is to be finished.
            self.disk
                .flush(&mut open.out)
                .map_err(io_error(&open.path))?;
        }
        self.rest(false)
    }

    fn rest(&mut self, at_the_end: bool) -> Result<u64, SinkError> {
        let due = |open: &Open| at_the_end || open.since.elapsed() >= self.every;
        if self.open.as_ref().is_some_and(due) {
            self.finish()?;
        }
        Ok(self.position())
    }
}

/// The name something has before it is finished.
fn hidden(name: &str) -> String {
    format!(".{name}.partial")
}

/// A node's name as files can have it.
fn stem(node: &str) -> String {
    let mut stem = String::new();
    for byte in node.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => stem.push(char::from(byte)),
            byte => stem += &format!("%{byte:02X}"),
        }
    }
    stem
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SinkError {
    let path = path.to_owned();
    move |error| SinkError::Io { path, error }
}
