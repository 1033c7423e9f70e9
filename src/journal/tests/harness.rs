//! A journal whose threads run, and what the tests see of it.

use crate::disk::{Disk, Storage};
use crate::journal::batch::Batch;
use crate::journal::{DurablePosition, Journal, JournalError, Options, Reader, Status};
use crate::relay::{self, Sender};
use std::iter;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A journal with its two threads. Loop 0 waits on `woken`.
pub(super) struct Harness {
    inbox: Option<Sender<Batch>>,
    pub(super) status: Arc<Status>,
    pub(super) position: Arc<DurablePosition>,
    woken: Receiver<()>,
    pub(super) handed_on: Receiver<Batch>,
    committer: JoinHandle<Result<(), JournalError>>,
    preparer: JoinHandle<Result<(), JournalError>>,
    sent: u64,
}

pub(super) struct Ended {
    pub(super) result: Result<(), JournalError>,
    pub(super) handed_on: Vec<Batch>,
}

impl Harness {
    pub(super) fn start(storage: Arc<dyn Storage>, options: Options) -> Harness {
        Harness::run(Journal::open(storage, options).unwrap())
    }

    pub(super) fn run(journal: Journal) -> Harness {
        let status = journal.status();
        let (wake, woken) = mpsc::channel();
        let (hand_on, handed_on) = mpsc::channel();
        let position = Arc::new(DurablePosition::new(Box::new(move || {
            let _ = wake.send(());
        })));
        let (committer, preparer) = journal.split(
            vec![Arc::clone(&position)],
            Box::new(move |batch| {
                let _ = hand_on.send(batch);
            }),
        );
        let (inbox, receiver) = relay::channel(1024);
        Harness {
            inbox: Some(inbox),
            status,
            position,
            woken,
            handed_on,
            committer: thread::spawn(move || committer.run(&receiver)),
            preparer: thread::spawn(move || preparer.run()),
            sent: 0,
        }
    }

    /// Sends a batch; gives its ticket.
    pub(super) fn send(&mut self, mut batch: Batch) -> u64 {
        self.sent += u64::from(batch.count());
        batch.last_ticket = self.sent;
        let mut inbox = self.inbox.as_ref().unwrap().try_send(batch);
        while let Err(batch) = inbox {
            thread::yield_now();
            inbox = self.inbox.as_ref().unwrap().try_send(batch);
        }
        self.sent
    }

    /// Waits like a loop does until the position has reached `ticket`; false if the journal failed.
    pub(super) fn wait_durable(&self, ticket: u64) -> bool {
        loop {
            let durable = self.position.prepare_sleep();
            if durable >= ticket || self.status.state() == crate::journal::State::Failed {
                self.position.awake();
                return durable >= ticket;
            }
            self.woken.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }

    /// Closes the inbox and gives what the committer and the preparer say, and what was handed on and
    /// not looked at yet.
    pub(super) fn stop(mut self) -> Ended {
        self.inbox = None;
        let committer = self.committer.join().unwrap();
        let preparer = self.preparer.join().unwrap();
        Ended {
            result: match committer {
                // The other one says why.
                Err(JournalError::Failed) => preparer.and(Err(JournalError::Failed)),
                committer => committer.and(preparer),
            },
            handed_on: self.handed_on.try_iter().collect(),
        }
    }
}

/// Small segments, and nothing that depends on time.
pub(super) fn options() -> Options {
    Options {
        segment_size: 64 << 10,
        largest_frame: 32 << 10,
        reserve: 0,
        ..Options::default()
    }
}

pub(super) fn disk(path: &Path) -> Arc<dyn Storage> {
    Arc::new(Disk::create(path).unwrap())
}

/// A batch with one record for each body.
pub(super) fn batch<B: AsRef<[u8]>>(bodies: &[B]) -> Batch {
    batch_with_flags(bodies, 0)
}

pub(super) fn batch_with_flags<B: AsRef<[u8]>>(bodies: &[B], flags: u16) -> Batch {
    let mut batch = Batch::unpooled();
    for body in bodies {
        let header: (&[u8], &[u8]) = (b"content-type", b"application/json");
        batch.append(1, flags, 7, iter::once(header), body.as_ref());
    }
    batch
}

/// Everything from a sequence on, as (sequence, body).
pub(super) fn read_all(storage: &Arc<dyn Storage>, from: u64) -> Vec<(u64, Vec<u8>)> {
    let mut reader = Reader::open(Arc::clone(storage), from).unwrap();
    let mut records = Vec::new();
    while let Some(batch) = reader.next(None).unwrap() {
        records.extend(
            batch
                .records_from(from)
                .map(|(sequence, record)| (sequence, record.body.to_vec())),
        );
    }
    records
}
