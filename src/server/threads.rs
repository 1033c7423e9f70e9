//! Named threads, each on its core where there are enough, none of which ends unnoticed.

use super::{LEAVE_TIME, ServerError};
use crate::journal::JournalError;
use crate::log::with_causes;
use core_affinity::CoreId;
use crossbeam_channel::{Receiver, Sender, never, select, unbounded};
use std::collections::BTreeSet;
use std::error::Error;
use std::thread;
use std::time::Instant;

/// All threads of a server.
pub(super) struct Threads {
    running: BTreeSet<String>,
    sender: Sender<Ended>,
    ended: Receiver<Ended>,
    /// Says that nothing is to be waited for any more but what must not be left undone.
    again: Receiver<()>,
    hurried: bool,
}

pub(super) type Ended = (String, Result<(), ServerError>);

impl Threads {
    pub(super) fn new() -> Threads {
        let (sender, ended) = unbounded();
        Threads {
            running: BTreeSet::new(),
            sender,
            ended,
            again: never(),
            hurried: false,
        }
    }

    /// From now on a message on `again` ends every wait at once.
    pub(super) fn listen_to(&mut self, again: &Receiver<()>) {
        self.again = again.clone();
    }

    /// True once there was one.
    pub(super) fn is_hurried(&mut self) -> bool {
        self.hurried |= self.again.try_recv().is_ok();
        self.hurried
    }

    /// Waits as before, for what has to be done all the same.
    pub(super) fn take_time(&mut self) {
        (self.again, self.hurried) = (never(), false);
    }

    /// Starts a thread, on `core` if one is given.
    pub(super) fn start(
        &mut self,
        name: &str,
        core: Option<CoreId>,
        body: impl FnOnce() -> Result<(), ServerError> + Send + 'static,
    ) -> Result<(), ServerError> {
        let report = Report {
            name: name.to_owned(),
            sender: self.sender.clone(),
            outcome: None,
        };
        let run = move || {
            if let Some(core) = core {
                core_affinity::set_for_current(core);
            }
            report.finish(body());
        };
        // Linux shows 15 bytes of a name; the rest is still in our own messages.
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        thread.map_err(ServerError::io(format!("start the thread {name}")))?;
        self.running.insert(name.to_owned());
        Ok(())
    }

    /// Where each thread reports how it ended; what is taken from here goes to [`Threads::ended`].
    pub(super) fn reports(&self) -> Receiver<Ended> {
        self.ended.clone()
    }

    /// Where others report that a thread of theirs has ended as none should.
    pub(super) fn reporter(&self) -> Sender<Ended> {
        self.sender.clone()
    }

    /// A thread does not run any more.
    pub(super) fn forget(&mut self, name: &str) {
        self.running.remove(name);
    }

    /// Takes note of a thread that has ended, and says whether that matters.
    pub(super) fn ended(&mut self, (name, outcome): Ended) -> Result<(), ServerError> {
        self.forget(&name);
        match outcome {
            // The receiver goes on without this until it is restarted.
            Err(ServerError::Feed(cause)) => {
                let why = with_causes(cause.to_string(), cause.source());
                tracing::error!(
                    error = why,
                    "delivery has stopped for all sinks: the events stay in the journal until a restart; correct what the error names, and restart"
                );
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Waits for all threads that `concerned` names; gives the first error of any. Once there is one, the others have
    /// no longer than [`LEAVE_TIME`].
    pub(super) fn join(
        &mut self,
        concerned: impl Fn(&str) -> bool,
        mut deadline: Instant,
    ) -> Result<(), ServerError> {
        let mut result = Ok(());
        while let Some(name) = self.running.iter().find(|name| concerned(name)).cloned() {
            match self.next_end(deadline) {
                Some(ended) => {
                    let known = self.ended(ended);
                    if known.is_err() {
                        deadline = deadline.min(Instant::now() + LEAVE_TIME);
                    }
                    result = match result {
                        // Another one says why.
                        Err(ServerError::Journal(JournalError::Failed)) if known.is_err() => known,
                        result => result.and(known),
                    };
                }
                None => return result.and(Err(ServerError::DrainTimeout(name))),
            }
        }
        result
    }

    /// The next thread that ends, unless time is over or somebody is in a hurry.
    fn next_end(&mut self, deadline: Instant) -> Option<Ended> {
        if self.is_hurried() {
            return None;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        select! {
            recv(self.ended) -> ended => ended.ok(),
            recv(self.again) -> message => {
                if message.is_err() {
                    // Who could ask for it has gone.
                    self.again = never();
                    return self.next_end(deadline);
                }
                self.hurried = true;
                None
            }
            default(left) => None,
        }
    }

    /// True while one of them runs.
    pub(super) fn run(&self, concerned: impl Fn(&str) -> bool) -> bool {
        self.running.iter().any(|name| concerned(name))
    }
}

/// Reports how a thread ended, also when it panicked.
struct Report {
    name: String,
    sender: Sender<Ended>,
    outcome: Option<Result<(), ServerError>>,
}

impl Report {
    fn finish(mut self, outcome: Result<(), ServerError>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        let outcome = self
            .outcome
            .take()
            .unwrap_or_else(|| Err(ServerError::Panicked(name.clone())));
        // Nobody listens any more when the server has given up waiting.
        let _ = self.sender.send((name, outcome));
    }
}

/// The cores that this process may use: loops take them from the front, workers from the end.
pub(super) struct Cores(Vec<CoreId>);

impl Cores {
    /// None are given out, and one line says so, when there are fewer than `threads`.
    pub(super) fn new(pin: bool, threads: usize) -> Cores {
        let cores = if pin {
            core_affinity::get_core_ids().unwrap_or_default()
        } else {
            Vec::new()
        };
        if pin && cores.len() < threads {
            let (cores, threads) = (cores.len(), threads);
            tracing::info!(
                cores,
                threads,
                "threads are not pinned: there are fewer cores than loops and workers"
            );
            return Cores(Vec::new());
        }
        Cores(cores)
    }

    pub(super) fn take(&mut self) -> Option<CoreId> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    pub(super) fn take_from_end(&mut self) -> Option<CoreId> {
        self.0.pop()
    }
}
