//! One table of a TOML file while it is read. Each getter takes one key, reports a value of the
//! wrong type and remembers that it asked; [`Section::finish`] then reports every key that nobody
//! asked for. So a key is accepted exactly if something reads it.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use toml::de::{DeTable, DeValue};

use super::model::Place;
use super::names::suggest;
use super::source::SourceFile;
use crate::diagnostic::{Diagnostics, quote};

#[cfg(test)]
thread_local! {
    /// Which keys were asked for in this thread, by what messages call the table.
    pub(super) static ASKED: std::cell::RefCell<
        std::collections::BTreeMap<String, std::collections::BTreeSet<&'static str>>,
    > = const { std::cell::RefCell::new(std::collections::BTreeMap::new()) };
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// A table of a TOML file.
pub(crate) struct Section<'a> {
    source: &'a SourceFile,
    table: &'a DeTable<'a>,
    /// What messages call it, such as ``class `x` ``.
    title: String,
    place: Place,
    asked: Vec<&'static str>,
    out: &'a mut Diagnostics,
}

/// An entry of a table whose keys are names the user chose.
pub(crate) struct Entry<'a> {
    pub(crate) key: At<String>,
    pub(crate) value: &'a DeValue<'a>,
    pub(crate) place: Place,
}

impl<'a> Section<'a> {
    pub(crate) fn new(
        source: &'a SourceFile,
        table: &'a DeTable<'a>,
        title: impl Into<String>,
        place: Place,
        out: &'a mut Diagnostics,
    ) -> Self {
        Section {
            source,
            table,
            title: title.into(),
            place,
            asked: Vec::new(),
            out,
        }
    }

    /// Where diagnostics of this table go.
    pub(crate) fn out(&mut self) -> &mut Diagnostics {
        self.out
    }

    /// Whether the table has `key`, of whatever type.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn get(&mut self, key: &'static str) -> Option<(&'a DeValue<'a>, Place)> {
        self.asked.push(key);
        let value = self.table.get(key)?;
        Some((value.get_ref(), self.source.place(value.span().start)))
    }

    fn wrong_type(
        &mut self,
        key: &str,
        value: &DeValue<'_>,
        place: Place,
        expected: &str,
        help: &str,
    ) {
        let title = &self.title;
        let found = kind_of(value);
        self.out.error(
            place,
            "wrong-type",
            format!("{title}: {key} is {found}, not {expected}"),
            help,
        );
    }

    /// Reports that `key` is missing.
    pub(crate) fn missing(&mut self, key: &str, help: &str) {
        let message = format!("{} has no {key}", self.title);
        self.out
            .error(self.place.clone(), "missing-key", message, help);
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &'static str, example: &str) -> Option<At<String>> {
        let (value, place) = self.get(key)?;
        match value.as_str() {
            Some(text) => Some(At {
                value: text.to_owned(),
                place,
            }),
            None => {
                let help = format!("write {key} = {example:?}");
                self.wrong_type(key, value, place, "a string", &help);
                None
            }
        }
    }

    /// A string that must be there.
    pub(crate) fn required_text(&mut self, key: &'static str, example: &str) -> Option<At<String>> {
        if !self.has(key) {
            self.asked.push(key);
            self.missing(key, &format!("add {key} = {example:?}"));
            return None;
        }
        self.text(key, example)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let (value, place) = self.get(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            let help = format!("write {key} = true or {key} = false");
            self.wrong_type(key, value, place, "true or false", &help);
        }
        flag
    }

    /// A number from 0 to 2^32 - 1 that must be there.
    pub(crate) fn required_u32(&mut self, key: &'static str, example: u32) -> Option<At<u32>> {
        let Some((value, place)) = self.get(key) else {
            self.missing(key, &format!("add {key} = {example}"));
            return None;
        };
        let Some(integer) = value.as_integer() else {
            let help = format!("write {key} = {example}");
            self.wrong_type(key, value, place, "a whole number", &help);
            return None;
        };
        match u32::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(value) => Some(At { value, place }),
            Err(_) => {
                let message = format!("{}: {key} {integer} is out of range", self.title);
                let help = "write a number from 0 to 4294967295";
                self.out.error(place, "out-of-range", message, help);
                None
            }
        }
    }

    /// A number from 0 to 2^16 - 1.
    pub(crate) fn u16(&mut self, key: &'static str, example: u16) -> Option<At<u16>> {
        let (value, place) = self.get(key)?;
        let help = format!("write {key} = {example}, a number from 0 to 65535");
        let Some(integer) = value.as_integer() else {
            self.wrong_type(key, value, place, "a whole number", &help);
            return None;
        };
        match u16::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(value) => Some(At { value, place }),
            Err(_) => {
                let message = format!("{}: {key} {integer} is out of range", self.title);
                self.out.error(place, "out-of-range", message, help);
                None
            }
        }
    }

    /// A duration of at least 100 ms, as the configuration has them: `"5m"`.
    pub(crate) fn duration(&mut self, key: &'static str, example: &str) -> Option<At<Duration>> {
        let At { value: text, place } = self.text(key, example)?;
        let duration = text.parse::<SignedDuration>().ok();
        let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
        let value = duration.filter(|duration| *duration >= Duration::from_millis(100));
        if value.is_none() {
            let message = format!(
                "{}: {key} {} is no duration of at least 100ms",
                self.title,
                quote(&text)
            );
            let help = format!("write {key} = {example:?}");
            self.out.error(place.clone(), "bad-duration", message, help);
        }
        value.map(|value| At { value, place })
    }

    /// A date and time with its offset from UTC.
    pub(crate) fn instant(&mut self, key: &'static str) -> Option<At<Timestamp>> {
        let example = "2023-05-22T00:00:00+05:00";
        let (value, place) = self.get(key)?;
        let Some(datetime) = value.as_datetime() else {
            let help = format!("write {key} = {example}, without quotes");
            self.wrong_type(key, value, place, "a date and time", &help);
            return None;
        };
        match datetime.to_string().parse::<Timestamp>() {
            Ok(value) => Some(At { value, place }),
            Err(_) => {
                let message = format!(
                    "{}: {key} {datetime} is not one instant: it needs date, time and offset",
                    self.title
                );
                let help = format!("write {key} = {example}");
                self.out.error(place, "bad-instant", message, help);
                None
            }
        }
    }

    /// A date, which is its first instant in UTC, or a date and time with its offset.
    pub(crate) fn day(&mut self, key: &'static str) -> Option<At<Timestamp>> {
        let (value, place) = self.get(key)?;
        let written = value.as_datetime().map(ToString::to_string);
        let instant = written.as_deref().and_then(|text| {
            let day = || text.parse::<jiff::civil::Date>().ok();
            text.parse::<Timestamp>().ok().or_else(|| {
                let midnight = day().filter(|_| text.len() == 10)?.to_zoned(TimeZone::UTC);
                Some(midnight.ok()?.timestamp())
            })
        });
        if let Some(value) = instant {
            return Some(At { value, place });
        }
        let help = format!("write {key} = 2026-11-01, without quotes");
        self.wrong_type(key, value, place, "a date", &help);
        None
    }

    /// A number from `least` to `most`.
    pub(crate) fn number(&mut self, key: &'static str, least: u32, most: u32) -> Option<At<u32>> {
        let (value, place) = self.get(key)?;
        let help = format!("write a number from {least} to {most}, without quotes");
        let Some(integer) = value.as_integer() else {
            self.wrong_type(key, value, place, "a whole number", &help);
            return None;
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix());
        match number {
            Ok(value) if (least..=most).contains(&value) => Some(At { value, place }),
            _ => {
                let message = format!("{}: {key} {integer} is out of range", self.title);
                self.out.error(place, "out-of-range", message, help);
                None
            }
        }
    }

    /// An array of strings; empty if the key is missing.
    pub(crate) fn texts(&mut self, key: &'static str, example: &str) -> Vec<At<String>> {
        self.texts_at(key, example)
            .map_or_else(Vec::new, |list| list.value)
    }

    /// An array of strings and its place.
    pub(crate) fn texts_at(
        &mut self,
        key: &'static str,
        example: &str,
    ) -> Option<At<Vec<At<String>>>> {
        let (value, place) = self.get(key)?;
        let example = format!("{key} = {example}");
        let value = self.strings(key, value, &place, &example)?;
        Some(At { value, place })
    }

    /// The strings of the array `value`; `None` if it is or has anything else, which is reported.
    /// Messages call it `what`, and `example` is a line that would be right.
    pub(crate) fn strings(
        &mut self,
        what: &str,
        value: &'a DeValue<'a>,
        place: &Place,
        example: &str,
    ) -> Option<Vec<At<String>>> {
        let help = format!("write {example}");
        let Some(array) = value.as_array() else {
            self.wrong_type(what, value, place.clone(), "an array of strings", &help);
            return None;
        };
        let mut texts = Vec::with_capacity(array.len());
        for element in array.iter() {
            let place = self.source.place(element.span().start);
            match element.get_ref().as_str() {
                Some(text) => texts.push(At {
                    value: text.to_owned(),
                    place,
                }),
                None => {
                    let what = format!("an element of {what}");
                    self.wrong_type(&what, element.get_ref(), place, "a string", &help);
                }
            }
        }
        (texts.len() == array.len()).then_some(texts)
    }

    /// The entries of the table under `key`, in the order of the file.
    pub(crate) fn entries(&mut self, key: &'static str, example: &str) -> Option<Vec<Entry<'a>>> {
        let (value, place) = self.get(key)?;
        let Some(table) = value.as_table() else {
            let help = format!("write a table, {example}");
            self.wrong_type(key, value, place, "a table", &help);
            return None;
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries.into_iter().map(|(key, value)| Entry {
            key: At {
                value: key.get_ref().to_string(),
                place: self.source.place(key.span().start),
            },
            value: value.get_ref(),
            place: self.source.place(value.span().start),
        });
        Some(entries.collect())
    }

    /// The entries of a table that must be there.
    pub(crate) fn required_entries(
        &mut self,
        key: &'static str,
        example: &str,
    ) -> Option<Vec<Entry<'a>>> {
        if !self.has(key) {
            self.asked.push(key);
            self.missing(key, &format!("add a table, {example}"));
            return None;
        }
        self.entries(key, example)
    }

    /// The elements of the array of tables under `key`, which the file writes as `[[key]]`.
    pub(crate) fn array_of_tables(&mut self, key: &'static str) -> Vec<(&'a DeTable<'a>, Place)> {
        let Some((value, place)) = self.get(key) else {
            return Vec::new();
        };
        let help = format!("begin each with a line [[{key}]]");
        let Some(array) = value.as_array() else {
            self.wrong_type(key, value, place, "an array of tables", &help);
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(array.len());
        for element in array.iter() {
            let place = self.source.place(element.span().start);
            match element.get_ref().as_table() {
                Some(table) => tables.push((table, place)),
                None => {
                    let key = format!("an element of {key}");
                    self.wrong_type(&key, element.get_ref(), place, "a table", &help);
                }
            }
        }
        tables
    }

    /// A table inside this one, of the user's naming.
    pub(crate) fn child(
        &mut self,
        entry: &Entry<'a>,
        title: String,
        example: &str,
    ) -> Option<Section<'_>> {
        match entry.value.as_table() {
            Some(table) => Some(Section {
                source: self.source,
                table,
                title,
                place: entry.key.place.clone(),
                asked: Vec::new(),
                out: self.out,
            }),
            None => {
                let message = format!("{title} is {}, not a table", kind_of(entry.value));
                let help = format!("write a table, {example}");
                self.out
                    .error(entry.place.clone(), "wrong-type", message, help);
                None
            }
        }
    }

    /// The table under `key`, and where it begins.
    pub(crate) fn table(
        &mut self,
        key: &'static str,
        title: String,
        example: &str,
    ) -> Option<(Section<'_>, Place)> {
        let (value, place) = self.get(key)?;
        let Some(table) = value.as_table() else {
            let help = format!("write a table, {example}");
            self.wrong_type(key, value, place, "a table", &help);
            return None;
        };
        let section = Section::new(self.source, table, title, place.clone(), self.out);
        Some((section, place))
    }

    /// Reports the keys that no getter asked for.
    pub(crate) fn finish(self) {
        #[cfg(test)]
        ASKED.with_borrow_mut(|all| {
            let asked = self.asked.iter().copied();
            all.entry(self.title.clone()).or_default().extend(asked);
        });
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !self.asked.contains(&name) {
                self.out.error(
                    self.source.place(key.span().start),
                    "unknown-key",
                    format!("{} has no key {}", self.title, quote(name)),
                    suggest(name, "keys", self.asked.iter().copied()),
                );
            }
        }
    }
}

/// What messages call the type of a value.
pub(crate) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
