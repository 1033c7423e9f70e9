//! Starts and joins the threads, and takes the receiver through its life.
//!
//! | thread | runs |
//! |---|---|
//! | `hl-loop-N` | one event loop, pinned |
//! | `hl-commit` | the journal's committer |
//! | `hl-segment` | the journal's preparer: segments ahead of use, retention |
//! | `hl-worker-N` | one worker, pinned; the only one decides what is a duplicate, too |
//! | `hl-dedupe` | what is a duplicate, with several workers |
//! | `hl-sinks` | starts and ends the sinks, as the configuration says and `hookline sink` asks |
//! | `hl-sink-NAME` | one sink; where each lane has a stream of its own, `hl-sink-NAME-LANE` beside it |
//! | `hl-http-NAME`, `hl-nats-NAME`, `hl-kafka-NAME`, `hl-redis-NAME` | what such a sink sends with, beside `hl-sink-NAME` |
//! | `hl-pull` | the listener of consumers, which read the sinks of type `pull` |
//! | `hl-admin` | metrics and health |
//!
//! Beside them the process has `hl-log`, which writes the log ([`crate::log`]), `hl-signal`, and, where it inherits
//! what programs leave behind, `hl-reap` ([`crate::children`]); at first `hl-start`, which
//! starts all the others; for a while after SIGHUP `hl-reload`.
//!
//! A stop goes in the direction of the data: listeners close, loops answer what has arrived and end, the committer
//! syncs what they left and ends, workers and dedupe end, the sinks deliver what is durable, the cursors are saved.
//!
//! When the journal has failed the same happens within some seconds, whatever `drain_timeout` says: the loops give 503
//! to all that wait or come, each connection ends with such an answer, and the process leaves with what was the cause.

mod admin;
mod browser;
mod connect;
mod connections;
mod delivery;
pub(crate) mod descriptors;
mod directories;
mod drain;
mod endpoints;
mod exposition;
mod hand_on;
mod held;
mod history;
mod listen;
mod loops;
mod options;
mod overview;
mod quarantine;
mod pull;
mod reloader;
mod removed;
mod sinks;
mod sources;
mod threads;

pub use connect::{Probed, probe_all};
pub use overview::{AckTimes, JournalLevel, LaneLevel, Overview, SinkLevel};
#[cfg(test)]
pub use overview::{Acks, RemovedSink, ReplayLevel};
pub use reloader::Reloader;
pub(crate) use sinks::selection;

use crate::config::Config;
use crate::dead_letter::{Child, DeadLetterError};
use crate::dedupe::DedupeError;
use crate::feed::{CursorError, FeedError};
use crate::journal::{self, Journal, JournalError, State};
use crate::reactor::{Control, EventLoop, ReactorError};
use crate::relay;
use crate::sink::SinkError;
use crate::worker::Forms;
use crossbeam_channel::{Receiver, select};
use directories::data_directory;
use held::{Held, HeldLog};
use mio::Waker;
use sinks::keeper::Keeping;
use sources::Sources;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};
use threads::{Cores, Threads};

/// A receiver that runs.
pub struct Server {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    pull: Option<SocketAddr>,
    drain_timeout: Duration,
    endpoints: journal::Endpoints,
    forms: Arc<Forms>,
    recovery: journal::Recovery,
    control: Arc<Control>,
    wakers: Vec<Arc<Waker>>,
    stop_dedupe: Arc<AtomicBool>,
    sinks: Keeping,
    sources: Arc<Sources>,
    threads: Threads,
    held: HeldLog,
}

/// Why a receiver cannot start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An event loop.
    #[error(transparent)]
    Reactor(#[from] ReactorError),
    /// A sink's cursor.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The memory of what was received.
    #[error(transparent)]
    Dedupe(#[from] DedupeError),
    /// The dead letters of a sink.
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
    /// What is stored cannot be passed on to the sinks.
    #[error("nothing is delivered any more: {0}")]
    Feed(#[from] FeedError),
    #[error("sink {name}: {cause}")]
    Sink { name: String, cause: SinkError },
    /// A directory, a file or a socket.
    #[error("cannot {action}: {cause}")]
    Io {
        /// What was tried, and on what.
        action: String,
        cause: io::Error,
    },
    #[error(
        "{0} is in use by another process: stop it, or choose another address with --listen or `listen`"
    )]
    AddressInUse(SocketAddr),
    /// That of the admin pages is in use.
    #[error(
        "{0}, where metrics and health are served, is in use by another process: stop it, or set `listen` in [admin] to \
         another address, or to \"off\""
    )]
    AdminInUse(SocketAddr),
    /// A thread panicked; what it said is on stderr.
    #[error("thread {0} panicked; this is a bug in Hookline")]
    Panicked(String),
    /// A thread ended that never should.
    #[error("thread {0} has ended; this is a bug in Hookline")]
    Ended(String),
    /// The drain was cut short.
    #[error(
        "it was asked to stop a second time; what was answered is stored, and what sinks have not had comes after the next start"
    )]
    StoppedTwice,
    /// It was asked to stop before it ran.
    #[error("it was asked to stop before it ran")]
    StoppedEarly,
    /// Not everything could be finished in time.
    #[error("the drain took longer than drain_timeout; {0} had not ended")]
    DrainTimeout(String),
}

impl ServerError {
    fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> ServerError {
        let action = action.into();
        move |cause| ServerError::Io { action, cause }
    }
}

impl Server {
    /// Opens the journal, binds, and starts every thread. When this returns, posts are answered.
    pub fn start(config: &Config) -> Result<Server, ServerError> {
        Server::start_with(config, None, || true)
    }

    /// The same with what takes bodies apart in another process, if the one before has ended over them. Without it,
    /// that is never found out.
    ///
    /// `go_on` is asked once, when everything is read and nothing runs yet: false ends it there. Until then the process
    /// may end at any place, as by a kill; the next start does all of it again.
    pub fn start_with(
        config: &Config,
        child: Option<Child>,
        go_on: impl FnOnce() -> bool,
    ) -> Result<Server, ServerError> {
        let listeners = listen::bind(config.server.listen, config.server.loops)?;
        let address = listeners[0]
            .local_addr()
            .map_err(ServerError::io("ask for the address"))?;
        let admin = listen::bind_admin(&config.admin)?;

        let disk = data_directory(&config.journal.dir)?;
        let floor = Arc::new(AtomicU64::new(u64::MAX));
        let confirmed = sinks::confirmed(config, &*disk)?;
        let options = options::journal(config, Arc::clone(&floor), confirmed);
        let journal = Journal::open(Arc::clone(&disk), options)?;
        let recovery = journal.recovery().clone();
        log_left_out(&recovery);
        let endpoints = journal.endpoints();
        let forms = endpoints::forms(&disk, journal.status().durable());
        let count = config.server.loops;
        let table = Arc::new(endpoints::table(config, count, &endpoints, &forms, None)?);
        let mut sources = Sources::new(config, journal.status(), Arc::clone(&table));

        let (delivery, hand_on) =
            delivery::prepare(config, &disk, &journal, &forms, floor, &mut sources)?;
        let pull = delivery.pull_address();
        let control = Arc::new(Control::new(table, config.server.loops));
        let (commit, inbox) = relay::channel(COMMIT_INBOX);
        let loops = loops::prepare(config, listeners, &control, &commit, &mut sources)?;
        // The committer ends when the last loop has gone.
        drop(commit);

        if !go_on() {
            return Err(ServerError::StoppedEarly);
        }
        let mut threads = Threads::new();
        let mut cores = Cores::new(config.server.pin, count + config.server.workers);
        let (committer, preparer) = journal.split(loops.positions, hand_on);
        threads.start(COMMIT, None, move || Ok(committer.run(&inbox)?))?;
        threads.start("hl-segment", None, move || Ok(preparer.run()?))?;
        let sources = Arc::new(sources);
        let (stop_dedupe, sinks) = delivery.start(&mut threads, &mut cores, child, &sources)?;
        // Whatever comes, comes after this.
        sources.record();
        let address_of = |listener: &TcpListener| listener.local_addr().ok();
        let admin_address = admin.as_ref().and_then(address_of);
        start_admin(config, admin, &sources, &control, &mut threads)?;
        // Last, so that nothing is answered before everything else stands.
        start_loops(loops.ready, &mut threads, &mut cores)?;
        Ok(Server {
            address,
            admin: admin_address,
            pull,
            drain_timeout: config.server.drain_timeout,
            endpoints,
            forms,
            recovery,
            control,
            wakers: loops.wakers,
            stop_dedupe,
            sinks,
            sources,
            threads,
            held: HeldLog::default(),
        })
    }

    /// Where posts are taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and health are served.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Where consumers read, if there is a sink for them.
    pub fn pull_address(&self) -> Option<SocketAddr> {
        self.pull
    }

    /// What recovery found in the journal.
    pub fn recovery(&self) -> &journal::Recovery {
        &self.recovery
    }

    /// What takes over the endpoints and the sinks of another configuration, on any thread.
    pub fn reloader(&self) -> Reloader {
        Reloader {
            endpoints: self.endpoints.clone(),
            forms: Arc::clone(&self.forms),
            control: Arc::clone(&self.control),
            wakers: self.wakers.clone(),
            sources: Arc::clone(&self.sources),
            sinks: self.sinks.clone(),
        }
    }

    /// Waits for one of `messages`. An error when a thread ends meanwhile, which none does by itself unless
    /// something is wrong.
    pub fn wait<T>(&mut self, messages: &Receiver<T>) -> Result<T, ServerError> {
        let reports = self.threads.reports();
        loop {
            let ended = select! {
                recv(messages) -> message => match message {
                    Ok(message) => return Ok(message),
                    // Nobody will send anything: the threads alone decide.
                    Err(_) => reports.recv(),
                },
                recv(reports) -> ended => ended,
                default(held::LOOK_INTERVAL) => {
                    self.held.look(&Held::of(&self.sources));
                    continue;
                }
            };
            // The server itself holds a sending end.
            let Ok(ended) = ended else { continue };
            let name = ended.0.clone();
            let by_itself = ended.1.is_ok() && name != ADMIN;
            let decided = self.threads.ended(ended);
            if by_itself || matches!(decided, Err(ServerError::Journal(JournalError::Failed))) {
                // It ended because another one did, which is about to say why.
                let journal = |name: &str| name == COMMIT || name == "hl-segment";
                match self.threads.join(journal, Instant::now() + LEAVE_TIME) {
                    Ok(()) | Err(ServerError::DrainTimeout(_)) => {}
                    why => why?,
                }
            }
            decided?;
            if by_itself {
                return Err(ServerError::Ended(name));
            }
        }
    }

    fn has_failed(&self) -> bool {
        self.sources.journal.state() == State::Failed
    }

    fn wake(&self) {
        for waker in &self.wakers {
            // As above: a full counter is a loop that is awake.
            let _ = waker.wake();
        }
    }
}

fn start_loops(
    ready: Vec<EventLoop>,
    threads: &mut Threads,
    cores: &mut Cores,
) -> Result<(), ServerError> {
    for (index, event_loop) in ready.into_iter().enumerate() {
        let run = move || Ok(event_loop.run()?);
        threads.start(&format!("{LOOP}{index}"), cores.take(), run)?;
    }
    Ok(())
}

/// Starts the pages of metrics and health, if there is a listener for them.
fn start_admin(
    config: &Config,
    listener: Option<TcpListener>,
    sources: &Arc<Sources>,
    control: &Arc<Control>,
    threads: &mut Threads,
) -> Result<(), ServerError> {
    let Some(listener) = listener else {
        return Ok(());
    };
    let (sources, control) = (Arc::clone(sources), Arc::clone(control));
    let admin = config.admin.clone();
    let run = move || admin::run(listener, &admin, sources, control);
    threads.start(ADMIN, None, run)
}

fn log_left_out(recovery: &journal::Recovery) {
    if let Some(left_out) = &recovery.left_out {
        tracing::error!(
            segment = left_out.path,
            offset = left_out.offset,
            from = left_out.first_sequence,
            to = left_out.last_sequence,
            "a sink has had notifications that are not in the journal: it is an older copy, or its end is damaged; \
             their sequences are left out"
        );
    }
}

const LOOP: &str = "hl-loop-";
const SINK: &str = "hl-sink-";
const SINKS: &str = "hl-sinks";
const ADMIN: &str = "hl-admin";
const PULL: &str = "hl-pull";
const COMMIT: &str = "hl-commit";
const WORKER: &str = "hl-worker-";
const DEDUPE: &str = "hl-dedupe";

/// Batches that may wait for the commit thread. What they hold is bounded by `limits.unacknowledged`.
const COMMIT_INBOX: usize = 1024;

/// Time of a stop that is kept for the journal and the sinks.
const LEAVE_TIME: Duration = Duration::from_secs(1);
