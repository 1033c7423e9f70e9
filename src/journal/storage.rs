//! The one seam between the journal and the disk.
//!
//! Every file access of the journal goes through [`Storage`] and [`StorageFile`], and [`Disk`] is the
//! only code that writes, syncs and renames. So a test can put a simulated disk underneath that loses,
//! tears and refuses on demand.
//!
//! A storage is one flat directory; names are file names in it. What a call promises is what POSIX
//! promises, no more: data survives a power cut after [`StorageFile::sync_data`], a name after
//! [`Storage::sync`].

use super::frame::{in_memory, padded};
use rustix::fs::{Advice, CWD, FallocateFlags, OFlags, RenameFlags, renameat_with};
use rustix::io::{Errno, retry_on_intr};
use std::any::Any;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fmt, fs};

/// One directory that holds a journal.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Names of the files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a new file; an error if there is one of this name.
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Opens a file that is there.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>>;

    /// Gives a file another name, in place of the file that had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives each of two files the name of the other, at once. An error, and no change, where the file
    /// system cannot, or where one of them is not there.
    fn exchange(&self, one: &str, other: &str) -> io::Result<()>;

    /// Removes a file. Open handles stay good.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Which file has this name now; the directory for an empty one. `None` if there is none.
    fn identity(&self, name: &str) -> io::Result<Option<Identity>>;

    /// Makes all names durable: created, renamed and removed ones.
    fn sync(&self) -> io::Result<()>;

    /// Takes the directory for this process until the guard is dropped or the process ends, and leaves
    /// `holder` for others to read.
    fn lock(&self, name: &str, holder: &str) -> Result<Guard, LockError>;

    /// Where the file is, for people.
    fn describe(&self, name: &str) -> String;

    /// The wall clock of the machine that has the disk, in microseconds since 1970. It may jump.
    fn now(&self) -> u64;

    /// A clock that never jumps: how long it is since some time before. It means something within one process.
    fn monotonic(&self) -> Duration;

    /// Gives a small file new content, as a whole and durably: after a crash, or an error, it has the old content or
    /// the new one. Line feeds behind the content fill the last block. For one writer at a time.
    ///
    /// Two files exchange their names: the content is written over the octets of the one before the last, so no new
    /// space is needed, and on a full disk what frees it can still be written down. The one before stays as
    /// `NAME.old`. Who opens the file while that happens twice may read octets that are being written.
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        // Nothing is written over that a power cut could still give the name to.
        self.sync()?;
        let old = format!("{name}{OLD}");
        let file = match self.open(&old, Access::Write) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.create(&old)?,
            file => file?,
        };
        let mut octets = content.to_vec();
        octets.resize(padded(octets.len()).max(in_memory(file.length()?)), b'\n');
        write_all_at(&*file, &mut [IoSlice::new(&octets)], 0)?;
        file.sync_all()?;
        match self.exchange(&old, name) {
            // The first one, or a file system that cannot: then the next one needs a new file.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::InvalidInput | ErrorKind::Unsupported
                ) =>
            {
                self.rename(&old, name)?;
            }
            exchanged => exchanged?,
        }
        self.sync()
    }
}

/// An open file. All offsets are in octets.
pub trait StorageFile: fmt::Debug + Send + Sync {
    /// Which file this is, whatever its name.
    fn identity(&self) -> io::Result<Identity>;

    /// Length of the file.
    fn length(&self) -> io::Result<u64>;

    /// Reads up to the length of `buffer`; 0 means the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the parts one behind the other; gives the octets written, which may be fewer.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Makes the data durable, and of the metadata what is needed to read it.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes data and metadata durable.
    fn sync_all(&self) -> io::Result<()>;

    /// Reserves room for `length` octets where the file system can.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Whether writes go past the cache: then buffers, offsets and lengths are multiples of the
    /// alignment. An error where the file system cannot.
    fn bypass_cache(&self, bypass: bool) -> io::Result<()>;

    /// Lets the next read of this range come from the device where possible. After a sync that failed,
    /// the cache may hold what the device does not.
    fn forget_cache(&self, range: Range<u64>) -> io::Result<()>;

    /// Has the device read this range into the cache, without waiting for that. From then on a read takes from the
    /// device what it asks for, and nothing behind it.
    fn read_ahead(&self, range: Range<u64>) -> io::Result<()>;
}

/// What tells a file or a directory from all others, as long as it is there or open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device that it is on.
    pub device: u64,
    /// Its number on the device.
    pub inode: u64,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only reading.
    Read,
    /// Reading and writing.
    Write,
}

/// Holds a lock until it is dropped.
pub type Guard = Box<dyn Any + Send + Sync>;

/// Why a lock was not given.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it; what it left to read.
    Held(String),
    /// The lock could not be tried.
    Io(io::Error),
}

/// A directory of the real file system.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    directory: File,
    opened: Instant,
}

impl Disk {
    /// The directory at `path`, made if it is not there, durable like all that is made in it.
    pub fn create(path: &Path) -> io::Result<Disk> {
        if !path.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(DIRECTORY_MODE)
                .create(path)?;
            // The new names: this directory's, and those of the parents that were made with it.
            for parent in fs::canonicalize(path)?.ancestors().skip(1) {
                if File::open(parent).and_then(|it| it.sync_all()).is_err() {
                    break; // above what this process may read; those were there before
                }
            }
        }
        Disk::open(path)
    }

    /// Removes the directory at `path` if it is there and nothing is in it.
    pub fn remove_empty(path: &Path) -> io::Result<()> {
        match fs::remove_dir(path) {
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Octets that this process may still write to the file system.
    pub fn free_octets(&self) -> io::Result<u64> {
        let counts = rustix::fs::fstatvfs(&self.directory)?;
        Ok(counts.f_bavail.saturating_mul(counts.f_frsize))
    }

    /// The directory at `path`, which must be there.
    pub fn open(path: &Path) -> io::Result<Disk> {
        Ok(Disk {
            path: path.to_owned(),
            directory: File::open(path)?,
            opened: Instant::now(),
        })
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // Names that are not UTF-8 are not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::Write)
            .open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn exchange(&self, one: &str, other: &str) -> io::Result<()> {
        let (one, other) = (self.path.join(one), self.path.join(other));
        Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn identity(&self, name: &str) -> io::Result<Option<Identity>> {
        match fs::metadata(self.path.join(name)) {
            Ok(found) => Ok(Some(Identity::of(&found))),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn lock(&self, name: &str, holder: &str) -> Result<Guard, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(self.path.join(name))
            .map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(LockError::Io)?;
                file.write_all(holder.as_bytes()).map_err(LockError::Io)?;
                Ok(Box::new(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message: an unreadable name is no reason to hide the conflict.
                let _ = file.read_to_string(&mut holder);
                Err(LockError::Held(holder.trim().to_owned()))
            }
            Err(TryLockError::Error(error)) => Err(LockError::Io(error)),
        }
    }

    fn describe(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn now(&self) -> u64 {
        now()
    }

    fn monotonic(&self) -> Duration {
        self.opened.elapsed()
    }
}

/// The wall clock of this machine, in microseconds since 1970. It may jump.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

impl Identity {
    fn of(found: &Metadata) -> Identity {
        Identity {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

impl StorageFile for File {
    fn identity(&self) -> io::Result<Identity> {
        Ok(Identity::of(&self.metadata()?))
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::pwritev(self, parts, offset))?)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match retry_on_intr(|| rustix::fs::fallocate(self, FallocateFlags::empty(), 0, length)) {
            // The zeros that are written next reserve the room as well.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            result => Ok(result?),
        }
    }

    fn bypass_cache(&self, bypass: bool) -> io::Result<()> {
        let mut flags = rustix::fs::fcntl_getfl(self)?;
        flags.set(OFlags::DIRECT, bypass);
        Ok(rustix::fs::fcntl_setfl(self, flags)?)
    }

    fn forget_cache(&self, range: Range<u64>) -> io::Result<()> {
        advise(self, range, Advice::DontNeed)
    }

    fn read_ahead(&self, range: Range<u64>) -> io::Result<()> {
        // Of the open file, whatever the range.
        rustix::fs::fadvise(self, 0, None, Advice::Random)?;
        advise(self, range, Advice::WillNeed)
    }
}

fn advise(file: &File, range: Range<u64>, advice: Advice) -> io::Result<()> {
    match NonZeroU64::new(range.end.saturating_sub(range.start)) {
        // For the call, no length is all the rest.
        None => Ok(()),
        length => Ok(rustix::fs::fadvise(file, range.start, length, advice)?),
    }
}

/// Writes all parts; a short write is continued.
pub(crate) fn write_all_at(
    file: &dyn StorageFile,
    mut parts: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0); // drops empty ones
    while !parts.is_empty() {
        match file.write_at(parts, offset) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut parts, written);
                offset += super::frame::octets(written);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until `buffer` is full or the file ends; gives the octets read.
pub(crate) fn read_full_at(
    file: &dyn StorageFile,
    mut buffer: &mut [u8],
    mut offset: u64,
) -> io::Result<usize> {
    let wanted = buffer.len();
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => break,
            Ok(read) => {
                buffer = buffer.split_at_mut(read).1;
                offset += super::frame::octets(read);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - buffer.len())
}

/// True for what passes by itself when space or another resource returns. Everything else that a write
/// or a sync reports is final.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge
            | ErrorKind::OutOfMemory
    ) || matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

/// Behind the name of a file that was replaced.
const OLD: &str = ".old";

/// What is stored here are other people's messages: for this user alone.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
