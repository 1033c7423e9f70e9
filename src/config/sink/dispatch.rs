//! How fast, how many at a time and how often: what sinks have in common that deliver one by one.

use crate::config::reader::{Reading, Section};
use std::num::NonZeroU32;
use std::time::Duration;

/// The pace of deliveries. Defaults, ranges and reasons stand in [`SETTINGS`](crate::config::SETTINGS), with the
/// section `sink.http` or `sink.exec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// Deliveries at a time.
    pub concurrency: usize,
    /// Deliveries begun in a second at most; `None` for any number.
    pub rate: Option<NonZeroU32>,
    /// How long one attempt may take as a whole.
    pub timeout: Duration,
    /// The pause after the first failure; it doubles with each one.
    pub retry_min: Duration,
    /// The longest pause; not below `retry_min`.
    pub retry_max: Duration,
    /// After so many attempts a delivery becomes a dead letter.
    pub max_attempts: u32,
}

/// Reads them, with the defaults of `group`.
pub(super) fn read(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    group: &'static str,
) -> Dispatch {
    let mut number = |key| section.measured_of(reading, group, key).unwrap_or_default();
    let count = |value| u32::try_from(value).unwrap_or(u32::MAX);
    let dispatch = Dispatch {
        concurrency: usize::try_from(number("concurrency")).unwrap_or(usize::MAX),
        rate: NonZeroU32::new(count(number("rate"))),
        timeout: Duration::from_millis(number("timeout")),
        retry_min: Duration::from_millis(number("retry_min")),
        retry_max: Duration::from_millis(number("retry_max")),
        max_attempts: count(number("max_attempts")),
    };
    if dispatch.retry_max < dispatch.retry_min {
        let key = if section.has("retry_max") {
            "retry_max"
        } else {
            "retry_min"
        };
        let message = "retry_max is below retry_min; pauses grow from the one to the other";
        reading.mistake(&section.place_of(key), message);
    }
    dispatch
}
