//! `CloudEvents` 1.0 in JSON, one event a line.
//!
//! ```json
//! {"specversion":"1.0","id":"1065…:messages:wamid.…","source":"/whatsapp/1022…/1065…",
//!  "type":"whatsapp.message.text","time":"2026-09-26T10:14:56Z","subject":"1065…:1555…",
//!  "datacontenttype":"application/json","position":"41.0",
//!  "receivedtime":"2026-09-26T10:14:57.204511Z","lane":"messages",
//!  "data":{"message":{…},"contacts":[{…}],"field":"messages","messaging_product":"whatsapp",
//!          "metadata":{…},"entry":{"id":"1022…"},"notification":{"object":"…"}}}
//! ```
//!
//! The members of `data`, each only if the body has it:
//!
//! | member | is |
//! |---|---|
//! | `message`, `status`, `call`, `message_echo`, `user_action`, `user_preference`, `state_sync`, `group`, `automatic_event`, `error` | the update, as it came |
//! | `value` | of a change that is one update as a whole: its value, as it came |
//! | `change` | of a change whose `value` is missing or repeated, or that is not an object: all of it |
//! | `contacts` | the contact that belongs to the update; all if that is not clear |
//! | `field`, `messaging_product`, `metadata` | as they came |
//! | `thread`, `history`, `standby` | what else stands in the thread, in the element of `history`, in `standby` |
//! | `value`, `change`, `entry`, `notification` | what else stands in the value, the change, the entry, the body |
//!
//! Contacts that belong to no update go with the last one of their value. All values are slices of the body,
//! so digits, escapes, unknown and repeated keys stay; line ends between tokens become spaces. A member that
//! is large beside many updates goes with the first of them, and with as many more as its copies stay
//! below 2 MiB. The data of `whatsapp.empty`, and of a partner envelope without updates, is the body itself.
//! The data of another sender's event is the whole body; one that is not JSON is `data_base64`.
//! An unparsed body that is not JSON, or nests too deep for common parsers, or that nobody looks at any more, is
//! `data_base64`.

use super::data_member::DataMember;
use super::events::{Event, Unparsed, WithContacts};
use super::extract::without_mark;
use super::form::CONTENT_TYPE;
use super::json::span::Span;
use super::time;
use super::whatsapp::context::push_raw;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Appends the event as one line of JSON, without the line end. `raw_body` is the body that it came from;
/// with another one, the line's data makes no sense.
pub fn render(event: Event<'_>, raw_body: &[u8], out: &mut Vec<u8>) {
    render_replayed(event, raw_body, None, out);
}

/// The same with the name of the replay that delivers it, as the attribute `replay`. The name is printable ASCII
/// without quotes and backslashes.
pub fn render_replayed(event: Event<'_>, raw_body: &[u8], replay: Option<&str>, out: &mut Vec<u8>) {
    let is_json = is_json(event);
    // Nothing here needs an escape: see `key` and `kind` for what they are written in.
    out.extend_from_slice(b"{\"specversion\":\"1.0\",");
    // First, so that the begin of a line says what it is.
    if let Some(replay) = replay {
        text(out, b"\"replay\":\"", replay);
        out.extend_from_slice(b"\",");
    }
    text(out, b"\"id\":\"", event.id());
    text(out, b"\",\"source\":\"", event.source());
    text(out, b"\",\"type\":\"", event.kind());
    out.extend_from_slice(b"\",\"time\":\"");
    time::write(out, event.time());
    if let Some(subject) = event.subject() {
        text(out, b"\",\"subject\":\"", subject);
    }
    if event.has_extensions() {
        out.extend_from_slice(b"\",\"datacontenttype\":\"");
        escaped(out, content_type(event));
    } else if is_json {
        out.extend_from_slice(b"\",\"datacontenttype\":\"application/json");
    } else {
        out.extend_from_slice(b"\",\"datacontenttype\":\"application/octet-stream");
    }
    out.extend_from_slice(b"\",\"position\":\"");
    decimal(out, event.sequence());
    out.push(b'.');
    decimal(out, u64::from(event.index()));
    out.extend_from_slice(b"\",\"receivedtime\":\"");
    time::write(out, event.received_at());
    text(out, b"\",\"lane\":\"", event.lane().name());
    if event.has_extensions() {
        for (name, value) in event.extensions().filter(|it| it.0 != CONTENT_TYPE) {
            text(out, b"\",\"", name);
            out.extend_from_slice(b"\":\"");
            escaped(out, value);
        }
    }
    if is_json {
        out.extend_from_slice(b"\",\"data\":");
        data(event, raw_body, out);
        out.push(b'}');
    } else {
        out.extend_from_slice(b"\",\"data_base64\":\"");
        base64(raw_body, out);
        out.extend_from_slice(b"\"}");
    }
}

/// Calls `each` with the name and the value of every attribute of the event but `datacontenttype`, in the order of
/// [`render`], for bindings that keep them apart from the data.
pub fn attributes(event: Event<'_>, mut each: impl FnMut(&str, &str)) {
    each("specversion", "1.0");
    each("id", event.id());
    each("source", event.source());
    each("type", event.kind());
    each("time", &timestamp(event.time()));
    if let Some(subject) = event.subject() {
        each("subject", subject);
    }
    each("position", &event.position().to_string());
    each("receivedtime", &timestamp(event.received_at()));
    each("lane", event.lane().name());
    for (name, value) in event.extensions().filter(|it| it.0 != CONTENT_TYPE) {
        each(name, value);
    }
}

/// Appends the data alone, in the form that [`content_type`] names.
pub fn render_data(event: Event<'_>, raw_body: &[u8], out: &mut Vec<u8>) {
    if is_json(event) {
        data(event, raw_body, out);
    } else {
        out.extend_from_slice(raw_body);
    }
}

/// Appends the data alone, always as JSON: of a body that is none, an object with `data_base64`.
pub fn render_json_data(event: Event<'_>, raw_body: &[u8], out: &mut Vec<u8>) {
    if is_json(event) {
        data(event, raw_body, out);
    } else {
        out.extend_from_slice(b"{\"data_base64\":\"");
        base64(raw_body, out);
        out.extend_from_slice(b"\"}");
    }
}

/// The attribute `datacontenttype`: of another sender's event what that says, where it says it.
pub fn content_type(event: Event<'_>) -> &str {
    let mut extensions = event.extensions();
    if event.has_extensions()
        && let Some((_, said)) = extensions.find(|(name, _)| *name == CONTENT_TYPE)
    {
        said
    } else if is_json(event) {
        "application/json"
    } else {
        "application/octet-stream"
    }
}

/// Microseconds since 1970 as RFC 3339, as the envelope writes them.
pub fn timestamp(micros: u64) -> String {
    let mut text = Vec::with_capacity(32);
    time::write(&mut text, micros);
    String::from_utf8(text).expect("digits and punctuation")
}

fn is_json(event: Event<'_>) -> bool {
    !matches!(
        event.unparsed(),
        Some(Unparsed::NotJson | Unparsed::TooDeep | Unparsed::Crashed | Unparsed::Poisoned)
    )
}

fn data(event: Event<'_>, raw_body: &[u8], out: &mut Vec<u8>) {
    let raw_body = without_mark(raw_body);
    let push = |out: &mut Vec<u8>, span: Span| {
        let raw = span.of(raw_body).unwrap_or(b"null");
        if event.event.has_lines {
            push_raw(out, raw);
        } else {
            out.extend_from_slice(raw);
        }
    };
    if event.event.part == DataMember::Body {
        push(out, event.event.own);
        return;
    }
    out.extend_from_slice(event.event.part.opening().as_bytes());
    push(out, event.event.own);
    match event.event.contacts {
        WithContacts::None => {}
        WithContacts::One(contact) => {
            out.extend_from_slice(b",\"contacts\":[");
            push(out, contact);
            out.push(b']');
        }
        WithContacts::All(contacts) => {
            out.extend_from_slice(b",\"contacts\":");
            push(out, contacts);
        }
    }
    if !event.context().is_empty() {
        out.push(b',');
        out.extend_from_slice(event.context());
    }
    out.push(b'}');
}

/// Appends the inside of a JSON string; the text has no control characters.
fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "what stands before is of a known length"
)]
fn text<const N: usize>(out: &mut Vec<u8>, before: &[u8; N], text: &str) {
    out.extend_from_slice(before);
    out.extend_from_slice(text.as_bytes());
}

fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [b'0'; 20];
    let mut start = text.len() - 1;
    while number > 9 {
        text[start] = b"0123456789"[(number % 10) as usize];
        number /= 10;
        start -= 1;
    }
    text[start] = b"0123456789"[(number % 10) as usize];
    out.extend_from_slice(&text[start..]);
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]);
    out.truncate(start + written.expect("four characters for each three bytes"));
}
