//! What people ask of deliveries by files: dead letters, replays, cursors. The server's side of it is played by the
//! library where a test needs one that does just so.

mod common;

use common::client::post;
use common::{PROGRAM, Site, eventually};
use hookline::dead_letter::{DeadLetter, DeadLetters, Failures};
use hookline::disk::Disk;
use hookline::feed::{ReplayState, Replays};
use hookline::journal::Reader;
use hookline::worker::Extraction;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

fn run(arguments: &str, dir: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments.split(' '))
        .arg("--data-dir")
        .arg(dir);
    command.output().expect("it runs")
}

/// What a verb that works prints on stdout.
fn said(arguments: &str, dir: &Path) -> String {
    let output = run(arguments, dir);
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// What a verb that fails says on stderr.
fn refused(arguments: &str, dir: &Path, code: i32) -> String {
    let output = run(arguments, dir);
    assert_eq!(output.status.code(), Some(code), "{arguments}: {output:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn json_lines(arguments: &str, dir: &Path) -> Vec<Value> {
    let text = said(&format!("{arguments} --output json"), dir);
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// A journal of `count` notifications that a file sink named `events` has had.
fn site(count: usize) -> Site {
    let site =
        Site::unsigned().sink("name = \"events\"\ntype = \"file\"\npath = \"events.ndjson\"");
    let server = site.start();
    let mut client = server.connect();
    for at in 0..count {
        let body = format!(
            "{{\"object\":\"whatsapp_business_account\",\"entry\":[{{\"id\":\"1\",\"changes\":[{{\"field\":\"messages\",\
             \"value\":{{\"metadata\":{{\"phone_number_id\":\"7\"}},\"messages\":[{{\"from\":\"1555\",\"id\":\"wamid.{at}\",\
             \"timestamp\":\"1750000000\",\"type\":\"text\",\"text\":{{\"body\":\"x\"}}}}]}}}}]}}]}}"
        );
        client.send(&post(
            "/webhook",
            "X-Hub-Signature-256: sha256=00\r\n",
            body.as_bytes(),
        ));
        assert_eq!(client.answer().code, 200);
    }
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
    site
}

/// Makes letters of the first event of each of these notifications.
fn add_letters(dir: &Path, sink: &str, sequences: &[u64]) {
    let place = dir.join("dead-letters").join(sink);
    let disk = Disk::create(&place).expect("a directory");
    let mut letters = DeadLetters::open(Arc::new(disk)).expect("readable");
    let journal = Disk::open(dir).expect("a journal");
    let mut reader = Reader::open(Arc::new(journal), 0).expect("readable");
    let mut maker = Extraction::new();
    while let Some(batch) = reader.next(None).expect("whole") {
        let delivery = maker.make(batch);
        for notification in delivery.notifications(0) {
            if sequences.contains(&notification.sequence) {
                let failures = Failures {
                    reason: "422 Unprocessable Entity".to_owned(),
                    attempts: 3,
                    ..Failures::default()
                };
                let letter = DeadLetter::new(sink, &notification, Some(0), "/webhook", failures);
                letters.add(&letter).expect("stored");
            }
        }
    }
}

#[test]
fn dead_letters_are_looked_at_retried_and_dropped() {
    let site = site(4);
    let dir = site.journal_dir();
    assert_eq!(
        said("dead-letters list", &dir),
        "there are no dead letters\n"
    );
    add_letters(&dir, "crm", &[1, 3, 4]);
    add_letters(&dir, "worker", &[2]);

    let text = said("dead-letters list", &dir);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(
        lines[1].starts_with("crm/1.0 ")
            && lines[1].ends_with("whatsapp.message.text 422 Unprocessable Entity"),
        "{text}"
    );
    assert_eq!(json_lines("dead-letters list --sink crm", &dir).len(), 3);
    let text = said("dead-letters show crm/3.0", &dir);
    for part in [
        "3 times",
        "sha256=00",
        "\"position\":\"3.0\"",
        "conversation  7:1555",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let shown = &json_lines("dead-letters show crm/3.0", &dir)[0];
    assert_eq!(shown["lane"], "messages");
    assert_eq!(shown["retry"], false);

    assert!(said("dead-letters retry crm/3.0", &dir).starts_with("1 dead letter to be delivered"));
    assert!(dir.join("dead-letters/crm/3.0.retry").exists());
    assert_eq!(
        json_lines("dead-letters show crm/3.0", &dir)[0]["retry"],
        true
    );
    assert!(said("dead-letters retry --all", &dir).starts_with("3 dead letters to be delivered"));
    assert!(
        dir.join("dead-letters/worker/2.0.json").exists(),
        "not the worker's"
    );
    assert!(refused("dead-letters retry --all --sink worker", &dir, 2).contains("worker/4711"));
    assert!(refused("dead-letters retry crm/2.0", &dir, 1).contains("there is no dead letter"));
    assert!(refused("dead-letters show x/2.0", &dir, 1).contains("no dead letters"));

    assert!(refused("dead-letters drop --all --sink crm", &dir, 2).contains("--yes"));
    assert_eq!(
        said("dead-letters drop crm/1.0", &dir),
        "1 dead letter dropped\n"
    );
    assert_eq!(
        said("dead-letters drop crm/3.0 crm/4.0 --yes", &dir),
        "2 dead letters dropped\n"
    );
    assert_eq!(json_lines("dead-letters list", &dir).len(), 1);
    let text = said("dead-letters retry worker/2.0", &dir);
    assert!(
        text.contains("taken apart again with the next start"),
        "{text}"
    );
    assert!(json_lines("dead-letters list", &dir).is_empty());
}

#[test]
fn a_replay_is_counted_asked_for_watched_and_cancelled() {
    let site = site(9);
    let dir = site.journal_dir();
    assert_eq!(said("replay list", &dir), "there are no replays\n");
    let count = |arguments: &str| {
        let counted = &json_lines(&format!("replay --sink events --dry-run {arguments}"), &dir)[0];
        let number = |name: &str| counted[name].as_u64().expect("a number");
        (number("from"), number("to"), number("events"))
    };
    assert_eq!(count("--from start"), (1, 9, 9));
    assert_eq!(count("--from 3 --to 5"), (3, 5, 3));
    assert_eq!(count("--from 1h --type whatsapp.message.*"), (1, 9, 9));
    assert_eq!(count("--from 1h --type whatsapp.status.*"), (1, 9, 0));
    assert_eq!(count("--from 3 --phone-number-id 8"), (3, 9, 0));
    let none = refused(
        "replay --sink events --from 2099-01-01T00:00:00Z --dry-run",
        &dir,
        1,
    );
    assert!(none.contains("nothing to replay"), "{none}");
    for verb in [
        "replay --sink crm --from 1",
        "replay --sink crm --from 1 --dry-run",
    ] {
        let said = refused(verb, &dir, 1);
        assert!(said.contains("never was a sink crm"), "{said}");
        assert!(said.contains("; there is events\n"), "{said}");
    }
    assert!(refused("replay --from 1", &dir, 2).contains("--sink"));

    let asked = said("replay --sink events --from 2 --rate 50/s --detach", &dir);
    assert!(asked.contains("sequences 2 to 9 to events"), "{asked}");
    let id = json_lines("replay list", &dir)[0]["id"]
        .as_str()
        .expect("text")
        .to_owned();
    said(&format!("replay cancel {id}"), &dir);
    assert_eq!(json_lines("replay list", &dir)[0]["to_be_cancelled"], true);
    let disk = Disk::open(&dir.join("replays")).expect("a directory");
    let mut server = Replays::open(Arc::new(disk));
    assert_eq!(server.waiting_for("events").expect("readable"), None);
    assert_eq!(json_lines("replay list", &dir)[0]["state"], "cancelled");
    assert!(refused(&format!("replay cancel {id}"), &dir, 1).contains("is cancelled already"));

    // Waits until it is done.
    let mut verb = Command::new(PROGRAM);
    verb.args("replay --sink events --from 2 --to 8 --data-dir".split(' '))
        .arg(&dir);
    let verb = verb
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut taken = None;
    eventually("it is asked for", || {
        taken = server.waiting_for("events").expect("readable");
        taken.is_some()
    });
    let mut replay = taken.expect("it is there");
    assert_eq!((replay.from, replay.to, replay.next), (2, 8, 2));
    replay.state = ReplayState::Running;
    (replay.next, replay.delivered) = (5, 3);
    server.save(&mut replay).expect("saved");
    (replay.next, replay.delivered, replay.state) = (9, 7, ReplayState::Done);
    server.save(&mut replay).expect("saved");
    let output = verb.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text, "done: 7 delivered, 0 left out, 0 dead letters\n");
}

#[test]
fn a_cursor_is_listed_and_moved() {
    let site = site(9);
    let dir = site.journal_dir();
    let messages = || {
        let listed = &json_lines("cursor list", &dir)[0];
        assert_eq!((&listed["first"], &listed["next"]), (&1.into(), &10.into()));
        let lanes: Vec<_> = listed["sinks"][0]["lanes"]
            .as_array()
            .expect("lanes")
            .iter()
            .map(|lane| (lane["confirmed"].as_u64(), lane["behind"].as_u64()))
            .collect();
        lanes
    };
    assert_eq!(messages(), [(Some(9), Some(0)); 3]);
    assert!(said("cursor list", &dir).contains("sequences 1 to 9"));
    let moved = said("cursor seek events --to 4 --lane statuses", &dir);
    assert!(
        moved.contains("events, statuses: goes on with 4, would have with 10"),
        "{moved}"
    );
    assert_eq!(
        messages(),
        [(Some(9), Some(0)), (Some(3), Some(6)), (Some(9), Some(0))]
    );
    said("cursor seek events --to start", &dir);
    assert_eq!(messages(), [(Some(0), Some(9)); 3]);
    said("cursor seek events --to end", &dir);
    said("cursor seek events --to 8", &dir);
    for (arguments, code, reason) in [
        ("cursor seek crm --to 4", 1, "there is events"),
        ("cursor seek events --to 99", 1, "beyond the journal"),
        ("cursor seek events --to soon", 2, "write a sequence"),
        (
            "cursor seek events --to 4 --lane x",
            2,
            "there are messages, statuses, rest",
        ),
    ] {
        let refusal = refused(arguments, &dir, code);
        assert!(refusal.contains(reason), "{arguments}: {refusal}");
    }
    let server = site.start();
    let refusal = refused("cursor seek events --to 4", &dir, 1);
    assert!(
        refusal.contains("a server runs here (pid")
            && refusal.contains("hookline replay --sink events"),
        "{refusal}"
    );
    assert_eq!(json_lines("cursor list", &dir).len(), 1);
    assert!(server.terminate().0.success());
    let path = site.path().join("events.ndjson");
    let lines = || {
        std::fs::read_to_string(&path)
            .expect("readable")
            .lines()
            .count()
    };
    assert_eq!(lines(), 9, "a file that has them already is spared them");
    said("cursor seek events --to 8", &dir);
    std::fs::remove_file(&path).expect("removed");
    assert!(site.start().terminate().0.success());
    assert_eq!(lines(), 2, "8 and 9 came again");
}
