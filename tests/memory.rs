//! A slow consumer costs disk, never memory: bodies as large as the platform sends them, of tens of thousands of
//! updates or with one long text, to a sink that takes nothing, and then takes all of it.
//!
//! What is measured is the server's resident memory, at its highest (`VmHWM`) and once everything is delivered
//! (`VmRSS`), while it remembers up to a million keys. `HOOKLINE_MEMORY_BODIES` says how many bodies of 60,000 updates
//! go to a file: 500 take a release build some minutes.

#![expect(clippy::print_stderr, reason = "the figures are what one wants to see")]

mod common;

use common::client::post;
use common::{Running, Site, number_from_env};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a body, as large as the platform sends them.
const BODY: usize = 3_000_000;

/// Updates in a body of many.
const UPDATES: usize = 60_000;

/// The most that the server may take at any time, and when all is done.
const PEAK_MAX: u64 = 256 << 20;
const LATER_MAX: u64 = 96 << 20;

/// How long anything may take. In a debug build an update takes a tenth of a millisecond, and the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(10);

/// A body around messages.
fn around(messages: &str) -> Vec<u8> {
    let text = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp","metadata":{{"phone_number_id":"1"}},"messages":[{messages}]}}}}]}}]}}"#
    );
    text.into_bytes()
}

/// As many updates as a body of this size may have, no two of which are the same.
fn many(number: usize) -> Vec<u8> {
    let mut messages = String::with_capacity(BODY);
    for update in 0..UPDATES {
        let separator = if update == 0 { "" } else { "," };
        let id = number * UPDATES + update;
        // Fifty bytes each.
        let _ = write!(
            messages,
            r#"{separator}{{"id":"{id:08}","from":"49{id:08}","type":"text"}}"#
        );
    }
    around(&messages)
}

/// One update with a long text.
fn long(number: usize) -> Vec<u8> {
    let text = "x".repeat(BODY);
    around(&format!(
        r#"{{"id":"long{number}","from":"4912345","type":"text","text":{{"body":"{text}"}}}}"#
    ))
}

fn site(sink: &str) -> Site {
    Site::unsigned()
        .journal("segment_size = \"64MiB\"")
        .journal("max_size = \"8GiB\"")
        .sink(&format!("{sink}\n[dedupe]\nkeys = 1000000"))
}

fn store(server: &Running, bodies: impl Iterator<Item = Vec<u8>>) {
    let mut client = server.connect();
    for body in bodies {
        client.send(&post("/webhook", "", &body));
        assert_eq!(client.answer().code, 200);
    }
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn check_peak(server: &Running, when: &str) {
    let peak = server.memory("VmHWM");
    eprintln!("{when}: {} MiB at most", peak >> 20);
    assert!(peak <= PEAK_MAX, "{when}: {} MiB", peak >> 20);
}

/// It takes what the system asks of it to give memory back: the next delivery, or some seconds.
fn check_later(server: &Running) {
    let mut least = u64::MAX;
    wait("memory is given back", || {
        least = least.min(server.memory("VmRSS"));
        least <= LATER_MAX
    });
    eprintln!("and later: {} MiB", least >> 20);
}

fn lines(mut from: impl Read, wanted: usize) {
    let mut room = vec![0; 1 << 20];
    let mut lines = 0;
    while lines < wanted {
        let len = from.read(&mut room).expect("readable");
        assert!(len > 0, "only {lines} lines of {wanted}");
        lines += memchr::memchr_iter(b'\n', &room[..len]).count();
    }
    assert_eq!(lines, wanted);
}

#[test]
fn a_sink_that_takes_nothing_costs_no_memory() {
    let site = site("name = \"out\"\ntype = \"stdout\"");
    let (reader, writer) = io::pipe().expect("a pipe");
    let server = Running::spawn_onto(site.command(), Stdio::from(writer));
    let (few, rest) = (3, 60);
    store(&server, (0..few).map(many));
    store(&server, (0..rest).map(long));
    let events = few * UPDATES + rest;
    wait("all events are decided", || {
        server.metric("hookline_dedupe_keys") == events as u64
    });
    check_peak(&server, "nothing is taken");
    lines(reader, events);
    check_peak(&server, "all is taken");
    check_later(&server);
}

#[test]
fn bodies_of_many_updates_cost_no_memory() {
    let bodies = number_from_env("HOOKLINE_MEMORY_BODIES", 3);
    let site = site("name = \"file\"\ntype = \"file\"\npath = \"events.ndjson\"");
    let server = site.start();
    store(&server, (0..bodies).map(many));
    wait("all is delivered", || server.is_delivered("file"));
    check_peak(&server, "all is delivered");
    let file = File::open(site.path().join("events.ndjson")).expect("it is there");
    lines(file, bodies * UPDATES);
    check_later(&server);
}
