//! What JSON sources have in common: prefixes inside strings, and errors with their place.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, Visitor};

use crate::diagnostic::Diagnostics;
use crate::policy::{Range, SourceFile};

/// A string that is a prefix or an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Net(pub(super) Range);

impl<'de> Deserialize<'de> for Net {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Net;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a prefix, such as \"192.0.2.0/24\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Net, E> {
                super::prefix(text).map(Net).map_err(E::custom)
            }
        }
        from.deserialize_str(Text)
    }
}

/// The source as a `T`, or what is wrong with it.
pub(super) fn read<T: DeserializeOwned>(source: &SourceFile, out: &mut Diagnostics) -> Option<T> {
    match serde_json::from_str(source.text()) {
        Ok(value) => Some(value),
        Err(error) => {
            let message = error.to_string();
            // The place is told before the message.
            let message = message.split(" at line ").next().unwrap_or_default();
            let (line, column) = (error.line().max(1), error.column().max(1));
            let place = source.at(line as u32, column as u32);
            let help = if error.is_eof() {
                "fetch it again: it was cut off"
            } else {
                "check that this is the list that is meant, and fetch it again"
            };
            out.error(place, "json", format!("JSON: {message}"), help);
            None
        }
    }
}
