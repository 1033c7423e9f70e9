//! A body is parsed once, into buffers that are reused from body to body.

use super::contacts::Contacts;
use super::context::Context;
use super::document::Document;
use super::emit::{self, Emitter};
use super::events::{Events, Unparsed};
use super::shape::Holds;
use super::span::Spans;
use super::stand_in;
use super::walk::Walk;
use simd_json::{Buffers, ErrorType, INPUT_PADDING, Tape};
use std::fmt;

/// Deepest nesting of arrays and objects that is taken apart. The platform's bodies nest about ten deep;
/// common parsers, which read what is made of them, give up at 128.
pub const NESTING_MAX: usize = 100;

/// Where a body comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Sequence in the journal.
    pub sequence: u64,
    /// Position of the record in its batch, from 0.
    pub record: u32,
    /// Time of arrival in microseconds since 1970.
    pub received_at: u64,
    /// It came from other senders than the platform, who may mean the same body anew.
    pub foreign: bool,
}

/// Takes bodies apart; each worker has one, and nothing is allocated per event once it is warm.
pub struct Extractor {
    buffers: Buffers,
    tape: Tape<'static>,
    /// simd-json unescapes strings in place, so it gets a copy; the journal's body stays as it is.
    copy: Vec<u8>,
    spans: Spans,
    context: Context,
    contacts: Contacts,
    carried: Vec<(usize, Holds)>,
}

impl Extractor {
    /// An extractor that has not allocated yet.
    #[must_use]
    pub fn new() -> Extractor {
        Extractor {
            buffers: Buffers::with_max_depth(0, NESTING_MAX),
            tape: Tape(Vec::new()),
            copy: Vec::new(),
            spans: Spans::default(),
            context: Context::default(),
            contacts: Contacts::default(),
            carried: Vec::new(),
        }
    }

    /// Appends the events of one body, at least one.
    pub fn extract(&mut self, body: &[u8], origin: Origin, events: &mut Events) {
        self.copy.clear();
        self.copy.extend_from_slice(body);
        let mut outcome = self.parse(body, origin, events);
        if let Err(refused @ (Unparsed::NotJson | Unparsed::TooDeep)) = outcome {
            if !stand_in::write(body, &mut self.copy) {
                outcome = Err(Unparsed::NotJson);
            } else if refused == Unparsed::NotJson {
                outcome = self.parse(body, origin, events);
            }
        }
        if let Err(reason) = outcome {
            emit::unparsed(events, body, origin, reason);
        }
        if body.len() > RETAINED_MAX {
            *self = Extractor::new();
        }
    }

    /// What its own buffers hold at most.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 2] {
        [self.copy.capacity(), self.tape.0.capacity()]
    }

    /// Parses the copy, and takes everything else from `body`: the two differ only where a stand-in was made.
    fn parse(&mut self, body: &[u8], origin: Origin, events: &mut Events) -> Result<(), Unparsed> {
        self.copy.resize(body.len() + INPUT_PADDING, 0);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let filled =
            simd_json::fill_tape_padded(&mut self.copy, body.len(), &mut self.buffers, &mut tape);
        let outcome = match filled {
            Err(error) => Err(match error.error() {
                ErrorType::DepthLimitExceeded => Unparsed::TooDeep,
                _ => Unparsed::NotJson,
            }),
            Ok(())
                if !self
                    .spans
                    .fill(body, self.buffers.structural_indexes(), tape.0.len()) =>
            {
                debug_assert!(false, "the tape and the structural characters disagree");
                Err(Unparsed::NotJson)
            }
            Ok(()) => {
                let document = Document::new(body, &tape.0, &self.spans);
                let mark = events.mark();
                let emitter = Emitter::new(
                    document,
                    origin,
                    events,
                    &mut self.context,
                    &mut self.contacts,
                );
                self.carried.clear();
                let carried = &mut self.carried;
                let walk = Walk {
                    document,
                    emitter,
                    carried,
                };
                if walk.body() {
                    Ok(())
                } else {
                    events.truncate(mark);
                    Err(Unparsed::TooMany)
                }
            }
        };
        self.tape = tape.reset();
        outcome
    }
}

impl Default for Extractor {
    fn default() -> Self {
        Extractor::new()
    }
}

impl fmt::Debug for Extractor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its buffers hold the last body, which belongs in no log.
        f.debug_struct("Extractor").finish_non_exhaustive()
    }
}

/// Octets of the largest body after which the buffers are kept: they grow to some thirty times that.
const RETAINED_MAX: usize = 1 << 20;
