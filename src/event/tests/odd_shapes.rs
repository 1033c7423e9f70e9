//! No update is skipped because one beside it is odd, and nothing is called unparsed that is JSON.

use super::super::{Unparsed, render_data};
use super::{extract, kinds, lines, notification, parsed, value};
use serde_json::json;

#[test]
fn keys_stand_in_any_order() {
    let body = r#"{"entry":[{"changes":[{"value":{"messages":[{"type":"text","id":"wamid.A"}],
        "metadata":{"phone_number_id":"1065"}},"field":"messages"}],"id":"1022"}],"object":"o"}"#;
    let events = extract(body);
    let event = events.get(0).unwrap();
    assert_eq!(event.id(), "1065:messages:wamid.A");
    assert_eq!(event.source(), "/whatsapp/1022/1065");
}

#[test]
fn updates_come_in_the_order_of_the_text() {
    let body = r#"{"object":"o","entry":[{"id":"1","changes":[
        {"field":"messages","value":{"statuses":[{"id":"a","status":"sent"}],
            "errors":[{"code":1}],"messages":[{"id":"b","type":"text"},{"id":"c","type":"image"}]}},
        {"value":{"event":"X"},"field":"account_update"}]},
        {"id":"2","changes":[{"field":"flows","value":{}}]}]}"#;
    let expected = [
        "whatsapp.status.sent",
        "whatsapp.error",
        "whatsapp.message.text",
        "whatsapp.message.image",
        "whatsapp.account_update",
        "whatsapp.flows",
    ];
    assert_eq!(kinds(body), expected);
    let sequences: Vec<_> = parsed(body)
        .iter()
        .map(|line| line["position"].clone())
        .collect();
    assert_eq!(sequences, ["41.0", "41.1", "41.2", "41.3", "41.4", "41.5"]);
}

#[test]
fn a_body_may_be_an_array() {
    let update = notification("account_update", &json!({"event": "X"}));
    assert_eq!(kinds(json!([update, update]).to_string()).len(), 2);
    let mixed = json!([1, update, {}]);
    let expected = [
        "whatsapp.empty",
        "whatsapp.account_update",
        "whatsapp.empty",
    ];
    assert_eq!(kinds(mixed.to_string()), expected);
    assert_eq!(parsed(mixed.to_string())[0]["data"], 1);
}

#[test]
fn a_body_without_a_change_is_one_event() {
    for body in [
        "{}",
        "[]",
        "[[]]",
        "null",
        "true",
        "0",
        "-1.5e3",
        r#""text""#,
        r#"{"entry":[]}"#,
        "[1,2]",
        r#"{"entry":[{"id":"1","changes":[]}]}"#,
        r#"{"entry":{"changes":[{}]}}"#,
        " {\n} ",
        r#"{"entry":[1,"x",null,[]]}"#,
        r#"{"messages":[]}"#,
        r#"{"messages":{"id":"x"}}"#,
        r#"{"id":"1","event":"x","data":[]}"#,
        r#"{"calls":[{}]}"#,
    ] {
        assert_eq!(kinds(body), ["whatsapp.empty"], "{body}");
        let data: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(parsed(body)[0]["data"], data);
    }
}

#[test]
fn an_empty_array_is_no_update_and_is_kept() {
    let body = notification("messages", &json!({"messages": []})).to_string();
    assert_eq!(kinds(&body), ["whatsapp.messages"]);
    assert_eq!(parsed(&body)[0]["data"]["value"], json!({"messages": []}));
    let body = notification(
        "messages",
        &json!({"messages": [], "statuses": [{"status": "sent"}]}),
    );
    let line = &parsed(body.to_string())[0];
    assert_eq!(line["type"], "whatsapp.status.sent");
    assert_eq!(line["data"]["value"], json!({"messages": []}));
}

#[test]
fn neighbours_of_the_wrong_type_are_kept() {
    let good = json!({"id": "wamid.A", "type": "text"});
    let body = json!({"object": 5, "entry": [7, {"id": "1", "changes": [
        "odd",
        {"field": ["x"], "value": {"messages": [null, &good, "text", [1]], "statuses": {"id": 1}}},
        {"field": "flows"},
        {"value": 8, "field": "flows"},
    ]}, {"messaging": []}]})
    .to_string();
    let expected = [
        "whatsapp.change",
        "whatsapp.message",
        "whatsapp.message.text",
        "whatsapp.message",
        "whatsapp.message",
        "whatsapp.flows",
        "whatsapp.flows",
    ];
    assert_eq!(kinds(&body), expected);
    let lines = parsed(&body);
    assert_eq!(lines[0]["data"]["change"], "odd");
    assert_eq!(lines[2]["data"]["message"], good);
    assert_eq!(lines[2]["data"]["field"], json!(["x"]));
    assert_eq!(lines[2]["data"]["value"], json!({"statuses": {"id": 1}}));
    assert_eq!(lines[5]["data"]["change"], json!({"field": "flows"}));
    assert_eq!(lines[6]["data"]["value"], 8);
    let rest = json!({"object": 5, "entry": [7, {"messaging": []}]});
    assert!(
        lines
            .iter()
            .all(|line| line["data"]["notification"] == rest)
    );
}

#[test]
fn what_a_history_carries_beside_messages_is_kept() {
    let body = notification(
        "history",
        &value(&json!({"history": [
        {"metadata": {"phase": 0}, "extra": 1, "threads": [
            {"id": "15550100201", "context": {"user_id": "US.1"}, "messages": [{"id": "a"}]},
            {"id": "15550100202", "messages": []},
            "odd"]},
        {"errors": [{"code": 1}]}]})),
    );
    let lines = parsed(body.to_string());
    assert_eq!(lines.len(), 1);
    let data = &lines[0]["data"];
    let history = json!({"metadata": {"phase": 0}, "extra": 1,
        "threads": [{"id": "15550100202", "messages": []}, "odd"]});
    assert_eq!(data["history"], history);
    assert_eq!(
        data["thread"],
        json!({"id": "15550100201", "context": {"user_id": "US.1"}})
    );
    assert_eq!(
        data["value"],
        json!({"history": [{"errors": [{"code": 1}]}]})
    );
}

#[test]
fn repeated_keys_are_all_taken() {
    let body = r#"{"entry":[{"id":"old","id":"1022","changes":[{"field":"a","field":"messages",
        "value":{"metadata":{"phone_number_id":"1"},"metadata":{"phone_number_id":"2"},
            "messages":[{"id":"a","id":"b"}],"messages":[{"id":"c"}]},
        "value":{"event":"X"}}]}],"entry":[{"changes":[{"field":"flows","value":1,"value":2}]}]}"#;
    let lines = lines(body);
    assert_eq!(lines.len(), 3);
    // The last one counts, as with nearly every JSON library.
    let ids: Vec<_> = extract(body)
        .iter()
        .map(|event| event.id().to_owned())
        .collect();
    assert_eq!(ids[..2], ["2:messages:b", "2:messages:c"]);
    for part in [
        r#""message":{"id":"a","id":"b"}"#,
        r#""metadata":{"phone_number_id":"2"}"#,
        r#""value":{"metadata":{"phone_number_id":"1"}}"#,
        r#""change":{"field":"a","value":{"event":"X"}}"#,
        r#""entry":{"id":"old","id":"1022"}"#,
    ] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    assert!(lines[2].contains(r#""data":{"change":{"field":"flows","value":1,"value":2}"#));
}

#[test]
fn numbers_keep_their_digits() {
    for number in [
        "1.0",
        "1e2",
        "1E+2",
        "-0",
        "-0.0",
        "0.1000",
        "123456789012345678901234567890",
        "1e400",
        "-1e-400",
        "18446744073709551616",
        "3.14159265358979323846264338327950288",
    ] {
        let body = format!(
            r#"{{"entry":[{{"id":{number},"changes":[{{"field":"messages","value":
            {{"n":{number},"messages":[{{"id":{number},"type":"text","amount":[{number}]}}]}}}}]}}]}}"#
        );
        let lines = lines(&body);
        assert_eq!(lines.len(), 1);
        let update = format!(r#""message":{{"id":{number},"type":"text","amount":[{number}]}}"#);
        assert!(lines[0].contains(&update), "{}", lines[0]);
        assert!(
            lines[0].contains(&format!(r#""value":{{"n":{number}}}"#)),
            "{}",
            lines[0]
        );
        let events = extract(&body);
        let event = events.get(0).unwrap();
        assert_eq!(event.kind(), "whatsapp.message.text");
        let id = format!("{number}:messages:{number}");
        assert_eq!(event.id(), id);
    }
}

#[test]
fn escapes_stay_and_are_understood() {
    // As the platform writes it, a lone surrogate and control characters among it.
    let message = r#"{"\u0069d":"wamid.\u0041","type":"te\u0078t","from":"\u002b1555",
        "text":{"body":"\ud83d\ude1f \ud800 \udc00\ud83d \u0000 \u00e9 \/ \u0040 \"\\\n\t"}}"#;
    let body = format!(r#"{{"messages":[{message}]}}"#);
    let events = extract(&body);
    let event = events.get(0).unwrap();
    assert_eq!(event.kind(), "whatsapp.message.text");
    assert_eq!(event.id(), "-:-:wamid.A");
    assert_eq!(event.party_phone(), Some("+1555"));
    assert!(lines(&body)[0].contains(&message.replace('\n', " ")));
}

#[test]
fn what_is_not_json_is_unparsed() {
    for body in [
        &b""[..],
        b" ",
        b"{",
        b"}",
        b"nul",
        b"{}{}",
        b"[1,]",
        b"{\"a\":1,}",
        b"'a'",
        b"01",
        b"+1",
        b"1.",
        b".5",
        b"-",
        b"NaN",
        b"\"a",
        b"\"\n\"",
        b"\"\\x\"",
        b"\"\\ud8\"",
        b"\"\xff\"",
        b"\"\xed\xa0\x80\"",
        b"a=1&b=2",
        b"{\"a\"}",
        b"{1:2}",
        b"[1 2]",
        b"\0",
        b"/**/1",
    ] {
        let events = extract(body);
        let event = events.get(0).unwrap();
        assert_eq!(
            (events.len(), event.kind()),
            (1, "whatsapp.unparsed"),
            "{body:?}"
        );
        assert_eq!(event.unparsed(), Some(Unparsed::NotJson));
        assert!(event.has_weak_key() && event.is_known());
    }
    let line = &parsed(b"\xff{")[0];
    assert_eq!(line["data_base64"], "/3s=");
    assert_eq!(line["datacontenttype"], "application/octet-stream");
    assert_eq!(line.get("data"), None);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_body() {
    for body in [
        notification(
            "messages",
            &value(&json!({"messages": [{"id": "wamid.A"}], "contacts": [{"a": 1}]})),
        ),
        json!({"order": 7}),
    ] {
        let plain = body.to_string();
        let marked = format!("\u{feff}{plain}");
        assert_eq!(lines(&marked), lines(&plain));
        let events = extract(&marked);
        let (mut data, mut expected) = (Vec::new(), Vec::new());
        render_data(events.get(0).unwrap(), marked.as_bytes(), &mut data);
        render_data(
            extract(&plain).get(0).unwrap(),
            plain.as_bytes(),
            &mut expected,
        );
        assert_eq!(data, expected, "without the mark, which JSON has not");
    }
    // Only one, and only before JSON: of anything else it is a part.
    assert_eq!(kinds("\u{feff}\u{feff}{}"), ["whatsapp.unparsed"]);
    let text = "\u{feff}hello";
    let line = &parsed(text)[0];
    assert_eq!(line["data_base64"], "77u/aGVsbG8=");
}

#[test]
fn line_ends_between_tokens_become_spaces() {
    let body = "{\r\n\t\"entry\" : [\n{\"changes\":[{\"value\":{\n\"messages\":[\n{\n\"id\"\n:\n\"a\"\n}\n]\n,\n\
        \"x\"\n:\n1\n}\n}]}]\r}";
    let line = &lines(body)[0];
    assert!(line.contains(r#""message":{ "id" : "a" },"#), "{line}");
    assert!(line.contains(r#""value":{"x":1}"#), "{line}");
}

#[test]
fn a_message_without_a_type_is_what_its_members_say() {
    let message = |message| {
        let value = value(&json!({ "messages": [message] }));
        kinds(notification("messages", &value).to_string())
    };
    let place = json!({ "id": "a", "location": { "latitude": 1.5, "longitude": 2 } });
    assert_eq!(message(place), ["whatsapp.message.location"]);
    assert_eq!(
        message(json!({ "id": "a", "new_thing": {} })),
        ["whatsapp.message"]
    );
}
