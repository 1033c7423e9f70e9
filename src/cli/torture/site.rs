//! A directory of its own on the disk that is tested: made new, and removed again with all that is in it, unless it is
//! evidence. Nothing else is ever written or removed.
//!
//! Beside the journal it holds `server.log`, what every server has said, and `probe`, a file that was written to its
//! full size and is then overwritten and synced as the journal is, to tell what a sync takes on this disk.

use crate::cli::samples::random;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The directory.
#[derive(Debug)]
pub(super) struct Site {
    path: PathBuf,
    probe: File,
    probed: u64,
    /// What each `fdatasync` took.
    syncs: Vec<Duration>,
}

impl Site {
    /// Makes one in `parent`, which has to be there.
    pub(super) fn make(parent: &Path) -> io::Result<Site> {
        let path = fs::canonicalize(parent)?.join(format!("hookline-torture-{:016x}", random()));
        // Not recursive: an error if there is anything of this name.
        DirBuilder::new().mode(DIRECTORY_MODE).create(&path)?;
        let probe = new_file(&path.join("probe")).and_then(|probe| {
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
            syncs: Vec::new(),
        });
        if made.is_err() {
            let _ = fs::remove_dir_all(&path);
        }
        made
    }

    /// Octets that are free on the disk of `parent`.
    pub(super) fn free(parent: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(parent)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// For what servers say.
    pub(super) fn log(&self) -> io::Result<File> {
        new_file(&self.path.join("server.log"))
    }

    /// Measures up to `times` syncs, for no longer than `most`.
    pub(super) fn probe(&mut self, times: u32, most: Duration) -> io::Result<()> {
        let begin = Instant::now();
        for _ in 0..times {
            let block = self.probed % PROBE_BLOCKS;
            self.probed += 1;
            let fill = [self.probed.to_le_bytes()[0]; BLOCK];
            self.probe.write_all_at(&fill, block * BLOCK as u64)?;
            let start = Instant::now();
            self.probe.sync_data()?;
            self.syncs.push(start.elapsed());
            if begin.elapsed() >= most {
                break;
            }
        }
        Ok(())
    }

    /// What was measured, in order of time.
    pub(super) fn syncs(&self) -> &[Duration] {
        &self.syncs
    }

    /// Removes everything that was made.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(self.path)
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
}

/// What a small commit writes.
const BLOCK: usize = 16 << 10;

/// Blocks of the probe: 4 MiB.
const PROBE_BLOCKS: u64 = 256;

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
