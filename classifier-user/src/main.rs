//! The `zerorate` command.

use std::io;
use std::process::ExitCode;

use clap::Parser as _;
use zerorate::cli::Cli;

/// A change may move a million subscribers, each some small pieces of memory. This one gives what they leave back to the
/// system; the C library's keeps most of it, because something always stands between (docs/architecture.md has figures).
#[cfg(target_arch = "x86_64")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zerorate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    let Some(error) = error.downcast_ref::<io::Error>() else {
        return false;
    };
    // The CSV writer's errors hide the system's inside.
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<csv::Error>());
    is(error)
        || inner.is_some_and(|inner| matches!(inner.kind(), csv::ErrorKind::Io(error) if is(error)))
}
