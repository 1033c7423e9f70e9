//! NDJSON in a file: appended, synced before the cursor moves, and set aside for a new one when it is large or old.
//!
//! Nothing stands in it twice, whenever the process was killed: what a sink has written since its cursor was saved last
//! is found again by [`tail`]. And nothing is left out: what is not there as it would be written now is written.
//!
//! | what happened | what follows |
//! |---|---|
//! | killed in the middle of a write | the line is gone on with where it was cut |
//! | killed in the middle of a rotation | the file is where it was, or aside, and a new one is made |
//! | power cut | lines up to the cursor were synced; behind them what is whole counts, from the first torn line on the file is cut and written again |
//! | a sync failed | the same process writes everything since the cursor once more, so that it may stand there twice |
//! | another build or other filters, after a kill | lines that would be different now may come twice |
//! | somebody moved or removed the file | within a second of the next event there is a new one |
//! | at its path there is a pipe, a device or a directory | nothing is written until there is a regular file, or none |
//! | somebody cut it | what was in it is gone; the next line begins as a line |
//!
//! **Rotation** waits until everything in the file is confirmed and the cursor is saved. So a file that was set aside
//! is complete, and no start has to look into it; and at each moment everything up to the cursor is durable under one
//! name or the other. A file gets larger than `size` by one batch at most, and older than `every` while nothing comes.

mod late;
mod rotation;
mod tail;

pub use late::LateFile;
pub use rotation::Rotation;

use super::lines::Lines;
use super::statistics::Confirmation;
use super::stream::Sink;
use crate::feed::{Selection, Tally};
use crate::worker::EventBatch;
use rustix::fs::{Advice, OFlags};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tail::{Tail, Then};

/// The sink.
#[derive(Debug)]
pub struct File {
    /// Name of the sink, for the log.
    sink: String,
    path: PathBuf,
    rotation: Rotation,
    /// Who may read a file that is made here.
    mode: u32,
    output: fs::File,
    opened: Instant,
    lines: Lines,
    /// What an earlier process has written behind the cursor.
    tail: Option<Tail>,
    /// Length of the file when a write failed.
    cut_at: u64,
    /// Bytes that were written since the last sync.
    unsynced: usize,
    /// Bytes after which there is one.
    sync_after: usize,
    /// Why a sync between two confirmations has failed.
    unsure: Option<io::Error>,
    /// Everything in the file is confirmed, and the cursor saved.
    at_rest: bool,
    /// A rotation has failed, and that was logged.
    logged: bool,
}

impl File {
    /// Opens the file for appending, or makes it with these permissions, durable with its name. An error for what is
    /// no regular file: what is written there could not be synced.
    pub fn open(path: &Path, rotation: Rotation, mode: u32) -> io::Result<File> {
        Ok(File {
            sink: String::new(),
            path: path.to_owned(),
            rotation,
            mode,
            output: open(path, mode)?,
            opened: Instant::now(),
            lines: Lines::default(),
            tail: None,
            cut_at: 0,
            unsynced: 0,
            sync_after: SYNC_LIVE,
            unsure: None,
            at_rest: false,
            logged: false,
        })
    }

    /// Gives it the name of its sink, which the log says.
    pub fn named(self, sink: &str) -> File {
        let sink = sink.to_owned();
        File { sink, ..self }
    }

    /// Which file it is, whatever its path: device and inode.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        Ok(identity(&self.output.metadata()?))
    }

    /// Goes over to a new file when this one is due, or is not at its path any more.
    fn follow(&mut self) -> io::Result<()> {
        let here = match fs::metadata(&self.path) {
            Ok(found) => identity(&found) == identity(&self.output.metadata()?),
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if here {
            let due = self.rotation.is_due(&self.output.metadata()?, self.opened);
            if !due || !self.set_aside() {
                return Ok(());
            }
        }
        self.output = open(&self.path, self.mode)?;
        self.opened = Instant::now();
        self.end_cut_line()
    }

    /// False if that is not possible now; the file grows on then, and it is tried again.
    fn set_aside(&mut self) -> bool {
        let done = self.rotation.set_aside(&self.path, &self.sink);
        let failed_before = std::mem::replace(&mut self.logged, done.is_err());
        if let Err(error) = &done
            && !failed_before
        {
            let (sink, path) = (&self.sink, self.path.display());
            tracing::warn!(sink, %error, %path, "the file of the sink cannot be rotated: it grows on, and that is tried again; make room, or give its directory to the user that serves");
        }
        done.is_ok()
    }

    /// Passes over those of the lines that are in the file already.
    fn pass_over(&mut self) -> io::Result<()> {
        let Some(tail) = &mut self.tail else {
            return Ok(());
        };
        let (same, then) = tail.compare(self.lines.rest())?;
        self.lines.pass(same);
        match then {
            Then::More => return Ok(()),
            Then::End => {}
            Then::Torn(at) => self.output.set_len(at)?,
            Then::Different => self.end_cut_line()?,
        }
        self.tail = None;
        Ok(())
    }

    fn end_cut_line(&self) -> io::Result<()> {
        if ends_in_a_line(&self.output)? {
            (&self.output).write_all(b"\n")?;
        }
        Ok(())
    }

    fn write(&mut self, delivery: &EventBatch, from: u64, wanted: &Selection) -> io::Result<Tally> {
        let resumes = self.lines.prepare(delivery, from);
        // Somebody may have cut the file meanwhile, and the begin of a line with it.
        if resumes && self.output.metadata()?.len() != self.cut_at {
            self.tail = None;
            self.lines.start_over(ends_in_a_line(&self.output)?);
        }
        while self.lines.fill(delivery, wanted) {
            self.pass_over()?;
            self.append()?;
        }
        Ok(self.lines.finish())
    }

    /// Writes the lines that are not in the file yet.
    fn append(&mut self) -> io::Result<()> {
        let mut output = &self.output;
        self.lines.write_to(|rest| {
            if self.unsynced >= self.sync_after {
                self.unsynced = 0;
                self.unsure = output.sync_data().err().or(self.unsure.take());
                forget(output)?;
            }
            let room = self.sync_after - self.unsynced;
            let written = output.write(&rest[..rest.len().min(room)])?;
            self.unsynced += written;
            Ok(written)
        })
    }
}

impl Sink for File {
    fn resume(&mut self, confirmed: u64) -> io::Result<()> {
        self.tail = Tail::find(&self.path, &self.output, confirmed)?;
        self.at_rest = self.tail.is_none();
        if self.at_rest {
            self.end_cut_line()?;
        }
        Ok(())
    }

    fn note_backlog(&mut self, is_backlog: bool) {
        self.sync_after = if is_backlog { SYNC_BACKLOG } else { SYNC_LIVE };
    }

    fn deliver(
        &mut self,
        delivery: &EventBatch,
        from: u64,
        wanted: &Selection,
    ) -> io::Result<Tally> {
        if self.at_rest {
            self.follow()?;
            self.at_rest = false;
        }
        let written = self.write(delivery, from, wanted);
        if written.is_err() {
            self.cut_at = self.output.metadata()?.len();
        }
        written
    }

    fn is_due(&self) -> bool {
        !self.logged && self.rotation.is_full(&self.output)
    }

    /// After an error everything since the last success is appended once more: the system may have dropped what it
    /// could not write, and would call the next sync a success.
    fn confirm(&mut self) -> io::Result<()> {
        self.unsynced = 0;
        let synced = self.unsure.take().map_or(Ok(()), Err);
        let synced = synced.and_then(|()| self.output.sync_data());
        if synced.is_err() {
            self.tail = None;
        }
        synced
    }

    fn saved(&mut self) {
        self.at_rest = self.tail.is_none();
    }

    fn confirmation(&self) -> Confirmation {
        Confirmation::Fsynced
    }
}

/// Bytes after which a sync comes before its time. What it has to write keeps the disk busy at once, and the syncs of
/// the journal, which answers wait for, stand behind it: with 4 MiB the p99 of answers beside a catch-up is four times
/// what it is without, with 256 KiB nearly twice that, with 64 KiB the same. Each sync costs some 0.1 ms, so what
/// comes at its own pace is synced less often.
const SYNC_BACKLOG: usize = 64 << 10;
const SYNC_LIVE: usize = 256 << 10;

/// Lets the system's cache go of all but the end: pages that come back are warm, those that have to be found when the
/// cache is full are not, and make a write several times as long. Who follows the file finds the end of it there.
fn forget(file: &fs::File) -> io::Result<()> {
    if let Some(bytes) = NonZeroU64::new(file.metadata()?.len().saturating_sub(CACHED)) {
        // Advice: a cache that keeps it costs time only.
        let _ = rustix::fs::fadvise(file, 0, Some(bytes), Advice::DontNeed);
    }
    Ok(())
}

/// Bytes of the file that stay in the cache.
const CACHED: u64 = 8 << 20;

/// Opens it, and makes its name durable. A file that is new gets exactly this mode, whatever the umask is.
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

/// The directory of a file.
fn directory(path: &Path) -> &Path {
    let parent = path.parent();
    parent
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Which file it is, whatever its path.
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// True if the last byte ends no line.
fn ends_in_a_line(file: &fs::File) -> io::Result<bool> {
    let Some(last) = file.metadata()?.len().checked_sub(1) else {
        return Ok(false);
    };
    let mut byte = [b'\n'];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != [b'\n'])
}

#[cfg(test)]
mod tests;
