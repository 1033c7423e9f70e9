//! Letters of one body share it.

use super::{DeadLetters, dead_letter_of, item};
use crate::dead_letter::file::body_of;
use crate::dead_letter::{Content, DeadLetter, DeadLetterError};
use crate::disk::simulated::{Faults, SimulatedDisk};
use crate::disk::{Access, Disk, Storage, write_all_at};
use crate::event::{self, Item};
use crate::worker::{EventBatch, Extraction};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::sync::Arc;

/// A notification with so many messages.
fn delivery(sequence: u64, messages: usize) -> EventBatch {
    let message = |number| {
        format!(
            r#"{{"id":"wamid.{sequence}.{number}","from":"49{number}","type":"text","text":{{"body":"{number:0200}"}}}}"#
        )
    };
    let messages: Vec<String> = (0..messages).map(message).collect();
    let body = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{"metadata":{{"phone_number_id":"5"}},"messages":[{}]}}}}]}}]}}"#,
        messages.join(",")
    );
    let headers = [(b"x-sig".as_slice(), b"a\xff\"\n".as_slice())];
    let came = (3, 0, 1_750_000_000_000_001);
    Extraction::new().make_one(sequence, came, headers.into_iter(), body.as_bytes())
}

/// The letter of one of its events, as a sink writes it.
fn sharing(letters: &DeadLetters, delivery: &EventBatch, index: u32) -> DeadLetter {
    let notification = delivery.notifications(0).next().unwrap();
    let content = letters.content_of(&notification);
    let alone = dead_letter_of(delivery, Some(index));
    assert_eq!(alone.content, content);
    DeadLetter { content, ..alone }
}

fn rendered(delivery: &EventBatch, index: u32) -> Vec<u8> {
    let notification = delivery.notifications(0).next().unwrap();
    let mut line = Vec::new();
    let event = notification.event(index).unwrap();
    event::render(event, notification.record.body, &mut line);
    line
}

fn bodies(storage: &dyn Storage) -> Vec<String> {
    let mut names = storage.list().unwrap();
    names.retain(|name| body_of(name).is_some());
    names
}

fn bytes(storage: &dyn Storage) -> u64 {
    let length = |name: String| {
        let file = storage.open(&name, Access::Read).unwrap();
        file.length().unwrap()
    };
    storage.list().unwrap().into_iter().map(length).sum()
}

/// Each event of a body that was refused stored the whole body: 60,000 of one of 3 MB would have taken 240 GB.
#[test]
fn dead_letters_of_one_body_share_it() {
    let dir = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Disk::create(dir.path()).unwrap());
    let mut letters = DeadLetters::open(Arc::clone(&storage)).unwrap();
    let live = delivery(4711, 400);
    let body = live.notifications(0).next().unwrap().record.body.len() as u64;
    for index in 0..200 {
        let letter = sharing(&letters, &live, index);
        letters.add(&letter).unwrap();
    }
    let rest: Vec<_> = (200..400)
        .map(|it| dead_letter_of(&live, Some(it)))
        .collect();
    letters.add_all(&rest).unwrap();
    assert_eq!(letters.bodies.written, 1);
    let bytes = bytes(&*storage);
    assert!(bytes < 5 * body, "{bytes} for {body}");

    let verb = DeadLetters::read_only(Arc::clone(&storage));
    assert_eq!(verb.list().unwrap().len(), 400);
    for index in [0, 7, 399] {
        let read = verb.read(item(&format!("4711.{index}"))).unwrap();
        assert_eq!(read, dead_letter_of(&live, Some(index)));
        let again = read.delivery(3, &mut Extraction::new());
        assert_eq!(rendered(&again, index), rendered(&live, index));
    }
    // The next life finds it, and adds to it.
    let mut letters = DeadLetters::open(Arc::clone(&storage)).unwrap();
    assert!(letters.bodies.bytes > body);
    letters.add(&sharing(&letters, &live, 3)).unwrap();
    assert_eq!((letters.bodies.written, bodies(&*storage).len()), (0, 1));
    for listed in verb.list().unwrap() {
        assert_eq!(bodies(&*storage).len(), 1);
        verb.drop_dead_letter(listed.item).unwrap();
        letters.retries().unwrap();
    }
    assert!(storage.list().unwrap().is_empty());
    assert_eq!(letters.bodies.bytes, 0);
}

/// Their bytes are bounded, and room comes back.
#[test]
fn there_is_an_end_to_their_bytes() {
    let disk = SimulatedDisk::new(1);
    let mut letters = DeadLetters::open(disk.storage()).unwrap();
    letters.bodies.bytes_max = 100_000;
    for sequence in [1, 2, 3] {
        let letter = dead_letter_of(&delivery(sequence, 80), Some(0));
        letters.add(&letter).unwrap();
    }
    let fourth = dead_letter_of(&delivery(4, 80), Some(0));
    let full = letters.add(&fourth);
    assert!(
        matches!(full, Err(DeadLetterError::Full { .. })),
        "{full:?}"
    );
    // What shares a body that is there has room.
    let shared = dead_letter_of(&delivery(3, 80), Some(1));
    letters.add(&shared).unwrap();
    let verb = DeadLetters::read_only(disk.storage());
    verb.drop_dead_letter(item("2.0")).unwrap();
    letters.add(&fourth).unwrap();
    assert_eq!(bodies(&*disk.storage()).len(), 3);
}

/// A letter of the form before has its body in it. It is read, and takes the new form when it fails again.
#[test]
fn dead_letters_of_the_form_before_are_read() {
    let storage = SimulatedDisk::new(1).storage();
    let live = delivery(7, 80);
    for index in [0, 1] {
        let letter = dead_letter_of(&live, Some(index));
        let file = storage.create(&format!("7.{index}.retry")).unwrap();
        write_all_at(&*file, &mut [IoSlice::new(&letter.encode(None))], 0).unwrap();
    }
    let mut letters = DeadLetters::open(Arc::clone(&storage)).unwrap();
    assert_eq!(letters.retries().unwrap(), [item("7.0"), item("7.1")]);
    let read = letters.read(item("7.0")).unwrap();
    assert_eq!(read, dead_letter_of(&live, Some(0)));
    letters.failed_again(&read).unwrap();
    assert_eq!(bodies(&*storage).len(), 1);
    assert_eq!(letters.read(item("7.0")).unwrap(), read);
    let other = letters.read(item("7.1")).unwrap();
    assert_eq!(other, dead_letter_of(&live, Some(1)));
}

#[test]
fn damage_to_a_body_is_reported_and_healed() {
    let disk = SimulatedDisk::new(1);
    let mut letters = DeadLetters::open(disk.storage()).unwrap();
    let live = delivery(7, 80);
    letters.add(&dead_letter_of(&live, Some(0))).unwrap();
    let name = bodies(&*disk.storage()).remove(0);
    disk.damage(&name, |bytes| {
        let at = bytes.len() / 2;
        bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
    });
    let verb = DeadLetters::read_only(disk.storage());
    let error = verb.read(item("7.0")).unwrap_err().to_string();
    assert!(
        error.contains("7.0.json") && error.contains(&name),
        "{error}"
    );
    assert!(error.contains("its body is not the one"), "{error}");
    letters.forget();
    letters.add(&dead_letter_of(&live, Some(1))).unwrap();
    assert_eq!(
        verb.read(item("7.0")).unwrap(),
        dead_letter_of(&live, Some(0))
    );
    disk.storage().remove(&name).unwrap();
    let verb = DeadLetters::read_only(disk.storage());
    let error = verb.read(item("7.0")).unwrap_err().to_string();
    assert!(error.contains("there is no such file"), "{error}");
    for wrong in [
        "../7.00000000.body",
        "8.00000000.body",
        "7.0.body",
        "7.0.json",
    ] {
        let text = dead_letter_of(&live, Some(0)).encode(Some(wrong));
        let error = DeadLetter::decode(&text).unwrap_err();
        assert!(error.contains("is no file of its body"), "{error}");
    }
}

/// Cuts the power after so many operations; false if all was done before.
fn power_cut(power_off_at: u64) -> bool {
    let (first, second) = (delivery(1, 40), delivery(2, 40));
    let all = [(&first, 0), (&first, 1), (&second, 0), (&first, 2)];
    let all = all.map(|(delivery, index)| dead_letter_of(delivery, Some(index)));
    let disk = SimulatedDisk::new(power_off_at);
    let mut letters = DeadLetters::open(disk.storage()).unwrap();
    disk.set_faults(Faults {
        power_off_at: Some(power_off_at),
        ..Faults::default()
    });
    let mut promised = BTreeSet::new();
    let mut work = || -> Result<(), DeadLetterError> {
        letters.add(&all[0])?;
        promised.insert(all[0].item);
        letters.add_all(&all[1..3])?;
        promised.extend([all[1].item, all[2].item]);
        letters.request_retry(all[0].item)?;
        letters.failed_again(&all[0])?;
        letters.request_retry(all[2].item)?;
        promised.remove(&all[2].item);
        letters.done(all[2].item)?;
        letters.retries()?;
        letters.add(&all[3])?;
        promised.insert(all[3].item);
        for letter in [&all[0], &all[1], &all[3]] {
            promised.remove(&letter.item);
            letters.drop_dead_letter(letter.item)?;
        }
        letters.retries()?;
        letters.sync()
    };
    let is_done = work().is_ok();
    for seed in 0..48 {
        let storage = disk.after_power_cut_of(seed).storage();
        let mut after = DeadLetters::open(Arc::clone(&storage)).unwrap();
        let there: BTreeSet<Item> = after.list().unwrap().iter().map(|it| it.item).collect();
        assert!(there.is_superset(&promised), "{power_off_at}: {there:?}");
        for item in &there {
            let expected = all.iter().find(|it| it.item == *item).unwrap();
            assert_eq!(&after.read(*item).unwrap(), expected, "{power_off_at}");
        }
        after.retries().unwrap();
        let needed: BTreeSet<u64> = there.iter().map(|it| it.sequence).collect();
        assert_eq!(bodies(&*storage).len(), needed.len(), "{power_off_at}");
    }
    !is_done
}

/// At whatever moment the power goes: no letter is without its body, and no body without a letter stays.
#[test]
fn dead_letters_and_their_bodies_outlive_the_power() {
    let cuts = (1..300).take_while(|at| power_cut(*at)).count();
    assert!((30..298).contains(&cuts), "{cuts}");
}

fn content() -> impl Strategy<Value = Content> {
    let text = || vec(any::<u8>(), 0..40);
    let body = prop_oneof![vec(any::<u8>(), 0..100), vec(any::<u8>(), 4000..5000)];
    (vec((text(), text()), 0..4), body).prop_map(|(headers, body)| Content { headers, body })
}

/// What somebody does.
#[derive(Clone, Debug)]
enum Step {
    Add(u64, u32),
    Retry(u64, u32),
    Drop(u64, u32),
    Done(u64, u32),
    FailedAgain(u64, u32),
    Look,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    (0..9_u8, 1..4_u64, 0..3_u32).prop_map(|(what, sequence, index)| match what {
        0..3 => Step::Add(sequence, index),
        3 => Step::Retry(sequence, index),
        4 => Step::Drop(sequence, index),
        5 => Step::Done(sequence, index),
        6 => Step::FailedAgain(sequence, index),
        7 => Step::Look,
        _ => Step::Restart,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn a_content_is_read_as_it_was_written(
        one in content(),
        other in content(),
        sequence in 1..u64::MAX,
    ) {
        let name = one.file_name(sequence);
        prop_assert_eq!(Content::decode(&one.encode(), &name), Ok(one.clone()));
        prop_assert_eq!(Content::decode(&other.encode(), &name).is_ok(), one == other);
        let mut cut = one.encode();
        cut.truncate(cut.len() / 2);
        prop_assert!(Content::decode(&cut, &name).is_err());
    }

    /// Whatever verbs and server do one after the other: a letter that is there is whole, and a body without one goes.
    #[test]
    fn whatever_is_done_a_dead_letter_has_its_body(
        contents in btree_map(1..4_u64, content(), 3),
        steps in vec(step(), 0..40),
    ) {
        let storage = SimulatedDisk::new(1).storage();
        let mut server = DeadLetters::open(Arc::clone(&storage)).unwrap();
        let verb = DeadLetters::read_only(Arc::clone(&storage));
        let letter = |sequence, index| DeadLetter {
            item: Item { sequence, index: Some(index) },
            content: Arc::new(contents[&sequence].clone()),
            ..dead_letter_of(&delivery(sequence, 1), Some(0))
        };
        let mut there: BTreeMap<Item, DeadLetter> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Add(sequence, index) => {
                    let letter = letter(sequence, index);
                    server.add(&letter).unwrap();
                    there.insert(letter.item, letter);
                }
                Step::Retry(sequence, index) => {
                    let item = letter(sequence, index).item;
                    prop_assert_eq!(verb.request_retry(item).is_ok(), there.contains_key(&item));
                }
                Step::Drop(sequence, index) => {
                    let item = letter(sequence, index).item;
                    prop_assert_eq!(verb.drop_dead_letter(item).is_ok(), there.remove(&item).is_some());
                }
                Step::Done(sequence, index) => {
                    let item = letter(sequence, index).item;
                    server.done(item).unwrap();
                    there.remove(&item);
                }
                Step::FailedAgain(sequence, index) => {
                    server.failed_again(&letter(sequence, index)).unwrap();
                }
                Step::Look => drop(server.retries().unwrap()),
                Step::Restart => server = DeadLetters::open(Arc::clone(&storage)).unwrap(),
            }
            let fresh = DeadLetters::read_only(Arc::clone(&storage));
            prop_assert_eq!(fresh.list().unwrap().len(), there.len());
            for (item, letter) in &there {
                prop_assert_eq!(&fresh.read(*item).unwrap(), letter);
                prop_assert_eq!(&verb.read(*item).unwrap(), letter);
            }
        }
        server.retries().unwrap();
        let large = |sequence: &u64| !contents[sequence].is_small();
        let needed: BTreeSet<u64> = there.keys().map(|it| it.sequence).filter(large).collect();
        prop_assert_eq!(bodies(&*storage).len(), needed.len());
    }
}
