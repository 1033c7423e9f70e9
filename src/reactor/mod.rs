//! One event loop a core: its own poll, its own listener, its own connections. The only place where HTTP meets
//! the journal.
//!
//! A keep-alive request costs one `recv` and one `send`; `epoll_wait` is shared by all sockets that were
//! ready, and nothing on the way allocates, locks or reads a clock. The rules that make it so:
//!
//! - A short read ends the reading of a socket: mio is edge-triggered, and with less than the buffer holds the
//!   queue was empty. When the peer has closed, the loop reads on to the end.
//! - Answers are written first; a socket is watched for WRITABLE only after a partial write, and no longer than that.
//! - All answers of a socket leave in one send.
//! - A token is generation and slot, so an event for a connection that has gone never reaches its successor.
//! - A batch leaves when it is full, before the loop would block, or after two rounds.
//!
//! Overload is a state: when [`Options::unacknowledged_max`] bytes wait for the journal the loop stops reading and
//! TCP holds the senders; what has waited for [`Options::ack_deadline`] gets 503, and so does what has waited for half
//! of it before it was read, as the other half is the journal's.
//!
//! - [`EventLoop`]: a round of polling, serving, releasing, timing
//! - `connection`: reads, serves, answers in order, lingers
//! - `stage`: what a connection is at, and how long that may take
//! - `transport`: the socket, and what is on its way out of it
//! - `core`: what connections share: routing, storing, counting
//! - `outbox`: batches on the way to the disk, and the answers that wait for them
//! - `connections`: those of a loop by slot, and its lists of those that get another turn
//! - `acceptor`, [`Admission`]: takes connections, and says how many may be there
//! - `memory_budget`: what connections hold in memory, and who gives it up when it is too much
//! - `wheel`, `clock`: deadlines, time

mod acceptor;
mod admission;
mod clock;
mod connection;
mod connections;
mod control;
mod core;
mod event_loop;
mod memory_budget;
mod outbox;
mod refusal_log;
mod stage;
mod statistics;
mod transport;
mod wheel;

pub use admission::Admission;
pub use control::{Control, Phase};
pub use event_loop::{EventLoop, ReactorError, Setup};
pub use statistics::Statistics;

use crate::http;
use std::time::Duration;

/// Bounds on one loop and its connections.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub http: http::Limits,
    /// Requests of one connection that may be unanswered before its reading pauses.
    pub pipeline_max: usize,
    /// Bytes of this loop that may wait for the journal before it stops reading.
    pub unacknowledged_max: usize,
    /// Bytes that the connections of this loop hold: of incomplete requests, put back, and unread by their clients.
    /// Beyond, the one that has been slow for longest gets 503, or is closed when it reads nothing.
    pub partial_max: usize,
    /// Bytes of the receive buffer, which all connections of the loop share.
    pub receive_buffer: usize,
    /// Bytes after which a batch leaves for the journal.
    pub batch_bytes: usize,
    /// How long an answer may wait for the journal before it is a 503.
    pub ack_deadline: Duration,
    /// How old the oldest record that is not durable may be, for answers that need not wait for it to be.
    pub behind_max: Duration,
    /// Time for a head, from its first byte.
    pub head_timeout: Duration,
    /// Time for a body, from the end of its head.
    pub body_timeout: Duration,
    /// Time that a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// Time that a client may leave its answers unread.
    pub write_timeout: Duration,
    /// Time for which bytes are drained after a refusal, so that the answer is not lost to a reset.
    pub linger_timeout: Duration,
}
