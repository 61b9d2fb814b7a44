//! Diagnostics with the line they are about, and the text in it underlined, for people.

use std::collections::HashMap;
use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents,
};

use super::Diagnostic;
use crate::policy::SourceFile;

/// Longer lines are shown without their text: nobody reads them.
const MAX_LINE: usize = 400;

/// Shows diagnostics; reads each file they are about once more.
pub struct Renderer {
    handler: GraphicalReportHandler,
    files: HashMap<Arc<PathBuf>, Option<SourceFile>>,
}

impl Renderer {
    /// For standard error: colours and lines on a terminal, plain ASCII elsewhere and with `NO_COLOR`.
    #[must_use]
    pub fn for_stderr() -> Self {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if std::io::stderr().is_terminal() && colour {
            Self::new(GraphicalTheme::unicode())
        } else {
            Self::plain()
        }
    }

    /// In plain ASCII.
    #[must_use]
    pub fn plain() -> Self {
        Self::new(GraphicalTheme::none())
    }

    fn new(theme: GraphicalTheme) -> Self {
        Renderer {
            handler: GraphicalReportHandler::new_themed(theme)
                .with_wrap_lines(false)
                .with_links(false)
                .with_context_lines(1),
            files: HashMap::new(),
        }
    }

    /// What `Display` says, `file:line:column: error: message` and the help; then the line it is about, with the text
    /// underlined and the code under it.
    #[must_use]
    pub fn show(&mut self, diagnostic: &Diagnostic) -> String {
        let mut shown = diagnostic.to_string();
        if let Some(snippet) = self.snippet(diagnostic) {
            shown.push('\n');
            shown.push_str(snippet.trim_end());
        }
        shown
    }

    fn snippet(&mut self, diagnostic: &Diagnostic) -> Option<String> {
        let place = &diagnostic.place;
        let file = self
            .files
            .entry(Arc::clone(&place.file))
            .or_insert_with(|| SourceFile::read(&place.file).ok())
            .as_ref()?;
        let line = file.line(place.line)?;
        if line.is_empty() || line.len() > MAX_LINE {
            return None;
        }
        let start = line
            .char_indices()
            .nth(place.column as usize - 1)
            .map_or(line.len(), |(offset, _)| offset);
        let excerpt = Excerpt {
            name: place.file.display().to_string(),
            line: line.to_owned(),
            number: place.line as usize,
            start,
            length: word(&line[start..]),
            code: diagnostic.code,
        };
        let mut shown = String::new();
        self.handler.render_report(&mut shown, &excerpt).ok()?;
        // The first line that is not blank is the message, which has been said.
        let rest = shown.trim_start_matches('\n').split_once('\n')?.1;
        Some(rest.to_owned())
    }
}

/// How many bytes of `text` belong together from its beginning on: a string, an array, a table, a header, a word.
fn word(text: &str) -> usize {
    let closed = |open: char, close: char| {
        let mut depth = 0;
        for (offset, c) in text.char_indices() {
            match c {
                c if c == open => depth += 1,
                c if c == close => depth -= 1,
                _ => continue,
            }
            if depth == 0 {
                return offset + c.len_utf8();
            }
        }
        text.trim_end().len()
    };
    let quoted = |quote: char| {
        let mut escaped = false;
        for (offset, c) in text.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = quote == '"',
                c if c == quote => return offset + 1,
                _ => {}
            }
        }
        text.trim_end().len()
    };
    match text.chars().next() {
        None => 0,
        Some(quote @ ('"' | '\'')) => quoted(quote),
        Some('[') => closed('[', ']'),
        Some('{') => closed('{', '}'),
        Some(first) => text
            .find(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ']' | '}' | '=' | '#'))
            .unwrap_or(text.len())
            .max(first.len_utf8()),
    }
}

/// One line of a file, and what is underlined in it.
#[derive(Debug)]
struct Excerpt {
    name: String,
    line: String,
    /// From 1.
    number: usize,
    start: usize,
    length: usize,
    code: &'static str,
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl std::error::Error for Excerpt {}

impl miette::Diagnostic for Excerpt {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new(Some(self.code.to_owned()), self.start, self.length);
        Some(Box::new(std::iter::once(label)))
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let end = span.offset() + span.len();
        if end > self.line.len() {
            return Err(MietteError::OutOfBounds);
        }
        // Asked without anything before it, what is read begins with the span: its column is shown.
        let start = if before == 0 { span.offset() } else { 0 };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            &self.line.as_bytes()[start..],
            (start, self.line.len() - start).into(),
            self.number - 1,
            self.line[..start].chars().count(),
            1,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::diagnostic::{Diagnostics, Severity};
    use crate::policy::Place;

    #[test]
    fn what_belongs_together_is_underlined() {
        for (text, expected) in [
            ("10.0.0.1/8 # note", "10.0.0.1/8"),
            ("10.0.0.1/8,11.0.0.0/8", "10.0.0.1/8"),
            (r#""a \" b", "c""#, r#""a \" b""#),
            ("'a\\', 'b'", "'a\\'"),
            ("\"never closed  ", "\"never closed"),
            ("[[sets]] # x", "[[sets]]"),
            ("[\"a\", [1]], 2", "[\"a\", [1]]"),
            ("{ price = 1 }, x", "{ price = 1 }"),
            ("= 3", "="),
            ("çéà x", "çéà"),
            ("", ""),
        ] {
            assert_eq!(&text[..word(text)], expected, "{text}");
        }
    }

    #[test]
    fn the_line_is_shown_with_its_text_underlined() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.txt");
        fs::write(&path, "# ok\n\tçé 10.0.0.1/8 # why\n").unwrap();
        let mut out = Diagnostics::default();
        let place = Place {
            file: Arc::new(path.clone()),
            line: 2,
            column: 5,
        };
        out.error(place, "host-bits", "wrong", "repair it");
        let diagnostic = out.iter().next().unwrap();
        assert_eq!(diagnostic.severity, Severity::Error);
        let shown = Renderer::plain().show(diagnostic);
        let shown = shown.replace(&path.display().to_string(), "list.txt");
        assert_eq!(
            shown,
            "list.txt:2:5: error: wrong\n  help: repair it\n   \
             ,-[list.txt:2:5]\n 2 |     çé 10.0.0.1/8 # why\n   :        ^^^^^|^^^^\n   :             `-- host-bits\n   `----"
        );
    }
}
