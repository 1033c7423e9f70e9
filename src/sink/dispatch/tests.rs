mod crowds;
mod outages;
mod recovery;
mod replays;

use super::intake::{Choice, Intake};
use super::{Backoff, Dispatcher, Limits, Unit};
use crate::dead_letter::DeadLetters;
use crate::dedupe::Parties;
use crate::disk::Disk;
use crate::event::Lane;
use crate::feed::tests::Bench;
use crate::feed::{Cursors, OPEN_MAX, Progress, Replays, RetentionHolds, Selection};
use crate::journal::JournalId;
use crate::relay::{self, Sleeper};
use crate::sink::transport::{
    Attempt, Failure, FailureKind, NO_ATTEMPT, Outcome, Outcomes, Paths, Transport,
};
use crate::sink::{CursorSaver, SinkError, SinkReplays, Statistics};
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What a receiver saw: the subject and lane of each event that it took, with its `id`.
type Taken = Arc<Mutex<Vec<(String, Lane, String)>>>;

/// What a receiver says of an event with that subject and `id`, on an attempt with that number.
type Replies = dyn Fn(&str, &str, u32) -> Reply + Send;

/// Answers in an order of its own.
struct Receiver {
    outcomes: Outcomes,
    taken: Taken,
    reply: Box<Replies>,
    /// Jobs that are answered later, so that others overtake them.
    held: Vec<Outcome>,
    seed: u64,
    /// Most attempts that were open at a time.
    open: Arc<Mutex<(usize, usize)>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reply {
    Take,
    Fail,
    Busy,
    Reject,
    Never,
    Gone,
    Broken,
}

impl Transport for Receiver {
    fn start(&mut self, attempt: Attempt) {
        let mut reply = Reply::Take;
        let mut events = Vec::new();
        for one in &attempt.items {
            let notification = one.notification().unwrap();
            let wanted = |index: u32| one.item.index.is_none_or(|it| it == index);
            for event in notification.events().filter(|it| wanted(it.index())) {
                let subject = event.subject().unwrap_or("-").to_owned();
                let decided = (self.reply)(&subject, event.id(), attempt.number);
                if decided != Reply::Take {
                    reply = decided;
                }
                events.push((subject, event.lane(), event.id().to_owned()));
            }
        }
        let failed = |kind| Failure {
            kind,
            reason: "a test".to_owned(),
            answer: None,
        };
        let result = match reply {
            Reply::Take => {
                self.taken.lock().extend(events);
                Ok(())
            }
            Reply::Fail => Err(failed(FailureKind::Retry { after: None })),
            Reply::Busy => Err(failed(FailureKind::Busy { after: None })),
            Reply::Reject => Err(failed(FailureKind::Rejected)),
            Reply::Never => Err(failed(FailureKind::Impossible)),
            Reply::Gone => Err(failed(FailureKind::Gone)),
            Reply::Broken => Err(Failure::broken("a test")),
        };
        let ticket = match reply {
            Reply::Broken => NO_ATTEMPT,
            _ => attempt.ticket,
        };
        self.held.push(Outcome { ticket, result });
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let most = &mut self.open.lock().1;
        *most = (*most).max(self.held.len());
        if self.held.len() > 3 {
            let at = usize::try_from(self.seed >> 33).unwrap() % self.held.len();
            let outcome = self.held.swap_remove(at);
            self.outcomes.try_send(outcome).unwrap();
        }
        // What is left is answered by a thread of its own, so that nothing waits for the next attempt.
        let (outcomes, held) = (self.outcomes.clone(), std::mem::take(&mut self.held));
        thread::spawn(move || {
            thread::sleep(Duration::from_micros(200));
            for outcome in held.into_iter().rev() {
                let _ = outcomes.try_send(outcome);
            }
        });
    }
}

/// A journal, a cursor beside it, and what a receiver took.
struct Setting {
    bench: Bench,
    dir: tempfile::TempDir,
    taken: Taken,
    statistics: Arc<Statistics>,
    max_attempts: u32,
    batch: usize,
    backoff: Backoff,
}

impl Setting {
    fn new() -> Setting {
        Setting {
            bench: Bench::new(),
            dir: tempfile::tempdir().unwrap(),
            taken: Taken::default(),
            statistics: Arc::default(),
            max_attempts: u32::MAX,
            batch: 1,
            backoff: Backoff {
                min: Duration::from_millis(2),
                max: Duration::from_millis(8),
            },
        }
    }

    fn directory(&self, name: &str) -> Arc<Disk> {
        let path = self.dir.path().join(name);
        Arc::new(Disk::create(&path).unwrap())
    }

    fn saved(&self) -> [Progress; 3] {
        let storage = Arc::new(Disk::create(self.dir.path()).unwrap());
        let journal = JournalId::parse("1").unwrap();
        let last = self.bench.status.durable();
        let floor = RetentionHolds::new(Arc::default());
        let (cursors, corrected) = Cursors::open(storage, journal, last, floor).unwrap();
        assert!(corrected.is_empty());
        cursors.of("crm").unwrap().saved().clone()
    }

    /// Delivers until `until` holds, or everything is delivered.
    fn run(
        &self,
        unit: Unit,
        reply: fn(&str, u32) -> Reply,
        until: impl Fn(&Statistics) -> bool,
    ) -> Result<(), SinkError> {
        let reply = move |subject: &str, _: &str, attempt: u32| reply(subject, attempt);
        self.run_with(unit, Box::new(reply), until)
    }

    /// The same, with a receiver that looks at each event.
    fn run_with(
        &self,
        unit: Unit,
        reply: Box<Replies>,
        until: impl Fn(&Statistics) -> bool,
    ) -> Result<(), SinkError> {
        let storage = Arc::new(Disk::create(self.dir.path()).unwrap());
        let journal = JournalId::parse("1").unwrap();
        let last = self.bench.status.durable();
        let (cursors, _) =
            Cursors::open(storage, journal, last, RetentionHolds::new(Arc::default())).unwrap();
        let cursor = cursors.of("crm").unwrap();
        let sleeper: Arc<Sleeper> = Arc::default();
        let (give, outcomes) = relay::channel_of(&sleeper, 4096);
        let stop = Arc::new(AtomicBool::new(false));
        let feeds = Lane::ALL.map(|lane| {
            let next = cursor.saved()[lane.index()].confirmed + 1;
            self.bench.feed_waking(&sleeper, next).1
        });
        let dispatcher = Dispatcher {
            name: "crm".to_owned(),
            dead_letters: DeadLetters::open(self.directory("letters")).unwrap(),
            replays: SinkReplays::new(
                "crm",
                Replays::open(self.directory("replays")),
                self.bench.feeds(),
            ),
            feeds: self.bench.feeds(),
            paths: Paths::new(|_| Some("/webhook".into())),
            number: Box::new(|_| 1),
            wanted: Selection::default(),
            parties: Parties::default(),
            cursor: CursorSaver::new(cursor),
            limits: Limits {
                unit,
                batch: self.batch,
                concurrency: 16,
                rate: 0,
                backoff: self.backoff,
                max_attempts: self.max_attempts,
            },
            transport: Box::new(Receiver {
                outcomes: give,
                taken: Arc::clone(&self.taken),
                reply,
                held: Vec::new(),
                seed: 7,
                open: Arc::default(),
            }),
            outcomes,
            sleeper,
            statistics: Arc::clone(&self.statistics),
            stop: Arc::clone(&stop),
        };
        // What it logs belongs to whoever runs it.
        let log = tracing::dispatcher::get_default(Clone::clone);
        let running = thread::spawn(move || {
            tracing::dispatcher::with_default(&log, || dispatcher.run(feeds))
        });
        let deadline = Instant::now() + Duration::from_mins(3);
        while !running.is_finished() && !until(&self.statistics) {
            assert!(Instant::now() < deadline, "it delivers");
            thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::Release);
        running.join().unwrap()
    }
}

/// A message of a conversation, and a status of the same one.
fn body(conversation: usize, number: usize) -> Vec<u8> {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{"metadata":{{"phone_number_id":"5"}},"messages":[{{"id":"wamid.{number:05}","from":"49{conversation}","type":"text","timestamp":"1"}}],"statuses":[{{"id":"wamid.{number:05}","status":"sent","recipient_id":"49{conversation}","timestamp":"1"}}]}}}}]}}]}}"#
    )
    .into_bytes()
}

fn fill(bench: &Bench, conversations: usize, notifications: usize) {
    for begin in (0..notifications).step_by(20) {
        let bodies: Vec<Vec<u8>> = (begin..begin + 20)
            .map(|number| body(number * 7 % conversations, number))
            .collect();
        bench.store_all(&bodies);
    }
}

/// Each conversation in order in each lane; gives how many events each had.
fn in_order(taken: &Taken) -> BTreeMap<(String, Lane), usize> {
    let mut last: BTreeMap<(String, Lane), (usize, String)> = BTreeMap::new();
    for (subject, lane, id) in taken.lock().iter() {
        let one = last.entry((subject.clone(), *lane)).or_default();
        assert!(one.1 < *id, "{subject} {lane:?}: {id} after {}", one.1);
        *one = (one.0 + 1, id.clone());
    }
    last.into_iter()
        .map(|(key, (count, _))| (key, count))
        .collect()
}

#[test]
fn conversations_keep_their_order_whatever_fails() {
    let setting = Setting::new();
    fill(&setting.bench, 13, 400);
    let reply = |subject: &str, attempt: u32| {
        if subject.ends_with('3') && attempt < 4 {
            Reply::Fail
        } else {
            Reply::Take
        }
    };
    let done = |statistics: &Statistics| statistics.events.get() == 800;
    setting.run(Unit::Event, reply, done).unwrap();
    assert_eq!(in_order(&setting.taken).values().sum::<usize>(), 800);
    assert!(setting.statistics.retries.get() >= 90);
    assert_eq!(setting.statistics.unaccounted.get(), 0);
    assert_eq!(
        setting.saved(),
        std::array::from_fn(|_| Progress::up_to(400))
    );
}

#[test]
fn notifications_go_whole_and_once() {
    let setting = Setting::new();
    fill(&setting.bench, 13, 200);
    let done = |statistics: &Statistics| statistics.events.get() == 400;
    setting
        .run(Unit::Notification, |_, _| Reply::Take, done)
        .unwrap();
    assert_eq!(in_order(&setting.taken).values().sum::<usize>(), 400);
    assert_eq!(setting.statistics.unaccounted.get(), 0);
}

/// A lane for which a long backlog held nothing read it to its end, and what came back meanwhile was not looked at.
#[test]
fn a_lane_reads_one_batch_at_a_time() {
    let bench = Bench::new();
    for _ in 0..40 {
        bench.store(1);
    }
    let (_live, feed) = bench.feed(1);
    let choice = Choice {
        unit: Unit::Event,
        wanted: Selection::default(),
        parties: Parties::default(),
    };
    let mut lane = Intake::lane(feed, Lane::Messages, Progress::default(), choice);
    for batch in 1..=40 {
        while !lane.read_on().unwrap() {
            assert!(!lane.is_at_end());
            thread::yield_now();
        }
        assert!(lane.next().is_none());
        assert_eq!(lane.reached(), batch);
    }
    assert!(lane.is_at_end() && !lane.read_on().unwrap());
}

/// One conversation is refused for ever: all others are delivered, and after a restart only what it lacks comes.
#[test]
fn a_conversation_that_fails_holds_up_no_other_and_is_gone_on_with() {
    let setting = Setting::new();
    fill(&setting.bench, 20, 400);
    let stuck = |subject: &str, _: u32| {
        if subject == "5:497" {
            Reply::Fail
        } else {
            Reply::Take
        }
    };
    let others = |statistics: &Statistics| statistics.events.get() == 760;
    setting.run(Unit::Event, stuck, others).unwrap();
    let saved = setting.saved();
    assert_eq!(
        (saved[0].reached, saved[0].open.len()),
        (400, 20),
        "{saved:?}"
    );
    assert!(saved[0].confirmed < 20 && saved[0].open[0].attempts > 0);
    let before = setting.taken.lock().len();
    let done = |statistics: &Statistics| statistics.events.get() == 800;
    setting.run(Unit::Event, |_, _| Reply::Take, done).unwrap();
    let after = setting.taken.lock().split_off(before);
    assert_eq!(after.len(), 40);
    assert!(after.iter().all(|(subject, _, _)| subject == "5:497"));
    assert_eq!(in_order(&setting.taken).values().sum::<usize>(), 760);
}

#[test]
fn a_receiver_that_is_gone_ends_the_sink() {
    let setting = Setting::new();
    fill(&setting.bench, 3, 20);
    let error = setting.run(Unit::Event, |_, _| Reply::Gone, |_| false);
    assert!(matches!(error, Err(SinkError::Refused(_))));
    assert_eq!(setting.statistics.stopped.get(), 1);
    assert_eq!(setting.saved()[0].confirmed, 0);
}

/// What the receiver took while it answered somebody else that it is gone came again at the next start.
#[test]
fn what_is_taken_while_the_receiver_goes_is_noted() {
    let setting = Setting::new();
    fill(&setting.bench, 30, 40);
    let last = |subject: &str, _: u32| match subject {
        "5:4914" => Reply::Gone,
        _ => Reply::Take,
    };
    let error = setting.run(Unit::Event, last, |_| false);
    assert!(matches!(error, Err(SinkError::Refused(_))));
    let taken = setting.taken.lock().len() as u64;
    assert!(taken > 0);
    assert_eq!(setting.statistics.events.get(), taken);
}

/// A receiver that was away for a while cost a dead letter for everything that was tried meanwhile, and the whole
/// backlog was read into memory.
#[test]
fn a_receiver_that_is_away_is_not_tried_with_everything() {
    let setting = Setting::new();
    fill(&setting.bench, 400, 400);
    let failures = |statistics: &Statistics| statistics.retries.get() > 20;
    setting
        .run(Unit::Event, |_, _| Reply::Fail, failures)
        .unwrap();
    let saved = setting.saved();
    assert!(saved[0].open.len() + saved[1].open.len() < 100, "{saved:?}");
    assert!(saved[0].open.iter().all(|open| open.counted == 0));
    let done = |statistics: &Statistics| statistics.events.get() == 800;
    setting.run(Unit::Event, |_, _| Reply::Take, done).unwrap();
    assert_eq!(in_order(&setting.taken).values().sum::<usize>(), 800);
}

/// Ten conversations that were refused for ever were taken for a receiver that is away: nothing else was read any more,
/// so nothing else was ever tried, and nobody noticed that it would have been taken.
#[test]
fn whatever_is_refused_what_is_new_is_tried() {
    let setting = Setting::new();
    fill(&setting.bench, 10, 100);
    let refused = |subject: &str, _: u32| match subject.len() {
        5 => Reply::Fail,
        _ => Reply::Take,
    };
    let stored = Cell::new(false);
    let done = |statistics: &Statistics| {
        if statistics.retries.get() > 30 && !stored.replace(true) {
            let others: Vec<_> = (0..20).map(|it| body(100 + it % 5, 1000 + it)).collect();
            setting.bench.store_all(&others);
        }
        statistics.events.get() == 40
    };
    setting.run(Unit::Event, refused, done).unwrap();
    assert_eq!(in_order(&setting.taken).values().sum::<usize>(), 40);
    assert_eq!(setting.statistics.unaccounted.get(), 0);
    assert_eq!(setting.statistics.dead.get(), 0);
}

/// Ten conversations that a receiver rejected, with nothing else to deliver, were taken for a receiver that is away, so
/// no attempt counted, and they never became dead letters.
#[test]
fn what_is_rejected_says_nothing_about_the_receiver() {
    let mut setting = Setting::new();
    setting.max_attempts = 3;
    fill(&setting.bench, 10, 20);
    let dead = |statistics: &Statistics| statistics.dead.get() == 40;
    setting
        .run(Unit::Event, |_, _| Reply::Reject, dead)
        .unwrap();
    assert_eq!(setting.statistics.retries.get(), 120);
    assert_eq!(setting.statistics.away.get(), 0);
}

#[test]
fn what_can_never_be_delivered_is_a_dead_letter_at_once_and_says_nothing_about_the_receiver() {
    let setting = Setting::new();
    fill(&setting.bench, 10, 20);
    let never = |subject: &str, _: u32| match subject {
        "5:497" => Reply::Take,
        _ => Reply::Never,
    };
    let done = |statistics: &Statistics| statistics.dead.get() + statistics.events.get() == 40;
    setting.run(Unit::Event, never, done).unwrap();
    assert_eq!(setting.statistics.events.get(), 4);
    assert_eq!(setting.statistics.retries.get(), 0);
    assert_eq!(setting.statistics.away.get(), 0);
}

/// A stop waited for ever for a lane in which as much was open as a cursor names, since there was more behind.
#[test]
fn a_stop_does_not_wait_for_what_a_full_lane_keeps_back() {
    let setting = Setting::new();
    fill(&setting.bench, 1, 1200);
    let failures = |statistics: &Statistics| statistics.retries.get() > 3;
    setting
        .run(Unit::Event, |_, _| Reply::Fail, failures)
        .unwrap();
    let saved = setting.saved();
    assert!(
        saved.iter().all(|lane| lane.open.len() <= OPEN_MAX),
        "{saved:?}"
    );
}

/// A transport whose thread had ended left its attempts without an outcome, and the sink waited for them for ever.
#[test]
fn a_transport_that_has_ended_ends_the_sink() {
    let setting = Setting::new();
    fill(&setting.bench, 3, 20);
    let error = setting.run(Unit::Event, |_, _| Reply::Broken, |_| false);
    assert!(matches!(error, Err(SinkError::Broken(_))));
    assert_eq!(setting.statistics.stopped.get(), 1);
    assert_eq!(setting.saved()[0].confirmed, 0);
}
