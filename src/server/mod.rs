//! Starts and joins the threads, and takes the receiver through its life.
//!
//! | thread | runs |
//! |---|---|
//! | `hl-loop-N` | one event loop, pinned |
//! | `hl-commit` | the journal's committer |
//! | `hl-segment` | the journal's preparer: segments ahead of use, retention |
//! | `hl-worker-N` | one worker, pinned |
//! | `hl-sink-NAME` | one sink |
//! | `hl-admin` | metrics and health |
//!
//! A stop goes in the direction of the data: listeners close, loops answer what has arrived and end, the committer
//! syncs what they left and ends, the workers end, the sinks deliver what is durable, the cursors are saved.

mod admin;
mod endpoints;
mod exposition;
mod listen;
mod threads;

use crate::config::{Config, SinkKind};
use crate::feed::{Cursor, CursorError, Feed, Floor, Live};
use crate::journal::batch::{Batch, Pool};
use crate::journal::{self, Disk, DurablePosition, Journal, JournalError, State};
use crate::reactor::{self, Admission, Control, EventLoop, Phase, ReactorError};
use crate::sink::{self, Sink, SinkError};
use crate::{relay, worker};
use exposition::Sources;
use mio::{Poll, Waker};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use threads::{Cores, Threads};

/// A receiver that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    drain_timeout: Duration,
    endpoints: journal::Endpoints,
    recovery: journal::Recovery,
    control: Arc<Control>,
    wakers: Vec<Arc<Waker>>,
    stop_sinks: Arc<AtomicBool>,
    sources: Arc<Sources>,
    loops: usize,
    threads: Threads,
}

/// Why a receiver cannot start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An event loop.
    #[error(transparent)]
    Reactor(#[from] ReactorError),
    /// A sink's cursor.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// A sink.
    #[error("sink {name}: {cause}")]
    Sink {
        /// Its name.
        name: String,
        /// Why it stopped.
        cause: SinkError,
    },
    /// A directory, a file or a socket.
    #[error("cannot {action}: {cause}")]
    Io {
        /// What was tried, and on what.
        action: String,
        /// What the operating system said.
        cause: io::Error,
    },
    /// The address is in use.
    #[error(
        "{0} is in use by another process: stop it, or choose another address with --listen or `listen`"
    )]
    AddressInUse(SocketAddr),
    /// A thread panicked; what it said is on stderr.
    #[error("thread {0} panicked; this is a bug in Hookline")]
    Panicked(String),
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
        let listeners = listen::bind(config.server.listen, config.server.loops)?;
        let address = listeners[0]
            .local_addr()
            .map_err(ServerError::io("ask for the address"))?;
        let admin = listen::bind_admin(&config.admin)?;

        let dir = &config.journal.dir;
        let open = |path: &std::path::Path| {
            Disk::create(path).map_err(ServerError::io(format!(
                "use the directory {}",
                path.display()
            )))
        };
        let disk: Arc<dyn journal::Storage> = Arc::new(open(dir)?);
        let floor = Arc::new(AtomicU64::new(u64::MAX));
        let journal = Journal::open(
            Arc::clone(&disk),
            journal_options(config, Arc::clone(&floor)),
        )?;
        let recovery = journal.recovery().clone();
        let endpoints = journal.endpoints();
        let status = journal.status();
        let table = Arc::new(endpoints::table(config, &endpoints, None)?);

        let mut sources = Sources::new(Arc::clone(&status), Arc::clone(&table));
        let cursors: Arc<dyn journal::Storage> = Arc::new(open(&dir.join("cursors"))?);
        let floor = Floor::new(floor);
        let stop_sinks = Arc::new(AtomicBool::new(false));
        let mut sinks = Vec::new();
        let mut lives = Vec::new();
        for sink in &config.sinks {
            let (live, runner) =
                prepare_sink(&sink.name, &cursors, &floor, &disk, &status, &stop_sinks)?;
            let target: Box<dyn Sink> = match &sink.kind {
                SinkKind::Stdout => Box::new(sink::Stdout::default()),
                SinkKind::File { path } => {
                    Box::new(sink::File::open(path).map_err(ServerError::io(format!(
                        "open {} for the sink {}",
                        path.display(),
                        sink.name
                    )))?)
                }
            };
            sources.sinks.push((
                sink.name.clone(),
                target.confirmation(),
                Arc::clone(&runner.statistics),
            ));
            lives.push(live);
            sinks.push((sink.name.clone(), target, runner));
        }

        let mut threads = Threads::new();
        let mut cores = Cores::new(
            config.server.pin,
            config.server.loops + config.server.workers,
        );
        let control = Arc::new(Control::new(table, config.server.loops));
        let (commit, inbox) = relay::channel(COMMIT_INBOX);
        let mut wakers = Vec::new();
        let mut positions = Vec::new();
        let mut loops = Vec::new();
        let admission = Arc::new(Admission::new(
            config.server.max_connections,
            config.server.max_connections_per_address,
        ));
        for (index, listener) in listeners.into_iter().enumerate() {
            let poll = Poll::new().map_err(ServerError::io("create a poll"))?;
            let waker = Waker::new(poll.registry(), EventLoop::WAKER);
            let waker = Arc::new(waker.map_err(ServerError::io("create a waker"))?);
            let wake = Arc::clone(&waker);
            // An eventfd can only refuse when its counter is full, and then the loop is awake already.
            let position = Arc::new(DurablePosition::new(Box::new(move || drop(wake.wake()))));
            let statistics = Arc::new(reactor::Statistics::default());
            sources.loops.push(Arc::clone(&statistics));
            wakers.push(waker);
            positions.push(Arc::clone(&position));
            loops.push(EventLoop::new(reactor::Parts {
                index,
                poll,
                listener,
                options: reactor_options(config),
                control: Arc::clone(&control),
                admission: Arc::clone(&admission),
                pool: Pool::new(POOL_BUFFERS, BATCH_OCTETS),
                commit: commit.clone(),
                position,
                journal: Arc::clone(&status),
                statistics,
            })?);
        }
        drop(commit);

        let mut worker_inboxes = Vec::new();
        for index in 0..config.server.workers {
            let (sender, inbox) = relay::channel(WORKER_INBOX);
            let statistics = Arc::new(worker::Statistics::default());
            sources.workers.push(Arc::clone(&statistics));
            worker_inboxes.push(sender);
            let lives = lives.clone();
            let core = cores.take_from_end();
            threads.start(&format!("hl-worker-{index}"), core, move || {
                worker::run(&inbox, &lives, &statistics);
                Ok(())
            })?;
        }
        drop(lives);
        let (committer, preparer) = journal.split(positions, hand_on(worker_inboxes));
        threads.start("hl-commit", None, move || Ok(committer.run(&inbox)?))?;
        threads.start("hl-segment", None, move || Ok(preparer.run()?))?;
        for (name, mut target, runner) in sinks {
            threads.start(&format!("hl-sink-{name}"), None, move || {
                runner
                    .run(&mut *target)
                    .map_err(|cause| ServerError::Sink { name, cause })
            })?;
        }
        let sources = Arc::new(sources);
        let admin_address = admin
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        if let Some(listener) = admin {
            let (sources, control) = (Arc::clone(&sources), Arc::clone(&control));
            threads.start(ADMIN, None, move || admin::run(listener, sources, control))?;
        }
        // Last, so that nothing is answered before everything else stands.
        for (index, event_loop) in loops.into_iter().enumerate() {
            threads.start(&format!("{LOOP}{index}"), cores.take(), move || {
                Ok(event_loop.run()?)
            })?;
        }
        Ok(Server {
            address,
            admin: admin_address,
            drain_timeout: config.server.drain_timeout,
            endpoints,
            recovery,
            control,
            wakers,
            stop_sinks,
            sources,
            loops: config.server.loops,
            threads,
        })
    }

    /// Where posts are taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and health are served.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// What recovery found in the journal.
    #[must_use]
    pub fn recovery(&self) -> &journal::Recovery {
        &self.recovery
    }

    /// Takes over the endpoints of another configuration; everything else of it needs a restart.
    pub fn reload(&self, config: &Config) -> Result<(), ServerError> {
        let table = endpoints::table(config, &self.endpoints, Some(&self.sources.table()))?;
        let table = Arc::new(table);
        self.sources.set_table(Arc::clone(&table));
        self.control.set_table(table);
        self.wake();
        Ok(())
    }

    /// Waits up to `timeout` for a thread to end, which none does by itself unless something is wrong.
    pub fn watch(&mut self, timeout: Duration) -> Result<(), ServerError> {
        match self.threads.ended(timeout) {
            Some((name, Ok(()))) if name == ADMIN => Ok(()),
            // The events wait in the journal, and the receiver goes on without this sink until it is restarted.
            Some((name, Err(error @ ServerError::Sink { .. }))) => {
                tracing::error!(thread = name, %error, "a sink has stopped; its events stay in the journal");
                Ok(())
            }
            Some((_, Err(error))) => Err(error),
            Some((name, Ok(()))) => Err(ServerError::Panicked(name)),
            None => Ok(()),
        }
    }

    /// Stops in order: every request whose octets have arrived is answered, everything stored is delivered as far as
    /// `drain_timeout` allows, cursors are saved.
    pub fn stop(mut self) -> Result<(), ServerError> {
        let deadline = Instant::now() + self.drain_timeout;
        self.control.advance(Phase::Closing);
        self.wake();
        // All listeners first: a client that is told to reconnect must not reach one that is about to close.
        while self.control.listeners() > 0 && Instant::now() < deadline && !self.has_failed() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.control.advance(Phase::Draining);
        self.wake();
        let mut result = self.threads.join(|name| name.starts_with(LOOP), deadline);
        if result.is_err() {
            self.control.advance(Phase::Leaving);
            self.wake();
            let _ = self
                .threads
                .join(|name| name.starts_with(LOOP), Instant::now() + LEAVE_TIME);
        }
        // Even when time is up, what was answered has to be synced and the cursors saved.
        let deadline = deadline.max(Instant::now() + LEAVE_TIME);
        let journal = |name: &str| name == "hl-commit" || name.starts_with("hl-worker");
        result = result.and(self.threads.join(journal, deadline));
        self.stop_sinks.store(true, Ordering::Release);
        result = result.and(
            self.threads
                .join(|name| name.starts_with("hl-sink"), deadline),
        );
        result.and(self.threads.join(|name| name == "hl-segment", deadline))
    }

    /// The lines that tell how many loops run and whether they are pinned.
    #[must_use]
    pub fn loops(&self) -> usize {
        self.loops
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

fn prepare_sink(
    name: &str,
    cursors: &Arc<dyn journal::Storage>,
    floor: &Floor,
    disk: &Arc<dyn journal::Storage>,
    status: &Arc<journal::Status>,
    stop: &Arc<AtomicBool>,
) -> Result<(Live, sink::Runner), ServerError> {
    let cursor = Cursor::load(Arc::clone(cursors), name, floor)?;
    let first = status.statistics.first_sequence.load(Ordering::Relaxed);
    let next = (cursor.saved() + 1).max(first);
    let (live, feed) = Feed::new(Arc::clone(disk), Arc::clone(status), next);
    let statistics = Arc::new(sink::Statistics::default());
    statistics.delivered.set(cursor.saved());
    statistics.confirmed.set(cursor.saved());
    let stop = Arc::clone(stop);
    let status = Arc::clone(status);
    Ok((
        live,
        sink::Runner {
            feed,
            cursor,
            status,
            statistics,
            stop,
        },
    ))
}

/// Gives each durable batch to the next worker. One that finds no room is let go: the feeds read it from the journal.
fn hand_on(workers: Vec<relay::Sender<Batch>>) -> journal::HandOn {
    let mut next = 0;
    Box::new(move |batch| {
        next = (next + 1) % workers.len();
        drop(workers[next].try_send(batch));
    })
}

fn reactor_options(config: &Config) -> reactor::Options {
    let (server, limits) = (&config.server, &config.limits);
    reactor::Options {
        http: crate::http::Limits {
            head: limits.head,
            headers: limits.headers,
            body: limits.body,
        },
        pipeline_max: limits.pipeline,
        unacknowledged_max: limits.unacknowledged / server.loops,
        partial_max: limits.partial / server.loops,
        receive_buffer: RECEIVE_OCTETS,
        batch_octets: BATCH_OCTETS,
        ack_deadline: server.ack_deadline,
        head_timeout: limits.head_timeout,
        body_timeout: limits.body_timeout,
        idle_timeout: limits.idle_timeout,
        write_timeout: limits.write_timeout,
        linger_timeout: limits.linger_timeout,
    }
}

fn journal_options(config: &Config, floor: Arc<AtomicU64>) -> journal::Options {
    let limits = &config.limits;
    journal::Options {
        segment_size: config.journal.segment_size,
        // A batch that is nearly full, and then the largest body with its kept headers.
        largest_frame: (BATCH_OCTETS + limits.body + limits.head + FRAME_SLACK) as u64,
        retention: config.journal.retention,
        max_size: Some(config.journal.max_size),
        sync_interval: config.journal.sync_interval,
        reserve: limits.unacknowledged as u64,
        floor,
        ..journal::Options::default()
    }
}

const LOOP: &str = "hl-loop-";
const ADMIN: &str = "hl-admin";

/// Octets after which a batch leaves: some hundred notifications, and still in the cache of a core.
const BATCH_OCTETS: usize = 128 << 10;

/// Octets of a loop's receive buffer: sixteen pipelined requests of 4 KiB, and still in the cache of a core.
const RECEIVE_OCTETS: usize = 64 << 10;

/// Fixed parts of frame and record, and more.
const FRAME_SLACK: usize = 64 << 10;

/// Free buffers that a loop keeps.
const POOL_BUFFERS: usize = 32;

/// Batches that may wait for the commit thread. What they hold is bounded by `limits.unacknowledged`.
const COMMIT_INBOX: usize = 1024;

/// Batches that may wait for a worker; beyond, the feeds read them from the journal.
const WORKER_INBOX: usize = 64;

/// Time for what a stop must not leave undone, beyond `drain_timeout`.
const LEAVE_TIME: Duration = Duration::from_secs(2);
