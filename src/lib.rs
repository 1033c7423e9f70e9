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
//! - [`audit`]: the books: what was received against what each sink has had, from the journal alone
//! - [`rig`]: what the verbs use that try a receiver or a disk: load, bodies, what is compared and measured
//! - [`server`]: starts and joins the threads; listening sockets, drain, metrics page
//! - [`reactor`]: one event loop a core: poll, connection, deadlines, answers that wait for the disk
//! - [`http`]: head, framing, chunked, response. No sockets, no clocks, no files
//! - [`endpoint`]: routes, handshake, signatures, credentials
//! - [`journal`]: batch, frame, segment, commit, recovery, reader. The only code that answers for durability
//! - [`disk`]: what every keeper of state stands on: one directory, real or simulated
//! - [`worker`]: pinned threads: durable batches become batches of events; bodies that nobody can take apart
//! - [`event`]: what is in a body: kind, key, conversation, lane, envelope. No sockets, no clocks, no files
//! - [`dedupe`]: which events say what an earlier one has said
//! - [`dead_letter`]: what could not be delivered, and waits for people
//! - [`feed`]: what a sink reads from, live or from the journal: cursors, retention, replays
//! - [`sink`]: delivers: streams in journal order, receivers one by one, consumers when they ask
//! - [`metrics`]: counters and histograms that cost a plain store
//! - [`relay`]: the bounded channel between threads, whose receiver parks at once
//! - [`children`]: processes that are started, and what they leave behind
//! - [`hex`]: hexadecimal digits, written and read
//! - [`random`]: numbers that a seed gives
//! - [`log`]: what may not hold up whoever has something to say
//! - [`testing`]: what benches, integration tests and fuzz targets use; no interface
//!
//! # Glossary
//!
//! | word | is |
//! |---|---|
//! | post | an HTTP request that brings a body |
//! | notification | what one post has brought: the body, and the headers that are kept beside it |
//! | record | a notification as the journal stores it |
//! | sequence | the number of a record in the journal: from 1, without a gap, in the order of storing |
//! | batch | the records that one event loop has gathered, in one buffer that is moved and not copied |
//! | frame | a batch on disk: a header with checksums, and the records |
//! | segment | a file of the journal, in which frames stand one behind the other; it goes as a whole |
//! | epoch | the number of a segment; no two have the same, and the next one has a higher one |
//! | spare | the file of a segment that has gone, kept to be written over |
//! | ticket | the number that a loop gives to a record that it stores; answers wait until theirs is durable |
//! | durable | written, and `fdatasync` has returned: it outlives a power cut |
//! | form | how the bodies of an endpoint are read; fixed for a body when it is stored |
//! | event | one update in a body (a message, a status …), or the whole body of another sender, as a `CloudEvent` |
//! | position | where an event stands: `SEQ.INDEX`, its notification's sequence and its place among the events of that |
//! | item | what a sink delivers and confirms as one: an event, or a notification with all its events |
//! | lane | messages, statuses or the rest: each has its own place in each cursor, so none waits behind another |
//! | conversation | the events with one subject; they are delivered in order, beside those of others |
//! | duplicate | an event whose id an earlier one has had, within the window of dedupe: no sink gets it |
//! | cursor | how far a sink has confirmed, by lane, saved within a second |
//! | retention hold | the lowest sequence that somebody still needs; no segment goes that has it |
//! | dead letter | what a sink could not deliver, kept with all that is needed to deliver it after all |
//! | poisoned | of a body: it ends the process that takes it apart, so it gives no event; a dead letter of `worker` |
//! | replay | a part of the journal that is delivered to a sink again, on request |
//!
//! # The life of a batch
//!
//! ```text
//! Pool ─► Batch ─► a frame ─► Batch ─► EventBatch ─► Event ─► InFlight ─► Attempt
//!  ▲      a loop   the commit  a worker takes apart  what a    one by one: with its number,
//!  │      fills it thread      those that gathered;  sink is   in order    over a transport
//!  │                           dedupe marks repeats  to have
//!  └──────────────── its buffer, once the last who delivers from it has released it
//! ```
//!
//! What a sink reads later from the journal takes the same way, from [`journal::Reader`] on.
//!
//! # Where to begin
//!
//! One request, from bytes to 200: `reactor/connection.rs` reads and cuts it ([`http::assembler`]), `reactor/core.rs`
//! decides and stores it ([`endpoint`], [`journal::batch`]), `reactor/outbox.rs` keeps its answer until
//! [`journal::Committer`] says that it is durable.
//!
//! One event, from the disk to your system: `worker` takes its body apart ([`event`]), [`feed::DedupeStage`] decides in
//! the order of the journal whether an earlier one has said the same, and each sink's [`feed::Feed`] brings it to
//! [`sink::Runner`] or [`sink::Dispatcher`], which keep its [`feed::Cursor`].

#![forbid(unsafe_code)]
#![cfg_attr(
    not(all(
        feature = "http",
        feature = "nats",
        feature = "postgres",
        feature = "redis"
    )),
    allow(dead_code, unused_imports, reason = "what only some sinks use")
)]

mod cli;
pub mod manual;
mod config;
mod audit;
mod rig;
mod server;
mod reactor;
mod http;
mod endpoint;
mod journal;
mod disk;
mod worker;
mod event;
mod dedupe;
mod dead_letter;
mod feed;
mod sink;
mod metrics;
mod relay;
mod children;
mod hex;
mod random;
mod log;
#[doc(hidden)]
pub mod testing;

pub use cli::main;
