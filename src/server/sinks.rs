//! One thread for each configured sink, with its feeds and its cursor.

mod life;
#[cfg(feature = "postgres")]
mod postgres;
mod transports;

#[cfg(feature = "postgres")]
pub(super) use postgres::postgres_options;
#[cfg(feature = "nats")]
pub(super) use transports::nats_options;

use super::ServerError;
use super::directories::{beside, dead_letters, directory};
use super::pull::Pulls;
use super::removed;
use super::sources::Sources;
use crate::config::{self, Config, SinkKind};
use crate::dedupe::Parties;
use crate::disk::{Disk, Storage};
use crate::event::Pattern;
use crate::feed::{
    self, Corrected, Cursor, Cursors, Decided, Feed, Feeds, RecentBatches, Replays, RetentionHolds,
    Selection,
};
use crate::journal::{self, JournalId};
use crate::relay::{self, Sleeper};
use crate::sink::{
    self, Confirmation, CursorSaver, Dispatcher, Paths, Pull, Runner, Sink, SinkError, SinkReplays,
    Source, Statistics,
};
use crate::worker::{EventBatch, Live};
use parking_lot::Mutex;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sinks that are ready to run, by name.
pub(super) struct Sinks {
    pub(super) ready: Vec<(String, Ready)>,
    /// The ends of their feeds at which batches are offered.
    pub(super) lives: Vec<Live<Arc<EventBatch>>>,
    /// Those that are read by who asks.
    pub(super) pulls: Pulls,
    /// Asks all of them to end once they have delivered what is durable.
    pub(super) stop: Arc<AtomicBool>,
}

/// What the thread of a sink runs.
pub(super) enum Ready {
    /// Everything in the order of the journal.
    Stream(Box<Runner>, Box<dyn Sink>),
    /// One by one.
    Dispatched(Box<Dispatcher>, Box<[Feed<Decided>; 3]>),
}

impl Ready {
    pub(super) fn run(self) -> Result<(), SinkError> {
        match self {
            Ready::Stream(runner, mut target) => runner.run(&mut *target),
            Ready::Dispatched(dispatcher, feeds) => dispatcher.run(*feeds),
        }
    }
}

/// What all sinks need.
pub(super) struct Common<'c> {
    pub(super) config: &'c Config,
    pub(super) cursors: Cursors,
    pub(super) feeds: Feeds,
    pub(super) parties: Parties,
    pub(super) endpoints: journal::Endpoints,
}

/// The highest sequence that a sink has had of the journal that is there.
pub(super) fn confirmed(config: &Config, disk: &dyn Storage) -> Result<u64, ServerError> {
    let Some(id) = journal::stored_id(disk)? else {
        return Ok(0);
    };
    let path = config.journal.dir.join("cursors");
    match Disk::open(&path) {
        Ok(cursors) => Ok(feed::highest(&cursors, id)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(ServerError::io(format!("open {}", path.display()))(error)),
    }
}

/// Opens the cursors, and logs those that said what cannot be.
pub(super) fn cursors(
    config: &Config,
    id: JournalId,
    last: u64,
    floor: RetentionHolds,
) -> Result<Cursors, ServerError> {
    let storage = directory(&config.journal.dir.join("cursors"))?;
    let (cursors, corrected) = Cursors::open(storage, id, last, floor)?;
    for Corrected { sink, was, now } in corrected {
        let foreign = was.journal != id;
        let (was, now) = (feed::reached(&was.lanes), feed::reached(&now.lanes));
        if foreign {
            tracing::warn!(
                sink,
                was,
                "the cursor belongs to another journal: everything in this one is delivered to the sink"
            );
        } else {
            tracing::warn!(
                sink,
                was,
                now,
                "the cursor stood beyond the journal, which has lost its end or is an older copy, and goes back to it"
            );
        }
    }
    Ok(cursors)
}

/// Opens everything that the sinks need.
pub(super) fn prepare(common: &Common<'_>, sources: &mut Sources) -> Result<Sinks, ServerError> {
    let mut sinks = Sinks {
        ready: Vec::new(),
        lives: Vec::new(),
        pulls: Pulls::default(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let mut files = Vec::new();
    let drain = common.config.server.drain_timeout;
    let statistics = &sources.journal.statistics;
    let first = statistics.first_sequence.load(Ordering::Relaxed);
    for sink in &common.config.sinks {
        life::take_over(common, sink)?;
        life::begin(common, sink, first..=sources.journal.durable())?;
        let cursor = common.cursors.of(&sink.name)?;
        warn_of_what_is_missing(&sink.name, &cursor, first);
        let statistics = Arc::new(Statistics::default());
        statistics.delivered.set(cursor.confirmed().max(first - 1));
        statistics.confirmed.set(cursor.confirmed());
        let part = SinkSetup {
            sink,
            cursor,
            first,
            statistics: Arc::clone(&statistics),
            stop: Arc::clone(&sinks.stop),
        };
        let (confirmation, ready) = match &sink.kind {
            SinkKind::Stdout => {
                part.stream(common, Box::new(sink::Stdout::default()), &mut sinks.lives)?
            }
            SinkKind::File(file) => {
                let target = open_file(file, &sink.name, &mut files)?;
                part.stream(common, target, &mut sinks.lives)?
            }
            #[cfg(feature = "http")]
            SinkKind::Http(http) => {
                let (limits, make) = transports::http(&sink.name, http, paths(&common.endpoints));
                part.dispatched(common, limits, make, &mut sinks.lives)?
            }
            SinkKind::Exec(exec) => {
                let (limits, make) = transports::exec(&sink.name, exec, (&sinks.stop, drain));
                part.dispatched(common, limits, make, &mut sinks.lives)?
            }
            #[cfg(feature = "nats")]
            SinkKind::Nats(nats) => part.nats(common, nats, &mut sinks.lives)?,
            #[cfg(feature = "postgres")]
            SinkKind::Postgres(table) => part.postgres(common, table, &mut sinks.lives)?,
            SinkKind::Pull(tokens) => {
                let pull = part.pulled(common)?;
                sinks.pulls.add(&sink.name, tokens, pull);
                let shown = (sink.name.clone(), Confirmation::Fsynced, statistics);
                sources.sinks.push(shown);
                continue;
            }
            #[cfg(not(all(feature = "http", feature = "nats", feature = "postgres")))]
            _ => return Err(unbuilt(sink)),
        };
        let name = sink.name.clone();
        sources.sinks.push((name.clone(), confirmation, statistics));
        sinks.ready.push((name, ready));
    }
    // Behind those that have taken over what another had.
    let there = first..=sources.journal.durable();
    let (config, journal) = (common.config, &common.feeds.journal);
    let removed = removed::removed(config, &common.cursors, journal, &there)?;
    removed::log_removed(config, &removed, &there);
    sources.set_removed(removed);
    Ok(sinks)
}

#[cfg(not(all(feature = "http", feature = "nats", feature = "postgres")))]
fn unbuilt(sink: &config::Sink) -> ServerError {
    let kind = sink.kind.name();
    let cause = io::Error::other(format!("this build has no sinks of type {kind:?}"));
    ServerError::io(format!("start the sink {}", sink.name))(cause)
}

/// What one sink begins with.
struct SinkSetup<'c> {
    sink: &'c config::Sink,
    cursor: Cursor,
    /// The first sequence that there is.
    first: u64,
    statistics: Arc<Statistics>,
    stop: Arc<AtomicBool>,
}

impl SinkSetup<'_> {
    /// Which events; every path among its filters has a number from here on.
    fn wanted(&self, common: &Common<'_>) -> Result<Selection, ServerError> {
        let filter = &self.sink.filter;
        let numbers = filter.endpoints.iter();
        let numbers = numbers.map(|path| common.endpoints.number(path));
        Ok(selection(filter, numbers.collect::<Result<_, _>>()?))
    }

    fn replays(&self, common: &Common<'_>) -> Result<SinkReplays, ServerError> {
        let replays = Replays::open(beside(&common.config.journal.dir.join("replays"))?);
        let feeds = common.feeds.clone();
        Ok(SinkReplays::new(&self.sink.name, replays, feeds))
    }

    fn stream(
        self,
        common: &Common<'_>,
        target: Box<dyn Sink>,
        lives: &mut Vec<Live<Arc<EventBatch>>>,
    ) -> Result<(Confirmation, Ready), ServerError> {
        let next = (self.cursor.confirmed() + 1).max(self.first);
        let (live, feed) = common.feeds.open(&Arc::default(), next);
        lives.push(live);
        let runner = Runner {
            feed,
            replays: self.replays(common)?,
            wanted: self.wanted(common)?,
            cursor: CursorSaver::new(self.cursor),
            statistics: self.statistics,
            stop: self.stop,
        };
        Ok((
            target.confirmation(),
            Ready::Stream(Box::new(runner), target),
        ))
    }

    /// A stream of JetStream.
    #[cfg(feature = "nats")]
    fn nats(
        self,
        common: &Common<'_>,
        nats: &config::NatsSink,
        lives: &mut Vec<Live<Arc<EventBatch>>>,
    ) -> Result<(Confirmation, Ready), ServerError> {
        let context = sink::nats::Context {
            journal: common.cursors.journal().to_string(),
            forms: Arc::clone(&common.feeds.forms),
            statistics: Arc::clone(&self.statistics),
        };
        let (limits, make) = transports::nats(&self.sink.name, nats, context);
        self.dispatched(common, limits, make, lives)
    }

    /// A sink that is read.
    fn pulled(self, common: &Common<'_>) -> Result<Pull, ServerError> {
        let feeds = common.feeds.clone();
        let status = Arc::clone(&feeds.status);
        let source = Source {
            decided: Arc::clone(&feeds.decided),
            open: Box::new(move |next| feeds.open(&Arc::default(), next).1),
            durable: Box::new(move || status.durable()),
        };
        let wanted = self.wanted(common)?;
        Ok(Pull::new(source, wanted, self.cursor, self.statistics))
    }

    /// A sink that delivers one by one, through what `make` makes.
    fn dispatched(
        self,
        common: &Common<'_>,
        limits: sink::Limits,
        make: transports::Make,
        lives: &mut Vec<Live<Arc<EventBatch>>>,
    ) -> Result<(Confirmation, Ready), ServerError> {
        let sleeper: Arc<Sleeper> = Arc::default();
        let saved = self.cursor.saved();
        let shared = RecentBatches::default();
        let feeds = saved.each_ref().map(|lane| {
            let next = (lane.confirmed + 1).max(self.first);
            let (live, feed) = common.feeds.open_beside(&shared, &sleeper, next);
            lives.push(live);
            feed
        });
        // Each delivery under way has one outcome, so there is always room for it.
        let (give, outcomes) = relay::channel_of(&sleeper, limits.concurrency + 1);
        let name = &self.sink.name;
        let dispatcher = Dispatcher {
            name: name.clone(),
            wanted: self.wanted(common)?,
            parties: common.parties.clone(),
            dead_letters: dead_letters(common.config, name)?,
            replays: self.replays(common)?,
            cursor: CursorSaver::new(self.cursor),
            feeds: common.feeds.clone(),
            paths: paths(&common.endpoints),
            number: number(&common.endpoints),
            limits,
            transport: make(give)?,
            outcomes,
            sleeper,
            statistics: self.statistics,
            stop: self.stop,
        };
        let ready = Ready::Dispatched(Box::new(dispatcher), Box::new(feeds));
        Ok((Confirmation::Memory, ready))
    }
}

/// What the filters of a sink let through. `numbers` are those that the journal gives to the paths among them.
pub(crate) fn selection(filter: &config::Filter, numbers: Vec<u16>) -> Selection {
    let types = filter.types.iter().map(|pattern| Pattern::new(pattern));
    Selection {
        types: types.collect(),
        phone_number_ids: filter.phone_number_ids.clone(),
        wabas: filter.wabas.clone(),
        endpoints: (!filter.endpoints.is_empty()).then_some(numbers),
        replay: None,
    }
}

/// The path of an endpoint's number, whether it is configured or not.
pub(super) fn path_of(endpoints: &journal::Endpoints, wanted: u16) -> Option<String> {
    let all = endpoints.all().into_iter();
    let mut found = all.filter(|(number, _)| *number == wanted);
    found.next().map(|(_, path)| path)
}

/// The same for sinks, which ask for each delivery: what was found once is known.
fn paths(endpoints: &journal::Endpoints) -> Paths {
    let endpoints = endpoints.clone();
    let known: Mutex<Vec<(u16, Arc<str>)>> = Mutex::default();
    Paths::new(move |wanted| {
        let mut known = known.lock();
        if let Some((_, path)) = known.iter().find(|(number, _)| *number == wanted) {
            return Some(Arc::clone(path));
        }
        let path: Arc<str> = path_of(&endpoints, wanted)?.into();
        known.push((wanted, Arc::clone(&path)));
        Some(path)
    })
}

/// The number of an endpoint's path; 0 if it has none.
fn number(endpoints: &journal::Endpoints) -> Box<dyn Fn(&str) -> u16 + Send> {
    let endpoints = endpoints.clone();
    Box::new(move |wanted| {
        let all = endpoints.all();
        let found = all.into_iter().find(|(_, path)| path == wanted);
        found.map_or(0, |(number, _)| number)
    })
}

fn warn_of_what_is_missing(sink: &str, cursor: &Cursor, first: u64) {
    let sequence = cursor.confirmed();
    if !cursor.is_new() && first > sequence + 1 {
        tracing::warn!(
            sink,
            sequence,
            first,
            "the sink was away for longer than the retention, or segments are lost: what stood between was never \
             delivered to it"
        );
    }
}

/// Opens the file of a sink, which no other may write to under another name.
fn open_file(
    file: &config::FileSink,
    sink: &str,
    files: &mut Vec<(u64, u64)>,
) -> Result<Box<dyn Sink>, ServerError> {
    let (path, rotation, mode) = (&file.path, file.rotation, file.mode);
    let failed = || ServerError::io(format!("open {} for the sink {sink}", path.display()));
    let file = match sink::File::open(path, rotation, mode) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied
            ) =>
        {
            let path = path.display();
            tracing::warn!(
                sink, %path, %error,
                "the file cannot be opened yet: events wait in the journal until it can; make its directory, or give it \
                 to the user that serves"
            );
            let file = sink::LateFile::new(sink, &file.path, rotation, mode);
            return Ok(Box::new(file));
        }
        opened => opened.map_err(failed())?,
    };
    let identity = file.identity().map_err(failed())?;
    if files.contains(&identity) {
        let cause = io::Error::other("another sink writes to the same file");
        return Err(failed()(cause));
    }
    files.push(identity);
    Ok(Box::new(file.named(sink)))
}
