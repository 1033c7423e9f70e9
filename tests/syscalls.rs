//! What a keep-alive request costs in system calls, counted by strace on a server that runs.
//!
//! Sixty-four connections post in rounds: one request on each, then all answers are read, as a platform does
//! that keeps many requests under way. strace is attached once everything has started and is warm, and
//! detached before anything is closed, so the table holds requests and nothing else. The budget is that of
//! the `reactor` module: one `recv` and one `send` each, `epoll_wait` shared, no `epoll_ctl`, no
//! `setsockopt`, and hardly a wake of another thread. It is counted on the event loop alone and then on all threads,
//! which do all that they do in service: signatures, journal, events, duplicates, and a file that is written.
//!
//! strace slows every call by some ten microseconds, which lets more sockets become ready for each
//! `epoll_wait` than at full speed; `recv`, `send`, `epoll_ctl` and `setsockopt` do not depend on that.
//!
//! `HOOKLINE_STRACE_REQUESTS` says how many requests. Where strace is missing or may not trace, a line says
//! so and nothing is checked.

#![expect(clippy::print_stderr, reason = "the table is what one wants to see")]

mod common;

use common::client::{Client, post};
use common::strace::Strace;
use common::{Site, number_from_env, sign};
use std::collections::BTreeMap;

const CONNECTIONS: usize = 64;

/// Calls by name, as `strace -c` has counted them.
struct Calls(BTreeMap<String, u64>, u64);

impl Calls {
    fn parse(table: &str, requests: u64) -> Calls {
        let line = |line: &str| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            // % time, seconds, usecs/call, calls, errors where there were any, syscall
            let is_row = columns.first()?.parse::<f64>().is_ok() && columns.len() >= 5;
            let name = columns.last().filter(|_| is_row)?;
            Some(((*name).to_owned(), columns[3].parse().ok()?))
        };
        let mut calls: BTreeMap<String, u64> = table.lines().filter_map(line).collect();
        calls.remove("total");
        Calls(calls, requests)
    }

    fn count(&self, names: &[&str]) -> u64 {
        let counts = names.iter().filter_map(|name| self.0.get(*name));
        counts.sum()
    }

    fn all(&self) -> u64 {
        self.0.values().sum()
    }

    /// At most so many hundredths of a call for each request.
    fn check(&self, what: &str, count: u64, hundredths: u64) {
        assert!(
            count * 100 <= self.1 * hundredths,
            "{what}: {count} for {} requests\n{self}",
            self.1
        );
    }
}

impl std::fmt::Display for Calls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per_request = |count: u64| {
            let thousandths = count * 1000 / self.1.max(1);
            format!("{}.{:03} a request", thousandths / 1000, thousandths % 1000)
        };
        writeln!(out, "{} requests on {CONNECTIONS} connections", self.1)?;
        for (name, &count) in &self.0 {
            writeln!(out, "  {name:<16} {count:>8}  {}", per_request(count))?;
        }
        writeln!(
            out,
            "  {:<16} {:>8}  {}",
            "all",
            self.all(),
            per_request(self.all())
        )
    }
}

/// One signed post on each connection, then every answer.
fn round(connections: &mut [Client], number: &mut u64) {
    for connection in &mut *connections {
        *number += 1;
        let body = format!(
            "{{\"object\":\"whatsapp_business_account\",\"entry\":[{{\"id\":\"1\",\"changes\":[{{\"field\":\"messages\",\"value\":{{\"messaging_product\":\"whatsapp\",\"metadata\":{{\"phone_number_id\":\"2\"}},\"statuses\":[{{\"id\":\"wamid.{number}\",\"status\":\"sent\",\"timestamp\":\"1750000000\",\"recipient_id\":\"3\"}}]}}}}]}}]}}"
        );
        let fields = sign::meta("secret", body.as_bytes());
        connection.send(&post("/in", &fields, body.as_bytes()));
    }
    for connection in &mut *connections {
        assert_eq!(connection.answer().code, 200);
    }
}

/// The calls of the event loop and those of all threads, for so many posts each to an endpoint with this mode; `None`
/// where they cannot be counted.
fn measure(ack: &str) -> Option<(Calls, Calls)> {
    let requests = number_from_env("HOOKLINE_STRACE_REQUESTS", 20_000);
    let rounds = requests.div_ceil(CONNECTIONS);
    // Nothing rolls while it is measured: half a kilobyte for each request, twice, and room.
    let segment = (rounds * CONNECTIONS / 512 + 32).next_multiple_of(16);
    let site = Site::new()
        .journal(&format!("segment_size = \"{segment}MiB\""))
        .journal("max_size = \"64GiB\"")
        .variable("SECRET", "secret")
        .endpoint(&format!(
            "path = \"/in\"\nprovider = \"meta\"\napp_secret = {{ env = \"SECRET\" }}\nack = \"{ack}\""
        ))
        .sink("name = \"out\"\ntype = \"file\"\npath = \"out.ndjson\"");
    let server = site.start();
    let mut connections: Vec<Client> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    let mut number = 0;
    for _ in 0..10 {
        round(&mut connections, &mut number);
    }
    let rolls = server.metric("hookline_journal_rolls_total");
    let mut count = |strace: Strace| {
        for _ in 0..rounds {
            round(&mut connections, &mut number);
        }
        Calls::parse(&strace.detach(), (rounds * CONNECTIONS) as u64)
    };
    let event_loop = count(Strace::attach_thread(&server, "hl-loop-0", &site, &["-c"])?);
    let all = count(Strace::attach(&server, &site, &["-c"])?);
    assert_eq!(server.metric("hookline_journal_rolls_total"), rolls);
    let (status, stderr) = server.terminate();
    assert!(status.success(), "{stderr}");
    assert_eq!(site.records().len() as u64, number);
    eprintln!("{ack}, the event loop: {event_loop}\n{ack}, all threads: {all}");
    Some((event_loop, all))
}

/// What the event loop may cost, whatever happens behind it.
fn check_loop(calls: &Calls) {
    calls.check("recv", calls.count(&["recvfrom", "recvmsg"]), 102);
    calls.check("send", calls.count(&["sendto", "sendmsg"]), 102);
    // Eventfds are all that a loop reads and writes in this way.
    calls.check("wakes", calls.count(&["futex", "write", "read"]), 20);
    let known = [
        "recvfrom",
        "recvmsg",
        "sendto",
        "sendmsg",
        "futex",
        "write",
        "read",
        "epoll_wait",
    ];
    // Memory for the buffers of batches that are under way, each once.
    calls.check("others", calls.all() - calls.count(&known), 2);
}

#[test]
fn received_costs_one_recv_and_one_send() {
    let Some((event_loop, all)) = measure("received") else {
        return;
    };
    check_loop(&event_loop);
    event_loop.check("all", event_loop.all(), 215);
    assert!(all.count(&["epoll_ctl", "setsockopt"]) <= 8, "{all}");
    all.check("all", all.all(), 250);
}

/// Here each round of the clients is a commit or more, so the sum depends on the disk; what a request costs does not.
#[test]
fn stored_costs_one_recv_and_one_send() {
    let Some((event_loop, all)) = measure("stored") else {
        return;
    };
    check_loop(&event_loop);
    assert!(all.count(&["epoll_ctl", "setsockopt"]) <= 8, "{all}");
}
