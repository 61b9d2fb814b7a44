//! What a publication says, in names and numbers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::policy::{
    Chain, ChainEnd, Cycle, Grant, Plan, Policy, Renew, Settlement, Titles, parse_price,
};

/// What a publication says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The policy.
    pub policy: Titled,
    /// The text it rests on.
    pub basis: Option<String>,
    /// Titles of classes and packages.
    pub names: Names,
    /// Plans that have not ended, by name.
    pub plans: Vec<PlanFacts>,
    /// What is free under some plan, in the order of the policy.
    pub services: Vec<Service>,
}

/// Something people are told of by its title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Titled {
    /// Its name in the policy.
    pub name: String,
    /// What people are told it is called.
    pub titles: Titles,
}

/// Titles by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Names {
    /// Of classes.
    pub classes: BTreeMap<String, Titles>,
    /// Of packages and accounts.
    pub packages: BTreeMap<String, Titles>,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanFacts {
    /// What it is called.
    #[serde(flatten)]
    pub plan: Titled,
    /// Since when it is there.
    pub valid_from: Option<Timestamp>,
    /// When it ends.
    pub valid_until: Option<Timestamp>,
    /// What follows.
    pub successor: Option<String>,
    /// Whether it takes nobody new.
    pub closed: bool,
    /// `advance` or `credit`.
    pub settlement: String,
    /// Which directions draw packages down: `both`, `down`, `up`.
    pub count: String,
    /// After how many days packages begin anew,
    pub cycle_days: Option<u32>,
    /// or after how many months.
    pub cycle_months: Option<u32>,
    /// Whether they do only when billing says so.
    pub renewed_by_billing: bool,
    /// Whether suspension does not cut it off.
    pub suspension_ignored: bool,
    /// Names of the packages of which one must hold something.
    pub gate: Vec<String>,
    /// Packages and accounts, in the order of the policy.
    pub packages: Vec<Package>,
    /// Who pays for each class, by name.
    pub charges: Vec<Charge>,
}

/// A package or an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub package: String,
    /// What is in it.
    #[serde(flatten)]
    pub holds: Kind,
}

/// What is in a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "holds", rename_all = "lowercase")]
pub enum Kind {
    /// So many bytes each time; 0: as many as are bought.
    Volume {
        /// Bytes.
        bytes: u64,
    },
    /// Money.
    Money {
        /// Amount, currency and the volume it buys, as in `630 UZS/MB`.
        price: String,
    },
}

/// Who pays for a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The class.
    pub class: String,
    /// Whether it stays reachable whatever happens.
    pub essential: bool,
    /// Names of the packages in turn.
    pub packages: Vec<String>,
    /// The bucket up to which what is behind them is charged by volume.
    pub limit: Option<String>,
    /// `free`, `metered` or `drop`.
    pub end: String,
}

/// A free service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// What it is called.
    #[serde(flatten)]
    pub service: Titled,
    /// Its class.
    pub class: String,
    /// Names of the plans it is free under.
    pub plans: Vec<String>,
    /// Since when: as the policy says, or else when it was first published as free.
    pub since: Timestamp,
    /// Until when; `null`: no end is set.
    pub until: Option<Timestamp>,
}

impl Content {
    /// What there is to say of a policy at a time; `last` is what was said before.
    pub(super) fn of(policy: &Policy, at: Timestamp, last: Option<&Self>) -> Self {
        let over = |until: Option<Timestamp>| until.is_some_and(|until| until <= at);
        let plans: Vec<&Plan> = policy
            .plans
            .iter()
            .filter(|plan| !over(plan.validity().until))
            .collect();
        let services = policy.sets.iter().filter_map(|set| {
            let free = plans.iter().filter(|plan| plan.is_free(set.class));
            let free: Vec<String> = free.map(|plan| plan.name.clone()).collect();
            if free.is_empty() || over(set.validity.until) {
                return None;
            }
            let mut known = last.into_iter().flat_map(|last| &last.services);
            let known = known.find(|known| known.service.name == set.name);
            let listed = known.map_or(at, |known| known.since);
            Some(Service {
                service: Titled {
                    name: set.name.clone(),
                    titles: set.titles.clone(),
                },
                class: policy.classes[set.class].name.clone(),
                plans: free,
                since: set.validity.from.unwrap_or(listed),
                until: set.validity.until,
            })
        });
        let classes = policy.classes.iter();
        let buckets = plans.iter().flat_map(|plan| &plan.buckets);
        Content {
            policy: Titled {
                name: policy.name.clone(),
                titles: policy.titles.clone(),
            },
            basis: policy.basis.clone(),
            services: services.collect(),
            names: Names {
                classes: classes
                    .map(|class| (class.name.clone(), class.titles.clone()))
                    .collect(),
                packages: buckets
                    .map(|bucket| (bucket.name.clone(), policy.bucket_titles(&bucket.name)))
                    .collect(),
            },
            plans: plans
                .into_iter()
                .map(|plan| PlanFacts::of(policy, plan))
                .collect(),
        }
    }

    /// A plan by name.
    #[must_use]
    pub fn plan(&self, name: &str) -> Option<&PlanFacts> {
        self.plans.iter().find(|plan| plan.plan.name == name)
    }
}

impl PlanFacts {
    fn of(policy: &Policy, plan: &Plan) -> Self {
        let bucket = |index: usize| plan.buckets[index].name.clone();
        let charge = |(class, chain): (&crate::policy::Class, &Chain)| Charge {
            class: class.name.clone(),
            essential: class.essential,
            packages: chain.buckets.iter().map(|index| bucket(*index)).collect(),
            limit: plan.limit_of(chain).map(bucket),
            end: chain.end.as_str().to_owned(),
        };
        let (cycle_days, cycle_months) = match plan.cycle {
            None => (None, None),
            Some(Cycle::Days(days)) => (Some(days), None),
            Some(Cycle::Months(months)) => (None, Some(months)),
        };
        PlanFacts {
            plan: Titled {
                name: plan.name.clone(),
                titles: plan.titles.clone(),
            },
            valid_from: plan.valid_from,
            valid_until: plan.end.map(|end| end.at),
            successor: plan.end.map(|end| policy.plans[end.successor].name.clone()),
            closed: plan.closed,
            settlement: match plan.settlement {
                Settlement::Advance => "advance",
                Settlement::Credit => "credit",
            }
            .to_owned(),
            count: plan.count.as_str().to_owned(),
            cycle_days,
            cycle_months,
            renewed_by_billing: plan.renew == Renew::Billing,
            suspension_ignored: plan.suspension_ignored,
            gate: plan.gate.iter().map(|index| bucket(*index)).collect(),
            packages: plan
                .buckets
                .iter()
                .map(|bucket| Package {
                    package: bucket.name.clone(),
                    holds: match &bucket.grant {
                        Grant::Bytes(bytes) => Kind::Volume { bytes: *bytes },
                        Grant::Money(price) => Kind::Money {
                            price: price.to_string(),
                        },
                    },
                })
                .collect(),
            charges: policy
                .classes
                .iter()
                .zip(&plan.chains)
                .map(charge)
                .collect(),
        }
    }

    /// Names of the classes that are free.
    pub fn free(&self) -> impl Iterator<Item = &str> {
        let free = self.charges.iter().filter(|charge| charge.is_free());
        free.map(|charge| &*charge.class)
    }
}

impl Charge {
    /// Whether nobody pays, whatever is in the packages.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.packages.is_empty() && self.end == ChainEnd::Free.as_str()
    }
}

impl Kind {
    /// The price of money, taken apart: amount, currency and bytes.
    #[must_use]
    pub fn price(&self) -> Option<(String, String, u64)> {
        let Kind::Money { price } = self else {
            return None;
        };
        let price = parse_price(price).ok()?;
        Some((price.amount, price.currency, price.per_bytes))
    }
}
