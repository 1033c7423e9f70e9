//! What one loop counts beside what its endpoints count.

use crate::http::Status;
use crate::metrics::{Counter, Histogram};

/// Written by one loop, read by the metrics page.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Connections open now.
    pub connections: Counter,
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections closed at once because `max_connections` were open.
    pub refused_total: Counter,
    /// Connections closed at once because one address had its share.
    pub refused_address: Counter,
    /// Times that no descriptor or memory was left for a connection that waited.
    pub accept_errors: Counter,
    /// Requests refused before they reached an endpoint, by [`Status::index`].
    pub refusals: [Counter; Status::ALL.len()],
    /// Heads that took too long.
    pub head_timeouts: Counter,
    /// Bodies that took too long.
    pub body_timeouts: Counter,
    /// Connections closed without a request for too long.
    pub idle_timeouts: Counter,
    /// Connections closed because their answers were not read.
    pub write_timeouts: Counter,
    /// Answers that became 503 because the journal took longer than `ack_deadline`, or failed.
    pub expired: Counter,
    /// Times that a connection's reading paused for the journal.
    pub pauses: Counter,
    /// Connections that had to give up what they held, for others to have room.
    pub given_up: Counter,
    /// Connections whose senders went on after a refusal, or did not close, for too long.
    pub linger_timeouts: Counter,
    /// Times that requests of a connection were put back because too many were unanswered.
    pub pipeline_pauses: Counter,
    /// Bytes of incomplete requests, put back, and unread, held now.
    pub partial_bytes: Counter,
    /// Bytes that wait for the journal now.
    pub unacknowledged_bytes: Counter,
    /// From the arrival of a batch's first record until it was durable, for each record.
    pub ack_seconds: Histogram,
    /// Bodies stored.
    pub stored: Counter,
}
