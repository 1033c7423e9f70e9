//! Two acceptance corpora that do not belong to this repository, where the environment says that they are there.
//!
//! - `HOOKLINE_HTTP_CASES`: a directory with `cases.jsonl`, raw requests with what a strict server makes of them, and
//!   `run_cases.py`, which sends them and compares. The server of this test is what its README asks for.
//! - `HOOKLINE_PAYLOADS`: a directory of directories of JSON files, each the body of one webhook. All are
//!   posted, signed; what is stored has to be the same bytes in the same order, and what is made of it as many
//!   events as it has updates.
//!
//! Without the variable a test says so and passes.

#![expect(clippy::print_stderr, reason = "a test that does nothing says so")]

mod common;

use common::client::post;
use common::{PROGRAM, Site, sign};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The directory that a variable names.
fn corpus(variable: &str) -> Option<PathBuf> {
    let directory = std::env::var_os(variable).map(PathBuf::from);
    if directory.is_none() {
        eprintln!("skipped: {variable} names no directory");
    }
    directory
}

#[test]
fn http_cases() {
    let Some(directory) = corpus("HOOKLINE_HTTP_CASES") else {
        return;
    };
    let site = Site::new()
        .limits("body = \"3MiB\"")
        .endpoint(common::UNSIGNED)
        .variable("TOKEN", "hookline-test-token");
    let server = site.start();
    let stored = format!(
        "'{PROGRAM}' tail --bodies --data-dir '{}'",
        site.journal_dir().display()
    );
    let output = Command::new("python3")
        .arg(directory.join("run_cases.py"))
        .args(["--port", &server.address.port().to_string()])
        .args(["--stored", &stored])
        .arg(directory.join("cases.jsonl"))
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: the cases need python3");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    eprint!("http cases: {text}");
    assert!(!text.starts_with("0 passed"), "{text}");
}

/// Every payload with its name, in the order of the names.
fn payloads(directory: &PathBuf) -> BTreeMap<String, Vec<u8>> {
    let mut payloads = BTreeMap::new();
    for group in fs::read_dir(directory).expect("readable") {
        let group = group.expect("readable").path();
        if !group.is_dir() {
            continue;
        }
        for file in fs::read_dir(&group).expect("readable") {
            let file = file.expect("readable").path();
            if file
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                payloads.insert(
                    file.display().to_string(),
                    fs::read(&file).expect("readable"),
                );
            }
        }
    }
    assert!(
        !payloads.is_empty(),
        "no payloads in {}",
        directory.display()
    );
    payloads
}

fn signed_site() -> Site {
    Site::new()
        .endpoint("path = \"/webhook\"\nprovider = \"meta\"\napp_secret = { env = \"SECRET\" }")
        .variable("SECRET", "test_app_secret")
}

#[test]
fn payloads_are_stored_as_they_came_and_every_update_is_an_event() {
    let Some(directory) = corpus("HOOKLINE_PAYLOADS") else {
        return;
    };
    let payloads = payloads(&directory);
    let site = signed_site();
    let server = site.start();
    let mut client = server.connect();
    for (name, body) in &payloads {
        client.send(&post(
            "/webhook",
            &sign::meta("test_app_secret", body),
            body,
        ));
        assert_eq!(client.answer().code, 200, "{name}");
    }
    let (status, stderr) = server.terminate();
    assert!(status.success(), "{stderr}");
    site.verify();
    assert!(
        site.bodies().iter().eq(payloads.values()),
        "other bytes, or another order"
    );

    let mut events: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    let mut total = 0;
    for event in site.events() {
        let (sequence, index) = place(&event);
        let of_body = events.entry(sequence).or_default();
        assert_eq!(index, of_body.len(), "{event}");
        of_body.push(event);
        total += 1;
    }
    for ((name, body), sequence) in payloads.iter().zip(1..) {
        let events = events.remove(&sequence).unwrap_or_default();
        let unparsed = |event: &Value| event["type"] == "whatsapp.unparsed";
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if serde_json::from_slice::<IgnoredAny>(body).is_err() {
            assert!(
                events.len() == 1 && unparsed(&events[0]),
                "{name}: {events:#?}"
            );
            continue;
        }
        assert!(!events.iter().any(unparsed), "{name}: {events:#?}");
        let updates = updates(&serde_json::from_slice(body).expect("JSON"));
        assert_eq!(events.len(), updates, "{name}: {events:#?}");
        for event in &events {
            assert!(event["data"].is_object(), "{name}: {event}");
            assert_eq!(event["specversion"], "1.0");
        }
    }
    assert!(events.is_empty(), "events of nothing: {events:#?}");
    eprintln!("payloads: {} bodies, {total} events", payloads.len());
}

/// `"SEQ.INDEX"`
fn place(event: &Value) -> (u64, usize) {
    let sequence = event["position"]
        .as_str()
        .and_then(|text| text.split_once('.'));
    let (sequence, index) = sequence.expect("every event has its place");
    (
        sequence.parse().expect("a number"),
        index.parse().expect("a number"),
    )
}

/// How many updates a body has, by the rule of the design.
fn updates(body: &Value) -> usize {
    if let Value::Array(notifications) = body {
        return notifications.iter().map(updates).sum::<usize>().max(1);
    }
    let entries = elements(body, "entry");
    let changes = entries.flat_map(|entry| elements(entry, "changes"));
    let changes: usize = changes
        .map(|change| in_value(&change["value"]).max(1))
        .sum();
    let at_the_top = count(body, &["messages", "statuses", "errors"]);
    let found = changes + at_the_top + in_partner_envelope(body);
    found.max(1)
}

/// 360dialog's `{id,event,data}`, whose data is one update as a whole unless it has some.
fn in_partner_envelope(body: &Value) -> usize {
    let is_envelope =
        body["event"].is_string() && body["data"].is_object() && body["entry"].is_null();
    if is_envelope {
        in_value(&body["data"]).max(1)
    } else {
        0
    }
}

fn in_value(value: &Value) -> usize {
    let arrays = [
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
    ];
    let threads = elements(value, "history").flat_map(|chunk| elements(chunk, "threads"));
    let history: usize = threads.map(|thread| count(thread, &["messages"])).sum();
    count(value, &arrays) + count(&value["standby"], &arrays) + history
}

fn count(object: &Value, arrays: &[&str]) -> usize {
    let counts = arrays.iter().map(|name| elements(object, name).count());
    counts.sum()
}

fn elements<'v>(object: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    object[name].as_array().into_iter().flatten()
}

/// The published vectors: the exact bytes count, and nothing that means the same.
#[test]
fn signature_vectors() {
    let compact = br#"{"object":"whatsapp_business_account","entry":[]}"#.to_vec();
    let spaced = br#"{"object": "whatsapp_business_account", "entry": []}"#.to_vec();
    let mut vectors = vec![
        (
            compact,
            "dec6a680679a968e7e0319355b23599cbfc54502c0784668e9618baa0c633756",
        ),
        (
            spaced,
            "56cbbaf4961c6cfdae48b7f116c047e5eb513d2c931baae63a2bc1afd26f803a",
        ),
    ];
    if let Some(directory) = corpus("HOOKLINE_PAYLOADS") {
        let escaped = fs::read(directory.join("messages/text_accents_pt.json")).expect("is there");
        assert_eq!(escaped.len(), 678);
        let plain = without_escapes(&escaped);
        assert_ne!(plain, escaped);
        vectors.extend([
            (
                escaped,
                "377e1a2f755fc03c14743eaa149db87ed116e45c715dbb25990f08c0e50b8783",
            ),
            (
                plain,
                "5a9d1c1c21a5171c6121c6e9317f944cd12e8e6788c96c8163a7d68d36a09758",
            ),
        ]);
    }
    let site = signed_site();
    let server = site.start();
    let mut client = server.connect();
    for (body, of_body) in &vectors {
        for (_, signature) in &vectors {
            let fields = format!("X-Hub-Signature-256: sha256={signature}\r\n");
            client.send(&post("/webhook", &fields, body));
            let expected = if signature == of_body { 200 } else { 401 };
            assert_eq!(
                client.answer().code,
                expected,
                "{}",
                String::from_utf8_lossy(body)
            );
        }
    }
    let taken: Vec<Vec<u8>> = vectors.into_iter().map(|(body, _)| body).collect();
    assert_eq!(site.bodies(), taken);
}

/// The same JSON with each `\uXXXX` and `\/` as the character itself.
fn without_escapes(json: &[u8]) -> Vec<u8> {
    let text = str::from_utf8(json).expect("UTF-8");
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let (escape, after) = after.split_at(1);
        rest = after;
        if escape == "u" {
            let (digits, after) = after.split_at(4);
            rest = after;
            let code = u32::from_str_radix(digits, 16).expect("hex digits");
            plain.push(char::from_u32(code).expect("no surrogates here"));
        } else {
            assert_eq!(escape, "/", "no other escapes here");
            plain.push('/');
        }
    }
    plain.push_str(rest);
    plain.into_bytes()
}
