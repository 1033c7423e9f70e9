//! The events of one delivery as NDJSON, on their way out.
//!
//! A pipe or a disk may take a part and then refuse. The next attempt goes on where that one ended: were it to begin
//! anew, its first event would stand on the same line as the part that had been taken, and neither could be read.
//!
//! They are rendered some at a time: all lines of a large body would be ten times as large as that is.

use crate::event::{self, Position};
use crate::feed::{EventOutcome, Selection, Tally};
use crate::worker::EventBatch;
use std::io::{self, ErrorKind};

/// One event a line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The lines that are on their way.
    bytes: Vec<u8>,
    written: usize,
    /// The first event that has no line yet.
    next: Position,
    /// What became of those before it.
    tally: Tally,
    /// Last sequence and `from` of the delivery that this is.
    of: (u64, u64),
    /// A part of it is out, and not all.
    begun: bool,
}

impl Lines {
    /// Begins with what is wanted of the delivery from sequence `from` on, unless a part of just that is out already:
    /// then says true.
    pub(super) fn prepare(&mut self, delivery: &EventBatch, from: u64) -> bool {
        let of = (delivery.last_sequence(), from);
        if self.begun && self.of == of {
            return true;
        }
        let out = &self.bytes[..self.written];
        let cut = self.begun && out.last().is_some_and(|last| *last != b'\n');
        self.of = of;
        self.start_over(cut);
        false
    }

    /// Renders the next lines where none are on their way; false when all of them are out.
    pub(super) fn fill(&mut self, delivery: &EventBatch, wanted: &Selection) -> bool {
        if self.rest().is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(RETAINED_MAX);
            self.written = 0;
            self.render(delivery, wanted);
        }
        !self.bytes.is_empty()
    }

    fn render(&mut self, delivery: &EventBatch, wanted: &Selection) {
        let begin = self.next;
        let behind = delivery.last_sequence() + 1;
        if begin.sequence >= behind {
            return;
        }
        let replay = wanted.replay.as_ref().map(|replay| &*replay.id);
        for notification in delivery.notifications(begin.sequence) {
            if !wanted.reaches(notification.sequence) {
                break;
            }
            let record = notification.record;
            let is_first = notification.sequence == begin.sequence;
            let passed = if is_first { begin.index as usize } else { 0 };
            for event in notification.events().skip(passed) {
                if self.bytes.len() >= ENOUGH {
                    self.next = event.position();
                    return;
                }
                let outcome = wanted.outcome(event, record.endpoint);
                self.tally.count(outcome);
                if outcome == EventOutcome::Wanted {
                    event::render_replayed(event, record.body, replay, &mut self.bytes);
                    self.bytes.push(b'\n');
                }
            }
        }
        self.next = Position {
            sequence: behind,
            index: 0,
        };
    }

    /// What is not out yet of the lines that are on their way.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// So much of the rest is out already.
    pub(super) fn pass(&mut self, len: usize) {
        self.written += len;
        self.begun |= len > 0;
    }

    /// Begins anew; what is there may end in the middle of a line.
    pub(super) fn start_over(&mut self, cut: bool) {
        self.bytes.clear();
        self.bytes.extend(cut.then_some(b'\n'));
        (self.written, self.begun) = (0, false);
        self.tally = Tally::default();
        self.next = Position {
            sequence: self.of.1,
            index: 0,
        };
    }

    /// Writes the rest.
    pub(super) fn write_to(
        &mut self,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while !self.rest().is_empty() {
            match write(self.rest()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => self.pass(taken),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// All lines are out: says what became of the events.
    pub(super) fn finish(&mut self) -> Tally {
        self.begun = false;
        self.tally
    }
}

/// Bytes of lines that are written together: those of an ordinary batch.
const ENOUGH: usize = if cfg!(test) { 64 } else { 512 << 10 };

/// Bytes that are kept for them. A single line may be larger.
const RETAINED_MAX: usize = 2 * ENOUGH;

/// True for a line that is, or begins as, an event of the live stream.
pub(super) fn begins_event(line: &[u8]) -> bool {
    line.starts_with(b"{\"specversion\":\"1.0\",\"id\":\"")
}

/// With what a line begins that belongs to a replay.
pub(super) const REPLAYED: &[u8] = b"{\"specversion\":\"1.0\",\"replay\":\"";
