use super::{Ask, Pull, PullError, Source};
use crate::disk::Disk;
use crate::event::{Item, Lane, Pattern};
use crate::feed::tests::Bench;
use crate::feed::{Cursors, DecidedPosition, RetentionHolds, Selection};
use crate::journal::JournalId;
use crate::sink::Statistics;
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A sink over a journal, and how often it has opened it.
struct Setting {
    bench: Bench,
    dir: tempfile::TempDir,
    opened: Arc<AtomicUsize>,
    durable: Arc<AtomicU64>,
    decided: Arc<DecidedPosition>,
    statistics: Arc<Statistics>,
    floor: Arc<AtomicU64>,
}

impl Setting {
    fn new() -> Setting {
        Setting {
            bench: Bench::new(),
            dir: tempfile::tempdir().unwrap(),
            opened: Arc::default(),
            durable: Arc::default(),
            decided: Arc::default(),
            statistics: Arc::default(),
            floor: Arc::default(),
        }
    }

    fn store(&self, bodies: &[Vec<u8>]) {
        let last = self.bench.store_all(bodies).last_sequence();
        self.durable.store(last, Ordering::Relaxed);
        self.decided.set(last);
    }

    /// As after a start.
    fn pull(&self, types: &[&str]) -> Pull {
        let storage = Arc::new(Disk::create(self.dir.path()).unwrap());
        let floor = RetentionHolds::new(Arc::clone(&self.floor));
        let journal = JournalId::parse("1").unwrap();
        let (cursors, _) = Cursors::open(storage, journal, self.decided.get(), floor).unwrap();
        let feeds = self.bench.feeds();
        let opened = Arc::clone(&self.opened);
        let durable = Arc::clone(&self.durable);
        Pull::new(
            Source {
                open: Box::new(move |next| {
                    opened.fetch_add(1, Ordering::Relaxed);
                    feeds.open(&Arc::default(), next).1
                }),
                durable: Box::new(move || durable.load(Ordering::Relaxed)),
                decided: Arc::clone(&self.decided),
            },
            Selection {
                types: types.iter().map(|it| Pattern::new(it)).collect(),
                ..Selection::default()
            },
            cursors.of("pull").unwrap(),
            Arc::clone(&self.statistics),
        )
    }
}

/// A body with so many messages and then so many statuses.
fn body(messages: usize, statuses: usize) -> Vec<u8> {
    let mut text = String::from(
        "{\"object\":\"whatsapp_business_account\",\"entry\":[{\"id\":\"1\",\"changes\":[{\"field\":\"messages\",\
         \"value\":{\"metadata\":{\"phone_number_id\":\"2\"},\"messages\":[",
    );
    let list = |text: &mut String, count, kind: &str| {
        for at in 0..count {
            let comma = if at > 0 { "," } else { "" };
            write!(text, "{comma}{{\"id\":\"wamid.{at}\",\"from\":\"3\",\"recipient_id\":\"3\",{kind},\"timestamp\":\"1\"}}").unwrap();
        }
    };
    list(&mut text, messages, "\"type\":\"text\"");
    text.push_str("],\"statuses\":[");
    list(&mut text, statuses, "\"status\":\"sent\"");
    text.push_str("]}}]}]}");
    text.into_bytes()
}

fn ask(after: Option<&str>, lane: Option<Lane>, limit: usize) -> Ask {
    Ask {
        after: after.map(item),
        lane,
        limit,
    }
}

fn item(text: &str) -> Item {
    text.parse().unwrap()
}

/// The sequences of a page, and where the next one begins.
fn page(pull: &Pull, ask: Ask) -> (Vec<String>, String) {
    let page = pull.page(&ask).unwrap();
    let lines = page.bytes.split_inclusive(|&byte| byte == b'\n');
    let sequences: Vec<String> = lines
        .map(|line| serde_json::from_slice::<Value>(line).unwrap())
        .map(|event| event["position"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(sequences.len(), page.events);
    (sequences, page.next.to_string())
}

#[test]
fn pages_follow_each_other_with_one_reader() {
    let setting = Setting::new();
    for _ in 0..20 {
        setting.store(&[body(3, 0), body(0, 1), body(2, 0)]);
    }
    let pull = setting.pull(&[]);
    let (mut after, mut all) = (None, Vec::new());
    // By what the page says, and by what its last event does, in turn.
    for turn in 0.. {
        let (sequences, next) = page(&pull, ask(after.as_deref(), None, 4));
        let Some(last) = sequences.last().cloned() else {
            assert_eq!(next, "60");
            break;
        };
        all.extend(sequences);
        after = Some(if turn % 2 == 0 { next } else { last });
    }
    let expected = (1..=60).flat_map(|sequence| {
        let count = [2, 3, 1][sequence % 3];
        (0..count).map(move |index| format!("{sequence}.{index}"))
    });
    assert_eq!(all, expected.collect::<Vec<_>>());
    assert_eq!(setting.opened.load(Ordering::Relaxed), 1);
    assert_eq!(setting.statistics.events.get(), 120);
    assert_eq!(setting.statistics.unaccounted.get(), 0);
    // Who asks for something else gets it, whatever the others read.
    assert_eq!(page(&pull, ask(Some("7.1"), None, 2)).0, ["7.2", "8.0"]);
}

#[test]
fn what_is_left_out_is_passed_over_and_balances() {
    let setting = Setting::new();
    setting.store(&[body(1, 2), body(0, 3), body(0, 1), body(1, 0), body(0, 2)]);
    let pull = setting.pull(&["whatsapp.message.*"]);
    let read = |after, limit| page(&pull, ask(after, None, limit));
    let owned = |list: &[&str], next: &str| {
        let list: Vec<String> = list.iter().map(|it| (*it).to_owned()).collect();
        (list, next.to_owned())
    };
    // Up to where the next one stands that is wanted, whose notification begins with it.
    assert_eq!(read(None, 1), owned(&["1.0"], "3"));
    assert_eq!(read(Some("1.0"), 9), owned(&["4.0"], "5"));
    assert_eq!(read(Some("4"), 9), owned(&[], "5"));
    assert_eq!(setting.statistics.unaccounted.get(), 0);
    assert_eq!(setting.statistics.events.get(), 2);
    let every = setting.pull(&[]);
    let lane = |lane, after| page(&every, ask(after, Some(lane), 2));
    assert_eq!(lane(Lane::Statuses, None), owned(&["1.1", "1.2"], "1"));
    assert_eq!(
        lane(Lane::Statuses, Some("1")),
        owned(&["2.0", "2.1"], "2.1")
    );
    assert_eq!(lane(Lane::Messages, None), owned(&["1.0", "4.0"], "5"));
    assert_eq!(lane(Lane::Rest, None), owned(&[], "5"));
    assert_eq!(setting.statistics.unaccounted.get(), 0);
}

#[test]
fn a_cursor_stands_between_any_two_events_and_never_goes_back() {
    let setting = Setting::new();
    setting.store(&[body(1, 0), body(2, 2), body(1, 0)]);
    let pull = setting.pull(&[]);
    // Of nothing that was handed out before, as after a restart.
    pull.commit(item("2.1"), None).unwrap();
    for pull in [pull, setting.pull(&[])] {
        assert_eq!(pull.committed(None), item("2.1"));
        assert_eq!(page(&pull, ask(None, None, 9)).0, ["2.2", "2.3", "3.0"]);
        assert_eq!(setting.statistics.confirmed.get(), 1);
        assert_eq!(setting.floor.load(Ordering::Relaxed), 2);
        for back in ["0", "1", "1.0", "2.0"] {
            let error = pull.commit(item(back), None);
            assert!(matches!(error, Err(PullError::Back { .. })), "{back}");
        }
        for beyond in ["4", "4.0", "18446744073709551615"] {
            let error = pull.commit(item(beyond), None);
            assert!(matches!(error, Err(PullError::Beyond { .. })), "{beyond}");
            let error = pull.page(&ask(Some(beyond), None, 1));
            assert!(matches!(error, Err(PullError::Beyond { .. })), "{beyond}");
        }
    }
    let pull = setting.pull(&[]);
    pull.commit(item("3"), Some(Lane::Messages)).unwrap();
    assert_eq!(pull.committed(None), item("2.1"), "the other lanes stand");
    assert_eq!(pull.committed(Some(Lane::Messages)), item("3"));
    pull.commit(item("2.3"), None).unwrap();
    assert_eq!(pull.committed(None), item("2"));
    assert_eq!(pull.committed(Some(Lane::Messages)), item("3"));
    pull.commit(item("3.0"), None).unwrap();
    assert_eq!(setting.pull(&[]).committed(None), item("3"));
    assert_eq!(setting.statistics.confirmed.get(), 3);
}

/// The last event of a notification and the notification as a whole are one place, whichever is said.
#[test]
fn what_is_committed_may_be_committed_again() {
    for lane in [None, Some(Lane::Messages), Some(Lane::Statuses)] {
        let setting = Setting::new();
        setting.store(&[body(1, 0), body(2, 2), body(0, 1)]);
        let pull = setting.pull(&[]);
        for position in ["0", "1.0", "1", "2.0", "2.1", "2.3", "2", "3.0", "3"] {
            for pull in [&pull, &pull, &setting.pull(&[])] {
                let again = pull.commit(item(position), lane);
                assert!(again.is_ok(), "{position} of {lane:?}: {again:?}");
            }
        }
    }
}

/// After a kill nothing may be decided again yet.
#[test]
fn where_the_cursor_stands_may_be_committed_right_after_a_start() {
    let setting = Setting::new();
    setting.store(&[body(1, 0), body(1, 0), body(1, 0)]);
    setting.pull(&[]).commit(item("2"), None).unwrap();
    let pull = setting.pull(&[]);
    setting.decided.set(0);
    for lane in [None, Some(Lane::Messages)] {
        for position in ["2", "2.0"] {
            let again = pull.commit(item(position), lane);
            assert!(again.is_ok(), "{position} of {lane:?}: {again:?}");
        }
        let back = pull.commit(item("1.0"), lane);
        assert!(matches!(back, Err(PullError::Back { .. })), "{back:?}");
        for position in ["3", "3.0"] {
            let other = pull.commit(item(position), lane);
            assert!(matches!(other, Err(PullError::Undecided(_))), "{other:?}");
        }
        assert_eq!(pull.committed(lane), item("2"));
    }
}

#[test]
fn at_the_end_there_is_nothing_until_something_comes() {
    let setting = Setting::new();
    let pull = setting.pull(&[]);
    let nothing = pull.page(&ask(None, None, 1)).unwrap();
    assert!(nothing.is_at_end && nothing.events == 0);
    assert_eq!(nothing.next, item("0"));
    setting.store(&[body(1, 0)]);
    assert_eq!(page(&pull, ask(Some("0"), None, 1)).0, ["1.0"]);
    setting.store(&[body(1, 0)]);
    assert_eq!(page(&pull, ask(Some("1"), None, 1)).0, ["2.0"]);
    assert_eq!(setting.opened.load(Ordering::Relaxed), 1);
}

#[test]
fn a_page_ends_before_it_is_too_large_but_not_before_its_first_event() {
    let setting = Setting::new();
    let large = |bytes| format!("{{\"x\":\"{}\"}}", "x".repeat(bytes)).into_bytes();
    // A page of the largest size takes 149 of these.
    for _ in 0..10 {
        let bodies: Vec<Vec<u8>> = (0..20).map(|_| large(56 << 10)).collect();
        for body in bodies {
            setting.store(&[body]);
        }
    }
    let pull = setting.pull(&[]);
    let mut after = item("0");
    let mut events = 0;
    while events < 200 {
        let page = pull
            .page(&ask(Some(&after.to_string()), None, 10_000))
            .unwrap();
        assert!(page.bytes.len() <= super::page::BYTES_MAX);
        assert!(page.events > 0);
        events += page.events;
        after = page.next;
    }
    assert_eq!((events, after), (200, item("200")));
}
