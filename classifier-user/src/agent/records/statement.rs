//! The statement of a subscriber, from records and from what is not recorded yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use classifier::layout::Meter;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::checkpoint::close;
use super::outages;
use super::recording::Waiting;
use crate::accounts::activity::between;
use crate::agent::node::Node;
use crate::agent::subscribers::SubscriberView;
use crate::ledger::notes::OF_NOBODY;
use crate::ledger::records::Record;
use crate::ledger::usage::{Cause, Closing, Cut, End, PastSession, SealedUsage, Stored, Taken};
use crate::ledger::{LedgerError, Reader};
use crate::report::Traffic;
use crate::report::statement::{Head, SessionRow, Statement, Sum, Totals, Used};

/// A session's time and speed, as `zerorate subscriber show` has them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ActivityView {
    /// When it moved last; `null` if it never did.
    pub last_activity: Option<Timestamp>,
    /// How long the session has been there.
    pub duration_seconds: f64,
    /// Time, speed and volume since it began.
    #[serde(flatten)]
    pub used: Used,
}

/// What of a statement can be read while others have the node: what was recorded, of which years may be in sealed files.
#[derive(Debug)]
pub struct Recorded {
    subscriber: String,
    after: Timestamp,
    to: Option<Timestamp>,
    /// Number of the last record there was.
    seen: u64,
    usage: SealedUsage,
    /// Of the subscriber,
    own: Vec<Record>,
    /// and of nobody in particular.
    of_nobody: Vec<Record>,
}

impl Recorded {
    /// Reads what was recorded of a subscriber after a time and not after another.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn read(
        reader: &Reader,
        subscriber: &str,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Self, LedgerError> {
        let after = from.unwrap_or(Timestamp::MIN);
        let seen = reader.last_seq()?;
        let records = |of| {
            let mut records = reader.records(0, Some(of), None, usize::MAX)?;
            records.retain(|record| record.seq <= seen);
            Ok::<_, LedgerError>(records)
        };
        Ok(Self {
            subscriber: subscriber.to_owned(),
            after,
            to,
            seen,
            // Who sets no end wants all of it, also what was recorded while the clock was ahead.
            usage: reader.sealed_usage(subscriber, after, to.unwrap_or(Timestamp::MAX))?,
            own: records(subscriber)?,
            of_nobody: records(OF_NOBODY)?,
        })
    }
}

/// What is known of a session, and of the period in it.
pub(super) struct Found {
    pub(super) session: PastSession,
    records: Vec<Stored>,
}

impl Node {
    /// What a subscriber used, with what was recorded since that was read; `None` for whom nothing is known of.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn statement(&mut self, recorded: Recorded) -> Result<Option<Statement>, LedgerError> {
        let Recorded {
            subscriber,
            after,
            to,
            seen,
            usage,
            own: mut records,
            mut of_nobody,
        } = recorded;
        let id = &*subscriber;
        let now = Timestamp::now();
        let last = to.unwrap_or(Timestamp::MAX);
        let found = self.sessions_with_records(id, (after, last), now, usage)?;
        let ends = found.iter().flat_map(|found| &found.records);
        let latest = ends.map(|stored| stored.end).max();
        let to = to.unwrap_or_else(|| latest.map_or(now, |latest| latest.max(now)));
        for (of, records) in [(id, &mut records), (OF_NOBODY, &mut of_nobody)] {
            records.extend(self.ledger.records(seen, Some(of), None, usize::MAX)?);
        }
        let account = self.accounts.subscribers.get(id);
        if found.is_empty() && records.is_empty() && account.is_none() {
            return Ok(None);
        }
        // Before anything is left out: what was pruned last week is missing of last year.
        let pruned_until = of_nobody.iter().filter_map(Record::pruned_until).max();
        let spans = outages::spans(&found, &records, now);
        records.retain(|record| record.time > after && record.time <= last);
        let first = found.iter().map(|found| found.session.start).min();
        let from = Some(after)
            .filter(|after| *after > Timestamp::MIN)
            .or(first);
        let pruned_until = pruned_until.filter(|until| from.is_none_or(|from| from < *until));
        let shortest = self.config.records.checkpoint.as_secs_f64();
        let mut sum = Sum::default();
        let mut total = Totals::default();
        let mut sessions = Vec::new();
        let mut recorded_until = None;
        for Found { session, records } in found {
            let end = session.end.unwrap_or(now).min(to);
            let connected_seconds = between(session.start.max(after), end).as_secs_f64();
            let there = session.start <= to && session.end.is_none_or(|end| end > after);
            if !there && records.is_empty() {
                continue;
            }
            let mut row = SessionRow {
                epoch: format!("{:016x}", session.epoch),
                session: session.session,
                start: session.start,
                end: session.end,
                last_activity: None,
                addresses: session.addresses,
                connected_seconds,
                used: Used::default(),
            };
            for stored in &records {
                row.last_activity = row.last_activity.max(Some(stored.last));
                if stored.seq.is_some() {
                    recorded_until = recorded_until.max(Some(stored.end));
                }
                add(stored, &mut sum, &mut row.used, &mut total.dropped);
            }
            total.connected_seconds += connected_seconds;
            total.used.add(&row.used);
            row.used.finish(shortest);
            sessions.push(row);
        }
        total.used.finish(shortest);
        let outages = outages::of(id, &of_nobody, &spans, (after, to));
        total.creditable_seconds = outages::creditable(&outages, &spans, (after, to));
        let (usage, dropped) = sum.rows(id);
        let now_is = self.subscriber(id);
        let zone = self.config.timezone.iana_name().unwrap_or("UTC").to_owned();
        let mut statement = Statement {
            head: Head {
                subscriber: id.to_owned(),
                node: self.config.node.clone(),
                timezone: zone,
                from: from.unwrap_or(to).min(to),
                to,
                complete_until: to.min(now),
                pruned_until,
                recorded_until,
                plan: now_is.as_ref().map(|view| view.plan.clone()),
                state: now_is.map_or_else(|| "removed".to_owned(), |view| view.state),
                total,
            },
            sessions,
            usage,
            dropped,
            outages,
            records,
            called: None,
        };
        if let Some(in_force) = &self.in_force {
            statement.told_by(&in_force.policy);
        }
        Ok(Some(statement))
    }

    /// One subscriber, with the time and speed of its session.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn shown(&mut self, id: &str) -> Result<Option<SubscriberView>, LedgerError> {
        let Some(mut view) = self.subscriber(id) else {
            return Ok(None);
        };
        let now = Timestamp::now();
        let mut used = Used::default();
        let mut last = None;
        let session = self.accounts.subscribers.get(id);
        let session = session.and_then(|account| account.session.as_ref());
        if let Some(row) = session.map(|session| session.row)
            && let Some(taken) = self.ledger.taken(row.line)?
            && taken.session_seq > 0
        {
            // In the ledger as sums: a session may have any number of records.
            let terms = self.recording.terms(row.layout, &self.accounts.catalog);
            last = Some(taken.last);
            used.active_seconds = taken.active as f64 / 1e3;
            used.peak_up_bps = taken.peak_up_bps;
            used.peak_down_bps = taken.peak_down_bps;
            used.traffic = traffic(&taken.passed(&terms));
        }
        for (session, stored) in self.unrecorded(id, now)? {
            if session.session == view.session {
                last = last.max(Some(stored.last));
                let dropped = &mut Traffic::default();
                add(&stored, &mut Sum::default(), &mut used, dropped);
            }
        }
        used.finish(self.config.records.checkpoint.as_secs_f64());
        view.activity = Some(ActivityView {
            last_activity: last,
            duration_seconds: between(view.start, now).as_secs_f64(),
            used,
        });
        Ok(Some(view))
    }

    fn sessions_with_records(
        &mut self,
        id: &str,
        (after, to): (Timestamp, Timestamp),
        now: Timestamp,
        sealed: SealedUsage,
    ) -> Result<Vec<Found>, LedgerError> {
        let mut found: BTreeMap<(bool, Timestamp, u64), Found> = BTreeMap::new();
        let epoch = self.maps.epoch();
        let key = |session: &PastSession| {
            let current = session.epoch == epoch;
            (current, session.start, session.session)
        };
        for (session, records) in self.ledger.sessions_with_usage(id, after, to, sealed)? {
            found.insert(key(&session), Found { session, records });
        }
        if let Some(session) = self.running(id) {
            let records = Vec::new();
            found
                .entry(key(&session))
                .or_insert(Found { session, records });
        }
        for (session, stored) in self.unrecorded(id, now)? {
            let there = found.entry(key(&session)).or_insert_with(|| Found {
                session: session.clone(),
                records: Vec::new(),
            });
            there.session.end = there.session.end.or(session.end);
            let counts = stored.end > after && stored.end <= to;
            if counts && !stored.moved.is_empty() {
                there.records.push(stored);
            }
        }
        Ok(found.into_values().collect())
    }

    /// The session a subscriber has.
    fn running(&self, id: &str) -> Option<PastSession> {
        let session = self.accounts.subscribers.get(id)?.session.as_ref()?;
        Some(PastSession::unrecorded(
            self.maps.epoch(),
            session.number,
            session.start.time(),
            None,
            session.addresses.to_vec(),
        ))
    }

    /// What is not recorded yet of a subscriber, as it would be if all of it were recorded now.
    fn unrecorded(
        &mut self,
        id: &str,
        now: Timestamp,
    ) -> Result<Vec<(PastSession, Stored)>, LedgerError> {
        let mut cuts: Vec<Cut> = Vec::new();
        self.gather();
        for waiting in &self.recording.waiting {
            match waiting {
                Waiting::Cut(cut) if *cut.subscriber == *id => cuts.push(cut.clone()),
                Waiting::Closing(closing, terms, activity) if *closing.subscriber == *id => {
                    let cut = close(&self.lines, closing.clone(), Arc::clone(terms));
                    cuts.push(Cut {
                        activity: *activity,
                        ..cut
                    });
                }
                _ => {}
            }
        }
        // What is about to end and still counts.
        let ended = self.recording.ended.iter();
        let ended: Vec<Closing> = ended
            .filter(|closing| *closing.subscriber == *id)
            .cloned()
            .collect();
        for closing in ended {
            let catalog = &self.accounts.catalog;
            let terms = self.recording.terms(closing.layout, catalog);
            let activity = self.recording.watch.activity(closing.line);
            let cut = close(&self.lines, closing, terms);
            cuts.push(Cut { activity, ..cut });
        }
        cuts.extend(self.as_it_is(id, now));
        let mut taken: HashMap<u32, Option<Taken>> = HashMap::new();
        let mut found = Vec::new();
        for cut in cuts {
            let before = match taken.remove(&cut.line) {
                Some(taken) => taken,
                None => self.ledger.taken(cut.line)?,
            };
            let accounted = cut.account(before.as_ref());
            let end = cut.cause.is_final().then_some(cut.at);
            let session = PastSession::unrecorded(
                self.maps.epoch(),
                cut.session,
                cut.session_start,
                end,
                cut.addresses.to_vec(),
            );
            let activity = cut.activity;
            let (first, after) = (
                before.map_or(0, |before| before.session_seq),
                accounted.taken,
            );
            let stored = Stored {
                seq: None,
                session_seq: first + 1,
                terms: Arc::clone(&cut.terms),
                cause: cut.cause,
                suspended: cut.suspended,
                start: accounted.start,
                end: accounted.end,
                last: accounted.last,
                active: accounted.active,
                peak_up_bps: activity.map_or(0, |activity| activity.peak_up_bps),
                peak_down_bps: activity.map_or(0, |activity| activity.peak_down_bps),
                moved: accounted.moved,
                gap: None,
                clock_step: cut.clock_step,
            };
            match cut.ends {
                Some(End {
                    next_line: Some(next),
                    ..
                }) => _ = taken.insert(next, Some(cut.carry(after))),
                Some(_) => {}
                None => _ = taken.insert(cut.line, Some(after)),
            }
            if !stored.moved.is_empty() || end.is_some() {
                found.push((session, stored));
            }
        }
        Ok(found)
    }

    /// The row a subscriber has, read without any consequence.
    fn as_it_is(&mut self, id: &str, now: Timestamp) -> Option<Cut> {
        let session = self.accounts.subscribers.get(id)?.session.as_ref()?;
        let line = session.row.line;
        let activity = self.recording.watch.activity(line);
        let cut = self.cut(line, Cause::Interval, now, None)?;
        if let Some(activity) = activity {
            self.recording.watch.put_back(line, activity);
        }
        Some(cut)
    }
}

/// Adds records to a session's figures and to those of its subscriber.
fn add(stored: &Stored, sum: &mut Sum, used: &mut Used, dropped: &mut Traffic) {
    let mut passed = Traffic::default();
    for moved in &stored.moved {
        let label = &stored.terms.meters[moved.meter];
        let counted = traffic(&moved.delta);
        let drawn = stored.terms.drawn(moved.meter, &moved.delta);
        let row = (
            &*stored.terms.plan,
            &*label.class,
            label.rating_group,
            &*label.charged,
            label.price.as_deref(),
        );
        sum.add(row, &counted, drawn);
        if label.charged == "dropped" {
            *dropped = dropped.plus(&counted);
        } else {
            passed = passed.plus(&counted);
        }
    }
    used.add(&Used {
        active_seconds: stored.active as f64 / 1e3,
        peak_up_bps: stored.peak_up_bps,
        peak_down_bps: stored.peak_down_bps,
        traffic: passed,
        ..Used::default()
    });
}

fn traffic(meter: &Meter) -> Traffic {
    Traffic {
        bytes_up: meter.bytes_up,
        packets_up: meter.packets_up,
        bytes_down: meter.bytes_down,
        packets_down: meter.packets_down,
    }
}

/// A time as it is asked for: RFC 3339, or a date, which is its first moment in a time zone.
///
/// # Errors
/// What it is, if it is neither.
pub fn parse_time(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let date = text.parse::<Date>().ok();
    let midnight = date.and_then(|date| date.to_zoned(zone.clone()).ok());
    match midnight {
        // "2026-03-01T00:00" is a date to jiff, and leaves open in which zone.
        Some(midnight) if text.len() == 10 => Ok(midnight.timestamp()),
        _ => Err(format!(
            "`{text}` is no time: write a date such as 2026-03-01, or 2026-03-01T00:00:00+05:00"
        )),
    }
}
