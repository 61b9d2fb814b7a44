//! The languages in which people are told what they pay for, and how each writes numbers and dates.
//!
//! What is said is in [`Phrases`]: a language without one of them does not compile.

mod en;
mod kk;
mod number;
mod phrases;
mod ru;
mod sq;
mod uz;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use phrases::{Chain, Days, Phrases, StatementPhrases};

/// A language of operators' customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Kazakh.
    Kk,
    /// Russian.
    Ru,
    /// Uzbek, in Latin letters.
    Uz,
    /// Albanian.
    Sq,
    /// English.
    En,
}

/// There is no such language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no language {asked:?}; there are {}", known())]
pub struct UnknownLanguage {
    /// What was asked for.
    asked: String,
}

fn known() -> String {
    let known = Language::ALL.map(|language| format!("{language} ({})", language.name()));
    known.join(", ")
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Kk, Self::Ru, Self::Uz, Self::Sq, Self::En];

    /// Its code in ISO 639-1.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Kk => "kk",
            Self::Ru => "ru",
            Self::Uz => "uz",
            Self::Sq => "sq",
            Self::En => "en",
        }
    }

    /// Its tag in BCP 47: Uzbek is written in two scripts.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::Uz => "uz-Latn",
            other => other.code(),
        }
    }

    /// Its name in English, for messages of commands.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kk => "Kazakh",
            Self::Ru => "Russian",
            Self::Uz => "Uzbek",
            Self::Sq => "Albanian",
            Self::En => "English",
        }
    }

    /// Its name in itself, for its speakers.
    #[must_use]
    pub fn own_name(self) -> &'static str {
        match self {
            Self::Kk => "Қазақша",
            Self::Ru => "Русский",
            Self::Uz => "Oʻzbekcha",
            Self::Sq => "Shqip",
            Self::En => "English",
        }
    }

    /// What is said in it.
    #[must_use]
    pub fn phrases(self) -> &'static Phrases {
        match self {
            Self::Kk => &kk::PHRASES,
            Self::Ru => &ru::PHRASES,
            Self::Uz => &uz::PHRASES,
            Self::Sq => &sq::PHRASES,
            Self::En => &en::PHRASES,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(text: &str) -> Result<Self, UnknownLanguage> {
        let found = Self::ALL.into_iter().find(|one| one.code() == text);
        found.ok_or_else(|| UnknownLanguage {
            asked: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_that_is_not_there_is_refused_with_those_that_are() {
        let refused = "de".parse::<Language>().unwrap_err().to_string();
        assert_eq!(
            refused,
            "there is no language \"de\"; there are kk (Kazakh), ru (Russian), uz (Uzbek), sq (Albanian), en (English)"
        );
        for language in Language::ALL {
            assert_eq!(language.code().parse(), Ok(language));
        }
    }
}
