//! The open file: how lines get into it, and from there to the disk.
//!
//! The whole pages of a large piece go to the disk by direct writes (`O_DIRECT`), one step after the other, and each
//! waits until the disk has it: so of what a sink writes there is never more than one step on the way. The answers,
//! which wait for syncs of the journal on the same disk, stand behind that and not behind megabytes; a sync has little
//! left to do; and no page of it is in the system's cache, where the next would have to be found. What comes before the
//! first page and behind the last one, small pieces, and everything where there are no direct writes, is cached.
//!
//! What is cached, a sync brings to the disk each [`SYNC_BACKLOG`] or [`SYNC_LIVE`] bytes, and the cache is asked to
//! drop it. Who follows the file finds its end there, or reads it from the disk.

use super::directory;
use rustix::fs::{Advice, OFlags, fcntl_setfl};
use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
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
    /// What direct writes are made from; `None` once it is known that the file system has none.
    direct: Option<Pages>,
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
            direct: Some(Pages::default()),
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
        let before = self.before_pages(bytes.len());
        let written = if before == Some(0) {
            self.append_direct(bytes)?
        } else {
            self.append_cached(&bytes[..before.unwrap_or(bytes.len())])?
        };
        self.len += written as u64;
        self.unsynced += written;
        Ok(written)
    }

    /// Bytes of a large piece before the first page; `None` if it is none, or there are no direct writes.
    fn before_pages(&self, len: usize) -> Option<usize> {
        let is_large = self.direct.is_some() && len >= DIRECT_MIN;
        let over = usize::try_from(self.len % PAGE as u64).unwrap_or(0);
        is_large.then(|| over.wrapping_neg() % PAGE)
    }

    /// Appends whole pages where a page begins.
    fn append_direct(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(pages) = &mut self.direct else {
            return self.append_cached(bytes);
        };
        let whole = bytes.len() - bytes.len() % PAGE;
        // What would be too little for another step goes with this one.
        let len = if whole < STEP_MAX { whole } else { STEP };
        let written = set_direct(&self.file, true).and_then(|()| {
            let written = (&self.file).write(pages.with(&bytes[..len]));
            set_direct(&self.file, false)?;
            written
        });
        match written {
            // The file system has no direct writes, or not of such pages; or somebody has written to the file, or cut
            // it, so that no page begins at its end.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                let now = self.file.metadata()?.len();
                if now == self.len {
                    self.direct = None;
                }
                self.len = now;
                self.append_cached(bytes)
            }
            written => written,
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
        if is_full || self.unsynced >= UNSYNCED_MIN && self.synced.elapsed() >= SYNC_EVERY {
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

/// Pages to write from: a direct write wants them where a page of memory begins.
#[derive(Debug, Default)]
struct Pages(Vec<u8>);

impl Pages {
    /// With these bytes in them, at most [`STEP_MAX`].
    fn with(&mut self, bytes: &[u8]) -> &[u8] {
        self.0.resize(STEP_MAX + PAGE, 0);
        let begin = self.0.as_ptr().align_offset(PAGE).min(PAGE);
        let pages = &mut self.0[begin..begin + bytes.len()];
        pages.copy_from_slice(bytes);
        pages
    }
}

/// Whether writes to the file are direct from here on.
fn set_direct(file: &fs::File, direct: bool) -> io::Result<()> {
    let mut flags = OFlags::APPEND | OFlags::NONBLOCK;
    flags.set(OFlags::DIRECT, direct);
    Ok(fcntl_setfl(file, flags)?)
}

/// Bytes from which on a piece is worth it.
const DIRECT_MIN: usize = 32 << 10;

/// Bytes of one direct write. The disk has them in some 0.1 ms, and a sync of the journal waits for one of them.
const STEP: usize = 64 << 10;
const STEP_MAX: usize = STEP + DIRECT_MIN;

/// What a direct write begins and ends with. Where more is wanted, it is refused, and all is cached.
const PAGE: usize = 4096;

/// Bytes after which a sync comes before its time. What it has to write keeps the disk busy at once, and the syncs of
/// the journal, which answers wait for, stand behind it: with 4 MiB the p99 of answers beside a catch-up is four times
/// what it is without, with 256 KiB nearly twice that, with 64 KiB the same. Each sync costs some 0.1 ms, so what
/// comes at its own pace is synced less often.
const SYNC_BACKLOG: usize = 64 << 10;
const SYNC_LIVE: usize = 256 << 10;

/// How often there is one of what the disk has already, if it is as much as that.
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
