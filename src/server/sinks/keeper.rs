//! The life of the sinks: each runs as the configuration says at the moment, or is stopped and says why.
//!
//! The thread `hl-sinks` starts the threads of the sinks, and takes note of how they end. It is given the sinks of
//! another configuration (SIGHUP), and looks once a second for what `hookline sink` asks for
//! ([`SinkRequests`](crate::feed::SinkRequests)). Whatever is to become of a sink, the way is the same: one that is not
//! to run, or not as it does, is asked to leave, which takes up to `drain_timeout`; when it has ended, the next one
//! begins at its cursor. So two never deliver at a time, nobody waits for a target, and a sink whose part of the
//! configuration is the same is not touched.
//!
//! One that cannot be started as the configuration says goes on as it did. One that has stopped for good, or that
//! somebody has stopped, keeps in the journal what it has not had, as one that is behind does; one that is gone from
//! the configuration keeps nothing.

mod requested;

use super::super::directories::beside;
use super::super::pull::{self, PullSet, Pulls};
use super::super::sources::Sources;
use super::super::threads::{Ended, Threads};
use super::super::{PULL, SINK, SINKS, ServerError};
use super::entry::{Block, SinkEntry, State, Step};
use super::{Common, FileIdentity, Ready, cursor_of, look_for_removed, open};
use crate::config::{self, Config, SinkKind};
use crate::feed::{Receivers, Replays};
use crate::log::{Repeats, with_causes};
use crate::sink::{SinkError, run_beside};
use crossbeam_channel::{Receiver, Sender, bounded, select};
use requested::{STOPPED, is_stopped, requests};
use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// All sinks, before the first of them runs.
pub(in crate::server) struct Prepared {
    common: Common,
    entries: Vec<SinkEntry>,
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
    entries: Vec<SinkEntry>,
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
        entries: Vec::new(),
        ready: Vec::new(),
        receivers: Receivers::default(),
        common,
    };
    let requests = requests(&prepared.common);
    for sink in &prepared.common.config.sinks {
        let mut entry = SinkEntry::new(sink.clone());
        if is_stopped(requests.as_ref(), &sink.name) {
            let cursor = cursor_of(&prepared.common, sink)?;
            entry.block = Some(Block::Asked);
            entry.parked(sink.clone(), Some(&cursor), STOPPED);
            tracing::warn!(
                sink = sink.name,
                "the sink is stopped, since somebody has run `hookline sink stop`: nothing is delivered to it, and the journal keeps what it has not had; `hookline sink resume` lets it go on"
            );
        } else {
            let opened = open(&prepared.common, sink, None, &files(&prepared.entries))?;
            let ready = entry.opened(sink.clone(), opened);
            prepared.ready.push((sink.name.clone(), ready));
        }
        prepared.entries.push(entry);
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
            entries: self.entries,
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
        look_for_removed(&keeper.common, sources, |_| false, |_| true)?;
        for (name, ready) in self.ready {
            keeper.run_sink(&name, ready)?;
        }
        if let Some(listener) = listener {
            keeper.serve_consumers(listener)?;
        }
        let (changes, inbox) = bounded(CHANGES_MAX);
        let (drain, asked_to_drain) = bounded(1);
        let run = move || {
            keeper.run(&inbox, &asked_to_drain);
            Ok(())
        };
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
    fn run(mut self, changes: &Receiver<Vec<config::Sink>>, drain: &Receiver<()>) {
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
    }

    /// Another configuration.
    fn change(&mut self, sinks: Vec<config::Sink>) {
        let order: Vec<String> = sinks.iter().map(|it| it.name.clone()).collect();
        let mut config = Config::clone(&self.common.config);
        config.sinks.clone_from(&sinks);
        self.common.config = Arc::new(config);
        let mut sinks = sinks;
        for entry in &mut self.entries {
            let place = sinks.iter().position(|it| it.name == entry.name);
            entry.want(place.map(|place| sinks.remove(place)));
        }
        self.entries.extend(sinks.into_iter().map(SinkEntry::new));
        let place = |entry: &SinkEntry| order.iter().position(|it| *it == entry.name);
        self.entries
            .sort_by_key(|entry| place(entry).unwrap_or(usize::MAX));
        // A name that is back may have been stopped when it was there before.
        let requests = requests(&self.common);
        for entry in self.entries.iter_mut().filter(|it| it.present.is_none()) {
            if entry.block.is_none() && is_stopped(requests.as_ref(), &entry.name) {
                entry.block = Some(Block::Asked);
                if let Some(sink) = entry.wanted.clone() {
                    let cursor = cursor_of(&self.common, &sink);
                    entry.parked(sink, cursor.as_ref().ok(), STOPPED);
                }
            }
        }
    }

    /// Takes each sink one step towards what is wanted of it.
    fn go_on(&mut self) {
        let steps = self.entries.iter().map(SinkEntry::next_step);
        if steps.clone().all(|it| it == Step::Nothing) {
            return;
        }
        for entry in &mut self.entries {
            if entry.next_step() == Step::Leave {
                entry.leave();
            }
        }
        for place in 0..self.entries.len() {
            let entry = &self.entries[place];
            if entry.next_step() == Step::Start
                && let Some(wanted) = entry.wanted.clone()
                && !self.entries.iter().any(|it| it.is_in_the_way_of(&wanted))
            {
                self.start(place, &wanted);
            }
        }
        let all = std::mem::take(&mut self.entries);
        let (gone, rest): (Vec<SinkEntry>, Vec<SinkEntry>) = all
            .into_iter()
            .partition(|it| it.next_step() == Step::Forget);
        self.entries = rest;
        self.publish();
        self.note_consumers();
        let runs = |name: &str| self.entries.iter().any(|it| it.name == name);
        let is_gone = |name: &str| gone.iter().any(|it: &SinkEntry| it.name == name);
        let looked = look_for_removed(&self.common, &self.sources, runs, is_gone);
        if let Err(error) = looked {
            self.log_unreadable(&error);
        }
        gone.into_iter().for_each(SinkEntry::release);
    }

    /// Starts it as it is wanted; if that cannot be and it did well before, as it was before.
    fn start(&mut self, place: usize, wanted: &config::Sink) {
        let entry = &self.entries[place];
        let (is_resumed, is_new) = (entry.is_resumed, entry.present.is_none());
        let ran = entry.state == State::Idle { ran: true };
        let before = entry.present.as_ref().map(|it| it.sink.clone());
        let is_changed = before.as_ref() != Some(wanted);
        let Err(error) = self.try_to_start(place, wanted) else {
            self.entries[place].is_resumed = false;
            // Whoever reads the line sees it in the metrics, too.
            self.publish();
            log_started(&wanted.name, (is_new, is_resumed, is_changed));
            return;
        };
        let sink = &wanted.name;
        let why = with_causes(error.to_string(), error.source());
        if let Some(before) = before.filter(|it| ran && it != wanted)
            && self.try_to_start(place, &before).is_ok()
        {
            self.entries[place].refused = Some(wanted.clone());
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
        let entry = &mut self.entries[place];
        entry.block = Some(Block::Failed);
        entry.state = State::Idle { ran: false };
        entry.parked(wanted.clone(), None, &why);
    }

    fn try_to_start(&mut self, place: usize, sink: &config::Sink) -> Result<(), ServerError> {
        if matches!(sink.kind, SinkKind::Pull(_)) && !self.threads.run(|it| it == PULL) {
            let listener = pull::bind(self.common.config.pull.listen)?;
            self.serve_consumers(listener)?;
        }
        let files = files(&self.entries);
        let entry = &mut self.entries[place];
        let before = entry.present.as_ref().map(|it| &*it.statistics);
        let opened = open(&self.common, sink, before, &files)?;
        let ready = entry.opened(sink.clone(), opened);
        let started = self.run_sink(&sink.name, ready);
        if started.is_err() {
            self.entries[place].state = State::Idle { ran: true };
        }
        started
    }

    fn run_sink(&mut self, name: &str, ready: Ready) -> Result<(), ServerError> {
        let name = name.to_owned();
        let run: Box<dyn FnOnce() -> Result<(), SinkError> + Send> = match ready {
            Ready::Stream(runner, mut target) => Box::new(move || runner.run(&mut *target)),
            Ready::Streams(all) => Box::new(move || run_beside(all)),
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
        let entry = self.entries.iter_mut().find(|it| it.name == name);
        let (Some(entry), Ok(()) | Err(ServerError::Sink { .. })) = (entry, &outcome) else {
            let outcome = outcome.and_then(|()| Err(ServerError::Ended(thread.clone())));
            // Nobody receives it after the end.
            let _ = self.failures.send((thread, outcome));
            return;
        };
        let was_asked = matches!(entry.state, State::Leaves { .. });
        entry.state = State::Idle { ran: was_asked };
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
                    entry.block = entry.block.or(Some(Block::Ended));
                }
            }
            _ => {}
        }
        if entry.block == Some(Block::Asked) {
            entry.note_stopped(STOPPED);
            self.has_stopped(&name);
        }
        self.publish();
    }

    /// Who gets what from here on, and what is shown.
    fn publish(&self) {
        let present = || self.entries.iter().filter_map(|it| it.present.as_ref());
        let lives = present().flat_map(|it| it.lives.iter().cloned());
        self.receivers.set(lives.collect());
        let mut pulls = PullSet::default();
        for present in present() {
            if let SinkKind::Pull(tokens) = &present.sink.kind {
                pulls.add(&present.sink.name, tokens, present.pull.clone());
            }
        }
        self.pulls.set(pulls);
        let shown = self.entries.iter().filter_map(SinkEntry::shown);
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
        for entry in &self.entries {
            let asked = entry.present.as_ref().and_then(|it| it.asked.as_ref());
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
            for entry in self.entries.iter_mut().filter(|it| it.name == name) {
                entry.state = State::Idle { ran: true };
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

/// The files that sinks write to.
fn files(entries: &[SinkEntry]) -> Vec<FileIdentity> {
    let run = entries
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

fn log_stopped(sink: &str, cause: &SinkError) {
    let why = with_causes(cause.to_string(), cause.source());
    tracing::error!(
        sink,
        error = why,
        "delivery has stopped for this sink: its events stay in the journal; correct what the error names, and run `hookline sink resume`, or restart"
    );
}

/// How often it looks for requests.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Configurations that wait to be taken over; who brings another one waits.
const CHANGES_MAX: usize = 4;
