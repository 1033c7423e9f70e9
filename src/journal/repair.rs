//! Sets damage aside, so that the journal can be opened without it: `hookline journal repair --quarantine`.
//!
//! Nothing is deleted and no segment is written to. The octets are copied to a directory of their own,
//! and the manifest gets a line that says that a reader goes on behind them.

use super::error::JournalError;
use super::frame::{in_memory, octets};
use super::inspect::{Damage, inspect};
use super::lock;
use super::manifest::{self, Manifest, ManifestFile};
use super::scan::Depth;
use super::segment::{Segment, name};
use super::storage::{Access, Storage, StorageFile, read_full_at, write_all_at};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

/// What was set aside.
#[derive(Clone, Debug)]
pub struct Repair {
    /// The damage that there was, with the sequences that are lost.
    pub set_aside: Vec<Damage>,
    /// The files that its octets were copied to.
    pub copies: Vec<String>,
    /// Missing or foreign segments, which cannot be set aside but have to be restored: which file, and
    /// what is wrong.
    pub unusable: Vec<String>,
}

/// Finds all damage, copies it to `quarantine`, and makes the journal in `storage` go on without it.
/// Needs the lock: no other process may have the journal.
pub fn repair(
    storage: &Arc<dyn Storage>,
    quarantine: &dyn Storage,
) -> Result<Repair, JournalError> {
    let _lock = lock(&**storage)?;
    let report = inspect(&**storage, Depth::Full)?;
    let mut copies = Vec::with_capacity(report.damage.len());
    for damage in &report.damage {
        copies.push(copy(&**storage, quarantine, report.id, damage)?);
    }
    quarantine
        .sync()
        .map_err(JournalError::io(quarantine, "sync", ""))?;
    let manifest = Manifest::load(&**storage)?.ok_or_else(|| JournalError::ManifestMissing {
        path: storage.describe(manifest::NAME),
    })?;
    ManifestFile::new(Arc::clone(storage), manifest).change(|manifest| {
        let holes = report.damage.iter().map(|damage| damage.hole);
        manifest.holes.extend(holes);
    })?;
    Ok(Repair {
        set_aside: report.damage,
        copies,
        unusable: report.unusable,
    })
}

/// Copies the damaged octets to a file that is named by their place; gives its path.
fn copy(
    storage: &dyn Storage,
    quarantine: &dyn Storage,
    id: super::JournalId,
    damage: &Damage,
) -> Result<String, JournalError> {
    let (epoch, offset, length) = (damage.hole.epoch, damage.hole.offset, damage.hole.length);
    let segment = Segment::open(storage, Access::Read, id, epoch)?;
    let copy_name = format!("{}.at-{offset}", name(epoch));
    // A copy of an attempt that did not reach the manifest.
    match quarantine.remove(&copy_name) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(JournalError::io(quarantine, "remove", &copy_name)(error));
        }
        _ => {}
    }
    quarantine
        .create(&copy_name)
        .and_then(|copy| {
            copy_range(&*segment.file, &*copy, offset, length)?;
            copy.sync_all()
        })
        .map_err(JournalError::io(quarantine, "write", &copy_name))?;
    Ok(quarantine.describe(&copy_name))
}

fn copy_range(
    from: &dyn StorageFile,
    to: &dyn StorageFile,
    offset: u64,
    length: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    while done < length {
        let wanted = in_memory((length - done).min(octets(CHUNK)));
        let chunk = buffer.get_mut(..wanted).unwrap_or_default();
        if read_full_at(from, chunk, offset + done)? < wanted {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        write_all_at(to, &mut [IoSlice::new(chunk)], done)?;
        done += octets(wanted);
    }
    Ok(())
}

const CHUNK: usize = 1 << 20;
