//! From the counters to records: rows are looked at every checkpoint, and recorded when it is time, when something about
//! them changes, and when they end. In small steps, between which others have the node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tracing::{error, info};

use super::recording::{NewRows, Waiting, judged};
use crate::accounts::activity::Moment;
use crate::agent::node::Node;
use crate::engine::lines::Lines;
use crate::fault::{self, Point};
use crate::ledger::LedgerError;
use crate::ledger::usage::{Cause, Closing, Cut, End, Terms};

/// Rows that are recorded in one transaction: some milliseconds of work.
const AT_ONCE: usize = 1_000;

/// How late rows may be read for the day before: what they count until then is taken for that day's.
const LATE: SignedDuration = SignedDuration::from_mins(1);

impl Node {
    /// Looks at a slice of the rows, the first to begin with; whether there are more.
    pub(in crate::agent) fn look(&mut self, slice: usize) -> bool {
        let now = Moment::now();
        self.gather();
        let recording = &mut self.recording;
        if slice == 0 {
            recording.looked = now.wall;
            recording.look_at_the_clock(now);
        }
        let catalog = &self.accounts.catalog;
        recording.watch.look(slice, &self.lines, catalog, now);
        slice + 1 < recording.watch.slices()
    }

    /// Reads the rows that moved if another day has begun.
    pub(in crate::agent) fn look_at_the_day(&mut self) {
        let now = Timestamp::now();
        let today = now.to_zoned(self.config.timezone.clone()).date();
        if today != self.recording.day {
            self.recording.day = today;
            let at = end_of_day(now, &self.config.timezone);
            self.cut_all_at(Cause::Midnight, at, &NewRows::default());
            self.forget_orders();
        }
    }

    /// How long the day lasts, at most an hour: clocks step.
    pub(in crate::agent) fn until_midnight(&self) -> Duration {
        until_midnight(Timestamp::now(), &self.config.timezone)
    }

    /// Notes that it is time to record every row that moved.
    pub(in crate::agent) fn record_all(&mut self) {
        let recording = &mut self.recording;
        // Those whose turn it was before, and could not be written, are among them.
        recording.due = recording.watch.active().into();
        recording.due_until = Some(recording.looked);
        recording.steps_due = recording.clock_step;
        self.reconcile();
    }

    /// Writes some of what is to be recorded; whether there is more. What cannot be written waits, and is tried again.
    pub(in crate::agent) fn write_records(&mut self) -> bool {
        let Some(cuts) = self.next_cuts() else {
            return false;
        };
        let done = self.recording.waiting.is_empty() && self.recording.due.is_empty();
        let seen = match self.recording.due_until {
            Some(seen) if done => Some(seen),
            _ => None,
        };
        if cuts.is_empty() && seen.is_none() {
            return false;
        }
        match self.ledger.record(&cuts, &mut self.recording.numbers, seen) {
            Ok(wrong) => {
                self.recycle(&cuts);
                for wrong in wrong {
                    error!(
                        "{wrong}: its record declares a gap, and it is recorded on from where it stands"
                    );
                }
                if done {
                    self.recording.give_back();
                }
                if self.recording.due_until.take_if(|_| done).is_some() {
                    // What was recorded until now says that the clock was set.
                    let marked = std::mem::take(&mut self.recording.steps_due);
                    self.recording.clock_step -= marked;
                }
                if self.recording.failing.take().is_some() {
                    info!("usage is recorded again; nothing was lost");
                }
                !done
            }
            Err(error) => {
                // A row whose turn it was has been read: it is written as it was.
                for cut in cuts.into_iter().rev() {
                    self.recording.waiting.push_front(Waiting::Cut(cut));
                }
                let text = error.to_string();
                // Tried at every checkpoint, said once.
                if self.recording.failing.as_ref() != Some(&text) {
                    error!("usage cannot be recorded; it is counted on, and tried again: {text}");
                    self.recording.failing = Some(text);
                }
                false
            }
        }
    }

    /// Gives away the lines of rows whose last records are written. What packets had to tell of them is told before.
    fn recycle(&mut self, cuts: &[Cut]) {
        let rows = cuts.iter().filter(|cut| cut.ends.is_some());
        let rows: HashMap<u32, &[_]> = rows.map(|cut| (cut.line, &*cut.meters)).collect();
        if !rows.is_empty() {
            while self.read_events() {}
            self.accounts.recycle(&rows);
        }
    }

    /// What is to be written next; nothing can be while rows lack what CPUs have noted.
    fn next_cuts(&mut self) -> Option<Vec<Cut>> {
        fault::at(Point::BeforeRead);
        // A row's last record has its last packet.
        if !self.gather() {
            return None;
        }
        let mut cuts = Vec::new();
        while cuts.len() < AT_ONCE {
            match self.recording.waiting.pop_front() {
                Some(Waiting::Cut(cut)) => cuts.push(cut),
                Some(Waiting::Closing(closing, terms, activity)) => {
                    let cut = close(&self.lines, closing, terms);
                    let clock_step = self.recording.clock_step;
                    cuts.push(Cut {
                        activity,
                        clock_step,
                        ..cut
                    });
                }
                None => break,
            }
        }
        while cuts.len() < AT_ONCE
            && let Some(line) = self.recording.due.pop_front()
        {
            cuts.extend(self.cut(line, Cause::Interval, Timestamp::now(), None));
        }
        if !cuts.is_empty() {
            fault::at(Point::AfterRead);
        }
        Some(cuts)
    }

    /// Reads a row that counts, to be recorded; nothing if it is about to end. `suspended`: its state, if that has just
    /// changed.
    pub(in crate::agent) fn cut(
        &mut self,
        line: u32,
        cause: Cause,
        at: Timestamp,
        suspended: Option<bool>,
    ) -> Option<Cut> {
        let recording = &mut self.recording;
        let layout = recording.watch.layout(line)?;
        let id = self.news.whose(line)?;
        let session = self.accounts.subscribers.get(id)?.session.as_ref()?;
        if session.row.line != line {
            return None;
        }
        let subscriber = Arc::clone(id);
        let activity = recording.watch.activity(line);
        recording.watch.recorded(line);
        let terms = recording.terms(layout, &self.accounts.catalog);
        Some(Cut {
            line,
            row_start: session.row.start.time(),
            subscriber,
            session: session.number,
            session_start: session.start.time(),
            addresses: session.addresses.clone(),
            suspended: suspended.unwrap_or(session.suspended),
            cause,
            at,
            activity,
            meters: meters(&self.lines, line, &terms),
            terms,
            ends: None,
            clock_step: recording.clock_step,
        })
    }

    /// Reads all rows that moved, but for new ones.
    pub(super) fn cut_all(&mut self, cause: Cause, new: &NewRows) {
        self.cut_all_at(cause, None, new);
    }

    /// The same, for records that end at a time, or now.
    fn cut_all_at(&mut self, cause: Cause, at: Option<Timestamp>, new: &NewRows) {
        let now = Moment::now();
        self.gather();
        let catalog = &self.accounts.catalog;
        let recording = &mut self.recording;
        recording.looked = now.wall;
        recording.watch.look_at_all(&self.lines, catalog, now);
        let mut active = recording.watch.active();
        active.retain(|line| !new.contains(*line));
        let end = at.unwrap_or(now.wall);
        for line in active {
            let Some(cut) = self.cut(line, cause, end, None) else {
                continue;
            };
            if at.is_some_and(|at| cut.row_start > at) {
                // It began after that: nothing of it belongs to the time before.
                if let Some(activity) = cut.activity {
                    self.recording.watch.put_back(line, activity);
                }
                continue;
            }
            self.recording.waiting.push_back(Waiting::Cut(cut));
        }
    }

    /// Reads a subscriber's row: what it counts from now on is to stand in other records.
    pub(in crate::agent) fn cut_subscriber(&mut self, id: &str, cause: Cause) {
        // What changes at midnight changes after the day's last records.
        self.look_at_the_day();
        let account = self.accounts.subscribers.get(id);
        let session = account.and_then(|account| account.session.as_ref());
        let Some(line) = session.map(|session| session.row.line) else {
            return;
        };
        self.gather();
        self.look_at(line);
        if let Some(cut) = self.cut(line, cause, Timestamp::now(), None) {
            self.recording.waiting.push_back(Waiting::Cut(cut));
        }
    }

    /// Looks at one row out of turn, after what is noted was gathered.
    fn look_at(&mut self, line: u32) {
        let catalog = &self.accounts.catalog;
        let watch = &mut self.recording.watch;
        watch.look_at(line, &self.lines, catalog, Moment::now());
    }

    /// Reads what a change, that has just come into force, is to stand apart from; with another image, all rows.
    pub(in crate::agent) fn divide(&mut self, published: Option<u32>) {
        // What comes into force at midnight does so after the day's last records.
        self.look_at_the_day();
        let now = Timestamp::now();
        self.gather();
        for (line, suspended) in self.recording.take_restated() {
            self.look_at(line);
            if let Some(cut) = self.cut(line, Cause::State, now, Some(suspended)) {
                self.recording.waiting.push_back(Waiting::Cut(cut));
            }
        }
        // First: what these sessions' next rows are recorded of begins where the ended ones leave off.
        let new = self.recording.take_new();
        let catalog = &self.accounts.catalog;
        self.recording.close(&self.lines, catalog, Moment::now());
        let next = published.and_then(|serial| {
            let in_force = self.in_force.as_ref()?;
            Some((serial, judged(&in_force.policy, in_force.since)))
        });
        if let Some((_, judged)) = &next
            && self.recording.judged() != Some(judged)
        {
            let cause = self.recording.cause();
            self.cut_all(cause, &new);
        } else if next.is_some() && self.recording.cause() == Cause::Recovered {
            self.cut_all(Cause::Recovered, &new);
        }
        if let Some((serial, judged)) = next {
            self.recording.judge(serial, judged);
        }
    }

    /// Records everything that moved until now.
    pub(in crate::agent) fn record_to_the_end(&mut self) {
        self.reconcile();
        self.cut_all(Cause::Shutdown, &NewRows::default());
        self.recording.due.clear();
        self.recording.due_until = Some(self.recording.looked);
        while self.write_records() {}
    }

    /// Notes in the ledger what an image is compiled from.
    pub(in crate::agent) fn note_image(
        &mut self,
        serial: u32,
        policy: &crate::policy::Policy,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.ledger.note_image(serial, &judged(policy, now))
    }
}

fn until_midnight(now: Timestamp, zone: &TimeZone) -> Duration {
    const LONGEST: Duration = Duration::from_secs(3600);
    let tomorrow = now.to_zoned(zone.clone()).tomorrow();
    let midnight = tomorrow.and_then(|tomorrow| tomorrow.start_of_day());
    let left = midnight.map(|midnight| midnight.timestamp().duration_since(now));
    match left {
        Ok(left) if left > SignedDuration::ZERO => left.unsigned_abs().min(LONGEST),
        _ => LONGEST,
    }
}

/// When the day before ended, for whoever notices it at once. Its last records end with it, not with their reading a moment
/// later: they are to count for that day. Who notices it later knows no better than that they end now.
fn end_of_day(now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let midnight = now.to_zoned(zone.clone()).start_of_day().ok()?.timestamp();
    (now.duration_since(midnight) <= LATE).then_some(midnight)
}

fn meters(lines: &Lines, line: u32, terms: &Terms) -> Box<[classifier::layout::Meter]> {
    lines.meters(line, terms.meters.len() as u32).collect()
}

/// A row that ended, read: its counters are final.
pub(in crate::agent) fn close(lines: &Lines, closing: Closing, terms: Arc<Terms>) -> Cut {
    Cut {
        line: closing.line,
        row_start: closing.row_start,
        subscriber: closing.subscriber,
        session: closing.session,
        session_start: closing.session_start,
        addresses: closing.addresses,
        suspended: closing.suspended,
        cause: closing.cause,
        at: closing.at,
        activity: None,
        meters: meters(lines, closing.line, &terms),
        terms,
        ends: Some(End {
            layout: closing.layout,
            next_line: closing.next_line,
        }),
        clock_step: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_where_its_time_zone_says() {
        for (zone, now, seconds) in [
            ("UTC", "2026-03-01T23:59:30Z", 30),
            ("Asia/Almaty", "2026-03-01T18:59:30Z", 30),
            ("Asia/Almaty", "2026-03-01T18:59:59.999Z", 1),
            // An hour at most, also at midnight itself.
            ("Asia/Almaty", "2026-03-01T19:00:00Z", 3600),
            ("UTC", "2026-03-01T12:00:00Z", 3600),
            // A day that begins at one o'clock.
            ("Africa/Cairo", "2026-04-23T21:59:00Z", 60),
        ] {
            let zone = TimeZone::get(zone).unwrap();
            let left = until_midnight(now.parse().unwrap(), &zone);
            assert_eq!(left.as_millis().div_ceil(1000), seconds, "{now}");
        }
    }
    #[test]
    fn the_last_records_of_a_day_end_with_it_if_they_are_read_at_once() {
        for (zone, now, expected) in [
            (
                "UTC",
                "2026-03-01T00:00:00.003Z",
                Some("2026-03-01T00:00:00Z"),
            ),
            (
                "Asia/Almaty",
                "2026-03-01T19:00:07Z",
                Some("2026-03-01T19:00:00Z"),
            ),
            ("UTC", "2026-03-01T00:00:00Z", Some("2026-03-01T00:00:00Z")),
            ("UTC", "2026-03-01T00:01:01Z", None),
            // A day that begins at one o'clock.
            (
                "Africa/Cairo",
                "2026-04-23T22:00:01Z",
                Some("2026-04-23T22:00:00Z"),
            ),
        ] {
            let zone = TimeZone::get(zone).unwrap();
            let end = end_of_day(now.parse().unwrap(), &zone);
            let expected = expected.map(|time| time.parse().unwrap());
            assert_eq!(end, expected, "{now}");
        }
    }
}
