//! Bodies that end whoever takes them apart, and those that are innocent although the process was killed over them.
//!
//! The faults are planted in the program, which a release build does not allow, see `src/worker/poison/faults.rs`.

mod common;

use common::client::{Client, post};
use common::{PROGRAM, Running, Site, ended, eventually};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

/// Two file sinks, one for messages alone.
fn site() -> Site {
    Site::unsigned()
        .limits("body = \"4MiB\"")
        .sink("name = \"events\"\ntype = \"file\"\npath = \"events.ndjson\"\nstart = \"oldest\"")
        .sink("name = \"messages\"\ntype = \"file\"\npath = \"messages.ndjson\"\nstart = \"oldest\"\ntypes = [\"whatsapp.message.*\"]")
}

fn faulty(site: Site, fault: &str) -> Site {
    site.variable("HOOKLINE_BODY_FAULT", fault)
}

/// A notification of one message.
fn message(id: &str, text: &str) -> Vec<u8> {
    let message = json!({
        "id": id, "from": "49", "type": "text", "timestamp": "1", "text": { "body": text },
    });
    let value = json!({ "metadata": { "phone_number_id": "5" }, "messages": [message] });
    let change = json!({ "field": "messages", "value": value });
    let body = json!({
        "object": "whatsapp_business_account", "entry": [{ "id": "1", "changes": [change] }],
    });
    body.to_string().into_bytes()
}

fn send(server: &Running, id: &str, text: &str) {
    let mut client = server.connect();
    client.send(&post("/webhook", "", &message(id, text)));
    assert_eq!(client.answer().code, 200);
}

/// Sends what ends the server, and waits for that.
fn send_to_the_end(mut server: Running, id: &str, text: &str) {
    let mut client: Client = server.connect();
    client.send(&post("/webhook", "", &message(id, text)));
    server.wait();
}

/// Waits until both sinks have everything.
fn delivered(server: &Running, sinks: &[&str]) {
    let deadline = Instant::now() + Duration::from_mins(5);
    while !sinks.iter().all(|sink| server.is_delivered(sink)) {
        assert!(Instant::now() < deadline, "{}", server.stderr());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Ids of the events in a file, all of which are messages.
fn ids(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("there");
    let lines = text.lines().map(|line| {
        let event: Value = serde_json::from_str(line).expect("no line is torn");
        assert_eq!(event["type"], "whatsapp.message.text");
        event["data"]["message"]["id"]
            .as_str()
            .or_else(|| event["data"]["id"].as_str())
            .unwrap_or_else(|| panic!("{line:.300}"))
            .to_owned()
    });
    lines.collect()
}

fn hookline(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .arg("--data-dir")
        .arg(site.journal_dir());
    command.output().expect("the program runs")
}

/// The balance of each sink: exit code, and `dead` and `unaccounted` by name.
fn audit(site: &Site) -> (Option<i32>, Vec<(String, u64, u64)>) {
    let config = site.path().join("hookline.toml");
    let config = config.to_str().expect("UTF-8");
    let output = hookline(site, &["audit", "--output", "json", "--config", config]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let sinks = report["sinks"]
        .as_array()
        .expect("sinks")
        .iter()
        .map(|sink| {
            let figure = |name: &str| sink[name].as_u64().expect("a figure");
            let name = sink["name"].as_str().expect("a name").to_owned();
            let sum = ["delivered", "duplicate", "unwanted", "dead", "in_flight"].map(figure);
            assert_eq!(
                figure("received"),
                sum.iter().sum::<u64>() + figure("hidden")
            );
            (name, figure("dead"), figure("unaccounted"))
        });
    (output.status.code(), sinks.collect())
}

fn dead_letters(site: &Site) -> Vec<Value> {
    let output = hookline(site, &["dead-letters", "list", "--output", "json"]);
    let text = String::from_utf8(output.stdout).expect("JSON");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn decided(site: &Site) -> bool {
    let text = fs::read_to_string(site.journal_dir().join("poison/verdicts")).expect("there");
    text.contains("poisoned") || text.contains("condemned")
}

/// Large bodies wait, and the process is killed again and again while it takes them apart: so does want of memory.
#[test]
fn kills_during_recovery_decide_nothing_and_lose_nothing() {
    let site = site();
    let count = 20;
    let text = "x".repeat(3_000_000);
    let server = site.start();
    for number in 0..count {
        send(&server, &format!("m{number}"), &text);
    }
    delivered(&server, &["events", "messages"]);
    server.terminate();
    // All of them wait once more, for everybody.
    for directory in ["cursors", "dedupe"] {
        fs::remove_dir_all(site.journal_dir().join(directory)).expect("there");
    }
    for file in ["events.ndjson", "messages.ndjson"] {
        fs::remove_file(site.path().join(file)).expect("there");
    }
    let mut was_suspect = 0;
    for kill in 0..20_u64 {
        let server = site.start();
        thread::sleep(Duration::from_millis(40 * (kill % 10)));
        server.kill();
        let marks = fs::read(site.journal_dir().join("poison/marks")).expect("there");
        was_suspect += u32::from(marks.iter().any(|byte| *byte != 0));
        assert!(!decided(&site), "after {kill} kills");
    }
    assert!(was_suspect > 0, "no kill met a body");
    let server = site.start();
    delivered(&server, &["events", "messages"]);
    server.terminate();
    let all: Vec<String> = (0..count).map(|number| format!("m{number}")).collect();
    assert_eq!(ids(&site.path().join("events.ndjson")), all);
    assert_eq!(ids(&site.path().join("messages.ndjson")), all);
    assert!(!decided(&site) && dead_letters(&site).is_empty());
    let (code, sinks) = audit(&site);
    assert_eq!(code, Some(0), "{sinks:?}");
}

#[cfg(debug_assertions)]
mod faults {
    use super::*;

    const SINKS: [&str; 2] = ["events", "messages"];

    /// It gives no event to anybody, is one dead letter, and dead in the books of each sink, those that come later too.
    #[test]
    fn a_body_that_ends_the_process_is_a_dead_letter_and_everything_else_goes_on() {
        for signal in ["6", "11"] {
            let fault = format!("all:{signal}:CRASH");
            let mut site = faulty(site(), &fault);
            let server = site.start();
            send(&server, "a", "fine");
            send_to_the_end(server, "b", "CRASH");
            let server = site.start();
            send(&server, "c", "fine");
            delivered(&server, &SINKS);
            for sink in SINKS {
                assert_eq!(
                    server.metric(&format!("hookline_sink_dead_total{{sink=\"{sink}\"}}")),
                    1
                );
                assert_eq!(
                    server.metric(&format!("hookline_unaccounted_events{{sink=\"{sink}\"}}")),
                    0
                );
            }
            let said = server.terminate().1;
            assert!(
                said.contains(&format!("two processes with signal {signal}")),
                "{said}"
            );
            let letters = dead_letters(&site);
            assert_eq!(letters.len(), 1, "{letters:?}");
            assert_eq!(letters[0]["dead_letter"], "worker/2");
            // It stays, whoever comes later, and whether it would end the process or not.
            site = site.variable("HOOKLINE_BODY_FAULT", "").sink(
                "name = \"late\"\ntype = \"file\"\npath = \"late.ndjson\"\nstart = \"oldest\"",
            );
            let server = site.start();
            delivered(&server, &["events", "messages", "late"]);
            assert_eq!(server.metric("hookline_sink_dead_total{sink=\"late\"}"), 1);
            server.terminate();
            for file in ["events", "messages", "late"] {
                assert_eq!(
                    ids(&site.path().join(format!("{file}.ndjson"))),
                    ["a", "c"],
                    "{file}"
                );
            }
            let (code, sinks) = audit(&site);
            let dead: Vec<_> = sinks
                .iter()
                .map(|(_, dead, missing)| (*dead, *missing))
                .collect();
            assert_eq!((code, dead), (Some(0), vec![(1, 0); 3]));
            assert_eq!(site.events().len(), 2, "tail prints no event for it");
            assert_eq!(site.bodies().len(), 3);
        }
    }

    /// The system kills for want of memory, and a child with it: nothing follows from that. A person decides.
    #[test]
    fn what_cannot_be_proven_is_set_aside_by_hand_and_taken_back() {
        for fault in ["all:9:CRASH", "server:6:CRASH"] {
            let site = faulty(site(), fault);
            let server = site.start();
            send(&server, "a", "fine");
            send_to_the_end(server, "b", "CRASH");
            let mut said = String::new();
            for start in 0..3 {
                let output = ended(site.command());
                assert!(!output.status.success());
                assert!(
                    !decided(&site) && dead_letters(&site).is_empty(),
                    "{fault} {start}"
                );
                // Whoever is killed may take the last line with him.
                said += &String::from_utf8_lossy(&output.stderr);
            }
            let expected = if fault.starts_with("all") {
                "could not find out why"
            } else {
                "nothing is wrong with them"
            };
            assert!(said.contains(expected), "{said}");
            let output = hookline(&site, &["dead-letters", "set-aside", "2"]);
            assert!(output.status.success(), "{output:?}");
            let missing = hookline(&site, &["dead-letters", "set-aside", "7"]);
            assert_eq!(missing.status.code(), Some(1), "{missing:?}");
            let server = site.start();
            send(&server, "c", "fine");
            delivered(&server, &SINKS);
            let refused = hookline(&site, &["dead-letters", "set-aside", "1"]);
            assert_eq!(refused.status.code(), Some(1), "{refused:?}");
            assert!(
                String::from_utf8_lossy(&refused.stderr).contains("stop it"),
                "{refused:?}"
            );
            server.terminate();
            assert_eq!(ids(&site.path().join("events.ndjson")), ["a", "c"]);
            assert_eq!(audit(&site).0, Some(0));
            let back = hookline(&site, &["dead-letters", "retry", "worker/2"]);
            assert!(back.status.success(), "{back:?}");
            let said = String::from_utf8_lossy(&back.stdout).into_owned();
            assert!(
                said.contains("hookline replay --sink events --from 2 --to 2"),
                "{said}"
            );
            let site = site.variable("HOOKLINE_BODY_FAULT", "");
            let server = site.start();
            let replayed = hookline(
                &site,
                &["replay", "--sink", "events", "--from", "2", "--to", "2"],
            );
            assert!(replayed.status.success(), "{replayed:?}");
            server.terminate();
            assert_eq!(ids(&site.path().join("events.ndjson")), ["a", "c", "b"]);
            assert!(dead_letters(&site).is_empty());
        }
    }

    /// Memory without an end ends the child and not the machine; a body that needs as much as any does not.
    #[test]
    fn memory_without_an_end_is_a_proof_and_a_large_body_is_none() {
        let site = faulty(site(), "child:memory:CRASH;server:6:CRASH");
        let server = site.start();
        let update = "{\"id\":\"x\",\"from\":\"49\",\"type\":\"text\",\"timestamp\":\"1\"}";
        let updates = vec![update; 60_000].join(",");
        let large = format!(
            "{{\"object\":\"whatsapp_business_account\",\"entry\":[{{\"id\":\"1\",\"changes\":[{{\"field\":\"messages\",\"value\":{{\"metadata\":{{\"phone_number_id\":\"5\"}},\"messages\":[{updates}]}}}}]}}]}}"
        );
        let mut client = server.connect();
        client.send(&post("/webhook", "", large.as_bytes()));
        assert_eq!(client.answer().code, 200);
        let output = hookline(&site, &["take-apart", "1", "1"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "1\nend\n");
        send_to_the_end(server, "b", "CRASH");
        let server = site.start();
        eventually("it is decided", || decided(&site));
        server.terminate();
        assert_eq!(dead_letters(&site).len(), 1);
    }

    /// A panic is found by whoever meets it first, such as a sink that comes later than the version that panics.
    #[test]
    fn a_sink_that_catches_up_writes_the_dead_letter() {
        let site = site();
        let server = site.start();
        send(&server, "a", "fine");
        send(&server, "b", "CRASH");
        delivered(&server, &SINKS);
        server.terminate();
        let site = faulty(site, "all:panic:CRASH")
            .sink("name = \"late\"\ntype = \"file\"\npath = \"late.ndjson\"\nstart = \"oldest\"");
        let server = site.start();
        delivered(&server, &["late"]);
        send(&server, "c", "CRASH too");
        send(&server, "d", "fine");
        delivered(&server, &["events", "messages", "late"]);
        for (sink, dead) in [("events", 1), ("late", 2)] {
            let series = |name: &str| format!("hookline_{name}{{sink=\"{sink}\"}}");
            assert_eq!(server.metric(&series("sink_dead_total")), dead);
            assert_eq!(server.metric(&series("unaccounted_events")), 0);
        }
        server.terminate();
        let names: Vec<_> = dead_letters(&site)
            .iter()
            .map(|it| it["dead_letter"].clone())
            .collect();
        assert_eq!(names, ["worker/2", "worker/3"]);
        assert_eq!(ids(&site.path().join("late.ndjson")), ["a", "d"]);
        assert_eq!(ids(&site.path().join("events.ndjson")), ["a", "b", "d"]);
        assert_eq!(audit(&site).0, Some(0));
    }
}
