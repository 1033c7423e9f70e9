//! Reads the journal with one thread, takes it apart with several, and puts the results in order again.

use super::repeats::{Key, Repeats};
use super::standing::Standing;
use super::tally::Tally;
use crate::dedupe::{Duplicates, Scope};
use crate::disk::Storage;
use crate::journal::batch::Batch;
use crate::journal::{Damage, Depth, Hole, JournalError, Manifest, Reader, inspect_from};
use crate::worker::{Extraction, Forms, Poison};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};

/// What to read, and how.
pub struct Job {
    pub storage: Arc<dyn Storage>,
    /// That of the journal.
    pub manifest: Manifest,
    /// The sequence to begin with.
    pub first: u64,
    /// See [`Repeats::new`].
    pub window: usize,
    /// Whose events are compared with whose.
    pub scope: Scope,
    /// Bodies that are not taken apart.
    pub poison: Arc<Poison>,
    /// How bodies are read.
    pub forms: Arc<Forms>,
    /// Where the server has written down what is a duplicate; `None` if it never did.
    pub dedupe: Option<Arc<dyn Storage>>,
    pub sinks: Vec<Standing>,
}

/// Called with the bytes of each batch that was read, and the sequence behind it.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What was found.
pub(super) struct Outcome {
    pub(super) end: End,
    /// Sequences that were not met, between those that were.
    pub(super) gaps: u64,
    pub(super) tally: Tally,
    pub(super) repeats: Repeats,
}

/// A batch on its way through one of the threads. The list of keys goes round, so that there are no more batches
/// under way than lists.
struct Work {
    number: u64,
    batch: Batch,
    keys: Vec<Key>,
}

/// A batch that was taken apart.
struct Done {
    first: u64,
    next: u64,
    bytes: u64,
    keys: Vec<Key>,
}

/// What the reading thread has come to.
#[derive(Default)]
pub struct End {
    /// The sequence behind the last one.
    pub next: u64,
    /// Sequences that it has passed over because damage was set aside.
    pub set_aside: u64,
    /// Sequences that retention has taken when it was about to read them.
    pub retired: u64,
    /// Where the journal is damaged.
    pub damage: Vec<String>,
    /// Why nothing was read behind `next`, though something may be there.
    pub stopped: Option<String>,
}

impl Job {
    /// Reads from the beginning to the end that there is.
    pub(super) fn run(&self, progress: Progress<'_>) -> Result<Outcome, JournalError> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let under_way = 4 * threads;
        let (spare, spares) = bounded(under_way);
        for _ in 0..under_way {
            // There is room for all of them.
            let _ = spare.send(Vec::new());
        }
        let (give, work) = bounded(under_way);
        let (sender, counted) = bounded(under_way);
        thread::scope(|scope| {
            let reading = scope.spawn(move || self.read(&spares, &give));
            let counting: Vec<_> = (0..threads)
                .map(|_| {
                    let (work, sender) = (work.clone(), sender.clone());
                    scope.spawn(move || self.count(&work, &sender))
                })
                .collect();
            drop((work, sender));
            let mut order = Order {
                at: self.first,
                gaps: 0,
                repeats: Repeats::new(self.window),
            };
            let (mut early, mut expected) = (BTreeMap::new(), 0_u64);
            for (number, done) in counted {
                early.insert(number, done);
                while let Some(done) = early.remove(&expected) {
                    expected += 1;
                    progress(done.bytes, done.next);
                    // Its thread has gone when everything is read.
                    let _ = spare.send(order.take(done));
                }
            }
            let mut tally = Tally::new(self.sinks.len());
            for thread in counting {
                tally.add(&joined(thread));
            }
            let end = joined(reading)?;
            Ok(Outcome {
                gaps: order.gaps + end.next.saturating_sub(order.at),
                end,
                tally,
                repeats: order.repeats,
            })
        })
    }

    /// Reads batch by batch, as long as there are spare lists of keys.
    fn read(&self, spares: &Receiver<Vec<Key>>, give: &Sender<Work>) -> Result<End, JournalError> {
        let mut source = Source {
            reader: Reader::open(Arc::clone(&self.storage), self.first)?,
            storage: &self.storage,
            end: End::default(),
            looked: false,
            passed_over: Vec::new(),
        };
        for number in 0.. {
            let Ok(keys) = spares.recv() else { break };
            let Some(batch) = source.next()? else { break };
            let work = Work {
                number,
                batch,
                keys,
            };
            if give.send(work).is_err() {
                break;
            }
        }
        Ok(source.end())
    }

    /// Takes apart and counts whatever comes.
    fn count(&self, work: &Receiver<Work>, sender: &Sender<(u64, Done)>) -> Tally {
        let mut tally = Tally::new(self.sinks.len());
        let mut maker = Extraction::sparing(&self.poison).reading(&self.forms);
        let mut duplicates = self.dedupe.clone().map(Duplicates::open);
        for Work {
            number,
            batch,
            mut keys,
        } in work
        {
            keys.clear();
            let bytes = batch.len() as u64;
            let mut delivery = maker.make(batch);
            // How far a server has decided is not known here.
            if let Some(marked) = duplicates.as_mut().map(|it| it.mark(&mut delivery, 0))
                && let Err(error) = marked
            {
                tally.unmarked = Some(error.to_string());
                duplicates = None;
            }
            tally.take(&delivery, self.first, &self.sinks, self.scope, &mut keys);
            let done = Done {
                first: delivery.first_sequence(),
                next: delivery.last_sequence() + 1,
                bytes,
                keys,
            };
            if sender.send((number, done)).is_err() {
                break;
            }
        }
        tally
    }
}

/// The journal, to its end.
struct Source<'a> {
    storage: &'a Arc<dyn Storage>,
    reader: Reader,
    end: End,
    /// All damage that is still to come is known, and passed over.
    looked: bool,
    passed_over: Vec<Hole>,
}

impl Source<'_> {
    fn next(&mut self) -> Result<Option<Batch>, JournalError> {
        loop {
            match self.reader.next(None) {
                Ok(Some(batch)) => return Ok(Some(batch)),
                Ok(None) => {
                    // Of the last segment a reader cannot distinguish damage from an end that is still being written.
                    let end = self.reader.position();
                    if self.look_ahead(end)? {
                        continue;
                    }
                    let rest = inspect_from(&**self.storage, Depth::Headers, end)?;
                    self.end.damage.extend(rest.unusable);
                    return Ok(None);
                }
                Err(JournalError::Gone { wanted, first }) if first > wanted => {
                    self.end.retired += first - wanted;
                    self.go_on_at(first)?;
                }
                Err(error @ JournalError::Io(_)) => return Err(error),
                Err(error @ JournalError::Damaged { .. }) => {
                    let at = self.reader.position();
                    if !self.look_ahead(at)? {
                        self.end.stopped = Some(error.to_string());
                        return Ok(None);
                    }
                }
                Err(error) => {
                    // Nothing of this segment can be read.
                    let at = self.reader.position();
                    let manifest = Manifest::load_existing(&**self.storage)?;
                    let mut firsts = manifest.segments.iter().filter_map(|it| it.first_sequence);
                    let Some(behind) = firsts.find(|first| *first > at) else {
                        self.end.stopped = Some(error.to_string());
                        return Ok(None);
                    };
                    self.end.damage.push(error.to_string());
                    self.go_on_at(behind)?;
                }
            }
        }
    }

    /// Finds the damage that is still to come, once, and passes it over. False if there is none.
    fn look_ahead(&mut self, at: u64) -> Result<bool, JournalError> {
        if mem::replace(&mut self.looked, true) {
            return Ok(false);
        }
        let rest = inspect_from(&**self.storage, Depth::Full, at)?;
        for Damage { hole, .. } in &rest.damage {
            self.passed_over.push(*hole);
            self.reader.pass_over(*hole);
        }
        // What stands before, in the same segment, is not asked for.
        let behind = |damage: &&Damage| {
            let Hole {
                first_sequence,
                count,
                ..
            } = damage.hole;
            first_sequence.saturating_add(count.max(1)) > at
        };
        let damage = rest.damage.iter().filter(behind).map(ToString::to_string);
        self.end.damage.extend(damage);
        Ok(!rest.damage.is_empty())
    }

    fn go_on_at(&mut self, sequence: u64) -> Result<(), JournalError> {
        self.end.set_aside += self.reader.set_aside();
        self.reader = Reader::open(Arc::clone(self.storage), sequence)?;
        for hole in &self.passed_over {
            self.reader.pass_over(*hole);
        }
        Ok(())
    }

    fn end(mut self) -> End {
        self.end.next = self.reader.position();
        self.end.set_aside += self.reader.set_aside();
        self.end
    }
}

/// What depends on the order of the journal.
struct Order {
    /// The sequence that comes next.
    at: u64,
    gaps: u64,
    repeats: Repeats,
}

impl Order {
    /// Takes the batch that is next; gives its list back.
    fn take(&mut self, done: Done) -> Vec<Key> {
        self.gaps += done.first.saturating_sub(self.at);
        self.at = done.next;
        self.repeats.take(&done.keys);
        done.keys
    }
}

/// What a thread has brought; its panic goes on here.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
