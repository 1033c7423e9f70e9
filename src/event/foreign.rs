//! The event of a body of another sender: `webhook.received`, or `webhook.` and what the sender calls it.
//!
//! The body is `data` as it came, every digit of it. What else is taken from it, its type and its time, is asked of
//! simd-json, which rounds numbers and knows no places, but is not asked for these. A body that it refuses although it
//! is JSON, such as one with half of a surrogate pair or a number beyond all floats, is looked through here.

use super::events::{Entry, Events, Origin, Text, Type, Unparsed};
use super::form::{Form, Sender};
use super::json::document::Document;
use super::json::span::Span;
use super::whatsapp::key;
use super::whatsapp::key::{Key, push_component};
use jiff::Timestamp;
use simd_json::prelude::*;
use simd_json::{Buffers, Tape};

/// Reads values at the top of a body, into buffers that are reused.
pub(super) struct Values {
    buffers: Buffers,
    tape: Tape<'static>,
    /// simd-json unescapes in place, so it gets a copy.
    copy: Vec<u8>,
}

impl Default for Values {
    fn default() -> Values {
        Values {
            buffers: Buffers::default(),
            tape: Tape(Vec::new()),
            copy: Vec::new(),
        }
    }
}

impl Values {
    /// Calls `take` with the members `names` of the object that the document is, where they are texts; of a repeated
    /// one with the last.
    fn read<R>(
        &mut self,
        document: Option<Document<'_>>,
        names: [Option<&str>; 2],
        made_of: impl FnOnce([Option<&str>; 2]) -> R,
    ) -> R {
        let Some(document) = document.filter(|_| names != [None; 2]) else {
            return made_of([None; 2]);
        };
        self.copy.clear();
        self.copy.extend_from_slice(document.body());
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let filled = simd_json::fill_tape(&mut self.copy, &mut self.buffers, &mut tape);
        let mut found = [None; 2];
        let mut note = |key: &str, value| {
            for (name, found) in names.iter().zip(&mut found) {
                if *name == Some(key) {
                    *found = value;
                }
            }
        };
        if filled.is_err() {
            for member in document.members(0) {
                let key = document.name(member).unwrap_or_default();
                note(key, document.string(member.at));
            }
        } else if let Some(object) = tape.as_value().as_object() {
            for (key, value) in &object {
                note(key, value.into_string());
            }
        }
        let result = made_of(found);
        self.tape = tape.reset();
        result
    }
}

/// Appends the event. `document` is the body, if that is JSON.
pub(super) fn received(
    events: &mut Events,
    values: &mut Values,
    body: &[u8],
    document: Result<Document<'_>, Unparsed>,
    (sender, origin): (Sender<'_>, Origin),
) {
    let form = sender.form;
    let names = &mut events.names;
    let start = names.len();
    match form.id.as_deref().and_then(|name| sender.header(name)) {
        Some(id) if !id.is_empty() => push_component(names, &String::from_utf8_lossy(id)),
        // He may mean the same body anew.
        _ => {
            let mut key = Key::begin(names, None, Some("received"));
            key.position(key::hash(body), 0);
            key.number(origin.sequence);
        }
    }
    let id = Text::since(start, names.len());
    let fingerprint = key::fingerprint(&names.as_bytes()[id.range()]);
    let source = write_source(names, form);
    let asked = [form.kind.as_deref(), form.time.as_deref()];
    let (kind, time) = values.read(document.ok(), asked, |[kind, time]| {
        let start = names.len();
        names.push_str("webhook.");
        match kind {
            Some(kind) if !kind.is_empty() => push_kind(names, kind),
            _ => names.push_str("received"),
        }
        let time = time.and_then(|time| time.parse::<Timestamp>().ok());
        let time = time.and_then(|time| u64::try_from(time.as_microsecond()).ok());
        (Text::since(start, names.len()), time)
    });
    let own = document.map_or(Span::whole(body), |document| document.span(0));
    events.list.push(Entry {
        time: time.unwrap_or(origin.received_at),
        fingerprint,
        unparsed: document.err(),
        ..Entry::of_body(origin, own, Type::Foreign(kind), id, source)
    });
}

/// Appends `/PROVIDER/ENDPOINT`, or `/webhook` where they are not known.
fn write_source(names: &mut String, form: &Form) -> Text {
    let start = names.len();
    if form.provider.is_empty() {
        names.push_str("/webhook");
    } else {
        for part in [&form.provider, &form.endpoint] {
            names.push('/');
            push_component(names, part);
        }
    }
    Text::since(start, names.len())
}

/// Appends what the sender calls it, made printable: letters of either case, digits, `_`, `-` and `.`, which stands
/// for `/` too.
fn push_kind(out: &mut String, kind: &str) {
    out.extend(kind.bytes().take(KIND_MAX).map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => char::from(byte),
        b'/' => '.',
        _ => '_',
    }));
}

/// Longest name in bytes that is taken from a body into a type; the rest of a longer one is cut.
const KIND_MAX: usize = 92;
