//! Outages, laid over the sessions of a subscriber: how long each was out of its service, and what of that is credited.

use std::collections::HashMap;

use jiff::Timestamp;

use super::statement::Found;
use crate::accounts::activity::between;
use crate::ledger::notes::{Corrected, Fault};
use crate::ledger::records::{Record, What};
use crate::report::statement::OutageRow;

/// From one time to another.
pub(super) type Span = (Timestamp, Timestamp);

/// When a subscriber had its service, or would have had it: from the beginning of each session to its end. Where the
/// counters were lost, and a new session began when the gateway was there again, what lies between is an outage like any
/// other, of the subscriber's time, too.
pub(super) fn spans(found: &[Found], records: &[Record], now: Timestamp) -> Vec<Span> {
    let removed = |from: Timestamp, to: Timestamp| {
        records.iter().any(|record| {
            let removed =
                matches!(&record.entry.what, What::State { state, .. } if state == "removed");
            removed && record.time >= from && record.time <= to
        })
    };
    let next = found.iter().skip(1).map(Some).chain([None]);
    found
        .iter()
        .zip(next)
        .map(|(Found { session, .. }, next)| {
            let end = session.end.unwrap_or(now);
            let end = match next {
                Some(Found { session: next, .. })
                    if next.epoch != session.epoch && !removed(session.start, next.start) =>
                {
                    end.max(next.start)
                }
                _ => end,
            };
            (session.start, end)
        })
        .collect()
}

/// The outages that touched a subscriber in a period; `records` are those that are of nobody in particular.
pub(super) fn of(id: &str, records: &[Record], spans: &[Span], period: Span) -> Vec<OutageRow> {
    let mut corrected: HashMap<u64, Span> = HashMap::new();
    for record in records {
        if let What::Correction(correction) = &record.entry.what
            && let Corrected::Outage { from, to } = correction.right
        {
            corrected.insert(correction.corrects, (from, to));
        }
    }
    let mut rows = Vec::new();
    for record in records {
        let What::Outage(outage) = &record.entry.what else {
            continue;
        };
        let whose = &outage.subscribers;
        if !whose.is_empty() && !whose.iter().any(|subscriber| subscriber == id) {
            continue;
        }
        let (from, to) = *corrected
            .get(&record.seq)
            .unwrap_or(&(outage.from, outage.to));
        let touched_seconds = seconds(&[(from, to)], spans, period);
        if touched_seconds == 0.0 {
            continue;
        }
        rows.push(OutageRow {
            seq: record.seq,
            subscriber: id.to_owned(),
            scope: outage.scope.clone(),
            from,
            to,
            cause: outage.cause.clone(),
            fault: outage.fault,
            reason: record.entry.reason.clone(),
            touched_seconds,
            creditable_seconds: match outage.fault {
                Fault::Operator => touched_seconds,
                _ => 0.0,
            },
        });
    }
    rows
}

/// How long the whole service was out by the operator's fault: each moment once, however many outages it was in.
pub(super) fn creditable(outages: &[OutageRow], spans: &[Span], period: Span) -> f64 {
    let whole = outages
        .iter()
        .filter(|outage| outage.fault == Fault::Operator && outage.scope.is_whole());
    let whole: Vec<Span> = whole.map(|outage| (outage.from, outage.to)).collect();
    seconds(&whole, spans, period)
}

/// How much of a period is in both.
fn seconds(some: &[Span], others: &[Span], (from, to): Span) -> f64 {
    let mut both: Vec<Span> = some
        .iter()
        .flat_map(|one| others.iter().map(move |other| (one, other)))
        .map(|(one, other)| (one.0.max(other.0).max(from), one.1.min(other.1).min(to)))
        .filter(|(from, to)| from < to)
        .collect();
    both.sort_unstable();
    let mut seconds = 0.0;
    let mut until = Timestamp::MIN;
    for (from, to) in both {
        seconds += between(from.max(until), to).as_secs_f64();
        until = until.max(to);
    }
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::notes::{Correction, OF_NOBODY, Outage, Scope};
    use crate::ledger::records::Entry;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn record(seq: u64, what: What) -> Record {
        Record {
            seq,
            time: at(0),
            entry: Entry {
                kind: "outage".to_owned(),
                subscriber: OF_NOBODY.to_owned(),
                id: None,
                reason: None,
                what,
            },
        }
    }

    fn outage(seq: u64, from: i64, to: i64, scope: Scope, fault: Fault, whose: &[&str]) -> Record {
        record(
            seq,
            What::Outage(Box::new(Outage {
                scope,
                subscribers: whose.iter().map(|id| (*id).to_owned()).collect(),
                from: at(from),
                to: at(to),
                cause: "power".to_owned(),
                fault,
            })),
        )
    }

    #[test]
    fn what_is_out_twice_is_credited_once_and_only_to_whom_it_touched() {
        let class = Scope::Class {
            class: "video".to_owned(),
        };
        let right = Corrected::Outage {
            from: at(0),
            to: at(0),
        };
        let correction = Correction {
            corrects: 5,
            approver: "boss".to_owned(),
            right,
        };
        let records = [
            outage(1, 0, 100, Scope::Node, Fault::Operator, &[]),
            outage(2, 50, 150, Scope::Subscribers, Fault::Operator, &["ann"]),
            outage(3, 0, 500, Scope::Node, Fault::Nobody, &[]),
            outage(4, 0, 500, class, Fault::Operator, &[]),
            outage(5, 0, 500, Scope::Node, Fault::Operator, &[]),
            record(6, What::Correction(correction)),
        ];
        let spans = [(at(20), at(60)), (at(80), at(400))];
        let period = (at(30), at(1_000));
        let of_ann = of("ann", &records, &spans, period);
        let shown: Vec<_> = of_ann
            .iter()
            .map(|row| (row.seq, row.touched_seconds, row.creditable_seconds))
            .collect();
        let expected = [
            (1, 50.0, 50.0),
            (2, 80.0, 80.0),
            (3, 350.0, 0.0),
            (4, 350.0, 350.0),
        ];
        assert_eq!(shown, expected);
        assert_eq!(creditable(&of_ann, &spans, period), 100.0);
        let of_bob = of("bob", &records, &spans, period);
        assert_eq!(of_bob.len(), 3);
        assert_eq!(creditable(&of_bob, &spans, period), 50.0);
        // It may be read again.
        let text = serde_json::to_string(&records).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Record>>(&text).unwrap(), records);
    }
}
