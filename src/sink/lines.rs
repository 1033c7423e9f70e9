//! The events of one delivery as NDJSON, on their way out.
//!
//! A pipe or a disk may take a part and then refuse. The next attempt goes on where that one ended: were it to begin
//! anew, its first event would stand on the same line as the part that had been taken, and neither could be read.

use crate::event;
use crate::feed::{Delivery, Selection, Tally};
use std::io::{self, ErrorKind};

/// One event a line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    octets: Vec<u8>,
    written: usize,
    tally: Tally,
    /// Last sequence and `from` of the delivery that this is.
    of: Option<(u64, u64)>,
}

impl Lines {
    /// Renders what is wanted of the delivery from sequence `from` on, unless a part of just that is out already: then
    /// says true.
    pub(super) fn prepare(&mut self, delivery: &Delivery, from: u64, wanted: &Selection) -> bool {
        let of = Some((delivery.last_sequence(), from));
        let begun = self.written > 0 && self.written < self.octets.len();
        if begun && self.of == of {
            return true;
        }
        let cut = begun && self.octets[self.written - 1] != b'\n';
        self.octets.clear();
        self.octets.extend(cut.then_some(b'\n'));
        (self.written, self.tally, self.of) = (0, Tally::default(), of);
        for notification in delivery.notifications(from) {
            for event in wanted.of(&notification, &mut self.tally) {
                let replay = wanted.replay.as_ref().map(|replay| &*replay.id);
                let body = notification.record.body;
                event::render_replayed(event, body, replay, &mut self.octets);
                self.octets.push(b'\n');
            }
        }
        false
    }

    /// What is not out yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.octets[self.written..]
    }

    /// So much of the rest is out already.
    pub(super) fn pass(&mut self, len: usize) {
        self.written += len;
    }

    /// Begins anew; what is there may end in the middle of a line.
    pub(super) fn start_over(&mut self, cut: bool) {
        self.written = 0;
        if cut && self.octets.first() != Some(&b'\n') {
            self.octets.insert(0, b'\n');
        }
    }

    /// Writes what is left, and says what became of the events of all of it.
    pub(super) fn write_to(
        &mut self,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<Tally> {
        while let Some(rest) = self.octets.get(self.written..).filter(|it| !it.is_empty()) {
            match write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => self.written += taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.tally)
    }
}

/// True for a line that is, or begins as, an event of the live stream.
pub(super) fn begins_event(line: &[u8]) -> bool {
    line.starts_with(b"{\"specversion\":\"1.0\",\"id\":\"")
}

/// With what a line begins that belongs to a replay.
pub(super) const REPLAYED: &[u8] = b"{\"specversion\":\"1.0\",\"replay\":\"";
