//! Whoever asks reads: pages of events behind any position, and a cursor that moves when the reader says so.
//!
//! Nothing is offered to such a sink and nothing waits in memory for it: every page is read from the journal, by a
//! reader that stays where the page before has ended. So a consumer costs the same however far it is behind.
//!
//! What was handed out comes again until the consumer says behind what it is to go on: by its own count, as `after`, or
//! by the cursor, which is what the journal's retention relies on, and so never goes back.

mod page;
mod consumer_position;
mod reading;

pub use page::{Ask, PAGE_KIB_MAX, Page};

use super::statistics::Statistics;
use crate::event::{Item, Lane, Position};
use crate::feed::{
    Cursor, CursorError, Decided, DecidedPosition, Feed, FeedError, Lanes, Selection,
};
use crate::log::Repeats;
use crate::worker::Notification;
use consumer_position::{before, behind, next_of, whole};
use parking_lot::Mutex;
use reading::{ReaderCache, Reading};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A sink that is read. Any number of threads may read it at a time.
pub struct Pull {
    source: Source,
    wanted: Selection,
    cursor: Mutex<Cursor>,
    shelf: Mutex<ReaderCache>,
    books: Mutex<Books>,
    /// It was changed, stopped or removed.
    is_closed: AtomicBool,
}

/// What it reads.
pub struct Source {
    /// Opens a feed of the journal from a sequence on.
    pub open: Box<dyn Fn(u64) -> Feed<Decided> + Send + Sync>,
    /// How far there is anything to read.
    pub decided: Arc<DecidedPosition>,
    /// The last sequence of the journal. After a start it is some time until all of it is decided again.
    pub durable: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Why a consumer does not get what it asks for.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The journal cannot be read there.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The cursor cannot be saved.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// Nobody can have had this.
    #[error(
        "{position} is not there yet, the last sequence is {last}: if the journal is an older copy, go on after {last}"
    )]
    Beyond {
        /// What was said.
        position: Item,
        /// The last one that there is.
        last: u64,
    },
    /// It does not run any more.
    #[error("the sink is being changed, or was stopped: ask again")]
    Closed,
    /// It is in the journal, and after a start not known yet which of its events are duplicates.
    #[error("{0} is not decided yet after the start: ask again")]
    Undecided(Item),
    /// The cursor stands further on.
    #[error(
        "{committed} is committed already, and a cursor never goes back, for what is before it may be gone: to read that \
         again, ask with after={position}"
    )]
    Back {
        /// What was said.
        position: Item,
        /// Where the cursor stands.
        committed: Item,
    },
}

/// What is counted, by several threads.
#[derive(Debug)]
struct Books {
    sink: String,
    statistics: Arc<Statistics>,
    /// Pages after which they did not balance, for the log.
    unbalanced: Repeats,
    /// Commits that could not be saved, for the log.
    unsaved: Repeats,
    /// The lanes of the events of what was handed out last, by sequence.
    lanes: BTreeMap<u64, Box<[Lane]>>,
}

impl Pull {
    /// A sink over what is in the journal.
    pub fn new(
        source: Source,
        wanted: Selection,
        cursor: Cursor,
        statistics: Arc<Statistics>,
    ) -> Pull {
        statistics.note_progress(&cursor);
        let books = Books {
            sink: cursor.sink().to_owned(),
            statistics,
            unbalanced: Repeats::default(),
            unsaved: Repeats::default(),
            lanes: BTreeMap::new(),
        };
        Pull {
            source,
            wanted,
            cursor: Mutex::new(cursor),
            shelf: Mutex::default(),
            books: Mutex::new(books),
            is_closed: AtomicBool::new(false),
        }
    }

    /// How far there is anything to read, and how to wait for more.
    pub fn decided(&self) -> &DecidedPosition {
        &self.source.decided
    }

    /// What is there, as far as it fits in one page and is found within some 100 ms; never waits for more to come.
    pub fn page(&self, ask: &Ask) -> Result<Page, PullError> {
        let after = ask.after.unwrap_or_else(|| self.committed(ask.lane));
        self.check(after)?;
        let page = self.read(ask, behind(after));
        let anywhere = ask.after.is_none() || after.sequence == 0;
        let gone = match &page {
            Err(PullError::Feed(error)) => error.gone(),
            _ => None,
        };
        match gone {
            // Who has nothing begins with the oldest that there is.
            Some(first) if anywhere => self.read(ask, whole(first)),
            _ => page,
        }
    }

    /// From here on nobody gets anything, and nothing is counted or saved: the next one goes on from the cursor. Who
    /// waits for an event is answered.
    pub fn close(&self) {
        let cursor = self.cursor.lock();
        let books = self.books.lock();
        self.is_closed.store(true, Ordering::Release);
        drop((cursor, books));
        self.source.decided.wake();
    }

    /// Asked while what it is about is locked.
    fn check_open(&self) -> Result<(), PullError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(PullError::Closed);
        }
        Ok(())
    }

    fn read(&self, ask: &Ask, next: Position) -> Result<Page, PullError> {
        let mut page = Page::new(before(next));
        let reading = self.shelf.lock().take(next, ask.lane);
        let mut reading = reading.unwrap_or_else(|| {
            Reading::new((self.source.open)(next.sequence.max(1)), ask.lane, next)
        });
        let filled = reading.fill(&mut page, ask, &self.wanted);
        let failed = filled.as_ref().err();
        let mut books = self.books.lock();
        self.check_open()?;
        books.enter(&mut page, failed);
        drop(books);
        filled?;
        self.shelf.lock().put(reading);
        Ok(page)
    }

    /// What is committed: in this lane, or in all of them.
    #[must_use]
    pub fn committed(&self, lane: Option<Lane>) -> Item {
        committed(self.cursor.lock().saved(), lane)
    }

    /// Everything up to and including `position` is done: in this lane, or in all; a lane that is further on stays
    /// there. Durable when this returns.
    pub fn commit(&self, position: Item, lane: Option<Lane>) -> Result<(), PullError> {
        self.check(position)?;
        let next = behind(position);
        let lanes = self.lanes_of(position)?;
        let mut cursor = self.cursor.lock();
        self.check_open()?;
        let mut saved = cursor.saved().clone();
        let committed = committed(&saved, lane);
        // Compared as the cursor says it: the last event of a notification stands where the next one begins.
        let reached =
            concerned(lane).map(|lane| next_of(&consumer_position::progress(lane, next, &lanes)));
        let reached = reached.min().unwrap_or(next).max(next);
        if reached < behind(committed) {
            return Err(PullError::Back {
                position,
                committed,
            });
        }
        if position.sequence > self.source.decided.get() {
            // Right after a start it is known all the same where the cursor stands. How many events its last
            // notification has is not: any of them is taken for the last, and nothing changes.
            return if reached == behind(committed) {
                Ok(())
            } else {
                Err(PullError::Undecided(position))
            };
        }
        for lane in concerned(lane) {
            let progress = &mut saved[lane.index()];
            if next_of(progress) < next {
                *progress = consumer_position::progress(lane, next, &lanes);
            }
        }
        let saved = cursor.save(saved);
        let books = self.books.lock();
        if let Err(error) = &saved
            && let Some(times) = books.unsaved.count()
        {
            let sink = cursor.sink();
            tracing::error!(sink, %error, times, "the cursor of the sink cannot be saved; its consumer gets an error, and has to commit again");
        }
        saved?;
        books.statistics.note_progress(&cursor);
        Ok(())
    }

    /// Releases readers that nobody uses.
    pub fn sweep(&self) {
        self.shelf.lock().sweep();
    }

    fn check(&self, position: Item) -> Result<(), PullError> {
        let last = (self.source.durable)();
        if position.sequence > last {
            return Err(PullError::Beyond { position, last });
        }
        Ok(())
    }

    /// The lanes of the events of a notification that was had in part.
    fn lanes_of(&self, position: Item) -> Result<Box<[Lane]>, FeedError> {
        if position.index.is_none() || position.sequence == 0 {
            return Ok(Box::default());
        }
        if let Some(lanes) = self.books.lock().lanes.get(&position.sequence) {
            return Ok(lanes.clone());
        }
        let delivery = (self.source.open)(position.sequence).next_stored()?;
        let mut notifications = delivery
            .iter()
            .flat_map(|it| it.notifications(position.sequence));
        let notification = notifications.find(|it| it.sequence == position.sequence);
        let events = notification.iter().flat_map(Notification::events);
        Ok(events.map(|event| event.lane()).collect())
    }
}

impl Books {
    fn enter(&mut self, page: &mut Page, error: Option<&FeedError>) {
        let (sink, statistics) = (&self.sink, &self.statistics);
        statistics.events.add(page.tally.wanted);
        statistics.duplicates.add(page.tally.duplicates);
        statistics.unwanted.add(page.tally.unwanted);
        statistics.dead.add(page.tally.dead);
        if page.unaccounted > 0 {
            statistics.unaccounted.add(page.unaccounted);
            let (next, events) = (page.next.to_string(), page.unaccounted);
            if let Some(times) = self.unbalanced.count() {
                tracing::error!(
                    sink,
                    next,
                    events,
                    times,
                    "the books of the sink do not balance: this is a bug in Hookline; what is missing is in the journal: `hookline audit` says how much, and the consumer gets it again with an earlier `after`"
                );
            }
        }
        if let Some(error) = error
            && error.gone().is_none()
            && !error.is_shortage()
        {
            if statistics.stopped.get() == 0 {
                tracing::error!(sink, %error, "the consumer of the sink gets errors, since the journal cannot be read there; the events stay in it; `hookline journal verify` says more");
                let _ = statistics.reason.set(error.to_string()); // the first one stays
            }
            statistics.stopped.set(1);
        }
        // Those with many events are read again when one of them is committed.
        let few = page
            .lanes
            .drain(..)
            .filter(|(_, lanes)| lanes.len() <= LANES_MAX);
        self.lanes.extend(few);
        while self.lanes.len() > NOTIFICATIONS_MAX {
            self.lanes.pop_first();
        }
    }
}

/// What one has had in this lane, or in all.
fn committed(lanes: &Lanes, lane: Option<Lane>) -> Item {
    let next = concerned(lane).map(|lane| next_of(&lanes[lane.index()]));
    before(next.min().unwrap_or_default())
}

fn concerned(lane: Option<Lane>) -> impl Iterator<Item = Lane> {
    let all = Lane::ALL.into_iter();
    all.filter(move |one| lane.is_none_or(|lane| lane == *one))
}

/// Notifications whose lanes are remembered, and events of each.
const NOTIFICATIONS_MAX: usize = 10_000;
const LANES_MAX: usize = 16;

#[cfg(test)]
mod tests;
