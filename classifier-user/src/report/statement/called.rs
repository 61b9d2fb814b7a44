//! What things in a statement are called, which only the policy knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Statement;
use crate::policy::{Policy, Titles};

/// What people are told things in a statement are called: by name, by language.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = StatementTitles)]
pub struct Called {
    /// Service classes.
    #[serde(default)]
    pub classes: ByName,
    /// Plans.
    #[serde(default)]
    pub plans: ByName,
    /// What was charged.
    #[serde(default)]
    pub buckets: ByName,
}

/// Titles by language code, by name.
pub type ByName = BTreeMap<String, BTreeMap<String, String>>;

impl Statement {
    /// Adds titles, as a policy has them.
    pub fn told_by(&mut self, policy: &Policy) {
        let mut called = Called::default();
        let plans = self.head.plan.iter().cloned();
        let rows = || self.usage.iter().chain(&self.dropped);
        for name in plans.chain(rows().map(|row| row.plan.clone())) {
            if let Some((_, plan)) = policy.plan(&name) {
                note(&mut called.plans, name, &plan.titles);
            }
        }
        for row in rows() {
            if let Some((_, class)) = policy.class(&row.class) {
                note(&mut called.classes, row.class.clone(), &class.titles);
            }
            let titles = policy.bucket_titles(&row.charged);
            note(&mut called.buckets, row.charged.clone(), &titles);
        }
        self.called = Some(called).filter(|called| *called != Called::default());
    }
}

fn note(names: &mut ByName, name: String, titles: &Titles) {
    if !titles.0.is_empty() {
        let titles = titles.0.iter();
        let titles = titles.map(|(language, title)| (language.to_string(), title.clone()));
        names.insert(name, titles.collect());
    }
}
