//! A [`Sheet`] laid out: as text, as CSV for spreadsheets, and as a page that can be printed.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use maud::html;

use super::sheet::{Entry, Grid, Sheet};
use crate::publish::document;

impl Entry {
    fn shown(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number { shown, .. } => shown,
        }
    }

    fn plain(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number { plain, .. } => plain,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Number { .. })
    }
}

impl Sheet {
    /// As text, for a terminal or a letter.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}\n", self.title)?;
        for (name, value) in &self.facts {
            writeln!(out, "{name}: {value}")?;
        }
        for grid in &self.tables {
            writeln!(out, "\n{}\n{}", grid.caption, table(grid).trim_fmt())?;
        }
        writeln!(out)?;
        self.notes
            .iter()
            .try_for_each(|note| writeln!(out, "{note}"))
    }

    /// As CSV: each line begins with the heading of its table; numbers are as programs read them, and times are in the
    /// language.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        let mut csv = csv::WriterBuilder::new().flexible(true).from_writer(out);
        for (name, value) in &self.facts {
            csv.write_record([&self.title, name, value])?;
        }
        for grid in &self.tables {
            let caption = || std::iter::once(&*grid.caption);
            csv.write_record(caption().chain(grid.heads.iter().map(String::as_str)))?;
            for row in grid.rows.iter().chain(&grid.total) {
                csv.write_record(caption().chain(row.iter().map(Entry::plain)))?;
            }
        }
        csv.flush()
    }

    /// As a page, whole in itself.
    #[must_use]
    pub fn page(&self) -> String {
        let body = html! {
            main {
                h1 { (self.title) }
                table {
                    tbody {
                        @for (name, value) in &self.facts {
                            tr { th scope="row" { (name) } td { (value) } }
                        }
                    }
                }
                @for grid in &self.tables {
                    table {
                        caption { (grid.caption) }
                        thead { tr { @for head in &grid.heads { th scope="col" { (head) } } } }
                        tbody { @for row in &grid.rows { (cells(row)) } }
                        @if let Some(total) = &grid.total { tfoot { (cells(total)) } }
                    }
                }
                @for note in &self.notes { p { (note) } }
            }
        };
        document(self.language, &self.title, &body)
    }
}

fn cells(row: &[Entry]) -> maud::Markup {
    html! {
        tr {
            @for entry in row {
                @if entry.is_number() {
                    td class="n" { data value=(entry.plain()) { (entry.shown()) } }
                } @else {
                    td { (entry.shown()) }
                }
            }
        }
    }
}

/// A table without borders, numbers to the right.
fn table(grid: &Grid) -> Table {
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(&grid.heads);
    for row in grid.rows.iter().chain(&grid.total) {
        table.add_row(row.iter().map(|entry| {
            let cell = Cell::new(entry.shown());
            match entry.is_number() {
                true => cell.set_alignment(CellAlignment::Right),
                false => cell,
            }
        }));
    }
    table
}
