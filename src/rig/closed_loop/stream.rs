//! What was sent on one connection, and what came back.

use std::ops::Range;

/// What happened on one connection in one round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Requests of which any octet may have left: numbers from 0.
    pub(crate) sent: u64,
    /// Every number below was answered with 200, but for those in `refused`.
    pub(crate) answered: u64,
    /// Answered with 503, or not before a connection ended that had to: these may be there or not.
    pub(crate) refused: Vec<Range<u64>>,
}

impl Stream {
    /// The next answer is no 200.
    pub(crate) fn refuse(&mut self, count: u64) {
        let (start, end) = (self.answered, self.answered + count);
        match self.refused.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => self.refused.push(start..end),
        }
        self.answered = end;
    }

    /// How many were answered with 200.
    pub(crate) fn stored(&self) -> u64 {
        self.owed(0..self.answered)
    }

    /// How many of these have to be there.
    pub(crate) fn owed(&self, numbers: Range<u64>) -> u64 {
        let numbers = numbers.start..numbers.end.min(self.answered);
        let refused = self.refused.iter().map(|refused| {
            let both = refused.start.max(numbers.start)..refused.end.min(numbers.end);
            length(&both)
        });
        length(&numbers) - refused.sum::<u64>()
    }
}

fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}
