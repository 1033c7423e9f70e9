//! Clients that mean harm, or act as if they did: slow, silent, endless, unread, reset, too many. Each of these tests
//! puts them beside a good client, which is served all the time; they lose their own connection only, and what they
//! may hold of the server's memory is bounded.
//!
//! No time is measured, only answers, counters and memory. `HOOKLINE_HOSTILE_CLIENTS` says how many there are.

mod common;

use common::client::{Client, chunked, post};
use common::{Running, Site, eventually, number_from_env};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use socket2::SockRef;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// What the server may hold beside what its limits say: a receive buffer, kernel pages of freed memory, thread stacks.
const MEMORY_BESIDE: u64 = 48 * MIB;

/// How many bad clients there are. Both ends of each are files.
fn many() -> usize {
    let many = number_from_env("HOOKLINE_HOSTILE_CLIENTS", 2000);
    let limit = getrlimit(Resource::Nofile);
    let wanted = many as u64 + 300;
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted))),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).expect("up to the hard limit");
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    many.min(usize::try_from(allowed).expect("fits") - 300)
}

/// The good client: it always gets its 200.
struct Good(Client, usize);

impl Good {
    fn of(server: &Running) -> Good {
        Good(from(9, server), 0)
    }

    fn is_served(&mut self) {
        self.1 += 1;
        self.0
            .send(&post("/webhook", "", format!("good {}", self.1).as_bytes()));
        assert_eq!(self.0.answer().code, 200);
    }
}

/// A client with an address of its own.
fn from(last: u8, server: &Running) -> Client {
    Client::connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), server.address)
}

/// Bad clients, with the good one served between each hundred of them.
fn crowd(
    server: &Running,
    count: usize,
    good: &mut Good,
    bytes: impl Fn(usize) -> Vec<u8>,
) -> Vec<Client> {
    let mut crowd = Vec::new();
    for number in 0..count {
        let mut client = from(2, server);
        client.try_send(&bytes(number));
        crowd.push(client);
        if number % 100 == 0 {
            good.is_served();
        }
    }
    crowd
}

/// Sends as much of it as the sockets take.
fn stuff(client: &Client, bytes: &[u8]) {
    let mut stream = client.stream();
    stream.set_nonblocking(true).expect("set");
    let _ = stream.write(bytes);
    stream.set_nonblocking(false).expect("set");
}

fn timeouts(server: &Running, stage: &str) -> u64 {
    server.metric(&format!("hookline_timeouts_total{{stage=\"{stage}\"}}"))
}

fn refused(server: &Running, reason: &str) -> u64 {
    server.metric(&format!(
        "hookline_connections_refused_total{{reason=\"{reason}\"}}"
    ))
}

/// A connection that says nothing, one with half a head, one with half a body: hundreds of each lose themselves only.
#[test]
fn slow_heads_slow_bodies_and_silence_by_the_thousand() {
    let site = Site::unsigned()
        .limits("head_timeout = \"1s\"")
        .limits("body_timeout = \"1s\"")
        .limits("idle_timeout = \"1s\"");
    let server = site.start();
    let mut good = Good::of(&server);
    let count = many() / 3 * 3;
    let head = "POST /webhook HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n";
    let crowd = crowd(&server, count, &mut good, |number| match number % 3 {
        0 => Vec::new(),
        1 => head.as_bytes().to_vec(),
        _ => format!("{head}\r\nhalf a body").into_bytes(),
    });
    for (number, mut client) in crowd.into_iter().enumerate() {
        let codes = client.codes_to_end();
        assert_eq!(
            codes,
            if number % 3 == 0 { &[][..] } else { &[408] },
            "{number}"
        );
        if number % 100 == 0 {
            // It may have been idle for too long itself.
            good = Good::of(&server);
            good.is_served();
        }
    }
    let third = (count / 3) as u64;
    assert_eq!(
        (timeouts(&server, "head"), timeouts(&server, "body")),
        (third, third)
    );
    assert!(timeouts(&server, "idle") >= third);
    assert_eq!(server.metric("hookline_partial_bytes"), 0);
    assert!(server.memory("VmHWM") < MEMORY_BESIDE + (1 << 10) * count as u64 * 4);
}

/// Large bodies that do not go on held the memory for incomplete requests until `body_timeout`, and whoever came then
/// got 503. Now they have it for two seconds; then the first of them make room.
#[test]
fn slow_bodies_do_not_keep_others_out_of_the_memory() {
    const BODY: usize = 1 << 20;
    let site = Site::unsigned()
        .limits("body = \"1MiB\"")
        .limits("partial = \"8MiB\"");
    let server = site.start();
    let mut good = Good::of(&server);
    let bytes = post("/webhook", "", &vec![b'b'; BODY]);
    let (most, last) = bytes.split_at(bytes.len() - 1000);
    let held = crowd(&server, 8, &mut good, |_| most.to_vec());
    eventually("they hold everything", || {
        server.metric("hookline_partial_bytes") == 8 * most.len() as u64
    });
    let mut refused = 0;
    eventually("another one is served", || {
        good.is_served();
        let mut other = from(3, &server);
        other.try_send(most);
        other.try_send(last);
        let code = other.answer().code;
        assert!(code == 200 || code == 503, "{code}");
        refused += u64::from(code == 503);
        code == 200
    });
    // From now on at once.
    for _ in 0..5 {
        let mut other = from(3, &server);
        other.send(&bytes);
        assert_eq!(other.answer().code, 200);
    }
    let gave_up = server.metric("hookline_partial_refused_total") - refused;
    assert!((1..=2).contains(&gave_up), "{gave_up} for one at a time");
    let mut held = held.into_iter();
    assert_eq!(held.next().expect("the oldest").answer().code, 503);
    let mut youngest = held.next_back().expect("the youngest");
    youngest.send(last);
    assert_eq!(youngest.answer().code, 200);
    assert_eq!(timeouts(&server, "body"), 0);
    assert!(server.memory("VmHWM") < 8 * MIB + MEMORY_BESIDE);
}

/// Whole requests that wait for their turn on a connection, 64 KiB each, counted as held and were refused by nothing;
/// answers that nobody read did not even count.
#[test]
fn endless_pipelines_and_unread_answers_stay_within_the_memory() {
    let site = Site::unsigned()
        .limits("pipeline = 1")
        .limits("body = \"64KiB\"")
        .limits("partial = \"1MiB\"");
    let server = site.start();
    let mut good = Good::of(&server);
    let posts = post("/webhook", "", b"one of many").repeat(1000);
    let gets = b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2000);
    let mut crowd = crowd(&server, many() / 32, &mut good, |_| Vec::new());
    for round in 0..2 {
        for (number, client) in crowd.iter().enumerate() {
            stuff(client, if number % 2 == 0 { &posts } else { &gets });
            if number % 20 == 0 {
                good.is_served();
                let held = server.metric("hookline_partial_bytes");
                assert!(held <= MIB + (256 << 10), "{held} in round {round}");
            }
        }
    }
    assert!(server.metric("hookline_partial_refused_total") > 0);
    assert!(server.metric("hookline_pipeline_pauses_total") > 0);
    assert!(server.memory("VmHWM") < MIB + MEMORY_BESIDE);
    // Every 200 is for a body that is stored.
    let mut acknowledged = 0;
    for client in &mut crowd {
        let _ = client.stream().shutdown(std::net::Shutdown::Write);
        while let Ok(Some(answer)) = client.next_or_cut() {
            assert!([200, 404, 503, 400].contains(&answer.code), "{answer:?}");
            acknowledged += usize::from(answer.code == 200);
        }
    }
    drop(crowd);
    eventually("nothing is held", || {
        server.metric("hookline_partial_bytes") == 0
    });
    good.is_served();
    let stored = site.bodies();
    assert!(stored.iter().filter(|body| *body == b"one of many").count() >= acknowledged);
}

/// Heads, chunk lines, trailers and bodies without an end are cut off where their limit says; a byte at a time is
/// no better.
#[test]
fn what_has_no_end_is_cut_off() {
    let site = Site::unsigned()
        .limits("body = \"64KiB\"")
        .limits("pipeline = 4");
    let server = site.start();
    let mut good = Good::of(&server);
    let head = "POST /webhook HTTP/1.1\r\nHost: h\r\n";
    let in_chunks = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    for (start, more, code) in [
        (head.to_owned(), "X: y\r\n".to_owned(), 431),
        (format!("{head}X: "), "x".repeat(1000), 431),
        (format!("{in_chunks}1;a="), "b".repeat(1000), 400),
        (in_chunks.clone(), "1;a\r\nx\r\n".repeat(100), 400),
        (
            in_chunks.clone(),
            format!("400\r\n{}\r\n", "x".repeat(1024)),
            413,
        ),
        (
            format!("{in_chunks}0\r\n"),
            "Trailer: x\r\n".repeat(100),
            400,
        ),
    ] {
        let mut client = from(2, &server);
        client.send(start.as_bytes());
        let mut sent = 0;
        while client.is_quiet() && sent < 4 * MIB {
            client.try_send(more.as_bytes());
            sent += more.len() as u64;
        }
        assert_eq!(client.answer().code, code, "{start}");
        good.is_served();
    }
    let body = vec![b'1'; 3000];
    let all: Vec<u8> = [
        post("/webhook", "", &body),
        chunked("/webhook", "", &body, &[1]),
    ]
    .concat();
    let cuts: Vec<usize> = (1..all.len()).collect();
    let mut client = from(2, &server);
    client.send_cut(&all, &cuts, Duration::ZERO);
    assert_eq!(client.codes(2), [200, 200]);
    assert_eq!(
        site.bodies()
            .iter()
            .filter(|stored| **stored == body)
            .count(),
        2
    );
}

/// Connections that are reset in the middle of a request, and in the middle of its answer.
#[test]
fn resets_leave_nothing_behind() {
    let site = Site::unsigned();
    let server = site.start();
    let mut good = Good::of(&server);
    let half = post("/webhook", "", &[b'h'; 1000]);
    let crowd = crowd(&server, many() / 2, &mut good, |number| match number % 3 {
        0 => half[..half.len() / 2].to_vec(),
        1 => post("/webhook", "", b"reset").repeat(20),
        _ => b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n".repeat(50),
    });
    for client in crowd {
        SockRef::from(client.stream())
            .set_linger(Some(Duration::ZERO))
            .expect("set");
    }
    eventually("they are gone", || {
        server.metric("hookline_connections") == 1
    });
    assert_eq!(server.metric("hookline_partial_bytes"), 0);
    good.is_served();
}

/// An address that has its share connects again and again; the others do not notice.
#[test]
fn a_flood_of_connections_is_turned_away_and_counted() {
    let site = Site::unsigned().server("max_connections_per_address = 4");
    let server = site.start();
    let mut good = Good::of(&server);
    let count = many();
    let crowd = crowd(&server, count, &mut good, |_| Vec::new());
    eventually("all are counted", || {
        refused(&server, "address") == count as u64 - 4
    });
    assert_eq!(server.metric("hookline_connections"), 5);
    assert_eq!(
        server.metric("hookline_limit{key=\"server.max_connections_per_address\"}"),
        4
    );
    let open = crowd
        .into_iter()
        .filter_map(|mut client| client.is_quiet().then_some(client));
    assert_eq!(open.count(), 4);
    good.is_served();
}

/// Without descriptors nobody can be accepted; that is tried now and then and counted, and those that are there are
/// served.
#[test]
fn descriptors_that_run_out_are_waited_for() {
    let site = Site::unsigned();
    let server = site.start();
    let mut good = Good::of(&server);
    good.is_served();
    // The journal has all the files that it needs for now.
    eventually("a segment is ready", || {
        server.metric("hookline_journal_prepared_segments") == 1
    });
    let pid = Pid::from_raw(i32::try_from(server.pid()).expect("a pid")).expect("a pid");
    let usual = getrlimit(Resource::Nofile);
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .expect("it runs")
        .count() as u64;
    let few = Rlimit {
        current: Some(open + 3),
        maximum: usual.maximum,
    };
    prlimit(Some(pid), Resource::Nofile, few).expect("allowed");
    let mut waiting: Vec<Client> = (0..10).map(|_| from(2, &server)).collect();
    // The pages of the admin listener need a descriptor themselves, so the log has to say it.
    eventually("it is logged", || {
        server.stderr().contains("raise LimitNOFILE")
    });
    for _ in 0..20 {
        good.is_served();
    }
    prlimit(
        Some(pid),
        Resource::Nofile,
        Rlimit {
            current: usual.current,
            maximum: usual.maximum,
        },
    )
    .expect("allowed");
    for client in &mut waiting {
        client.send(&post("/webhook", "", b"late"));
        assert_eq!(client.answer().code, 200);
    }
    assert!(refused(&server, "error") > 0);
    assert_eq!(
        site.bodies().iter().filter(|body| *body == b"late").count(),
        10
    );
}

/// Whoever goes on after a refusal is read away for a bounded time.
#[test]
fn a_client_that_is_refused_and_goes_on_is_closed() {
    let site = Site::unsigned().limits("linger_timeout = \"300ms\"");
    let server = site.start();
    let mut client = from(2, &server);
    client.send(b"POST /webhook HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n");
    assert_eq!(client.answer().code, 413);
    eventually("it is closed", || !client.try_send(b"more"));
    let ended = client.next_or_cut();
    assert!(
        matches!(ended, Ok(None) | Err(ErrorKind::ConnectionReset)),
        "{ended:?}"
    );
    assert_eq!(timeouts(&server, "linger"), 1);
}
