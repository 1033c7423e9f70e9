use super::{CursorError, Cursors, OPEN_MAX, read_all};
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

#[test]
fn a_cursor_is_refused_rather_than_guessed() {
    let site = Site::new();
    let (cursors, _) = site.open(journal(1), 4711);
    cursors.of("sink").unwrap().save(up_to(4711)).unwrap();
    let text = fs::read(site.file("sink")).unwrap();
    let flipped = (0..text.len())
        .filter(|at| at % 8 == 0 || *at < 200)
        .map(|at| {
            let mut text = text.clone();
            text[at] ^= 1;
            text
        });
    let content = text.trim_ascii_end().len();
    let cut = (0..content).map(|end| text[..end].to_vec());
    let longer = [text.clone(), b"x".to_vec()].concat();
    for damaged in flipped.chain(cut).chain([longer]) {
        fs::write(site.file("sink"), &damaged).unwrap();
        let shown = String::from_utf8_lossy(&damaged);
        let result = cursors.of("sink");
        assert!(
            matches!(result, Err(CursorError::Damaged { .. })),
            "{shown}"
        );
        // It stays as it is for the person who is to decide, and the other sinks are not concerned.
        let (_, corrected) = site.open(journal(1), 1);
        assert!(corrected.is_empty());
        assert_eq!(fs::read(site.file("sink")).unwrap(), damaged);
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
