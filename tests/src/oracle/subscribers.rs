//! The subscribers file, and whose an address is.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::prefix::{Address, Prefix};

/// One line of the file.
#[derive(Debug)]
pub struct Subscriber {
    /// The account's id.
    pub id: String,
    /// The name of its plan.
    pub plan: String,
    /// Whether its state is `suspended`.
    pub suspended: bool,
    /// The prefixes it owns.
    pub prefixes: Vec<Prefix>,
}

/// The whole file, in its order.
#[derive(Debug)]
pub struct Subscribers(pub Vec<Subscriber>);

impl Subscribers {
    /// Reads a subscribers file.
    ///
    /// # Errors
    /// When it is not CSV with the header `id,plan,state,addresses`, or a field is not understood.
    pub fn read(path: &Path) -> Result<Self> {
        let mut reader =
            csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
        ensure!(
            reader.headers()? == vec!["id", "plan", "state", "addresses"],
            "header"
        );
        let mut subscribers = Vec::new();
        for record in reader.records() {
            let record = record?;
            let suspended = match &record[2] {
                "active" => false,
                "suspended" => true,
                other => bail!("state {other:?}"),
            };
            let prefixes = record[3]
                .split_whitespace()
                .map(Prefix::parse)
                .collect::<Result<_>>()?;
            subscribers.push(Subscriber {
                id: record[0].to_owned(),
                plan: record[1].to_owned(),
                suspended,
                prefixes,
            });
        }
        Ok(Self(subscribers))
    }

    /// Whose the address is, as a place in the file: the longest prefix decides.
    #[must_use]
    pub fn owner_of(&self, address: Address) -> Option<usize> {
        let mut best: Option<(u32, usize)> = None;
        for (place, subscriber) in self.0.iter().enumerate() {
            for prefix in &subscriber.prefixes {
                let longer = best.is_none_or(|(length, _)| prefix.length > length);
                if longer && prefix.contains(address) {
                    best = Some((prefix.length, place));
                }
            }
        }
        best.map(|(_, place)| place)
    }
}
