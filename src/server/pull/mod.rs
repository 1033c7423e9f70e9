//! The consumer listener: sinks of type `pull`, read over HTTP.
//!
//! | request | |
//! |---|---|
//! | `GET /v1/events?sink=NAME` | events as NDJSON; see `ask` for its other parameters |
//! | `GET /v1/cursors/NAME` | how far the consumer has come |
//! | `POST /v1/cursors/NAME` | `{"position": "SEQ.INDEX"}`, with `"lane"` for one lane alone: everything up to there is done |
//!
//! An async runtime of one thread, away from the receiving path, with a few threads that read the journal. What
//! strangers and slow consumers can take of it is bounded: connections, time for a head and a body, requests at a time,
//! bytes in answers that are not taken. A connection that its client closes takes its request with it.
//!
//! A replay to such a sink fails within a second: who reads goes back by itself.

mod access;
mod ask;
mod routes;

use super::ServerError;
use super::connections::{self, Bounds};
use crate::config;
use crate::disk::Storage;
use crate::feed::Replays;
use crate::sink::Pull;
use access::Access;
use parking_lot::Mutex;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// All sinks that are read, as they are at the moment.
#[derive(Clone, Default)]
pub(super) struct Pulls(Arc<Mutex<Arc<PullSet>>>);

/// All of them at one time.
#[derive(Default)]
pub(super) struct PullSet {
    /// One that does not run refuses for the time being.
    sinks: Vec<(String, Option<Arc<Pull>>)>,
    access: Access,
}

impl PullSet {
    pub(super) fn add(
        &mut self,
        name: &str,
        configured: &config::PullSink,
        pull: Option<Arc<Pull>>,
    ) {
        self.sinks.push((name.to_owned(), pull));
        let tokens = configured
            .tokens
            .iter()
            .map(|token| token.expose().to_vec());
        self.access.add(name, tokens.collect());
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.sinks.iter().map(|(name, _)| name.as_str()).collect()
    }
}

impl Pulls {
    pub(super) fn now(&self) -> Arc<PullSet> {
        Arc::clone(&self.0.lock())
    }

    pub(super) fn set(&self, set: PullSet) {
        *self.0.lock() = Arc::new(set);
    }
}

/// The listener of the configuration.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let bound = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map_err(|cause| match cause.kind() {
        std::io::ErrorKind::AddrInUse => ServerError::AddressInUse(address),
        _ => ServerError::Io {
            action: format!("listen on {address} for consumers (`listen` in [pull])"),
            cause,
        },
    })
}

/// Serves until it is asked to stop. Polls that wait are answered then, and what is under way has some time to end.
pub(super) fn run(
    listener: TcpListener,
    connections: usize,
    pulls: Pulls,
    replays: Arc<dyn Storage>,
    stop: &Arc<AtomicBool>,
) -> Result<(), ServerError> {
    let failed = |action: &str| ServerError::io(format!("{action} for consumers"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("hl-pull-read")
        .max_blocking_threads(READERS)
        .build();
    let runtime = runtime.map_err(failed("start a runtime"))?;
    let (sender, stopping) = watch::channel(false);
    let replays = Replays::open(replays);
    let routes = routes::routes(pulls.clone(), stopping.clone());
    let bounds = Bounds {
        client: "consumers of pull sinks",
        connections,
        head_time: HEAD_TIME,
    };
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed("listen"))?;
        tokio::spawn(look_after(pulls, replays, Arc::clone(stop), sender));
        connections::serve(&listener, &routes, bounds, &stopping).await;
        Ok(())
    });
    runtime.shutdown_timeout(LEAVE_TIME);
    served
}

/// Announces a stop, releases what nobody uses, and refuses replays.
async fn look_after(
    pulls: Pulls,
    mut replays: Replays,
    stop: Arc<AtomicBool>,
    sender: watch::Sender<bool>,
) {
    loop {
        for (name, sink) in &pulls.now().sinks {
            if let Some(sink) = sink {
                sink.sweep();
            }
            refuse_replays(&mut replays, name);
        }
        for _ in 0..SWEEP_EVERY {
            if stop.load(Ordering::Acquire) {
                sender.send_replace(true);
                return;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Descriptors that its readers of the journal take, beside those of connections.
pub(super) const READER_FILES: usize = 2 * READERS;

/// How long the next request of a consumer may take to come.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// Who reads has no need of a replay.
fn refuse_replays(replays: &mut Replays, sink: &str) {
    let refused = replays.waiting_for(sink).and_then(|replay| {
        let Some(mut replay) = replay else {
            return Ok(());
        };
        let from = replay.from;
        replay.fail(format!(
            "a sink of type \"pull\" is read again with after={}; or stop the server and move its cursor with `hookline cursor seek {sink} --to {from}`",
            from.saturating_sub(1)
        ));
        replays.save(&mut replay)
    });
    if let Err(error) = refused {
        tracing::warn!(sink, %error, "a replay to a sink of type pull does nothing, for its consumer reads again with after=0; that it was refused cannot be saved yet, so it stays in the list; make room");
    }
}

/// Threads that read the journal for consumers, and save cursors.
const READERS: usize = 4;

/// How often it looks whether it is to stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// After how many looks readers are released that nobody uses, and replays are refused: once a second.
const SWEEP_EVERY: usize = 10;

/// How long what is under way may take at a stop.
const LEAVE_TIME: Duration = Duration::from_millis(500);
