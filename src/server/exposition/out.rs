//! One metric after the other in the text format.

use crate::journal;
use crate::metrics::Histogram;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

/// Writes one metric after the other. The encoder adds `_total` to counters.
pub(super) struct Out<'e>(pub(super) DescriptorEncoder<'e>);

impl Out<'_> {
    pub(super) fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(encoder)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, level: u64) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(level).encode(encoder)
    }

    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        counts: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in counts {
            ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    pub(super) fn gauges<L: EncodeLabelSet, N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        levels: impl IntoIterator<Item = (L, N)>,
    ) -> fmt::Result
    where
        ConstGauge<N>: EncodeMetric,
    {
        let mut encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, level) in levels {
            ConstGauge::new(level).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        (sum, count, buckets): &Merged,
    ) -> fmt::Result {
        let mut encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        encoder.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
    }

    /// A histogram by powers of two, whose values are multiplied by `scale`.
    pub(super) fn powers(
        &mut self,
        name: &str,
        help: &str,
        histogram: &journal::Histogram,
        scale: f64,
    ) -> fmt::Result {
        let counts = histogram.counts();
        let last = counts.len() - 1;
        let bounds = (0..).map(|power| {
            if power == last {
                f64::INFINITY
            } else {
                scale * f64::from(1_u32 << power)
            }
        });
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a sum of durations is read by people"
        )]
        let sum = histogram.sum() as f64 * scale;
        self.histogram(name, help, &(sum, counts.iter().sum(), buckets))
    }
}

/// Sum and count beside the buckets.
pub(super) type Merged = (f64, u64, Vec<(f64, u64)>);

pub(super) fn merge(histograms: &[&Histogram]) -> Merged {
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    for histogram in histograms {
        for (position, (bound, count)) in histogram.buckets().enumerate() {
            match buckets.get_mut(position) {
                Some(bucket) => bucket.1 += count,
                None => buckets.push((bound, count)),
            }
        }
    }
    let sum = histograms
        .iter()
        .map(|histogram| histogram.sum_seconds())
        .sum();
    (sum, buckets.iter().map(|bucket| bucket.1).sum(), buckets)
}
