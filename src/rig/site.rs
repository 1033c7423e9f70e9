//! A directory of its own on the disk that is tried: made new, and removed again with all that is in it, unless it is
//! evidence. Nothing else is ever written or removed.
//!
//! Beside the journal it holds `server.log`, what every server has said, and `probe`, a file that was written to its
//! full size and is then overwritten and synced as the journal is, to tell what a sync takes on this disk. It is locked
//! while the run lasts, which tells this directory from one that an earlier run has left.

use super::error::RigError;
use super::file_system::FileSystem;
use super::samples::random;
use super::times::{Times, rate};
use crate::disk::Disk;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The directory.
pub(crate) struct Site {
    path: PathBuf,
    probe: File,
    probed: u64,
    /// What each `fdatasync` took.
    pub(crate) syncs: Times,
}

/// What a directory stands on.
pub(crate) struct Volume {
    pub(crate) file_system: FileSystem,
    /// Bytes.
    pub(crate) free: u64,
    /// What is to be known beforehand.
    pub(crate) notes: Vec<String>,
}

impl Site {
    /// Looks at `parent`, in which `space` bytes have to be free.
    pub(crate) fn volume(parent: &Path, verb: &str, space: u64) -> Result<Volume, RigError> {
        let volume = Site::file_system(parent).and_then(|file_system| {
            Ok(Volume {
                notes: Site::notes(parent, verb, &file_system)?,
                file_system,
                free: Disk::open(parent)?.free_bytes()?,
            })
        });
        let volume = volume.map_err(|error| cannot_use(parent, error))?;
        if volume.free < space {
            return Err(RigError::failed(format!(
                "{} has {} MiB free, and {} MiB are needed; choose another disk with --data-dir",
                parent.display(),
                volume.free >> 20,
                space >> 20
            )));
        }
        Ok(volume)
    }

    /// Makes one in `parent`, which has to be there, for this verb.
    pub(crate) fn make(parent: &Path, verb: &str) -> io::Result<Site> {
        let path = fs::canonicalize(parent)?.join(format!("{}{:016x}", name(verb), random()));
        // Not recursive: an error if there is anything of this name.
        DirBuilder::new().mode(DIRECTORY_MODE).create(&path)?;
        let probe = new_file(&path.join(PROBE)).and_then(|probe| {
            flock(&probe, FlockOperation::NonBlockingLockExclusive)?;
            for block in 0..PROBE_BLOCKS {
                probe.write_all_at(&[1; BLOCK], block * BLOCK as u64)?;
            }
            probe.sync_all()?;
            Ok(probe)
        });
        let made = probe.map(|probe| Site {
            path: path.clone(),
            probe,
            probed: 0,
            syncs: Times::default(),
        });
        if made.is_err() {
            let _ = fs::remove_dir_all(&path);
        }
        made
    }

    /// What an earlier run of this verb has left, and memory.
    fn notes(parent: &Path, verb: &str, file_system: &FileSystem) -> io::Result<Vec<String>> {
        let left = Site::left_behind(parent, verb)?.into_iter();
        let note = |left: PathBuf| {
            format!(
                "left behind by an earlier run, remove it: {}",
                left.display()
            )
        };
        let mut notes: Vec<String> = left.map(note).collect();
        if file_system.is_memory {
            notes.push(format!(
                "{} is {}; choose a disk with --data-dir",
                parent.display(),
                file_system.describe(),
            ));
        }
        Ok(notes)
    }

    /// Directories in `parent` that no run works in any more: evidence, kept on demand, or of a run that was killed.
    fn left_behind(parent: &Path, verb: &str) -> io::Result<Vec<PathBuf>> {
        let mut left = Vec::new();
        for entry in fs::read_dir(fs::canonicalize(parent)?)? {
            let entry = entry?;
            let is_ours = entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(name(verb).as_bytes());
            if is_ours && entry.file_type()?.is_dir() && !is_in_use(&entry.path()) {
                left.push(entry.path());
            }
        }
        left.sort_unstable();
        Ok(left)
    }

    fn file_system(parent: &Path) -> io::Result<FileSystem> {
        Ok(FileSystem::numbered(rustix::fs::statfs(parent)?.f_type))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// For what servers say.
    pub(crate) fn log(&self) -> io::Result<File> {
        new_file(&self.path.join("server.log"))
    }

    /// Measures up to `times` syncs, for no longer than `most`.
    pub(crate) fn probe(&mut self, times: u32, most: Duration) -> io::Result<()> {
        let begin = Instant::now();
        for _ in 0..times {
            let block = self.probed % PROBE_BLOCKS;
            self.probed += 1;
            let fill = [self.probed.to_le_bytes()[0]; BLOCK];
            self.probe.write_all_at(&fill, block * BLOCK as u64)?;
            let start = Instant::now();
            self.probe.sync_data()?;
            self.syncs.record(start.elapsed());
            if begin.elapsed() >= most {
                break;
            }
        }
        Ok(())
    }

    /// Overwrites all of the probe again and again for this long, a sync each time, and gives bytes a second.
    pub(crate) fn bandwidth(&mut self, time: Duration) -> io::Result<u64> {
        let whole = vec![1; BLOCK * usize::try_from(PROBE_BLOCKS).unwrap_or_default()];
        let begin = Instant::now();
        let mut bytes = 0;
        loop {
            self.probe.write_all_at(&whole, 0)?;
            self.probe.sync_data()?;
            bytes += whole.len() as u64;
            if begin.elapsed() >= time {
                return Ok(rate(bytes, begin.elapsed()));
            }
        }
    }

    /// Removes everything that was made.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(self.path)
    }
}

/// Why nothing can be tried in `parent`.
pub(crate) fn cannot_use(parent: &Path, error: io::Error) -> RigError {
    let dir = parent.display();
    RigError::because(format!("cannot use {dir}; see --data-dir"), error)
}

fn is_in_use(path: &Path) -> bool {
    // Shared, so that two that look at the same time do not see each other.
    File::open(path.join(PROBE))
        .is_ok_and(|probe| flock(&probe, FlockOperation::NonBlockingLockShared).is_err())
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
}

/// What the name of each begins with.
fn name(verb: &str) -> String {
    format!("hookline-{verb}-")
}

const PROBE: &str = "probe";

/// What a small commit writes.
const BLOCK: usize = 16 << 10;

/// Blocks of the probe: 4 MiB.
const PROBE_BLOCKS: u64 = 256;

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_was_left_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let parent = fs::canonicalize(dir.path()).expect("it is there");
        let left = || Site::left_behind(&parent, "torture").expect("readable");
        let make = || Site::make(&parent, "torture");
        let (one, other) = (make(), make());
        let (one, other) = (one.expect("made"), other.expect("made"));
        let path = one.path().to_owned();
        fs::create_dir(parent.join("mine")).expect("made");
        assert_eq!(left(), [] as [PathBuf; 0]);
        drop(one);
        assert_eq!(left(), [path]);
        other.remove().expect("ours");
        let proc = Site::file_system(Path::new("/proc")).expect("it is there");
        assert_eq!(proc.name, "0x9fa0", "one that no server writes to");
    }
}
