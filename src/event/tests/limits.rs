//! Limits, and what a worker's memory does.

use super::super::{
    Events, Extractor, LARGE, LARGE_KEPT, NESTING_MAX, UPDATES_MAX, Unparsed, render,
};
use super::{ORIGIN, extract, kinds, lines, notification, value};
use serde_json::json;

/// A message with arrays in it, `depth` deep in all.
fn nested(depth: usize) -> String {
    let inner = depth - 3; // body, messages, message
    format!(
        r#"{{"messages":[{{"x":{}{}}}]}}"#,
        "[".repeat(inner),
        "]".repeat(inner)
    )
}

#[test]
fn nesting_has_a_limit() {
    assert_eq!(kinds(nested(NESTING_MAX)), ["whatsapp.message"]);
    for depth in [NESTING_MAX + 1, 1000, 1025, 200_000] {
        let events = extract(nested(depth));
        let event = events.get(0).unwrap();
        assert_eq!((events.len(), event.kind()), (1, "whatsapp.unparsed"));
        assert_eq!(event.unparsed(), Some(Unparsed::TooDeep));
        assert!(lines(nested(depth))[0].contains("data_base64"));
    }
    let open = "[".repeat(100_000);
    assert_eq!(
        extract(open).get(0).unwrap().unparsed(),
        Some(Unparsed::NotJson)
    );
    // So has what other parsers refuse for another reason.
    let body = nested(NESTING_MAX + 1).replace("[]", "[1e999]");
    assert_eq!(
        extract(body).get(0).unwrap().unparsed(),
        Some(Unparsed::TooDeep)
    );
}

#[test]
fn updates_have_a_limit() {
    let body = |count: u32| format!(r#"{{"messages":[{}0]}}"#, "0,".repeat(count as usize - 1));
    let events = extract(body(UPDATES_MAX));
    assert_eq!(events.len(), UPDATES_MAX as usize);
    let mut events = Events::new();
    let mut extractor = Extractor::new();
    extractor.extract(b"{}", ORIGIN, &mut events);
    let body = body(UPDATES_MAX + 1);
    extractor.extract(body.as_bytes(), ORIGIN, &mut events);
    assert_eq!(events.len(), 2, "and nothing of what was taken before");
    let event = events.get(1).unwrap();
    assert_eq!((event.kind(), event.index()), ("whatsapp.unparsed", 0));
    assert_eq!(event.unparsed(), Some(Unparsed::TooMany));
    assert!(lines(&body)[0].contains(&format!(r#""data":{body}"#)));
}

#[test]
fn a_large_neighbour_is_not_copied_a_thousand_times() {
    let statuses: Vec<_> = (0..1000)
        .map(|id| json!({"id": id, "status": "sent"}))
        .collect();
    let large = "x".repeat(500_000);
    let body = notification(
        "messages",
        &value(&json!({"new": large, "statuses": statuses})),
    );
    let body = body.to_string();
    let lines = lines(&body);
    assert_eq!(lines.len(), 1000);
    let with = lines.iter().filter(|line| line.contains(&large)).count();
    assert!(
        (1..=4).contains(&with) && lines[0].contains(&large),
        "{with}"
    );
    assert!(lines.iter().all(|line| line.contains("phone_number_id")));
    let contacts: Vec<_> = (0..20_000)
        .map(|id| json!({"wa_id": format!("c{id}")}))
        .collect();
    let body = value(&json!({"contacts": contacts, "statuses": statuses}));
    let bytes: usize = super::lines(notification("messages", &body).to_string())
        .iter()
        .map(String::len)
        .sum();
    assert!(bytes < 5_000_000, "{bytes}");
}

/// As many contacts and as many updates as a body can hold, none of which names the other: one look at each
/// is milliseconds, and one look at each for each is an hour.
#[test]
fn contacts_without_a_name_are_looked_at_once() {
    for contact in ["{}", r#"{"wa_id":"1"}"#] {
        let contacts = vec![contact; 150_000].join(",");
        let messages = vec!["0"; UPDATES_MAX as usize].join(",");
        let events = extract(format!(
            r#"{{"contacts":[{contacts}],"messages":[{messages}]}}"#
        ));
        assert_eq!(events.len(), UPDATES_MAX as usize);
    }
}

#[test]
fn names_have_a_limit() {
    let long = "y".repeat(10_000);
    let message = json!({"id": long, "type": long, "from": long, "timestamp": long});
    let metadata = json!({"phone_number_id": long, "display_phone_number": "1"});
    let body = json!({"entry": [{"id": long, "changes": [{"field": long,
        "value": {"metadata": metadata, "messages": [message]}}]}]});
    let events = extract(body.to_string());
    let event = events.get(0).unwrap();
    assert!(event.kind().len() <= 100);
    for name in [event.id(), event.source(), event.subject().unwrap()] {
        assert!(name.len() < 200, "{name}");
    }
    assert_eq!((event.party_phone(), event.phone_number_id()), (None, None));
}

#[test]
fn nothing_grows_in_the_steady_state() {
    let statuses: Vec<_> = (0..300)
        .map(|id| json!({"id": id, "recipient_id": id}))
        .collect();
    let contacts: Vec<_> = (0..300).rev().map(|id| json!({"wa_id": id})).collect();
    let storm = value(&json!({"contacts": contacts, "statuses": statuses}));
    let bodies = [
        notification("messages", &storm).to_string(),
        notification("flows", &json!({"event": "X"})).to_string(),
        nested(5).replace("[]", "[1e999]"),
        "not json".to_owned(),
    ];
    let mut extractor = Extractor::new();
    let mut events = Events::new();
    let mut lines = Vec::new();
    let mut capacities = Vec::new();
    for _ in 0..4 {
        events.clear();
        for body in &bodies {
            let first = events.len();
            extractor.extract(body.as_bytes(), ORIGIN, &mut events);
            for position in first..events.len() {
                lines.clear();
                render(events.get(position).unwrap(), body.as_bytes(), &mut lines);
            }
        }
        let of_events = [
            events.list.capacity(),
            events.names.capacity(),
            events.shared.capacity(),
        ];
        capacities.push((of_events, extractor.capacities(), lines.capacity()));
    }
    assert_eq!(capacities[0], capacities[3]);
}

/// The room was made for as many values as a body can have at all, eight times its size, by everybody who takes bodies
/// apart.
#[test]
fn there_is_room_for_what_is_met() {
    let mut extractor = Extractor::new();
    let mut events = Events::new();
    let text = format!(r#"{{"messages":[{{"x":"{}"}}]}}"#, "y".repeat(200_000));
    extractor.extract(text.as_bytes(), ORIGIN, &mut events);
    assert!(extractor.capacities()[0] * 16 <= text.len() + 1024);
    // Nor does it matter to the result how often there was not enough.
    let ones = format!(r#"{{"messages":[{{"x":[{}1]}}]}}"#, "1,".repeat(100_000));
    extractor.extract(ones.as_bytes(), ORIGIN, &mut events);
    assert!(extractor.capacities()[0] > 100_000);
    let broken = ones.replace("1]}]}", "1]}]");
    for body in [text, ones, broken] {
        let of = |extractor: &mut Extractor| {
            let mut events = Events::new();
            extractor.extract(body.as_bytes(), ORIGIN, &mut events);
            let mut line = Vec::new();
            render(events.get(0).unwrap(), body.as_bytes(), &mut line);
            (events.len(), line)
        };
        assert!(of(&mut extractor) == of(&mut Extractor::new()));
    }
}

#[test]
fn a_large_body_does_not_pin_its_memory() {
    let mut extractor = Extractor::new();
    let mut events = Events::new();
    let body = format!(
        r#"{{"messages":[{}{{}}]}}"#,
        r#"{"id":"x"},"#.repeat(60_000)
    );
    let body = format!("{body}{}", " ".repeat(4 << 20));
    extractor.extract(body.as_bytes(), ORIGIN, &mut events);
    assert_eq!(events.len(), 60_001);
    assert!(extractor.capacities().iter().all(|&capacity| capacity == 0));
    let before = events.bytes();
    events.fit();
    assert!(events.bytes() < before && events.len() == 60_001);
    events.clear();
    assert_eq!(events.bytes(), 0);
}

/// Each large body took its memory from the system anew, which was a third of what it cost.
#[test]
fn memory_of_large_bodies_is_kept_as_long_as_they_come() {
    let message = r#"{"id":"wamid.1","from":"4912345","timestamp":"1700000000","type":"text","text":{"body":"Hello, is the blue one still available? I liked it."}},"#;
    let large = format!(r#"{{"messages":[{}{{}}]}}"#, message.repeat(4_000));
    assert!(large.len() > LARGE);
    let small = format!(r#"{{"messages":[{}{{}}]}}"#, message.repeat(3));
    let mut extractor = Extractor::new();
    let mut events = Events::new();
    let mut take = |body: &str| {
        extractor.extract(body.as_bytes(), ORIGIN, &mut events);
        let room = extractor.capacities()[0];
        events.clear();
        (room, events.bytes())
    };
    let (room, bytes) = take(&large);
    assert!(room > 4_000 && (Events::RETAINED_MAX..=Events::LARGE_MAX).contains(&bytes));
    for _ in 0..3 {
        for _ in 0..LARGE_KEPT - 1 {
            // A list is as large as what it is used for: small bodies have others.
            assert_eq!(take(&small).0, room);
        }
        let (again, bytes) = take(&large);
        assert_eq!(again, room);
        assert!(bytes > Events::RETAINED_MAX);
    }
    for _ in 0..LARGE_KEPT {
        let (_, bytes) = take(&small);
        assert!(bytes < Events::RETAINED_MAX / 8);
    }
    assert!(take(&small).0 < room / 8);
}

/// Nor is it kept where a body has so many updates that none of them counts.
#[test]
fn what_is_taken_back_keeps_no_memory() {
    let mut events = Events::new();
    let body = format!(
        r#"{{"messages":[{}0]}}"#,
        "0,".repeat(UPDATES_MAX as usize + 1)
    );
    let body = format!("{body}{}", " ".repeat(LARGE));
    Extractor::new().extract(body.as_bytes(), ORIGIN, &mut events);
    assert_eq!(events.len(), 1);
    assert!(events.bytes() < Events::RETAINED_MAX);
}
