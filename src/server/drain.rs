//! The stop, in the direction of the data: the module above says in which order.

use super::{COMMIT, DEDUPE, LEAVE_TIME, LOOP, SINKS, Server, ServerError, WORKER};
use crate::reactor::Phase;
use crossbeam_channel::Receiver;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

impl Server {
    /// Stops in order: every request whose bytes have arrived is answered, everything stored is delivered as far as
    /// `drain_timeout` allows, cursors are saved. A journal that has failed is no reason to stay: what has arrived is
    /// answered with 503, and nothing else is waited for.
    ///
    /// A message on `again` cuts it short: what was taken is stored, which takes some seconds if the disk is slow, and
    /// the rest is left for the next start.
    pub fn stop(mut self, again: &Receiver<()>) -> Result<(), ServerError> {
        self.threads.listen_to(again);
        let drained = self.drain();
        if !self.threads.is_hurried() {
            return drained;
        }
        // An endpoint that answers as `received` may have answered what is only gathered.
        self.threads.take_time();
        self.control.advance(Phase::Leaving);
        self.wake();
        let store = |name: &str| name.starts_with(LOOP) || name == COMMIT;
        let stored = self.threads.join(store, Instant::now() + STORE_TIME);
        stored.and(Err(ServerError::StoppedTwice))
    }

    /// As [`Server::stop`], unless somebody is in a hurry.
    fn drain(&mut self) -> Result<(), ServerError> {
        let time = if self.has_failed() {
            self.drain_timeout.min(2 * LEAVE_TIME)
        } else {
            self.drain_timeout
        };
        let deadline = Instant::now() + time;
        // The rest of the time is for what must not be left undone: to sync what was taken, to save the cursors.
        let loops_until = deadline
            .checked_sub(LEAVE_TIME.min(time / 2))
            .unwrap_or(deadline);
        self.control.advance(Phase::Closing);
        self.wake();
        // All listeners first: a client that is asked to reconnect must not reach one that is about to close.
        while self.control.listeners() > 0
            && Instant::now() < loops_until
            && !self.has_failed()
            && !self.threads.is_hurried()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.control.advance(Phase::Draining);
        self.wake();
        let loops = |name: &str| name.starts_with(LOOP);
        let mut result = self.threads.join(loops, loops_until);
        if self.threads.run(loops) && !self.threads.is_hurried() {
            tracing::warn!(
                "drain_timeout is over: requests that have not arrived as a whole are cut"
            );
            self.control.advance(Phase::Leaving);
            self.wake();
            let left = self.threads.join(loops, deadline);
            result = match result {
                Err(ServerError::DrainTimeout(_)) => left,
                result => result.and(left),
            };
        }
        let deadline = deadline.max(Instant::now() + LEAVE_TIME);
        result = result.and(self.threads.join(|name| name == COMMIT, deadline));
        self.stop_dedupe.store(true, Ordering::Release);
        // What workers have left is read from the journal.
        let dedupe = |name: &str| name.starts_with(WORKER) || name == DEDUPE;
        result = result.and(self.threads.join(dedupe, deadline));
        self.sinks.drain();
        match self.threads.join(|name| name == SINKS, deadline) {
            Err(_) if self.threads.is_hurried() => {}
            // What it has not delivered is in the journal, and what its cursor does not say comes twice.
            Err(ServerError::DrainTimeout(_)) => {
                for sink in self.sources.sinks().iter().filter(|it| it.runs) {
                    tracing::warn!(
                        sink = sink.name,
                        "the sink has not delivered everything within drain_timeout; it goes on after the next start"
                    );
                }
            }
            other => result = result.and(other),
        }
        result.and(self.threads.join(|name| name == "hl-segment", deadline))
    }
}

/// How long a stop that was asked for twice waits for the journal.
const STORE_TIME: Duration = Duration::from_secs(8);
