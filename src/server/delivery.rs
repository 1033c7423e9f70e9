//! Everything between the workers and your systems: what decides on duplicates, and the sinks.

use super::directories::{all_aside, beside, sweep_dead_letters};
use super::hand_on;
use super::pull;
use super::sinks::keeper::{self, Keeping, Prepared};
use super::sinks::{self, Common};
use super::sources::Sources;
use super::threads::{Cores, Threads};
use super::{DEDUPE, ServerError, WORKER, options, quarantine};
use crate::config::{self, Config, SinkKind};
use crate::dead_letter::{Child, Quarantine};
use crate::dedupe::{Dedupe, DedupeError, Parties};
use crate::disk::Storage;
use crate::feed::{DecidedPosition, DedupeStage, Durable, Feed, Feeds, RetentionHolds};
use crate::journal::{HandOn, Journal, Status};
use crate::worker::{EventBatch, Extraction, Forms, Live, Worker};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is ready to be started.
pub(super) struct Delivery {
    journal: Arc<dyn Storage>,
    quarantine: Arc<Quarantine>,
    /// Those that have threads of their own, and where they offer what they have taken apart.
    workers: Vec<(Worker, Live<EventBatch>)>,
    stage: DedupeStage,
    open: Box<dyn FnOnce() -> Result<(Dedupe, u64), DedupeError> + Send>,
    stop_dedupe: Arc<AtomicBool>,
    sinks: Prepared,
    /// For consumers, if there are sinks for them.
    listener: Option<TcpListener>,
}

/// Opens everything that is delivered from and to, and gives what takes each durable batch.
pub(super) fn prepare(
    config: &Config,
    disk: &Arc<dyn Storage>,
    journal: &Journal,
    forms: &Arc<Forms>,
    floor: Arc<AtomicU64>,
    sources: &mut Sources,
) -> Result<(Delivery, HandOn), ServerError> {
    let (id, endpoints) = (journal.id(), journal.endpoints());
    let status = Arc::clone(&sources.journal);
    let floor = RetentionHolds::new(floor);
    // Until it is known what was decided, all of it may be decided again.
    let hold = floor.hold(0);
    let statistics = &sources.journal.statistics;
    let oldest = statistics.first_sequence.load(Ordering::Relaxed);
    sweep_dead_letters(config);
    let quarantine = quarantine::open(config, id, oldest, &endpoints)?;
    let dedupe = beside(&config.journal.dir.join("dedupe"))?;
    let (decided, stop_dedupe) = (Arc::<DecidedPosition>::default(), Arc::default());
    let parties = Parties::new(config.dedupe.scope);
    let common = Common {
        config: Arc::new(config.clone()),
        cursors: sinks::cursors(config, id, status.durable(), floor)?,
        feeds: Feeds {
            journal: Arc::clone(disk),
            status: Arc::clone(&status),
            decided: Arc::clone(&decided),
            dedupe: Arc::clone(&dedupe),
            quarantine: Arc::clone(&quarantine),
            forms: Arc::clone(forms),
        },
        parties: parties.clone(),
        endpoints: endpoints.clone(),
    };
    let sinks = keeper::prepare(common)?;
    let maker = || Extraction::sparing(quarantine.poison()).reading(forms);
    let (workers, hand_on) = hand_on::workers(config.server.workers, maker, sources);
    let origin = Durable::new(Arc::clone(&status), &quarantine, forms);
    let (workers, feed) = feed(workers, origin, disk, sources);
    let (listener, first) = (listener(config)?, first_sequence(status));
    let (newest, limits) = (sources.journal.durable(), options::dedupe(config));
    let stage = DedupeStage {
        feed,
        parties,
        hold,
        first,
        position: decided,
        sinks: sinks.receivers.clone(),
        quarantine: Arc::clone(&quarantine),
        statistics: Arc::clone(&sources.dedupe),
        stop: Arc::clone(&stop_dedupe),
    };
    let open = move || {
        let open = || Dedupe::open(Arc::clone(&dedupe), limits.clone(), id, oldest, newest);
        or_anew(&*dedupe, open)
    };
    let delivery = Delivery {
        journal: Arc::clone(disk),
        quarantine,
        workers,
        stage,
        open: Box::new(open),
        stop_dedupe,
        sinks,
        listener,
    };
    Ok((delivery, hand_on))
}

/// The feed of the one who decides, and the workers that offer it what they make. With only one worker there is none
/// of these: the feed asks it, on one thread, so that none of the two has to be woken by the other. What several make
/// has to be put in order, and that takes a thread.
fn feed(
    mut workers: Vec<Worker>,
    origin: Durable,
    disk: &Arc<dyn Storage>,
    sources: &Sources,
) -> (Vec<(Worker, Live<EventBatch>)>, Feed<Durable>) {
    let (disk, last) = (Arc::clone(disk), sources.journal.durable());
    if let [statistics] = &sources.workers[..]
        && let Some(only) = workers.pop()
    {
        let origin = origin.counting(last, statistics);
        return (Vec::new(), Feed::of_worker(only, disk, origin, last + 1));
    }
    let (live, feed) = Feed::new(disk, origin, last + 1);
    let workers = workers.into_iter().map(|it| (it, live.clone()));
    (workers.collect(), feed)
}

/// What cannot be read there is set aside, and made anew from the journal.
fn or_anew<T>(
    dedupe: &dyn Storage,
    open: impl Fn() -> Result<T, DedupeError>,
) -> Result<T, DedupeError> {
    match open() {
        Err(error) if !error.is_shortage() && all_aside(dedupe, &error).is_ok() => open(),
        opened => opened,
    }
}

/// What gives the first sequence of the journal.
fn first_sequence(status: Arc<Status>) -> Box<dyn Fn() -> u64 + Send> {
    Box::new(move || status.statistics.first_sequence.load(Ordering::Relaxed))
}

/// The listener for consumers, if there are sinks for them.
fn listener(config: &Config) -> Result<Option<TcpListener>, ServerError> {
    let is_pull = |sink: &config::Sink| matches!(sink.kind, SinkKind::Pull(_));
    let wanted = config.sinks.iter().any(is_pull);
    wanted.then(|| pull::bind(config.pull.listen)).transpose()
}

impl Delivery {
    /// Where consumers read.
    pub(super) fn pull_address(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    /// Starts the threads; gives what asks the stage to end once everything durable is done, and then the sinks.
    /// `child` takes suspect bodies apart.
    pub(super) fn start(
        self,
        threads: &mut Threads,
        cores: &mut Cores,
        child: Option<Child>,
        sources: &Arc<Sources>,
    ) -> Result<(Arc<AtomicBool>, Keeping), ServerError> {
        let (stage, open) = (self.stage, self.open);
        let stop = Arc::clone(&self.stop_dedupe);
        quarantine::examine(self.quarantine, self.journal, child, stop)?;
        let decide = move || Ok(stage.run(open)?);
        if self.workers.is_empty() {
            threads.start(&format!("{WORKER}0"), cores.take_from_end(), decide)?;
        } else {
            threads.start(DEDUPE, None, decide)?;
        }
        for (index, (worker, live)) in self.workers.into_iter().enumerate() {
            let run = move || {
                worker.run(&live);
                Ok(())
            };
            threads.start(&format!("{WORKER}{index}"), cores.take_from_end(), run)?;
        }
        let sinks = self.sinks.start(self.listener, sources, threads)?;
        Ok((self.stop_dedupe, sinks))
    }
}
