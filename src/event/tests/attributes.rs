//! Keys, sources, conversations and times.

use super::super::{Events, Extractor, Origin};
use super::{extract, notification, parsed, value};
use serde_json::{Value, json};

/// The keys of a body.
fn ids(body: &Value) -> Vec<String> {
    let events = extract(body.to_string());
    events.iter().map(|event| event.id().to_owned()).collect()
}

/// The key of the only event.
fn id(body: &Value) -> String {
    let ids = ids(body);
    assert_eq!(ids.len(), 1);
    ids[0].clone()
}

/// Subject, phone number and user id of the first event.
fn conversation(body: &Value) -> (String, String, String) {
    let events = extract(body.to_string());
    let event = events.get(0).unwrap();
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    (
        text(event.subject()),
        text(event.party_phone()),
        text(event.party_user_id()),
    )
}

fn named(subject: &str, phone: &str, user_id: &str) -> (String, String, String) {
    (subject.to_owned(), phone.to_owned(), user_id.to_owned())
}

fn messages(field: &str, members: &Value) -> Value {
    notification(field, &value(members))
}

#[test]
fn a_message_has_its_id_and_its_field() {
    let message = json!({"messages": [{"id": "wamid.A+/=", "type": "text"}]});
    assert_eq!(
        id(&messages("messages", &message)),
        "106540000000001:messages:wamid.A+/="
    );
    let standby = json!({"standby": message});
    assert_eq!(
        id(&messages("standby", &standby)),
        "106540000000001:standby:wamid.A+/="
    );
    let echo = json!({"message_echoes": [{"id": "wamid.A+/=", "type": "text"}]});
    let expected = "106540000000001:smb_message_echoes:wamid.A+/=";
    assert_eq!(id(&messages("smb_message_echoes", &echo)), expected);
    // Without a number the account stands for it.
    let bare = notification("messages", &message);
    assert_eq!(id(&bare), "102290000000001:messages:wamid.A+/=");
}

#[test]
fn the_placeholder_of_a_history_is_not_its_media() {
    let placeholder = json!({"id": "wamid.A", "type": "media_placeholder"});
    let threads = json!([{"id": "15550100201", "messages": [placeholder]}]);
    let first = messages("history", &json!({"history": [{"threads": threads}]}));
    let then = messages(
        "history",
        &json!({"messages": [{"id": "wamid.A", "type": "image"}]}),
    );
    assert_eq!(
        id(&first),
        "106540000000001:history:wamid.A:media_placeholder"
    );
    assert_eq!(id(&then), "106540000000001:history:wamid.A:image");
}

#[test]
fn a_status_differs_by_participant() {
    let status = |key: &str, participant: &str| {
        json!({"statuses": [{"id": "wamid.A", "status": "read", "recipient_id": "GROUP",
            "recipient_type": "group", key: participant}]})
    };
    let key = |key, participant| id(&messages("messages", &status(key, participant)));
    let one = "106540000000001:messages:wamid.A:read:15550100201";
    assert_eq!(key("recipient_participant_id", "15550100201"), one);
    assert_eq!(key("participant_recipient_id", "15550100201"), one);
    let other = "106540000000001:messages:wamid.A:read:US.1";
    assert_eq!(key("recipient_participant_user_id", "US.1"), other);
    assert_eq!(key("unknown", "x"), "106540000000001:messages:wamid.A:read");
}

#[test]
fn a_payment_has_many_statuses() {
    let payment = |status: &str, updated: u32, refunds: &[&str]| {
        let refunds: Vec<_> = refunds.iter().map(|id| json!({"id": id})).collect();
        let transaction = json!({"id": "order_1", "updated_timestamp": updated});
        let payment = json!({"transaction": transaction, "refunds": refunds});
        id(&messages(
            "messages",
            &json!({"statuses": [{"id": "wamid.A", "type": "payment",
            "status": status, "payment": payment}]}),
        ))
    };
    let start = "106540000000001:messages:wamid.A:payment:order_1";
    assert_eq!(payment("pending", 1, &[]), format!("{start}:1:pending"));
    assert_eq!(payment("captured", 2, &[]), format!("{start}:2:captured"));
    assert_eq!(
        payment("captured", 3, &["r1", "r2"]),
        format!("{start}:3:r1:r2:captured")
    );
}

#[test]
fn calls_preferences_and_clicks() {
    let call = json!({"calls": [{"id": "wacid.A", "event": "connect"}]});
    assert_eq!(
        id(&messages("calls", &call)),
        "106540000000001:calls:wacid.A:connect"
    );
    let status = json!({"statuses": [{"id": "wacid.A", "type": "call", "status": "RINGING"}]});
    assert_eq!(
        id(&messages("calls", &status)),
        "106540000000001:calls:wacid.A:RINGING"
    );
    let preference = json!({"user_preferences": [{"wa_id": "15550100201", "value": "stop",
        "category": "marketing_messages", "timestamp": 1_790_417_948}]});
    let expected =
        "106540000000001:user_preferences:15550100201:marketing_messages:stop:1790417948";
    assert_eq!(id(&messages("user_preferences", &preference)), expected);
    let click = json!({"user_actions": [{"action_type": "marketing_messages_link_click",
        "marketing_messages_link_click_data": {"click_id": "click-1"}}]});
    assert_eq!(
        id(&messages("messages", &click)),
        "106540000000001:messages:click-1"
    );
}

#[test]
fn account_updates_have_time_and_hash() {
    let at = |time: u32, event: &str| {
        let mut body = notification("account_update", &json!({"event": event}));
        body["entry"][0]["time"] = time.into();
        body
    };
    let key = id(&at(5, "X"));
    // printf '{"event":"X"}' | sha256sum
    let expected = "102290000000001:account_update:5:sha256-c4d974a6b49fc108b61c085a3414a5e0";
    assert_eq!(key, expected);
    assert_ne!(key, id(&at(6, "X")));
    assert_ne!(key, id(&at(5, "Y")));
    assert_eq!(key, id(&at(5, "X")));
}

#[test]
fn without_an_id_the_body_and_the_position_count() {
    let errors = messages("messages", &json!({"errors": [{"code": 1}, {"code": 1}]}));
    let ids = ids(&errors);
    assert_ne!(ids[0], ids[1]);
    assert!(ids[0].starts_with("106540000000001:messages:body-") && ids[0].ends_with(":0"));
    let events = extract(errors.to_string());
    assert!(events.iter().all(|event| event.has_weak_key()));
    let message = messages("messages", &json!({"messages": [{"id": "wamid.A"}]}));
    assert!(!extract(message.to_string()).get(0).unwrap().has_weak_key());
}

#[test]
fn the_test_button_is_never_a_duplicate() {
    let press = |entry: &str, number: &str, sequence: u64| {
        let body = json!({"entry": [{"id": entry, "changes": [{"field": "messages", "value": {
            "metadata": {"phone_number_id": number}, "messages": [{"id": "ABGGFlA5Fpa"}]}}]}]});
        let mut events = Events::new();
        let origin = Origin {
            sequence,
            ..Origin::default()
        };
        Extractor::new().extract(body.to_string().as_bytes(), origin, &mut events);
        (
            events.get(0).unwrap().id().to_owned(),
            events.get(0).unwrap().fingerprint(),
        )
    };
    let first = press("0", "123456123", 1);
    assert_eq!(first.0, "123456123:messages:ABGGFlA5Fpa:test:1");
    assert_ne!(first, press("0", "123456123", 2));
    assert_eq!(
        press("102290000000001", "1065", 1),
        press("102290000000001", "1065", 2)
    );
}

/// Another sender's webhook said the same twice in ten minutes, meant both, and the second one was not delivered.
#[test]
fn what_other_senders_repeat_is_never_a_duplicate() {
    for body in ["{\"ping\":true}", "not json"] {
        let event = |sequence, foreign| {
            let origin = Origin {
                sequence,
                foreign,
                ..Origin::default()
            };
            let mut events = Events::new();
            Extractor::new().extract(body.as_bytes(), origin, &mut events);
            let event = events.get(0).unwrap();
            (event.id().to_owned(), event.has_weak_key())
        };
        assert_eq!(event(1, false), event(2, false));
        assert_ne!(event(1, true), event(2, true));
        assert_eq!(event(1, true), event(1, true));
    }
}

#[test]
fn odd_ids_stay_printable_and_short() {
    let key = |id_text: &str| {
        id(&messages(
            "messages",
            &json!({"messages": [{"id": id_text, "type": "text"}]}),
        ))
    };
    assert_eq!(
        key("a:b%\"\\ \u{e9}\n"),
        "106540000000001:messages:a%3ab%25%22%5c%20%c3%a9%0a"
    );
    let long = key(&"x".repeat(100_000));
    assert!(long.starts_with("106540000000001:messages:sha256-") && long.len() < 70);
}

#[test]
fn a_party_has_one_name_or_two() {
    let contact = json!([{"wa_id": "15550100201", "user_id": "US.1"}]);
    let message = |message: Value| {
        messages(
            "messages",
            &json!({"contacts": contact, "messages": [message]}),
        )
    };
    let both = named("106540000000001:15550100201", "15550100201", "US.1");
    assert_eq!(conversation(&message(json!({"from": "15550100201"}))), both);
    assert_eq!(
        conversation(&message(json!({"from_user_id": "US.1"}))),
        both
    );
    assert_eq!(conversation(&message(json!({"type": "text"}))), both);
    // A contact with other names says nothing about the sender.
    let other = named("106540000000001:15550100299", "15550100299", "-");
    assert_eq!(
        conversation(&message(json!({"from": "15550100299"}))),
        other
    );
    let status = json!({"statuses": [{"recipient_user_id": "BR.2", "status": "sent"}]});
    let expected = named("106540000000001:BR.2", "-", "BR.2");
    assert_eq!(conversation(&messages("messages", &status)), expected);
    let on_premises = json!({"statuses": [{"message": {"recipient_id": "15550100201"}}]});
    assert_eq!(
        conversation(&on_premises),
        named("-:15550100201", "15550100201", "-")
    );
}

#[test]
fn the_other_side_is_never_the_business() {
    let expected = named("106540000000001:15550100201", "15550100201", "-");
    // The displayed number of the metadata is +1 555-010-0101.
    let (business, person) = ("15550100101", "15550100201");
    for (field, members) in [
        ("messages", json!({"messages": [{"from": person}]})),
        (
            "history",
            json!({"messages": [{"from": business, "to": person}]}),
        ),
        (
            "smb_message_echoes",
            json!({"message_echoes": [{"from": business, "to": person}]}),
        ),
        (
            "calls",
            json!({"calls": [{"from": business, "to": person}]}),
        ),
        (
            "calls",
            json!({"calls": [{"from": person, "to": business}]}),
        ),
        (
            "calls",
            json!({"calls": [{"from": person, "to": "1", "direction": "USER_INITIATED"}]}),
        ),
        (
            "calls",
            json!({"calls": [{"from": "1", "to": person, "direction": "BUSINESS_INITIATED"}]}),
        ),
        (
            "smb_app_state_sync",
            json!({"state_sync": [{"contact": {"phone_number": person}}]}),
        ),
        (
            "history",
            json!({"history": [{"threads": [
            {"id": person, "messages": [{"from": business}]}]}]}),
        ),
    ] {
        assert_eq!(
            conversation(&messages(field, &members)),
            expected,
            "{field} {members}"
        );
    }
    let nobody = messages("messages", &json!({"messages": [{"from": business}]}));
    assert_eq!(conversation(&nobody), named("-", "-", "-"));
}

#[test]
fn a_group_is_a_conversation() {
    let message = json!({"messages": [{"from": "15550100201", "group_id": "R1=="}]});
    let expected = named("106540000000001:R1==", "15550100201", "-");
    assert_eq!(conversation(&messages("messages", &message)), expected);
    let status = json!({"statuses": [{"recipient_id": "R1==", "recipient_type": "group",
        "recipient_participant_id": "15550100201"}]});
    let (subject, ..) = conversation(&messages("messages", &status));
    assert_eq!(subject, "106540000000001:R1==");
    let update = json!({"groups": [{"group_id": "R1==", "type": "group_create"}]});
    let (subject, ..) = conversation(&messages("group_lifecycle_update", &update));
    assert_eq!(subject, "106540000000001:R1==");
}

#[test]
fn changed_identities_and_handovers() {
    let system = json!({"previous_user_id": "BR.1", "user_id": "BR.2"});
    let message = json!({"messages": [{"type": "system", "system": system}]});
    let expected = named("106540000000001:BR.1", "-", "BR.1");
    assert_eq!(conversation(&messages("messages", &message)), expected);
    let handover = json!({"sender": {"phone_number": "15550100201"},
        "recipient": {"phone_number_id": "1065", "display_phone_number": "15550100101"}});
    let body = notification("messaging_handovers", &handover);
    assert_eq!(
        conversation(&body),
        named("1065:15550100201", "15550100201", "-")
    );
    assert_eq!(
        parsed(body.to_string())[0]["source"],
        "/whatsapp/102290000000001/1065"
    );
}

#[test]
fn each_update_has_its_contact() {
    let contact =
        |number: u32| json!({"wa_id": number.to_string(), "user_id": format!("US.{number}")});
    // In an order of their own, by either name, and more of them than updates.
    let contacts: Vec<_> = (0..40).map(contact).collect();
    let statuses: Vec<_> = (0..39_u32)
        .map(|number| match (number * 17) % 39 {
            number if number % 2 == 0 => json!({"recipient_id": number.to_string()}),
            number => json!({"recipient_user_id": format!("US.{number}")}),
        })
        .collect();
    let body = messages(
        "messages",
        &json!({"contacts": contacts, "statuses": statuses}),
    );
    let lines = parsed(body.to_string());
    for (index, line) in lines.iter().take(38).enumerate() {
        let number = (u32::try_from(index).unwrap() * 17) % 39;
        assert_eq!(line["data"]["contacts"], json!([contact(number)]));
    }
    // The fortieth belongs to nobody, so it goes with the last one.
    assert_eq!(lines[38]["data"]["contacts"], json!(contacts));
}

#[test]
fn unclear_contacts_all_go_along() {
    let contacts = json!([{"wa_id": "1"}, {"wa_id": "2"}, "odd"]);
    let members = json!({"contacts": contacts, "messages": [{"from": "3"}, {"from": "2"}]});
    let lines = parsed(messages("messages", &members).to_string());
    assert_eq!(lines[0]["data"]["contacts"], contacts);
    assert_eq!(lines[1]["data"]["contacts"], json!([{"wa_id": "2"}]));
    let inside = json!({"standby": {"contacts": [{"wa_id": "1", "user_id": "US.1"}],
        "messages": [{"from": "1"}]}});
    let line = &parsed(messages("standby", &inside).to_string())[0];
    assert_eq!(
        line["data"]["contacts"],
        json!([{"wa_id": "1", "user_id": "US.1"}])
    );
    assert_eq!(line["subject"], "106540000000001:1");
}

#[test]
fn times() {
    let body = |timestamp: Value, entry: Value| {
        json!({"entry": [{"id": "1", "time": entry, "changes": [{"field": "messages",
            "value": {"messages": [{"id": "a", "timestamp": timestamp}]}}]}]})
    };
    let time = |timestamp, entry| {
        let line = parsed(body(timestamp, entry).to_string()).remove(0);
        assert_eq!(line["receivedtime"], "2026-09-27T09:06:40.250000Z");
        line["time"].as_str().unwrap().to_owned()
    };
    let own = "2026-09-26T09:34:56Z";
    assert_eq!(time(json!("1790415296"), json!(5)), own);
    assert_eq!(time(json!(1_790_415_296), json!(5)), own);
    assert_eq!(time(json!("soon"), json!(5)), "1970-01-01T00:00:05Z");
    assert_eq!(time(json!(-1), json!("5")), "1970-01-01T00:00:05Z");
    assert_eq!(
        time(json!("1790415296000"), Value::Null),
        "2026-09-27T09:06:40.250000Z"
    );
    let sync = json!({"state_sync": [{"metadata": {"timestamp": "1790415296"}}]});
    let line = &parsed(messages("smb_app_state_sync", &sync).to_string())[0];
    assert_eq!(line["time"], own);
    let handover = notification("messaging_handovers", &json!({"timestamp": "1790415296"}));
    assert_eq!(parsed(handover.to_string())[0]["time"], own);
}

#[test]
fn a_line_is_a_cloud_event() {
    let contact = json!({"wa_id": "15550100201", "profile": {"name": "T"}});
    let message = json!({"from": "15550100201", "id": "wamid.A", "type": "text",
        "timestamp": "1790415296", "text": {"body": "hi"}});
    let members = json!({"contacts": [contact], "messages": [message], "new": [1]});
    let mut body = messages("messages", &members);
    body["entry"][0]["more"] = json!(true);
    body["entry"][0]["changes"][0]["more"] = json!(null);
    let line = &parsed(body.to_string())[0];
    assert_eq!(
        *line,
        json!({
            "specversion": "1.0",
            "id": "106540000000001:messages:wamid.A",
            "source": "/whatsapp/102290000000001/106540000000001",
            "type": "whatsapp.message.text",
            "time": "2026-09-26T09:34:56Z",
            "subject": "106540000000001:15550100201",
            "datacontenttype": "application/json",
            "position": "41.0",
            "receivedtime": "2026-09-27T09:06:40.250000Z",
            "lane": "messages",
            "data": {
                "message": message,
                "contacts": [contact],
                "field": "messages",
                "messaging_product": "whatsapp",
                "metadata": {"display_phone_number": "+1 555-010-0101",
                    "phone_number_id": "106540000000001"},
                "value": {"new": [1]},
                "change": {"more": null},
                "entry": {"id": "102290000000001", "more": true},
                "notification": {"object": "whatsapp_business_account"},
            },
        })
    );
    let events = extract(body.to_string());
    let event = events.get(0).unwrap();
    assert_eq!(
        (event.sequence(), event.index(), event.record()),
        (41, 0, 7)
    );
    assert_eq!(event.phone_number_id(), Some("106540000000001"));
    assert_eq!(
        (event.time(), event.received_at()),
        (1_790_415_296_000_000, 1_790_500_000_250_000)
    );
}
