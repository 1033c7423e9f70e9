//! What is a duplicate, held against a map of all keys.

use super::journals::{Journal, Shape, button, messages};
use super::*;

#[test]
fn it_finds_what_a_map_of_all_keys_finds() {
    for seed in 0..8 {
        let shape = Shape {
            batches: 40,
            keys: 150,
            pace: 60_000_000,
        };
        let journal = Journal::random(seed, shape);
        let right = journal.repeated();
        assert!(right.len() > 50);
        for tags in [Tags::new(), Tags::few()] {
            let disk = SimulatedDisk::new(seed);
            let storage = disk.storage();
            let mut dedupe = open_at(storage, &PLENTY, tags, 1, journal.last()).unwrap();
            assert_eq!(decide_rest(&mut dedupe, &journal), right, "seed {seed}");
            assert_eq!(read_back(&disk, &journal, journal.last()), right);
        }
    }
}

#[test]
fn generations_go_as_the_journal_says() {
    let mut differ = 0;
    for seed in 0..8 {
        let shape = Shape {
            batches: 120,
            keys: 300,
            pace: [1_000_000, 600_000_000][usize::from(seed % 2 == 0)],
        };
        let journal = Journal::random(seed, shape);
        let options = Options {
            window: DAY / 2,
            keys: 100 + seed * 20,
            scope: Scope::Endpoint,
        };
        let right = journal.repeated_within(&options);
        differ += usize::from(right != journal.repeated());
        let disk = SimulatedDisk::new(seed);
        let mut dedupe = open(&disk, &options, &journal);
        assert_eq!(decide_rest(&mut dedupe, &journal), right, "seed {seed}");
        // A delivery may go beyond by what it holds.
        assert!(dedupe.keys() as u64 <= options.keys + 24);
    }
    assert!(differ > 4, "the limits were met");
}

fn one(received_at: u64, body: String) -> Vec<(u64, String)> {
    vec![(received_at, body)]
}

const NOW: u64 = 1_750_000_000_000_000;

fn found(journal: &Journal, options: &Options) -> Vec<u64> {
    let disk = SimulatedDisk::new(1);
    let mut dedupe = open(&disk, options, journal);
    let found = decide_rest(&mut dedupe, journal);
    found.iter().map(|position| position.sequence).collect()
}

#[test]
fn a_key_is_remembered_for_the_window_and_a_duplicate_remembers_it_again() {
    let mut journal = Journal::default();
    let days = [0, 5, 12, 19, 40, 48];
    for day in 0..50 {
        // Others come all the time, and generations with them.
        let now = NOW + day * DAY;
        let ids: &[u64] = if days.contains(&day) { &[7] } else { &[] };
        journal.push(vec![(now, messages(&[1000 + day])), (now, messages(ids))]);
    }
    // From day 19 to day 40 there are 21 days.
    let repeats = [5, 12, 19, 48].map(|day| 2 * day + 2);
    assert_eq!(found(&journal, &PLENTY), repeats);
}

#[test]
fn an_earlier_update_of_one_body_or_batch_counts() {
    let mut journal = Journal::default();
    journal.push(vec![
        (NOW, messages(&[1, 2, 1])),
        (NOW, messages(&[2])),
        (NOW, messages(&[3])),
    ]);
    let disk = SimulatedDisk::new(1);
    let found = decide_rest(&mut open(&disk, &PLENTY, &journal), &journal);
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["1.2", "2.0"]);
}

#[test]
fn a_weak_key_counts_for_ten_minutes() {
    let mut journal = Journal::default();
    let minute = 60_000_000;
    for at in [0, 9, 18, 28, 39, 39] {
        let body = r#"{"object":"x","entry":[]}"#;
        journal.push(one(NOW + at * minute, body.to_owned()));
    }
    assert_eq!(found(&journal, &PLENTY), [2, 3, 4, 6]);
}

#[test]
fn the_test_button_is_never_a_duplicate() {
    let mut journal = Journal::default();
    for at in 0..5 {
        journal.push(one(NOW + at, button()));
    }
    assert_eq!(found(&journal, &PLENTY), [0_u64; 0]);
}

/// Whatever the clock says in between, an hour later what was there before is known. An eighth of the window was
/// forgotten with each jump once, and a sixteenth of the memory.
#[test]
fn a_clock_that_jumps_makes_the_memory_forget_nothing() {
    let back_and_forth = |by: u64, times: u64| -> Vec<u64> {
        let moment = |at| [NOW + by + at, NOW + at];
        (0..times).flat_map(moment).collect()
    };
    let ahead_in_days: Vec<u64> = (1..=100).map(|day| NOW + day * DAY).collect();
    let patterns = [
        back_and_forth(DAY, 16),
        back_and_forth(10 * DAY, 100),
        back_and_forth(10_000 * DAY, 20),
        back_and_forth(DAY / 2, 200)
            .iter()
            .map(|at| at - DAY)
            .collect(),
        vec![1; 20],
        ahead_in_days,
    ];
    for (readings, number) in patterns.into_iter().zip(0..) {
        let mut journal = Journal::default();
        journal.push(one(NOW, messages(&[7])));
        for (reading, id) in readings.into_iter().zip(100..) {
            journal.push(one(reading, messages(&[id])));
        }
        journal.push(one(NOW + DAY / 24, messages(&[7])));
        // And what came while the clock was wrong, but for 1970, which is long ago by any clock.
        journal.push(one(NOW + DAY / 24, messages(&[101])));
        let last = journal.last();
        let right = if number == 4 {
            vec![last - 1]
        } else {
            vec![last - 1, last]
        };
        assert_eq!(found(&journal, &PLENTY), right, "pattern {number}");
    }
}

/// What has no id of its own is delivered rather twice than not at all.
#[test]
fn a_weak_key_of_a_time_that_is_to_come_does_not_count() {
    let mut journal = Journal::default();
    let minute = 60_000_000;
    for at in [NOW + DAY, NOW, NOW + 20 * minute, NOW + 15 * minute] {
        let body = r#"{"object":"x","entry":[]}"#;
        journal.push(one(at, body.to_owned()));
    }
    assert_eq!(found(&journal, &PLENTY), [4]);
}

#[test]
fn time_that_passes_bounds_the_memory() {
    let mut journal = Journal::default();
    // A window of an hour, and something every three seconds.
    for number in 0..4000 {
        journal.push(one(NOW + number * 3_000_000, messages(&[number])));
    }
    let hour = Options {
        window: DAY / 24,
        ..PLENTY
    };
    let mut dedupe = open(&SimulatedDisk::new(1), &hour, &journal);
    decide_rest(&mut dedupe, &journal);
    assert!((1200..1800).contains(&dedupe.keys()), "{}", dedupe.keys());
}

#[test]
fn deliveries_come_in_order_and_once() {
    let shape = Shape {
        batches: 3,
        keys: 5,
        pace: 1,
    };
    let journal = Journal::random(1, shape);
    let disk = SimulatedDisk::new(1);
    let mut dedupe = open(&disk, &PLENTY, &journal);
    let mut deliveries: Vec<EventBatch> = journal.deliveries(1).collect();
    dedupe.decide(&mut deliveries[0]).unwrap();
    let wanted = deliveries[1].first_sequence();
    let error = dedupe.decide(&mut deliveries[0]).unwrap_err();
    assert!(matches!(error, DedupeError::OutOfOrder { wanted: it, first: 1 } if it == wanted));
    // A gap is what damage has left.
    dedupe.decide(&mut deliveries[2]).unwrap();
    assert_eq!(dedupe.decided(), journal.last());
}
