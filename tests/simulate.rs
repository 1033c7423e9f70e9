//! `hookline simulate` as its users meet it: against a real server, and against receivers that do what none should.

mod common;

use common::client::Client;
use common::verb::{interrupted, reported};
use common::{PROGRAM, Site, ended, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// 200 messages a second for a second: 600 statuses, and 60 messages.
const SECOND: &[&str] = &["-r", "200", "--for", "1s", "--seed", "7"];

fn simulate(address: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear();
    command.args(["simulate", "--output", "json"]);
    command
        .arg(format!("http://{address}/webhook"))
        .args(arguments);
    command
}

fn with(arguments: &[&'static str]) -> Vec<&'static str> {
    [SECOND, arguments].concat()
}

fn counts<const N: usize>(report: &Value, keys: [&str; N]) -> [u64; N] {
    keys.map(|key| report[key].as_u64().unwrap_or_else(|| panic!("{report}")))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A receiver of its own: what it answers to each body, and to how many of the same before.
struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<BTreeMap<Vec<u8>, usize>>>,
}

impl Receiver {
    fn start(answer: impl Fn(&[u8], usize) -> String + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let (answer, bodies) = (Arc::new(answer), Arc::clone(&seen));
        // They end with the test.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a client");
                let (answer, bodies) = (Arc::clone(&answer), Arc::clone(&bodies));
                thread::spawn(move || serve(stream, &*answer, &bodies));
            }
        });
        Receiver { address, seen }
    }

    /// How many different bodies came, and how many there were.
    fn bodies(&self) -> (usize, usize) {
        let seen = self.seen.lock().expect("nobody panics with it");
        (seen.len(), seen.values().sum())
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(&[u8], usize) -> String + Send + Sync),
    seen: &Mutex<BTreeMap<Vec<u8>, usize>>,
) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 16 << 10]);
    loop {
        while let Some(body) = take(&mut bytes) {
            let before = {
                let mut seen = seen.lock().expect("nobody panics with it");
                let count = seen.entry(body.clone()).or_default();
                *count += 1;
                *count - 1
            };
            let text = answer(&body, before);
            let closes = text.is_empty() || text.contains("Connection: close");
            if stream.write_all(text.as_bytes()).is_err() || closes {
                return;
            }
        }
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
            _ => return,
        }
    }
}

/// The body of the request at the front.
fn take(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = str::from_utf8(&bytes[..end]).expect("ASCII");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .expect("a length");
    let length: usize = length.parse().expect("a number");
    let body = bytes.get(end..end + length)?.to_vec();
    bytes.drain(..end + length);
    Some(body)
}

fn status(code: &str) -> String {
    format!("HTTP/1.1 {code}\r\nContent-Length: 0\r\n\r\n")
}

#[test]
fn everything_is_answered_and_in_the_journal() {
    let site = Site::unsigned();
    let server = site.start();
    let dir = site.journal_dir();
    let mut arguments = with(&["--verify", path(&dir).to_owned().leak()]);
    let (code, report) = reported(&ended(simulate(server.address, &arguments)));
    assert_eq!((code, &report["ok"]), (0, &json!(true)), "{report}");
    assert_eq!(report["answered"], json!({ "200": 660 }), "{report}");
    assert_eq!(
        counts(&report, ["sent", "first", "due", "asked_per_second"]),
        [660; 4]
    );
    let journal = &report["journal"];
    assert_eq!(
        counts(journal, ["records", "whole", "lost", "repeated"]),
        [660, 660, 0, 0]
    );
    let mut types: BTreeMap<String, usize> = BTreeMap::new();
    let mut numbers = HashSet::new();
    for event in site.events() {
        let kind = event["type"].as_str().expect("a type");
        let kind = kind
            .strip_prefix("whatsapp.status.")
            .unwrap_or("message")
            .to_owned();
        *types.entry(kind).or_default() += 1;
        numbers.insert(event["source"].to_string());
    }
    let [delivered, messages, read, sent] = types.values().collect::<Vec<_>>()[..] else {
        panic!("{types:?}");
    };
    assert_eq!((*messages, sent + delivered + read), (60, 600));
    let even = [sent, delivered, read].map(|count| (197..=203).contains(count));
    assert_eq!(even, [true; 3], "{types:?}");
    assert_eq!(numbers.len(), 3, "one for every 80 messages");

    // By the configuration, and only what comes from now on.
    arguments.truncate(SECOND.len());
    arguments.extend(["--verify", path(&site.write_config()).to_owned().leak()]);
    let (code, report) = reported(&ended(simulate(server.address, &arguments)));
    assert_eq!((code, &report["journal"]["records"]), (0, &json!(660)));
    assert_eq!(site.records().len(), 1320);
}

#[test]
fn a_secret_is_taken_from_the_environment_or_a_file() {
    let site = Site::new()
        .endpoint("path = \"/webhook\"\nprovider = \"meta\"\nverify_token = { env = \"SECRET\" }\napp_secret = { env = \"SECRET\" }")
        .variable("SECRET", "an app secret");
    let server = site.start();
    let arguments = ["-r", "50", "--for", "200ms", "--numbers", "1"];
    let mut command = simulate(server.address, &arguments);
    command.env("HOOKLINE_APP_SECRET", "an app secret");
    let (code, report) = reported(&ended(command));
    assert_eq!((code, &report["answered"]), (0, &json!({ "200": 33 })));

    let file = site.path().join("secret");
    std::fs::write(&file, "another secret\n").expect("written");
    let mut command = simulate(server.address, &arguments);
    command.arg("--secret-file").arg(file);
    let (code, report) = reported(&ended(command));
    assert_eq!((code, &report["answered"]), (1, &json!({ "401": 33 })));
    assert_eq!(report["milliseconds"]["p50"], Value::Null);
}

#[test]
fn what_comes_twice_is_stored_twice_and_delivered_once() {
    let site =
        Site::unsigned().sink("name = \"events\"\ntype = \"file\"\npath = \"events.ndjson\"");
    let server = site.start();
    let arguments = with(&["--duplicates", "20", "--disorder", "20", "--verify"]);
    let mut command = simulate(server.address, &arguments);
    command.arg(site.journal_dir());
    let (code, report) = reported(&ended(command));
    assert_eq!(code, 0, "{report}");
    let [first, again, repeated, records] = [
        &report["first"],
        &report["redelivered"],
        &report["journal"]["repeated"],
        &report["journal"]["records"],
    ]
    .map(|count| count.as_u64().expect("a number"));
    assert!(
        first == 660 && (60..220).contains(&again) && repeated == again,
        "{report}"
    );
    assert_eq!(records, first + again);
    eventually("everything is delivered", || server.is_delivered("events"));
    assert_eq!(
        server.metric("hookline_sink_duplicates_total{sink=\"events\"}"),
        again
    );
    assert_eq!(
        server.metric("hookline_sink_events_total{sink=\"events\"}"),
        first
    );
}

#[test]
fn a_batch_has_many_statuses() {
    let site = Site::unsigned();
    let server = site.start();
    let arguments = with(&["--batch", "50", "--numbers", "4", "--verify"]);
    let mut command = simulate(server.address, &arguments);
    command.arg(site.journal_dir());
    let (code, report) = reported(&ended(command));
    assert_eq!((code, &report["answered"]), (0, &json!({ "200": 72 })));
    assert_eq!(report["journal"]["whole"], 72);
    assert_eq!(site.events().len(), 12 * 50 + 60);
}

/// Passes on what it gets, but not all of it as it was.
#[test]
fn a_journal_that_has_lost_or_altered_something_is_found_out() {
    let site = Site::unsigned();
    let server = site.start();
    let behind = server.address;
    let count = Mutex::new(0);
    let receiver = Receiver::start(move |body, _| {
        let number = {
            let mut count = count.lock().expect("nobody panics with it");
            *count += 1;
            *count
        };
        let mut body = body.to_vec();
        match number {
            10 => return status("200 OK"),
            20 => {
                let at = body.len() - 40;
                body[at] = body[at].wrapping_add(1);
            }
            _ => {}
        }
        let mut client = Client::connect(behind);
        client.send(&common::client::post("/webhook", "", &body));
        status(&format!("{} ", client.answer().code))
    });
    let arguments = ["-r", "50", "--for", "200ms", "--numbers", "1", "--verify"];
    let mut command = simulate(receiver.address, &arguments);
    command.arg(site.journal_dir());
    let (code, report) = reported(&ended(command));
    assert_eq!((code, &report["answered"]), (1, &json!({ "200": 33 })));
    let journal = &report["journal"];
    assert_eq!(
        counts(journal, ["records", "whole", "lost", "altered", "invented"]),
        [32, 31, 2, 1, 0],
        "what is altered is not there as it was sent"
    );
    let found = journal["found"].as_array().expect("a list");
    let begins = |text: &str| found.iter().any(|it| it.to_string().contains(text));
    assert!(begins("altered: sequence ") && begins("lost: "), "{report}");
    assert_eq!(found.len(), 3);
}

#[test]
fn a_storm_of_retries_ends() {
    let arguments = [
        "-r",
        "50",
        "--for",
        "200ms",
        "--numbers",
        "1",
        "--retry-storm",
    ];
    let receiver = Receiver::start(|_, _| status("500 No"));
    let (code, report) = reported(&ended(simulate(receiver.address, &arguments)));
    let keys = ["first", "retried", "given_up", "not_sent"];
    assert_eq!((code, counts(&report, keys)), (1, [33, 165, 33, 0]));
    assert_eq!(report["answered"], json!({ "500": 198 }));
    assert_eq!(receiver.bodies(), (33, 198), "each again as it was");

    // Refused, then cut off without an answer, then taken.
    let receiver = Receiver::start(|_, before| match before {
        0 => status("503 Busy"),
        1 => String::new(),
        _ => status("200 OK"),
    });
    let (code, report) = reported(&ended(simulate(receiver.address, &arguments)));
    assert_eq!((code, counts(&report, keys)), (1, [33, 66, 0, 0]));
    assert_eq!(report["answered"], json!({ "200": 33, "503": 33 }));
    let failed = report["failed"].as_object().expect("causes");
    let failed: u64 = failed.values().filter_map(Value::as_u64).sum();
    assert_eq!(failed, 33, "{report}");
}

/// The times of a closed loop would show one slow answer here, and 199 quick ones.
#[test]
fn a_stall_is_seen_by_all_that_it_delays() {
    let receiver = Receiver::start(|body, _| {
        if body.windows(6).any(|six| six == b"\"sent\"") {
            static ONCE: std::sync::Once = std::sync::Once::new();
            ONCE.call_once(|| thread::sleep(Duration::from_millis(1200)));
        }
        status("200 OK")
    });
    let arguments = with(&["--connections", "1", "--reply-ratio", "0"]);
    let (code, report) = reported(&ended(simulate(receiver.address, &arguments)));
    assert_eq!((code, &report["answered"]), (0, &json!({ "200": 600 })));
    let [waited, most] = counts(&report, ["waited", "waiting_max"]);
    assert!(waited > 500 && most > 500, "{report}");
    let quick = report["within"]["250ms"].as_u64().expect("a number");
    assert!(quick < 100, "{report}");
    assert_eq!(report["within"]["5s"], 600);
}

#[test]
fn any_form_of_answer_will_do() {
    let receiver = Receiver::start(|body, _| match body.len() % 4 {
        0 => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_owned(),
        1 => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        2 => "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nok".to_owned(),
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
    });
    let (code, report) = reported(&ended(simulate(receiver.address, SECOND)));
    assert_eq!((code, &report["answered"]), (0, &json!({ "200": 660 })));
    assert_eq!(receiver.bodies(), (660, 660));
}

#[test]
fn the_same_seed_sends_the_same_messages() {
    let ids = |body: &[u8]| {
        let text = String::from_utf8(body.to_vec()).expect("ASCII");
        let at = text.find("wamid.").expect("an id");
        text[at..at + 80].to_owned()
    };
    let mut all: Vec<HashSet<String>> = Vec::new();
    for seed in ["7", "7", "8"] {
        let receiver = Receiver::start(|_, _| status("200 OK"));
        let arguments = ["-r", "50", "--for", "200ms", "--seed", seed];
        let (code, _) = reported(&ended(simulate(receiver.address, &arguments)));
        assert_eq!(code, 0);
        let seen = receiver.seen.lock().expect("nobody panics with it");
        all.push(seen.keys().map(|body| ids(body)).collect());
    }
    assert_eq!(all[0], all[1]);
    assert!(all[0].is_disjoint(&all[2]));
}

#[test]
fn an_interrupted_run_reports_what_it_has() {
    let receiver = Receiver::start(|_, _| status("200 OK"));
    let command = simulate(receiver.address, &["-r", "100", "--for", "1h"]);
    let output = interrupted(command, Signal::INT, |stderr| {
        let mut line = String::new();
        stderr.read_line(&mut line).expect("readable");
        assert!(line.starts_with("no secret is given"), "{line}");
        eventually("something was sent", || receiver.bodies().1 > 10);
    });
    let (code, report) = reported(&output);
    assert_eq!((code, &report["interrupted"]), (0, &json!(true)));
    let [sent, cut_off, unsent] = counts(&report, ["sent", "cut_off", "not_sent"]);
    assert!(sent > 10 && unsent == 0, "{report}");
    assert_eq!(report["answered"], json!({ "200": sent - cut_off }));
}

#[test]
fn what_is_under_way_when_it_is_interrupted_is_counted() {
    let receiver = Receiver::start(|_, _| {
        thread::sleep(Duration::from_mins(1));
        String::new()
    });
    let arguments = ["-r", "100", "--for", "1h", "--connections", "4"];
    let command = simulate(receiver.address, &arguments);
    let output = interrupted(command, Signal::TERM, |_| {
        eventually("every connection waits", || receiver.bodies().1 == 4);
    });
    let (code, report) = reported(&output);
    assert_eq!((code, counts(&report, ["sent", "cut_off"])), (1, [4, 4]));
    assert_eq!(
        (&report["answered"], &report["failed"]),
        (&json!({}), &json!({}))
    );
}

#[test]
fn it_says_what_it_cannot_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("bound");
    drop(nobody);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.env_clear().args(["simulate", "-r", "10"]);
        let output = ended({
            command.args(arguments);
            command
        });
        let text = String::from_utf8(output.stderr).expect("text");
        (output.status.code(), text)
    };
    let url = format!("http://{address}/");
    for (arguments, code, part) in [
        (&[&*url][..], 1, "is a receiver running there?"),
        (&["https://127.0.0.1/"], 2, "speaks plain http only"),
        (&[&*url, "--verify", path(dir.path())], 1, "journal"),
        (&["--for", "0s"], 2, "in no time nothing is tested"),
        (&["--duplicates", "101"], 2, "write a percentage"),
        (&["--batch", "1001"], 2, "1000"),
        (&["--secret", "shown to all"], 2, "--secret"),
    ] {
        let (ended, text) = run(arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {text}");
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
}
