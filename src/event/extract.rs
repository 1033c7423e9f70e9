//! A body is parsed once, into buffers that are reused from body to body.

use super::contacts::Contacts;
use super::context::Context;
use super::document::Document;
use super::emit::{self, Emitter};
use super::events::{Events, Unparsed};
use super::scan::{Refused, Scan};
use super::shape::Holds;
use super::walk::Walk;
use serde::de::IgnoredAny;
use std::fmt;

/// Where a body comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Sequence in the journal.
    pub sequence: u64,
    /// Position of the record in its batch, from 0.
    pub record: u32,
    /// Number that the journal gives to the endpoint; 0 is none's.
    pub endpoint: u16,
    /// Time of arrival in microseconds since 1970.
    pub received_at: u64,
    /// It came from other senders than the platform, who may mean the same body anew.
    pub foreign: bool,
}

/// Takes bodies apart; each worker has one, and nothing is allocated per event once it is warm.
#[derive(Default)]
pub struct Extractor {
    scan: Scan,
    context: Context,
    contacts: Contacts,
    carried: Vec<(usize, Holds)>,
}

impl Extractor {
    /// An extractor that has not allocated yet.
    #[must_use]
    pub fn new() -> Extractor {
        Extractor::default()
    }

    /// Appends the events of one body, at least one.
    pub fn extract(&mut self, body: &[u8], origin: Origin, events: &mut Events) {
        if let Err(reason) = self.take_apart(body, origin, events) {
            emit::unparsed(events, body, origin, reason);
        }
        if body.len() > RETAINED_MAX {
            *self = Extractor::new();
        }
    }

    /// What its own buffers hold at most.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 2] {
        self.scan.capacities()
    }

    fn take_apart(
        &mut self,
        body: &[u8],
        origin: Origin,
        events: &mut Events,
    ) -> Result<(), Unparsed> {
        let body = without_mark(body);
        let text = std::str::from_utf8(body).map_err(|_| Unparsed::NotJson)?;
        self.scan.fill(text).map_err(|refused| match refused {
            Refused::TooDeep if is_json(text) => Unparsed::TooDeep,
            Refused::TooDeep | Refused::NotJson => Unparsed::NotJson,
        })?;
        let document = Document::new(text, &self.scan);
        let mark = events.mark();
        let emitter = Emitter::new(
            document,
            origin,
            events,
            &mut self.context,
            &mut self.contacts,
        );
        self.carried.clear();
        let walk = Walk {
            document,
            emitter,
            carried: &mut self.carried,
        };
        if !walk.body() {
            events.truncate(mark);
            return Err(Unparsed::TooMany);
        }
        Ok(())
    }
}

/// The body without the byte order mark that some write before UTF-8, and a parser may ignore (RFC 8259, section 8.1).
/// The places of an event are those in what is left.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// Looks at what is behind the limit, too: `IgnoredAny` keeps its nesting on the heap.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

impl fmt::Debug for Extractor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its buffers hold the last body, which belongs in no log.
        f.debug_struct("Extractor").finish_non_exhaustive()
    }
}

/// Octets of the largest body after which the buffers are kept: they grow to some ten times that.
const RETAINED_MAX: usize = 1 << 20;
