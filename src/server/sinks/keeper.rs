//! The life of the sinks: each runs as the configuration says at the moment, or is stopped and says why.
//!
//! The thread `hl-sinks` starts the threads of the sinks, and takes note of how they end. It is given the sinks of
//! another configuration (SIGHUP), and looks once a second for what `hookline sink` asks for ([`SinkRequests`]).
//! Whatever is to become of a sink, the way is the same: one that is not to run, or not as it does, is asked to leave,
//! which takes up to `drain_timeout`; when it has ended, the next one begins at its cursor. So two never deliver at a
//! time, nobody waits for a target, and a sink whose part of the configuration is the same is not touched.
//!
//! One that cannot be started as the configuration says goes on as it did. One that has stopped for good, or that
//! somebody has stopped, keeps in the journal what it has not had, as one that is behind does; one that is gone from
//! the configuration keeps nothing.

use super::super::directories::beside;
use super::super::pull::{self, PullSet, Pulls};
use super::super::sources::Sources;
use super::super::threads::{Ended, Threads};
use super::super::{PULL, SINK, SINKS, ServerError};
use super::kept::{Block, Kept, State, Step};
use super::{Common, Ready, open};
use crate::config::{self, SinkKind};
use crate::disk::Disk;
use crate::feed::{Receivers, Replays};
use crate::log::{Repeats, with_causes};
use crate::sink::{SinkError, SinkRequest, SinkRequests};
use crossbeam_channel::{Receiver, Sender, bounded, select};
use std::error::Error;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// All sinks, before the first of them runs.
pub(in crate::server) struct Prepared {
    common: Common,
    kept: Vec<Kept>,
    ready: Vec<(String, Ready)>,
    /// Who is offered each batch.
    pub(in crate::server) receivers: Receivers,
}

/// Speaks to the thread.
#[derive(Clone)]
pub(in crate::server) struct Keeping {
    changes: Sender<Vec<config::Sink>>,
    drain: Sender<()>,
}

/// What the thread has.
struct Keeper {
    common: Common,
    /// In the order of the configuration.
    kept: Vec<Kept>,
    receivers: Receivers,
    pulls: Pulls,
    stop_pulls: Arc<AtomicBool>,
    /// The names of those of type `pull`, as they are noted.
    noted: Vec<String>,
    sources: Arc<Sources>,
    threads: Threads,
    /// Who is to know of a thread that has ended as none should.
    failures: Sender<Ended>,
    /// Times that the requests could not be read, for the log.
    unreadable: Repeats,
}

/// Opens everything that the sinks need.
pub(in crate::server) fn prepare(common: Common) -> Result<Prepared, ServerError> {
    let mut prepared = Prepared {
        kept: Vec::new(),
        ready: Vec::new(),
        receivers: Receivers::default(),
        common,
    };
    let requests = requests(&prepared.common);
    for sink in &prepared.common.config.sinks {
        let mut kept = Kept::new(sink.clone());
        if is_stopped(requests.as_ref(), &sink.name) {
            let cursor = prepared.common.cursors.of(&sink.name)?;
            kept.block = Some(Block::Asked);
            kept.parked(sink.clone(), Some(&cursor), STOPPED);
            tracing::warn!(
                sink = sink.name,
                "the sink is stopped, since somebody has run `hookline sink stop`: nothing is delivered to it, and the journal keeps what it has not had; `hookline sink resume` lets it go on"
            );
        } else {
            let opened = open(&prepared.common, sink, None, &files(&prepared.kept))?;
            let ready = kept.opened(sink.clone(), opened);
            prepared.ready.push((sink.name.clone(), ready));
        }
        prepared.kept.push(kept);
    }
    Ok(prepared)
}

impl Prepared {
    /// Starts the threads of the sinks, and the one that keeps them; `listener` is for consumers.
    pub(in crate::server) fn start(
        self,
        listener: Option<TcpListener>,
        sources: &Arc<Sources>,
        threads: &mut Threads,
    ) -> Result<Keeping, ServerError> {
        let mut keeper = Keeper {
            common: self.common,
            kept: self.kept,
            receivers: self.receivers,
            pulls: Pulls::default(),
            stop_pulls: Arc::default(),
            noted: Vec::new(),
            sources: Arc::clone(sources),
            threads: Threads::new(),
            failures: threads.reporter(),
            unreadable: Repeats::default(),
        };
        keeper.publish();
        keeper.note_consumers();
        for (name, ready) in self.ready {
            keeper.run_sink(&name, ready)?;
        }
        if let Some(listener) = listener {
            keeper.serve_consumers(listener)?;
        }
        let (changes, changed) = bounded(CHANGES_MAX);
        let (drain, drained) = bounded(1);
        let run = move || keeper.run(&changed, &drained);
        threads.start(SINKS, None, run)?;
        Ok(Keeping { changes, drain })
    }
}

impl Keeping {
    /// These are the sinks of the configuration now. Waits only while many such changes do.
    pub(in crate::server) fn change(&self, sinks: Vec<config::Sink>) {
        // Nobody receives it after the end.
        let _ = self.changes.send(sinks);
    }

    /// All sinks are to end once they have delivered what is durable.
    pub(in crate::server) fn drain(&self) {
        // One that waits is enough.
        let _ = self.drain.try_send(());
    }
}

impl Keeper {
    fn run(
        mut self,
        changes: &Receiver<Vec<config::Sink>>,
        drain: &Receiver<()>,
    ) -> Result<(), ServerError> {
        let reports = self.threads.reports();
        let mut looked_at = Instant::now();
        loop {
            let left = LOOK_INTERVAL.saturating_sub(looked_at.elapsed());
            select! {
                recv(drain) -> _ => break,
                recv(changes) -> sinks => match sinks {
                    Ok(sinks) => self.change(sinks),
                    Err(_) => break,
                },
                recv(reports) -> ended => if let Ok(ended) = ended {
                    self.ended(ended);
                },
                default(left) => {
                    looked_at = Instant::now();
                    self.look();
                }
            }
            self.go_on();
        }
        self.drain(&reports);
        Ok(())
    }

    /// Another configuration.
    fn change(&mut self, sinks: Vec<config::Sink>) {
        let order: Vec<String> = sinks.iter().map(|it| it.name.clone()).collect();
        let mut sinks = sinks;
        for kept in &mut self.kept {
            let place = sinks.iter().position(|it| it.name == kept.name);
            kept.want(place.map(|place| sinks.remove(place)));
        }
        self.kept.extend(sinks.into_iter().map(Kept::new));
        let place = |kept: &Kept| order.iter().position(|it| *it == kept.name);
        self.kept
            .sort_by_key(|kept| place(kept).unwrap_or(usize::MAX));
        // A name that is back may have been stopped when it was there before.
        let requests = requests(&self.common);
        for kept in self.kept.iter_mut().filter(|it| it.present.is_none()) {
            if kept.block.is_none() && is_stopped(requests.as_ref(), &kept.name) {
                kept.block = Some(Block::Asked);
                let cursor = self.common.cursors.of(&kept.name);
                let cursor = cursor.as_ref().ok();
                if let Some(sink) = kept.wanted.clone() {
                    kept.parked(sink, cursor, STOPPED);
                }
            }
        }
    }

    /// Takes each sink one step towards what is wanted of it.
    fn go_on(&mut self) {
        let steps = self.kept.iter().map(Kept::next_step);
        if steps.clone().all(|it| it == Step::Nothing) {
            return;
        }
        for kept in &mut self.kept {
            if kept.next_step() == Step::Leave {
                kept.leave();
            }
        }
        for place in 0..self.kept.len() {
            let kept = &self.kept[place];
            if kept.next_step() == Step::Start
                && let Some(wanted) = kept.wanted.clone()
                // Two that write into one file do so one after the other.
                && !self.kept.iter().any(|it| it.is_in_the_way_of(&wanted.kind))
            {
                self.start(place, &wanted);
            }
        }
        let all = std::mem::take(&mut self.kept);
        let (gone, kept) = all
            .into_iter()
            .partition(|it| it.next_step() == Step::Forget);
        self.kept = kept;
        for gone in gone {
            log_removed(&gone);
            gone.release();
        }
        self.publish();
        self.note_consumers();
    }

    /// Starts it as it is wanted; if that cannot be and it did well before, as it was before.
    fn start(&mut self, place: usize, wanted: &config::Sink) {
        let kept = &self.kept[place];
        let (is_resumed, is_new) = (kept.is_resumed, kept.present.is_none());
        let ran = kept.state == State::Idle { ran: true };
        let before = kept.present.as_ref().map(|it| it.sink.clone());
        let is_changed = before.as_ref() != Some(wanted);
        let Err(error) = self.try_to_start(place, wanted) else {
            self.kept[place].is_resumed = false;
            log_started(&wanted.name, (is_new, is_resumed, is_changed));
            return;
        };
        let sink = &wanted.name;
        let why = with_causes(error.to_string(), error.source());
        if let Some(before) = before.filter(|it| ran && it != wanted)
            && self.try_to_start(place, &before).is_ok()
        {
            self.kept[place].refused = Some(wanted.clone());
            tracing::error!(
                sink,
                error = why,
                "the sink cannot be started as the configuration now says, and goes on as it was before; correct what the error names, and send SIGHUP"
            );
            return;
        }
        tracing::error!(
            sink,
            error = why,
            "the sink cannot be started: nothing is delivered to it; correct what the error names, and send SIGHUP, or `hookline sink resume` it"
        );
        let kept = &mut self.kept[place];
        kept.block = Some(Block::Failed);
        kept.state = State::Idle { ran: false };
        kept.parked(wanted.clone(), None, &why);
    }

    fn try_to_start(&mut self, place: usize, sink: &config::Sink) -> Result<(), ServerError> {
        if matches!(sink.kind, SinkKind::Pull(_)) && !self.threads.run(|it| it == PULL) {
            let listener = pull::bind(self.common.config.pull.listen)?;
            self.serve_consumers(listener)?;
        }
        let files = files(&self.kept);
        let kept = &mut self.kept[place];
        let before = kept.present.as_ref().map(|it| &*it.statistics);
        let opened = open(&self.common, sink, before, &files)?;
        let ready = kept.opened(sink.clone(), opened);
        let started = self.run_sink(&sink.name, ready);
        if started.is_err() {
            self.kept[place].state = State::Idle { ran: true };
        }
        started
    }

    fn run_sink(&mut self, name: &str, ready: Ready) -> Result<(), ServerError> {
        let name = name.to_owned();
        let run: Box<dyn FnOnce() -> Result<(), SinkError> + Send> = match ready {
            Ready::Stream(runner, mut target) => Box::new(move || runner.run(&mut *target)),
            Ready::Dispatched(dispatcher, feeds) => Box::new(move || dispatcher.run(*feeds)),
            Ready::Pulled(_) => return Ok(()),
        };
        self.threads.start(&format!("{SINK}{name}"), None, move || {
            run().map_err(|cause| ServerError::Sink { name, cause })
        })
    }

    fn serve_consumers(&mut self, listener: TcpListener) -> Result<(), ServerError> {
        let dir = &self.common.config.journal.dir;
        let replays = beside(&dir.join("replays"))?;
        let (stop, pulls) = (Arc::clone(&self.stop_pulls), self.pulls.clone());
        let connections = self.common.config.pull.connections;
        let run = move || pull::run(listener, connections, pulls, replays, &stop);
        self.threads.start(PULL, None, run)
    }

    /// A thread has ended.
    fn ended(&mut self, (thread, outcome): Ended) {
        self.threads.forget(&thread);
        let name = thread.strip_prefix(SINK).unwrap_or_default().to_owned();
        let kept = self.kept.iter_mut().find(|it| it.name == name);
        let (Some(kept), Ok(()) | Err(ServerError::Sink { .. })) = (kept, &outcome) else {
            let outcome = outcome.and_then(|()| Err(ServerError::Ended(thread.clone())));
            // Nobody receives it after the end.
            let _ = self.failures.send((thread, outcome));
            return;
        };
        let was_asked = matches!(kept.state, State::Leaves { .. });
        kept.state = State::Idle { ran: was_asked };
        match outcome {
            Ok(()) if !was_asked => {
                let ended = Err(ServerError::Ended(thread.clone()));
                let _ = self.failures.send((thread, ended));
            }
            Err(ServerError::Sink { name, cause }) => {
                let is_left = was_asked && matches!(cause, SinkError::Unfinished(_));
                if !is_left {
                    log_stopped(&name, &cause);
                }
                if !was_asked {
                    kept.block = kept.block.or(Some(Block::Ended));
                }
            }
            _ => {}
        }
        if kept.block == Some(Block::Asked) {
            kept.note_stopped(STOPPED);
            self.has_stopped(&name);
        }
        self.publish();
    }

    /// What somebody asks for, and who takes long.
    fn look(&mut self) {
        let patience = self.common.config.server.drain_timeout + LATE;
        for kept in &mut self.kept {
            kept.log_late(patience);
        }
        let Some(requests) = requests(&self.common) else {
            return;
        };
        let asked = requests.all();
        for (name, request) in asked.iter().flatten() {
            if let Err(error) = self.take_up(&requests, name, *request) {
                self.log_unreadable(&error);
            }
        }
        if let Err(error) = asked {
            self.log_unreadable(&error);
        }
    }

    fn take_up(
        &mut self,
        requests: &SinkRequests,
        name: &str,
        request: SinkRequest,
    ) -> Result<(), crate::disk::Error> {
        let mut all = self.kept.iter_mut();
        let Some(kept) = all.find(|it| it.name == name && it.wanted.is_some()) else {
            if request == SinkRequest::Resume {
                requests.set_stopped(name, false)?;
            }
            tracing::warn!(
                sink = name,
                "`hookline sink` names a sink that is not in the configuration: that changes nothing here"
            );
            return requests.done(name, request);
        };
        if request == SinkRequest::Resume {
            requests.set_stopped(name, false)?;
            kept.is_resumed = kept.block.take().is_some();
            return requests.done(name, request);
        }
        if kept.block != Some(Block::Asked) {
            requests.set_stopped(name, true)?;
            kept.block = Some(Block::Asked);
        }
        if matches!(kept.state, State::Idle { .. }) {
            kept.note_stopped(STOPPED);
            self.has_stopped(name);
        }
        Ok(())
    }

    /// A sink that somebody has stopped has ended.
    fn has_stopped(&mut self, name: &str) {
        let done = requests(&self.common).map(|it| it.done(name, SinkRequest::Stop));
        tracing::info!(
            sink = name,
            "the sink is stopped, as `hookline sink stop` has asked: nothing is delivered to it, and the journal keeps what it has not had; `hookline sink resume` lets it go on"
        );
        if let Some(Err(error)) = done {
            self.log_unreadable(&error);
        }
    }

    fn log_unreadable(&self, error: &crate::disk::Error) {
        if let Some(times) = self.unreadable.count() {
            tracing::warn!(
                %error,
                times,
                "what `hookline sink` asks for cannot be read or written down: it is tried again every second; give the directory to the user that serves, or make room"
            );
        }
    }

    /// Who gets what from here on, and what is shown.
    fn publish(&self) {
        let present = || self.kept.iter().filter_map(|it| it.present.as_ref());
        let lives = present().flat_map(|it| it.lives.iter().cloned());
        self.receivers.set(lives.collect());
        let mut pulls = PullSet::default();
        for present in present() {
            if let SinkKind::Pull(tokens) = &present.sink.kind {
                pulls.add(&present.sink.name, tokens, present.pull.clone());
            }
        }
        self.pulls.set(pulls);
        let shown = self.kept.iter().filter_map(Kept::shown);
        self.sources.set_sinks(shown.collect());
    }

    /// Nobody is to ask for a replay to those that are read.
    fn note_consumers(&mut self) {
        let pulls = self.pulls.now();
        let names = pulls.names();
        let dir = self.common.config.journal.dir.join("replays");
        if names.is_empty() && self.noted.is_empty() && !dir.exists() {
            return;
        }
        // Without this note a replay is refused all the same, within a second.
        let noted = beside(&dir).map(|it| Replays::open(it).note_consumers(&names));
        if matches!(noted, Ok(Ok(()))) {
            self.noted = names.into_iter().map(str::to_owned).collect();
        }
    }

    /// Has all of them deliver what is durable, and waits for that.
    fn drain(&mut self, reports: &Receiver<Ended>) {
        for kept in &self.kept {
            let asked = kept.present.as_ref().and_then(|it| it.asked.as_ref());
            if let Some(asked) = asked {
                asked.stop.store(true, Ordering::Release);
            }
        }
        self.stop_pulls.store(true, Ordering::Release);
        while self.threads.run(|_| true)
            && let Ok((thread, outcome)) = reports.recv()
        {
            self.threads.forget(&thread);
            let name = thread.strip_prefix(SINK).unwrap_or_default();
            for kept in self.kept.iter_mut().filter(|it| it.name == name) {
                kept.state = State::Idle { ran: true };
            }
            match outcome {
                Ok(()) => {}
                Err(ServerError::Sink { name, cause }) => log_stopped(&name, &cause),
                outcome => drop(self.failures.send((thread, outcome))),
            }
            self.publish();
        }
    }
}

/// What somebody asks for by `hookline sink`, who has made the directory if there ever was anybody.
fn requests(common: &Common) -> Option<SinkRequests> {
    let dir = common.config.journal.dir.join("sinks");
    match Disk::open(&dir) {
        Ok(disk) => Some(SinkRequests::open(Arc::new(disk))),
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::debug!(%error, "the directory of requests to sinks cannot be opened");
            }
            None
        }
    }
}

fn is_stopped(requests: Option<&SinkRequests>, sink: &str) -> bool {
    requests.is_some_and(|it| it.is_stopped(sink).unwrap_or(false))
}

/// The files that sinks write to.
fn files(kept: &[Kept]) -> Vec<(u64, u64)> {
    let run = kept
        .iter()
        .filter(|it| !matches!(it.state, State::Idle { .. }));
    run.filter_map(|it| it.present.as_ref()?.file).collect()
}

fn log_started(sink: &str, (is_new, is_resumed, is_changed): (bool, bool, bool)) {
    if is_new {
        tracing::info!(sink, "the sink is new in the configuration, and runs");
    } else if is_resumed {
        tracing::info!(
            sink,
            "the sink goes on where it was, as `hookline sink resume` has asked"
        );
    } else if is_changed {
        tracing::info!(
            sink,
            "the sink goes on where it was, as the configuration now says"
        );
    } else {
        tracing::info!(sink, "the sink goes on where it was");
    }
}

fn log_removed(kept: &Kept) {
    let Some(present) = &kept.present else { return };
    tracing::info!(
        sink = kept.name,
        confirmed = present.statistics.confirmed.get(),
        "the sink is gone from the configuration, and has ended: it has had everything up to `confirmed`, and nothing is kept for it; its cursor stays, and if it comes back it goes on there"
    );
}

fn log_stopped(sink: &str, cause: &SinkError) {
    let why = with_causes(cause.to_string(), cause.source());
    tracing::error!(
        sink,
        error = why,
        "delivery has stopped for this sink: its events stay in the journal; correct what the error names, and run `hookline sink resume`, or restart"
    );
}

/// Why it does not run, in `status`.
const STOPPED: &str = "somebody has run `hookline sink stop`; `hookline sink resume` lets it go on";

/// How often it looks for requests.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How much longer than `drain_timeout` a sink may take to leave before there is a line.
const LATE: Duration = Duration::from_secs(5);

/// Configurations that wait to be taken over; who brings another one waits.
const CHANGES_MAX: usize = 4;
