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
mod output;
mod rotation;
mod tail;

pub use late::LateFile;
pub use rotation::Rotation;

use super::lines::Lines;
use super::statistics::Confirmation;
use super::stream::Sink;
use crate::feed::{Selection, Tally};
use crate::worker::EventBatch;
use output::{Output, identity};
use std::fs;
use std::io::{self, ErrorKind};
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
    output: Output,
    opened: Instant,
    lines: Lines,
    /// Lines wait until there are enough of them.
    gathers: bool,
    /// What an earlier process has written behind the cursor.
    tail: Option<Tail>,
    /// Length of the file when a write failed.
    failed_at: Option<u64>,
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
            output: Output::open(path, mode)?,
            opened: Instant::now(),
            lines: Lines::default(),
            gathers: false,
            tail: None,
            failed_at: None,
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
        let metadata = self.output.metadata()?;
        let here = match fs::metadata(&self.path) {
            Ok(found) => identity(&found) == identity(&metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if here && !(self.rotation.is_due(&metadata, self.opened) && self.set_aside()) {
            self.output.note_len(metadata.len());
            return Ok(());
        }
        self.output = Output::open(&self.path, self.mode)?;
        self.opened = Instant::now();
        self.output.end_cut_line()
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
            Then::Different => self.output.end_cut_line()?,
        }
        self.tail = None;
        Ok(())
    }

    /// Goes on behind a write that has failed. Somebody may have cut the file meanwhile, and lines with it.
    fn look_again(&mut self) -> io::Result<()> {
        let Some(len) = self.failed_at else {
            return Ok(());
        };
        let now = self.output.metadata()?.len();
        if now != len {
            self.tail = None;
            self.output.end_cut_line()?;
            let cut = usize::try_from(len.saturating_sub(now)).unwrap_or(usize::MAX);
            self.lines.go_back(cut);
        }
        self.failed_at = None;
        Ok(())
    }

    /// Renders everything, and writes it but for what is to wait.
    fn render(
        &mut self,
        delivery: &EventBatch,
        from: u64,
        wanted: &Selection,
    ) -> io::Result<Tally> {
        self.lines.begin(delivery, from);
        loop {
            let is_whole = self.lines.fill(delivery, wanted);
            if !self.gathers || self.lines.are_enough() {
                self.write()?;
            }
            if is_whole {
                return Ok(self.lines.finish());
            }
        }
    }

    /// Writes the lines that are not in the file yet.
    fn write(&mut self) -> io::Result<()> {
        self.look_again()?;
        let written = self.pass_over();
        let written = written.and_then(|()| self.lines.write_to(|rest| self.output.append(rest)));
        if written.is_err() {
            self.failed_at = Some(self.output.metadata()?.len());
        }
        written
    }
}

impl Sink for File {
    fn resume(&mut self, confirmed: u64) -> io::Result<u64> {
        self.tail = Tail::find(&self.path, self.output.file(), confirmed)?;
        self.at_rest = self.tail.is_none();
        if self.at_rest {
            self.output.end_cut_line()?;
        }
        Ok(confirmed)
    }

    fn note_backlog(&mut self, is_backlog: bool) {
        self.output.note_backlog(is_backlog);
    }

    fn note_more(&mut self, follows: bool) {
        self.gathers = follows;
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
        self.render(delivery, from, wanted)
    }

    fn holds_back(&self) -> bool {
        !self.lines.rest().is_empty()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write()
    }

    fn is_due(&self) -> bool {
        !self.logged && self.rotation.is_full(self.output.len())
    }

    /// After an error everything since the last success is appended once more: the system may have dropped what it
    /// could not write, and would call the next sync a success.
    fn confirm(&mut self) -> io::Result<()> {
        self.flush()?;
        let synced = self.output.sync();
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

/// The directory of a file.
fn directory(path: &Path) -> &Path {
    let parent = path.parent();
    parent
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests;
