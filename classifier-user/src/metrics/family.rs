//! Metrics as they are told at one moment: families of samples, and how they become text.
//!
//! What is counted stands in kernel maps and in the ledger, so a scrape reads it there. Nothing is counted twice to be shown.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;

/// Labels of a sample.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A number, as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    /// It only grows, but for the begin of new counters.
    Count(u64),
    /// It may grow by parts.
    Sum(f64),
    /// It goes up and down.
    Level(f64),
}

impl Number {
    const fn metric_type(self) -> MetricType {
        match self {
            Self::Count(_) | Self::Sum(_) => MetricType::Counter,
            Self::Level(_) => MetricType::Gauge,
        }
    }

    fn encode(self, to: &mut MetricEncoder<'_>) -> fmt::Result {
        const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;
        match self {
            Self::Count(number) => to.encode_counter(&number, NO_EXEMPLAR),
            Self::Sum(number) => to.encode_counter(&number, NO_EXEMPLAR),
            Self::Level(number) => to.encode_gauge(&number),
        }
    }
}

/// Samples of one name.
#[derive(Debug)]
struct Family {
    /// Without the unit, and without `_total`.
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    samples: Vec<(Labels, Number)>,
}

/// All there is to tell at one moment.
#[derive(Debug, Default)]
pub(super) struct Told(Vec<Family>);

impl Told {
    /// Begins a family; the samples that follow are of it. Its name gets the unit and, of counters, `_total`.
    pub(super) fn family(&mut self, name: &'static str, unit: Option<Unit>, help: &'static str) {
        self.0.push(Family {
            name,
            help,
            unit,
            samples: Vec::new(),
        });
    }

    /// Adds a sample to the family that was begun last.
    pub(super) fn sample(&mut self, labels: Labels, number: Number) {
        if let Some(family) = self.0.last_mut() {
            debug_assert!(
                family.samples.first().is_none_or(|(_, first)| {
                    first.metric_type().as_str() == number.metric_type().as_str()
                }),
                "{}: a counter is no gauge",
                family.name
            );
            family.samples.push((labels, number));
        }
    }

    /// A counter without labels.
    pub(super) fn count(
        &mut self,
        name: &'static str,
        unit: Option<Unit>,
        help: &'static str,
        count: u64,
    ) {
        self.family(name, unit, help);
        self.sample(Vec::new(), Number::Count(count));
    }

    /// A gauge without labels.
    pub(super) fn level(
        &mut self,
        name: &'static str,
        unit: Option<Unit>,
        help: &'static str,
        level: f64,
    ) {
        self.family(name, unit, help);
        self.sample(Vec::new(), Number::Level(level));
    }
}

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family {
            name,
            help,
            unit,
            samples,
        } in &self.0
        {
            let Some((_, first)) = samples.first() else {
                continue;
            };
            let mut family =
                encoder.encode_descriptor(name, help, unit.as_ref(), first.metric_type())?;
            for (labels, number) in samples {
                if labels.is_empty() {
                    number.encode(&mut family)?;
                } else {
                    number.encode(&mut family.encode_family(labels)?)?;
                }
            }
        }
        Ok(())
    }
}
