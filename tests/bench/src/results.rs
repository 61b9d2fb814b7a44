//! What was measured, in the form `--json` writes: one object a line.

use std::io::Write;

use anyhow::Result;
use serde::{Serialize, Serializer};

use crate::packets::Pattern;
use crate::rounds::Timing;
use crate::world::Size;

/// What is held against what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Program {
    Floor,
    Parse,
    Reference,
    Nftables,
    Ours,
    #[serde(rename = "ours-tc")]
    OursTc,
    Native,
}

impl Program {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Parse => "parse",
            Self::Reference => "reference",
            Self::Nftables => "nftables",
            Self::Ours => "ours",
            Self::OursTc => "ours-tc",
            Self::Native => "native",
        }
    }
}

/// What a packet costs with one program. What runs elsewhere than `floor` (`nftables`, `ours-tc`, `native`) is
/// measured over an empty run in the same place, and written as if that were `floor`'s: differences to `floor` are
/// then what the program itself costs, for all of them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) program: Program,
    pub(crate) family: u8,
    pub(crate) prefixes: usize,
    pub(crate) subscribers: usize,
    pub(crate) pattern: Pattern,
    pub(crate) cpus: usize,
    #[serde(serialize_with = "tenths")]
    pub(crate) ns: f64,
    #[serde(serialize_with = "tenths")]
    pub(crate) spread: f64,
}

/// Any other figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) figure: String,
    pub(crate) value: f64,
}

fn tenths<S: Serializer>(ns: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((ns * 10.0).round() / 10.0)
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) lines: Vec<Line>,
    pub(crate) figures: Vec<Figure>,
}

/// The place of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) size: Size,
    pub(crate) pattern: Pattern,
    pub(crate) cpus: usize,
}

impl Results {
    pub(crate) fn line(&mut self, program: Program, place: Place, timing: Timing) {
        self.lines.push(Line {
            program,
            family: place.size.family.number(),
            prefixes: place.size.prefixes,
            subscribers: place.size.subscribers,
            pattern: place.pattern,
            cpus: place.cpus,
            ns: timing.ns,
            spread: timing.spread,
        });
    }

    /// Notes a figure, rounded to six digits.
    pub(crate) fn figure(&mut self, name: &str, value: f64) {
        let digits = if value == 0.0 {
            0.0
        } else {
            value.abs().log10().floor()
        };
        let scale = 10_f64.powf(5.0 - digits);
        self.figures.push(Figure {
            figure: name.to_owned(),
            value: (value * scale).round() / scale,
        });
    }

    /// What a program took in a place.
    pub(crate) fn timing(&self, program: Program, place: Place) -> Option<Timing> {
        let mut found = self.lines.iter().filter(|line| {
            line.program == program
                && line.family == place.size.family.number()
                && line.prefixes == place.size.prefixes
                && line.subscribers == place.size.subscribers
                && line.pattern == place.pattern
                && line.cpus == place.cpus
        });
        found.next().map(|line| Timing {
            ns: line.ns,
            spread: line.spread,
        })
    }

    /// A figure by its name.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        let mut found = self.figures.iter().filter(|figure| figure.figure == name);
        found.next().map(|figure| figure.value)
    }

    /// Writes one JSON object a line.
    pub(crate) fn write(&self, mut out: impl Write) -> Result<()> {
        for line in &self.lines {
            writeln!(out, "{}", serde_json::to_string(line)?)?;
        }
        for figure in &self.figures {
            writeln!(out, "{}", serde_json::to_string(figure)?)?;
        }
        Ok(())
    }
}
