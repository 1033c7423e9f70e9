//! A file that cannot be opened yet, because its directory is still to come: events wait for it in the journal.

use super::File;
use super::rotation::Rotation;
use crate::feed::{Selection, Tally};
use crate::sink::statistics::Confirmation;
use crate::sink::stream::Sink;
use crate::worker::EventBatch;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The sink.
#[derive(Debug)]
pub struct LateFile {
    path: PathBuf,
    sink: String,
    rotation: Rotation,
    mode: u32,
    file: Option<File>,
}

impl LateFile {
    /// The file of this sink. It is opened before the first delivery, as often as that takes.
    pub fn new(sink: &str, path: &Path, rotation: Rotation, mode: u32) -> LateFile {
        LateFile {
            path: path.to_owned(),
            sink: sink.to_owned(),
            rotation,
            mode,
            file: None,
        }
    }

    fn file(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Sink for LateFile {
    fn resume(&mut self, confirmed: u64) -> io::Result<u64> {
        let file = File::open(&self.path, self.rotation, self.mode)?;
        let mut file = file.named(&self.sink);
        file.resume(confirmed)?;
        self.file = Some(file);
        Ok(confirmed)
    }

    fn note_backlog(&mut self, is_backlog: bool) {
        if let Some(file) = &mut self.file {
            file.note_backlog(is_backlog);
        }
    }

    fn note_more(&mut self, follows: bool) {
        if let Some(file) = &mut self.file {
            file.note_more(follows);
        }
    }

    fn deliver(
        &mut self,
        delivery: &EventBatch,
        from: u64,
        wanted: &Selection,
    ) -> io::Result<Tally> {
        self.file()?.deliver(delivery, from, wanted)
    }

    fn holds_back(&self) -> bool {
        self.file.as_ref().is_some_and(File::holds_back)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), File::flush)
    }

    fn is_due(&self) -> bool {
        self.file.as_ref().is_some_and(File::is_due)
    }

    fn confirm(&mut self) -> io::Result<()> {
        self.file()?.confirm()
    }

    fn saved(&mut self) {
        if let Some(file) = &mut self.file {
            file.saved();
        }
    }

    fn confirmation(&self) -> Confirmation {
        Confirmation::Fsynced
    }
}
