//! One line of a subscriber file, taken apart: CSV as RFC 4180 has it, but a quoted field ends in
//! its line, so that one missing quote spoils one line and not the rest of the file.

use std::borrow::Cow;

/// How many fields a line has.
const FIELDS: usize = 4;

/// A field without its quotes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) text: Cow<'a, str>,
    /// Column of its first character inside the quotes, from 1.
    pub(super) column: u32,
}

/// What is wrong with a line, and at which column.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidLine {
    pub(super) column: u32,
    pub(super) problem: Problem,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("the number of fields is {0}, not 4")]
    Count(usize),
    #[error("the quoted field does not end in this line")]
    Unclosed,
    #[error("there is text after the closing quote")]
    AfterQuote,
    #[error("there is a quote inside a field that is not quoted")]
    InsideField,
}

impl Problem {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Problem::Count(_) => "field-count",
            _ => "bad-quotes",
        }
    }

    pub(super) fn help(&self) -> &'static str {
        match self {
            Problem::Count(_) => "write id,plan,state,addresses, with spaces between the addresses",
            Problem::Unclosed => "close the quote before the end of the line",
            Problem::AfterQuote => {
                "put a comma after the closing quote; a quote inside quotes is written twice"
            }
            Problem::InsideField => {
                "quote the whole field and write the quote inside it twice, or remove it"
            }
        }
    }
}

/// Takes a line apart.
pub(super) fn split(line: &str) -> Result<[Field<'_>; FIELDS], InvalidLine> {
    let mut fields = Vec::with_capacity(FIELDS);
    let mut rest = line;
    let mut column = 1;
    loop {
        let (field, length) = take_field(rest, column)?;
        fields.push(field);
        column += rest[..length].chars().count() as u32;
        match rest[length..].strip_prefix(',') {
            Some(after) => rest = after,
            None => break,
        }
        column += 1;
    }
    fields
        .try_into()
        .map_err(|fields: Vec<Field<'_>>| InvalidLine {
            column: fields.get(FIELDS).map_or(1, |extra| extra.column),
            problem: Problem::Count(fields.len()),
        })
}

/// The field at the beginning of `rest`, and how many bytes of `rest` it takes up, quotes included.
fn take_field(rest: &str, column: u32) -> Result<(Field<'_>, usize), InvalidLine> {
    let Some(quoted) = rest.strip_prefix('"') else {
        let text = rest.split(',').next().unwrap_or_default();
        return match text.find('"') {
            Some(at) => Err(InvalidLine {
                column: column + text[..at].chars().count() as u32,
                problem: Problem::InsideField,
            }),
            None => Ok((
                Field {
                    text: text.into(),
                    column,
                },
                text.len(),
            )),
        };
    };
    let mut end = 0;
    loop {
        let Some(quote) = quoted[end..].find('"') else {
            let problem = Problem::Unclosed;
            return Err(InvalidLine { column, problem });
        };
        end += quote;
        if !quoted[end + 1..].starts_with('"') {
            break;
        }
        end += 2;
    }
    let length = 1 + end + 1;
    if !matches!(rest[length..].chars().next(), None | Some(',')) {
        return Err(InvalidLine {
            column: column + rest[..length].chars().count() as u32,
            problem: Problem::AfterQuote,
        });
    }
    let inside = &quoted[..end];
    let text = match inside.contains('"') {
        true => Cow::Owned(inside.replace("\"\"", "\"")),
        false => Cow::Borrowed(inside),
    };
    let column = column + 1;
    Ok((Field { text, column }, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(line: &str) -> Result<Vec<(String, u32)>, (u32, Problem)> {
        match split(line) {
            Ok(fields) => Ok(fields.map(|f| (f.text.into_owned(), f.column)).to_vec()),
            Err(InvalidLine { column, problem }) => Err((column, problem)),
        }
    }

    #[test]
    fn fields_and_columns() {
        let fields = |list: [(&str, u32); 4]| Ok(list.map(|(t, c)| (t.to_owned(), c)).to_vec());
        assert_eq!(
            texts("a,b,c,d e"),
            fields([("a", 1), ("b", 3), ("c", 5), ("d e", 7)])
        );
        assert_eq!(texts(",,,"), fields([("", 1), ("", 2), ("", 3), ("", 4)]));
        assert_eq!(
            texts("\"a\",\"b,\"\"x\"\"\",ç,\"\""),
            fields([("a", 2), ("b,\"x\"", 6), ("ç", 15), ("", 18)])
        );
    }

    #[test]
    fn bad_lines() {
        assert_eq!(texts("a,b,c"), Err((1, Problem::Count(3))));
        assert_eq!(texts("a,b,c,d,e,f"), Err((9, Problem::Count(6))));
        assert_eq!(texts("a,\"b,c,d"), Err((3, Problem::Unclosed)));
        assert_eq!(texts("a,\"b\"x,c,d"), Err((6, Problem::AfterQuote)));
        assert_eq!(texts("a,b\"x\",c,d"), Err((4, Problem::InsideField)));
    }

    proptest! {
        #[test]
        fn what_a_csv_writer_writes_reads_back(wanted in prop::array::uniform4("[a-zç\", ]{0,8}")) {
            let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
            writer.write_record(&wanted).unwrap();
            let line = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let fields = split(line.trim_end_matches('\n')).unwrap();
            let read = fields.map(|field| field.text.into_owned());
            prop_assert_eq!(read, wanted);
        }
    }
}
