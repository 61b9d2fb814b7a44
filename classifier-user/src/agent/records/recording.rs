//! What is to be recorded and is not written yet, and all that has to be known for it: which rows move, under which
//! terms, which ended.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use tracing::warn;

use crate::accounts::activity::{Activity, Moment, Sums, Watch};
use crate::accounts::{Accounts, Catalog, Change};
use crate::config::{Config, Downlink, Mode, Role};
use crate::ledger::usage::{self, Cause, Closing, Counts, Cut, Judged, Label, Terms, TermsNumbers};
use crate::ledger::{Ledger, LedgerError};
use crate::policy::{Bucket, Count, Grant, Policy};

/// Rows there is room for when nothing is to be written.
const KEPT: usize = 1 << 14;

/// All that is between the counters and the ledger.
#[derive(Debug)]
pub(in crate::agent) struct Recording {
    /// Rows that count.
    pub(in crate::agent) watch: Watch,
    /// Read, and to be written in this order.
    pub(in crate::agent) waiting: VecDeque<Waiting>,
    /// Lines of rows whose turn it is: they are read when they are written.
    pub(in crate::agent) due: VecDeque<u32>,
    /// Of a change that is not in force yet: rows that end with it,
    pub(in crate::agent) ended: Vec<Closing>,
    /// rows whose subscriber had another state before, and which,
    restated: Vec<(u32, bool)>,
    /// and which are new with it.
    new: NewRows,
    terms: TermsBook,
    /// Numbers of the terms in the ledger.
    pub(in crate::agent) numbers: TermsNumbers,
    /// When the latest look over all rows began.
    pub(in crate::agent) looked: Timestamp,
    /// What is to be noted as recorded when `due` is done: the look before it.
    pub(in crate::agent) due_until: Option<Timestamp>,
    /// The day records are written in, in the configured time zone.
    pub(in crate::agent) day: Date,
    /// Why records could not be written, if so.
    pub(in crate::agent) failing: Option<String>,
    /// The moment of the latest look at the clock.
    clock: Option<Moment>,
    /// Milliseconds the clock on the wall was set by, of which not every session's records say so yet,
    pub(in crate::agent) clock_step: i64,
    /// and as many of them as those say that are due.
    pub(in crate::agent) steps_due: i64,
    /// What a start finds has been counted without it.
    starting: bool,
}

/// Rows that begin with a change: what they count was judged by what came into force with it.
#[derive(Debug)]
pub(in crate::agent) struct NewRows {
    /// First line of those whose lines were never given out before.
    first: u32,
    /// First lines of the others.
    reused: HashSet<u32>,
}

impl Default for NewRows {
    fn default() -> Self {
        Self {
            first: u32::MAX,
            reused: HashSet::new(),
        }
    }
}

impl NewRows {
    /// Whether the row at a line is one of them.
    pub(in crate::agent) fn contains(&self, line: u32) -> bool {
        line >= self.first || self.reused.contains(&line)
    }
}

/// What is to be written.
#[derive(Debug)]
pub(in crate::agent) enum Waiting {
    /// A row as it was.
    Cut(Cut),
    /// One that ended, whose counters do not change any more.
    Closing(Closing, Arc<Terms>, Option<Activity>),
}

/// The terms rows are counted under, by serial number of the image and by layout.
#[derive(Debug)]
struct TermsBook {
    node: String,
    epoch: String,
    count_point: String,
    /// Serial number of the image in force.
    serial: u32,
    judged: HashMap<u32, Arc<Judged>>,
    terms: HashMap<(u32, u32), Arc<Terms>>,
}

impl TermsBook {
    fn of(&mut self, serial: u32, layout: u32, catalog: &Catalog) -> Arc<Terms> {
        let Self {
            node,
            epoch,
            count_point,
            judged,
            terms,
            ..
        } = self;
        let terms = terms.entry((serial, layout)).or_insert_with(|| {
            let known = &catalog.layouts[layout as usize];
            let judged = judged.get(&serial);
            let counts = judged.and_then(|judged| judged.plans.get(&known.plan));
            let counts = counts.copied().unwrap_or(Counts {
                up: true,
                down: true,
                limited: false,
            });
            let label = |key: &crate::accounts::MeterKey| {
                let class = &catalog.classes[key.class as usize];
                let group = judged.and_then(|judged| judged.rating_groups.get(&class.name));
                let charged = catalog.charged(layout, key.charged);
                let prices = judged.and_then(|judged| judged.prices.get(&known.plan));
                Label {
                    class: class.name.clone(),
                    rating_group: group.copied().unwrap_or(class.rating_group),
                    charged: charged.to_owned(),
                    price: prices.and_then(|prices| prices.get(charged).cloned()),
                }
            };
            Arc::new(Terms {
                node: node.clone(),
                epoch: epoch.clone(),
                count_point: count_point.clone(),
                plan: known.plan.clone(),
                policy_version: judged
                    .map_or_else(String::new, |judged| judged.policy_version.clone()),
                counts,
                meters: known.meters.iter().map(label).collect(),
            })
        });
        Arc::clone(terms)
    }
}

/// What of a policy, as it is at a time, records need.
pub(in crate::agent) fn judged(policy: &Policy, now: Timestamp) -> Judged {
    let passed = policy.boundaries();
    let passed = passed.iter().rfind(|boundary| **boundary <= now);
    let plan = |plan: &crate::policy::Plan| {
        let counts = Counts {
            up: plan.count != Count::Down,
            down: plan.count != Count::Up,
            limited: plan.limit.is_some(),
        };
        (plan.name.clone(), counts)
    };
    let priced = |bucket: &Bucket| match &bucket.grant {
        Grant::Money(price) => Some((bucket.name.clone(), price.to_string())),
        Grant::Bytes(_) => None,
    };
    let prices = |plan: &crate::policy::Plan| {
        let prices: BTreeMap<_, _> = plan.buckets.iter().filter_map(priced).collect();
        (!prices.is_empty()).then(|| (plan.name.clone(), prices))
    };
    Judged {
        policy_version: match passed {
            Some(boundary) => format!("{}@{boundary}", policy.version),
            None => policy.version.clone(),
        },
        plans: policy.plans.iter().map(plan).collect(),
        rating_groups: policy
            .classes
            .iter()
            .map(|class| (class.name.clone(), class.rating_group))
            .collect(),
        prices: policy.plans.iter().filter_map(prices).collect(),
    }
}

/// Where a node counts: what its interfaces have in common, or all of it.
fn count_point(config: &Config) -> String {
    let egress = config.downlink() == Downlink::Egress;
    let counted = |role| {
        let counts = move |interface: &&crate::config::Interface| {
            interface.role == role && (role == Role::Access || !egress)
        };
        config.interfaces.iter().filter(counts)
    };
    let with = |mode| {
        let mut all = counted(Role::Access).chain(counted(Role::Core));
        all.any(|interface| interface.mode == mode)
    };
    let points = [
        (with(Mode::Native), "xdp-native"),
        (with(Mode::Generic), "xdp-generic"),
        (egress, "tc-egress"),
    ];
    let points = points.iter().filter(|(there, _)| *there);
    points.map(|(_, name)| *name).collect::<Vec<_>>().join("+")
}

impl Recording {
    /// What there is to be recorded when an agent starts; `serial` is that of the image that is in force before.
    pub(in crate::agent) fn recall(
        config: &Config,
        ledger: &Ledger,
        accounts: &Accounts,
        epoch: u64,
        serial: u32,
    ) -> Result<Self, LedgerError> {
        let now = Timestamp::now();
        let seen = ledger.seen()?.unwrap_or(now).min(now);
        let mut watch = Watch::new(config.records.checkpoint);
        let ended = ledger.closings()?;
        let mut rows: Vec<(u32, u32)> = accounts
            .present()
            .map(|(_, _, session)| (session.row.line, session.row.layout))
            .collect();
        rows.extend(ended.iter().map(|closing| (closing.line, closing.layout)));
        rows.sort_unstable();
        let mut taken = vec![Sums::default(); rows.len()];
        ledger.all_taken(|line, counters| {
            if let Ok(at) = rows.binary_search_by_key(&line, |(line, _)| *line) {
                let counters = counters.iter().copied();
                taken[at] = Sums::of(&accounts.catalog, rows[at].1, counters);
            }
        })?;
        let rows = rows.into_iter().zip(taken);
        let rows = rows.map(|((line, layout), taken)| (line, layout, taken));
        watch.begin(rows, Moment::noted(seen));
        let mut judged = HashMap::new();
        let serials = ended.iter().filter_map(|closing| closing.serial);
        for serial in serials.chain([serial]) {
            if !judged.contains_key(&serial)
                && let Some(known) = ledger.judged(serial)?
            {
                judged.insert(serial, Arc::new(known));
            }
        }
        Ok(Self {
            watch,
            waiting: VecDeque::new(),
            due: VecDeque::new(),
            ended,
            restated: Vec::new(),
            new: NewRows::default(),
            terms: TermsBook {
                node: config.node.clone(),
                epoch: format!("{epoch:016x}"),
                count_point: count_point(config),
                serial,
                judged,
                terms: HashMap::new(),
            },
            numbers: TermsNumbers::default(),
            looked: seen,
            due_until: None,
            day: now.to_zoned(config.timezone.clone()).date(),
            failing: None,
            clock: None,
            clock_step: 0,
            steps_due: 0,
            starting: true,
        })
    }

    /// Notes what a change, that is written down and not in force yet, begins and ends.
    pub(in crate::agent) fn note(&mut self, before: &Accounts, change: &Change) {
        self.ended.extend(usage::closings(before, change));
        let now = Moment::now();
        let mut new = Vec::new();
        for (id, account) in &change.subscribers {
            let Some(session) = &account.session else {
                continue;
            };
            let known = before.subscribers.get(id);
            let old = known.and_then(|account| account.session.as_ref());
            match old {
                Some(old) if old.row == session.row => {
                    if old.suspended != session.suspended {
                        self.restated.push((old.row.line, old.suspended));
                    }
                }
                _ => new.push((session.row.line, session.row.layout)),
            }
        }
        new.sort_unstable();
        let new = new.into_iter();
        let new = new.map(|(line, layout)| (line, layout, Sums::default()));
        self.watch.begin(new, now);
        self.new.first = self.new.first.min(change.first_line);
        let reused = change.reused.iter().map(|(line, _)| *line);
        self.new.reused.extend(reused);
    }

    /// Terms of a row of a layout under the image in force.
    pub(in crate::agent) fn terms(&mut self, layout: u32, catalog: &Catalog) -> Arc<Terms> {
        self.terms.of(self.terms.serial, layout, catalog)
    }

    /// What the image in force was compiled from.
    pub(in crate::agent) fn judged(&self) -> Option<&Judged> {
        let judged = self.terms.judged.get(&self.terms.serial);
        judged.map(|judged| &**judged)
    }

    /// Serial number of the image whose what is counted is.
    pub(in crate::agent) const fn serial(&self) -> u32 {
        self.terms.serial
    }

    /// Notes that what is counted is another image's, while rows that ended under the one before wait for their last
    /// records.
    pub(in crate::agent) fn judge_on(&mut self, serial: u32, judged: Judged) {
        self.terms.serial = serial;
        self.terms.judged.insert(serial, Arc::new(judged));
    }

    /// Notes that another image is in force.
    pub(in crate::agent) fn judge(&mut self, serial: u32, judged: Judged) {
        let book = &mut self.terms;
        book.serial = serial;
        book.judged = HashMap::from([(serial, Arc::new(judged))]);
        book.terms.clear();
    }

    /// Rows whose subscriber's state changed with what came into force, and what it was.
    pub(in crate::agent) fn take_restated(&mut self) -> Vec<(u32, bool)> {
        std::mem::take(&mut self.restated)
    }

    /// Rows that ended with what came into force are final: their last records can be written.
    pub(in crate::agent) fn close(
        &mut self,
        lines: &crate::engine::lines::Lines,
        catalog: &Catalog,
        now: Moment,
    ) {
        for closing in std::mem::take(&mut self.ended) {
            let activity = self.watch.end(closing.line, lines, catalog, now);
            let serial = closing.serial.unwrap_or(self.terms.serial);
            let terms = self.terms.of(serial, closing.layout, catalog);
            self.waiting
                .push_back(Waiting::Closing(closing, terms, activity));
        }
        self.watch.give_back();
    }

    /// Gives back the memory of what was to be written, where that was much.
    pub(in crate::agent) fn give_back(&mut self) {
        self.waiting.shrink_to(KEPT);
        self.due.shrink_to(KEPT);
    }

    /// Rows that are new with what came into force.
    pub(in crate::agent) fn take_new(&mut self) -> NewRows {
        std::mem::take(&mut self.new)
    }

    /// Since when something is counted, or read, that is not recorded.
    pub(in crate::agent) fn oldest_waiting(&self) -> Option<Timestamp> {
        let waiting = self.waiting.iter().map(|waiting| match waiting {
            Waiting::Cut(cut) => cut.activity.map_or(cut.at, |activity| activity.since),
            Waiting::Closing(closing, _, activity) => {
                activity.map_or(closing.at, |activity| activity.since)
            }
        });
        waiting.chain(self.watch.oldest()).min()
    }

    /// Why usage is not recorded.
    pub(in crate::agent) fn in_the_way(&self) -> Option<String> {
        self.failing.clone()
    }

    /// Notices that the clock on the wall was set, by one that never is.
    pub(in crate::agent) fn look_at_the_clock(&mut self, now: Moment) {
        // What clocks are adjusted by all the time is no step.
        const LEAST: i64 = 500;
        let before = self.clock.replace(now);
        let step = before.map_or(0, |before| now.step_since(&before));
        if step.abs() >= LEAST {
            warn!(
                "the clock was set by {:.1} s: records of this time say so",
                step as f64 / 1e3
            );
            self.clock_step += step;
        }
    }

    /// Why rows are read when an image comes into force, and whether it is the first.
    pub(in crate::agent) fn cause(&mut self) -> Cause {
        if std::mem::take(&mut self.starting) {
            Cause::Recovered
        } else {
            Cause::Policy
        }
    }
}
