//! What the records of a row have in common: by whom, under which plan and policy it was counted.

use std::collections::BTreeMap;

use classifier::layout::Meter;
use serde::{Deserialize, Serialize};

/// What the records of a row have in common for as long as plan and policy are the same: few, however many the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Name of the gateway.
    pub node: String,
    /// Epoch of the counters, 16 hex digits.
    pub epoch: String,
    /// Where it was counted: `xdp-native`, `xdp-generic`, `tc-egress`; several joined by `+`.
    pub count_point: String,
    /// The plan.
    pub plan: String,
    /// Version of the policy.
    pub policy_version: String,
    /// Whether what is sent draws buckets.
    pub count_up: bool,
    /// Whether what is received does.
    pub count_down: bool,
    /// What the row's meters count, by number.
    pub meters: Vec<Label>,
}

/// What a meter counts, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The service class.
    pub class: String,
    /// Its rating group under this policy.
    pub rating_group: u32,
    /// `free`, `metered`, `dropped`, or a bucket's name.
    pub charged: String,
}

impl Label {
    /// Whether it names a bucket.
    #[must_use]
    pub fn is_bucket(&self) -> bool {
        !matches!(&*self.charged, "free" | "metered" | "dropped")
    }
}

impl Terms {
    /// What left the bucket, of what a meter counted.
    #[must_use]
    pub fn drawn(&self, meter: usize, counted: &Meter) -> u64 {
        if !self.meters[meter].is_bucket() {
            return 0;
        }
        u64::from(self.count_up) * counted.bytes_up
            + u64::from(self.count_down) * counted.bytes_down
    }
}

/// What a published image was compiled from, as far as records need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Version of the policy; behind `@`, the latest validity boundary it had passed.
    pub policy_version: String,
    /// Plans by name: whether what is sent, and what is received, draws buckets.
    pub plans: BTreeMap<String, (bool, bool)>,
    /// Rating groups by class.
    pub rating_groups: BTreeMap<String, u32>,
}
