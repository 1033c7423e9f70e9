//! The books balance: `hookline audit` and `hookline_unaccounted_events` against what was sent and what the sinks
//! have, through restarts, `kill -9`, a sink that is too slow, damage, and backups that were put back.
//!
//! `HOOKLINE_BOOKS_ROUNDS` says how often the server is killed under load.

mod common;

use common::client::{Client, post};
use common::{PROGRAM, Running, Site, eventually, number_from_env};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{PipeReader, Read as _};
use std::path::Path;
use std::process::Command;
use std::thread::{self, JoinHandle};

/// `/webhook` and `/fast`, and a file sink.
fn site() -> Site {
    let fast = common::UNSIGNED.replace("/webhook", "/fast");
    Site::unsigned()
        .endpoint(&format!("{fast}ack = \"received\""))
        .sink("name = \"events\"\ntype = \"file\"\npath = \"events.ndjson\"\nstart = \"oldest\"")
}

/// A body with these updates of one kind.
fn body(array: &str, updates: &[Value]) -> Vec<u8> {
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "phone_number_id": "200" },
        array: updates,
    });
    let change = json!({ "field": "messages", "value": value });
    let entry = json!({ "id": "100", "changes": [change] });
    let body = json!({ "object": "whatsapp_business_account", "entry": [entry] });
    body.to_string().into_bytes()
}

fn text(id: &str) -> Vec<u8> {
    let text = json!({ "body": "x".repeat(100) });
    let message =
        json!({ "from": "300", "id": id, "timestamp": "1750000000", "type": "text", "text": text });
    body("messages", &[message])
}

/// A body with `count` statuses.
fn statuses(id: &str, count: usize) -> Vec<u8> {
    let status = |number| json!({ "id": format!("{id}/{number}"), "status": "delivered", "timestamp": "1750000000", "recipient_id": "300" });
    body("statuses", &(0..count).map(status).collect::<Vec<_>>())
}

fn send(client: &mut Client, path: &str, body: &[u8]) {
    client.send(&post(path, "", body));
    assert_eq!(client.answer().code, 200);
}

/// What `hookline audit` says, and its exit code.
fn audit(dir: &Path, arguments: &[&str]) -> (Value, i32) {
    let mut command = Command::new(PROGRAM);
    command.args(["audit", "--output", "json", "--data-dir"]);
    let output = command.arg(dir).args(arguments).output().expect("it runs");
    let code = output.status.code().expect("it ends by itself");
    let books = serde_json::from_slice(&output.stdout);
    let books: Value = books.unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(books["balances"], json!(code == 0), "{books:#}");
    (books, code)
}

/// The books of a journal in which nothing is missing.
fn balanced(site: &Site) -> Value {
    let (books, code) = audit(&site.journal_dir(), &[]);
    assert_eq!(code, 0, "{books:#}");
    for sink in sinks(&books) {
        let parts = [
            "delivered",
            "duplicate",
            "unwanted",
            "dead",
            "in_flight",
            "unaccounted",
        ];
        let sum: u64 = parts.iter().map(|part| number(&sink[*part])).sum();
        assert_eq!(number(&sink["received"]), sum, "{books:#}");
        assert_eq!(sink["unaccounted"], 0);
    }
    books
}

fn sinks(books: &Value) -> &[Value] {
    books["sinks"].as_array().expect("a list")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// The `position` of each event in the file of the sink, in order.
fn lines(site: &Site) -> Vec<String> {
    let text = fs::read_to_string(site.path().join("events.ndjson")).expect("there is a file");
    let position = |line| {
        let event: Value = serde_json::from_str(line).expect("each line is JSON");
        event["position"].as_str().expect("a text").to_owned()
    };
    text.lines().map(position).collect()
}

fn distinct(lines: &[String]) -> usize {
    lines.iter().collect::<BTreeSet<_>>().len()
}

/// The metric for a sink, which must be 0 whenever one looks.
fn assert_nothing_is_unaccounted(server: &Running) {
    let page = server.metrics();
    let prefix = "hookline_unaccounted_events{";
    let mut lines = page
        .lines()
        .filter(|line| line.starts_with(prefix))
        .peekable();
    assert!(lines.peek().is_some(), "it is there: {page}");
    for line in lines {
        assert!(line.ends_with(" 0"), "{line}");
    }
}

fn wait_until_delivered(server: &Running, sink: &str) {
    eventually("everything is delivered", || server.is_delivered(sink));
}

fn terminate(server: Running) {
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
}

/// As if the first could not have been delivered, and nothing but messages were wanted.
fn letters_and_filters_have_their_part(site: &Site, received: u64) {
    let letters = site.journal_dir().join("dead-letters/events");
    fs::create_dir_all(&letters).expect("made");
    fs::write(letters.join("1.json"), "{}").expect("written");
    let sink = sinks(&balanced(site))[0].clone();
    assert_eq!(parts_of(&sink), [received - 5, 4, 0, 1, 0]);
    assert_eq!(
        (&sink["dead_letters"], &sink["filters_known"]),
        (&json!(1), &json!(false))
    );
    let config = site.path().join("asked.toml");
    let asked = "[[endpoint]]\npath = \"/webhook\"\nprovider = \"meta\"\nverify_token = { env = \"NOT_SET\" }\n\
                 app_secret = { env = \"NOT_SET\" }\n[[sink]]\nname = \"events\"\ntype = \"file\"\n\
                 path = \"events.ndjson\"\ntypes = [\"whatsapp.message.*\"]\n";
    fs::write(&config, asked).expect("written");
    let config = config.to_str().expect("UTF-8");
    let (filtered, code) = audit(&site.journal_dir(), &["--config", config]);
    assert_eq!(code, 0, "{filtered:#}");
    let sink = &sinks(&filtered)[0];
    assert_eq!(parts_of(sink), [9, 4, received - 4 - 10, 1, 0]);
    assert_eq!(sink["filters_known"], true);
}

/// One message comes to two endpoints of two tenants, each with a sink of its own, and to each of them again.
#[test]
fn what_one_tenant_has_had_takes_nothing_from_another() {
    let posted = |scope: &str| {
        let fast = common::UNSIGNED.replace("/webhook", "/other");
        let sink = |name: &str, path: &str| {
            format!(
                "name = \"{name}\"\ntype = \"file\"\npath = \"{name}.ndjson\"\nendpoints = [\"{path}\"]"
            )
        };
        let site = Site::unsigned()
            .endpoint(&fast)
            .sink(&sink("a", "/webhook"))
            .sink(&format!(
                "{}\n[dedupe]\nscope = \"{scope}\"",
                sink("b", "/other")
            ));
        let server = site.start();
        let mut client = server.connect();
        for path in ["/webhook", "/other", "/other", "/webhook"] {
            send(&mut client, path, &text("wamid.1"));
        }
        eventually("all is delivered", || {
            ["a", "b"].iter().all(|sink| server.is_delivered(sink))
        });
        terminate(server);
        let config = site.write_config();
        let config = config.to_str().expect("UTF-8");
        let (books, code) = audit(&site.journal_dir(), &["--config", config]);
        assert_eq!(code, 0, "{books:#}");
        let lines = ["a.ndjson", "b.ndjson"].map(|file| {
            let lines = fs::read_to_string(site.path().join(file)).unwrap_or_default();
            lines.lines().count()
        });
        let parts: Vec<_> = sinks(&books).iter().map(parts_of).collect();
        (lines, parts, number(&books["events"]["repeats"]))
    };
    let one_each = vec![[1, 2, 1, 0, 0], [1, 2, 1, 0, 0]];
    assert_eq!(posted("endpoint"), ([1, 1], one_each, 2));
    let first_only = vec![[1, 3, 0, 0, 0], [0, 3, 1, 0, 0]];
    assert_eq!(posted("all"), ([1, 0], first_only, 3));
}

fn parts_of(sink: &Value) -> [u64; 5] {
    ["delivered", "duplicate", "unwanted", "dead", "in_flight"].map(|part| number(&sink[part]))
}

#[test]
fn the_audit_says_what_was_sent_and_delivered() {
    let site = site();
    let server = site.start();
    // Before anything has come, there is a sink and nothing else.
    let books = balanced(&site);
    assert_eq!(
        (number(&books["notifications"]), sinks(&books).len()),
        (0, 1)
    );
    let mut client = server.connect();
    for at in 0..10 {
        send(&mut client, "/webhook", &text(&format!("wamid.{at}")));
        send(
            &mut client,
            "/webhook",
            &statuses(&format!("wamid.{at}"), 3),
        );
        send(
            &mut client,
            "/fast",
            &statuses(&format!("wamid.fast.{at}"), 2),
        );
    }
    send(&mut client, "/webhook", b"no JSON at all");
    send(
        &mut client,
        "/webhook",
        b"{\"object\":\"whatsapp_business_account\",\"entry\":[]}",
    );
    // Sent again, and once in one body twice over, of which the second is a repeat as well.
    send(&mut client, "/webhook", &statuses("wamid.3", 3));
    let status = json!({ "id": "wamid.twice", "status": "read", "timestamp": "1750000000" });
    send(
        &mut client,
        "/webhook",
        &body("statuses", &[status.clone(), status]),
    );
    let mut books = Value::Null;
    eventually("the journal holds everything", || {
        books = balanced(&site);
        books["notifications"] == 34
    });
    let received = 10 * (1 + 3 + 2) + 1 + 1 + 3 + 2;
    assert_eq!(sinks(&books)[0]["received"], received);
    terminate(server);

    let books = balanced(&site);
    assert_eq!(
        books["endpoints"],
        json!([
            { "path": "/webhook", "ack": "stored", "notifications": 24 },
            { "path": "/fast", "ack": "received", "notifications": 10 },
        ])
    );
    assert_eq!(
        books["events"],
        json!({
            "received": received,
            "lanes": { "messages": 10, "statuses": 55, "rest": 2 },
            "types": {
                "whatsapp.message.text": 10, "whatsapp.status.delivered": 53, "whatsapp.status.read": 2,
                "whatsapp.unparsed": 1, "whatsapp.empty": 1,
            },
            "unparsed": 1, "empty": 1, "repeats": 4, "duplicates": 4, "weak_repeats": 0, "window_exceeded": false,
        })
    );
    assert_eq!(
        (&books["first_sequence"], &books["next_sequence"]),
        (&json!(1), &json!(35))
    );
    let sink = &sinks(&books)[0];
    assert_eq!(
        (&sink["name"], &sink["cursor"]),
        (&json!("events"), &json!(34))
    );
    // Three that came again, and one that came twice in one body.
    assert_eq!(parts_of(sink), [received - 4, 4, 0, 0, 0]);
    assert_eq!(lines(&site).len() as u64, number(&sink["delivered"]));

    letters_and_filters_have_their_part(&site, received);

    let (part, code) = audit(&site.journal_dir(), &["--after", "31", "--window", "1"]);
    assert_eq!((code, &part["notifications"]), (0, &json!(3)));
    assert_eq!(part["events"]["received"], 1 + 3 + 2);
    assert_eq!(part["events"]["window_exceeded"], true);
    let (nothing, code) = audit(&site.journal_dir(), &["--after", "4711"]);
    assert_eq!((code, &nothing["notifications"]), (0, &json!(0)));
}

#[test]
fn the_table_is_for_people() {
    let site = site();
    let server = site.start();
    send(&mut server.connect(), "/webhook", &text("wamid.1"));
    terminate(server);
    let mut command = Command::new(PROGRAM);
    let output = command
        .arg("audit")
        .arg("--data-dir")
        .arg(site.journal_dir())
        .output();
    let output = output.expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        output.status.success()
            && text.starts_with("journal ")
            && text.contains(": the books balance\n"),
        "{text}"
    );
    assert!(
        text.contains("  /webhook (stored)") && text.contains("  whatsapp.message.text\n"),
        "{text}"
    );
    let missing = audit_error(&site.path().join("nowhere"));
    assert!(missing.contains("there is no journal in"), "{missing}");
}

fn audit_error(dir: &Path) -> String {
    let mut command = Command::new(PROGRAM);
    let output = command
        .arg("audit")
        .arg("--data-dir")
        .arg(dir)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).expect("text")
}

/// After `kill -9` a sink's file may hold what its cursor does not say yet: it comes again, and the balance counts
/// by the cursor. The audit runs beside the server all the while.
#[test]
fn the_books_balance_between_and_after_kills() {
    let site = site();
    let rounds = number_from_env("HOOKLINE_BOOKS_ROUNDS", 3);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let server = site.start();
        let mut client = server.connect();
        for at in 0..100 {
            send(
                &mut client,
                "/webhook",
                &statuses(&format!("{round}/{at}"), 1 + at % 5),
            );
            acknowledged += 1 + at as u64 % 5;
            if at % 33 == 0 {
                balanced(&site);
                assert_nothing_is_unaccounted(&server);
            }
        }
        server.kill();
        let books = balanced(&site);
        let sink = &sinks(&books)[0];
        assert_eq!(number(&sink["received"]), acknowledged, "{books:#}");
        assert!(distinct(&lines(&site)) as u64 >= number(&sink["delivered"]));
    }
    let server = site.start();
    wait_until_delivered(&server, "events");
    terminate(server);
    let books = balanced(&site);
    let sink = &sinks(&books)[0];
    assert_eq!(
        (number(&sink["delivered"]), number(&sink["in_flight"])),
        (acknowledged, 0)
    );
    assert_eq!(distinct(&lines(&site)) as u64, acknowledged);
}

/// A sink that takes nothing, until it is asked to: a pipe that nobody reads.
struct Slow(PipeReader);

impl Slow {
    fn start(site: &Site) -> (Running, Slow) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let server = Running::spawn_onto(site.command(), writer.into());
        (server, Slow(reader))
    }

    /// Reads to the end.
    fn read(mut self) -> JoinHandle<usize> {
        thread::spawn(move || {
            let mut text = Vec::new();
            self.0.read_to_end(&mut text).expect("readable");
            text.split(|byte| *byte == b'\n').count() - 1
        })
    }
}

#[test]
fn nothing_is_unaccounted_while_a_sink_is_too_slow() {
    let site = site().sink("name = \"slow\"\ntype = \"stdout\"");
    let mut sent = 0;
    for round in 0..2 {
        let (server, slow) = Slow::start(&site);
        let mut client = server.connect();
        let mut number = 0_u64;
        // Until so much waits that the sink has to catch up from the journal.
        while server.metric("hookline_feed_overflows_total") < 20 {
            for _ in 0..25 {
                send(
                    &mut client,
                    "/webhook",
                    &statuses(&format!("{round}/{number}"), 20),
                );
                number += 1;
            }
            assert_nothing_is_unaccounted(&server);
        }
        sent += 20 * number;
        let books = balanced(&site);
        let in_flight = &sinks(&books)[1]["in_flight"];
        assert!(in_flight.as_u64() > Some(0), "{books:#}");
        if round == 0 {
            // What waits is delivered by the next process.
            server.kill();
            continue;
        }
        let delivered = slow.read();
        eventually("it catches up", || {
            assert_nothing_is_unaccounted(&server);
            server.is_delivered("slow")
        });
        // And live again.
        send(&mut client, "/webhook", &text("wamid.last"));
        sent += 1;
        wait_until_delivered(&server, "slow");
        assert_nothing_is_unaccounted(&server);
        terminate(server);
        assert!(delivered.join().expect("reads") as u64 <= sent);
    }
    let books = balanced(&site);
    for sink in sinks(&books) {
        let delivered = (&sink["delivered"], &sink["in_flight"]);
        assert_eq!(delivered, (&json!(sent), &json!(0)), "{books:#}");
    }
}

#[test]
fn damage_is_reported_and_what_a_repair_sets_aside_is_no_longer_missing() {
    let site = site();
    let server = site.start();
    let mut client = server.connect();
    for at in 1..=5 {
        send(
            &mut client,
            "/webhook",
            &text(&format!("wamid.number.{at}")),
        );
    }
    terminate(server);
    let segment = site.journal_dir().join("00000000000000000001.segment");
    let mut bytes = fs::read(&segment).expect("readable");
    let mark = b"wamid.number.3";
    let place = bytes.windows(mark.len()).position(|window| window == mark);
    bytes[place.expect("it is there")] ^= 1;
    fs::write(&segment, bytes).expect("writable");

    let (books, code) = audit(&site.journal_dir(), &[]);
    let damage = books["damage"][0].as_str().expect("it says where");
    assert!(
        damage.contains("000001.segment") && damage.ends_with(": 1 record, sequence 3"),
        "{damage}"
    );
    assert_eq!((code, &books["notifications"]), (1, &json!(4)));
    assert_eq!(
        (&books["missing"], &books["stopped"]),
        (&json!(1), &Value::Null)
    );
    let sink = &sinks(&books)[0];
    assert_eq!(
        (&sink["delivered"], &sink["unaccounted"]),
        (&json!(4), &json!(1))
    );

    let mut repair = Command::new(PROGRAM);
    repair.args(["journal", "repair", "--quarantine", "--data-dir"]);
    assert!(
        repair
            .arg(site.journal_dir())
            .output()
            .expect("it runs")
            .status
            .success()
    );
    let books = balanced(&site);
    assert_eq!(
        books["set_aside"],
        json!([{ "first_sequence": 3, "count": 1 }])
    );
    assert_eq!(
        (&books["notifications"], &books["missing"]),
        (&json!(4), &json!(0))
    );

    // A sink that has it all still before it passes the hole, and that is no fault.
    fs::remove_file(site.journal_dir().join("cursors/events.cursor")).expect("there is one");
    fs::remove_file(site.path().join("events.ndjson")).expect("there is one");
    let server = site.start();
    wait_until_delivered(&server, "events");
    assert_nothing_is_unaccounted(&server);
    send(&mut server.connect(), "/webhook", &text("wamid.number.6"));
    wait_until_delivered(&server, "events");
    assert_nothing_is_unaccounted(&server);
    terminate(server);
    assert_eq!(lines(&site), ["1.0", "2.0", "4.0", "5.0", "6.0"]);
    assert_eq!(sinks(&balanced(&site))[0]["delivered"], 5);
}

/// Copies the files of a directory, not those below.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

/// A journal was restored from a backup, while the cursors were those of the newer one. What was received next got
/// sequences that the cursors had passed.
#[test]
fn a_sink_gets_what_comes_after_a_restore_from_an_older_backup() {
    let site = site();
    let backup = site.path().join("backup");
    let rest = site.path().join("rest");
    let post_all = |ids: &[&str]| {
        let server = site.start();
        let mut client = server.connect();
        for id in ids {
            send(&mut client, "/webhook", &text(id));
        }
        wait_until_delivered(&server, "events");
        terminate(server);
    };
    post_all(&["a", "b"]);
    copy(&site.journal_dir(), &backup);
    post_all(&["c", "d", "e"]);
    copy(&site.journal_dir().join("cursors"), &rest);
    fs::remove_dir_all(site.journal_dir()).expect("removed");
    copy(&backup, &site.journal_dir());
    copy(&rest, &site.journal_dir().join("cursors"));

    let (books, code) = audit(&site.journal_dir(), &[]);
    let sink = &sinks(&books)[0];
    assert_eq!(
        (code, &sink["cursor"], &sink["unaccounted"]),
        (1, &json!(5), &json!(3))
    );

    let before = lines(&site).len();
    post_all(&["f", "g"]);
    assert_eq!(lines(&site)[before..], ["6.0", "7.0"]);
    let books = balanced(&site);
    assert_eq!(sinks(&books)[0]["delivered"], 4);

    // And a new journal, beside which the cursors were left.
    fs::remove_dir_all(site.journal_dir()).expect("removed");
    copy(&rest, &site.journal_dir().join("cursors"));
    let before = lines(&site).len();
    post_all(&["h", "i", "j", "k", "l", "m"]);
    assert_eq!(
        lines(&site)[before..],
        ["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"]
    );
    assert_eq!(sinks(&balanced(&site))[0]["delivered"], 6);
}

#[test]
fn a_damaged_cursor_is_reported_and_stops_the_start() {
    let site = site();
    terminate(site.start());
    fs::write(site.journal_dir().join("cursors/events.cursor"), "").expect("written");
    let (books, code) = audit(&site.journal_dir(), &[]);
    let problem = sinks(&books)[0]["problem"].as_str().expect("it says so");
    assert!(
        code == 1 && problem.contains("events.cursor is not a cursor"),
        "{books:#}"
    );
    let output = site.run();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("events.cursor is not a cursor"),
        "{said}"
    );
}

/// A file that somebody had left among the cursors failed the audit for ever.
#[test]
fn what_no_sink_has_written_is_a_note() {
    let site = site();
    terminate(site.start());
    let cursors = site.journal_dir().join("cursors");
    fs::write(cursors.join("junk.cursor"), "what is this?\n").expect("written");
    let (books, code) = audit(&site.journal_dir(), &[]);
    let note = books["notes"][0].as_str().expect("it says so");
    assert!(
        code == 0 && note.contains("junk.cursor is not a cursor"),
        "{books:#}"
    );
    assert_eq!(sinks(&books).len(), 1);
    // One that once was a cursor fails it, unless there is no such sink.
    fs::write(cursors.join("gone.cursor"), "hookline-cursor 3\n").expect("written");
    assert_eq!(audit(&site.journal_dir(), &[]).1, 1);
    let config = site.write_config();
    let config = ["--config", config.to_str().expect("UTF-8")];
    let (books, code) = audit(&site.journal_dir(), &config);
    assert_eq!(
        (code, books["notes"].as_array().map(Vec::len)),
        (0, Some(2)),
        "{books:#}"
    );
    fs::write(cursors.join("events.cursor"), "what is this?\n").expect("written");
    assert_eq!(audit(&site.journal_dir(), &config).1, 1);
}
