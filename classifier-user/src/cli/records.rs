//! Printing a list of things: a table for people, CSV and JSON lines for programs.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::report::Format;

/// One line of a list.
pub trait Line: Serialize {
    /// Column heads.
    const HEADS: &'static [&'static str];
    /// The cells, one a head.
    fn cells(&self) -> Vec<String>;
}

/// Prints a list.
///
/// # Errors
/// When it cannot be written.
pub fn write<T: Line>(out: &mut impl Write, format: Format, lines: &[T]) -> io::Result<()> {
    match format {
        Format::Json => {
            for line in lines {
                serde_json::to_writer(&mut *out, line)?;
                writeln!(out)?;
            }
            Ok(())
        }
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(T::HEADS).map_err(io::Error::other)?;
            for line in lines {
                csv.write_record(line.cells()).map_err(io::Error::other)?;
            }
            csv.flush()
        }
        Format::Table => {
            let mut table = Table::new();
            table.load_preset(presets::NOTHING).set_header(T::HEADS);
            for line in lines {
                table.add_row(line.cells());
            }
            writeln!(out, "{}", table.trim_fmt())
        }
    }
}
