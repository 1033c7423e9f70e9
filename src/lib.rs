//! Hookline takes webhooks, writes them to its own journal, answers, and delivers them.
//!
//! > **200 means `fdatasync` returned.** The answer leaves within milliseconds, whatever the processing behind it does.
//! > What was answered is delivered, in order within a conversation, at least once, and can be replayed.
//!
//! ```text
//! socket ──► event loop ──► batch ──► commit thread ──► worker ──► feed ──► sink
//!  mio, one   httparse,     owned     write + one        pinned,    live or   your
//!  per core   endpoint      buffer    fdatasync          events     journal   systems
//!     ▲        checks          ▲          │                 │
//!     └── 200 ─────────────────│──────────┘ durable         │
//!                              └──────── recycled ──────────┘
//! ```
//!
//! # Layout
//!
//! In the order in which a notification meets them; a module uses only what stands below it in the table of
//! `tests/tidy.rs`, which checks that.
//!
//! - [`cli`]: the command line, one file for each verb
//! - [`manual`]: the user's manual, a chapter a module; what `hookline help` prints
//! - [`config`]: file, environment and flags to one checked `Config`; every limit with unit, default and reason
//! - [`rig`]: what the verbs use that try a receiver or a disk: load, bodies, what is compared and measured
//! - [`server`]: starts and joins the threads; listening sockets, drain, metrics page
//! - [`reactor`]: one event loop a core: poll, connection, deadlines, answers that wait for the disk
//! - [`http`]: head, framing, chunked, response. No sockets, no clocks, no files
//! - [`endpoint`]: routes, handshake, signatures, credentials
//! - [`journal`]: batch, frame, segment, commit, recovery, reader. The only code that answers for durability
//! - [`disk`]: what every keeper of state stands on: one directory, real or simulated
//! - [`worker`]: pinned threads: a durable batch becomes a batch of events; bodies that nobody can take apart
//! - [`event`]: what is in a body: kind, key, conversation, lane, envelope. No sockets, no clocks, no files
//! - [`dedupe`]: which events say what an earlier one has said
//! - [`dead_letter`]: what could not be delivered, and waits for people
//! - [`feed`]: what a sink reads from, live or from the journal: cursors, retention, replays
//! - [`sink`]: delivers: streams in journal order, receivers one by one, consumers when they ask
//! - [`metrics`]: counters and histograms that cost a plain store
//! - [`relay`]: the bounded channel between threads, whose receiver parks at once
//! - [`children`]: processes that are started, and what they leave behind
//! - [`log`]: what may not hold up whoever has something to say
//!
//! # Where to begin
//!
//! One request, from bytes to 200: `reactor/connection.rs` reads and cuts it ([`http::assembler`]), `reactor/core.rs`
//! judges and stores it ([`endpoint`], [`journal::batch`]), `reactor/outbox.rs` keeps its answer until
//! [`journal::Committer`] says that it is durable.
//!
//! One event, from the disk to your system: `worker` takes its body apart ([`event`]), [`feed::Judge`] decides in the
//! order of the journal whether an earlier one has said the same, and each sink's [`feed::Feed`] brings it to
//! [`sink::Runner`] or [`sink::Dispatcher`], which keep its [`feed::Cursor`].

#![forbid(unsafe_code)]

pub mod cli;
pub mod manual;
pub mod config;
pub mod rig;
pub mod server;
pub mod reactor;
pub mod http;
pub mod endpoint;
pub mod journal;
pub mod disk;
pub mod worker;
pub mod event;
pub mod dedupe;
pub mod dead_letter;
pub mod feed;
pub mod sink;
pub mod metrics;
pub mod relay;
pub mod children;
pub mod log;
