//! Ten thousand connections that wait: platforms and proxies keep them open, and each may cost a kibibyte of
//! the server's memory, no more. Nobody else notices them.
//!
//! What is measured is `RssAnon` of the server's process, which is its own memory; the kernel's sockets are
//! not in it.

#![expect(clippy::print_stderr, reason = "the figures are what one wants to see")]

mod common;

use common::client::{Client, handshake, post};
use common::{Running, Site, eventually};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

const CONNECTIONS: u64 = 10_000;

/// Bytes of the server's own memory for each idle connection.
const BYTES_MAX: u64 = 1024;

/// Descriptors for other things than connections, on either side.
const FILES_BESIDE: u64 = 300;

/// As many connections as this process and its children may have.
fn connections() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = CONNECTIONS + FILES_BESIDE;
    let allowed = limit.maximum.unwrap_or(wanted).min(wanted);
    if limit.current.is_some_and(|current| current < allowed) {
        let raised = Rlimit {
            current: Some(allowed),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).expect("up to the hard limit");
    }
    if allowed < wanted {
        eprintln!("no more than {allowed} files may be open: fewer connections than {CONNECTIONS}");
    }
    allowed - FILES_BESIDE
}

fn greet(clients: &mut [Client]) {
    for client in &mut *clients {
        client.send(&handshake("/webhook", "token", "1158201444"));
    }
    for client in clients {
        assert_eq!(client.answer().body, b"1158201444");
    }
}

fn check(server: &Running, before: u64, count: u64, what: &str) {
    let bytes = server.memory("RssAnon").saturating_sub(before) / count;
    eprintln!("{count} connections {what}: {bytes} bytes each");
    assert!(
        bytes <= BYTES_MAX,
        "{bytes} bytes for each connection {what}"
    );
}

#[test]
fn an_idle_connection_costs_less_than_a_kibibyte() {
    let count = connections();
    let site = Site::unsigned();
    let server = site.start();
    // What is allocated once, for the first requests and the first look at the metrics, is there before.
    let mut early: Vec<Client> = (0..64).map(|_| server.connect()).collect();
    for _ in 0..20 {
        greet(&mut early);
    }
    drop(early);
    let open = |expected: u64| {
        eventually("connections are counted", || {
            server.metric("hookline_connections") == expected
        });
    };
    open(0);
    let before = server.memory("RssAnon");

    let mut idle: Vec<Client> = Vec::new();
    while (idle.len() as u64) < count {
        // No more at a time than may wait to be accepted.
        let some = (count - idle.len() as u64).min(1000);
        idle.extend((0..some).map(|_| server.connect()));
        open(idle.len() as u64);
    }
    check(&server, before, count, "that never sent anything");
    greet(&mut idle);
    check(&server, before, count, "between two requests");

    let mut other = server.connect();
    for number in 0..100 {
        other.send(&post("/webhook", "", format!("{number}").as_bytes()));
        assert_eq!(other.answer().code, 200);
    }
    assert_eq!(site.bodies().len(), 100);
    // They are all still there.
    greet(&mut idle);
    check(&server, before, count, "after two requests");
    drop((idle, other));
    open(0);
}

/// A loop accepts some connections in each round, so that a flood of them does not starve those that are there. It once
/// forgot that there were more: whoever stood behind the first hundred or so waited for the next one to come.
#[test]
fn a_burst_of_connections_is_accepted_to_the_last_one() {
    let site = Site::unsigned();
    let server = site.start();
    server.signal(Signal::STOP);
    let waiting: Vec<Client> = (0..500).map(|_| server.connect()).collect();
    server.signal(Signal::CONT);
    eventually("every connection is accepted", || {
        server.metric("hookline_connections") == 500
    });
    drop(waiting);
}
