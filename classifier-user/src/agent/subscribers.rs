//! Subscribers as the agent tells of them: who has a session, under which plan, with what in its buckets.

use std::collections::HashMap;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::charging::held::price_of;
use super::node::Node;
use super::records::statement::ActivityView;
use crate::accounts::{Account, Cycles, Session, Stamp};
use crate::balance::Level;
use crate::balance::money::Tariff;
use crate::ledger::balances::Purse;
use crate::policy::parse_price;

/// A subscriber as `zerorate subscriber` shows it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SubscriberView {
    /// Id.
    pub subscriber: String,
    /// Plan.
    pub plan: String,
    /// `active` or `suspended`.
    pub state: String,
    /// Number of the session.
    pub session: u64,
    /// When it began.
    pub start: Timestamp,
    /// Its prefixes.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpNet>,
    /// What is left in its buckets, in bytes; below zero by what ran over.
    pub buckets: Vec<BucketView>,
    /// When its cycles began; none where its plan has none.
    pub cycle_since: Option<Timestamp>,
    /// When the running one ends; none where billing has to begin the next one.
    pub cycle_until: Option<Timestamp>,
    /// Time and speed of the session, where one subscriber is asked for.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<ActivityView>,
}

/// A bucket in [`SubscriberView`].
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BucketView {
    /// Its name.
    pub bucket: String,
    /// Bytes left.
    pub left: i64,
    /// The same in money, where its plan has a price for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
}

/// Money that was bought bytes with, by subscriber.
type Money = HashMap<String, Vec<Purse>>;

impl Node {
    /// All subscribers with a session.
    #[must_use]
    pub fn subscribers(&self) -> Vec<SubscriberView> {
        let money = self.money(None);
        self.accounts
            .present()
            .map(|(id, account, session)| self.view(id, account, session, &money))
            .collect()
    }

    /// One subscriber.
    #[must_use]
    pub fn subscriber(&self, id: &str) -> Option<SubscriberView> {
        let account = self.accounts.subscribers.get(id)?;
        let session = account.session.as_ref()?;
        Some(self.view(id, account, session, &self.money(Some(id))))
    }

    fn view(
        &self,
        id: &str,
        account: &Account,
        session: &Session,
        money: &Money,
    ) -> SubscriberView {
        let cycles = account.cycles.filter(|_| {
            self.plan_of(account)
                .is_some_and(|plan| plan.cycle.is_some())
        });
        SubscriberView {
            subscriber: id.to_owned(),
            plan: self.accounts.catalog.layouts[session.row.layout as usize]
                .plan
                .clone(),
            state: if session.suspended {
                "suspended"
            } else {
                "active"
            }
            .into(),
            session: session.number,
            start: session.start.time(),
            addresses: session.addresses.to_vec(),
            buckets: self.bucket_views(id, account, money),
            cycle_since: cycles.map(|cycles| cycles.since.time()),
            cycle_until: cycles
                .map(|cycles| cycles.due)
                .filter(|due| *due != Cycles::WAITING)
                .map(Stamp::time),
            activity: None,
        }
    }

    /// An account's buckets, with what is left in them now.
    fn bucket_views(&self, id: &str, account: &Account, money: &Money) -> Vec<BucketView> {
        let plan = self.plan_of(account);
        let purse = |position| {
            let mut purses = money.get(id).into_iter().flatten();
            purses.find(|purse| purse.position == position)
        };
        (0..)
            .zip(&*account.buckets)
            .map(|(position, bucket)| {
                let purse = purse(position);
                let planned = plan.and_then(|plan| price_of(plan, &bucket.name)).cloned();
                // Bytes are worth what they were bought at.
                let bought = purse.and_then(|purse| parse_price(&purse.price).ok());
                let level = Level {
                    drawn: self.lines.drawn(account.bucket_line, position),
                    granted: self.lines.granted(account.bucket_line, position),
                    rest: purse.map_or(0, |purse| purse.rest),
                };
                let price = bought.or(planned);
                let amount = price.map(|price| level.amount(&Tariff::of(&price)));
                BucketView {
                    bucket: bucket.name.clone(),
                    left: level.left(),
                    // More than can be reckoned with is shown in bytes only.
                    amount: amount.and_then(Result::ok).map(|amount| amount.to_string()),
                }
            })
            .collect()
    }

    /// The buckets of an account, as its session's plan sees them.
    pub(super) fn buckets_of(&self, id: &str, account: &Account) -> Vec<BucketView> {
        self.bucket_views(id, account, &self.money(Some(id)))
    }

    /// Money that is less than a byte costs, of all subscribers or of one.
    fn money(&self, of: Option<&str>) -> Money {
        let purses = self.ledger.purses(of).unwrap_or_else(|error| {
            tracing::error!("{error}; amounts are shown without what is less than a byte");
            Vec::new()
        });
        let mut money = Money::new();
        for purse in purses {
            money
                .entry(purse.subscriber.clone())
                .or_default()
                .push(purse);
        }
        money
    }
}
