//! What it costs to take bodies apart, beside what a plain handler does with `serde_json`.
//!
//! All contenders but simd-json's tape, which is parsed and not looked at, come to the same facts of each update: id,
//! type or status, timestamp, and the field it came with. `extract` also makes keys, conversations and the shared parts of `data`; `extract and render` writes
//! the lines. Run with `cargo bench --bench extraction`; throughput is of body bytes.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hookline::testing::event::{Events, Extractor, Origin, render};
use serde::Deserialize;
use serde_json::Value;
use simd_json::{Buffers, INPUT_PADDING, Tape, fill_tape_padded};
use std::borrow::Cow;
use std::fmt::Write;
use std::hint::black_box;

criterion_group!(benches, extraction);
criterion_main!(benches);

fn extraction(criterion: &mut Criterion) {
    let corpora = [
        ("text", vec![text(0)]),
        ("status", vec![statuses(1)]),
        ("1000 statuses", vec![statuses(1000)]),
        ("mixed", mixed()),
    ];
    for (name, bodies) in &corpora {
        let bytes: usize = bodies.iter().map(String::len).sum();
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter("extract"),
            bodies,
            |bencher, bodies| {
                let (mut extractor, mut events) = (Extractor::new(), Events::new());
                bencher.iter(|| {
                    events.clear();
                    for body in bodies {
                        extractor.extract(body.as_bytes(), Origin::default(), &mut events);
                    }
                    black_box(events.len())
                });
            },
        );
        group.bench_with_input(
            BenchmarkId::from_parameter("extract and render"),
            bodies,
            |bencher, bodies| {
                let (mut extractor, mut events) = (Extractor::new(), Events::new());
                let mut lines = Vec::new();
                bencher.iter(|| {
                    lines.clear();
                    for body in bodies {
                        events.clear();
                        extractor.extract(body.as_bytes(), Origin::default(), &mut events);
                        for event in events.iter() {
                            render(event, body.as_bytes(), &mut lines);
                            lines.push(b'\n');
                        }
                    }
                    black_box(lines.len())
                });
            },
        );
        group.bench_with_input(
            BenchmarkId::from_parameter("simd-json tape"),
            bodies,
            |bencher, bodies| {
                let (mut buffers, mut copy) = (Buffers::default(), Vec::new());
                let mut spare = Tape(Vec::new());
                bencher.iter(|| {
                    for body in bodies {
                        let mut tape = std::mem::replace(&mut spare, Tape(Vec::new())).reset();
                        copy.clear();
                        copy.extend_from_slice(body.as_bytes());
                        copy.resize(body.len() + INPUT_PADDING, 0);
                        fill_tape_padded(&mut copy, body.len(), &mut buffers, &mut tape)
                            .expect("a body of this file");
                        black_box(&tape.0);
                        spare = tape.reset();
                    }
                });
            },
        );
        group.bench_with_input(
            BenchmarkId::from_parameter("serde_json structs"),
            bodies,
            |bencher, bodies| {
                bencher.iter(|| bodies.iter().map(|body| typed_facts(body)).sum::<usize>());
            },
        );
        group.bench_with_input(
            BenchmarkId::from_parameter("serde_json Value"),
            bodies,
            |bencher, bodies| {
                bencher.iter(|| bodies.iter().map(|body| value_facts(body)).sum::<usize>());
            },
        );
        group.finish();
    }
}

/// The facts by way of structs; gives the number of updates.
fn typed_facts(body: &str) -> usize {
    let notification: Notification<'_> = serde_json::from_str(body).expect("a body of this file");
    let mut count = 0;
    for change in notification.entry.iter().flat_map(|entry| &entry.changes) {
        let value = &change.value;
        for update in value.messages.iter().chain(&value.statuses) {
            let kind = update.status.as_ref().or(update.kind.as_ref());
            black_box((&change.field, &update.id, kind, &update.timestamp));
            count += 1;
        }
        count += usize::from(value.messages.is_empty() && value.statuses.is_empty());
    }
    count
}

/// The facts by way of a tree; gives the number of updates.
fn value_facts(body: &str) -> usize {
    let notification: Value = serde_json::from_str(body).expect("a body of this file");
    let mut count = 0;
    for entry in elements(&notification["entry"]) {
        for change in elements(&entry["changes"]) {
            let (messages, statuses) = (&change["value"]["messages"], &change["value"]["statuses"]);
            for update in elements(messages).iter().chain(elements(statuses)) {
                let kind = update["status"].as_str().or(update["type"].as_str());
                let facts = (update["id"].as_str(), kind, update["timestamp"].as_str());
                black_box((change["field"].as_str(), facts));
                count += 1;
            }
            count += usize::from(messages.is_null() && statuses.is_null());
        }
    }
    count
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[derive(Deserialize)]
struct Notification<'b> {
    #[serde(borrow)]
    entry: Vec<Entry<'b>>,
}

#[derive(Deserialize)]
struct Entry<'b> {
    #[serde(borrow)]
    changes: Vec<Change<'b>>,
}

#[derive(Deserialize)]
struct Change<'b> {
    #[serde(borrow)]
    field: Cow<'b, str>,
    #[serde(borrow)]
    value: ChangeValue<'b>,
}

#[derive(Deserialize)]
struct ChangeValue<'b> {
    #[serde(borrow, default)]
    messages: Vec<Update<'b>>,
    #[serde(borrow, default)]
    statuses: Vec<Update<'b>>,
}

#[derive(Deserialize)]
struct Update<'b> {
    #[serde(borrow)]
    id: Cow<'b, str>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'b, str>>,
    #[serde(borrow)]
    status: Option<Cow<'b, str>>,
    #[serde(borrow)]
    timestamp: Cow<'b, str>,
}

fn notification(field: &str, value: &str) -> String {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"102290000000001","changes":[{{"value":{value},"field":"{field}"}}]}}]}}"#
    )
}

const SHARED: &str = r#""messaging_product":"whatsapp","metadata":{"display_phone_number":"15550100101","phone_number_id":"106540000000001"}"#;

/// A text message of about 700 bytes, escaped as the platform does it.
fn text(number: usize) -> String {
    notification(
        "messages",
        &format!(
            r#"{{{SHARED},"contacts":[{{"profile":{{"name":"Teste Fict\u00edcio"}},"wa_id":"1555{number:07}","user_id":"US.1000000000{number:07}"}}],"messages":[{{"from":"1555{number:07}","from_user_id":"US.1000000000{number:07}","id":"wamid.HBgLMTU1NTAxMDAyMDEVAgASGBQzQTQ0RDVDODND{number:07}=","timestamp":"1790417696","text":{{"body":"Ol\u00e1! Meu pedido ainda n\u00e3o chegou \ud83d\ude1f https:\/\/example.com\/p\/1"}},"type":"text"}}]}}"#
        ),
    )
}

/// Statuses of about 500 bytes each with their contacts, in one value.
fn statuses(count: usize) -> String {
    let (mut contacts, mut statuses) = (String::new(), String::new());
    for number in 0..count {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(
            contacts,
            r#"{comma}{{"profile":{{"name":"Testa Fakename"}},"wa_id":"1555{number:07}","user_id":"US.1000000000{number:07}"}}"#
        );
        let _ = write!(
            statuses,
            r#"{comma}{{"id":"wamid.HBgLMTU1NTAxMDAyMDEVAgARGBI5MUQyRkVFNjE2{number:07}=","status":"delivered","timestamp":"1790417227","recipient_id":"1555{number:07}","recipient_user_id":"US.1000000000{number:07}","biz_opaque_callback_data":"campaign-autumn-{number:07}","pricing":{{"billable":true,"pricing_model":"PMP","category":"marketing","type":"regular"}}}}"#
        );
    }
    let value = format!(r#"{{{SHARED},"contacts":[{contacts}],"statuses":[{statuses}]}}"#);
    notification("messages", &value)
}

/// What a number in a campaign sees: three statuses for each message, some failures, a template update.
fn mixed() -> Vec<String> {
    let mut bodies = Vec::new();
    for number in 0..16 {
        bodies.push(text(number));
        bodies.extend((0..3).map(|_| statuses(1)));
    }
    bodies.push(statuses(25));
    bodies.push(notification(
        "messages",
        &format!(
            r#"{{{SHARED},"statuses":[{{"id":"wamid.HBgLMTU1NTAxMDAyMDEVAgARGBI5MUQyRkVFNjE2Q0IxRkY1ODgA","status":"failed","timestamp":"1790417227","recipient_id":"15550100201","errors":[{{"code":131026,"title":"Message undeliverable","message":"Message undeliverable","error_data":{{"details":"Message Undeliverable."}},"href":"https:\/\/developers.facebook.com\/documentation\/"}}]}}]}}"#
        ),
    ));
    bodies.push(notification(
        "message_template_status_update",
        r#"{"event":"PAUSED","message_template_id":1689550000000001,"message_template_name":"order_confirmation","message_template_language":"en-US","reason":"NONE"}"#,
    ));
    bodies
}
