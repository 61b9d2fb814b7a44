//! Saying that a test could not be run here: `cargo xtask test` counts it as skipped and repeats the reason.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Prints why, and adds it to the file of skips, if there is one.
pub(crate) fn skip(reason: &str) {
    println!("SKIPPED: {reason}");
    if let Some(path) = std::env::var_os("ZERORATE_SKIPS") {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let mut file = file.expect("the file of skips can be opened");
        writeln!(file, "{reason}").expect("the file of skips can be written");
    }
}
