//! From an attempt to a message.

use super::{Context, Options};
use crate::event;
use crate::sink::binding::percent_encoded;
use crate::sink::delivery_id::delivery_id;
use crate::sink::transport::Attempt;
use async_nats::HeaderMap;
use bytes::Bytes;

/// What is published.
pub(super) struct Message {
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
    /// Bytes of headers and payload, as the server counts them.
    pub(super) bytes: usize,
}

/// The message of an attempt; the error says what is odd about the attempt.
pub(super) fn compose(
    options: &Options,
    context: &Context,
    attempt: &Attempt,
) -> Result<Message, String> {
    let first = attempt.items.first();
    let (event, notification) = first.ok_or("an attempt without anything in it")?.event()?;
    let mut subject = String::with_capacity(SUBJECT);
    options
        .subject
        .subject(event, notification, &context.forms, &mut subject);
    let mut fields = Fields {
        headers: HeaderMap::new(),
        bytes: HEADER_BEGIN + HEADER_LINE_END,
    };
    let replay = attempt.replay.as_deref();
    let id = delivery_id(&context.journal, event, options.identity, replay);
    fields.set("Nats-Msg-Id", &id);
    fields.set("Nats-Expected-Stream", &options.stream);
    event::attributes(event, |name, value| fields.attribute(name, value));
    fields.attribute("datacontenttype", event::content_type(event));
    if let Some(replay) = replay {
        fields.attribute("replay", replay);
    }
    let mut payload = Vec::with_capacity(PAYLOAD);
    event::render_data(event, notification.record.body, &mut payload);
    Ok(Message {
        subject,
        bytes: fields.bytes + payload.len(),
        headers: fields.headers,
        payload: payload.into(),
    })
}

struct Fields {
    headers: HeaderMap,
    bytes: usize,
}

impl Fields {
    fn set(&mut self, name: &str, value: &str) {
        self.bytes += name.len() + value.len() + FIELD;
        self.headers.insert(name, value);
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.set(&format!("ce-{name}"), &percent_encoded(value));
    }
}

/// `NATS/1.0` and a line end.
const HEADER_BEGIN: usize = 10;

/// A line end behind all fields.
const HEADER_LINE_END: usize = 2;

/// A colon, a space and a line end.
const FIELD: usize = 4;

/// Bytes that a subject usually takes.
const SUBJECT: usize = 96;

/// Bytes that the data of an event usually takes.
const PAYLOAD: usize = 1024;
