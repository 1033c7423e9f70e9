//! The open file: how lines get into it, and from there to the disk.
//!
//! A large piece is on its way to the disk as soon as it is written, and nobody waits for that: so a sync has little
//! left to do, and the answers, which wait for syncs of the journal on the same disk, do not stand behind megabytes.
//! And it leaves the system's cache once it is there, so that the next piece finds room that is warm. Linux does both
//! for a write that says `RWF_DONTCACHE`, from 6.14 on, with ext4, xfs and btrfs. Only whole pages are written so: what
//! has left the cache would be read again to be written on. The rest of a piece, and small pieces, are cached.
//!
//! What is cached, which elsewhere is all, a sync brings to the disk each [`SYNC_BACKLOG`] or [`SYNC_LIVE`] bytes, and
//! the cache is asked to drop it. Who follows the file finds its end there, or reads it from the disk.

use super::directory;
use rustix::fs::{Advice, OFlags};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, IoSlice, Write as _};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// The file of a sink.
#[derive(Debug)]
pub(super) struct Output {
    file: fs::File,
    /// Its length, if nobody else has written to it or cut it.
    len: u64,
    /// The system takes [`UNCACHED`] for this file, as far as is known.
    uncached: bool,
    /// What comes is a backlog.
    is_backlog: bool,
    /// Bytes that were written since the last sync.
    unsynced: usize,
    /// Those of them that are cached.
    cached: usize,
    synced: Instant,
    /// Why a sync between two confirmations has failed.
    unsure: Option<io::Error>,
}

impl Output {
    /// Opens it, and makes its name durable. A file that is new gets exactly this mode, whatever the umask is.
    pub(super) fn open(path: &Path, mode: u32) -> io::Result<Output> {
        let file = open(path, mode)?;
        Ok(Output {
            len: file.metadata()?.len(),
            file,
            uncached: true,
            is_backlog: false,
            unsynced: 0,
            cached: 0,
            synced: Instant::now(),
            unsure: None,
        })
    }

    /// For reading.
    pub(super) fn file(&self) -> &fs::File {
        &self.file
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// How long it is, as far as this process knows.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Takes note of how long it was found to be.
    pub(super) fn note_len(&mut self, len: u64) {
        self.len = len;
    }

    /// Whether what comes next is a backlog.
    pub(super) fn note_backlog(&mut self, is_backlog: bool) {
        self.is_backlog = is_backlog;
    }

    /// Bytes that may be cached before there is a sync.
    fn sync_after(&self) -> usize {
        if self.is_backlog {
            SYNC_BACKLOG
        } else {
            SYNC_LIVE
        }
    }

    /// Appends `bytes`, or the first of them.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sync_if_due();
        let written = match self.append_uncached(bytes)? {
            Some(written) => written,
            None => self.append_cached(bytes)?,
        };
        self.len += written as u64;
        self.unsynced += written;
        Ok(written)
    }

    /// Appends the whole pages of a large piece; nothing if it is not one, or the system cannot do that.
    fn append_uncached(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let over = (self.len + bytes.len() as u64) % PAGE;
        let whole =
            bytes.len() - usize::try_from(over).map_or(bytes.len(), |it| it.min(bytes.len()));
        if !self.uncached || whole < UNCACHED_MIN {
            return Ok(None);
        }
        let piece = [IoSlice::new(&bytes[..whole])];
        match pwritev2(&self.file, &piece, AT_THE_END, UNCACHED) {
            Ok(written) => Ok(Some(written)),
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::PERM) => {
                self.uncached = false;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn append_cached(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.sync_after().saturating_sub(self.cached).max(1);
        let written = (&self.file).write(&bytes[..bytes.len().min(room)])?;
        self.cached += written;
        Ok(written)
    }

    /// Syncs before the next confirmation, where that would have too much to do.
    fn sync_if_due(&mut self) {
        let is_full = self.cached >= self.sync_after();
        // Without a pause a backlog would keep the disk busy, and the answers' syncs would wait behind it.
        let is_time = || self.is_backlog || self.synced.elapsed() >= SYNC_EVERY;
        if is_full || self.unsynced >= UNSYNCED_MIN && is_time() {
            let synced = self.file.sync_data();
            self.unsure = synced.err().or(self.unsure.take());
            self.note_sync();
            if is_full {
                self.forget();
            }
        }
    }

    fn note_sync(&mut self) {
        (self.unsynced, self.cached) = (0, 0);
        self.synced = Instant::now();
    }

    /// Makes everything durable that was written since the last time that this worked.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.note_sync();
        self.unsure.take().map_or(Ok(()), Err)?;
        self.file.sync_data()
    }

    /// Cuts it there.
    pub(super) fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.len = len;
        Ok(())
    }

    /// Ends its last line where that has no end.
    pub(super) fn end_cut_line(&mut self) -> io::Result<()> {
        self.len = self.file.metadata()?.len();
        if let Some(last) = self.len.checked_sub(1) {
            let mut byte = [b'\n'];
            self.file.read_exact_at(&mut byte, last)?;
            if byte != [b'\n'] {
                (&self.file).write_all(b"\n")?;
                self.len += 1;
            }
        }
        Ok(())
    }

    /// Has the system's cache drop all but the end: pages that come back are warm, those that have to be found when
    /// the cache is full are not, and make a write several times as long.
    fn forget(&self) {
        if let Some(bytes) = NonZeroU64::new(self.len.saturating_sub(CACHED_MAX)) {
            // Advice: a cache that keeps it costs time only.
            let _ = rustix::fs::fadvise(&self.file, 0, Some(bytes), Advice::DontNeed);
        }
    }
}

/// Begins to write to the disk at once, and does not stay in the cache. Neither libc nor rustix has a name for it.
const UNCACHED: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// As a place in a file: where writes without a place go, of this one its end.
const AT_THE_END: u64 = u64::MAX;

/// Bytes from which on a piece is worth it: what it costs to begin a write to the disk is that of some tens of events.
const UNCACHED_MIN: usize = 64 << 10;

/// What the cache consists of. Where pages are larger, the last one of a piece stays in it.
const PAGE: u64 = 4096;

/// Bytes after which a sync comes before its time. What it has to write keeps the disk busy at once, and the syncs of
/// the journal, which answers wait for, stand behind it: with 4 MiB the p99 of answers beside a catch-up is four times
/// what it is without, with 256 KiB nearly twice that, with 64 KiB the same. Each sync costs some 0.1 ms, so what
/// comes at its own pace is synced less often.
const SYNC_BACKLOG: usize = 64 << 10;
const SYNC_LIVE: usize = 256 << 10;

/// How often there is one of what is on its way to the disk already, if it is as much as that. In a backlog there is
/// one whenever it is.
const SYNC_EVERY: Duration = Duration::from_millis(50);
const UNSYNCED_MIN: usize = 256 << 10;

/// Bytes of the file that stay in the cache.
const CACHED_MAX: u64 = 8 << 20;

/// Opens it, and makes its name durable.
fn open(path: &Path, mode: u32) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    // At the other end of a pipe there may be nobody.
    options
        .read(true)
        .append(true)
        .mode(mode)
        .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0));
    let file = match options.clone().create_new(true).open(path) {
        Ok(new) => {
            new.set_permissions(Permissions::from_mode(mode))?;
            new
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            options.create(true).open(path)?
        }
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        let message = format!(
            "{} is no regular file, so nothing written there could be synced",
            path.display()
        );
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    fs::File::open(directory(path))?.sync_all()?;
    Ok(file)
}

/// Which file it is, whatever its path.
pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
