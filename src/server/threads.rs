//! Named threads, each on its core where there are enough, none of which ends unnoticed.

use super::{LEAVE_TIME, ServerError};
use crate::journal::JournalError;
use core_affinity::CoreId;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use std::collections::BTreeSet;
use std::thread;
use std::time::Instant;

/// All threads of a server.
#[derive(Debug)]
pub(super) struct Threads {
    running: BTreeSet<String>,
    tell: Sender<Ended>,
    ended: Receiver<Ended>,
}

pub(super) type Ended = (String, Result<(), ServerError>);

impl Threads {
    pub(super) fn new() -> Threads {
        let (tell, ended) = unbounded();
        Threads {
            running: BTreeSet::new(),
            tell,
            ended,
        }
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
            tell: self.tell.clone(),
            outcome: None,
        };
        let run = move || {
            if let Some(core) = core {
                core_affinity::set_for_current(core);
            }
            report.finish(body());
        };
        // Linux shows 15 octets of a name; the rest is still in our own messages.
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        thread.map_err(ServerError::io(format!("start the thread {name}")))?;
        self.running.insert(name.to_owned());
        Ok(())
    }

    /// Where each thread tells how it ended; what is taken from here goes to [`Threads::judge`].
    pub(super) fn reports(&self) -> Receiver<Ended> {
        self.ended.clone()
    }

    /// Takes note of a thread that has ended, and says whether that matters.
    pub(super) fn judge(&mut self, (name, outcome): Ended) -> Result<(), ServerError> {
        self.running.remove(&name);
        match outcome {
            // The receiver goes on without this until it is restarted.
            Err(error @ (ServerError::Sink { .. } | ServerError::Feed(_))) => {
                tracing::error!(%error, "delivery has stopped; the events stay in the journal");
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
            match self.ended.recv_deadline(deadline) {
                Ok(ended) => {
                    let judged = self.judge(ended);
                    if judged.is_err() {
                        deadline = deadline.min(Instant::now() + LEAVE_TIME);
                    }
                    result = match result {
                        // Another one says why.
                        Err(ServerError::Journal(JournalError::Failed)) if judged.is_err() => {
                            judged
                        }
                        result => result.and(judged),
                    };
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return result.and(Err(ServerError::DrainTimeout(name)));
                }
            }
        }
        result
    }

    /// True while one of them runs.
    pub(super) fn run(&self, concerned: impl Fn(&str) -> bool) -> bool {
        self.running.iter().any(|name| concerned(name))
    }
}

/// Tells how a thread ended, also when it panicked.
struct Report {
    name: String,
    tell: Sender<Ended>,
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
        let _ = self.tell.send((name, outcome));
    }
}

/// The cores that this process may use: loops take them from the front, workers from the end.
#[derive(Debug)]
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
