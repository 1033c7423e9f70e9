//! Sets damage aside, so that the journal can be opened without it: `hookline journal repair --quarantine`.
//!
//! Nothing is deleted: whatever is written over is copied to a directory of its own first. First segments
//! that have each other's names get their own back, and a manifest that is lost is made again, see
//! `rebuild.rs`. Then all is looked at, and the manifest gets a line for each damage that says that a
//! reader goes on behind it. Only after that the files are made good: a header that does not hold is
//! written again over the frames that do, and for a segment of which nothing can be read a small empty
//! one stands in. A repair that was interrupted is made whole by the next.
//!
//! That holds because everything that is missing has a place: the bytes up to the next whole frame or the
//! end of the segment, and where none are left, that end. So whoever walks a segment comes, from frame to hole, to
//! the sequence with which the next one begins. And a repair takes nobody's word for it: it goes on in rounds, until
//! one has found nothing.
//!
//! No sequence that may have been given is given again: where nothing tells how many are lost, as many
//! are left out as a segment can have. What nothing tells of any more is what a consumer may still know:
//! that is for the next start, see `recovery.rs`.

use super::error::JournalError;
use super::inspect::{Damage, FILE_MISSING, Lost, Survey, survey};
use super::lock;
use super::manifest::{self, Hole, Manifest, ManifestFile};
use super::names;
use super::rebuild;
use super::record::FIXED_LEN;
use super::scan::Depth;
use super::segment::{HEADER_BLOCK, Segment};
use crate::disk::block::{ALIGNMENT, in_memory, on_disk};
use crate::disk::{Access, IoContext, Storage, StorageFile, read_full_at, write_all_at};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

/// What was set aside.
#[derive(Clone, Debug)]
pub struct Repair {
    /// The damage that there was, with the sequences that are lost.
    pub set_aside: Vec<Damage>,
    /// The files that its bytes, and all that was written over, were copied to.
    pub copies: Vec<String>,
    /// What was put right without a loss, one line each.
    pub put_right: Vec<String>,
}

/// Finds all damage, copies it to `quarantine`, and makes the journal in `storage` go on without it.
/// Needs the lock: no other process may have the journal.
pub fn repair(
    storage: &Arc<dyn Storage>,
    quarantine: &dyn Storage,
) -> Result<Repair, JournalError> {
    let _lock = lock(&**storage)?;
    let mut repair = Repair {
        set_aside: Vec::new(),
        copies: Vec::new(),
        put_right: Vec::new(),
    };
    for _ in 0..ROUNDS_MAX {
        let found = round(storage, quarantine)?;
        let is_last = found.set_aside.is_empty() && found.put_right.is_empty();
        repair.set_aside.extend(found.set_aside);
        repair.copies.extend(found.copies);
        repair.put_right.extend(found.put_right);
        if is_last {
            break;
        }
    }
    Ok(repair)
}

/// Finds damage and sets it aside, once.
fn round(storage: &Arc<dyn Storage>, quarantine: &dyn Storage) -> Result<Repair, JournalError> {
    let aside = Aside {
        storage: &**storage,
        quarantine,
    };
    let mut repair = Repair {
        set_aside: Vec::new(),
        copies: Vec::new(),
        put_right: Vec::new(),
    };
    let current = rebuild::current(&**storage)?;
    rebuild::put_back(&**storage, current.as_ref(), &mut repair.put_right)?;
    // What is stored is changed at the end, once; a manifest that was made again is stored in any case.
    let bound = largest(&**storage)? / on_disk(FIXED_LEN);
    let (mut current, stored) = if let Some(stored) = current {
        let mut manifest = stored.clone();
        rebuild::keep_endpoints(&**storage, &mut manifest, &mut repair.put_right)?;
        (manifest, stored)
    } else {
        let manifest = rebuild::rebuild(&**storage, bound, &mut repair.put_right)?;
        for name in [manifest::NAME, manifest::OLD] {
            repair.copies.extend(aside.copy_file(name)?);
        }
        let nothing = Manifest::new(manifest.id);
        (manifest, nothing)
    };
    let Survey {
        report,
        lost,
        adopted,
    } = survey(&**storage, &current, (Depth::Full, 0), Some(bound))?;
    let segments = report.segments.iter();
    let firsts = segments.map(|it| (it.epoch, it.first_sequence));
    let firsts = firsts.chain(lost.iter().map(|it| (it.epoch, it.first_sequence)));
    let firsts: Vec<(u64, u64)> = firsts.collect();
    for damage in &report.damage {
        let whole = adopted.iter().any(|(epoch, _)| *epoch == damage.hole.epoch);
        if !whole {
            repair.copies.extend(aside.copy(&current, damage)?);
        }
    }
    repair.set_aside = report.damage;
    for (epoch, wrong) in &adopted {
        repair
            .copies
            .extend(aside.copy_file(&names::segment(*epoch))?);
        repair
            .put_right
            .push(format!("its header was written again: {wrong}"));
    }
    for lost in &lost {
        let damage = aside.copy_lost(lost, &mut repair.copies)?;
        repair.set_aside.push(damage);
    }
    quarantine.sync().on(quarantine, "sync", "")?;

    // Of a segment that is lost, the new hole is all that there is.
    let is_lost = |epoch| lost.iter().any(|lost| lost.epoch == epoch);
    current.holes.retain(|hole| !is_lost(hole.epoch));
    let changed = with_holes(&current, &repair.set_aside, &firsts);
    ManifestFile::new(Arc::clone(storage), stored)
        .change(|manifest| *manifest = changed.clone())?;
    mend(&**storage, &changed, &adopted, &lost)?;
    Ok(repair)
}

/// Makes the files good, as the manifest has them: a header over frames that hold, an empty segment for a lost one.
fn mend(
    storage: &dyn Storage,
    manifest: &Manifest,
    adopted: &[(u64, String)],
    lost: &[Lost],
) -> Result<(), JournalError> {
    for (epoch, _) in adopted {
        if let Some(segment) = Segment::adopt(storage, Access::Write, manifest.id, *epoch)? {
            let mended = segment.mend();
            mended.map_err(JournalError::segment(storage, "write", *epoch))?;
        }
    }
    for lost in lost {
        let size = HEADER_BLOCK + on_disk(ALIGNMENT);
        Segment::create(storage, manifest.id, lost.epoch, size)?;
    }
    Ok(storage.sync().on(storage, "sync", "")?)
}

/// The manifest with a hole for each damage. `firsts` are first sequences by epoch.
fn with_holes(current: &Manifest, set_aside: &[Damage], firsts: &[(u64, u64)]) -> Manifest {
    // What stands before the end of the last hole is in use.
    let used = set_aside.iter().map(|damage| damage.hole.epoch).max();
    let mut changed = current.clone();
    for entry in &mut changed.segments {
        let first = firsts.iter().find(|(epoch, _)| *epoch == entry.epoch);
        if Some(entry.epoch) <= used && entry.first_sequence.is_none() {
            entry.first_sequence = first.map(|(_, first)| *first);
        }
    }
    for mut hole in set_aside.iter().map(|damage| damage.hole) {
        // One that is there already was not enough.
        if let Some(before) = changed.hole_at(hole.epoch, hole.offset) {
            let end = hole.end_sequence().max(before.end_sequence());
            hole.first_sequence = hole.first_sequence.min(before.first_sequence);
            hole.count = end - hole.first_sequence;
        }
        let place = |it: &Hole| (it.epoch, it.offset);
        changed.holes.retain(|before| place(before) != place(&hole));
        changed.holes.push(hole);
    }
    changed
}

/// From where and to where bytes are copied.
struct Aside<'a> {
    storage: &'a dyn Storage,
    quarantine: &'a dyn Storage,
}

impl Aside<'_> {
    /// Copies damaged bytes, if there are any, to a file that is named by their place; gives its path.
    fn copy(&self, manifest: &Manifest, damage: &Damage) -> Result<Option<String>, JournalError> {
        let (epoch, offset) = (damage.hole.epoch, damage.hole.offset);
        let segment = Segment::open(self.storage, Access::Read, manifest.id, epoch)?;
        let length = damage.hole.length.min(segment.size - offset);
        if length == 0 {
            return Ok(None);
        }
        let copy_name = format!("{}.at-{offset}", names::segment(epoch));
        let copy = self.copy_to(&copy_name, &*segment.file, offset, length);
        copy.map(Some)
    }

    /// Copies a file of which nothing can be read, if it is there; gives what is lost with it.
    fn copy_lost(&self, lost: &Lost, copies: &mut Vec<String>) -> Result<Damage, JournalError> {
        let name = names::segment(lost.epoch);
        let copy = self.copy_file(&name)?;
        let reason = copy.as_ref().map_or(FILE_MISSING, |_| &lost.reason);
        let reason = reason.to_owned();
        copies.extend(copy);
        Ok(Damage {
            path: self.storage.describe(&name),
            reason,
            hole: Hole {
                epoch: lost.epoch,
                offset: HEADER_BLOCK,
                length: on_disk(ALIGNMENT),
                first_sequence: lost.first_sequence,
                count: lost.next_sequence - lost.first_sequence,
            },
            counted: lost.counted,
        })
    }

    /// Copies a file, if it is there.
    fn copy_file(&self, name: &str) -> Result<Option<String>, JournalError> {
        let file = match self.storage.open(name, Access::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.on(self.storage, "open", name)?,
        };
        let length = file.length().on(self.storage, "read", name)?;
        self.copy_to(name, &*file, 0, length).map(Some)
    }

    /// Copies to a name that begins like this and was not used yet.
    fn copy_to(
        &self,
        copy_name: &str,
        from: &dyn StorageFile,
        offset: u64,
        length: u64,
    ) -> Result<String, JournalError> {
        let names = self.quarantine.list().on(self.quarantine, "list", "")?;
        let mut free = copy_name.to_owned();
        for number in 2.. {
            if !names.contains(&free) {
                break;
            }
            free = format!("{copy_name}.{number}");
        }
        self.quarantine
            .create(&free)
            .and_then(|copy| {
                copy_range(from, &*copy, offset, length)?;
                copy.sync_all()
            })
            .on(self.quarantine, "write", &free)?;
        Ok(self.quarantine.describe(&free))
    }
}

fn copy_range(
    from: &dyn StorageFile,
    to: &dyn StorageFile,
    offset: u64,
    length: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; in_memory(length.min(on_disk(CHUNK)))];
    let mut done = 0;
    while done < length {
        let wanted = in_memory((length - done).min(on_disk(CHUNK)));
        let chunk = buffer.get_mut(..wanted).unwrap_or_default();
        if read_full_at(from, chunk, offset + done)? < wanted {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        write_all_at(to, &mut [IoSlice::new(chunk)], done)?;
        done += on_disk(wanted);
    }
    Ok(())
}

/// Bytes of the largest segment, by its length or by its header.
fn largest(storage: &dyn Storage) -> Result<u64, JournalError> {
    let names = storage.list().on(storage, "list", "")?;
    let mut largest = HEADER_BLOCK + on_disk(ALIGNMENT);
    for name in names.iter().filter(|it| names::epoch_of(it).is_some()) {
        let length = storage
            .open(name, Access::Read)
            .and_then(|file| file.length())
            .on(storage, "read", name)?;
        let claimed = Segment::claim(storage, name).map_or(0, |(_, _, size)| size);
        largest = largest.max(length).max(claimed);
    }
    Ok(largest)
}
const CHUNK: usize = 1 << 20;

/// One finds what is damaged, and one more that nothing is. Only what a forger has written goes on beyond a few.
const ROUNDS_MAX: usize = 8;
