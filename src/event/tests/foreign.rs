//! What other senders post: one event each, under the name that they give it.

use super::super::{
    Events, Extractor, Form, Headers, Sender, WhatsApp, attributes, content_type, render,
    render_data,
};
use super::ORIGIN;
use crate::event::form::VALUE_MAX;
use serde_json::{Value, json};

struct Kept<'k>(&'k [(&'k str, &'k [u8])]);

impl Headers for Kept<'_> {
    fn each<'h>(&'h self, take: &mut dyn FnMut(&'h [u8], &'h [u8])) {
        let headers = self.0.iter();
        headers.for_each(|(name, value)| take(name.as_bytes(), value));
    }
}

fn standard() -> Form {
    Form {
        provider: "standard-webhooks".to_owned(),
        endpoint: "orders".to_owned(),
        id: Some("webhook-id".to_owned()),
        kind: Some("type".to_owned()),
        time: Some("timestamp".to_owned()),
        ..Form::unknown()
    }
}

fn generic() -> Form {
    Form {
        provider: "generic-hmac".to_owned(),
        endpoint: "in-shop".to_owned(),
        whatsapp: WhatsApp::Named,
        ..Form::unknown()
    }
}

fn events(form: &Form, headers: &[(&str, &[u8])], body: &[u8]) -> Events {
    let headers = &Kept(headers);
    let mut events = Events::new();
    let sender = Some(Sender { form, headers });
    Extractor::new().extract_from(sender, body, ORIGIN, &mut events);
    events
}

/// The only event, as a line and parsed.
fn only(form: &Form, headers: &[(&str, &[u8])], body: impl AsRef<[u8]>) -> (String, Value) {
    let events = events(form, headers, body.as_ref());
    assert_eq!(events.len(), 1);
    let mut line = Vec::new();
    render(events.get(0).unwrap(), body.as_ref(), &mut line);
    let line = String::from_utf8(line).unwrap();
    let event = serde_json::from_str(&line).expect(&line);
    (line, event)
}

#[test]
fn standard_webhooks_name_the_delivery_the_type_and_the_time() {
    let body = r#"{"type":"user.created/v2 ü","timestamp":"2022-11-03T21:26:10.5+01:00","n":1.000000000000000000001,
        "a":123456789012345678901234567890}"#;
    let headers = [("Webhook-Id", &b"msg_2:a b"[..])];
    let (line, event) = only(&standard(), &headers, body);
    assert_eq!(event["id"], "msg_2%3aa%20b");
    assert_eq!(event["source"], "/standard-webhooks/orders");
    assert_eq!(event["type"], "webhook.user.created.v2___");
    assert_eq!(event["time"], "2022-11-03T20:26:10.500000Z");
    assert_eq!(event["endpoint"], "orders");
    assert_eq!(event["lane"], "rest");
    let data = body.replace('\n', " ");
    assert!(line.ends_with(&format!(",\"data\":{data}}}")), "{line}");
    // The same delivery once more, with another body: it is the id that counts.
    let again = only(&standard(), &headers, "{}").1;
    assert_eq!(again["id"], event["id"]);
    let long = "x".repeat(300);
    let long = only(&standard(), &[("webhook-id", long.as_bytes())], "{}").1;
    assert!(long["id"].as_str().unwrap().starts_with("sha256-"));
}

#[test]
fn what_says_nothing_is_received() {
    for body in [
        "{}",
        "[]",
        "7",
        r#"{"type":7,"timestamp":"yesterday"}"#,
        r#"{"type":"","timestamp":"1022-11-03T20:26:10Z"}"#,
        r#"{"data":{"type":"a"}}"#,
        r#"[{"type":"a"}]"#,
        "\u{feff}{}",
    ] {
        let (line, event) = only(&standard(), &[], body);
        assert_eq!(event["type"], "webhook.received", "{body}");
        assert_eq!(event["time"], "2026-09-27T09:06:40.250000Z");
        let data = format!("\"data\":{}}}", body.trim_start_matches('\u{feff}'));
        assert!(line.ends_with(&data), "{line}");
        let id = event["id"].as_str().unwrap();
        assert!(
            id.starts_with("-:received:body-") && id.ends_with(":41"),
            "{id}"
        );
    }
    // What simd-json refuses is JSON all the same.
    for odd in [
        r#""\ud800""#,
        "1e999",
        "-1E-999",
        "123456789012345678901234567890",
    ] {
        let body = format!(r#"{{"type":"a","b":{odd},"timestamp":"1970-01-01T00:00:01Z"}}"#);
        let events = events(&standard(), &[], body.as_bytes());
        let event = events.get(0).unwrap();
        assert_eq!((event.kind(), event.unparsed()), ("webhook.a", None));
        assert_eq!(event.time(), 1_000_000);
    }
    let last = only(&standard(), &[], r#"{"type":"a","type":"b"}"#).1;
    assert_eq!(last["type"], "webhook.b");
    let cut = only(
        &standard(),
        &[],
        format!(r#"{{"type":"{}"}}"#, "é".repeat(99)),
    )
    .1;
    assert_eq!(cut["type"].as_str().unwrap().len(), 100);
}

/// Anybody whose posts were taken could forge events of the platform with a member `messages`.
#[test]
fn shapes_of_the_platform_are_looked_for_where_it_posts() {
    let forged = json!({"messages": [{"id": "wamid.A", "from": "1555", "type": "text"}]});
    let partner = json!({"id": "e-1", "event": "channel_created", "data": {"a": 1}});
    let change = json!({"entry": [{"id": "1", "changes": [{"field": "messages", "value": {}}]}]});
    for body in [&forged, &partner, &change] {
        for form in [standard(), generic(), Form::unknown()] {
            let event = only(&form, &[], body.to_string()).1;
            assert_eq!(event["type"], "webhook.received");
            assert_eq!(event["data"], *body);
            let source = event["source"].as_str().unwrap();
            assert!(!source.starts_with("/whatsapp"), "{source}");
        }
    }
    let mut named = change.clone();
    named["object"] = json!("whatsapp_business_account");
    assert_eq!(
        only(&generic(), &[], named.to_string()).1["type"],
        "whatsapp.messages"
    );
    assert_eq!(
        only(&standard(), &[], named.to_string()).1["type"],
        "webhook.received"
    );
    named["object"] = json!("page");
    assert_eq!(
        only(&generic(), &[], named.to_string()).1["type"],
        "webhook.received"
    );
    let events = events(&standard(), &[], b"{}");
    assert_eq!(
        events.get(0).unwrap().waba(),
        None,
        "an endpoint is no account"
    );
}

#[test]
fn kept_headers_are_attributes() {
    let form = Form {
        attributes: [
            "x-github-event",
            "x-many",
            "x-odd",
            "x-long",
            "x-none",
            "x-quote",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..generic()
    };
    let long = "é".repeat(VALUE_MAX);
    let headers: &[(&str, &[u8])] = &[
        ("X-GitHub-Event", b"push"),
        ("x-many", b"1"),
        ("X-Hub-Signature-256", b"sha256=00"),
        ("X-MANY", b"2"),
        ("x-odd", b"a\tb\xff\x01\xc2\x85\xef\xbf\xbe"),
        ("x-long", long.as_bytes()),
        ("x-quote", b"\"\\ %"),
        ("webhook-id", b"not looked at"),
    ];
    let (_, event) = only(&form, headers, "{}");
    assert_eq!(event["xgithubevent"], "push");
    assert_eq!(event["xmany"], "1, 2");
    assert_eq!(event["xodd"], "a b\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
    assert_eq!(event["xlong"].as_str().unwrap().len(), VALUE_MAX);
    assert_eq!(event["xquote"], "\"\\ %");
    assert_eq!(event["endpoint"], "in-shop");
    let names = event.as_object().unwrap().keys().map(String::as_str);
    let beside = names.filter(|name| name.contains("hub") || name.contains("none"));
    assert_eq!(beside.collect::<Vec<_>>(), ["xgithubevent"]);
    // Those of the binary mode are the same.
    let events = events(&form, headers, b"{}");
    let mut found = Vec::new();
    attributes(events.get(0).unwrap(), |name, value| {
        found.push((name.to_owned(), value.to_owned()));
    });
    for (name, value) in found {
        assert_eq!(event[&name], value, "{name}");
    }
    // Events of the platform have them as well, all of one body.
    let form = Form {
        whatsapp: WhatsApp::Always,
        ..form
    };
    let body = json!({"messages": [{"id": "a"}, {"id": "b"}]}).to_string();
    let events = self::events(&form, headers, body.as_bytes());
    assert_eq!(events.len(), 2);
    for event in events.iter() {
        let mut line = Vec::new();
        render(event, body.as_bytes(), &mut line);
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(line["xgithubevent"], "push");
        assert_eq!(line.get("endpoint"), None);
    }
}

#[test]
fn the_sender_says_what_the_data_is() {
    for (said, body, expected, beside) in [
        (None, "{}", "application/json", None),
        (None, "a=1&b=2", "application/octet-stream", None),
        (
            Some("application/json; charset=\"utf-8\""),
            "{}",
            "application/json; charset=\"utf-8\"",
            None,
        ),
        (
            Some("application/cloudevents+JSON ; a=b"),
            "{}",
            "application/cloudevents+JSON ; a=b",
            None,
        ),
        // JSON is written as JSON, whatever it is called.
        (
            Some("text/plain"),
            "7",
            "application/json",
            Some("text/plain"),
        ),
        (Some("text/plain"), "hello", "text/plain", None),
        (
            Some("application/x-www-form-urlencoded"),
            "a=1&b=2",
            "application/x-www-form-urlencoded",
            None,
        ),
        (Some("application/json"), "{", "application/json", None),
        (Some(""), "{}", "application/json", None),
        // What no receiver could read as a media type.
        (Some("json"), "{}", "application/json", Some("json")),
        (
            Some("a b/c"),
            "x",
            "application/octet-stream",
            Some("a b/c"),
        ),
        (Some("a/"), "x", "application/octet-stream", Some("a/")),
        (
            Some("text/plain; a=\u{e9}"),
            "x",
            "application/octet-stream",
            Some("text/plain; a=\u{e9}"),
        ),
    ] {
        let header = said.map(|said| ("Content-Type", said.as_bytes()));
        let headers: Vec<_> = header.into_iter().collect();
        let (_, event) = only(&generic(), &headers, body);
        assert_eq!(event["datacontenttype"], expected, "{said:?} {body}");
        assert_eq!(event.get("xcontenttype").and_then(Value::as_str), beside);
        assert_eq!(event["type"], "webhook.received");
        let is_json = serde_json::from_str::<Value>(body).is_ok();
        assert_eq!(event.get("data").is_some(), is_json);
        assert_eq!(event.get("data_base64").is_some(), !is_json);
        let events = events(&generic(), &headers, body.as_bytes());
        let event = events.get(0).unwrap();
        assert_eq!(content_type(event), expected);
        let mut data = Vec::new();
        render_data(event, body.as_bytes(), &mut data);
        assert_eq!(data, body.as_bytes());
    }
}
