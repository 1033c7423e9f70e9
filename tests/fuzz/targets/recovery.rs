//! The journal's directory, damaged in any way: opening, reading, inspecting and repairing it.
//!
//! A small valid journal, see `image.rs`, gets edits: bytes overwritten, files cut, swapped, removed or copied,
//! lines of the manifest changed, a repair between. In half of the inputs the checksums are made right again behind
//! the edits, so that the code is reached that trusts them.
//!
//! What must hold for any directory, also for one with a manifest or checksums that a forger has made:
//!
//! - Nothing panics, a reader comes to an end, and so does a repair. No file grows beyond a bound.
//! - Opening it twice gives the same: the same journal and no torn tail any more, and no file differs; or the same
//!   error.
//! - What is appended to a journal that opens does not show as a torn tail, at the next start or later. Where a forger
//!   has put a frame behind the end, the next start may refuse instead.
//! - All that holds as well for what a repair leaves. Frames of a forger can contradict each other, so it may be that
//!   this does not open.
//!
//! And where the edits leave checksums and manifest alone, as every fault of a disk does:
//!
//! - No record is made up: what is read has the body that was stored under its sequence.
//! - What is appended after a start or a repair stands under the next sequence, and is there after another start.
//! - What a reader gives up to its end or its error has no gap but what it says was set aside.
//! - A reader meets damage if and only if the full inspection does.
//! - A repair succeeds as long as anything tells that there was a journal, and loses nothing that could be read. The
//!   journal is whole then at every depth, and opens. A second repair finds nothing and changes nothing.

#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use hookline::testing::disk::Storage;
use hookline::testing::disk::block::ALIGNMENT;
use hookline::testing::journal::batch::Batch;
use hookline::testing::journal::frame::NUMBER_END;
use hookline::testing::journal::{Depth, Journal, JournalError, Reader, Recovery, inspect, repair};
use hookline::testing::relay;
use hookline_fuzz::edit::{EPOCHS, Edit, Line};
use hookline_fuzz::image::{self, Image, MANIFEST, NEXT_SEQUENCE, segment_name};
use hookline_fuzz::memory::Memory;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let image = image::build();
    let report = open(&image.files).expect("the image is a valid journal");
    assert_eq!(
        (report.first_sequence, report.next_sequence),
        (1, NEXT_SEQUENCE)
    );
    assert_eq!(report.torn_tail, None);
    assert!(read(&image.files, 0).is_whole());
    assert_eq!(read(&image.files, 0).bodies, image.bodies);
    image
});

fuzz_target!(|input: Input| check(&input));

fn check(input: &Input) {
    let files = IMAGE.files.copy();
    for edit in &input.edits {
        edit.apply(&files);
    }
    let honest = !input.forged && input.manifest.is_none();
    if input.forged {
        for epoch in EPOCHS {
            files.edit(&segment_name(epoch), |bytes| {
                image::fix_checksums(bytes, epoch)
            });
        }
        let text = String::from_utf8_lossy(&files.get(MANIFEST)).into_owned();
        let body = text.rsplit_once("checksum ").map_or("", |(body, _)| body);
        files.put(MANIFEST, image::with_checksum(body.to_owned()));
    }
    if let Some(lines) = &input.manifest {
        let lines: Vec<String> = lines.iter().map(Line::text).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        files.put(MANIFEST, image::manifest(&lines));
    }
    let _ = inspect(&files, Depth::Headers);
    let before = read(&files, 0);
    if honest {
        before.check_bodies();
    }
    if input.repair {
        repaired(&files, &before, honest);
    } else if let Some(first) = opened(&files, honest) {
        // A repair leaves out what may have been given.
        let mut edits = input.edits.iter();
        let as_stored = honest && !edits.any(|edit| matches!(edit, Edit::Repair));
        assert!(!as_stored || first.next_sequence <= NEXT_SEQUENCE);
    }
}

/// Opens the directory, twice, appends, and opens it again. Gives what the first start found, if it succeeds.
fn opened(files: &Memory, honest: bool) -> Option<Recovery> {
    let first = match open(files) {
        Ok(report) => report,
        Err(error) => {
            let left = files.contents();
            assert_eq!(open(files).expect_err("as before"), error);
            assert!(
                files.contents() == left,
                "an attempt that fails again changes nothing"
            );
            return None;
        }
    };
    let left = files.contents();
    let again = open(files).expect("it was opened before");
    let expected = Recovery {
        torn_tail: None,
        ..first.clone()
    };
    assert_eq!(again, expected, "a second start finds the same");
    assert!(files.contents() == left, "a second start changes nothing");
    if honest {
        let found = read(files, 0);
        let report = inspect(files, Depth::Full).expect("it was opened");
        assert_eq!(report.is_whole(), found.is_whole(), "{report:?} {found:?}");
        found.check_bodies();
        if found.is_whole() {
            assert_eq!(
                found.next, first.next_sequence,
                "all is read that recovery counts"
            );
        }
    }
    if append(files, &first) {
        match open(files) {
            Ok(after) => {
                assert_eq!(after.next_sequence, first.next_sequence + 1);
                assert_eq!(after.torn_tail, None);
                let last = read(files, first.next_sequence);
                let last = last.bodies.get(&first.next_sequence);
                assert_eq!(last.map(Vec::as_slice), Some(APPENDED));
            }
            // A forged header may stand right behind what was appended.
            Err(error) => assert!(!honest, "{error}"),
        }
    }
    Some(first)
}

/// Sets all damage aside, and goes on.
fn repaired(files: &Memory, before: &Read, honest: bool) {
    let storage: Arc<dyn Storage> = Arc::new(files.clone());
    let repair_all = || repair(&storage, &Memory::default());
    let repair = match repair_all() {
        Ok(repair) => repair,
        Err(JournalError::ManifestMissing { .. }) => return,
        Err(error) => return assert!(!honest, "{error}"),
    };
    if !honest {
        let _ = opened(files, false);
        return;
    }
    for depth in [Depth::Headers, Depth::Full] {
        let report = inspect(files, depth).expect("it was repaired");
        assert!(report.is_whole(), "{repair:?} leaves {report:?}");
    }
    let after = read(files, 0);
    assert!(after.is_whole(), "{repair:?} leaves {after:?}");
    let left = files.contents();
    let again = repair_all().expect("it was repaired");
    assert_eq!(
        (again.set_aside, again.put_right),
        (Vec::new(), Vec::new()),
        "a second repair behind {repair:?}"
    );
    assert!(files.contents() == left, "a second repair changes nothing");
    let recovery = opened(files, false);
    let recovery = recovery.unwrap_or_else(|| panic!("{repair:?} leaves {:?}", open(files)));
    assert!(before.bodies.keys().all(|it| *it < recovery.next_sequence));
    for (sequence, body) in &after.bodies {
        assert_eq!(IMAGE.bodies.get(sequence), Some(body));
    }
    for (sequence, body) in &before.bodies {
        assert_eq!(
            after.bodies.get(sequence),
            Some(body),
            "{sequence} is lost by {repair:?}"
        );
    }
}

/// Opens the journal and closes it; the error as text.
fn open(files: &Memory) -> std::result::Result<Recovery, String> {
    let journal = Journal::open(Arc::new(files.clone()), image::options());
    let journal = journal.map_err(|error| error.to_string())?;
    Ok(journal.recovery().clone())
}

/// Appends one record if there is room in the active segment.
fn append(files: &Memory, recovery: &Recovery) -> bool {
    let storage: Arc<dyn Storage> = Arc::new(files.clone());
    let journal = Journal::open(storage, image::options()).expect("it was opened before");
    assert_eq!(journal.recovery().next_sequence, recovery.next_sequence);
    let status = journal.status();
    // The thread that has segments ready does not run, so the committer cannot go on in the next one.
    let (committer, _preparer) = journal.split(Vec::new(), Box::new(|_| ()));
    // Nor is anything stored behind the last of all sequences, which only a forged journal comes to.
    if status.room() < ALIGNMENT as u64 || recovery.next_sequence == NUMBER_END {
        return false;
    }
    let mut batch = Batch::unpooled();
    batch.append(1, 0, 0, std::iter::empty(), APPENDED);
    let (inbox, receiver) = relay::channel(1);
    assert!(inbox.try_send(batch).is_ok());
    drop(inbox);
    committer
        .run(&receiver)
        .expect("a directory in memory does not fail");
    assert_eq!(status.durable(), recovery.next_sequence);
    true
}

/// What a reader gave.
#[derive(Debug)]
struct Read {
    bodies: BTreeMap<u64, Vec<u8>>,
    /// Sequence that the reader wants next.
    next: u64,
    error: Option<String>,
    /// Sequences between the first and the last that were not given.
    missing: u64,
    /// Sequences that the reader says a repair has set aside.
    set_aside: u64,
}

impl Read {
    fn is_whole(&self) -> bool {
        self.error.is_none()
    }

    fn check_bodies(&self) {
        for (sequence, body) in &self.bodies {
            assert_eq!(
                IMAGE.bodies.get(sequence),
                Some(body),
                "{sequence} was never stored so"
            );
        }
        let keys = self.bodies.keys();
        assert!(self.missing <= self.set_aside, "a gap in {keys:?}");
    }
}

/// Reads from a sequence on to the end, or to the first error.
fn read(files: &Memory, from: u64) -> Read {
    let mut read = Read {
        bodies: BTreeMap::new(),
        next: from,
        error: None,
        missing: 0,
        set_aside: 0,
    };
    let mut reader = match Reader::open(Arc::new(files.clone()), from) {
        Ok(reader) => reader,
        Err(error) => {
            read.error = Some(error.to_string());
            return read;
        }
    };
    for frame in 0.. {
        assert!(frame < FRAMES_MAX, "the reader does not come to an end");
        match reader.next(None) {
            Ok(Some(batch)) => {
                for (sequence, record) in batch.records_from(from) {
                    let last = read.bodies.last_key_value();
                    // One that goes back counts as more than there can be.
                    let gap = last.map_or(0, |(last, _)| sequence.wrapping_sub(last + 1));
                    read.missing = read.missing.saturating_add(gap);
                    let _ = record.headers().count();
                    read.bodies.insert(sequence, record.body.to_vec());
                }
            }
            Ok(None) => break,
            Err(error) => {
                read.error = Some(error.to_string());
                break;
            }
        }
    }
    read.next = reader.position();
    read.set_aside = reader.set_aside();
    read
}

/// What is done to the image.
#[derive(Debug)]
struct Input {
    /// The checksums are made right behind the edits.
    forged: bool,
    /// The directory is repaired rather than opened as it is.
    repair: bool,
    manifest: Option<Vec<Line>>,
    edits: Vec<Edit>,
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Input> {
        let mode: u8 = input.arbitrary()?;
        let manifest = if mode & 6 == 6 {
            let count = input.int_in_range(0..=8)?;
            let lines: Result<Vec<_>> = (0..count).map(|_| Line::arbitrary(input)).collect();
            Some(lines?)
        } else {
            None
        };
        let mut edits = Vec::new();
        while !input.is_empty() && edits.len() < EDITS_MAX {
            edits.push(Edit::arbitrary(input)?);
        }
        Ok(Input {
            forged: mode & 1 == 1,
            repair: mode & 8 == 8,
            manifest,
            edits,
        })
    }
}

const EDITS_MAX: usize = 12;
/// No directory of a target holds as many.
const FRAMES_MAX: usize = 1000;
const APPENDED: &[u8] = b"appended after recovery";
