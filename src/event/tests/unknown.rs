//! What this version does not know is distinguished from others as the version will do that knows it.

use super::{extract, notification, value};
use serde_json::{Value, json};

fn messages(field: &str, members: &Value) -> Value {
    notification(field, &value(members))
}

/// A body in which something has this name.
type BodyOf<'b> = &'b dyn Fn(&str) -> String;

/// The ids of changes and partner events that this version does not know ended with their types: they would have been
/// other ones in the version that knows them.
#[test]
fn no_id_depends_on_what_is_known() {
    let change = |field: &str| notification(field, &json!({"event": "X", "timestamp": "1"}));
    let two_values = |field: &str| {
        let change = format!(r#"{{"field":"{field}","value":{{"a":1}},"value":{{"b":2}}}}"#);
        format!(r#"{{"entry":[{{"id":"1022","time":1,"changes":[{change}]}}]}}"#)
    };
    let partner = |event: &str| json!({"id": "e-1", "event": event, "data": {"a": 1}});
    let message = |kind: &str| {
        let message = json!({"id": "wamid.A", "type": kind});
        messages("messages", &json!({"messages": [message]}))
    };
    let history = |kind: &str| {
        let threads = json!([{"id": "1555", "messages": [{"id": "wamid.A", "type": kind}]}]);
        messages("history", &json!({"history": [{"threads": threads}]}))
    };
    let statuses = |kind: &str, status: &str| {
        let status = json!({"id": "wamid.A", "type": kind, "status": status});
        messages("messages", &json!({"statuses": [status]}))
    };
    let call = |event: &str| messages("calls", &json!({"calls": [{"id": "c", "event": event}]}));
    let standby = |kind: &str| {
        let standby = json!({"messages": [{"id": "wamid.A", "type": kind}]});
        messages("standby", &json!({"standby": standby}))
    };
    let groups = |field: &str| messages(field, &json!({"groups": [{"timestamp": "1"}]}));
    let action = |kind: &str| {
        let action =
            json!({"action_type": kind, "marketing_messages_link_click_data": {"click_id": "c"}});
        messages("messages", &json!({"user_actions": [action]}))
    };
    let body = |of: &dyn Fn(&str) -> Value, name: &str| of(name).to_string();
    let cases: [(&str, BodyOf<'_>); 11] = [
        ("account_update", &|name| body(&change, name)),
        ("account_update", &two_values),
        ("channel_created", &|name| body(&partner, name)),
        ("text", &|name| body(&message, name)),
        ("text", &|name| body(&history, name)),
        ("sent", &|name| statuses("message", name).to_string()),
        ("captured", &|name| statuses("payment", name).to_string()),
        ("connect", &|name| body(&call, name)),
        ("text", &|name| body(&standby, name)),
        ("group_settings_update", &|name| body(&groups, name)),
        ("marketing_messages_link_click", &|name| body(&action, name)),
    ];
    for (known, body) in cases {
        let key_of = |name: &str| {
            let body = body(name);
            let events = extract(&body);
            assert_eq!(events.len(), 1, "{body}");
            let event = events.get(0).unwrap();
            assert_eq!(event.is_known(), name == known, "{body}");
            // The hash of a whole change is that of its field as well.
            let (id, hash) = event
                .id()
                .split_once(":sha256-")
                .unwrap_or((event.id(), ""));
            let hash = if body.contains("},\"value\"") {
                ""
            } else {
                hash
            };
            (
                id.replace(name, "NAME"),
                hash.to_owned(),
                event.id().replace(name, "").len(),
            )
        };
        assert_eq!(key_of(known), key_of("brand_new"), "{known}");
    }
}
