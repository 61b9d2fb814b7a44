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
    /// What draws the plan's buckets.
    pub counts: Counts,
    /// What the row's meters count, by number.
    pub meters: Vec<Label>,
}

/// What draws a plan's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// What is sent.
    pub up: bool,
    /// What is received.
    pub down: bool,
    /// Also what is metered: it draws the limit.
    pub limited: bool,
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
    /// The bucket's price under this policy, as a policy writes it; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
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
        let label = &self.meters[meter];
        let of_limit = self.counts.limited && label.charged == "metered";
        if !label.is_bucket() && !of_limit {
            return 0;
        }
        u64::from(self.counts.up) * counted.bytes_up
            + u64::from(self.counts.down) * counted.bytes_down
    }
}

/// What a published image was compiled from, as far as records need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Version of the policy; behind `@`, the latest validity boundary it had passed.
    pub policy_version: String,
    /// What draws buckets, by name of the plan.
    pub plans: BTreeMap<String, Counts>,
    /// Rating groups by class.
    pub rating_groups: BTreeMap<String, u32>,
    /// Prices by plan and bucket, as a policy writes them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<String, BTreeMap<String, String>>,
}
