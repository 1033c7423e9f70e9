//! NDJSON in a file: appended, and synced before the cursor moves.
//!
//! After a crash the lines since the last saved cursor may stand in the file twice, with the same `id` and
//! `sequence`. A line that a crash has cut is ended before the next one begins.

use super::lines::Lines;
use super::{Confirmation, Sink};
use crate::feed::{Delivery, Selection, Tally};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

/// The sink.
#[derive(Debug)]
pub struct File {
    output: fs::File,
    lines: Lines,
    /// Length of the file when a write failed.
    cut_at: u64,
    /// Octets that were written since the last sync.
    unsynced: usize,
    /// Why a sync between two confirmations failed.
    unsure: Option<io::Error>,
}

impl File {
    /// Opens the file for appending, or makes it, durable with its name.
    pub fn open(path: &Path) -> io::Result<File> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        if ends_in_a_line(&file)? {
            file.write_all(b"\n")?;
        }
        Ok(File {
            output: file,
            lines: Lines::default(),
            cut_at: 0,
            unsynced: 0,
            unsure: None,
        })
    }

    /// Which file it is, whatever its path: device and inode.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let metadata = self.output.metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

/// True if the last octet ends no line.
fn ends_in_a_line(file: &fs::File) -> io::Result<bool> {
    let Some(last) = file.metadata()?.len().checked_sub(1) else {
        return Ok(false);
    };
    let mut octet = [b'\n'];
    file.read_exact_at(&mut octet, last)?;
    Ok(octet != [b'\n'])
}

impl Sink for File {
    fn deliver(&mut self, delivery: &Delivery, from: u64, wanted: &Selection) -> io::Result<Tally> {
        let resumes = self.lines.prepare(delivery, from, wanted);
        // Somebody may have cut the file meanwhile, and the begin of a line with it.
        if resumes && self.output.metadata()?.len() != self.cut_at {
            self.lines.start_over(ends_in_a_line(&self.output)?);
        }
        let mut output = &self.output;
        let written = self.lines.write_to(|rest| output.write(rest));
        if written.is_err() {
            self.cut_at = self.output.metadata()?.len();
        }
        self.unsynced += self.lines.len();
        if self.unsynced >= SYNC_OCTETS {
            self.unsynced = 0;
            self.unsure = self.output.sync_data().err().or(self.unsure.take());
        }
        written
    }

    /// After an error everything since the last success is appended once more: the system may have dropped what it
    /// could not write, and would call the next sync a success.
    fn confirm(&mut self) -> io::Result<()> {
        self.unsynced = 0;
        self.unsure.take().map_or(Ok(()), Err)?;
        self.output.sync_data()
    }

    fn confirmation(&self) -> Confirmation {
        Confirmation::Fsynced
    }
}

/// Octets after which a sync comes before its time. What is written at once keeps the disk busy at once, and the syncs
/// of the journal, which answers wait for, stand behind it: a catch-up is to hold them up for milliseconds only.
const SYNC_OCTETS: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::{File, Lines, Sink};
    use crate::feed::{Delivery, Maker, Selection};
    use crate::journal::batch::{Batch, Place};

    fn delivery(bodies: &[&[u8]]) -> Delivery {
        let mut batch = Batch::unpooled();
        for body in bodies {
            batch.append(1, 0, 1_750_000_000_000_000, std::iter::empty(), body);
        }
        let place = Place {
            epoch: 1,
            salt: 0,
            first_sequence: 7,
            committed_at: 0,
            durable: 0,
        };
        batch.seal(&place);
        Maker::new().make(batch)
    }

    /// A disk took the begin of a batch and was full; the next attempt wrote all of it behind that, so that its first
    /// event stood on one line with a part of itself, and the cursor passed it. Cut by its owner meanwhile, the file
    /// had the rest of a line at its begin.
    #[test]
    fn what_was_taken_in_part_is_gone_on_with() {
        let delivery = delivery(&[b"{}", b"{\"x\":1}"]);
        let mut lines = Lines::default();
        assert!(!lines.prepare(&delivery, 7, &Selection::default()));
        let mut out = Vec::new();
        let full = |room: usize| {
            move |out: &mut Vec<u8>, rest: &[u8]| {
                let taken = rest.len().min(room.saturating_sub(out.len()));
                out.extend_from_slice(&rest[..taken]);
                match taken {
                    0 => Err(std::io::ErrorKind::StorageFull.into()),
                    taken => Ok(taken),
                }
            }
        };
        lines.write_to(|rest| full(40)(&mut out, rest)).unwrap_err();
        assert!(lines.prepare(&delivery, 7, &Selection::default()));
        assert_eq!(
            lines
                .write_to(|rest| full(9999)(&mut out, rest))
                .unwrap()
                .wanted,
            2
        );
        let mut whole = Vec::new();
        let mut again = Lines::default();
        assert!(!again.prepare(&delivery, 7, &Selection::default()));
        again.write_to(|rest| full(9999)(&mut whole, rest)).unwrap();
        assert!(out == whole);

        let mut cut = Lines::default();
        cut.prepare(&delivery, 7, &Selection::default());
        let mut out = Vec::new();
        cut.write_to(|rest| full(40)(&mut out, rest)).unwrap_err();
        assert!(cut.prepare(&delivery, 7, &Selection::default()));
        cut.start_over(true);
        cut.write_to(|rest| full(9999)(&mut out, rest)).unwrap();
        assert_eq!(out[40], b'\n');
        assert!(out[41..] == whole);
    }

    #[test]
    fn lines_are_appended_and_a_cut_one_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.ndjson");
        std::fs::write(&path, "{\"whole\":1}\n{\"cut").unwrap();
        let delivery = delivery(&[b"{\"object\":\"x\",\"entry\":[]}", b"not json", b"{}"]);
        let mut sink = File::open(&path).unwrap();
        assert_eq!(
            sink.deliver(&delivery, 8, &Selection::default())
                .unwrap()
                .wanted,
            2,
            "from the second one on"
        );
        sink.confirm().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[1]), (4, "{\"cut"));
        assert!(
            lines[2].contains("\"type\":\"whatsapp.unparsed\"")
                && lines[2].contains("\"sequence\":\"8.0\"")
        );
        assert!(lines[3].contains("\"sequence\":\"9.0\""));
    }
}
