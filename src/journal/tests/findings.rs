//! Directories that the fuzz target `recovery` came to and that the start or the repair did not stand. Each
//! ends as those of `attacks.rs` do: repaired, and what is missing was named.

use super::attacks::{End, STORED, attack, commit, small_options, stored};
use super::harness::{batch, read_all};
use crate::disk::Access;
use crate::disk::block::ALIGNMENT;
use crate::disk::simulated::SimulatedDisk;
use crate::journal::batch::Seal;
use crate::journal::frame::NUMBER_END;
use crate::journal::manifest::{Hole, Manifest, ManifestFile};
use crate::journal::segment::HEADER_BLOCK;
use crate::journal::{Depth, Journal, JournalError, Options, inspect, manifest, names, repair};
use crate::relay;
use std::io::IoSlice;

fn remove(disk: &SimulatedDisk, names: &[&str]) {
    for name in names {
        disk.storage().remove(name).unwrap();
    }
}

fn remove_manifest(disk: &SimulatedDisk) {
    remove(disk, &[manifest::NAME, manifest::OLD]);
}

/// Changes the bytes of one frame; 0 is the first.
fn damage(disk: &SimulatedDisk, epoch: u64, frame: usize) {
    disk.damage(&names::segment(epoch), |bytes| {
        bytes[(frame + 1) * ALIGNMENT + 16] ^= 1;
    });
}

/// Writes a frame to the place of another one, too.
fn copy(disk: &SimulatedDisk, epoch: u64, from: usize, to: usize) {
    disk.damage(&names::segment(epoch), |bytes| {
        let from = (from + 1) * ALIGNMENT;
        bytes.copy_within(from..from + ALIGNMENT, (to + 1) * ALIGNMENT);
    });
}

/// Without a manifest, what is missing between two segments was only noticed behind one whose frames were all in
/// sequence. Behind another the journal had a gap that no hole spanned: no reader came over it, also after a repair.
#[test]
fn a_segment_is_missing_behind_one_that_is_damaged() {
    for frame in 0..3 {
        let (end, _) = attack(&format!("frame {frame}"), |disk| {
            damage(disk, 1, frame);
            remove(disk, &[&names::segment(2)]);
            remove_manifest(disk);
        });
        assert_eq!(end, End::Repaired);
    }
}

/// A new manifest had a segment of which no frame is left begin where the next one does. If the one before it was full,
/// no hole had a place between them.
#[test]
fn no_frame_is_left_of_a_segment_behind_a_full_one() {
    let (end, _) = attack("all four", |disk| {
        for frame in 0..4 {
            damage(disk, 2, frame);
        }
        remove_manifest(disk);
    });
    assert_eq!(end, End::Repaired);
}

/// A new manifest had every segment begin with what stands at its begin, also if that belongs further on: the same gap
/// behind a full segment, and in the first one the frames between were given up.
#[test]
fn a_frame_stands_in_the_place_of_the_first_one() {
    for (epoch, from) in [(1, 2), (2, 1), (2, 2), (2, 3), (3, 1)] {
        let (end, _) = attack(&format!("frame {from} of {epoch}"), |disk| {
            copy(disk, epoch, from, 0);
            remove_manifest(disk);
        });
        assert_eq!(end, End::Repaired);
    }
}

/// Of all segments only the one that was ready is left, and its length is wrong. The new manifest listed nothing and
/// was stored, and could not be read.
#[test]
fn a_manifest_is_not_made_from_nothing() {
    let empty = |disk: &SimulatedDisk| {
        remove(
            disk,
            &[1, 2, 3].map(names::segment).each_ref().map(|it| &**it),
        );
        remove_manifest(disk);
        disk.truncate(&names::segment(4), 2 * ALIGNMENT);
    };
    let disk = SimulatedDisk::new(1);
    drop(Journal::open(disk.storage(), small_options()).unwrap());
    remove(&disk, &[manifest::NAME, &names::segment(1)]);
    let storage = disk.storage();
    let error = repair(&storage, &SimulatedDisk::new(2)).unwrap_err();
    assert!(
        matches!(error, JournalError::ManifestMissing { .. }),
        "{error}"
    );

    let (end, _) = attack("a ready one", empty);
    assert_eq!(end, End::Repaired);
}

/// A manifest whose checksum holds says that a hole begins at the end of a segment. The start skipped it for ever.
#[test]
fn a_hole_at_the_end_of_a_segment_is_not_skipped_for_ever() {
    let disk = stored();
    let storage = disk.storage();
    let current = Manifest::load(&*storage).unwrap().unwrap();
    let block = ALIGNMENT as u64;
    let hole = |offset, length, first_sequence, count| Hole {
        epoch: 3,
        offset,
        length,
        first_sequence,
        count,
    };
    let begin = HEADER_BLOCK + 2 * block;
    ManifestFile::new(storage, current)
        .change(|manifest| {
            manifest.holes.push(hole(begin, 2 * block, STORED + 1, 1));
            manifest.holes.push(hole(begin + 2 * block, 85, 85, 85));
        })
        .unwrap();
    let journal = Journal::open(disk.storage(), small_options()).unwrap();
    assert_eq!(journal.recovery().next_sequence, 85 + 85);
}

/// A frame whose checksums hold, in a segment that was ready, has a sequence before that of a segment that is lost. The
/// number of sequences that are lost was computed as what is below zero.
#[test]
fn a_frame_of_a_ready_segment_goes_back() {
    let disk = stored();
    let id = Manifest::load(&*disk.storage()).unwrap().unwrap().id;
    let mut forged = batch(&[b"forged"]);
    forged.seal(&Seal {
        epoch: 4,
        salt: id.salt(4),
        first_sequence: 2,
        committed_at: 1,
        durable: 1,
    });
    disk.damage(&names::segment(4), |bytes| {
        bytes[ALIGNMENT..2 * ALIGNMENT].copy_from_slice(forged.frame());
    });
    remove(&disk, &[&names::segment(3)]);
    let repaired = repair(&disk.storage(), &SimulatedDisk::new(2)).unwrap();
    let hole = repaired.set_aside[0].hole;
    assert_eq!((hole.epoch, hole.first_sequence, hole.count), (3, 9, 0));
}

/// Without a manifest, a segment whose header says the last of all epochs got that name, and none was left for the
/// next.
#[test]
fn the_last_of_all_epochs_is_none() {
    let (end, _) = attack("the last epoch", |disk| {
        disk.damage(&names::segment(2), |bytes| {
            bytes[8..16].fill(0xff);
            let crc = crc32c::crc32c(&bytes[..60]);
            bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        });
        remove_manifest(disk);
    });
    assert_eq!(end, End::Repaired);
}

/// An older copy of the active segment lay beside it under a name of no segment, and the header of the segment itself
/// was damaged. The copy got its name, the segment that of the copy, and the next start removed it as one that nobody
/// lists: what had been stored since the copy was gone, and its sequences were given again.
#[test]
fn an_older_copy_does_not_take_the_place_of_frames() {
    let (end, repair) = attack("older copy", |disk| {
        let storage = disk.storage();
        let mut bytes = vec![0; 5 * ALIGNMENT];
        let active = storage.open(&names::segment(3), Access::Read).unwrap();
        active.read_at(&mut bytes, 0).unwrap();
        bytes[ALIGNMENT..].fill(0);
        let copy = storage.create(&names::segment(9)).unwrap();
        copy.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
        disk.damage(&names::segment(3), |bytes| bytes[..ALIGNMENT].fill(0));
    });
    assert_eq!(end, End::Repaired);
    assert_eq!(repair.unwrap().set_aside, []);
}

/// A segment was cut short and damaged up to its end. What may have stood behind it was left out by a hole of no
/// length, which was not stored: the segment after it began where no reader came to.
#[test]
fn a_segment_is_cut_short_behind_damage() {
    for length in [2 * ALIGNMENT + 64, 2 * ALIGNMENT + 70, 3 * ALIGNMENT] {
        let (end, _) = attack(&format!("{length} bytes"), |disk| {
            damage(disk, 3, 0);
            disk.truncate(&names::segment(3), length);
            remove(disk, &[&names::segment(4)]);
        });
        assert_eq!(end, End::Repaired);
    }
}

/// Of a commit that a power cut had torn, a header further on was broken. The start cut what it could read; the frames
/// after it came up to that header, which showed as another torn tail where nothing had been torn.
#[test]
fn a_torn_tail_is_cut_once() {
    let disk = stored();
    disk.damage(&names::segment(3), |bytes| {
        bytes[2 * ALIGNMENT + 100] ^= 1;
        bytes.copy_within(ALIGNMENT..2 * ALIGNMENT, 4 * ALIGNMENT);
        bytes[4 * ALIGNMENT + 60] ^= 1;
    });
    let journal = Journal::open(disk.storage(), small_options()).unwrap();
    let torn = journal.recovery().torn_tail.clone().unwrap();
    assert_eq!((torn.sequence, torn.bytes), (STORED, 3 * ALIGNMENT as u64));
    drop(journal);
    commit(&disk, &small_options(), 2);
    let journal = Journal::open(disk.storage(), small_options()).unwrap();
    assert_eq!(journal.recovery().torn_tail, None);
}

/// The journal ended with the last byte of a segment, and a consumer had had more: there was no place for the hole,
/// and its sequences were given again.
#[test]
fn what_is_left_out_behind_a_full_segment_stands_in_the_next_one() {
    for is_ready in [true, false] {
        let disk = stored();
        commit(&disk, &small_options(), 2);
        if !is_ready {
            let current = Manifest::load(&*disk.storage()).unwrap().unwrap();
            ManifestFile::new(disk.storage(), current)
                .change(|manifest| manifest.segments.retain(|entry| entry.epoch < 4))
                .unwrap();
        }
        let options = Options {
            confirmed: STORED + 4,
            ..small_options()
        };
        for first in [true, false] {
            let journal = Journal::open(disk.storage(), options.clone()).unwrap();
            let recovery = journal.recovery();
            let left_out = recovery.left_out.as_ref();
            let left_out = left_out.map(|it| (it.first_sequence, it.last_sequence));
            assert_eq!(left_out, first.then_some((STORED + 3, STORED + 4)));
            assert_eq!(recovery.next_sequence, STORED + 5);
        }
        commit(&disk, &options, 5);
        let sequences = (1..=STORED + 2).chain(STORED + 5..STORED + 10);
        let found = read_all(&disk.storage(), 0).into_iter().map(|it| it.0);
        assert!(found.eq(sequences), "ready: {is_ready}");
        assert!(inspect(&*disk.storage(), Depth::Full).unwrap().is_whole());
    }
}

/// A hole whose line held had the journal go on close to the last of all numbers, and the commit behind that counted
/// beyond it.
#[test]
fn the_last_of_all_sequences_is_given_and_none_behind_it() {
    let disk = stored();
    let current = Manifest::load(&*disk.storage()).unwrap().unwrap();
    ManifestFile::new(disk.storage(), current)
        .change(|manifest| {
            manifest.holes.push(Hole {
                epoch: 3,
                offset: HEADER_BLOCK + 2 * ALIGNMENT as u64,
                length: ALIGNMENT as u64,
                first_sequence: STORED + 1,
                count: NUMBER_END - 1 - (STORED + 1),
            });
        })
        .unwrap();
    let open = |confirmed| {
        let options = Options {
            confirmed,
            ..small_options()
        };
        Journal::open(disk.storage(), options)
    };
    open(u64::MAX).err().unwrap();
    let journal = open(0).unwrap();
    assert_eq!(journal.recovery().next_sequence, NUMBER_END - 1);
    let status = journal.status();
    let (mut committer, preparer) = journal.split(vec![], Box::new(drop));
    let (inbox, receiver) = relay::channel(2);
    inbox.try_send(batch(&[b"last"])).unwrap();
    committer.turn(&receiver).unwrap();
    inbox.try_send(batch(&[b"none"])).unwrap();
    let error = committer.turn(&receiver).unwrap_err();
    assert!(matches!(error, JournalError::UsedUp), "{error}");
    assert_eq!(status.durable(), NUMBER_END - 1);
    drop(committer);
    drop(preparer);
    assert_eq!(open(0).unwrap().recovery().next_sequence, NUMBER_END);
}

/// The active segment had lost its header, and what was behind its first frame. Its length was a multiple of a block,
/// so it was taken for whole, and the sequence of the second frame was given again.
#[test]
fn a_segment_without_header_is_as_long_as_another_one() {
    let (end, repair) = attack("no header, cut short", |disk| {
        disk.truncate(&names::segment(3), 2 * ALIGNMENT);
        disk.damage(&names::segment(3), |bytes| bytes[..ALIGNMENT].fill(0));
    });
    assert_eq!(end, End::Repaired);
    let hole = repair.unwrap().set_aside[0].hole;
    assert_eq!(hole.first_sequence, STORED);
    assert!(hole.count > 1, "{hole:?}");
}

/// A manifest from before an endpoint was configured came back, and the next new path got the number that the records
/// have.
#[test]
fn an_older_manifest_gives_no_number_to_another_path() {
    let disk = stored();
    let current = Manifest::load(&*disk.storage()).unwrap().unwrap();
    ManifestFile::new(disk.storage(), current)
        .change(|manifest| manifest.endpoints.clear())
        .unwrap();
    for said in [1, 0] {
        let repaired = repair(&disk.storage(), &SimulatedDisk::new(2)).unwrap();
        assert_eq!(repaired.put_right.len(), said, "{repaired:?}");
    }
    let journal = Journal::open(disk.storage(), small_options()).unwrap();
    assert_eq!(journal.endpoints().number("/other").unwrap(), 2);
}

/// A drive had written the third frame of a full segment to the place of the last one too, and the third itself was
/// damaged: its copy, in sequence, came up to the end of the segment. No byte was left for a hole that spans what the
/// last frame had, and no reader came over the gap, also after a repair. It was found in a segment that lay under the
/// name of the next, which was cut to nothing.
#[test]
fn what_is_missing_at_the_end_of_a_segment_has_a_place() {
    for is_elsewhere in [false, true] {
        let (end, repair) = attack(&format!("elsewhere: {is_elsewhere}"), |disk| {
            copy(disk, 2, 2, 3);
            damage(disk, 2, 0);
            damage(disk, 2, 2);
            if is_elsewhere {
                let names = [2, 3].map(names::segment);
                disk.storage().exchange(&names[0], &names[1]).unwrap();
                disk.truncate(&names[0], 0);
            }
        });
        assert_eq!(end, End::Repaired);
        let holes = repair.unwrap().set_aside.into_iter().map(|it| it.hole);
        let taken = holes.map(|it| (it.epoch, it.first_sequence, it.count));
        let taken: Vec<_> = taken.filter(|(epoch, ..)| *epoch == 2).collect();
        assert_eq!(taken, [(2, 5, 1), (2, 7, 0), (2, 8, 1)]);
    }
}

/// A segment that had been repaired was damaged again, and what was set aside then began where something was already.
/// The hole that was there stood for less, and the journal had a gap.
#[test]
fn what_was_set_aside_is_not_in_the_way_of_the_next_repair() {
    let changes = |disk: &SimulatedDisk, epoch: u64, change: usize| match change {
        0..4 => damage(disk, epoch, change),
        4 => remove(disk, &[&names::segment(epoch)]),
        _ => disk.truncate(&names::segment(epoch), (change - 4) * 3 * ALIGNMENT / 4),
    };
    for (epoch, first, second) in (1..=3).flat_map(|epoch| {
        (0..11).flat_map(move |first| (0..11).map(move |second| (epoch, first, second)))
    }) {
        // The last frame of all would pass for one that was torn.
        if epoch == 3 && [first, second].iter().any(|it| (1..4).contains(it)) {
            continue;
        }
        let context = format!("{first} and {second} in segment {epoch}");
        let disk = stored();
        let storage = disk.storage();
        let repair = || repair(&storage, &SimulatedDisk::new(2)).unwrap();
        changes(&disk, epoch, first);
        repair();
        let length = storage.open(&names::segment(epoch), Access::Read);
        let length = length.unwrap().length().unwrap() as usize;
        if second < 4 && length < (second + 2) * ALIGNMENT {
            continue;
        }
        changes(&disk, epoch, second);
        let before = repair();
        let report = inspect(&*storage, Depth::Full).unwrap();
        assert!(report.is_whole(), "{context}: {before:?} leaves {report:?}");
        let again = repair();
        assert!(again.set_aside.is_empty(), "{context}: {again:?}");
        assert!(again.put_right.is_empty(), "{context}: {again:?}");
        let found = read_all(&storage, 0).len() as u64;
        commit(&disk, &small_options(), 6);
        let all = read_all(&storage, 0);
        assert_eq!(all.len() as u64, found + 6, "{context}");
        assert!(all[found as usize].0 > STORED, "{context}: {all:?}");
    }
}

/// A consumer had had more than was there, so its sequences were left out. Then the frame before that hole was damaged,
/// with nothing behind it: it was taken for torn, its sequence was given again, and what came to stand in the place of
/// the hole was passed over by every reader.
#[test]
fn a_hole_says_that_what_stood_before_it_was_durable() {
    let disk = stored();
    let options = Options {
        confirmed: STORED + 2,
        ..small_options()
    };
    drop(Journal::open(disk.storage(), options).unwrap());
    damage(&disk, 3, 1);
    for depth in [Depth::Headers, Depth::Full] {
        let damage = inspect(&*disk.storage(), depth).unwrap().damage;
        assert_eq!(damage.len(), 1, "{damage:?}");
    }
    let error = Journal::open(disk.storage(), small_options())
        .err()
        .unwrap();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    repair(&disk.storage(), &SimulatedDisk::new(2)).unwrap();
    commit(&disk, &small_options(), 3);
    let found = read_all(&disk.storage(), STORED - 1)
        .into_iter()
        .map(|it| it.0);
    let expected = [STORED - 1].into_iter().chain(STORED + 3..STORED + 6);
    assert!(found.eq(expected));
    assert!(inspect(&*disk.storage(), Depth::Full).unwrap().is_whole());
}

/// A torn tail lay behind the end of a segment when the one that was ready was lost, and what may have been given was
/// left out in that one. Then the frame before the torn ones was damaged: its hole came up to them, beyond the sequence
/// with which the next segment begins.
#[test]
fn a_torn_frame_is_not_what_follows_damage() {
    let disk = stored();
    let id = Manifest::load(&*disk.storage()).unwrap().unwrap().id;
    let mut torn = batch(&[b"torn"]);
    torn.seal(&Seal {
        epoch: 3,
        salt: id.salt(3),
        first_sequence: STORED + 2,
        committed_at: 1,
        durable: STORED,
    });
    disk.damage(&names::segment(3), |bytes| {
        bytes[4 * ALIGNMENT..5 * ALIGNMENT].copy_from_slice(torn.frame());
    });
    remove(&disk, &[&names::segment(4)]);
    for lost in [STORED + 1, STORED] {
        let repaired = repair(&disk.storage(), &SimulatedDisk::new(2)).unwrap();
        assert_eq!(repaired.set_aside.len(), 1, "{repaired:?}");
        assert_eq!(repaired.set_aside[0].hole.first_sequence, lost);
        assert!(inspect(&*disk.storage(), Depth::Full).unwrap().is_whole());
        let found = read_all(&disk.storage(), 0).into_iter().map(|it| it.0);
        assert!(found.eq(1..lost));
        if lost > STORED {
            damage(&disk, 3, 1);
        }
    }
    commit(&disk, &small_options(), 3);
    assert_eq!(read_all(&disk.storage(), 0).len() as u64, STORED - 1 + 3);
}

/// A segment was damaged at its end, and so was all that followed; a repair without a manifest had the next one begin
/// there. Then the segment was lost, and a copy from before all that got its name: it went on where the next one
/// begins. The inspection found nothing wrong, and no reader came over it, also after another repair.
#[test]
fn an_older_copy_goes_on_where_the_next_segment_begins() {
    let disk = stored();
    let manifest = Manifest::load(&*disk.storage()).unwrap().unwrap();
    let place = manifest.segments.iter().position(|it| it.epoch == 3);
    let first = manifest.segments[place.unwrap()].first_sequence.unwrap() - 1;
    ManifestFile::new(disk.storage(), manifest)
        .change(|manifest| {
            manifest.segments[place.unwrap()].first_sequence = Some(first);
            manifest.holes.push(Hole {
                epoch: 3,
                offset: HEADER_BLOCK,
                length: ALIGNMENT as u64,
                first_sequence: first,
                count: 2,
            });
        })
        .unwrap();
    let damage = inspect(&*disk.storage(), Depth::Full).unwrap().damage;
    assert_eq!(damage.len(), 1, "{damage:?}");
    let hole = damage[0].hole;
    assert_eq!((hole.epoch, hole.first_sequence, hole.count), (2, first, 0));
    repair(&disk.storage(), &SimulatedDisk::new(2)).unwrap();
    assert!(inspect(&*disk.storage(), Depth::Full).unwrap().is_whole());
    let found = read_all(&disk.storage(), 0).into_iter().map(|it| it.0);
    assert!(found.eq((1..first).chain(first + 2..=STORED)));
}
