//! A disk without room: small file systems that fill up, and a limit on the size of files.
//!
//! New notifications get 503, what is stored is delivered, and the service returns by itself when there is room, made
//! by somebody else or by retention once the sinks have caught up. Nothing that was answered is lost, and no frame is
//! broken. `tests/faults.rs` has the same with errors that are injected.
//!
//! The small file systems are tmpfs, which only root may mount; a line says so where that is skipped.

#![expect(clippy::print_stderr, reason = "figures are worth a line")]

mod common;

use common::client::{Client, post};
use common::delivered::FileSink;
use common::disk::Mounted;
use common::load::{self, Load, Trace, author, check, stored};
use common::{Running, Site, ended, eventually};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;

fn site() -> Site {
    load::site("stored")
}

/// A file that takes every block there is.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("made");
    for size in [1 << 16, 1 << 12, 1] {
        let block = vec![b'x'; size];
        while file.write_all(&block).is_ok() {}
    }
}

fn checked(traces: Vec<(String, Trace)>) -> HashMap<String, Trace> {
    for (name, trace) in &traces {
        assert!(trace.faults.is_empty(), "{name}: {:#?}", trace.faults);
    }
    traces.into_iter().collect()
}

/// A sink used to stop for good when it found no room for its cursor: then nothing was delivered any more, and as its
/// cursor stood still, retention could free nothing. Now it needs none.
#[test]
fn a_foreign_file_takes_all_the_room_and_goes_again() {
    let site = site();
    let directory = site.path().to_owned();
    let (site, sink) = FileSink::add_to(site, &directory);
    let Some(_disk) = Mounted::tmpfs(&site.journal_dir(), 12 * MIB) else {
        return;
    };
    let server = site.start();
    let load = Load::start(&server, "/in", 0);
    load.reach_accepted(100);
    let foreign = site.journal_dir().join("foreign");
    fill(&foreign);
    load.reach_refused(500);
    let (code, text) = server.admin_page("/readyz").expect("it runs");
    assert_eq!(
        (code, text.as_str()),
        (503, "the disk is full; new notifications get 503\n")
    );
    assert_eq!(server.metric("hookline_journal_full"), 1);
    let last = server.metric("hookline_journal_durable_sequence");
    eventually("everything that is stored is delivered", || {
        sink.bodies().len() as u64 >= last
    });
    eventually("the cursor is saved all the same", || sink.cursor() >= last);

    fs::remove_file(&foreign).expect("removed");
    load.reach_accepted(1000);
    let traces = checked(load.stop());
    let (status, stderr) = server.terminate();
    assert_eq!(status.code(), Some(0), "{stderr}");
    site.verify();
    let last = site.records().last().map_or(0, |(sequence, _)| *sequence);
    assert_eq!(sink.cursor(), last);
    sink.check_whole(&site.records(), 1);
    eprintln!("a foreign file: {:?}", check(&stored(&site), &traces));
}

/// A drain under load on a full disk used to last for the whole of `drain_timeout`: no 503 ever said that it was the
/// last answer, so clients that kept their connections and tried again were waited for.
#[test]
fn a_drain_on_a_full_disk_ends() {
    let site = site();
    let Some(_disk) = Mounted::tmpfs(&site.journal_dir(), 12 * MIB) else {
        return;
    };
    let server = site.start();
    let load = Load::start(&server, "/in", 0);
    load.reach_accepted(100);
    fill(&site.journal_dir().join("foreign"));
    load.reach_refused(500);
    let (status, stderr) = server.terminate();
    assert_eq!(status.code(), Some(0), "{stderr}");
    let traces = checked(load.end());
    site.verify();
    eprintln!(
        "a drain on a full disk: {:?}",
        check(&stored(&site), &traces)
    );
}

/// The journal itself fills the disk, since a sink cannot go on: its own disk is full. When that has room again, the
/// sink catches up, what it has had is retired, and there is room for new notifications.
#[test]
fn a_sink_that_is_behind_fills_the_disk_and_catches_up() {
    let site = site().journal("max_size = \"4MiB\"");
    let events = site.path().join("events");
    let (site, sink) = FileSink::add_to(site, &events);
    // Six segments, and room for manifest and cursor.
    let Some(_disk) = Mounted::tmpfs(&site.journal_dir(), 6 * MIB + MIB / 2) else {
        return;
    };
    let Some(_events) = Mounted::tmpfs(&events, 64 * MIB) else {
        return;
    };
    let foreign = events.join("foreign");
    fill(&foreign);
    let server = site.start();
    let load = Load::start(&server, "/in", 0);
    load.reach_refused(500);
    let kept = load.accepted();
    fs::remove_file(&foreign).expect("removed");
    // Much more than the disk holds.
    load.reach_accepted(6000);
    let traces = checked(load.stop());
    let first = server.metric("hookline_journal_first_sequence");
    let (status, stderr) = server.terminate();
    assert_eq!(status.code(), Some(0), "{stderr}");
    site.verify();
    assert!(first > 1, "nothing was retired");
    sink.check_whole(&site.records(), 1);
    let mut delivered: HashMap<String, Vec<usize>> = HashMap::new();
    for body in sink.bodies().values() {
        let (name, number) = author(body);
        delivered.entry(name).or_default().push(number);
    }
    let tally = check(&delivered, &traces);
    eprintln!("full after {kept} 200s, retired up to {first}: {tally:?}");
}

/// `RLIMIT_FSIZE` makes a write short at the limit and the next one fail with EFBIG, and brings SIGXFSZ, which used to
/// kill the process where it stood. It ends with a message instead, and half a frame is no obstacle to the next start.
#[test]
fn a_limit_on_file_sizes_is_an_error_with_a_message() {
    for limit in [300_123, 700_777] {
        let site = site();
        let directory = site.path().to_owned();
        let (site, sink) = FileSink::add_to(site, &directory);
        let mut server = site.start();
        let load = Load::start(&server, "/in", 0);
        load.reach_accepted(20);
        // Otherwise it is that one which finds no room, and the journal is full and waits.
        let next = site.path().join("journal/00000000000000000002.segment");
        eventually("the next segment is ready", || next.exists());
        let pid = i32::try_from(server.pid()).expect("a pid");
        let limits = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        prlimit(Pid::from_raw(pid), Resource::Fsize, limits).expect("it can be lowered");
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(1), "{status} {stderr}");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.contains("File too large"), "{stderr}");
        let traces = checked(load.end());

        let server = site.start();
        let cut = server.stderr().contains("recovery has cut");
        let (status, stderr) = server.terminate();
        assert_eq!(status.code(), Some(0), "{stderr}");
        site.verify();
        sink.check_whole(&site.records(), 1);
        let tally = check(&stored(&site), &traces);
        eprintln!("RLIMIT_FSIZE {limit}: {tally:?}, half a frame: {cut}");
    }
}

#[test]
fn a_limit_on_file_sizes_that_no_segment_fits_is_reported_at_the_start() {
    let site = site();
    let config = site.write_config();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -f 64 && exec \"$@\"", "sh", common::PROGRAM])
        .arg("serve")
        .arg("--config")
        .arg(config)
        .env("SECRET", load::SECRET);
    let output = ended(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("File too large"), "{stderr}");
    site.start().terminate();
    site.verify();
}

/// A body with `count` messages that are new.
fn messages(number: usize, count: usize) -> Vec<u8> {
    let message = |index| {
        format!(
            r#"{{"from":"15551","id":"wamid.{number}.{index}","timestamp":"1750000000","type":"text"}}"#
        )
    };
    let messages: Vec<String> = (0..count).map(message).collect();
    let messages = messages.join(",");
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{"metadata":{{"phone_number_id":"106"}},"messages":[{messages}]}}}}]}}]}}"#
    )
    .into_bytes()
}

fn send(client: &mut Client, body: &[u8]) {
    client.send(&post("/webhook", "", body));
    assert_eq!(client.answer().code, 200);
}

/// Dedupe has no room for the keys of what comes, up to the last: it is delivered all the same.
#[test]
fn what_dedupe_has_no_room_for_is_delivered() {
    let site = Site::unsigned().sink("name = \"file\"\ntype = \"file\"\npath = \"events.ndjson\"");
    let Some(_disk) = Mounted::tmpfs(&site.journal_dir().join("dedupe"), MIB / 4) else {
        return;
    };
    let server = site.start();
    let mut client = server.connect();
    for number in 0..80 {
        send(&mut client, &messages(number, 100));
    }
    eventually("all is delivered", || server.is_delivered("file"));
    let undecided = server.metric("hookline_dedupe_undecided_total");
    assert!(undecided > 1000, "{undecided}");
    assert_eq!(server.metric("hookline_dedupe_stopped"), 0);
    let (status, stderr) = server.terminate();
    assert_eq!(status.code(), Some(0), "{stderr}");
    let text = fs::read_to_string(site.path().join("events.ndjson")).expect("written");
    let ids = text.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        event["id"].as_str().expect("text").to_owned()
    });
    assert_eq!(ids.collect::<HashSet<_>>().len(), 80 * 100);
}

/// What is decided and not saved would have to be decided again, so retention leaves it, though every sink has had it.
#[test]
fn retention_leaves_what_dedupe_has_not_saved() {
    let site = Site::unsigned()
        .limits("body = \"64KiB\"")
        .limits("unacknowledged = \"1MiB\"")
        .journal("segment_size = \"1MiB\"")
        .journal("max_size = \"4MiB\"")
        .sink("name = \"file\"\ntype = \"file\"\npath = \"events.ndjson\"");
    let mut server = site.start();
    let first = |server: &Running| server.metric("hookline_journal_first_sequence");
    let mut number = 0;
    let mut post_some = |server: &Running| {
        let mut client = server.connect();
        for _ in 0..16 {
            number += 1;
            send(&mut client, &messages(number, 500));
        }
        eventually("all is delivered", || server.is_delivered("file"));
    };
    post_some(&server);
    // No checkpoint can be written any more.
    fs::remove_dir_all(site.journal_dir().join("dedupe")).expect("removed");
    for _ in 0..20 {
        post_some(&server);
    }
    eventually("it cannot be saved", || {
        server
            .stderr()
            .contains("the state of dedupe cannot be saved")
    });
    assert_eq!(first(&server), 1);
    server.terminate();
    // The next process saves what it has decided, and then the journal goes.
    server = site.start();
    let mut rounds = 0;
    while first(&server) == 1 {
        post_some(&server);
        rounds += 1;
        assert!(rounds < 200, "nothing goes");
    }
}
