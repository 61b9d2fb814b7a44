//! What a planned change gives an account: its number, its buckets with what they are granted or held before, its cycles.

use std::sync::Arc;

use classifier::layout::MAX_BUCKETS;

use super::planning::Planning;
use super::{Account, Bucket, Carried, Change, Cycles, Endowed, Full};
use crate::ledger::endowments;
use crate::policy::Grant;

/// The buckets of an account after a change, and the grants they come with: position and bytes.
#[derive(Clone)]
pub(super) struct Endowment {
    buckets: Arc<[Bucket]>,
    grants: Arc<[(u32, u64)]>,
    /// Which of those that are granted something at first are to be recorded.
    newly: Option<usize>,
}

/// Subscribers that one plan grants the same at first.
pub(super) struct Newly {
    plan: String,
    /// Names of the buckets, and bytes.
    grants: Vec<(String, u64)>,
    subscribers: Vec<Arc<str>>,
}

impl Planning<'_> {
    /// The account with every bucket of the plan's layout, and without a session.
    pub(super) fn account(
        &mut self,
        id: &Arc<str>,
        before: Option<&Account>,
        plan: usize,
    ) -> Result<Account, Full> {
        let mut account = match before {
            Some(account) => Account {
                session: None,
                buckets: Arc::clone(&account.buckets),
                ..*account
            },
            None => Account {
                number: self.next_account(),
                bucket_line: 0,
                buckets: Arc::default(),
                cycles: None,
                session: None,
            },
        };
        account.cycles = self.cycles(account.cycles, plan);
        let key = (account.buckets.as_ptr(), plan);
        let Endowment {
            buckets,
            grants,
            newly,
        } = match self.endowments.get(&key) {
            Some(endowment) => endowment.clone(),
            None => {
                let endowment = self.endow(id, &account.buckets, plan)?;
                self.endowments.insert(key, endowment.clone());
                endowment
            }
        };
        account.buckets = buckets;
        if account.bucket_line == 0 && !account.buckets.is_empty() {
            account.bucket_line = self.lines(1)?;
            if let Some(before) = before {
                self.carry_over(before, account.bucket_line);
            }
        }
        if let Some(newly) = newly {
            self.endowed[newly].subscribers.push(Arc::clone(id));
        }
        let line = account.bucket_line;
        self.change.grants.extend(
            grants
                .iter()
                .map(|(position, bytes)| (line, *position, *bytes)),
        );
        Ok(account)
    }

    /// Gives a subscriber that was known before counters began anew what it had in its buckets.
    pub(super) fn carry_over(&mut self, before: &Account, line: u32) {
        for (position, bucket) in (0..).zip(&*before.buckets) {
            if let Some(bytes) = bucket.granted {
                self.change.grants.push((line, position, bytes));
            }
        }
        // Behind them, so that it is what stays.
        for carried in self
            .accounts
            .carried
            .get(&before.number)
            .into_iter()
            .flatten()
        {
            let Carried {
                position,
                granted,
                drawn,
            } = *carried;
            self.change
                .grants
                .extend(granted.map(|bytes| (line, position, bytes)));
            self.change.drawn.push((line, position, drawn));
        }
    }

    /// Where a subscriber is in its cycles, under a plan.
    fn cycles(&mut self, before: Option<Cycles>, plan: usize) -> Option<Cycles> {
        let planned = &self.policy.plans[plan];
        let Some(cycle) = planned.cycle else {
            return before;
        };
        // What began when the clock was ahead begins now.
        let before = before.filter(|cycles| cycles.since <= self.at.into());
        let since = before.map_or(self.at, |cycles| cycles.since.time());
        let (at, zone) = (self.at, &self.accounts.zone);
        let end = *self
            .ends
            .entry((since, plan))
            .or_insert_with(|| cycle.end_after(since, at, zone));
        Some(match before {
            Some(cycles) => cycles.under(planned, end),
            None => Cycles {
                since: since.into(),
                due: end.into(),
            },
        })
    }

    /// The number of a subscriber that was never seen before.
    fn next_account(&mut self) -> u32 {
        self.newcomers += 1;
        self.accounts.subscribers.len() as u32 + self.newcomers - 1
    }

    /// Adds the buckets of a plan's layout to those there are, and finds the grants of those that never had one.
    fn endow(&mut self, id: &str, before: &Arc<[Bucket]>, plan: usize) -> Result<Endowment, Full> {
        let layout = self.change.numbers.layouts[plan];
        let mut buckets = before.to_vec();
        for name in &self.change.catalog.layouts[layout as usize].buckets {
            if !buckets.iter().any(|bucket| bucket.name == *name) {
                buckets.push(Bucket {
                    name: name.clone(),
                    granted: None,
                });
            }
        }
        if buckets.len() > MAX_BUCKETS as usize {
            let names: Vec<_> = buckets.iter().map(|bucket| bucket.name.as_str()).collect();
            return Err(Full::Buckets {
                subscriber: id.to_owned(),
                names: names.join(", "),
            });
        }
        let mut grants = Vec::new();
        let mut recorded = Vec::new();
        let plan = &self.policy.plans[plan];
        for (position, bucket) in (0..).zip(&mut buckets) {
            let planned = plan
                .buckets
                .iter()
                .find(|planned| planned.name == bucket.name);
            if let Some(planned) = planned
                && bucket.granted.is_none()
            {
                let bytes = match planned.grant {
                    Grant::Bytes(bytes) => bytes,
                    Grant::Money(_) => 0,
                };
                bucket.granted = Some(bytes);
                grants.push((position, bytes));
                if bytes > 0 {
                    recorded.push((bucket.name.clone(), bytes));
                }
            }
        }
        let buckets = if **before == *buckets {
            Arc::clone(before)
        } else {
            buckets.into()
        };
        let newly = (!recorded.is_empty()).then_some(self.endowed.len());
        self.endowed.extend(newly.map(|_| Newly {
            plan: plan.name.clone(),
            grants: recorded,
            subscribers: Vec::new(),
        }));
        Ok(Endowment {
            buckets,
            grants: grants.into(),
            newly,
        })
    }

    /// The change, with what is to be recorded of first grants.
    pub(super) fn finish(mut self) -> Change {
        for Newly {
            plan,
            grants,
            subscribers,
        } in self.endowed
        {
            if subscribers.len() < endowments::TOGETHER {
                for id in subscribers {
                    for (bucket, bytes) in &grants {
                        let entry = endowments::entry(&id, &plan, bucket, *bytes);
                        self.change.entries.push(entry);
                    }
                }
                continue;
            }
            self.change.endowed.push(Endowed {
                plan,
                grants,
                subscribers,
            });
        }
        self.change
    }
}
