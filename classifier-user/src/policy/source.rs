//! A text file that people write, and the places in it. Every input file is read here, so that byte
//! order marks, line ends, encodings and odd files are treated alike everywhere.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::model::Place;
use crate::diagnostic::Diagnostics;
use crate::progress::Progress;

/// Larger files are refused: ten million prefixes fit many times over.
const MAX_BYTES: u64 = 1 << 30;

/// A text file in memory.
pub(crate) struct SourceFile {
    path: Arc<PathBuf>,
    content: String,
    /// Offsets in [`SourceFile::text`] at which lines begin.
    line_starts: Vec<usize>,
    /// Offset and column of the place asked for last: one line may hold many elements of an array.
    last_place: Cell<(usize, u32)>,
    /// What its lines are counted for as they go by.
    progress: Progress,
}

/// Why a file could not be read as text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// The system refused.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A directory, a pipe, a device.
    #[error("is not a regular file")]
    NotAFile,
    /// More than [`MAX_BYTES`].
    #[error("is larger than 1 GiB")]
    TooLarge,
    /// Bytes that are no UTF-8, the first of them at this place.
    #[error("is not UTF-8 text")]
    NotUtf8(Place),
}

impl Unreadable {
    /// Reports it about the file named `shown`: at the offending byte where there is one, else at
    /// `place`.
    pub(crate) fn report(self, shown: &str, place: Place, out: &mut Diagnostics) {
        let message = format!("{shown} {self}");
        match self {
            Unreadable::Io(_) => out.error(
                place,
                "unreadable",
                message,
                "check that the file exists under this name and may be read",
            ),
            Unreadable::NotAFile => out.error(
                place,
                "unreadable",
                message,
                "name a text file, or a link to one",
            ),
            Unreadable::TooLarge => out.error(
                place,
                "unreadable",
                message,
                "check that this is the right file",
            ),
            Unreadable::NotUtf8(place) => out.error(
                place,
                "not-utf8",
                message,
                "save the file as UTF-8; this byte is the first that is not",
            ),
        }
    }
}

/// One line without its end (`\n` or `\r\n`).
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Counted from 1.
    pub(crate) number: u32,
    pub(crate) text: &'a str,
}

impl SourceFile {
    pub(crate) fn read(path: &Path) -> Result<Self, Unreadable> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(Unreadable::NotAFile);
        }
        if metadata.len() > MAX_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let path = Arc::new(path.to_owned());
        match String::from_utf8(fs::read(path.as_path())?) {
            Ok(content) => Ok(Self::new(path, content)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let mut bytes = error.into_bytes();
                bytes.truncate(valid);
                let content = String::from_utf8_lossy(&bytes).into_owned();
                let source = Self::new(path, content);
                Err(Unreadable::NotUtf8(source.place(source.text().len())))
            }
        }
    }

    pub(crate) fn new(path: Arc<PathBuf>, content: String) -> Self {
        let mut source = SourceFile {
            path,
            content,
            line_starts: Vec::new(),
            last_place: Cell::new((0, 1)),
            progress: Progress::default(),
        };
        let newlines = source
            .text()
            .bytes()
            .zip(1..)
            .filter(|&(byte, _)| byte == b'\n');
        source.line_starts = [0]
            .into_iter()
            .chain(newlines.map(|(_, next)| next))
            .collect();
        source
    }

    /// The same, whose lines are counted for `progress`.
    pub(crate) fn counted(self, progress: &Progress) -> Self {
        SourceFile {
            progress: progress.clone(),
            ..self
        }
    }

    pub(crate) fn path(&self) -> &Arc<PathBuf> {
        &self.path
    }

    /// The bytes of the file, byte order mark included.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.content.as_bytes()
    }

    /// The text after a byte order mark, if there is one.
    pub(crate) fn text(&self) -> &str {
        self.content
            .strip_prefix('\u{feff}')
            .unwrap_or(&self.content)
    }

    /// The place of the character at `offset` of [`SourceFile::text`].
    pub(crate) fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text().len());
        let line = self.line_starts.partition_point(|&start| start <= offset);
        let start = self.line_starts[line - 1];
        let (known, column) = match self.last_place.get() {
            last if (start..=offset).contains(&last.0) => last,
            _ => (start, 1),
        };
        let between = self.text().get(known..offset).unwrap_or_default();
        let column = column + between.chars().count() as u32;
        self.last_place.set((offset, column));
        self.at(line as u32, column)
    }

    /// The place at `line` and `column`, both from 1.
    pub(crate) fn at(&self, line: u32, column: u32) -> Place {
        Place {
            file: Arc::clone(&self.path),
            line,
            column,
        }
    }

    /// How many lines there are, at most one more than [`SourceFile::lines`] gives.
    pub(crate) fn line_count(&self) -> usize {
        self.line_starts.len()
    }

    /// The line of this number, from 1, without its end.
    pub(crate) fn line(&self, number: u32) -> Option<&str> {
        let index = (number as usize).checked_sub(1)?;
        let start = *self.line_starts.get(index)?;
        let end = self.line_starts.get(index + 1).copied();
        let line = self.text().get(start..end.unwrap_or(self.text().len()))?;
        Some(line.trim_end_matches(['\n', '\r']))
    }

    /// The lines, the empty one after a final line end left out.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let text = self.text();
        let count = self.line_count() - usize::from(text.ends_with('\n'));
        let lines = (0..count).zip(1..).map(move |(line, number)| {
            let end = self
                .line_starts
                .get(line + 1)
                .copied()
                .unwrap_or(text.len());
            let line = text.get(self.line_starts[line]..end).unwrap_or_default();
            let line = line.strip_suffix('\n').unwrap_or(line);
            Line {
                number,
                text: line.strip_suffix('\r').unwrap_or(line),
            }
        });
        self.progress.over(lines, |line| line.text.len() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(content: &str) -> SourceFile {
        SourceFile::new(Arc::new(PathBuf::from("f")), content.to_owned())
    }

    #[test]
    fn places_count_characters_from_one() {
        let s = source("\u{feff}ab\r\nçd\n");
        assert_eq!(s.text(), "ab\r\nçd\n");
        assert_eq!(s.place(0).to_string(), "f:1:1");
        assert_eq!(s.place(1).to_string(), "f:1:2");
        assert_eq!(s.place(4).to_string(), "f:2:1");
        assert_eq!(s.place(6).to_string(), "f:2:2");
        assert_eq!(s.place(8).to_string(), "f:3:1");
        assert_eq!(s.place(6).to_string(), "f:2:2");
        assert_eq!(s.place(7).to_string(), "f:2:3");
        assert_eq!(s.place(0).to_string(), "f:1:1");
        assert_eq!(s.place(99).to_string(), "f:3:1");
    }

    #[test]
    fn lines_have_no_ends() {
        let lines = |content| -> Vec<(u32, String)> {
            source(content)
                .lines()
                .map(|line| (line.number, line.text.to_owned()))
                .collect()
        };
        let expected = vec![(1, "a".to_owned()), (2, "b".to_owned())];
        assert_eq!(lines("a\nb\n"), expected);
        assert_eq!(lines("\u{feff}a\r\nb\r\n"), expected);
        assert_eq!(lines("a\nb"), expected);
    }

    #[test]
    fn odd_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            SourceFile::read(dir.path()),
            Err(Unreadable::NotAFile)
        ));
        assert!(matches!(
            SourceFile::read(&dir.path().join("missing")),
            Err(Unreadable::Io(_))
        ));
        let latin1 = dir.path().join("latin1");
        fs::write(&latin1, b"ok\n# caf\xe9\n").unwrap();
        let Err(Unreadable::NotUtf8(place)) = SourceFile::read(&latin1) else {
            panic!("Latin-1 was taken for UTF-8");
        };
        assert_eq!((place.line, place.column), (2, 6));
    }
}
