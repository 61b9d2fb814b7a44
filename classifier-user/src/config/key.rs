//! A key whose place in the file is worth knowing: what it says is checked against what others say.

use std::fmt;

use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// What a key says, and where in the file, if it is there.
#[derive(Clone, Copy, Default)]
pub(super) struct Key<T> {
    pub(super) value: T,
    pub(super) at: Option<usize>,
}

impl<T: fmt::Debug> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Key<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(from)?;
        Ok(Self {
            at: Some(spanned.span().start),
            value: spanned.into_inner(),
        })
    }
}
