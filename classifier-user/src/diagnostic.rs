//! What is wrong with an input file, where, and what to do about it. Readers collect diagnostics
//! instead of stopping at the first, so one run of `check` shows everything there is to repair.

pub mod render;

use std::fmt;

use crate::policy::Place;

/// One thing wrong with an input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it is.
    pub place: Place,
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// Short stable name, such as `host-bits`, for programs that read diagnostics.
    pub code: &'static str,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do, in one line.
    pub help: String,
}

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used; someone should look.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// Two lines: `file:line:column: error: message`, then the help, indented.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}: {}", self.place, self.severity, self.message)?;
        write!(f, "  help: {}", self.help)
    }
}

impl Diagnostic {
    /// The same, where warnings are errors.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.severity = Severity::Error;
        self
    }

    /// One object for programs: severity, code, file, line, column, message, help.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "severity": self.severity.to_string(),
            "code": self.code,
            "file": self.place.file.display().to_string(),
            "line": self.place.line,
            "column": self.place.column,
            "message": self.message,
            "help": self.help,
        })
    }
}

/// Diagnostics of one run. As an error type it says that at least one of them is an error.
///
/// Of each severity the first [`Diagnostics::LIMIT`] are kept and the rest counted: a list of a
/// million bad lines is reported, not repeated.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// How many errors, and how many warnings, are kept.
    pub const LIMIT: usize = 1000;

    /// Adds an error.
    pub fn error(
        &mut self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic {
            place,
            severity: Severity::Error,
            code,
            message: message.into(),
            help: help.into(),
        });
    }

    /// Adds a warning.
    pub fn warn(
        &mut self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic {
            place,
            severity: Severity::Warning,
            code,
            message: message.into(),
            help: help.into(),
        });
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        let count = match diagnostic.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= Self::LIMIT {
            self.kept.push(diagnostic);
        }
    }

    /// Number of errors, the ones not kept included.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Number of warnings, the ones not kept included.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// The diagnostics kept, in the order they were found, or by place after
    /// [`Diagnostics::finish`].
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.kept.iter()
    }

    /// Ends a run: the warnings if there was no error, else everything; sorted by place either way.
    pub fn finish(self) -> Result<Vec<Diagnostic>, Diagnostics> {
        let sorted = self.sorted();
        if sorted.errors == 0 {
            Ok(sorted.kept)
        } else {
            Err(sorted)
        }
    }

    /// The same, sorted by place.
    pub fn sorted(mut self) -> Self {
        self.kept.sort_by(|a, b| a.place.cmp(&b.place));
        self
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.kept.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        let hidden = self.errors + self.warnings - self.kept.len();
        if hidden > 0 {
            write!(f, "\n... and {hidden} more")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Text of a user, made fit for a one-line message: quoted, control characters escaped, shortened.
pub(crate) fn quote(text: &str) -> String {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((cut, _)) => format!("{:?}...", &text[..cut]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::Arc;

    fn place(line: u32, column: u32) -> Place {
        Place {
            file: Arc::new(PathBuf::from("policy.toml")),
            line,
            column,
        }
    }

    #[test]
    fn shows_place_message_and_help() {
        let mut all = Diagnostics::default();
        all.warn(place(9, 1), "second", "odd", "look");
        all.error(place(3, 14), "first", "wrong", "repair it");
        let all = all.finish().expect_err("there is an error");
        assert_eq!(
            all.to_string(),
            "policy.toml:3:14: error: wrong\n  help: repair it\n\
             policy.toml:9:1: warning: odd\n  help: look"
        );
    }

    #[test]
    fn counts_what_it_does_not_keep() {
        let mut all = Diagnostics::default();
        for line in 0..1500 {
            all.error(place(line, 1), "e", "wrong", "repair it");
        }
        all.warn(place(1, 1), "w", "odd", "look");
        let all = all.finish().expect_err("there are errors");
        assert_eq!((all.errors(), all.warnings()), (1500, 1));
        assert_eq!(all.iter().count(), 1001);
        assert!(all.to_string().ends_with("\n... and 500 more"));
    }

    #[test]
    fn quotes_are_one_short_line() {
        assert_eq!(quote("a\nb"), r#""a\nb""#);
        assert_eq!(
            quote(&"é".repeat(100)),
            format!("\"{}\"...", "é".repeat(64))
        );
    }
}
