//! A statement as subscribers read it, in a language: facts and tables, from the same numbers as everything else that tells of
//! it. [`Sheet`] is what there is to say; how it is laid out as text, as CSV and as a page, `layout.rs` knows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::called::ByName;
use super::{Statement, StatementRow};
use crate::balance::money::Amount;
use crate::language::{Language, Phrases};
use crate::ledger::notes::Corrected;
use crate::ledger::records::{Record, What};

/// What there is to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// In which language it is.
    pub language: Language,
    /// Its heading.
    pub title: String,
    /// What holds for all of it, each with its name.
    pub facts: Vec<(String, String)>,
    /// Tables in their order.
    pub tables: Vec<Grid>,
    /// What is to be known beside that.
    pub notes: Vec<String>,
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Its heading.
    pub caption: String,
    /// Names of its columns.
    pub heads: Vec<String>,
    /// Its lines.
    pub rows: Vec<Vec<Entry>>,
    /// The last line, over all.
    pub total: Option<Vec<Entry>>,
}

/// What stands in a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Words.
    Text(String),
    /// A number,
    Number {
        /// as people write it,
        shown: String,
        /// and as programs do.
        plain: String,
    },
}

impl Entry {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// Writes a statement in a language.
struct Writer<'a> {
    statement: &'a Statement,
    language: Language,
    phrases: &'static Phrases,
    zone: TimeZone,
}

impl Sheet {
    /// The sheet of a statement.
    #[must_use]
    pub fn of(statement: &Statement, language: Language) -> Self {
        let writer = Writer {
            statement,
            language,
            phrases: language.phrases(),
            zone: TimeZone::get(&statement.head.timezone).unwrap_or(TimeZone::UTC),
        };
        let said = &writer.phrases.statement;
        let mut tables = vec![writer.time()];
        let mut notes = Vec::new();
        if !statement.usage.is_empty() {
            tables.push(writer.volume(said.volume, &statement.usage));
        } else if statement.head.pruned_until.is_none() {
            notes.push(said.nothing.to_owned());
        } else {
            // Nobody knows any more whether something was used.
            notes.push(said.nothing_kept.to_owned());
        }
        if !statement.dropped.is_empty() {
            tables.push(writer.volume(said.dropped, &statement.dropped));
        }
        if !statement.outages.is_empty() {
            tables.push(writer.outages());
        }
        tables.extend(writer.corrections());
        if statement.usage.iter().any(|row| row.price.is_some()) {
            notes.push(said.prices.to_owned());
        }
        notes.push(format!(
            "{} {}.",
            writer.phrases.times, statement.head.timezone
        ));
        Self {
            language,
            title: said.title.to_owned(),
            facts: writer.facts(),
            tables,
            notes,
        }
    }
}

impl Writer<'_> {
    fn at(&self, time: Timestamp) -> String {
        self.language.time(time, &self.zone)
    }

    fn number(&self, plain: impl ToString) -> Entry {
        let plain = plain.to_string();
        let shown = self.language.decimal(&plain);
        Entry::Number { shown, plain }
    }

    /// A time as hours, minutes and seconds; programs get seconds.
    fn duration(&self, seconds: f64) -> Entry {
        Entry::Number {
            shown: self.language.duration(seconds),
            plain: seconds.to_string(),
        }
    }

    fn money(&self, amount: &Amount) -> Entry {
        let plain = amount.to_string();
        let (number, currency) = plain.split_once(' ').unwrap_or((&plain, ""));
        let shown = format!("{}\u{a0}{currency}", self.language.decimal(number));
        Entry::Number { shown, plain }
    }

    fn facts(&self) -> Vec<(String, String)> {
        let (head, said) = (&self.statement.head, &self.phrases.statement);
        let used = &head.total.used;
        let rates = |down: u64, up: u64| {
            let [down, up] = [down, up].map(|bits| self.language.whole(bits / 1_000));
            format!("{down} / {up}\u{a0}{}", said.kilobits)
        };
        let state = match &*head.state {
            "active" => said.active,
            "suspended" => said.suspended,
            _ => said.removed,
        };
        let mut facts = vec![
            (said.subscriber.to_owned(), head.subscriber.clone()),
            (
                said.period.to_owned(),
                format!("{} – {}", self.at(head.from), self.at(head.to)),
            ),
            (said.state.to_owned(), state.to_owned()),
            (said.complete_until.to_owned(), self.at(head.complete_until)),
            (
                format!("{} ({})", said.average, said.down_up),
                rates(used.average_down_bps, used.average_up_bps),
            ),
            (
                format!("{} ({})", said.peak, said.down_up),
                rates(used.peak_down_bps, used.peak_up_bps),
            ),
        ];
        if let Some(pruned) = head.pruned_until {
            facts.insert(4, (said.pruned_until.to_owned(), self.at(pruned)));
        }
        if let Some(plan) = &head.plan {
            let called = self.called(|called| &called.plans, plan);
            facts.insert(2, (said.plan.to_owned(), called));
        }
        facts
    }

    /// What people are told something is called.
    fn called(&self, of: impl Fn(&super::Called) -> &ByName, name: &str) -> String {
        let names = self.statement.called.as_ref().map(of);
        let title = names.and_then(|names| names.get(name)?.get(self.language.code()));
        title.map_or(name, String::as_str).to_owned()
    }

    fn time(&self) -> Grid {
        let (head, said) = (&self.statement.head, &self.phrases.statement);
        let rows = self.statement.sessions.iter().map(|session| {
            let end = session
                .end
                .map_or_else(|| "–".to_owned(), |end| self.at(end));
            vec![
                Entry::text(self.at(session.start)),
                Entry::text(end),
                self.duration(session.connected_seconds),
                self.duration(session.used.active_seconds),
            ]
        });
        Grid {
            caption: said.time.to_owned(),
            heads: [said.from, said.to, said.connected, said.active_time]
                .map(str::to_owned)
                .to_vec(),
            rows: rows.collect(),
            total: Some(vec![
                Entry::text(said.total),
                Entry::text(""),
                self.duration(head.total.connected_seconds),
                self.duration(head.total.used.active_seconds),
            ]),
        }
    }

    /// Volume by class, plan and charge, with what it costs where something has a price.
    fn volume(&self, caption: &str, rows: &[StatementRow]) -> Grid {
        let said = &self.phrases.statement;
        let priced = rows.iter().any(|row| row.price.is_some());
        let charged = |row: &StatementRow| match &*row.charged {
            "free" => said.free.to_owned(),
            "metered" => said.metered.to_owned(),
            "dropped" => "–".to_owned(),
            bucket => self.called(|called| &called.buckets, bucket),
        };
        let mut heads = vec![
            said.class,
            said.plan,
            said.charged,
            said.received,
            said.sent,
            said.drawn,
        ];
        if priced {
            heads.extend([said.price, said.amount]);
        }
        let mut sums = [0_u64; 3];
        let mut money: BTreeMap<&str, i64> = BTreeMap::new();
        let mut lines = Vec::new();
        for row in rows {
            let counts = [
                row.traffic.bytes_down,
                row.traffic.bytes_up,
                row.bytes_drawn,
            ];
            let mut line = vec![
                Entry::text(self.called(|called| &called.classes, &row.class)),
                Entry::text(self.called(|called| &called.plans, &row.plan)),
                Entry::text(charged(row)),
            ];
            line.extend(counts.map(|count| self.number(count)));
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
            if priced {
                line.push(Entry::text(row.price.as_deref().unwrap_or("")));
                let amount = row.amount.as_ref();
                line.push(amount.map_or_else(|| Entry::text(""), |amount| self.money(amount)));
            }
            if let Some(amount) = &row.amount {
                let sum = money.entry(&amount.currency).or_default();
                *sum = sum.saturating_add(amount.units);
            }
            lines.push(line);
        }
        let mut total = vec![Entry::text(said.total), Entry::text(""), Entry::text("")];
        total.extend(sums.map(|sum| self.number(sum)));
        if priced {
            total.push(Entry::text(""));
            // Amounts of several currencies have no sum.
            let mut sums = money.into_iter();
            total.push(match (sums.next(), sums.next()) {
                (Some((currency, units)), None) => self.money(&Amount {
                    units,
                    currency: currency.to_owned(),
                }),
                _ => Entry::text(""),
            });
        }
        Grid {
            caption: caption.to_owned(),
            heads: heads.into_iter().map(str::to_owned).collect(),
            rows: lines,
            total: Some(total),
        }
    }

    /// What should have been recorded of usage, beside the sums, which stay; outages are told as they were corrected.
    fn corrections(&self) -> Option<Grid> {
        let said = &self.phrases.statement;
        let row = |record: &Record| {
            let What::Correction(correction) = &record.entry.what else {
                return None;
            };
            let Corrected::Usage {
                bytes_up,
                bytes_down,
                ..
            } = correction.right
            else {
                return None;
            };
            Some(vec![
                self.number(correction.corrects),
                self.number(bytes_down),
                self.number(bytes_up),
                Entry::text(record.entry.reason.as_deref().unwrap_or("")),
            ])
        };
        let rows: Vec<_> = self.statement.records.iter().filter_map(row).collect();
        (!rows.is_empty()).then(|| Grid {
            caption: said.corrections.to_owned(),
            heads: [said.record, said.received, said.sent, said.reason]
                .map(str::to_owned)
                .to_vec(),
            rows,
            total: None,
        })
    }

    fn outages(&self) -> Grid {
        let said = &self.phrases.statement;
        let rows = self.statement.outages.iter().map(|outage| {
            vec![
                Entry::text(self.at(outage.from)),
                Entry::text(self.at(outage.to)),
                Entry::text(&*outage.cause),
                self.duration(outage.creditable_seconds),
            ]
        });
        Grid {
            caption: said.outages.to_owned(),
            heads: [said.from, said.to, said.cause, said.creditable]
                .map(str::to_owned)
                .to_vec(),
            rows: rows.collect(),
            total: Some(vec![
                Entry::text(said.total),
                Entry::text(""),
                Entry::text(""),
                self.duration(self.statement.head.total.creditable_seconds),
            ]),
        }
    }
}
