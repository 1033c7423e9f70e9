//! The one event of a body that is not taken apart.

use super::data_member::DataMember;
use super::events::{Entry, Events, Origin, Text, Type, Unparsed, WithContacts};
use super::json::span::Span;
use super::lane::Lane;
use super::whatsapp::key::{self, Key};
use super::whatsapp::kind;

impl Events {
    /// Appends the event of a body that passes whole, as `whatsapp.unparsed`.
    pub fn pass_whole(&mut self, body: &[u8], origin: Origin, reason: Unparsed) {
        let start = self.names.len();
        let mut key = Key::begin(&mut self.names, None, Some("unparsed"));
        key.position(key::hash(body), 0);
        if origin.foreign {
            key.number(origin.sequence);
        }
        let id = Text::since(start, self.names.len());
        let source = self.name("/whatsapp");
        let kind = Type::Known(kind::UNPARSED);
        let event = Entry {
            fingerprint: key::fingerprint(&self.names.as_bytes()[id.range()]),
            weak_key: !origin.foreign,
            unparsed: Some(reason),
            ..Entry::of_body(origin, Span::whole(body), kind, id, source)
        };
        self.list.push(event);
    }
}

impl Entry {
    /// The one event of a body that is not taken apart, of which `data` is `own`. Its time is that of the receipt.
    pub(super) fn of_body(origin: Origin, own: Span, kind: Type, id: Text, source: Text) -> Entry {
        Entry {
            sequence: origin.sequence,
            received_at: origin.received_at,
            time: origin.received_at,
            fingerprint: 0,
            record: origin.record,
            index: 0,
            endpoint: origin.endpoint,
            foreign: origin.foreign,
            own,
            has_lines: true,
            part: DataMember::Body,
            contacts: WithContacts::None,
            context: Text::default(),
            kind,
            id,
            source,
            subject: Text::default(),
            phone: Text::default(),
            user_id: Text::default(),
            number: Text::default(),
            extensions: Text::default(),
            lane: Lane::Rest,
            weak_key: false,
            duplicate: false,
            unparsed: None,
        }
    }
}
