use super::{Cause, Quarantine, joined};
use crate::dead_letter::{DeadLetterError, DeadLetters, WORKER};
use crate::disk::simulated::{Fault, SimulatedDisk};
use crate::disk::{Disk, Storage};
use crate::event::Unparsed;
use crate::feed::tests::{Bench, batch};
use crate::feed::{Durable, EventOutcome, Origin as _, Selection};
use crate::journal::JournalId;
use crate::worker::poison::{GuardedExtractor, PANICS};
use crate::worker::{EventBatch, Extraction, Poison};
use std::fs;
use std::path::Path;
use std::sync::Arc;

const FINE: &[u8] = br#"{"this":"is fine"}"#;

fn journal(number: u128) -> JournalId {
    JournalId::parse(&format!("{number:032x}")).unwrap()
}

fn dead_letters(dir: &Path) -> DeadLetters {
    DeadLetters::open(Arc::new(Disk::create(&dir.join("letters")).unwrap())).unwrap()
}

fn open_from(dir: &Path, oldest: u64) -> Quarantine {
    let storage: Arc<dyn Storage> = Arc::new(Disk::create(dir).unwrap());
    let paths = Box::new(|number| format!("/{number}"));
    Quarantine::open(&storage, (journal(1), oldest), dead_letters(dir), paths).unwrap()
}

fn open(dir: &Path) -> Quarantine {
    open_from(dir, 1)
}

fn look(dir: &Path) -> Arc<Poison> {
    Arc::new(Poison::read(&Disk::open(dir).unwrap(), journal(1)).unwrap())
}

fn kinds(delivery: &EventBatch) -> Vec<(u64, Option<Unparsed>)> {
    let events = delivery.events().iter();
    events
        .map(|event| (event.sequence(), event.unparsed()))
        .collect()
}

fn poisoned(delivery: &EventBatch) -> Vec<u64> {
    delivery.poisoned().map(|it| it.sequence).collect()
}

fn written(dir: &Path) -> Vec<String> {
    let listed = dead_letters(dir).list().unwrap();
    listed.iter().map(|it| it.item.to_string()).collect()
}

/// Writes the file as a version before or as damage would have left it.
fn write_decisions(dir: &Path, head: &str, lines: &str) {
    let text = format!("{head}\nprogram 0.0.9\njournal {}\n{lines}", journal(1));
    let crc = crc32c::crc32c(text.as_bytes());
    fs::write(dir.join("verdicts"), format!("{text}crc32c {crc:08x}\n")).unwrap();
}

#[test]
fn a_body_that_panics_is_one_dead_letter_and_dead_in_the_books() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    for _ in 0..2 {
        // A worker, and a sink that catches up.
        let delivery =
            Extraction::sparing(quarantine.poison()).make(batch(7, &[FINE, PANICS, FINE]));
        let bad = Some(Unparsed::Poisoned);
        assert_eq!(kinds(&delivery), [(7, None), (8, bad), (9, None)]);
        assert_eq!(delivery.made_from(0), 3);
        quarantine.keep(&delivery).unwrap();
        assert_eq!(written(dir.path()), ["8"]);
        let everything = Selection::default();
        let outcomes = delivery.events().iter().map(|it| everything.outcome(it, 1));
        assert!(outcomes.eq([
            EventOutcome::Wanted,
            EventOutcome::Dead,
            EventOutcome::Wanted
        ]));
    }
    let letter = dead_letters(dir.path()).read("8".parse().unwrap()).unwrap();
    assert_eq!(
        (letter.sink.as_str(), letter.endpoint.as_str()),
        (WORKER, "/1")
    );
    assert_eq!(letter.content.body, PANICS);
    assert!(letter.failures.reason.contains("panics"));
    // So it stays, also for one who could take it apart, and for him that only reads.
    for poison in [Arc::clone(open(dir.path()).poison()), look(dir.path())] {
        let delivery = Extraction::sparing(&poison).make(batch(7, &[FINE, PANICS]));
        assert_eq!(poisoned(&delivery), [8]);
        assert_eq!(poison.poisoned(), [8]);
    }
    // Dropped, it does not come back.
    dead_letters(dir.path())
        .drop_dead_letter("8".parse().unwrap())
        .unwrap();
    let quarantine = open(dir.path());
    let delivery = Extraction::sparing(quarantine.poison()).make(batch(8, &[PANICS]));
    quarantine.keep(&delivery).unwrap();
    assert!(written(dir.path()).is_empty());
}

/// A decision is about a body: in a journal that was put back from an older copy, another one may get its sequence.
#[test]
fn another_body_with_that_sequence_is_not_meant() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    assert!(
        quarantine
            .set_aside(&batch(7, &[FINE, PANICS]), 8, Cause::ByHand)
            .unwrap()
    );
    assert!(
        !quarantine
            .set_aside(&batch(7, &[FINE, PANICS]), 9, Cause::ByHand)
            .unwrap()
    );
    let delivery = Extraction::sparing(quarantine.poison()).make(batch(7, &[PANICS, FINE]));
    assert_eq!(
        poisoned(&delivery),
        [7],
        "it panics, and the other one is fine"
    );
    let other = Poison::read(&Disk::open(dir.path()).unwrap(), journal(2)).unwrap();
    assert!(other.poisoned().is_empty(), "another journal's");
    assert_eq!(
        open_from(dir.path(), 9).poison().poisoned(),
        [0; 0],
        "retired"
    );
}

#[test]
fn a_decision_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let fine = || batch(8, &[FINE]);
    open(dir.path())
        .set_aside(&fine(), 8, Cause::ByHand)
        .unwrap();
    assert_eq!(
        poisoned(&Extraction::sparing(open(dir.path()).poison()).make(fine())),
        [8]
    );
    assert!(open(dir.path()).take_back(8).unwrap());
    assert!(!open(dir.path()).take_back(8).unwrap());
    assert!(poisoned(&Extraction::sparing(open(dir.path()).poison()).make(fine())).is_empty());
}

/// Each step may be the last one: there is no decision without its dead letter, and never two of them.
#[test]
fn the_dead_letter_is_there_before_the_decision() {
    let bench = SimulatedDisk::new(1);
    let storage = bench.storage();
    let letters_disk = SimulatedDisk::new(2);
    let open = || {
        let letters = DeadLetters::open(letters_disk.storage()).unwrap();
        Quarantine::open(
            &storage,
            (journal(1), 1),
            letters,
            Box::new(|_| String::new()),
        )
        .unwrap()
    };
    let quarantine = open();
    bench.fail_once(1, Fault::Broken);
    let delivery = Extraction::new().make(batch(8, &[PANICS]));
    quarantine.keep(&delivery).unwrap_err();
    let letters = DeadLetters::open(letters_disk.storage()).unwrap();
    assert_eq!(letters.list().unwrap().len(), 1);
    assert!(open().poison().poisoned().is_empty(), "it was not written");
    quarantine.keep(&delivery).unwrap();
    assert_eq!(open().poison().poisoned(), [8], "who tries again writes it");
    assert_eq!(letters.list().unwrap().len(), 1);
}

/// What the process was at is suspect until somebody has looked, and nothing is decided by that, however often it is
/// killed and whatever it was at.
#[test]
fn kills_decide_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for start in 0..200 {
        let quarantine = open(dir.path());
        assert!(quarantine.poison().poisoned().is_empty(), "{start}");
        assert_eq!(
            quarantine.poison().decisions().suspect,
            if start > 0 { vec![(7, 7)] } else { vec![] }
        );
        let guarded = GuardedExtractor::new(quarantine.poison());
        // A batch of one record, which is all that a large body is.
        guarded.leave_word(7, 7);
        std::mem::forget(guarded);
    }
    assert!(written(dir.path()).is_empty());
}

#[test]
fn who_wants_a_suspect_waits_until_somebody_has_looked() {
    let dir = tempfile::tempdir().unwrap();
    write_decisions(
        dir.path(),
        "hookline-poison 2",
        "suspect 7 9\nsuspect 9 12\nsuspect 40 41\n",
    );
    let quarantine = open_from(dir.path(), 8);
    assert_eq!(quarantine.poison().decisions().suspect, [(8, 12), (40, 41)]);
    assert!(quarantine.has_to_be_examined());
    // Others go on.
    drop(Extraction::sparing(quarantine.poison()).make(batch(13, &[FINE])));
    let waiting = Arc::clone(quarantine.poison());
    let waiting = std::thread::spawn(move || {
        drop(Extraction::sparing(&waiting).make(batch(12, &[FINE])));
    });
    let bench = Bench::new();
    let journal = bench.feeds().journal;
    // Nobody has said how to start a child: nothing is proven, and everything goes on.
    quarantine.examine(&journal, None, &false.into());
    waiting.join().unwrap();
    assert!(quarantine.poison().poisoned().is_empty() && !quarantine.has_to_be_examined());
    assert!(open(dir.path()).poison().first_suspect().is_none());
}

#[test]
fn ranges_that_touch_are_one() {
    let ranges = vec![(40, 41), (9, 12), (1, 2), (7, 8), (9, 10)];
    assert_eq!(joined(ranges, 2), [(2, 2), (7, 12), (40, 41)]);
}

/// What a version before has passed as `whatsapp.unparsed` stays that, and is a dead letter from now on.
#[test]
fn what_a_version_before_has_decided_keeps_its_form() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new();
    bench.store_all(&[FINE.to_vec(), FINE.to_vec(), FINE.to_vec()]);
    write_decisions(
        dir.path(),
        "hookline-poison 1",
        "suspect 1 3\ncondemned 2\ncondemned 70\n",
    );
    let quarantine = open(dir.path());
    quarantine.examine(&bench.feeds().journal, None, &false.into());
    for poison in [
        quarantine.poison(),
        open(dir.path()).poison(),
        &look(dir.path()),
    ] {
        let delivery = Extraction::sparing(poison).make(batch(1, &[FINE, FINE, FINE]));
        let as_before = Some(Unparsed::Crashed);
        assert_eq!(kinds(&delivery), [(1, None), (2, as_before), (3, None)]);
        assert!(poison.poisoned().is_empty());
        quarantine.keep(&delivery).unwrap();
    }
    assert_eq!(written(dir.path()), ["2"], "70 is not in the journal");
    assert!(open(dir.path()).take_back(2).unwrap());
    let delivery = Extraction::sparing(open(dir.path()).poison()).make(batch(2, &[FINE]));
    assert_eq!(kinds(&delivery), [(2, None)]);
}

/// One that panicked was a dead letter and passed as `whatsapp.unparsed`, without being in the file.
#[test]
fn dead_letters_of_a_version_before_keep_their_form() {
    let dir = tempfile::tempdir().unwrap();
    let bench = batch(2, &[FINE]);
    assert!(
        open(dir.path())
            .set_aside(&bench, 2, Cause::Panics)
            .unwrap()
    );
    let mut letter = dead_letters(dir.path()).read("2".parse().unwrap()).unwrap();
    "whatsapp.unparsed".clone_into(&mut letter.kind);
    dead_letters(dir.path()).add(&letter).unwrap();
    fs::remove_file(dir.path().join("verdicts")).unwrap();
    let delivery = Extraction::sparing(open(dir.path()).poison()).make(batch(2, &[FINE]));
    assert_eq!(kinds(&delivery), [(2, Some(Unparsed::Crashed))]);
}

#[test]
fn where_the_file_is_damaged_the_dead_letters_say_it() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path())
        .set_aside(&batch(2, &[FINE]), 2, Cause::ByHand)
        .unwrap();
    let path = dir.path().join("verdicts");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("poisoned 2", "poisoned 3")).unwrap();
    fs::write(dir.path().join("marks"), [7; 100]).unwrap();
    assert_eq!(open(dir.path()).poison().poisoned(), [2]);
    fs::remove_file(&path).unwrap();
    assert_eq!(open(dir.path()).poison().poisoned(), [2], "gone");
}

/// A full directory, or a full disk, holds the delivery back: nothing passes without its dead letter.
#[test]
fn without_room_for_the_dead_letter_nothing_passes() {
    let disk = SimulatedDisk::new(2);
    let letters = DeadLetters::open(disk.storage()).unwrap();
    let storage = SimulatedDisk::new(1).storage();
    let paths = Box::new(|_| String::new());
    let quarantine = Quarantine::open(&storage, (journal(1), 1), letters, paths).unwrap();
    let bench = Bench::new();
    let status = Arc::clone(&bench.status);
    let mut origin = Durable::new(status, &Arc::new(quarantine), &Arc::default());
    disk.fail_once(1, Fault::NoSpace);
    let refused = origin.make(batch(8, &[PANICS])).unwrap_err();
    assert!(refused.is_shortage(), "{refused}");
    let full = DeadLetterError::Full {
        path: String::new(),
    };
    assert!(crate::feed::FeedError::from(full).is_shortage());
    assert_eq!(poisoned(&origin.make(batch(8, &[PANICS])).unwrap()), [8]);
    let letters = DeadLetters::open(disk.storage()).unwrap();
    assert_eq!(letters.list().unwrap().len(), 1);
}
