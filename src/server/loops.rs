//! One event loop for each listener, with its poll, its waker and its position.

use super::sources::Sources;
use super::{ServerError, options};
use crate::config::Config;
use crate::journal::DurablePosition;
use crate::journal::batch::{Batch, Pool};
use crate::reactor::{Admission, Control, EventLoop, Setup, Statistics};
use crate::relay;
use mio::net::TcpListener;
use mio::{Poll, Waker};
use std::sync::Arc;

/// Loops that are ready to run, and how the other threads reach them.
pub(super) struct Loops {
    pub(super) ready: Vec<EventLoop>,
    pub(super) wakers: Vec<Arc<Waker>>,
    pub(super) positions: Vec<Arc<DurablePosition>>,
}

pub(super) fn prepare(
    config: &Config,
    listeners: Vec<TcpListener>,
    control: &Arc<Control>,
    commit: &relay::Sender<Batch>,
    sources: &mut Sources,
) -> Result<Loops, ServerError> {
    let admission = Arc::new(Admission::new(
        config.server.max_connections,
        config.server.max_connections_per_address,
    ));
    let mut loops = Loops {
        ready: Vec::new(),
        wakers: Vec::new(),
        positions: Vec::new(),
    };
    for (index, listener) in listeners.into_iter().enumerate() {
        let poll = Poll::new().map_err(ServerError::io("create a poll"))?;
        let waker = Waker::new(poll.registry(), EventLoop::WAKER);
        let waker = Arc::new(waker.map_err(ServerError::io("create a waker"))?);
        let wake = Arc::clone(&waker);
        // An eventfd can only refuse when its counter is full, and then the loop is awake already.
        let position = Arc::new(DurablePosition::new(Box::new(move || drop(wake.wake()))));
        let statistics = Arc::new(Statistics::default());
        sources.loops.push(Arc::clone(&statistics));
        loops.wakers.push(waker);
        loops.positions.push(Arc::clone(&position));
        loops.ready.push(EventLoop::new(Setup {
            index,
            poll,
            listener,
            options: options::reactor(config),
            control: Arc::clone(control),
            admission: Arc::clone(&admission),
            pool: Pool::new(POOL_BUFFERS, options::BATCH_BYTES),
            commit: commit.clone(),
            position,
            journal: Arc::clone(&sources.journal),
            statistics,
        })?);
    }
    Ok(loops)
}

/// Free buffers that a loop keeps: as many as may wait for a worker, and those that wait for the disk.
const POOL_BUFFERS: usize = 128;
