//! Numbers for names. The kernel counts by class, plan layout and bucket *number*; a number is given to a name
//! once and is not used for another while any row may still hold counts under it. Rows outlive images.

use classifier::image::Binding;
use classifier::layout::{MAX_BUCKETS, MAX_CLASSES, MAX_METERS};
use serde::{Deserialize, Serialize};

use crate::image::{ChainEntry, PlanEntry};
use crate::policy::{Chain, ChainEnd, Count, Grant, Plan, Policy};

/// Every class and plan layout a node has counted under, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Classes by number.
    pub classes: Vec<KnownClass>,
    /// Plan layouts by number.
    pub layouts: Vec<Layout>,
}

/// A class by the number it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownClass {
    /// Its name.
    pub name: String,
    /// Its rating group in the latest policy that had it.
    pub rating_group: u32,
}

/// Which meters a row holds, in their order, and which buckets they and the plan's chains name. A plan gets
/// another layout only when a policy lets it reach what the present one has no meter for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Name of the plan.
    pub plan: String,
    /// Meters by number.
    pub meters: Vec<MeterKey>,
    /// Bucket names by plan bucket number.
    pub buckets: Vec<String>,
}

/// What a meter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterKey {
    /// Number of the class.
    pub class: u32,
    /// What it was charged to.
    pub charged: Charged,
}

/// What a packet was charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Charged {
    /// Nobody.
    Free,
    /// The subscriber, by volume.
    Metered,
    /// Nobody: it was dropped.
    Dropped,
    /// A bucket, by plan bucket number.
    Bucket(u8),
}

/// There is no number left for a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Too many class names.
    #[error(
        "class `{class}` is one too many: this node counts under at most {MAX_CLASSES} class names, those of \
         earlier policies included; reuse a name, or begin new counters with `zerorate detach --purge`"
    )]
    Classes {
        /// The class without a number.
        class: String,
    },
    /// Too many meters.
    #[error(
        "plan `{plan}` can charge {meters} different (class, charge) pairs; a session's row holds at most \
         {MAX_METERS}: shorten its chains or use fewer classes"
    )]
    Meters {
        /// The plan.
        plan: String,
        /// Pairs it can reach.
        meters: usize,
    },
    /// Too many layouts.
    #[error(
        "plan `{plan}` needs a new layout of its counters, and this node has used all {}: begin new counters with \
         `zerorate detach --purge`",
        Binding::MAX_PLANS
    )]
    Layouts {
        /// The plan.
        plan: String,
    },
    /// Too many buckets.
    #[error(
        "subscriber `{subscriber}` would hold the buckets {names}: at most {MAX_BUCKETS} names in the life of \
         one subscriber; keep bucket names when plans change"
    )]
    Buckets {
        /// The subscriber.
        subscriber: String,
        /// All bucket names, separated by commas.
        names: String,
    },
    /// Too many rows.
    #[error(
        "no room for {rows} more rows: {lines} of {capacity} lines of 136 bytes are in use; rows of ended \
         sessions are kept until their counters are taken away with `zerorate detach --purge`"
    )]
    Rows {
        /// Rows that were asked for.
        rows: usize,
        /// Lines in use.
        lines: u32,
        /// Lines there can be.
        capacity: u32,
    },
}

/// A policy's classes and plans in the catalog's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    /// Class numbers, indexed like [`Policy::classes`].
    pub classes: Vec<u32>,
    /// Layout numbers, indexed like [`Policy::plans`].
    pub layouts: Vec<u32>,
}

impl Catalog {
    /// Gives every class and plan of a policy its number, new ones where it must.
    ///
    /// # Errors
    /// When a limit of the layout is reached; the catalog is then to be thrown away.
    pub fn learn(&mut self, policy: &Policy) -> Result<Numbers, Full> {
        let mut classes = Vec::with_capacity(policy.classes.len());
        for class in &policy.classes {
            let known = KnownClass {
                name: class.name.clone(),
                rating_group: class.rating_group,
            };
            let number = match self
                .classes
                .iter()
                .position(|known| known.name == class.name)
            {
                Some(number) => {
                    self.classes[number] = known;
                    number
                }
                None if self.classes.len() == MAX_CLASSES as usize => {
                    return Err(Full::Classes {
                        class: class.name.clone(),
                    });
                }
                None => {
                    self.classes.push(known);
                    self.classes.len() - 1
                }
            };
            classes.push(number as u32);
        }
        let mut layouts = Vec::with_capacity(policy.plans.len());
        for plan in &policy.plans {
            layouts.push(self.layout(policy, plan, &classes)?);
        }
        Ok(Numbers { classes, layouts })
    }

    fn layout(&mut self, policy: &Policy, plan: &Plan, classes: &[u32]) -> Result<u32, Full> {
        let present = self
            .layouts
            .iter()
            .rposition(|layout| layout.plan == plan.name);
        let mut layout = present.map_or_else(
            || Layout {
                plan: plan.name.clone(),
                meters: Vec::new(),
                buckets: Vec::new(),
            },
            |number| self.layouts[number].clone(),
        );
        layout.extend(policy, plan, classes);
        if layout.meters.len() > MAX_METERS as usize || layout.buckets.len() > MAX_BUCKETS as usize
        {
            // What earlier policies reached is let go.
            layout = Layout {
                plan: plan.name.clone(),
                meters: Vec::new(),
                buckets: Vec::new(),
            };
            layout.extend(policy, plan, classes);
        }
        if layout.meters.len() > MAX_METERS as usize {
            return Err(Full::Meters {
                plan: plan.name.clone(),
                meters: layout.meters.len(),
            });
        }
        if let Some(number) = present
            && self.layouts[number] == layout
        {
            return Ok(number as u32);
        }
        if self.layouts.len() == Binding::MAX_PLANS as usize {
            return Err(Full::Layouts {
                plan: plan.name.clone(),
            });
        }
        self.layouts.push(layout);
        Ok(self.layouts.len() as u32 - 1)
    }

    /// A plan's entry in the image.
    #[must_use]
    pub fn entry(&self, policy: &Policy, plan: usize, numbers: &Numbers) -> PlanEntry {
        let layout = &self.layouts[numbers.layouts[plan] as usize];
        let plan = &policy.plans[plan];
        let bucket = |index: usize| layout.bucket(&plan.buckets[index].name);
        let mut chains = vec![None; self.classes.len()];
        for (index, chain) in plan.chains.iter().enumerate() {
            let class = numbers.classes[index];
            let reach = Reach::of(plan, chain, policy.classes[index].essential);
            let steps = chain.buckets.iter().filter_map(|index| {
                let bucket = bucket(*index)?;
                Some((bucket, layout.meter(class, Charged::Bucket(bucket))?))
            });
            // What is metered up to a limit is a step like others, but for what it is charged to.
            let limit = plan.limit_of(chain);
            let bounded = limit
                .and_then(|index| Some((bucket(index)?, layout.meter(class, Charged::Metered)?)));
            let end = match chain.end {
                ChainEnd::Free => layout.meter(class, Charged::Free),
                ChainEnd::Metered if limit.is_none() => layout.meter(class, Charged::Metered),
                ChainEnd::Metered | ChainEnd::Drop => None,
            };
            chains[class as usize] = Some(ChainEntry {
                steps: steps.chain(bounded).collect(),
                limited: bounded.map(|(_, meter)| meter),
                end,
                end_free: chain.end == ChainEnd::Free,
                free: is_free(chain),
                essential: policy.classes[index].essential,
                dropped: reach
                    .dropped
                    .then(|| layout.meter(class, Charged::Dropped))
                    .flatten(),
                rescued: reach
                    .rescued
                    .then(|| layout.meter(class, Charged::Free))
                    .flatten(),
            });
        }
        PlanEntry {
            suspension_ignored: plan.suspension_ignored,
            count_up: plan.count != Count::Down,
            count_down: plan.count != Count::Up,
            gate: plan
                .gate
                .iter()
                .filter_map(|index| bucket(*index))
                .collect(),
            chains,
            grants: layout
                .buckets
                .iter()
                .map(|name| {
                    let planned = plan.buckets.iter().find(|planned| planned.name == *name);
                    match planned.map(|planned| &planned.grant) {
                        Some(Grant::Bytes(bytes)) => *bytes,
                        Some(Grant::Money(_)) | None => 0,
                    }
                })
                .collect(),
        }
    }

    /// Name of what a meter of a layout is charged to.
    #[must_use]
    pub fn charged(&self, layout: u32, charged: Charged) -> &str {
        match charged {
            Charged::Free => "free",
            Charged::Metered => "metered",
            Charged::Dropped => "dropped",
            Charged::Bucket(bucket) => &self.layouts[layout as usize].buckets[bucket as usize],
        }
    }
}

impl Layout {
    /// Number of a bucket.
    #[must_use]
    pub fn bucket(&self, name: &str) -> Option<u8> {
        self.buckets
            .iter()
            .position(|known| known == name)
            .map(|number| number as u8)
    }

    /// Number of a meter.
    #[must_use]
    pub fn meter(&self, class: u32, charged: Charged) -> Option<u8> {
        let key = MeterKey { class, charged };
        self.meters
            .iter()
            .position(|known| *known == key)
            .map(|number| number as u8)
    }

    /// Adds what a plan can reach and the layout does not have yet.
    fn extend(&mut self, policy: &Policy, plan: &Plan, classes: &[u32]) {
        for bucket in &plan.buckets {
            if self.bucket(&bucket.name).is_none() {
                self.buckets.push(bucket.name.clone());
            }
        }
        for (index, chain) in plan.chains.iter().enumerate() {
            let class = classes[index];
            let reach = Reach::of(plan, chain, policy.classes[index].essential);
            let mut charges: Vec<Charged> = chain
                .buckets
                .iter()
                .filter_map(|index| self.bucket(&plan.buckets[*index].name).map(Charged::Bucket))
                .collect();
            match chain.end {
                ChainEnd::Free => charges.push(Charged::Free),
                ChainEnd::Metered => charges.push(Charged::Metered),
                ChainEnd::Drop => {}
            }
            charges.extend(reach.rescued.then_some(Charged::Free));
            charges.extend(reach.dropped.then_some(Charged::Dropped));
            for charged in charges {
                if self.meter(class, charged).is_none() {
                    self.meters.push(MeterKey { class, charged });
                }
            }
        }
    }
}

/// What can become of a class beside its chain.
struct Reach {
    /// It can be dropped.
    dropped: bool,
    /// It can be charged free because it is essential, where it would be dropped.
    rescued: bool,
}

impl Reach {
    fn of(plan: &Plan, chain: &Chain, essential: bool) -> Self {
        let ends = chain.end == ChainEnd::Drop || plan.limit_of(chain).is_some();
        let refused = !is_free(chain) && (!plan.gate.is_empty() || ends);
        Self {
            dropped: !essential && (!plan.suspension_ignored || refused),
            rescued: essential && refused,
        }
    }
}

fn is_free(chain: &Chain) -> bool {
    chain.buckets.is_empty() && chain.end == ChainEnd::Free
}
