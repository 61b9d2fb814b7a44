//! What is in the way of something that is tried again and again: said when it begins, when it becomes another, and when it is
//! over; not each time.

use std::fmt::Display;

use tracing::{error, info};

/// What is known to be in the way.
#[derive(Debug)]
pub(super) struct Trouble {
    known: Option<String>,
    /// What cannot be done, and what becomes of it meanwhile.
    begins: &'static str,
    over: &'static str,
}

impl Trouble {
    pub(super) const fn new(begins: &'static str, over: &'static str) -> Self {
        Self {
            known: None,
            begins,
            over,
        }
    }

    /// What came of the latest try; says so where that is news, and returns what is in the way.
    pub(super) fn after<T, E: Display>(&mut self, tried: Result<T, E>) -> Option<&str> {
        let now = tried.err().map(|wrong| wrong.to_string());
        if now != self.known {
            match &now {
                Some(wrong) => error!("{}, and it is tried again: {wrong}", self.begins),
                None => info!("{}", self.over),
            }
            self.known = now;
        }
        self.known.as_deref()
    }
}
