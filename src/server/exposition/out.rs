//! One metric after the other in the text format.

use crate::metrics::{Bounds, Histogram};
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

    /// All of them together, their values divided by `unit`: 1e6 makes seconds of microseconds.
    pub(super) fn histogram<'h, B: Bounds + 'h>(
        &mut self,
        name: &str,
        help: &str,
        histograms: impl IntoIterator<Item = &'h Histogram<B>>,
        unit: f64,
    ) -> fmt::Result {
        let bounds = B::UPPER.iter().map(|bound| float(*bound) / unit);
        let bounds = bounds.chain([f64::INFINITY]);
        let mut buckets: Vec<(f64, u64)> = bounds.map(|bound| (bound, 0)).collect();
        let mut sum = 0;
        for histogram in histograms {
            sum += histogram.sum();
            for (bucket, (_, count)) in buckets.iter_mut().zip(histogram.buckets()) {
                bucket.1 += count;
            }
        }
        let count = buckets.iter().map(|bucket| bucket.1).sum();
        let mut encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        encoder.encode_histogram::<NoLabelSet>(float(sum) / unit, count, &buckets, None)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bounds are small, and a sum is read by people"
)]
fn float(number: u64) -> f64 {
    number as f64
}
