//! NDJSON in a file: appended, and synced before the cursor moves.
//!
//! After a crash the lines since the last saved cursor may stand in the file twice, with the same `id` and
//! `sequence`. A line that a crash has cut is ended before the next one begins.

use super::{Confirmation, Sink, stdout};
use crate::feed::Delivery;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// The sink.
#[derive(Debug)]
pub struct File {
    output: fs::File,
    /// Length up to which whole batches were written.
    len: u64,
    /// Length up to which they were synced.
    synced: u64,
    lines: Vec<u8>,
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
        let len = file.seek(SeekFrom::End(0))?;
        let mut last = [b'\n'];
        if len > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
        let len = file.seek(SeekFrom::End(0))?;
        Ok(File {
            output: file,
            len,
            synced: len,
            lines: Vec::new(),
        })
    }
}

impl Sink for File {
    fn deliver(&mut self, delivery: &Delivery, from: u64) -> io::Result<u64> {
        let events = stdout::render(delivery, from, &mut self.lines);
        if let Err(error) = self.output.write_all(&self.lines) {
            // Part of it may be there; the next attempt writes all of it. A file that somebody has cut meanwhile
            // stays cut.
            self.len = self.len.min(self.output.metadata()?.len());
            self.output.set_len(self.len)?;
            return Err(error);
        }
        self.len += self.lines.len() as u64;
        Ok(events)
    }

    fn confirm(&mut self) -> io::Result<()> {
        let synced = self.output.sync_data();
        if synced.is_err() {
            // The system may have dropped what it could not write, and would call the next sync a success. All of it
            // is delivered again; if it cannot be cut off now, some lines come twice.
            let synced = self.synced.min(self.output.metadata()?.len());
            self.output.set_len(synced)?;
            self.len = synced;
        }
        synced?;
        self.synced = self.len;
        Ok(())
    }

    fn confirmation(&self) -> Confirmation {
        Confirmation::Fsynced
    }
}

#[cfg(test)]
mod tests {
    use super::{File, Sink};
    use crate::feed::Maker;
    use crate::journal::batch::{Batch, Place};

    #[test]
    fn lines_are_appended_and_a_cut_one_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.ndjson");
        std::fs::write(&path, "{\"whole\":1}\n{\"cut").unwrap();
        let mut batch = Batch::unpooled();
        for body in [&b"{\"object\":\"x\",\"entry\":[]}"[..], b"not json", b"{}"] {
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
        let delivery = Maker::new().make(batch);
        let mut sink = File::open(&path).unwrap();
        assert_eq!(
            sink.deliver(&delivery, 8).unwrap(),
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
