//! A body is parsed once, into buffers that are reused from body to body.

use super::events::{Events, Origin, Unparsed};
use super::foreign::{self, Values};
use super::form::{Sender, WhatsApp};
use super::json::document::Document;
use super::json::name::Name;
use super::json::scan::{Refused, Scan};
use super::pages::{LARGE, LARGE_KEPT};
use super::whatsapp::contacts::Contacts;
use super::whatsapp::context::Context;
use super::whatsapp::emit::Emitter;
use super::whatsapp::shape::Holds;
use super::whatsapp::walk::Walk;
use serde::de::IgnoredAny;

/// Takes bodies apart; each worker has one, and nothing is allocated per event once it is warm.
#[derive(Default)]
pub struct Extractor {
    scan: Scan,
    context: Context,
    contacts: Contacts,
    carried: Vec<(usize, Holds)>,
    values: Values,
    /// Bodies since the last large one.
    since_large: u32,
}

impl Extractor {
    /// An extractor that has not allocated yet.
    pub fn new() -> Extractor {
        Extractor::default()
    }

    /// Appends the events of one body, at least one, as of one from the platform.
    pub fn extract(&mut self, body: &[u8], origin: Origin, events: &mut Events) {
        self.extract_from(None, body, origin, events);
    }

    /// The same for a body of which it is known how it is to be read.
    pub fn extract_from(
        &mut self,
        sender: Option<Sender<'_>>,
        body: &[u8],
        origin: Origin,
        events: &mut Events,
    ) {
        let first = events.len();
        if body.len() > LARGE {
            events.expect_many();
        }
        let text = self.scan(body);
        if let Some(sender) = sender.filter(|sender| !self.is_whatsapp(sender, text)) {
            let document = text.map(|text| Document::new(text, &self.scan));
            let from = (sender, origin);
            foreign::received(events, &mut self.values, body, document, from);
        } else if let Err(reason) = text.and_then(|text| self.walk(text, origin, events)) {
            events.pass_whole(body, origin, reason);
        }
        if let Some(sender) = sender {
            events.extend_from(first, &sender, text.is_ok());
        }
        self.give_back(body.len() > LARGE);
    }

    /// Gives large buffers back that would be too large to be kept, or that no large body has needed for long.
    fn give_back(&mut self, is_large: bool) {
        self.since_large += 1;
        let most = if is_large {
            self.since_large = 0;
            // Another sender's bodies are seldom large.
            self.values = Values::default();
            LARGE_MAX
        } else if self.since_large == LARGE_KEPT {
            self.since_large = 0;
            RETAINED_MAX
        } else {
            return;
        };
        if self.bytes() > most {
            *self = Extractor::new();
        }
    }

    /// Bytes of memory that its buffers take, but for those of the values of other senders.
    fn bytes(&self) -> usize {
        let carried = self.carried.capacity() * size_of::<(usize, Holds)>();
        self.scan.bytes() + self.context.bytes() + self.contacts.bytes() + carried
    }

    /// True if shapes of the platform are looked for in this body.
    fn is_whatsapp(&self, sender: &Sender<'_>, text: Result<&str, Unparsed>) -> bool {
        let object = |text| Document::new(text, &self.scan).text(0, Name::Object);
        match sender.form.whatsapp {
            WhatsApp::Always => true,
            WhatsApp::Named => {
                text.is_ok_and(|text| object(text) == Some("whatsapp_business_account"))
            }
            WhatsApp::Never => false,
        }
    }

    /// What its own buffers hold at most.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 2] {
        self.scan.capacities()
    }

    /// Finds what is in a body.
    fn scan<'b>(&mut self, body: &'b [u8]) -> Result<&'b str, Unparsed> {
        let body = without_mark(body);
        let text = simdutf8::basic::from_utf8(body).map_err(|_| Unparsed::NotJson)?;
        if body.len() > LARGE {
            self.scan.expect_many();
        }
        self.scan.fill(text).map_err(|refused| match refused {
            Refused::TooDeep if is_json(text) => Unparsed::TooDeep,
            Refused::TooDeep | Refused::NotJson => Unparsed::NotJson,
        })?;
        Ok(text)
    }

    /// Makes events of what was found in the body.
    fn walk(&mut self, text: &str, origin: Origin, events: &mut Events) -> Result<(), Unparsed> {
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

/// Bytes of the buffers that are kept however long no large body has come: bodies that are not large need as much.
const RETAINED_MAX: usize = 512 << 10;

/// Bytes of the buffers that are kept from one large body to the next. What a body holds takes as many bytes as it has
/// itself, but for odd ones.
const LARGE_MAX: usize = 4 << 20;
