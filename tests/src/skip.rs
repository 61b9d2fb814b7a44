//! Saying that a test could not be run here.
//!
//! The test harness knows passed and failed only. A test that finds something missing calls
//! [`skip`] and returns; `cargo xtask test` then counts it as skipped and repeats the reason.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use nix::unistd::geteuid;

/// The variable that names the file skips are added to, one line each.
pub const SKIPS_VARIABLE: &str = "ZERORATE_SKIPS";

/// Prints why the calling test cannot be run, and tells `cargo xtask test`.
///
/// # Panics
/// If the file named by [`SKIPS_VARIABLE`] cannot be written: the test would count as passed.
pub fn skip(reason: &str) {
    let test = test_name();
    eprintln!("SKIPPED: {test}: {reason}");
    let Some(path) = std::env::var_os(SKIPS_VARIABLE) else {
        return;
    };
    let path = Path::new(&path);
    if let Err(error) = record(path, &test, reason) {
        panic!("cannot write {}: {error}", path.display());
    }
}

/// Adds a line in one write: tests run side by side.
fn record(path: &Path, test: &str, reason: &str) -> io::Result<()> {
    let line = format!("{test}: {}\n", reason.replace('\n', " "));
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?
        .write_all(line.as_bytes())
}

/// Whether this process may make network namespaces; if not, the calling test is skipped.
///
/// ```no_run
/// if !zerorate_tests::can_use_namespaces() {
///     return;
/// }
/// ```
#[must_use]
pub fn can_use_namespaces() -> bool {
    let root = geteuid().is_root();
    if !root {
        skip("network namespaces need root");
    }
    root
}

/// The harness names a test's thread after the test; the binary tells same names apart.
fn test_name() -> String {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test").to_owned();
    let binary = std::env::current_exe().ok();
    let stem = binary
        .as_deref()
        .and_then(Path::file_stem)
        .map(|stem| stem.to_string_lossy());
    match stem.as_deref().and_then(|stem| stem.rsplit_once('-')) {
        Some((binary, _hash)) => format!("{binary}::{test}"),
        None => test,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_one_line_more_that_names_the_test() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("skips.txt");
        record(&path, &test_name(), "no\ncaptures").unwrap();
        record(&path, "other", "not root").unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let (first, second) = text.split_once('\n').unwrap();
        assert!(first.starts_with("zerorate_tests::"), "{first}");
        assert!(first.ends_with("a_skip_is_one_line_more_that_names_the_test: no captures"));
        assert_eq!(second, "other: not root\n");
    }
}
