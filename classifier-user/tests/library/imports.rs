//! Imports: each format from a file in the form its makers give it, malformed sources with all that is said about
//! them, and lists that a policy takes as they are.

mod clean;
mod command;
mod formats;
mod malformed;

use zerorate::import::{Format, Key, Request};

use crate::shell::{stderr as said, zerorate};

/// Seen from the package's directory, in which cargo runs tests.
const FIXTURES: &str = "tests/library/imports/fixtures";

fn request(format: Format, sources: &[&str], choices: &[(Key, &str)]) -> Request {
    let sources = sources.iter().map(|source| (*source).to_owned()).collect();
    let mut request = Request::new(format, sources);
    for (key, value) in choices {
        let value = key.normal(value).unwrap();
        request.choices.entry(*key).or_default().push(value);
    }
    request
}

const POLICY: &str = r#"
name = "imported"
default_class = "internet"
[classes.internet]
rating_group = 1
[classes.exchange]
rating_group = 2
[[sets]]
name = "exchange"
class = "exchange"
source = "a router"
file = "list.txt"
[sets.import]
format = "text"
from = ["source"]
"#;
