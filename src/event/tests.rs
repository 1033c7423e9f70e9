//! Tests of the module as a whole: a body in, lines out.

mod attributes;
mod corpus;
mod expected;
mod foreign;
mod limits;
mod odd_shapes;
mod properties;
mod reference;
mod samples;
mod scan;
mod unknown;

use super::{Events, Extractor, Origin, render};
use serde_json::Value;

/// Where the bodies of the tests come from.
const ORIGIN: Origin = Origin {
    sequence: 41,
    record: 7,
    endpoint: 1,
    received_at: 1_790_500_000_250_000,
    foreign: false,
};

/// The events of a body.
fn extract(body: impl AsRef<[u8]>) -> Events {
    let mut events = Events::new();
    Extractor::new().extract(body.as_ref(), ORIGIN, &mut events);
    assert!(!events.is_empty(), "a body has at least one event");
    events
}

/// The lines of a body, each checked to be one line of JSON.
fn lines(body: impl AsRef<[u8]>) -> Vec<String> {
    let events = extract(&body);
    let line = |event| {
        let mut out = Vec::new();
        render(event, body.as_ref(), &mut out);
        let line = String::from_utf8(out).unwrap();
        assert!(!line.contains(['\n', '\r']), "{line}");
        serde_json::from_str::<serde::de::IgnoredAny>(&line).expect(&line);
        line
    };
    events.iter().map(line).collect()
}

/// The lines of a body, parsed.
fn parsed(body: impl AsRef<[u8]>) -> Vec<Value> {
    let parse = |line: &String| serde_json::from_str(line).unwrap();
    lines(body).iter().map(parse).collect()
}

/// The types of a body's events.
fn kinds(body: impl AsRef<[u8]>) -> Vec<String> {
    extract(body)
        .iter()
        .map(|event| event.kind().to_owned())
        .collect()
}

/// A notification with one change.
fn notification(field: &str, value: &Value) -> Value {
    serde_json::json!({"object": "whatsapp_business_account", "entry": [{
        "id": "102290000000001", "changes": [{"field": field, "value": value}]}]})
}

/// A value with metadata and the members of `members`.
fn value(members: &Value) -> Value {
    let mut value = serde_json::json!({"messaging_product": "whatsapp", "metadata":
        {"display_phone_number": "+1 555-010-0101", "phone_number_id": "106540000000001"}});
    let members = members.as_object().unwrap().clone();
    value.as_object_mut().unwrap().extend(members);
    value
}
