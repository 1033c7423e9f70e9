//! The configuration, cut into the options of the modules: nothing below the server reads a [`Config`].

use crate::config::Config;
use crate::dedupe::Options;
use crate::{http, journal, reactor};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

pub(super) fn reactor(config: &Config) -> reactor::Options {
    let (server, limits) = (&config.server, &config.limits);
    reactor::Options {
        http: http::Limits {
            head: limits.head,
            headers: limits.headers,
            body: limits.body,
        },
        pipeline_max: limits.pipeline,
        unacknowledged_max: limits.unacknowledged / server.loops,
        // Each loop takes at least one request of the largest size, or it would refuse such a one for ever.
        partial_max: (limits.partial / server.loops).max(limits.body + limits.head),
        receive_buffer: RECEIVE_BYTES,
        batch_bytes: BATCH_BYTES,
        ack_deadline: server.ack_deadline,
        behind_max: BEHIND_MAX.max(2 * config.journal.sync_interval),
        head_timeout: limits.head_timeout,
        body_timeout: limits.body_timeout,
        idle_timeout: limits.idle_timeout,
        write_timeout: limits.write_timeout,
        linger_timeout: limits.linger_timeout,
    }
}

pub(super) fn journal(config: &Config, floor: Arc<AtomicU64>, confirmed: u64) -> journal::Options {
    let limits = &config.limits;
    journal::Options {
        segment_size: config.journal.segment_size,
        // A batch that is nearly full, and then the largest body with its kept headers.
        largest_frame: (BATCH_BYTES + limits.body + limits.head + FRAME_SLACK) as u64,
        retention: config.journal.retention,
        max_size: Some(config.journal.max_size),
        sync_interval: config.journal.sync_interval,
        reserve: limits.unacknowledged as u64,
        retention_hold: floor,
        confirmed,
        ..journal::Options::default()
    }
}

pub(super) fn dedupe(config: &Config) -> Options {
    let micros = config.dedupe.window.as_micros();
    Options {
        window: u64::try_from(micros).unwrap_or(u64::MAX),
        keys: config.dedupe.keys as u64,
        scope: config.dedupe.scope,
    }
}

/// Bytes after which a batch leaves: some hundred notifications, and still in the cache of a core.
pub(super) const BATCH_BYTES: usize = 128 << 10;

/// Bytes of a loop's receive buffer: sixteen pipelined requests of 4 KiB, and still in the cache of a core.
const RECEIVE_BYTES: usize = 64 << 10;

/// From where on answers of `received` wait for the disk, for intervals of its syncs that are well below.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// Fixed parts of frame and record, and more.
const FRAME_SLACK: usize = 64 << 10;
