//! The life of a sink: where a new one begins, one that gets another name, and one that is taken out and comes back.
//!
//! `HOOKLINE_LIFE_STEPS=N` kills a start that takes over at the first N syncs and removals too, instead of [`STEPS`].

#![expect(clippy::print_stderr, reason = "it says what was left out")]

mod common;

use common::client::post;
use common::{Guarded, PROGRAM, Running, Site, UNSIGNED, eventually, number_from_env};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// Syncs and removals each that are the last of a start, in the default run.
const STEPS: usize = 2;

/// Each body has a number of its own, from 1 on: what says the same is a repeat.
fn send(server: &Running, numbers: RangeInclusive<u32>) {
    let mut client = server.connect();
    for number in numbers {
        let body = format!("{{\"number\":{number}}}");
        client.send(&post("/webhook", "", body.as_bytes()));
        assert_eq!(client.answer().code, 200);
    }
}

/// A receiver that takes what has an even number, and rejects the rest for good; gives its address.
fn receiver() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let event: Value = serde_json::from_slice(&body).ok()?;
        let is_even = event["number"].as_u64()? % 2 == 0;
        let code = if is_even { "200 OK" } else { "422 No" };
        let answer = format!("HTTP/1.1 {code}\r\nContent-Length: 0\r\n\r\n");
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

/// With these sinks in place of those that there were.
fn with_sinks(site: Site, sinks: &[String]) -> Site {
    let site = site.without_endpoints().endpoint(UNSIGNED);
    sinks.iter().fold(site, |site, sink| site.sink(sink))
}

fn file_sink(name: &str, file: &str, more: &str) -> String {
    format!("name = \"{name}\"\ntype = \"file\"\npath = \"{file}\"\n{more}")
}

/// The positions in the file of a sink, in their order: live ones, and those of replays.
fn positions(site: &Site, file: &str) -> (Vec<u64>, Vec<u64>) {
    let text = fs::read_to_string(site.path().join(file)).unwrap_or_default();
    let events = text.lines().map(|line| {
        let event: Value = serde_json::from_str(line).expect("each line is JSON");
        let position = event["position"].as_str().expect("it has one");
        let sequence = position.split('.').next().expect("never empty");
        (
            sequence.parse().expect("a number"),
            event["replay"].is_null(),
        )
    });
    let (live, replayed): (Vec<_>, Vec<_>) = events.partition(|(_, is_live)| *is_live);
    let numbers = |events: Vec<(u64, bool)>| events.into_iter().map(|it| it.0).collect();
    (numbers(live), numbers(replayed))
}

/// The line of the log that says this about the sink.
fn line(log: &str, sink: &str, words: &str) -> Option<Value> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut lines = lines.filter(|line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        line["sink"] == sink && message.contains(words)
    });
    lines.next()
}

/// Runs a verb as a message advises it.
fn run(command: &str) -> std::process::Output {
    let script = command.replacen("hookline", PROGRAM, 1);
    let output = Command::new("/bin/sh").args(["-c", &script]).output();
    output.expect("the shell runs")
}

fn now() -> String {
    let output = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%S.%NZ"])
        .output();
    let text = String::from_utf8(output.expect("there is a clock").stdout);
    text.expect("digits").trim().to_owned()
}

const NEW: &str = "the sink has no cursor yet";
const REMOVED: &str = "the sink is not in the configuration any more";

/// A sink that was renamed had everything twice that the journal held, and so had each new one.
#[test]
fn a_new_sink_begins_where_it_is_to() {
    let site = Site::unsigned();
    let server = site.start();
    send(&server, 1..=3);
    let time = now();
    send(&server, 4..=5);
    assert!(server.terminate().0.success());

    let pull = "name = \"pulled\"\ntype = \"pull\"\naccept_unauthenticated = true\n[pull]\nlisten = \"127.0.0.1:0\"\n";
    let sinks = [
        file_sink("later", "later.ndjson", ""),
        file_sink("now", "now.ndjson", "start = \"now\""),
        file_sink("all", "all.ndjson", "start = \"oldest\""),
        file_sink("since", "since.ndjson", &format!("start = \"{time}\"")),
        pull.to_owned(),
    ];
    let site = with_sinks(site, &sinks);
    // What the line says is so, whatever happens then.
    let server = site.start();
    let log = server.stderr();
    server.kill();
    let server = site.start();
    assert!(!server.stderr().contains(NEW), "{}", server.stderr());
    send(&server, 6..=6);
    let names = ["later", "now", "all", "since"];
    eventually("all is delivered", || {
        names.iter().all(|sink| server.is_delivered(sink))
    });
    let found = names.map(|sink| positions(&site, &format!("{sink}.ndjson")).0);
    assert_eq!(
        found,
        [vec![6], vec![6], vec![1, 2, 3, 4, 5, 6], vec![4, 5, 6]]
    );
    for (sink, left_out) in [
        ("later", 5),
        ("now", 5),
        ("since", 3),
        ("pulled", 5),
        ("all", 5),
    ] {
        let line = line(&log, sink, NEW).unwrap_or_else(|| panic!("{sink}: {log}"));
        assert_eq!(line["notifications"], left_out, "{line}");
    }
    let cursors = run(&format!(
        "hookline cursor list --output json --data-dir {}",
        site.journal_dir().display()
    ));
    let cursors: Value = serde_json::from_slice(&cursors.stdout).expect("JSON");
    let pulled = cursors["sinks"].as_array().expect("a list").iter();
    let mut pulled = pulled.filter(|sink| sink["sink"] == "pulled");
    assert_eq!(
        pulled.next().expect("it has one")["lanes"][0]["confirmed"],
        5
    );

    // The command delivers the rest, as it stands.
    let line = line(&log, "later", NEW).expect("it is there");
    let output = run(line["command"].as_str().expect("a command"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        positions(&site, "later.ndjson"),
        (vec![6], vec![1, 2, 3, 4, 5])
    );
    assert!(server.terminate().0.success());
}

#[test]
fn on_an_empty_journal_nothing_is_left_out() {
    let site = Site::unsigned().sink(&file_sink("crm", "crm.ndjson", "start = \"now\""));
    let server = site.start();
    send(&server, 1..=2);
    server.kill();
    let server = site.start();
    eventually("all is delivered", || server.is_delivered("crm"));
    let (status, log) = server.terminate();
    assert!(status.success(), "{log}");
    assert!(!log.contains(NEW), "{log}");
    assert_eq!(positions(&site, "crm.ndjson").0, [1, 2]);
}

/// What is taken out is named with what it leaves, and back in time it goes on where it was.
#[test]
fn a_sink_that_is_taken_out_comes_back_where_it_was() {
    let sinks = [
        file_sink("crm", "crm.ndjson", ""),
        file_sink("log", "log.ndjson", ""),
    ];
    let site = with_sinks(Site::unsigned(), &sinks);
    let server = site.start();
    send(&server, 1..=2);
    eventually("all is delivered", || server.is_delivered("crm"));
    assert!(server.terminate().0.success());
    let site = with_sinks(site, &sinks[1..]);
    for (round, waits) in [(0, 0), (1, 3)] {
        let server = site.start();
        let line = line(&server.stderr(), "crm", REMOVED).expect("it is named");
        assert_eq!(line["notifications"], waits, "{line}");
        let forget = line["forget"].as_str().expect("a command");
        assert!(forget.contains("sink forget crm --data-dir"), "{line}");
        assert!(line["until"].as_str().expect("a time") > &*now(), "{line}");
        if round == 0 {
            send(&server, 3..=5);
            eventually("all is delivered", || server.is_delivered("log"));
            let metric = "hookline_removed_sink_notifications{sink=\"crm\"}";
            assert_eq!(server.metric(metric), 3);
            let (_, status) = server.admin_page("/status").expect("it is served");
            let status: Value = serde_json::from_str(&status).expect("JSON");
            assert_eq!(status["removed_sinks"][0]["name"], "crm", "{status}");
            assert_eq!(status["removed_sinks"][0]["notifications"], 3, "{status}");
        }
        assert!(server.terminate().0.success());
    }
    let site = with_sinks(site, &sinks);
    let server = site.start();
    eventually("all is delivered", || server.is_delivered("crm"));
    let (status, log) = server.terminate();
    assert!(status.success() && !log.contains(REMOVED), "{log}");
    assert_eq!(positions(&site, "crm.ndjson").0, [1, 2, 3, 4, 5]);
}

/// Sinks that had other names before, or those: a file, and the receiver.
fn taking(file: &str, hook: &str, address: SocketAddr, is_named: bool) -> [String; 2] {
    let former = |name: &str| {
        if is_named {
            format!("former_name = \"{name}\"")
        } else {
            String::new()
        }
    };
    [
        file_sink(file, "events.ndjson", &former("file")),
        format!(
            "name = \"{hook}\"\ntype = \"http\"\nurl = \"http://{address}/\"\nmax_attempts = 1\n{}",
            former("hook")
        ),
    ]
}

fn dead_letters(site: &Site) -> Vec<String> {
    let list = format!(
        "hookline dead-letters list --output json --data-dir {}",
        site.journal_dir().display()
    );
    let output = run(&list);
    let text = String::from_utf8(output.stdout).expect("text");
    let names = text.lines().map(|line| {
        let letter: Value = serde_json::from_str(line).expect("JSON");
        letter["dead_letter"].as_str().expect("a name").to_owned()
    });
    names.collect()
}

/// Starts the server under strace, which kills it at one call; true if it came so far that it served.
fn start_killed_at(site: &Site, call: &str, when: usize) -> Option<bool> {
    let served = site.command();
    let said = site.path().join("killed.stderr");
    let inject = format!("inject={call}:signal=KILL:when={when}");
    // The server is the child, and strace beside it.
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-q", "-e", &inject]);
    let output = site.path().join("strace.output");
    let _ = fs::remove_file(&output);
    command.arg("-o").arg(&output);
    command.arg(served.get_program()).args(served.get_args());
    command.current_dir(site.path()).env("TOKEN", "token");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(fs::File::create(&said).expect("created"));
    let Ok(child) = command.spawn() else {
        eprintln!("skipped: strace is not installed");
        return None;
    };
    let mut child = Guarded(Some(child));
    let child = child.0.as_mut().expect("not taken yet");
    let mut served = false;
    eventually("it serves, or is killed", || {
        served = fs::read_to_string(&said)
            .expect("there")
            .contains("hookline runs");
        served || child.try_wait().expect("can be asked").is_some()
    });
    if served {
        let _ = kill_process(Pid::from_child(child), Signal::KILL);
    }
    let status = child.wait().expect("it ends");
    eventually("strace has written what it saw", || {
        let calls = fs::read_to_string(&output).unwrap_or_default();
        calls.contains("+++ killed by")
    });
    assert_eq!(
        status.code(),
        None,
        "{}",
        fs::read_to_string(&said).expect("there")
    );
    Some(served)
}

/// Copies the journal and what was delivered, with everything that a file system knows of it.
fn copy(from: &Path, to: &Path) {
    for name in ["journal", "events.ndjson"] {
        let _ = fs::remove_dir_all(to.join(name));
        let copied = Command::new("cp")
            .arg("-a")
            .arg(from.join(name))
            .arg(to)
            .status();
        assert!(copied.expect("cp runs").success());
    }
}

/// Killed at each step of a start that takes over: whatever the sinks had under their names before they have at the
/// next start, and nothing of it twice.
#[test]
fn another_name_loses_nothing_and_doubles_nothing_wherever_it_is_killed() {
    let steps = number_from_env("HOOKLINE_LIFE_STEPS", STEPS);
    let address = receiver();
    let site = with_sinks(Site::unsigned(), &taking("file", "hook", address, false));
    let server = site.start();
    send(&server, 1..=4);
    eventually("all is delivered", || {
        ["file", "hook"]
            .iter()
            .all(|sink| server.is_delivered(sink))
    });
    assert!(server.terminate().0.success());
    assert_eq!(dead_letters(&site), ["hook/1", "hook/3"]);
    assert_eq!(
        verb(&site, "replay --sink file --from 2 --to 3 --detach").0,
        0
    );
    // What waits for them.
    let site = with_sinks(site, &[]);
    let server = site.start();
    send(&server, 5..=8);
    assert!(server.terminate().0.success());
    let before = tempfile::tempdir().expect("a directory");
    copy(site.path(), before.path());

    let site = with_sinks(site, &taking("events", "check", address, true));
    let mut cut = ["dead-letters/hook", "file.cursor", "hook.cursor"].map(|it| (it, false));
    // Of the first kind are the steps themselves, so all of them; and some of what makes them durable.
    for (call, most) in [
        ("?rename,?renameat", 20),
        ("fsync", steps),
        ("?unlink,?unlinkat", steps),
    ] {
        for when in 1..=most {
            copy(before.path(), site.path());
            let Some(came_through) = start_killed_at(&site, call, when) else {
                return;
            };
            let calls = fs::read_to_string(site.path().join("strace.output"));
            let calls = calls.expect("strace has written it");
            for (name, was_cut) in &mut cut {
                let has_no_end = |line: &str| line.contains("unfinished") || line.ends_with("= ?");
                let is_cut = |line: &str| line.contains(*name) && has_no_end(line);
                *was_cut |= calls.lines().any(is_cut);
            }
            if came_through {
                break;
            }
            check_what_was_taken_over(&site);
        }
    }
    assert!(cut.iter().all(|(_, was_cut)| *was_cut), "{cut:?}");
}

fn check_what_was_taken_over(site: &Site) {
    let server = site.start();
    eventually("all is delivered", || {
        ["events", "check"]
            .iter()
            .all(|sink| server.is_delivered(sink))
    });
    eventually("the replay is done", || {
        let (_, mut replayed) = positions(site, "events.ndjson");
        replayed.dedup();
        replayed.ends_with(&[2, 3])
    });
    let log = server.stderr();
    assert!(!log.contains(NEW) && !log.contains(REMOVED), "{log}");
    assert!(server.terminate().0.success());
    assert_eq!(positions(site, "events.ndjson").0, [1, 2, 3, 4, 5, 6, 7, 8]);
    let letters = ["check/1", "check/3", "check/5", "check/7"];
    assert_eq!(dead_letters(site), letters);
    let cursors = fs::read_dir(site.journal_dir().join("cursors")).expect("there");
    let names = cursors.map(|entry| entry.expect("readable").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.into_string().expect("UTF-8"))
        .collect();
    names.retain(|name| name.ends_with(".cursor"));
    names.sort();
    assert_eq!(names, ["check.cursor", "events.cursor"]);
}

/// Where both have a cursor the own one counts, and the line says so; and where no sink had that name.
#[test]
fn what_is_not_taken_over_is_said() {
    let site = with_sinks(Site::unsigned(), &[file_sink("old", "a.ndjson", "")]);
    let server = site.start();
    send(&server, 1..=2);
    eventually("all is delivered", || server.is_delivered("old"));
    assert!(server.terminate().0.success());
    let renamed = |former: &str| {
        let former = format!("former_name = \"{former}\"");
        [file_sink("new", "b.ndjson", &former)]
    };
    let site = with_sinks(site, &renamed("odl"));
    let (status, log) = site.start().terminate();
    assert!(status.success(), "{log}");
    assert!(
        line(&log, "new", "no sink of the former name").is_some(),
        "{log}"
    );
    assert!(
        line(&log, "new", NEW).is_some_and(|line| line["notifications"] == 2),
        "{log}"
    );
    let site = with_sinks(site, &renamed("old"));
    let (status, log) = site.start().terminate();
    assert!(status.success(), "{log}");
    assert!(line(&log, "new", "its own counts").is_some(), "{log}");
    assert!(line(&log, "old", REMOVED).is_some(), "{log}");
    assert!(positions(&site, "b.ndjson").0.is_empty());

    let site = with_sinks(
        site,
        &[file_sink("old", "a.ndjson", ""), renamed("old")[0].clone()],
    );
    let output = site.run();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is the name of another sink now"), "{said}");
}

/// `hookline` with these words about this site's journal: exit code, and what it says.
fn verb(site: &Site, words: &str) -> (i32, String) {
    let dir = site.journal_dir();
    let output = run(&format!("hookline {words} --data-dir {}", dir.display()));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    (output.status.code().expect("was not killed"), said)
}

/// Name, state, place and what waits, as `sink list` says.
fn listed(site: &Site, words: &str) -> Vec<(String, String, Value, Value)> {
    let (code, said) = verb(site, &format!("sink list --output json {words}"));
    assert_eq!(code, 0, "{said}");
    let list: Value = serde_json::from_str(&said).expect("JSON");
    let sinks = list["sinks"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    sinks
        .map(|sink| {
            let (name, state) = (text(&sink["name"]), text(&sink["state"]));
            (
                name,
                state,
                sink["confirmed"].clone(),
                sink["waiting"].clone(),
            )
        })
        .collect()
}

fn row(
    name: &str,
    state: &str,
    confirmed: Option<u64>,
    waiting: Option<u64>,
) -> (String, String, Value, Value) {
    (
        name.to_owned(),
        state.to_owned(),
        confirmed.into(),
        waiting.into(),
    )
}

/// Each verb ends with this code and says this.
fn assert_said(site: &Site, all: &[(String, i32, &str)]) {
    for (words, code, part) in all {
        let (found, said) = verb(site, words);
        assert!(
            found == *code && said.contains(part),
            "{words}: {found} {said}"
        );
    }
}

#[test]
fn sinks_are_listed_and_those_that_are_gone_forgotten() {
    let address = receiver();
    let [file, hook] = taking("file", "hook", address, false);
    let site = with_sinks(Site::unsigned(), &[file.clone(), hook]);
    let server = site.start();
    send(&server, 1..=4);
    eventually("all is delivered", || {
        ["file", "hook"]
            .iter()
            .all(|sink| server.is_delivered(sink))
    });
    assert!(server.terminate().0.success());
    let replay = "replay --sink hook --from 1 --to 2 --detach";
    assert_eq!(verb(&site, replay).0, 0);
    let site = with_sinks(
        site,
        &[file, file_sink("new", "new.ndjson", "start = \"oldest\"")],
    );
    let config = format!("--config {}", site.write_config().display());
    let expected = [
        row("file", "not running", Some(4), Some(0)),
        row("new", "new", None, None),
        row("hook", "removed", Some(4), Some(0)),
    ];
    assert_eq!(listed(&site, &config), expected);
    let (_, text) = verb(&site, &format!("sink list {config}"));
    assert!(
        text.contains("new  begins with all that the journal holds"),
        "{text}"
    );
    assert_eq!(listed(&site, "")[0].1, "unknown");

    let said = [
        (
            format!("sink forget file {config}"),
            1,
            "is in the configuration",
        ),
        (
            "sink forget none".to_owned(),
            1,
            "there is no sink none here; there are: file, hook",
        ),
        (
            "sink forget worker".to_owned(),
            1,
            "there is no sink worker",
        ),
        (
            "sink forget hook".to_owned(),
            2,
            "2 dead letters and 1 replay: say with --yes",
        ),
    ];
    assert_said(&site, &said);
    let server = site.start();
    // Nobody can ask it: its pages are at a free port.
    let (code, said) = verb(&site, "sink forget hook --yes");
    assert!(
        code == 1 && said.contains("name its configuration with --config"),
        "{said}"
    );
    assert!(server.terminate().0.success());
    let (code, said) = verb(&site, "sink forget hook --yes");
    assert!(
        code == 0 && said.contains("hook is forgotten, with 0 notifications"),
        "{said}"
    );
    let expected = [
        row("file", "not running", Some(4), Some(0)),
        row("new", "not running", Some(4), Some(0)),
    ];
    assert_eq!(listed(&site, &config), expected);
    assert!(dead_letters(&site).is_empty());
    let (_, log) = site.start().terminate();
    assert!(!log.contains(REMOVED), "{log}");
}

/// Where nobody can say what is lost by it, it was not to be had: a sink that has not run yet had no cursor to move.
#[test]
fn a_sink_that_has_not_run_yet_is_given_a_place() {
    let site = Site::unsigned();
    let server = site.start();
    send(&server, 1..=5);
    assert!(server.terminate().0.success());
    let site = with_sinks(site, &[file_sink("crm", "crm.ndjson", "")]);
    let config = format!("--config {}", site.write_config().display());
    let said = [
        (
            "cursor seek crm --to 4".to_owned(),
            1,
            "if it has not run yet, name the configuration",
        ),
        (
            format!("cursor seek cmr --to 4 {config}"),
            1,
            "the configuration has no sink cmr",
        ),
        (
            format!("cursor seek crm --to 4 --lane rest {config}"),
            2,
            "leave --lane out",
        ),
        (
            format!("cursor seek crm --to 4 {config}"),
            0,
            "crm: begins with 4",
        ),
    ];
    assert_said(&site, &said);
    let server = site.start();
    eventually("all is delivered", || server.is_delivered("crm"));
    let (status, log) = server.terminate();
    assert!(status.success() && !log.contains(NEW), "{log}");
    assert_eq!(positions(&site, "crm.ndjson").0, [4, 5]);
    let other = with_sinks(
        site,
        &[file_sink("erp", "crm.ndjson", "former_name = \"crm\"")],
    );
    let config = format!("--config {}", other.write_config().display());
    let (code, said) = verb(&other, &format!("cursor seek erp --to 1 {config}"));
    assert!(
        code == 1 && said.contains("takes over the place of crm"),
        "{said}"
    );
}
