use super::{BYTES_MAX, InFlight, InFlightSet, Source};
use crate::event::Item;
use crate::feed::tests::batch;
use crate::worker::{EventBatch, Extraction};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn one(source: Source, index: u32, batch: &Arc<EventBatch>) -> InFlight {
    let item = Item {
        sequence: 8,
        index: Some(index),
    };
    InFlight {
        events: 1,
        conversations: vec![u64::from(index)],
        ..InFlight::new(source, batch, item, 0)
    }
}

/// A notification with as many messages, between two others.
fn delivery(messages: usize, padding: usize) -> Arc<EventBatch> {
    let padding = "x".repeat(padding);
    let message = |number| {
        format!(
            r#"{{"id":"wamid.{number}","from":"49{number}","type":"text","text":{{"body":"{padding}"}}}}"#
        )
    };
    let messages: Vec<String> = (0..messages).map(message).collect();
    let body = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{"metadata":{{"phone_number_id":"5"}},"messages":[{}]}}}}]}}]}}"#,
        messages.join(",")
    );
    let bodies = ["{}".to_owned(), body, "{}".to_owned()];
    Arc::new(Extraction::new().make(batch(7, &bodies)))
}

/// Each of the events of a body that failed had a copy of the whole body, which was taken apart for it again.
#[test]
fn what_fails_of_one_body_shares_one_copy_that_is_taken_apart_once() {
    let (mut undone, delivery) = (InFlightSet::default(), delivery(100, 100));
    for source in [Source::Lane(0), Source::Replay] {
        for index in 0..100 {
            undone.enter(one(source, index, &delivery));
        }
    }
    let now = Instant::now();
    let mut given = Vec::new();
    for round in 0..3 {
        for source in [Source::Lane(0), Source::Replay] {
            while let Some((attempt, _, items)) = undone.take(source, 1) {
                let expected = if round == 0 { 7..=9 } else { 8..=8 };
                let delivery = &items[0].batch;
                assert_eq!(*expected.start(), delivery.first_sequence());
                assert_eq!(*expected.end(), delivery.last_sequence());
                let tickets = undone.ended(attempt);
                undone.get_mut(tickets[0]).unwrap().first_failed = Some(1);
                undone.postpone(tickets[0], now);
                given.extend(tickets);
            }
        }
        assert!(undone.wake(now + Duration::from_secs(1)).is_empty());
    }
    assert_eq!((given.len(), undone.copied), (600, 1));
    let copies: Vec<_> = given
        .iter()
        .map(|it| &undone.get(*it).unwrap().batch)
        .collect();
    assert!(copies.iter().all(|copy| Arc::ptr_eq(copy, copies[0])));
    assert_eq!(Arc::strong_count(&delivery), 1, "the batch is released");
    // What comes behind in their conversations shares it too.
    undone.enter(one(Source::Lane(0), 0, &delivery));
    assert_eq!((undone.copied, Arc::strong_count(&delivery)), (1, 1));
}

#[test]
fn what_is_undone_is_bounded_in_bytes() {
    let (mut undone, large) = (InFlightSet::default(), delivery(100, 30_000));
    for index in 0..100 {
        undone.enter(one(Source::Lane(1), index, &large));
    }
    let bytes = undone.bytes[1];
    assert_eq!(bytes, large.bytes(), "it counts once");
    undone.bytes[1] = BYTES_MAX;
    assert!(undone.is_full(Source::Lane(1)) && !undone.is_full(Source::Lane(0)));
    undone.bytes[1] = bytes;
    let now = Instant::now();
    for _ in 0..100 {
        if let Some((attempt, ..)) = undone.take(Source::Lane(1), 1) {
            for ticket in undone.ended(attempt) {
                undone.done(ticket);
            }
        }
        undone.wake(now);
    }
    assert_eq!((undone.bytes[1], undone.held.len()), (0, 0));
}

/// Bytes of all batches that are kept, and how many there are.
fn kept(undone: &InFlightSet) -> (usize, usize) {
    let mut batches: Vec<_> = undone.entries.values().map(|it| &it.batch).collect();
    batches.sort_unstable_by_key(|batch| Arc::as_ptr(batch));
    batches.dedup_by(|a, b| Arc::ptr_eq(a, b));
    (
        batches.iter().map(|batch| batch.bytes()).sum(),
        batches.len(),
    )
}

/// Of each batch a sink took one small event, and that alone counted: batches of half a gigabyte were kept.
#[test]
fn an_item_counts_as_all_that_it_keeps_in_memory() {
    let (mut undone, mut maker) = (InFlightSet::default(), Extraction::new());
    let body = format!(r#"{{"x":"{}"}}"#, "y".repeat(2_000));
    let source = Source::Lane(2);
    let mut batches = Vec::new();
    for first in (1..).step_by(60).take(300) {
        let all = (first..first + 60).map(|sequence| batch(sequence, &[&body]));
        let together = Arc::new(maker.make_all(&mut all.collect()));
        batches.push(together.bytes());
        // Of one it takes two.
        let sequences = [first + 7, first + 8];
        for sequence in sequences.into_iter().take(1 + usize::from(first == 1)) {
            let item = Item {
                sequence,
                index: None,
            };
            undone.enter(InFlight::new(source, &together, item, 0));
        }
    }
    assert!(batches.iter().sum::<usize>() > BYTES_MAX);
    let (bytes, count) = kept(&undone);
    assert_eq!((undone.bytes[2], count), (bytes, 300), "each once");
    // Where much is kept already, what is little of its batch has a copy of its own.
    let most = BYTES_MAX / 2 + batches[0] + 300 * 8_000;
    assert!(undone.copied > 100 && bytes < most, "{bytes}");

    // And so does what waits for another attempt.
    let mut tickets = Vec::new();
    while let Some((attempt, ..)) = undone.take(source, 1) {
        tickets.extend(undone.ended(attempt));
    }
    for ticket in &tickets {
        undone.postpone(*ticket, Instant::now());
    }
    let (bytes, count) = kept(&undone);
    assert_eq!((undone.bytes[2], count), (bytes, 301));
    assert!(bytes < 300 * 8_000, "{bytes}");
    for ticket in tickets {
        undone.done(ticket);
    }
    assert_eq!((undone.bytes[2], undone.held.len()), (0, 0));
}

/// Letters that are tried again are no more than fit, whatever their events take beside their bodies.
#[test]
fn dead_letters_under_way_are_bounded_in_bytes() {
    let (mut undone, mut maker) = (InFlightSet::default(), Extraction::new());
    let (mut letters, mut bytes) = (0, 0);
    let batch = delivery(10_000, 1);
    while !undone.is_full(Source::DeadLetter) {
        let alone = Arc::new(maker.alone(&batch, 8).unwrap());
        bytes += alone.bytes();
        letters += 1;
        undone.enter(one(Source::DeadLetter, letters, &alone));
    }
    assert_eq!(undone.bytes[3], bytes);
    assert!((3..100).contains(&letters), "{letters}");
}
