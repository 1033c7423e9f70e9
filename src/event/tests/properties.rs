//! What holds for any body.

use super::super::{Events, Extractor, Unparsed};
use super::{ORIGIN, extract, lines, parsed, reference};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::BTreeSet;

/// Keys that mean something somewhere, so that they also stand where they mean nothing.
const KEYS: &[&str] = &[
    "object",
    "entry",
    "changes",
    "value",
    "field",
    "id",
    "time",
    "messages",
    "statuses",
    "calls",
    "message_echoes",
    "user_actions",
    "user_preferences",
    "state_sync",
    "groups",
    "automatic_events",
    "errors",
    "history",
    "threads",
    "standby",
    "contacts",
    "metadata",
    "messaging_product",
    "phone_number_id",
    "display_phone_number",
    "wa_id",
    "user_id",
    "type",
    "status",
    "event",
    "data",
    "timestamp",
    "from",
    "to",
    "recipient_id",
    "group_id",
    "unknown",
    "click_data",
    "payment",
    "direction",
    "sender",
    "context",
    "",
];

const TEXTS: &[&str] = &[
    "",
    "1",
    "0",
    "1790417696",
    "15550100201",
    "US.1",
    "messages",
    "history",
    "text",
    "payment",
    "call",
    "delivered",
    "group",
    "caf\u{e9}",
    "\u{1f388}",
    "\"\\\n\t/",
    "\u{0}",
    "a:b%c",
    "-5",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        2 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        // Fractions that serde_json reads as it wrote them.
        1 => any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        8 => prop::sample::select(TEXTS).prop_map(Value::from),
        1 => "\\PC{0,300}".prop_map(Value::from),
    ]
}

fn anything() -> BoxedStrategy<Value> {
    scalar()
        .prop_recursive(4, 40, 5, |inner| {
            let keys = prop::sample::select(KEYS).prop_map(str::to_owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(keys, inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
        .boxed()
}

/// An object with some of `members`, and some that are anything.
fn object_with(members: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let members: Vec<_> = members
        .into_iter()
        .map(|(key, member)| {
            let member = prop_oneof![6 => member, 1 => anything()];
            prop::option::weighted(0.6, member.prop_map(move |member| (key.to_owned(), member)))
        })
        .collect();
    let keys = prop::sample::select(KEYS).prop_map(str::to_owned);
    (members, prop::collection::btree_map(keys, anything(), 0..3))
        .prop_map(|(members, others)| {
            Value::Object(
                others
                    .into_iter()
                    .chain(members.into_iter().flatten())
                    .collect(),
            )
        })
        .boxed()
}

fn array_of(element: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let element = prop_oneof![8 => element, 1 => anything()];
    prop::collection::vec(element, 0..4)
        .prop_map(Value::from)
        .boxed()
}

/// Bodies that are nearly what the platform sends, odd in any place.
fn body() -> BoxedStrategy<Value> {
    let text = || scalar().boxed();
    let update = || {
        array_of(object_with(vec![
            ("id", text()),
            ("type", text()),
            ("status", text()),
            ("from", text()),
            ("timestamp", text()),
        ]))
    };
    let contacts = || array_of(object_with(vec![("wa_id", text()), ("user_id", text())]));
    let metadata = object_with(vec![("phone_number_id", text())]);
    let thread = object_with(vec![("id", text()), ("messages", update())]);
    let chunk = object_with(vec![("threads", array_of(thread))]);
    let standby = object_with(vec![("messages", update()), ("contacts", contacts())]);
    let value = object_with(vec![
        ("metadata", metadata),
        ("contacts", contacts()),
        ("messages", update()),
        ("statuses", update()),
        ("calls", update()),
        ("groups", update()),
        ("errors", update()),
        ("history", array_of(chunk)),
        ("standby", standby),
    ]);
    let change = object_with(vec![("field", text()), ("value", value.clone())]);
    let entry = object_with(vec![
        ("id", text()),
        ("time", text()),
        ("changes", array_of(change)),
    ]);
    let notification = object_with(vec![("object", text()), ("entry", array_of(entry))]);
    let on_premises = object_with(vec![("messages", update()), ("contacts", contacts())]);
    let partner = object_with(vec![("id", text()), ("event", text()), ("data", value)]);
    prop_oneof![
        6 => notification.clone(),
        1 => array_of(notification),
        1 => on_premises,
        1 => partner,
        1 => anything(),
    ]
    .boxed()
}

/// Every scalar with the key that it stands under.
fn leaves(value: &Value, key: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                leaves(member, key, found);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                leaves(element, key, found);
            }
        }
        scalar => {
            found.insert(format!("{key}={scalar}"));
        }
    }
}

/// Compares the events of a body with the reference.
pub(super) fn check(text: &str) {
    let body: Value = serde_json::from_str(text).unwrap();
    let events = extract(text);
    let lines = parsed(text);
    let expected = reference::updates(&body);
    let kinds: Vec<_> = events.iter().map(|event| event.kind()).collect();
    assert_eq!(
        kinds,
        expected
            .iter()
            .map(|expected| &expected.kind)
            .collect::<Vec<_>>()
    );
    let mut carried = BTreeSet::new();
    for (index, ((event, line), expected)) in events.iter().zip(&lines).zip(expected).enumerate() {
        assert_eq!(event.kind(), expected.kind);
        assert_eq!(event.unparsed(), None);
        assert_eq!(line["type"], event.kind());
        assert_eq!(line["id"], event.id());
        assert_eq!(line["position"], format!("{}.{index}", ORIGIN.sequence));
        let own = expected
            .part
            .map_or(&line["data"], |part| &line["data"][part]);
        assert_eq!(own, expected.own);
        for text in [
            event.kind(),
            event.id(),
            event.source(),
            event.subject().unwrap_or("-"),
        ] {
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
            assert!(!text.contains(['"', '\\']), "{text:?}");
        }
        leaves(&line["data"], "", &mut carried);
    }
    let mut whole = BTreeSet::new();
    leaves(&body, "", &mut whole);
    let lost: Vec<_> = whole.difference(&carried).collect();
    // A scalar in an array goes by the key of the array, which an update has no longer.
    let under_array = |leaf: &str| {
        let key = leaf.split('=').next().unwrap_or_default();
        let scalar = &leaf[key.len()..];
        carried.iter().any(|leaf| leaf.ends_with(scalar))
    };
    assert!(
        lost.iter().all(|leaf| under_array(leaf)),
        "{lost:?} lost of {text}"
    );
}

/// No files beside the source.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn updates_are_what_the_definition_says(body in body()) {
        check(&body.to_string());
    }

    #[test]
    fn white_space_changes_nothing_but_itself(body in body()) {
        let pretty = serde_json::to_string_pretty(&body).unwrap().replace('\n', "\r\n");
        check(&pretty);
    }

    /// The scan takes exactly what is JSON.
    #[test]
    fn unparsed_is_what_is_not_json(
        body in body(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..4),
    ) {
        let mut text = body.to_string().into_bytes();
        for (place, byte, how) in edits {
            if text.is_empty() {
                break;
            }
            let at = place.index(text.len());
            match how {
                0 => text[at] = byte,
                1 => text[at] = b"{}[]\",:0-.eE\\u\t\n "[usize::from(byte) % 17],
                2 => { text.remove(at); }
                _ => text.insert(at, b"{}[]\",:0-.eE\\u\t\n "[usize::from(byte) % 17]),
            }
        }
        let is_json = std::str::from_utf8(&text).is_ok()
            && serde_json::from_slice::<IgnoredAny>(&text).is_ok();
        let events = extract(&text);
        let reason = (!is_json).then_some(Unparsed::NotJson);
        prop_assert!(events.iter().all(|event| event.unparsed() == reason));
        lines(&text);
    }

    #[test]
    fn any_bytes_pass(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        lines(&bytes);
    }

    #[test]
    fn an_extractor_remembers_nothing(bodies in prop::collection::vec(body(), 1..6)) {
        let mut extractor = Extractor::new();
        let mut events = Events::new();
        for body in bodies {
            let text = body.to_string();
            events.clear();
            extractor.extract(text.as_bytes(), ORIGIN, &mut events);
            let fresh = extract(&text);
            let ids = |events: &Events| {
                events.iter().map(|event| event.id().to_owned()).collect::<Vec<_>>()
            };
            prop_assert_eq!(ids(&events), ids(&fresh));
        }
    }
}
