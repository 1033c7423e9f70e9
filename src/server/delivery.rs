//! Everything between the workers and your systems: what decides on duplicates, and the sinks.

use super::directories::{all_aside, beside, sweep_dead_letters};
use super::pull::{self, Pulls};
use super::sinks::{self, Common, Sinks};
use super::sources::Sources;
use super::threads::Threads;
use super::{DEDUPE, SINK, ServerError, options, quarantine};
use crate::config::Config;
use crate::dead_letter::{Child, Quarantine};
use crate::dedupe::{Dedupe, DedupeError, Parties};
use crate::disk::Storage;
use crate::feed::{DecidedPosition, DedupeStage, Durable, Feed, Feeds, RetentionHolds};
use crate::journal::Journal;
use crate::worker::{EventBatch, Extraction, Forms, Live};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is ready to be started.
pub(super) struct Delivery {
    journal: Arc<dyn Storage>,
    quarantine: Arc<Quarantine>,
    forms: Arc<Forms>,
    /// Where the workers offer what they have taken apart.
    live: Live<EventBatch>,
    stage: DedupeStage,
    open: Box<dyn FnOnce() -> Result<(Dedupe, u64), DedupeError> + Send>,
    stop_dedupe: Arc<AtomicBool>,
    sinks: Sinks,
}

/// Opens everything that is delivered from and to.
pub(super) fn prepare(
    config: &Config,
    disk: &Arc<dyn Storage>,
    journal: &Journal,
    forms: &Arc<Forms>,
    floor: Arc<AtomicU64>,
    sources: &mut Sources,
) -> Result<Delivery, ServerError> {
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
    let decided = Arc::new(DecidedPosition::default());
    let parties = Parties::new(config.dedupe.scope);
    let common = Common {
        config,
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
    let mut sinks = sinks::prepare(&common, sources)?;
    let origin = Durable::new(Arc::clone(&status), &quarantine, forms);
    let (live, feed) = Feed::new(Arc::clone(disk), origin, status.durable() + 1);
    let stop_dedupe = Arc::new(AtomicBool::new(false));
    let first = move || {
        let statistics = &status.statistics;
        statistics.first_sequence.load(Ordering::Relaxed)
    };
    let newest = sources.journal.durable();
    let limits = options::dedupe(config);
    let stage = DedupeStage {
        feed,
        parties,
        hold,
        first: Box::new(first),
        position: decided,
        sinks: std::mem::take(&mut sinks.lives),
        quarantine: Arc::clone(&quarantine),
        statistics: Arc::clone(&sources.dedupe),
        stop: Arc::clone(&stop_dedupe),
    };
    Ok(Delivery {
        journal: Arc::clone(disk),
        quarantine,
        forms: Arc::clone(forms),
        live,
        stage,
        open: Box::new(move || {
            let open = || Dedupe::open(Arc::clone(&dedupe), limits.clone(), id, oldest, newest);
            or_anew(&*dedupe, open)
        }),
        stop_dedupe,
        sinks,
    })
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

impl Delivery {
    /// What takes bodies apart, and where the result goes.
    pub(super) fn for_worker(&self) -> (Extraction, Live<EventBatch>) {
        let maker = Extraction::sparing(self.quarantine.poison()).reading(&self.forms);
        (maker, self.live.clone())
    }

    /// The sinks that are read by who asks, and the listener for them if there are any.
    pub(super) fn take_pulls(
        &mut self,
        config: &Config,
    ) -> Result<(Pulls, Option<TcpListener>), ServerError> {
        let pulls = std::mem::take(&mut self.sinks.pulls);
        let listener = (!pulls.is_empty()).then(|| pull::bind(config.pull.listen));
        Ok((pulls, listener.transpose()?))
    }

    /// Starts the threads; gives what asks the stage, and then the sinks, to end once everything durable is done.
    /// `child` takes suspect bodies apart.
    pub(super) fn start(
        self,
        threads: &mut Threads,
        child: Option<Child>,
    ) -> Result<(Arc<AtomicBool>, Arc<AtomicBool>), ServerError> {
        let (stage, open) = (self.stage, self.open);
        let stop = Arc::clone(&self.stop_dedupe);
        quarantine::examine(self.quarantine, self.journal, child, stop)?;
        threads.start(DEDUPE, None, move || Ok(stage.run(open)?))?;
        for (name, sink) in self.sinks.ready {
            threads.start(&format!("{SINK}{name}"), None, move || {
                sink.run()
                    .map_err(|cause| ServerError::Sink { name, cause })
            })?;
        }
        Ok((self.stop_dedupe, self.sinks.stop))
    }
}
