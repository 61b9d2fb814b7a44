//! What the demo prints: headings, sentences, tables and other programs' output, all in one left
//! margin, without escape sequences unless a person looks on.
//!
//! Printing is also where the demo ends when it is told to: see [`interrupt`].

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Result;

use zerorate_tests::interrupt;
pub(crate) use zerorate_tests::numbers::grouped;

const MARGIN: &str = "   ";
/// Between two columns.
const GAP: &str = "  ";

/// The terminal, or whatever standard output is.
#[derive(Debug)]
pub(crate) struct Screen {
    bold: bool,
    scenes: u32,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            bold: io::stdout().is_terminal(),
            scenes: 0,
        }
    }

    /// The first line.
    pub(crate) fn title(&self, text: &str) -> Result<()> {
        self.line(&self.strong(text))
    }

    /// The heading of a numbered scene.
    pub(crate) fn scene(&mut self, text: &str) -> Result<()> {
        self.scenes += 1;
        self.line("")?;
        self.line(&self.strong(&format!("{}. {text}", self.scenes)))
    }

    /// A line of text.
    pub(crate) fn say(&self, text: &str) -> Result<()> {
        self.line(&format!("{MARGIN}{text}"))
    }

    /// A line nobody should overlook.
    pub(crate) fn stress(&self, text: &str) -> Result<()> {
        self.line(&format!("{MARGIN}{}", self.strong(text)))
    }

    /// An empty line.
    pub(crate) fn gap(&self) -> Result<()> {
        self.line("")
    }

    /// What another program printed, or what is in a file.
    pub(crate) fn quote(&self, text: &str) -> Result<()> {
        text.lines()
            .try_for_each(|line| self.line(format!("{MARGIN}  {line}").trim_end()))
    }

    /// A command and what it printed.
    pub(crate) fn command(&self, command: &str, output: &str) -> Result<()> {
        self.gap()?;
        self.say(&self.strong(&format!("$ {command}")))?;
        self.quote(output)
    }

    /// A table under its heads, after an empty line.
    pub(crate) fn table<const N: usize>(&self, table: &Table<N>) -> Result<()> {
        self.gap()?;
        for (number, line) in table.lines().enumerate() {
            if number == 0 {
                self.stress(&line)?;
            } else {
                self.say(&line)?;
            }
        }
        Ok(())
    }

    fn strong(&self, text: &str) -> String {
        // ECMA-48 SGR: bold, and back to normal.
        if self.bold {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn line(&self, text: &str) -> Result<()> {
        interrupt::check()?;
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()?;
        Ok(())
    }
}

/// Columns of a given width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<const N: usize> {
    /// In characters.
    pub(crate) widths: [usize; N],
    /// How many of the columns, the last ones, are numbers and end at the same place.
    pub(crate) numbers: usize,
}

impl<const N: usize> Columns<N> {
    /// A row as a line.
    pub(crate) fn line(&self, cells: &[&str; N]) -> String {
        let cells: [String; N] = std::array::from_fn(|column| {
            let (cell, width) = (cells[column], self.widths[column]);
            if column < N - self.numbers {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        cells.join(GAP).trim_end().to_owned()
    }
}

/// Rows under heads, in columns as wide as what is in them.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    numbers: usize,
}

impl<const N: usize> Table<N> {
    /// A table with these heads, of which the last `numbers` are above numbers.
    pub(crate) fn new(heads: [&str; N], numbers: usize) -> Self {
        Self {
            rows: vec![heads.map(str::to_owned)],
            numbers,
        }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let columns = Columns {
            widths: std::array::from_fn(width),
            numbers: self.numbers,
        };
        self.rows
            .iter()
            .map(move |row| columns.line(&row.each_ref().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_and_numbers_end_at_one_place() {
        let mut table = Table::new(["class", "×", "bytes"], 1);
        table.row(["tv".to_owned(), "4 × 4".to_owned(), "12,000".to_owned()]);
        table.row(["messengers".to_owned(), String::new(), "7".to_owned()]);
        let lines: Vec<String> = table.lines().collect();
        assert_eq!(
            lines,
            [
                "class       ×       bytes",
                "tv          4 × 4  12,000",
                "messengers              7",
            ]
        );
    }
}
