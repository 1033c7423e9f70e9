//! The file system of this machine under a journal.
//!
//! What is made here looks like the directory that it is made in, see `ownership.rs`. Nothing is written through a
//! symbolic link that has the name of a file of ours, and nothing waits for the other end of a pipe that has.

use super::ownership;
use super::ownership::{DIRECTORY_MODE, FILE_MODE};
use super::storage::{Access, Guard, Identity, LockError, Storage, StorageFile, now};
use rustix::fs::{Advice, CWD, FallocateFlags, OFlags, RenameFlags, renameat_with};
use rustix::io::{Errno, retry_on_intr};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A directory of the real file system.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    directory: File,
    opened: Instant,
}

impl Disk {
    /// The directory at `path`, made for this user alone if it is not there, durable like all that is made in it.
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

    /// The directory at `path`, made if it is not there, with those above it that are missing. Each looks like the one
    /// that it is made in: owner, group, and what the group may.
    pub fn create_within(path: &Path) -> io::Result<Disk> {
        let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
        let missing: Vec<&Path> = path.ancestors().take_while(missing).collect();
        for path in missing.into_iter().rev() {
            ownership::make_directory(path, parent(path))?;
        }
        Disk::open(path)
    }

    /// True if this process may list, make and remove what is in it.
    pub fn is_usable(&self) -> bool {
        let all = rustix::fs::Access::READ_OK
            | rustix::fs::Access::WRITE_OK
            | rustix::fs::Access::EXEC_OK;
        rustix::fs::access(&self.path, all).is_ok()
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

    /// Bytes that this process may still write to the file system.
    pub fn free_bytes(&self) -> io::Result<u64> {
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
        ownership::give_to_file(&file, &self.directory)?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let writes = access == Access::Write;
        let file = OpenOptions::new()
            .read(true)
            .write(writes)
            .custom_flags(flags(writes))
            .open(self.path.join(name))
            .map_err(through_a_link)?;
        // A pipe opens as well, and can neither be read from a place nor be written to one.
        if !file.metadata()?.is_file() {
            return Err(io::Error::other(NO_FILE));
        }
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
            .custom_flags(flags(true))
            .open(self.path.join(name))
            .map_err(|error| LockError::Io(through_a_link(error)))?;
        let found = file.metadata().map_err(LockError::Io)?;
        if !found.is_file() {
            return Err(LockError::Io(io::Error::other(NO_FILE)));
        }
        // Another name of some file of somebody, which is about to be emptied.
        if found.len() > HOLDER_MAX {
            let cause = "it is not a lock of Hookline, for there is too much in it; remove it";
            return Err(LockError::Io(io::Error::other(cause)));
        }
        match file.try_lock() {
            Ok(()) => {
                ownership::give_to_file(&file, &self.directory).map_err(LockError::Io)?;
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

/// Bytes of the name of a holder, and more.
const HOLDER_MAX: u64 = 1024;

/// Never waits for the other end of a pipe that has the name of a file of ours; what is written is written here.
fn flags(writes: bool) -> i32 {
    let mut flags = OFlags::NONBLOCK;
    flags.set(OFlags::NOFOLLOW, writes);
    i32::try_from(flags.bits()).unwrap_or(0)
}

const NO_FILE: &str = "it is not a regular file; remove it";

/// The system's own words are about levels of links.
fn through_a_link(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => {
            io::Error::other("it is a symbolic link, and nothing is written through one; remove it")
        }
        _ => error,
    }
}

/// The directory that something is in.
fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn advise(file: &File, range: Range<u64>, advice: Advice) -> io::Result<()> {
    match NonZeroU64::new(range.end.saturating_sub(range.start)) {
        // For the call, no length is all the rest.
        None => Ok(()),
        length => Ok(rustix::fs::fadvise(file, range.start, length, advice)?),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail in any way it likes")]
mod tests {
    use super::{Disk, Storage as _};
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::fs::{self, File};
    use std::path::Path;

    fn pipe(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    }

    /// What somebody has put where the last but one state is kept: nobody needs it, and nothing is written into it.
    #[test]
    fn what_is_in_the_place_of_an_old_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        let at = |name: &str| dir.path().join(name);
        disk.replace("state", b"first").unwrap();
        let others: [fn(&Path); 3] = [
            pipe,
            |path| fs::create_dir(path).unwrap(),
            // As long as no state is; it takes no room as it is.
            |path| File::create(path).unwrap().set_len(3 << 30).unwrap(),
        ];
        for (round, put) in others.into_iter().enumerate() {
            let _ = fs::remove_file(at("state.old"));
            put(&at("state.old"));
            let content = format!("state {round}");
            disk.replace("state", content.as_bytes()).unwrap();
            let found = fs::read_to_string(at("state")).unwrap();
            assert_eq!(found.trim_end(), content);
        }
        let is_aside = |number: &str| at(&format!("state.old.aside{number}")).exists();
        assert!(is_aside("") && is_aside(".2") && is_aside(".3"));
        // And what is to be read is no pipe.
        fs::remove_file(at("state")).unwrap();
        pipe(&at("state"));
        let error = disk.open("state", super::Access::Read).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}
