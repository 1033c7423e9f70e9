//! The definition of an update once more, over `serde_json::Value` and without regard to speed.

use serde_json::{Map, Value};

/// One update: its type, its name in `data` (none if it is all of it), and itself.
#[derive(Debug)]
pub(super) struct Expected<'v> {
    pub(super) kind: String,
    pub(super) part: Option<&'static str>,
    pub(super) own: &'v Value,
}

/// The updates of a body, in the order of a `Value`: members sorted by key.
pub(super) fn updates(body: &Value) -> Vec<Expected<'_>> {
    if let Value::Array(elements) = body
        && elements.iter().any(notifies)
    {
        return elements.iter().flat_map(notification).collect();
    }
    notification(body)
}

const ARRAYS: [(&str, &str); 10] = [
    ("messages", "message"),
    ("statuses", "status"),
    ("calls", "call"),
    ("message_echoes", "message_echo"),
    ("user_actions", "user_action"),
    ("user_preferences", "user_preference"),
    ("state_sync", "state_sync"),
    ("groups", "group"),
    ("automatic_events", "automatic_event"),
    ("errors", "error"),
];

fn notification(body: &Value) -> Vec<Expected<'_>> {
    if !notifies(body) {
        return vec![Expected {
            kind: "whatsapp.empty".to_owned(),
            part: None,
            own: body,
        }];
    }
    let mut found = Vec::new();
    for (key, member) in object(body) {
        if key == "entry" {
            for change in array(member)
                .iter()
                .flat_map(|entry| array(&entry["changes"]))
            {
                changed(change, &mut found);
            }
        } else if ["messages", "statuses", "errors"].contains(&key.as_str()) {
            elements("", key, member, None, &mut found);
        }
    }
    if found.is_empty() {
        let event = text(&body["event"]).unwrap();
        value(&body["data"], Some(&event), &mut found);
        if found.is_empty() {
            let kind = format!("whatsapp.partner.{}", printable(&event));
            found.push(Expected {
                kind,
                part: None,
                own: body,
            });
        }
    }
    found
}

fn notifies(body: &Value) -> bool {
    let entries = array(&body["entry"]).iter();
    entries
        .flat_map(|entry| array(&entry["changes"]))
        .next()
        .is_some()
        || ["messages", "statuses", "errors"]
            .iter()
            .any(|key| !array(&body[*key]).is_empty())
        || text(&body["id"]).is_some() && text(&body["event"]).is_some() && body["data"].is_object()
}

fn changed<'v>(change: &'v Value, found: &mut Vec<Expected<'v>>) {
    let before = found.len();
    let field = text(&change["field"]);
    value(&change["value"], field.as_deref(), found);
    if found.len() == before {
        let kind = format!(
            "whatsapp.{}",
            printable(field.as_deref().unwrap_or("change"))
        );
        let own = change.get("value");
        let part = if own.is_some() { "value" } else { "change" };
        found.push(Expected {
            kind,
            part: Some(part),
            own: own.unwrap_or(change),
        });
    }
}

fn value<'v>(value: &'v Value, field: Option<&str>, found: &mut Vec<Expected<'v>>) {
    for (key, member) in object(value) {
        match key.as_str() {
            "history" => {
                for thread in array(member)
                    .iter()
                    .flat_map(|chunk| array(&chunk["threads"]))
                {
                    elements("history.", "messages", &thread["messages"], field, found);
                }
            }
            "standby" => {
                for (key, member) in object(member) {
                    elements("standby.", key, member, field, found);
                }
            }
            _ => elements("", key, member, field, found),
        }
    }
}

fn elements<'v>(
    setting: &str,
    key: &str,
    member: &'v Value,
    field: Option<&str>,
    found: &mut Vec<Expected<'v>>,
) {
    let setting = if setting.is_empty() && field == Some("history") && key == "messages" {
        "history."
    } else {
        setting
    };
    let Some((_, part)) = ARRAYS.iter().find(|(array, _)| *array == key) else {
        return;
    };
    for own in array(member) {
        let (family, name) = match key {
            "messages" => ("message", text(&own["type"]).or_else(|| by_member(own))),
            "message_echoes" => ("echo", text(&own["type"]).or_else(|| by_member(own))),
            "statuses" => {
                let family = match own["type"].as_str() {
                    Some("payment") => "payment",
                    Some("call") => "call",
                    _ => "status",
                };
                (family, text(&own["status"]))
            }
            "calls" => ("call", text(&own["event"]).or_else(|| text(&own["status"]))),
            "user_actions" => ("user_action", text(&own["action_type"])),
            "errors" => ("error", None),
            _ => ("", Some(field.unwrap_or(key).to_owned())),
        };
        let kind = match (family, name) {
            ("", name) => format!("whatsapp.{}", printable(&name.unwrap())),
            (family, None) => format!("whatsapp.{setting}{family}"),
            (family, Some(name)) => format!("whatsapp.{setting}{family}.{}", printable(&name)),
        };
        found.push(Expected {
            kind,
            part: Some(part),
            own,
        });
    }
}

/// The only member that is called like a type.
fn by_member(message: &Value) -> Option<String> {
    let mut names = object(message)
        .keys()
        .filter(|key| MESSAGE_TYPES.contains(&key.as_str()));
    names.next().filter(|_| names.next().is_none()).cloned()
}

const MESSAGE_TYPES: [&str; 23] = [
    "text",
    "image",
    "interactive",
    "button",
    "audio",
    "reaction",
    "document",
    "video",
    "sticker",
    "location",
    "contacts",
    "order",
    "system",
    "unsupported",
    "edit",
    "revoke",
    "request_welcome",
    "media_placeholder",
    "unknown",
    "ephemeral",
    "voice",
    "errors",
    "hsm",
];

fn object(value: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn printable(name: &str) -> String {
    let bytes = name.bytes().take(64).map(|byte| match byte {
        byte if byte.is_ascii_alphanumeric() => byte.to_ascii_lowercase(),
        b'_' | b'-' => byte,
        _ => b'_',
    });
    String::from_utf8(bytes.collect()).unwrap()
}
