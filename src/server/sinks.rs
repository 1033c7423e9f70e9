//! One runner for each configured sink, with its feed and its cursor.

use super::exposition::Sources;
use super::pull::{Configured, Pulls};
use super::{ServerError, directory};
use crate::config::{self, Config, SinkKind};
use crate::feed::{
    self, Corrected, Cursors, Delivery, Feed, Floor, Judged, JudgedPosition, Live, Selection,
};
use crate::journal::{self, Disk, JournalId, Storage};
use crate::sink::{self, Runner, Sink, SinkError, Statistics};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sinks that are ready to run, by name.
pub(super) struct Sinks {
    pub(super) ready: Vec<(String, Ready)>,
    pub(super) pulls: Pulls,
    /// Tells all of them to end once they have delivered what is durable.
    pub(super) stop: Arc<AtomicBool>,
}

pub(super) struct Ready {
    runner: Runner,
    target: Box<dyn Sink>,
}

impl Ready {
    pub(super) fn run(mut self) -> Result<(), SinkError> {
        self.runner.run(&mut *self.target)
    }
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

/// Opens everything that the sinks need, and gives the ends of their feeds that the workers hold.
pub(super) fn prepare(
    config: &Config,
    disk: &Arc<dyn Storage>,
    (id, endpoints): (JournalId, &journal::Endpoints),
    floor: Floor,
    judged: &Arc<JudgedPosition>,
    sources: &mut Sources,
) -> Result<(Sinks, Vec<Live<Arc<Delivery>>>), ServerError> {
    let cursors = directory(&config.journal.dir.join("cursors"))?;
    let last = sources.journal.durable();
    let (cursors, corrected) = Cursors::open(cursors, id, last, floor)?;
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
    let mut sinks = Sinks {
        ready: Vec::new(),
        pulls: Pulls::default(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let mut lives = Vec::new();
    let mut files = Vec::new();
    for sink in &config.sinks {
        let target: Box<dyn Sink> = match &sink.kind {
            SinkKind::Stdout => Box::new(sink::Stdout::default()),
            SinkKind::File(config::FileSink { path, .. }) => {
                let action = || format!("open {} for the sink {}", path.display(), sink.name);
                let file = sink::File::open(path).map_err(ServerError::io(action()))?;
                let identity = file.identity().map_err(ServerError::io(action()))?;
                if files.contains(&identity) {
                    let cause = io::Error::other("another sink writes to the same file");
                    return Err(ServerError::io(action())(cause));
                }
                files.push(identity);
                Box::new(file)
            }
            SinkKind::Pull(tokens) => {
                let sink = Configured {
                    sink,
                    tokens,
                    cursor: cursors.of(&sink.name)?,
                };
                sinks.pulls.add(sink, disk, judged, endpoints, sources)?;
                continue;
            }
            SinkKind::Http(_) | SinkKind::Exec(_) => {
                let kind = sink.kind.name();
                let cause = io::Error::other(format!("this build has no sinks of type {kind:?}"));
                let action = format!("start the sink {}", sink.name);
                return Err(ServerError::io(action)(cause));
            }
        };
        let cursor = cursors.of(&sink.name)?;
        // A new sink begins with the oldest record that there is.
        let first = sources
            .journal
            .statistics
            .first_sequence
            .load(Ordering::Relaxed);
        let next = (cursor.confirmed() + 1).max(first);
        if cursor.confirmed() > 0 && next > cursor.confirmed() + 1 {
            let (sink, sequence) = (&sink.name, cursor.confirmed());
            tracing::warn!(
                sink,
                sequence,
                first,
                "the sink was away for longer than the retention: what stood between was never delivered to it"
            );
        }
        let (live, feed) = Feed::new(Arc::clone(disk), Judged::new(Arc::clone(judged)), next);
        let statistics = Arc::new(Statistics::default());
        statistics.delivered.set(next - 1);
        statistics.confirmed.set(cursor.confirmed());
        sources.sinks.push((
            sink.name.clone(),
            target.confirmation(),
            Arc::clone(&statistics),
        ));
        lives.push(live);
        let runner = Runner {
            feed,
            wanted: Selection::default(),
            cursor,
            statistics,
            stop: Arc::clone(&sinks.stop),
        };
        sinks
            .ready
            .push((sink.name.clone(), Ready { runner, target }));
    }
    Ok((sinks, lives))
}
