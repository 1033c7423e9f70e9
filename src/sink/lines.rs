//! Events as NDJSON, on their way out.
//!
//! A pipe or a disk may take a part and then refuse. The next attempt goes on where that one ended: were it to begin
//! anew, its first event would stand on the same line as the part that had been taken, and neither could be read.
//!
//! They are rendered some at a time, into the buffer that is written: all lines of a large body would be ten times as
//! large as that is. Those of several small deliveries may wait there, to go out together.

use crate::event::{self, Position};
use crate::feed::{EventOutcome, Selection, Tally};
use crate::worker::EventBatch;
use std::io::{self, ErrorKind};

/// One event a line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Whole lines; at least the last of them is not out.
    bytes: Vec<u8>,
    /// So much of them is out.
    written: usize,
    /// The delivery that is being rendered: its last sequence, and `from`.
    of: Option<(u64, u64)>,
    /// The first event of it that has no line yet.
    next: Position,
    /// What became of those before it.
    tally: Tally,
}

impl Lines {
    /// Begins with what is wanted of the delivery from sequence `from` on, or goes on with just that after an error.
    /// Lines that wait go before it.
    pub(super) fn begin(&mut self, delivery: &EventBatch, from: u64) {
        let of = Some((delivery.last_sequence(), from));
        if self.of != of {
            self.of = of;
            self.tally = Tally::default();
            self.next = Position {
                sequence: from,
                index: 0,
            };
        }
    }

    /// Renders the next lines until [`ENOUGH`] wait. True when none of the delivery is left to be rendered.
    pub(super) fn fill(&mut self, delivery: &EventBatch, wanted: &Selection) -> bool {
        if self.rest().is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(RETAINED_MAX);
            self.written = 0;
        }
        let begin = self.next;
        let behind = delivery.last_sequence() + 1;
        if begin.sequence >= behind {
            return true;
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
                    return false;
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
        true
    }

    /// All events of the delivery have their lines: says what became of them.
    pub(super) fn finish(&mut self) -> Tally {
        self.of = None;
        self.tally
    }

    /// What is not out yet of the lines.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// True when it is time for what waits to go out.
    pub(super) fn are_enough(&self) -> bool {
        self.bytes.len() >= ENOUGH
    }

    /// So much of the rest is out already.
    pub(super) fn pass(&mut self, len: usize) {
        self.written += len;
    }

    /// The last `len` bytes that went out are gone: goes back to the begin of the line before which nothing is missing.
    pub(super) fn go_back(&mut self, len: usize) {
        let there = &self.bytes[..self.written.saturating_sub(len)];
        self.written = memchr::memrchr(b'\n', there).map_or(0, |end| end + 1);
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
}

/// Bytes of lines that are written together.
const ENOUGH: usize = if cfg!(test) { 512 } else { 256 << 10 };

/// Bytes that are kept for them. A single line may be larger.
const RETAINED_MAX: usize = 2 * ENOUGH;

/// True for a line that is, or begins as, an event of the live stream.
pub(super) fn begins_event(line: &[u8]) -> bool {
    line.starts_with(b"{\"specversion\":\"1.0\",\"id\":\"")
}

/// With what a line begins that belongs to a replay.
pub(super) const REPLAYED: &[u8] = b"{\"specversion\":\"1.0\",\"replay\":\"";
