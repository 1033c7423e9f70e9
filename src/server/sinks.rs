//! One thread for each configured sink, with its feeds and its cursor.

pub(super) mod keeper;
mod entry;
mod life;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod transports;

#[cfg(feature = "postgres")]
pub(super) use postgres::postgres_options;
#[cfg(feature = "redis")]
pub(super) use redis::redis_options;
#[cfg(feature = "kafka")]
pub(super) use transports::kafka_options;
#[cfg(feature = "nats")]
pub(super) use transports::nats_options;

use super::ServerError;
use super::directories::{beside, dead_letters, directory};
use super::removed::{self, Removed};
use super::sources::Sources;
use crate::config::{self, Config, SinkKind};
use crate::dedupe::Parties;
use crate::disk::{Disk, Storage};
use crate::event::Pattern;
use crate::feed::{
    self, Corrected, Cursor, Cursors, Decided, Feed, Feeds, RecentBatches, Replays, RetentionHold,
    RetentionHolds, Selection,
};
use crate::journal::{self, JournalId};
use crate::relay::{self, Sleeper};
use crate::sink::{
    self, Confirmation, CursorSaver, Dispatcher, Leave, Paths, Pull, Runner, Sink, SinkReplays,
    Source, Statistics,
};
use crate::worker::{EventBatch, Live};
use parking_lot::Mutex;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A sink that is ready to run.
pub(super) struct Opened {
    pub(super) ready: Ready,
    pub(super) confirmation: Confirmation,
    pub(super) statistics: Arc<Statistics>,
    /// The ends of its feeds at which batches are offered.
    pub(super) lives: Vec<Live<Arc<EventBatch>>>,
    /// What keeps the journal for it, also when it has ended.
    pub(super) hold: RetentionHold,
    /// Which file it writes to, if it does.
    pub(super) file: Option<FileIdentity>,
    pub(super) asked: Asked,
}

/// What runs.
pub(super) enum Ready {
    /// Everything in the order of the journal.
    Stream(Box<Runner>, Box<dyn Sink>),
    /// Each lane in the order of the journal, beside the others.
    Streams(Vec<(Runner, Box<dyn Sink>)>),
    /// One by one.
    Dispatched(Box<Dispatcher>, Box<[Feed<Decided>; 3]>),
    /// Whoever asks reads: there is no thread.
    Pulled(Arc<Pull>),
}

/// Asks a sink to end.
#[derive(Clone)]
pub(super) struct Asked {
    /// Once it has delivered what is durable.
    pub(super) stop: Arc<AtomicBool>,
    /// Where it stands.
    leave: Arc<Leave>,
}

impl Asked {
    fn new(patience: Duration) -> Asked {
        Asked {
            stop: Arc::default(),
            leave: Arc::new(Leave::new(patience)),
        }
    }

    /// It is to end where it stands.
    pub(super) fn to_leave(&self) {
        // In this order: who sees the stop sees that it is this one.
        self.leave.ask();
        self.stop.store(true, Ordering::Release);
    }
}

/// What all sinks need.
pub(super) struct Common {
    pub(super) config: Arc<Config>,
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

/// Opens everything that a sink needs, which goes on where its cursor stands. `before` is what it has counted so far,
/// and `files` are those that others write to.
pub(super) fn open(
    common: &Common,
    sink: &config::Sink,
    before: Option<&Statistics>,
    files: &[FileIdentity],
) -> Result<Opened, ServerError> {
    let cursor = cursor_of(common, sink)?;
    let hold = cursor.hold();
    let opened = open_at(common, sink, cursor, before, files);
    if opened.is_err() {
        hold.release();
    }
    opened
}

/// The cursor of a sink: what it takes over, or where it is to begin, if it has none yet.
fn cursor_of(common: &Common, sink: &config::Sink) -> Result<Cursor, ServerError> {
    life::take_over(common, sink)?;
    life::begin(common, sink, extent(common))?;
    Ok(common.cursors.of(&sink.name)?)
}

/// The sequences that the journal has.
fn extent(common: &Common) -> RangeInclusive<u64> {
    let journal = &common.feeds.status;
    let first = journal.statistics.first_sequence.load(Ordering::Relaxed);
    first..=journal.durable()
}

/// Finds the sinks that are gone from the configuration and do not run, shows them, and says of those that `is_news`
/// names what they leave. For a start and a reload, behind those that have taken over what another had.
fn look_for_removed(
    common: &Common,
    sources: &Sources,
    runs: impl Fn(&str) -> bool,
    is_news: impl Fn(&str) -> bool,
) -> Result<(), ServerError> {
    let (config, journal, there) = (&common.config, &common.feeds.journal, extent(common));
    let mut all = removed::removed(config, &common.cursors, journal, &there)?;
    all.retain(|it| !runs(&it.name));
    let news: Vec<Removed> = all.iter().filter(|it| is_news(&it.name)).cloned().collect();
    removed::log_removed(config, &news, &there);
    sources.set_removed(all);
    Ok(())
}

fn open_at(
    common: &Common,
    sink: &config::Sink,
    cursor: Cursor,
    before: Option<&Statistics>,
    files: &[FileIdentity],
) -> Result<Opened, ServerError> {
    let first = *extent(common).start();
    warn_of_what_is_missing(&sink.name, &cursor, first);
    let statistics = Arc::new(before.map_or_else(Statistics::default, Statistics::carried_on));
    statistics.delivered.set(cursor.confirmed().max(first - 1));
    statistics.confirmed.set(cursor.confirmed());
    let hold = cursor.hold();
    let drain = common.config.server.drain_timeout;
    let asked = Asked::new(drain);
    let mut lives = Vec::new();
    let mut writes_to = None;
    let part = SinkSetup {
        sink,
        cursor,
        first,
        statistics: Arc::clone(&statistics),
        asked: asked.clone(),
    };
    let (confirmation, ready) = match &sink.kind {
        SinkKind::Stdout => part.stream(common, Box::new(sink::Stdout::default()), &mut lives)?,
        SinkKind::File(file) => {
            let (target, identity) = open_file(file, &sink.name, files)?;
            writes_to = identity;
            part.stream(common, target, &mut lives)?
        }
        #[cfg(feature = "http")]
        SinkKind::Http(http) => {
            let (limits, make) = transports::http(&sink.name, http, paths(&common.endpoints));
            part.dispatched(common, limits, make, &mut lives)?
        }
        SinkKind::Exec(exec) => {
            let (limits, make) = transports::exec(&sink.name, exec, (&asked.stop, drain));
            part.dispatched(common, limits, make, &mut lives)?
        }
        #[cfg(feature = "nats")]
        SinkKind::Nats(nats) => part.nats(common, nats, &mut lives)?,
        #[cfg(feature = "kafka")]
        SinkKind::Kafka(kafka) => part.kafka(common, kafka, &mut lives)?,
        SinkKind::Pull(_) => {
            let pull = part.pulled(common)?;
            (Confirmation::Fsynced, Ready::Pulled(Arc::new(pull)))
        }
        #[cfg(feature = "postgres")]
        SinkKind::Postgres(table) => part.postgres(common, table, &mut lives)?,
        #[cfg(feature = "redis")]
        SinkKind::Redis(redis) => part.redis(common, redis, &mut lives)?,
        #[allow(
            unreachable_patterns,
            reason = "a build with all features has all types"
        )]
        _ => return Err(unbuilt(sink)),
    };
    Ok(Opened {
        ready,
        confirmation,
        statistics,
        lives,
        hold,
        file: writes_to,
        asked,
    })
}

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
    asked: Asked,
}

impl SinkSetup<'_> {
    /// Which events; every path among its filters has a number from here on.
    fn wanted(&self, common: &Common) -> Result<Selection, ServerError> {
        let filter = &self.sink.filter;
        let numbers = filter.endpoints.iter();
        let numbers = numbers.map(|path| common.endpoints.number(path));
        Ok(selection(filter, numbers.collect::<Result<_, _>>()?))
    }

    fn replays(&self, common: &Common) -> Result<SinkReplays, ServerError> {
        let replays = Replays::open(beside(&common.config.journal.dir.join("replays"))?);
        let feeds = common.feeds.clone();
        Ok(SinkReplays::new(&self.sink.name, replays, feeds))
    }

    fn stream(
        self,
        common: &Common,
        target: Box<dyn Sink>,
        lives: &mut Vec<Live<Arc<EventBatch>>>,
    ) -> Result<(Confirmation, Ready), ServerError> {
        let next = (self.cursor.confirmed() + 1).max(self.first);
        let (live, feed) = common.feeds.open(&Arc::default(), next);
        lives.push(live);
        let runner = Runner {
            feed,
            replays: Some(self.replays(common)?),
            wanted: self.wanted(common)?,
            cursor: CursorSaver::new(self.cursor),
            statistics: self.statistics,
            stop: self.asked.stop,
            leave: self.asked.leave,
        };
        Ok((
            target.confirmation(),
            Ready::Stream(Box::new(runner), target),
        ))
    }

    /// What the cursor says, for a target that keeps the position itself.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    fn cursor_state(&self, common: &Common) -> sink::CursorState {
        sink::CursorState {
            moved: self.cursor.moved(),
            is_new: self.cursor.is_new(),
            end: common.feeds.status.durable(),
        }
    }

    /// A sink that is read.
    fn pulled(self, common: &Common) -> Result<Pull, ServerError> {
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
        common: &Common,
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
            dead_letters: dead_letters(&common.config, name)?,
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
            stop: self.asked.stop,
            leave: self.asked.leave,
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
        lane: None,
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

/// Device and inode.
pub(super) type FileIdentity = (u64, u64);

/// Opens the file of a sink, which no other may write to under another name.
fn open_file(
    file: &config::FileSink,
    sink: &str,
    files: &[FileIdentity],
) -> Result<(Box<dyn Sink>, Option<FileIdentity>), ServerError> {
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
            return Ok((Box::new(file), None));
        }
        opened => opened.map_err(failed())?,
    };
    let identity = file.identity().map_err(failed())?;
    if files.contains(&identity) {
        let cause = io::Error::other("another sink writes to the same file");
        return Err(failed()(cause));
    }
    Ok((Box::new(file.named(sink)), Some(identity)))
}
