//! What a 200 means, by killing the server under load.
//!
//! `stored`: after `kill -9` every body whose 200 a client has seen is in the journal, byte for byte, in
//! the order of its connection, exactly once. `received`: a crash may lose the end, a SIGTERM may not.
//! SIGTERM, both: on a connection that has been answered before, every request that was sent as a whole is
//! answered with 200.
//!
//! Keep-alive has one race that no server can win (RFC 9112, 9.5): it may close an idle connection at the
//! moment in which the client sends. The clients here send at once after each answer, so it does not arise
//! unless the machine leaves a client without its turn for too long; such a request does not count. Nor
//! does the first request of a connection: until the server accepts it, its kernel may still refuse it.
//!
//! `HOOKLINE_KILL_ROUNDS` and `HOOKLINE_TERM_ROUNDS` say how often each is tried.

#![expect(clippy::print_stderr, reason = "figures are worth a line")]

mod common;

use common::client::post;
use common::load::{Load, Trace, check, stored};
use common::strace::Strace;
use common::{PATIENCE, Site, eventually, number_from_env};
use rustix::process::Signal;
use std::collections::HashMap;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Rounds on one journal; then a new one begins, so that its reading does not take longer and longer.
const ROUNDS_EACH: usize = 5;

fn site(ack: &str) -> Site {
    Site::new()
        .server("loops = 2")
        .journal("max_size = \"16GiB\"")
        .endpoint(&format!(
            "path = \"/in\"\nprovider = \"meta\"\naccept_unsigned = true\nack = \"{ack}\""
        ))
}

/// Answers after which the server is stopped, different in each round.
fn answers_before_the_end(round: usize) -> usize {
    200 + round * 977 % 3000
}

/// What each client has sent and seen when a server here is killed under load, and how much of it the journal has: all
/// from its beginning on.
fn killed(site: &Site, round: usize) -> Vec<(String, Trace, usize)> {
    let server = site.start();
    let load = Load::start(&server, "/in", round);
    load.reach(answers_before_the_end(round));
    server.kill();
    let traces = load.end();
    // Recovery comes before the look: what it cuts must not have been answered.
    site.start().kill();
    site.verify();
    let stored = stored(site);
    let look = |(name, trace)| {
        let numbers = stored.get(&name).map_or(&[][..], Vec::as_slice);
        let prefix: Vec<usize> = (0..numbers.len()).collect();
        assert_eq!(
            numbers, prefix,
            "{name}: each once, in order, without a gap"
        );
        (name, trace, numbers.len())
    };
    traces.into_iter().map(look).collect()
}

#[test]
fn stored_survives_kill_9() {
    let rounds = number_from_env("HOOKLINE_KILL_ROUNDS", 3);
    let mut current = site("stored");
    let (mut acknowledged, mut kept) = (0, 0);
    for round in 0..rounds {
        if round % ROUNDS_EACH == 0 {
            current = site("stored");
        }
        for (name, trace, stored) in killed(&current, round) {
            let answered: Vec<usize> = (0..trace.acknowledged.len()).collect();
            assert_eq!(trace.acknowledged, answered, "{name} {:?}", trace.faults);
            assert!(answered.len() <= stored, "{name}: a 200 that is not stored");
            assert!(stored <= trace.sent);
            acknowledged += answered.len();
            kept += stored;
        }
    }
    eprintln!("kill -9, {rounds} rounds: {acknowledged} answered with 200, {kept} in the journal");
}

/// A crash may lose the end of what was answered, and nothing but the end.
#[test]
fn received_loses_no_more_than_the_end_to_kill_9() {
    let rounds = number_from_env("HOOKLINE_KILL_ROUNDS", 3);
    let (mut acknowledged, mut kept) = (0, 0);
    for round in 0..rounds {
        for (_, trace, stored) in killed(&site("received"), round) {
            acknowledged += trace.acknowledged.len();
            kept += stored;
        }
    }
    eprintln!(
        "kill -9 of received, {rounds} rounds: {acknowledged} answered, {kept} in the journal"
    );
}

fn survives_sigterm(ack: &str) {
    let rounds = number_from_env("HOOKLINE_TERM_ROUNDS", 3);
    let (mut acknowledged, mut excused) = (0, 0);
    let (mut current, mut traces) = (site(ack), HashMap::new());
    for round in 0..rounds {
        if round % ROUNDS_EACH == 0 {
            (current, traces) = (site(ack), HashMap::new());
        }
        let server = current.start();
        let load = Load::start(&server, "/in", round);
        load.reach(answers_before_the_end(round));
        let (status, stderr) = server.terminate();
        assert_eq!(status.code(), Some(0), "{stderr}");
        let ended = load.end();
        for (_, trace) in &ended {
            let unserved = (&trace.refused, &trace.faults);
            assert!(
                unserved.0.is_empty() && unserved.1.is_empty(),
                "round {round}: {unserved:#?}\n{stderr}"
            );
            acknowledged += trace.acknowledged.len();
            excused += trace.excused;
        }
        traces.extend(ended);
        current.verify();
        check(&stored(&current), &traces);
    }
    eprintln!(
        "SIGTERM, {ack}, {rounds} rounds: {acknowledged} answered with 200, all stored; {excused} batches excused"
    );
}

#[test]
fn stored_answers_everything_on_sigterm() {
    survives_sigterm("stored");
}

#[test]
fn received_answers_and_stores_everything_on_sigterm() {
    survives_sigterm("received");
}

/// What had begun when the signal came is served to its end, with what is pipelined behind it; the last
/// answer says that it is the last.
fn a_request_under_way_is_finished_during_the_drain(ack: &str) {
    let site = site(ack);
    let mut server = site.start();
    let bytes = post("/in", "", b"under way");
    let cuts = [10, bytes.len() - 5, bytes.len() - 1];
    let bytes = bytes.repeat(3);
    let mut halves = cuts.map(|cut| {
        let mut client = server.connect();
        client.send(&bytes[..cut]);
        client
    });
    let mut idle = server.connect();
    idle.send(&post("/in", "", b"before"));
    assert_eq!(idle.answer().code, 200);
    server.signal(Signal::TERM);
    // An idle connection is closed, without a word and without a reset.
    assert!(idle.is_ended());
    for (client, cut) in halves.iter_mut().zip(cuts) {
        client.send(&bytes[cut..]);
        for last in [false, false, true] {
            let answer = client.answer();
            assert!(answer.code == 200 && answer.closes() == last, "{answer:?}");
        }
        assert!(client.is_ended());
    }
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(TcpStream::connect(server.address).is_err());
    let bodies = site.bodies();
    assert!(bodies.len() == 10 && bodies[0] == b"before");
    assert!(bodies[1..].iter().all(|body| body == b"under way"));
}

#[test]
fn stored_finishes_what_is_under_way() {
    a_request_under_way_is_finished_during_the_drain("stored");
}

#[test]
fn received_finishes_what_is_under_way() {
    a_request_under_way_is_finished_during_the_drain("received");
}

#[test]
fn the_drain_ends_although_a_client_never_finishes() {
    let site = site("stored").server("drain_timeout = \"500ms\"");
    let server = site.start();
    let mut client = server.connect();
    client.send(&post("/in", "", b"before"));
    assert_eq!(client.answer().code, 200);
    client.send(&post("/in", "", b"never finished")[..40]);
    let (status, stderr) = server.terminate();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(matches!(client.next_or_cut(), Ok(None) | Err(_)));
    assert_eq!(site.bodies(), [b"before"]);
}

#[test]
fn a_second_sigterm_leaves_at_once() {
    let site = site("stored").server("drain_timeout = \"10m\"");
    let mut server = site.start();
    let mut client = server.connect();
    client.send(&post("/in", "", b"before"));
    assert_eq!(client.answer().code, 200);
    client.send(&post("/in", "", b"never finished")[..40]);
    server.signal(Signal::TERM);
    eventually("the drain begins", || server.stderr().contains("stopping"));
    thread::sleep(LATER);
    server.signal(Signal::TERM);
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(1), "{stderr}");
    site.verify();
    assert_eq!(site.bodies(), [b"before"]);
}

/// Service managers send two, to the process and to its group: the second one cut the drain short.
#[test]
fn a_second_signal_within_a_moment_is_the_same_wish() {
    let site = Site::unsigned();
    let delivered = site.path().join("delivered");
    let script = format!(
        "cat > /dev/null; sleep 0.1; echo x >> {}",
        delivered.display()
    );
    let site = site.server("drain_timeout = \"10m\"").sink(&format!(
        "name = \"crm\"\ntype = \"exec\"\nconcurrency = 1\ncommand = [\"/bin/sh\", \"-c\", {script:?}]"
    ));
    let mut server = site.start();
    let mut client = server.connect();
    for number in 0..30 {
        client.send(&post(
            "/webhook",
            "",
            format!("{{\"n\":{number}}}").as_bytes(),
        ));
        assert_eq!(client.answer().code, 200);
    }
    // Two of a kind might be one.
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("the drain goes on"), "{stderr}");
    let delivered = std::fs::read_to_string(&delivered).expect("there");
    assert_eq!(delivered.lines().count(), 30);
}

/// When a second signal is no longer the same wish, and somewhat more.
const LATER: Duration = Duration::from_millis(1500);

/// What was answered as `received` is still on its way to a disk that takes its time when both signals come.
#[test]
fn two_sigterms_in_a_row_lose_nothing_that_was_answered() {
    let site = site("received").server("loops = 1");
    let mut server = site.start();
    let mut client = server.connect();
    let mut answered = 0;
    let mut answer = |client: &mut common::client::Client| {
        client.send(&post("/in", "", format!("{answered}").as_bytes()));
        assert_eq!(client.answer().code, 200);
        answered += 1;
    };
    answer(&mut client);
    let options = ["-e", "inject=pwritev,pwrite64:delay_enter=2000000"];
    let Some(strace) = Strace::attach_thread(&server, "hl-commit", &site, &options) else {
        return;
    };
    for _ in 0..200 {
        answer(&mut client);
    }
    server.signal(Signal::TERM);
    thread::sleep(LATER);
    server.signal(Signal::INT);
    let (status, stderr) = server.wait();
    drop(strace);
    assert_eq!(status.code(), Some(1), "{stderr}");
    let expected: Vec<Vec<u8>> = (0..answered)
        .map(|it| it.to_string().into_bytes())
        .collect();
    assert_eq!(site.bodies(), expected);
    assert!(
        common::last_words(&stderr).contains("second time"),
        "{stderr}"
    );
}

/// Both modes behind one listener and on one connection: answers in the order of the requests.
#[test]
fn both_modes_share_a_connection_and_a_journal() {
    let endpoint = |path: &str| {
        format!("path = \"/{path}\"\nprovider = \"meta\"\naccept_unsigned = true\nack = \"{path}\"")
    };
    let site = Site::new()
        .endpoint(&endpoint("stored"))
        .endpoint(&endpoint("received"));
    let server = site.start();
    let mut client = server.connect();
    let paths = [
        "/received",
        "/stored",
        "/received",
        "/elsewhere",
        "/stored",
        "/received",
    ];
    let bytes: Vec<u8> = (0..600)
        .flat_map(|at| post(paths[at % 6], "", at.to_string().as_bytes()))
        .collect();
    client.send(&bytes);
    for at in 0..600 {
        let expected = if at % 6 == 3 { 404 } else { 200 };
        assert_eq!(client.answer().code, expected, "{at}");
    }
    let expected: Vec<Vec<u8>> = (0..600)
        .filter(|at| at % 6 != 3)
        .map(|at: usize| at.to_string().into_bytes())
        .collect();
    // The last one was answered before it was stored.
    let deadline = Instant::now() + PATIENCE;
    while site.bodies() != expected {
        assert!(
            Instant::now() < deadline,
            "{} of {}",
            site.bodies().len(),
            expected.len()
        );
    }
}
