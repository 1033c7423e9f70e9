//! What is not taken: every refusal has its code, leaves as soon as it is certain, and can be read although
//! the sender goes on sending; what it refuses is never stored. Slow, idle and too many clients lose their
//! own connection only.

mod common;

use common::client::{Client, chunked, get, post};
use common::{Running, Site, eventually};
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

/// A request that cannot be served, with what the answer has to say beside its code.
struct Case {
    bytes: Vec<u8>,
    code: u16,
    field: Option<(&'static str, &'static str)>,
}

fn case(code: u16, bytes: impl AsRef<[u8]>) -> Case {
    Case {
        bytes: bytes.as_ref().to_vec(),
        code,
        field: None,
    }
}

/// Cases whose connection ends, because nobody can say or wants to read what follows.
fn closing_cases() -> Vec<Case> {
    let head = |lines: &str| format!("POST /webhook HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    let many: String = (0..101).fold(String::new(), |many, at| many + &format!("F{at}: x\r\n"));
    vec![
        case(400, head("Content-Length: 1\r\nContent-Length: 1\r\n")),
        case(
            400,
            head("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
        ),
        case(400, "POST /webhook HTTP/1.1\nHost: h\n\n"),
        case(400, "POST /webhook HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
        case(400, head("Transfer-Encoding: chunked\r\n") + "x\r\n"),
        case(411, head("")),
        case(413, head("Content-Length: 4194305\r\n")),
        case(413, head("Content-Length: 99999999999999999999\r\n")),
        case(413, head("Transfer-Encoding: chunked\r\n") + "400001\r\n"),
        case(
            415,
            head("Content-Length: 4000000\r\nContent-Encoding: gzip\r\n"),
        ),
        case(
            417,
            head("Content-Length: 4000000\r\nExpect: the-unexpected\r\n"),
        ),
        case(431, head(&many)),
        case(431, head(&format!("X-Long: {}\r\n", "x".repeat(20_000)))),
        // Before the head has an end.
        case(
            431,
            format!("POST /webhook HTTP/1.1\r\nX-Long: {}", "x".repeat(20_000)),
        ),
        case(
            505,
            "POST /webhook HTTP/2.0\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        ),
        // Known by the head alone: the body is not waited for.
        case(
            404,
            "POST /elsewhere HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n",
        ),
        case(
            405,
            "PUT /webhook HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n",
        ),
    ]
}

/// Cases that came as a whole: the connection stays.
fn staying_cases() -> Vec<Case> {
    let mut put = case(
        405,
        "PUT /webhook HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1",
    );
    put.field = Some(("allow", "GET, POST"));
    let mut encoded = case(
        415,
        post("/webhook", "Content-Encoding: br\r\n", b"encoded"),
    );
    encoded.field = Some(("accept-encoding", "identity"));
    vec![
        put,
        encoded,
        case(404, post("/elsewhere", "", b"body")),
        case(404, post("/webhook/", "", b"body")),
        case(404, get("/")),
        case(403, get("/webhook")),
        case(405, "DELETE /webhook HTTP/1.1\r\nHost: h\r\n\r\n"),
    ]
}

#[test]
fn each_refusal_has_its_code_and_closes_with_the_answer_readable() {
    let site = Site::unsigned();
    let server = site.start();
    let unwanted = vec![b'u'; 1 << 20];
    for (at, Case { bytes, code, .. }) in closing_cases().into_iter().enumerate() {
        // Alone, as long as the sender stays silent; then with a sender that goes on and does not look.
        for going_on in [false, true] {
            let mut client = server.connect();
            client.send(&post("/webhook", "", b"before"));
            client.send(&bytes);
            if going_on {
                for _ in 0..4 {
                    client.try_send(&unwanted);
                }
            }
            assert_eq!(client.answer().code, 200, "{at}");
            let answer = client.answer();
            assert_eq!(
                answer.code,
                code,
                "{at} {}",
                String::from_utf8_lossy(&bytes)
            );
            assert!(answer.closes() && answer.body.is_empty(), "{answer:?}");
            client.shut();
            assert!(client.is_ended(), "{at}");
        }
    }
    assert!(site.bodies().iter().all(|body| body == b"before"));
}

#[test]
fn a_refused_request_that_came_as_a_whole_leaves_the_connection_open() {
    let site = Site::unsigned();
    let server = site.start();
    let mut client = server.connect();
    for Case { bytes, code, field } in staying_cases() {
        client.send(&bytes);
        let answer = client.answer();
        assert_eq!(answer.code, code, "{}", String::from_utf8_lossy(&bytes));
        assert!(!answer.closes(), "{answer:?}");
        if let Some((name, value)) = field {
            assert_eq!(answer.field(name), Some(value));
        }
    }
    // The same at once, with posts between: each answer in its place.
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for case in staying_cases() {
        bytes.extend(post("/webhook", "", b"between"));
        bytes.extend(case.bytes);
        expected.extend([200, case.code]);
    }
    client.send(&bytes);
    assert_eq!(client.codes(expected.len()), expected);
    assert_eq!(site.bodies(), vec![b"between"; staying_cases().len()]);
}

#[test]
fn slow_heads_and_bodies_are_408_although_bytes_come() {
    let site = Site::unsigned()
        .limits("head_timeout = \"150ms\"")
        .limits("body_timeout = \"150ms\"");
    let server = site.start();
    let head = "POST /webhook HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n";
    for (start, stage) in [
        ("P".to_owned(), "head"),
        (head.to_owned(), "head"),
        (format!("{head}\r\n"), "body"),
        (
            "POST /webhook HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n"
                .to_owned(),
            "body",
        ),
    ] {
        let series = format!("hookline_timeouts_total{{stage=\"{stage}\"}}");
        let before = server.metric(&series);
        let mut client = server.connect();
        client.send(&post("/webhook", "", b"whole"));
        assert_eq!(client.answer().code, 200);
        client.send(start.as_bytes());
        // A byte now and then does not help.
        while client.is_quiet() {
            client.try_send(b"X");
            thread::sleep(Duration::from_millis(20));
        }
        let answer = client.answer();
        assert!(
            answer.code == 408 && answer.closes(),
            "{start:?} {answer:?}"
        );
        assert!(client.is_ended());
        assert_eq!(server.metric(&series), before + 1);
    }
    assert_eq!(site.bodies(), vec![b"whole"; 4]);
}

#[test]
fn idle_connections_are_closed_without_a_word() {
    let site = Site::unsigned().limits("idle_timeout = \"100ms\"");
    let server = site.start();
    let mut never = server.connect();
    let mut once = server.connect();
    once.send(&post("/webhook", "", b"once"));
    assert_eq!(once.answer().code, 200);
    assert!(never.is_ended() && once.is_ended());
    assert_eq!(server.metric("hookline_timeouts_total{stage=\"idle\"}"), 2);
}

/// Waits until the loop has seen connections come or go.
fn wait_for_connections(server: &Running, count: u64) {
    eventually("connections are counted", || {
        server.metric("hookline_connections") == count
    });
}

fn serves(client: &mut Client) {
    client.send(&post("/webhook", "", b"x"));
    assert_eq!(client.answer().code, 200);
}

#[test]
fn connections_beyond_the_limit_are_closed_and_the_others_stay() {
    let site = Site::unsigned().server("max_connections = 3");
    let server = site.start();
    let mut open: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    open.iter_mut().for_each(serves);
    for _ in 0..5 {
        assert!(server.connect().is_ended());
    }
    open.iter_mut().for_each(serves);
    drop(open.pop());
    wait_for_connections(&server, 2);
    serves(&mut server.connect());
    let series = "hookline_connections_refused_total{reason=\"total\"}";
    assert_eq!(server.metric(series), 5);
}

#[test]
fn one_address_has_its_share_and_no_more() {
    let site = Site::unsigned().server("max_connections_per_address = 2");
    let server = site.start();
    let from = |last: u8| {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        Client::connect_from(source, server.address)
    };
    let mut greedy: Vec<Client> = (0..2).map(|_| from(2)).collect();
    greedy.iter_mut().for_each(serves);
    assert!(from(2).is_ended() && from(2).is_ended());
    let mut modest = from(3);
    serves(&mut modest);
    drop(greedy.pop());
    wait_for_connections(&server, 2);
    serves(&mut from(2));
    let series = "hookline_connections_refused_total{reason=\"address\"}";
    assert_eq!(server.metric(series), 2);
}

/// Incomplete requests may hold so much memory. While all of them are quick, who asks for more than there is gets 503,
/// and the others are served to their end.
#[test]
fn memory_for_incomplete_requests_is_bounded() {
    const BODY: usize = 1 << 20;
    let site = Site::unsigned()
        .limits("body = \"1MiB\"")
        .limits("partial = \"2MiB\"");
    let server = site.start();
    let bytes = post("/webhook", "", &vec![b'b'; BODY]);
    let (most, last) = bytes.split_at(bytes.len() - 1000);
    let mut first = server.connect();
    let mut second = server.connect();
    for client in [&mut first, &mut second] {
        client.send(most);
    }
    eventually("both are held", || {
        server.metric("hookline_partial_bytes") == 2 * most.len() as u64
    });
    let mut third = server.connect();
    // What is asked for is more than there is by a few bytes only.
    third.send(&most[..3000]);
    let answer = third.answer();
    assert!(answer.code == 503 && answer.closes(), "{answer:?}");
    assert!(answer.field("retry-after").is_some());
    assert_eq!(server.metric("hookline_partial_refused_total"), 1);
    for client in [&mut first, &mut second] {
        client.send(last);
        assert_eq!(client.answer().code, 200);
    }
    // Everything is free again, also what the refused one held.
    serves(&mut server.connect());
    eventually("nothing is held", || {
        server.metric("hookline_partial_bytes") == 0
    });
    assert_eq!(site.bodies().len(), 3);
}

/// However little memory there is and however many loops share it, the largest request is taken.
#[test]
fn the_largest_body_fits_into_every_loops_share() {
    let site = Site::unsigned()
        .server("loops = 4")
        .limits("body = \"1MiB\"")
        .limits("partial = \"1MiB\"");
    let server = site.start();
    let bytes = post("/webhook", "", &vec![b'b'; 1 << 20]);
    for _ in 0..8 {
        let mut client = server.connect();
        for piece in bytes.chunks(100_000) {
            client.send(piece);
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(client.answer().code, 200);
    }
}

/// A chunked body that announces nothing is bounded by what it brings.
#[test]
fn a_chunked_body_is_refused_where_it_exceeds_the_limit() {
    let site = Site::unsigned().limits("body = \"64KiB\"");
    let server = site.start();
    let mut client = server.connect();
    client.try_send(&chunked("/webhook", "", &vec![b'c'; 65_537], &[1000]));
    assert_eq!(client.codes_to_end(), [413]);
    let mut client = server.connect();
    client.send(&chunked("/webhook", "", &vec![b'c'; 65_536], &[1000]));
    assert_eq!(client.answer().code, 200);
    assert_eq!(site.bodies(), [vec![b'c'; 65_536]]);
}
