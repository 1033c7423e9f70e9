//! The one seam between the journal and the disk.
//!
//! Every file access of the journal goes through [`Storage`] and [`StorageFile`], and [`Disk`](super::Disk) is the
//! only code that writes, syncs and renames. So a test can put a simulated disk underneath that loses,
//! tears and refuses on demand.
//!
//! A storage is one flat directory; names are file names in it. What a call promises is what POSIX
//! promises, no more: data survives a power cut after [`StorageFile::sync_data`], a name after
//! [`Storage::sync`].

use super::block::{in_memory, on_disk, padded};
use rustix::io::Errno;
use std::any::Any;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

    /// Gives what cannot be used, file or directory, a name that nobody looks for, and says which: `NAME.aside`, or
    /// `NAME.aside.2` and so on.
    fn set_aside(&self, name: &str) -> io::Result<String> {
        let numbered = (2..ASIDE_MAX).map(|number| format!("{name}{ASIDE}.{number}"));
        let mut names = std::iter::once(format!("{name}{ASIDE}")).chain(numbered);
        let is_free = |name: &String| matches!(self.identity(name), Ok(None));
        let aside = names.find(is_free);
        let aside = aside.unwrap_or_else(|| format!("{name}{ASIDE}.{ASIDE_MAX}"));
        self.rename(name, &aside)?;
        self.sync()?;
        Ok(aside)
    }

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
    /// Two files exchange their names: the content is written over the bytes of the one before the last, so no new
    /// space is needed, and on a full disk what frees it can still be written down. The one before stays as
    /// `NAME.old`. Who opens the file while that happens twice may read bytes that are being written.
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.replace_by(name, OLD_MAX, &mut |least| {
            let mut bytes = content.to_vec();
            bytes.resize(padded(bytes.len()).max(least), b'\n');
            bytes
        })
    }

    /// The same with what `content` gives, which is asked once how many bytes it needs at least to fill the file that
    /// it is written over: `most` of them at most.
    fn replace_by(
        &self,
        name: &str,
        most: u64,
        content: &mut dyn FnMut(usize) -> Vec<u8>,
    ) -> io::Result<()> {
        // Nothing is written over that a power cut could still give the name to.
        self.sync()?;
        let old = format!("{name}{OLD}");
        let file = match self.open(&old, Access::Write) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.create(&old)?,
            // Nobody needs what is in it; somebody else may have made it.
            Err(error) if !is_shortage(&error) && !is_of_the_device(&error) => {
                self.set_aside(&old)?;
                self.create(&old)?
            }
            Ok(file) if file.length()? > most => {
                self.set_aside(&old)?;
                self.create(&old)?
            }
            file => file?,
        };
        let bytes = content(in_memory(file.length()?));
        write_all_at(&*file, &mut [IoSlice::new(&bytes)], 0)?;
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

/// An open file. All offsets are in bytes.
pub trait StorageFile: fmt::Debug + Send + Sync {
    /// Which file this is, whatever its name.
    fn identity(&self) -> io::Result<Identity>;

    /// Length of the file.
    fn length(&self) -> io::Result<u64>;

    /// Reads up to the length of `buffer`; 0 means the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the parts one behind the other; gives the bytes written, which may be fewer.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Makes the data durable, and of the metadata what is needed to read it.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes data and metadata durable.
    fn sync_all(&self) -> io::Result<()>;

    /// Reserves room for `length` bytes where the file system can.
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
    Read,
    Write,
}

/// Holds a lock until it is dropped.
pub type Guard = Box<dyn Any + Send + Sync>;

/// Why a lock was not given.
pub enum LockError {
    /// Another process has it; what it left to read.
    Held(String),
    /// The lock could not be tried.
    Io(io::Error),
}

/// The wall clock of this machine, in microseconds since 1970. It may jump.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
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
                offset += on_disk(written);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What is in a file, `most` bytes of it at most; `None` if there is no such file.
pub(crate) fn read_file(
    storage: &dyn Storage,
    name: &str,
    most: u64,
) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.open(name, Access::Read) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let length = usize::try_from(file.length()?.min(most)).unwrap_or_default();
    let mut bytes = vec![0; length];
    let length = read_full_at(&*file, &mut bytes, 0)?;
    bytes.truncate(length);
    Ok(Some(bytes))
}

/// Reads until `buffer` is full or the file ends; gives the bytes read.
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
                offset += on_disk(read);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - buffer.len())
}

/// True for the name of what was set aside.
pub(crate) fn is_aside(name: &str) -> bool {
    let number = |rest: &str| {
        rest.strip_prefix('.')
            .is_some_and(|it| it.parse::<u32>().is_ok())
    };
    let behind = name.rsplit_once(ASIDE).map(|(_, rest)| rest);
    behind.is_some_and(|rest| rest.is_empty() || number(rest))
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

/// True for what says nothing about this file: the disk has failed, and the same call may succeed a moment later.
fn is_of_the_device(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::IO)
}

/// No file that is replaced as a whole is as long as that.
const OLD_MAX: u64 = 64 << 20;

/// Behind the name of a file that was replaced.
const OLD: &str = ".old";

/// Behind the name of what nobody could use.
const ASIDE: &str = ".aside";

/// So many things of one name are kept aside; the last of them is replaced by the next.
const ASIDE_MAX: usize = 20;
