mod life;

use super::{CursorError, Cursors, OPEN_MAX, Saved, read_all};
use crate::disk::text::{CRC32C, seal};
use crate::disk::{Disk, Storage};
use crate::event::Item;
use crate::feed::{Lanes, Open, Progress, RetentionHolds};
use crate::journal::JournalId;
use crate::journal::frame::NUMBER_END;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory of cursors, and the journal that it belongs to.
struct Site {
    dir: tempfile::TempDir,
    lowest: Arc<AtomicU64>,
}

impl Site {
    fn new() -> Site {
        Site {
            dir: tempfile::tempdir().unwrap(),
            lowest: Arc::default(),
        }
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(Disk::create(self.dir.path()).unwrap())
    }

    /// As at a start of a journal that ends with `last`; gives what was put right, too.
    fn open(&self, journal: JournalId, last: u64) -> (Cursors, Vec<(String, u64, u64)>) {
        let floor = RetentionHolds::new(Arc::clone(&self.lowest));
        let (cursors, corrected) = Cursors::open(self.storage(), journal, last, floor).unwrap();
        let corrected = corrected.into_iter();
        let reported = corrected.map(|it| {
            (
                it.sink,
                it.was.lanes[0].confirmed,
                it.now.lanes[0].confirmed,
            )
        });
        (cursors, reported.collect())
    }

    fn file(&self, sink: &str) -> PathBuf {
        self.dir.path().join(format!("{sink}.cursor"))
    }

    fn saved(&self, sink: &str) -> u64 {
        let all = read_all(&*self.storage()).unwrap();
        let mine = all.into_iter().find(|found| found.sink == sink);
        crate::feed::confirmed(&mine.unwrap().saved.unwrap().lanes)
    }
}

fn journal(number: u128) -> JournalId {
    JournalId::parse(&format!("{number:032x}")).unwrap()
}

#[test]
fn a_cursor_is_durable_and_moves_the_floor() {
    let site = Site::new();
    let (cursors, _) = site.open(journal(1), 1000);
    let lowest = || site.lowest.load(Ordering::Relaxed);
    assert_eq!(lowest(), u64::MAX, "without a sink nothing is needed");
    let mut first = cursors.of("first").unwrap();
    let mut second = cursors.of("second").unwrap();
    assert_eq!((first.confirmed(), lowest()), (0, 1));
    first.save(up_to(100)).unwrap();
    assert_eq!(lowest(), 1);
    second.save(up_to(50)).unwrap();
    assert_eq!(lowest(), 51);
    let (again, corrected) = site.open(journal(1), 1000);
    assert_eq!(again.of("first").unwrap().confirmed(), 100);
    assert!(corrected.is_empty());
}

/// Whoever looks into the journal is to see that a sink is there which has confirmed nothing yet.
#[test]
fn a_new_sink_has_a_cursor_at_once() {
    let site = Site::new();
    let _ = site.open(journal(1), 7).0.of("crm").unwrap();
    assert_eq!(site.saved("crm"), 0);
}

/// As version 3 has written it.
fn version_3(journal: JournalId, lanes: Lanes) -> Vec<u8> {
    let text = super::render(&Saved {
        journal,
        lanes,
        moved: 0,
    });
    let text = seal(format!("{}{text}", super::TITLE_3), CRC32C);
    let mut bytes = text.into_bytes();
    bytes.resize(4096, b'\n');
    bytes
}

#[test]
fn a_cursor_is_refused_rather_than_guessed() {
    let site = Site::new();
    let (cursors, _) = site.open(journal(1), 4711);
    cursors.of("sink").unwrap();
    let file = fs::read(site.file("sink")).unwrap();
    let half = file.len() / 2;
    let flipped = (0..half).filter(|at| at % 8 == 0 || *at < 200).map(|at| {
        let mut file = file.clone();
        file[at] ^= 1;
        // What is nearly never so: neither slot is sound.
        file[half + at] ^= 1;
        file
    });
    let text = version_3(journal(1), up_to(4711));
    let flipped_3 = (0..200).map(|at| {
        let mut text = text.clone();
        text[at] ^= 1;
        text
    });
    let content = text.trim_ascii_end().len();
    let cut = (0..content).flat_map(|end| [text[..end].to_vec(), file[..end].to_vec()]);
    let longer = [text.clone(), b"x".to_vec()].concat();
    for damaged in flipped.chain(flipped_3).chain(cut).chain([longer]) {
        fs::write(site.file("sink"), &damaged).unwrap();
        let shown = String::from_utf8_lossy(&damaged);
        let result = cursors.of("sink");
        let is_refused = matches!(
            result,
            Err(CursorError::Damaged { .. } | CursorError::Newer { .. })
        );
        assert!(is_refused, "{shown}");
        // It stays as it is for the person who is to decide, and the other sinks are not concerned.
        let (_, corrected) = site.open(journal(1), 1);
        assert!(corrected.is_empty());
        assert_eq!(fs::read(site.file("sink")).unwrap(), damaged);
    }
}

/// Damage to what was saved last, or to the one before: some events come again, and none is skipped.
#[test]
fn damage_to_one_slot_brings_back_the_save_before() {
    let site = Site::new();
    let (cursors, _) = site.open(journal(1), 4711);
    let mut cursor = cursors.of("sink").unwrap();
    for sequence in [10, 20, 30] {
        cursor.save(up_to(sequence)).unwrap();
    }
    let file = fs::read(site.file("sink")).unwrap();
    // 30 is the fourth save, after the two of the new file.
    for (slot, expected) in [(0, 20), (file.len() / 2, 30)] {
        for at in (0..150).chain([4000]) {
            let mut file = file.clone();
            file[slot + at] ^= 1;
            fs::write(site.file("sink"), &file).unwrap();
            assert_eq!(site.saved("sink"), expected);
        }
    }
    cursor.save(up_to(40)).unwrap();
    assert_eq!(site.saved("sink"), 40);
    drop(cursor);
    assert_eq!(cursors.of("sink").unwrap().confirmed(), 40);
}

/// Sought back, a sink is to get again what it has had; and one that stood beyond the journal must never pass over what
/// comes now.
#[test]
fn what_a_cursor_went_back_from_is_in_neither_slot() {
    let flips = |site: &Site, expected: u64| {
        let file = fs::read(site.file("crm")).unwrap();
        for slot in [0, file.len() / 2] {
            let mut damaged = file.clone();
            damaged[slot + 60] ^= 1;
            fs::write(site.file("crm"), &damaged).unwrap();
            assert_eq!(site.saved("crm"), expected);
        }
        fs::write(site.file("crm"), &file).unwrap();
    };
    let site = Site::new();
    let (cursors, _) = site.open(journal(1), 4711);
    let mut cursor = cursors.of("crm").unwrap();
    for sequence in [10, 20, 4711] {
        cursor.save(up_to(sequence)).unwrap();
    }
    cursor.save(up_to(5)).unwrap();
    flips(&site, 5);
    let mut one_lane = up_to(9);
    cursor.save(one_lane.clone()).unwrap();
    one_lane[2] = Progress::up_to(7);
    cursor.save(one_lane).unwrap();
    flips(&site, 7);
    for sequence in [10, 20, 4711] {
        cursor.save(up_to(sequence)).unwrap();
    }
    drop(cursor);
    let (_, corrected) = site.open(journal(1), 4000);
    assert_eq!(corrected.len(), 1);
    flips(&site, 4000);
    let (_, corrected) = site.open(journal(2), 4000);
    assert_eq!(corrected.len(), 1);
    flips(&site, 0);
}

#[test]
fn one_of_version_3_is_read_and_goes_on_as_version_4() {
    let site = Site::new();
    let mut lanes = up_to(4711);
    lanes[1].confirmed = 3989;
    lanes[1].open = vec![Open {
        item: Item {
            sequence: 3990,
            index: Some(2),
        },
        attempts: 3,
        counted: 2,
    }];
    let text = version_3(journal(1), lanes.clone());
    // Beside it is the one before, as long as any.
    fs::write(site.file("crm"), &text).unwrap();
    fs::write(site.dir.path().join("crm.cursor.old"), &text).unwrap();
    let (cursors, corrected) = site.open(journal(1), 5000);
    assert!(corrected.is_empty());
    let mut cursor = cursors.of("crm").unwrap();
    assert_eq!(cursor.saved(), &lanes);
    assert!(!cursor.is_new());
    assert_eq!(fs::read(site.file("crm")).unwrap(), text, "only read");
    lanes[0] = Progress::up_to(4712);
    cursor.save(lanes.clone()).unwrap();
    let file = fs::read_to_string(site.file("crm")).unwrap();
    assert!(
        file.starts_with("hookline-cursor 4\nsave 0\njournal 0"),
        "{file}"
    );
    assert_eq!(cursors.of("crm").unwrap().saved(), &lanes);
    // For whoever goes back to the version before.
    let before = fs::read(site.dir.path().join("crm.cursor.old")).unwrap();
    assert_eq!(before, text);
}

/// The next version begins its title in the same way.
#[test]
fn one_of_a_newer_version_is_named_as_such_and_left_alone() {
    let site = Site::new();
    let (cursors, _) = site.open(journal(1), 4711);
    for text in [
        "hookline-cursor 5\n".to_owned(),
        format!("hookline-cursor 41\n{}", "x\n".repeat(9000)),
    ] {
        fs::write(site.file("sink"), &text).unwrap();
        let error = cursors.of("sink").err().unwrap();
        assert!(error.to_string().contains("by a newer version"), "{error}");
        assert!(site.open(journal(2), 1).1.is_empty());
        assert_eq!(fs::read_to_string(site.file("sink")).unwrap(), text);
    }
}

/// A journal whose last commit was damaged, or that was restored from an older backup, gives sequences to other
/// records that a sink has confirmed before.
#[test]
fn a_cursor_beyond_the_journal_goes_back_for_good() {
    let site = Site::new();
    site.open(journal(1), 6)
        .0
        .of("crm")
        .unwrap()
        .save(up_to(6))
        .unwrap();
    let (cursors, corrected) = site.open(journal(1), 4);
    assert_eq!(corrected, [("crm".to_owned(), 6, 4)]);
    let cursor = cursors.of("crm").unwrap();
    assert_eq!(
        (cursor.confirmed(), site.lowest.load(Ordering::Relaxed)),
        (4, 5)
    );
    assert_eq!(site.saved("crm"), 4);
}

/// A journal was restored from an older backup, whose end a sink had passed. The sink was not configured for the next
/// starts, until the journal had grown beyond the cursor. Nothing was wrong with it then, to look at; and the records
/// between the backup's end and the cursor, which that sink had never seen, were skipped.
#[test]
fn a_sink_that_is_away_while_the_journal_goes_back_misses_nothing() {
    let site = Site::new();
    site.open(journal(1), 6)
        .0
        .of("crm")
        .unwrap()
        .save(up_to(6))
        .unwrap();
    let (others, _) = site.open(journal(1), 4);
    others.of("another").unwrap();
    let (cursors, corrected) = site.open(journal(1), 9);
    assert!(corrected.is_empty());
    assert_eq!(cursors.of("crm").unwrap().confirmed(), 4);
}

/// The segments of a directory were replaced, and the cursors stayed. The new journal was longer than the old one, and
/// all that the cursors claimed to have had was skipped.
#[test]
fn a_cursor_of_another_journal_says_nothing_about_this_one() {
    let site = Site::new();
    site.open(journal(1), 6)
        .0
        .of("crm")
        .unwrap()
        .save(up_to(6))
        .unwrap();
    let (cursors, corrected) = site.open(journal(2), 9);
    assert_eq!(corrected, [("crm".to_owned(), 6, 0)]);
    assert_eq!(cursors.of("crm").unwrap().confirmed(), 0);
    let (_, corrected) = site.open(journal(2), 9);
    assert!(corrected.is_empty(), "it belongs to this one now");
}

/// Which conversations a sink still waits for survives a restart: otherwise everything behind the first of them would
/// come again.
#[test]
fn each_lane_has_a_progress_of_its_own() {
    let site = Site::new();
    let (cursors, _) = site.open(journal(1), 10_000);
    let open = |sequence, index, attempts| Open {
        item: Item { sequence, index },
        attempts,
        counted: attempts - 1,
    };
    let mut lanes = up_to(4711);
    lanes[1] = Progress {
        confirmed: 3989,
        reached: 4702,
        open: vec![open(3990, Some(2), 3), open(4001, None, 1)],
    };
    let mut cursor = cursors.of("crm").unwrap();
    cursor.save(lanes.clone()).unwrap();
    assert_eq!(site.lowest.load(Ordering::Relaxed), 3990);
    assert_eq!(cursors.of("crm").unwrap().saved(), &lanes);
    let (cursors, corrected) = site.open(journal(1), 4000);
    assert_eq!(corrected, [("crm".to_owned(), 4711, 4000)]);
    let saved = cursors.of("crm").unwrap().saved()[1].clone();
    assert_eq!((saved.confirmed, saved.reached), (3989, 4000));
    assert_eq!(saved.open, [open(3990, Some(2), 3)]);
}

#[test]
fn a_cursor_with_as_much_open_as_can_be_is_read() {
    let site = Site::new();
    let (cursors, _) = site.open(journal(1), NUMBER_END);
    let mut lanes = Lanes::default();
    for lane in &mut lanes {
        lane.reached = NUMBER_END - 1;
        lane.open = (0..OPEN_MAX as u64)
            .map(|place| Open {
                item: Item {
                    sequence: NUMBER_END - 1 - OPEN_MAX as u64 + place,
                    index: Some(u32::MAX),
                },
                attempts: u32::MAX,
                counted: u32::MAX,
            })
            .collect();
    }
    cursors.of("crm").unwrap().save(lanes.clone()).unwrap();
    assert_eq!(cursors.of("crm").unwrap().saved(), &lanes);
}

fn up_to(sequence: u64) -> Lanes {
    std::array::from_fn(|_| Progress::up_to(sequence))
}

/// A target that keeps the position itself has to tell a cursor that a person has moved from one that a crash has left
/// behind.
#[test]
fn a_move_is_another_one_each_time_and_a_save_is_none() {
    let site = Site::new();
    let (cursors, _) = site.open(journal(1), 1000);
    let mut cursor = cursors.of("crm").unwrap();
    let made = cursor.moved();
    assert!(made > 0);
    cursor.save(up_to(100)).unwrap();
    assert_eq!(cursors.of("crm").unwrap().moved(), made);
    // To where it is, which is a move all the same.
    cursor.move_to(up_to(100)).unwrap();
    let moved = cursors.of("crm").unwrap().moved();
    assert!(moved > made, "{moved} after {made}");
    cursor.save(up_to(200)).unwrap();
    let again = site.open(journal(1), 1000).0.of("crm").unwrap();
    assert_eq!((again.confirmed(), again.moved()), (200, moved));
    // One that was removed and begins anew was moved too.
    fs::remove_file(site.file("crm")).unwrap();
    assert!(cursors.of("crm").unwrap().moved() > moved);
}
