//! Bodies to events: any bytes, compared with serde_json and with the definition of an update.
//!
//! What must hold for any body:
//!
//! - There is at least one event, and each is rendered as one line of JSON.
//! - It is `whatsapp.unparsed` for [`Unparsed::NotJson`] if and only if serde_json does not take it for JSON in UTF-8,
//!   and for [`Unparsed::TooDeep`] if and only if it is JSON that nests deeper than [`NESTING_MAX`].
//! - An extractor that has seen other bodies gives the same events as a new one.
//!
//! For JSON beside that, by the reference that the module's own tests use, over `serde_json::Value` with the digits of
//! numbers and the order of members kept:
//!
//! - Number and types of the events, and the update's own part of `data`, value by value; nothing of the body is lost.
//! - Lane by type; conversation by number and party; the key of messages, echoes, statuses and calls by their ids.
//! - White space and the way of writing strings change nothing but the hashes of texts.
//!
//! Where the two parsers differ rightly, the comparison with a `Value` is left out: repeated keys (a `Value` has only
//! the last), escapes of lone surrogates (which no `String` can hold, and the event module takes), numbers with an
//! exponent (which serde_json rewrites: `1E5` is `1e+5`), and the key that serde_json itself uses for numbers.

#![no_main]

#[path = "../../../src/event/tests/reference.rs"]
mod reference;

use hookline::event::{
    COMPONENT_MAX, Event, Events, Extractor, Lane, NESTING_MAX, Origin, UPDATES_MAX, Unparsed,
    render,
};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::BTreeSet;

const ORIGIN: Origin = Origin {
    sequence: 41,
    record: 7,
    endpoint: 1,
    received_at: 1_790_500_000_250_000,
    foreign: false,
};

fuzz_target!(|body: &[u8]| check(body));

fn check(body: &[u8]) {
    let mut extractor = Extractor::new();
    let events = extract(&mut extractor, body);
    let lines = lines(&events, body);
    // A byte order mark is no part of the text.
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(text).ok();
    let text = text.filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    let Some(text) = text else {
        return alone(&events, Unparsed::NotJson);
    };
    let outline = Outline::of(text);
    if outline.depth > NESTING_MAX {
        return alone(&events, Unparsed::TooDeep);
    }
    if let Some(Unparsed::TooMany) = events.get(0).and_then(|event| event.unparsed()) {
        assert!(outline.commas >= UPDATES_MAX as usize);
        return alone(&events, Unparsed::TooMany);
    }
    assert!(events.iter().all(|event| event.unparsed().is_none()));
    for event in events.iter() {
        names(event);
    }
    let value = serde_json::from_str::<Value>(text).ok();
    let is_kept = |value: &Value| members(value) == outline.colons && outline.exponents == 0;
    let value = value.filter(|value| is_kept(value) && !text.contains("$serde_json"));
    if let Some(value) = value {
        compare(&value, &events, &lines);
        rewritten(&mut extractor, &value, &events);
    }
    let again = extract(&mut extractor, body);
    assert!(
        facts(&again).eq(facts(&events)),
        "an extractor remembers a body"
    );
    assert!(
        events
            .iter()
            .map(|event| event.id())
            .eq(again.iter().map(|event| event.id()))
    );
}

fn extract(extractor: &mut Extractor, body: &[u8]) -> Events {
    let mut events = Events::new();
    extractor.extract(body, ORIGIN, &mut events);
    assert!(!events.is_empty(), "a body has at least one event");
    events
}

/// The lines of the events, each one line of JSON.
fn lines(events: &Events, body: &[u8]) -> Vec<String> {
    let line = |event| {
        let mut out = Vec::new();
        render(event, body, &mut out);
        let line = String::from_utf8(out).expect("JSON is UTF-8");
        assert!(!line.contains(['\n', '\r']), "{line}");
        assert!(serde_json::from_str::<IgnoredAny>(&line).is_ok(), "{line}");
        line
    };
    events.iter().map(line).collect()
}

fn alone(events: &Events, reason: Unparsed) {
    let event = events.get(0).expect("at least one");
    assert_eq!((events.len(), event.unparsed()), (1, Some(reason)));
    assert_eq!(
        (event.kind(), event.lane()),
        ("whatsapp.unparsed", Lane::Rest)
    );
}

/// What holds for the names of any event.
fn names(event: Event<'_>) {
    for name in [
        event.kind(),
        event.id(),
        event.source(),
        event.subject().unwrap_or("-"),
    ] {
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte)),
            "{name:?}"
        );
    }
    assert!(event.kind().len() <= 100);
    assert_eq!(
        event.fingerprint(),
        hookline::event::fingerprint(event.id().as_bytes())
    );
    let kind = event.kind();
    let of = |families: &[&str]| families.iter().any(|family| kind.starts_with(family));
    if !of(&["whatsapp.history."]) {
        // A field can be called like a family, so a type tells the lane only with its dot.
        if of(&["whatsapp.message.", "whatsapp.echo.", "whatsapp.call."]) {
            assert_eq!(event.lane(), Lane::Messages, "{kind}");
        } else if of(&["whatsapp.status.", "whatsapp.payment."]) {
            assert_eq!(event.lane(), Lane::Statuses, "{kind}");
        } else if of(&[
            "whatsapp.user_action.",
            "whatsapp.partner.",
            "whatsapp.empty",
        ]) {
            assert_eq!(event.lane(), Lane::Rest, "{kind}");
        }
    } else {
        assert_eq!(event.lane(), Lane::Rest, "{kind}");
    }
}

/// Compares the events of a body with the reference.
fn compare(body: &Value, events: &Events, lines: &[String]) {
    let expected = reference::updates(body);
    let kinds: Vec<&str> = events.iter().map(|event| event.kind()).collect();
    let expected_kinds: Vec<&str> = expected
        .iter()
        .map(|expected| expected.kind.as_str())
        .collect();
    assert_eq!(kinds, expected_kinds);
    let mut carried = BTreeSet::new();
    for (index, ((event, line), expected)) in events.iter().zip(lines).zip(&expected).enumerate() {
        let line: Value = serde_json::from_str(line).expect("JSON with the same limits");
        assert_eq!(line["type"], event.kind());
        assert_eq!(line["id"], event.id());
        assert_eq!(line["source"], event.source());
        assert_eq!(line["subject"].as_str(), event.subject());
        assert_eq!(line["lane"], event.lane().name());
        assert_eq!(line["position"], format!("{}.{index}", ORIGIN.sequence));
        let data = &line["data"];
        assert_eq!(expected.part.map_or(data, |part| &data[part]), expected.own);
        leaves(data, &mut carried);
        key(event, expected);
        conversation(event, expected);
    }
    let mut whole = BTreeSet::new();
    leaves(body, &mut whole);
    let lost: Vec<_> = whole.difference(&carried).collect();
    assert!(lost.is_empty(), "{lost:?} lost");
}

/// The key of what has ids of its own.
fn key(event: Event<'_>, expected: &reference::Expected<'_>) {
    let own = |name: &str| text(&expected.own[name]);
    let is_history = event.kind().starts_with("whatsapp.history.");
    let components = match expected.part {
        Some("message" | "message_echo") => vec![
            own("id"),
            is_history.then(|| own("type").unwrap_or("-".to_owned())),
        ],
        Some("status") if own("type").as_deref() != Some("payment") => {
            let participant = PARTICIPANTS.iter().find_map(|name| own(name));
            if own("status").is_none() {
                vec![None]
            } else {
                vec![own("id"), own("status"), participant]
            }
        }
        Some("call") => {
            let what = own("event").or_else(|| own("status"));
            if what.is_none() {
                vec![None]
            } else {
                vec![own("id"), what]
            }
        }
        _ => return,
    };
    // Two spellings of one participant are distinguished by their order, which a look by name does not see.
    let participants = PARTICIPANTS
        .iter()
        .filter(|name| expected.own.get(**name).is_some())
        .count();
    let id = event.id();
    let id = id
        .strip_suffix(&format!(":test:{}", ORIGIN.sequence))
        .unwrap_or(id);
    if components[0].is_none() {
        assert!(id.contains(":body-"), "{id} of {}", expected.own);
    } else if participants < 2 {
        let end: String = components
            .iter()
            .flatten()
            .map(|text| format!(":{}", component(text)))
            .collect();
        assert!(id.ends_with(&end), "{id} does not end in {end}");
    }
}

/// The conversation is made of the number and the party that the event itself names.
fn conversation(event: Event<'_>, expected: &reference::Expected<'_>) {
    let group =
        text(&expected.own["group_id"]).is_some() || expected.own["recipient_type"] == "group";
    let Some(party) = event.party_phone().or(event.party_user_id()) else {
        return;
    };
    let subject = event.subject().expect("a party has a conversation");
    if !group {
        let (number, other) = subject.split_once(':').expect("a number and a party");
        let is_party = other == component(party) || other.starts_with("sha256-");
        assert!(is_party, "{subject} is not with {party}");
        if let Some(own) = event.phone_number_id() {
            assert_eq!(number, component(own));
        }
    }
}

/// The same body in another way of writing has the same events, and the same keys but for hashes.
fn rewritten(extractor: &mut Extractor, body: &Value, events: &Events) {
    let compact = body.to_string();
    let again = extract(extractor, compact.as_bytes());
    assert!(facts(events).eq(facts(&again)), "written as {compact}");
    for (event, again) in events.iter().zip(again.iter()) {
        let is_hashed = event.id().contains(":body-") || event.id().contains("sha256-");
        assert!(
            is_hashed || event.id() == again.id(),
            "{} is {}",
            event.id(),
            again.id()
        );
    }
}

/// All that an event says without regard to how its body was written.
fn facts(events: &Events) -> impl Iterator<Item = impl PartialEq> {
    events.iter().map(|event| {
        (
            (event.kind(), event.is_known(), event.lane()),
            (event.source(), event.subject(), event.phone_number_id()),
            (event.party_phone(), event.party_user_id(), event.time()),
            (event.index(), event.has_weak_key()),
        )
    })
}

/// Every scalar as it is written.
fn leaves(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|member| leaves(member, found)),
        Value::Array(elements) => elements.iter().for_each(|element| leaves(element, found)),
        scalar => {
            found.insert(scalar.to_string());
        }
    }
}

/// Members of all objects in it.
fn members(value: &Value) -> usize {
    match value {
        Value::Object(inner) => inner.len() + inner.values().map(members).sum::<usize>(),
        Value::Array(elements) => elements.iter().map(members).sum(),
        _ => 0,
    }
}

/// What stands outside of strings.
#[derive(Default)]
struct Outline {
    depth: usize,
    colons: usize,
    commas: usize,
    exponents: usize,
}

impl Outline {
    fn of(text: &str) -> Outline {
        let mut outline = Outline::default();
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        let mut before = 0;
        for byte in text.bytes() {
            if in_string {
                in_string = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => in_string = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                b':' => outline.colons += 1,
                b',' => outline.commas += 1,
                b'e' | b'E' => outline.exponents += usize::from(u8::is_ascii_digit(&before)),
                _ => {}
            }
            before = byte;
            outline.depth = outline.depth.max(depth);
        }
        outline
    }
}

/// A text that is not empty, or the digits of a number.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A component of a key as the module documents it: `%XX` for what could be taken for something else.
fn component(text: &str) -> String {
    if text.len() > COMPONENT_MAX {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let hex: String = digest.as_ref()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        return format!("sha256-{hex}");
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"*+,-./@=_".contains(byte);
    let write = |byte: u8| {
        if is_plain(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02x}")
        }
    };
    text.bytes().map(write).collect()
}

const PARTICIPANTS: [&str; 3] = [
    "recipient_participant_id",
    "participant_recipient_id",
    "recipient_participant_user_id",
];
