//! How bytes become requests, over real sockets: however a sender cuts them, every request gets the same answer in
//! the same place, and what is stored is the same byte for byte.
//!
//! A stream of requests is sent in one piece, cut at every single byte, and cut at random; pipelined, half-closed,
//! announced with `Expect`, in HTTP/1.0. Answers come in the order of the requests, refusals included.

mod common;

use common::client::{Answer, Client, chunked, get, handshake, post};
use common::{Running, Site, eventually, sign};
use hookline::testing::disk::Disk;
use hookline::testing::journal::Reader;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use socket2::SockRef;
use std::cell::RefCell;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The journal of a server that runs, read as it grows.
struct Stored(Reader, Vec<Vec<u8>>);

impl Stored {
    fn of(site: &Site) -> Stored {
        let disk = Disk::open(&site.journal_dir()).expect("there is a journal");
        Stored(
            Reader::open(Arc::new(disk), 0).expect("it can be read"),
            Vec::new(),
        )
    }

    /// All bodies that were stored since the last look.
    fn news(&mut self) -> Vec<Vec<u8>> {
        while let Some(batch) = self.0.next(None).expect("it is whole") {
            self.1
                .extend(batch.records().map(|record| record.body.to_vec()));
        }
        std::mem::take(&mut self.1)
    }
}

/// What one message of a pipeline is, and what has to come of it.
#[derive(Clone, Debug)]
enum Message {
    Post(Vec<u8>),
    Chunked(Vec<u8>, Vec<usize>),
    Expecting(Vec<u8>),
    Handshake(String),
    WrongToken,
    Elsewhere,
}

impl Message {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Message::Post(body) => post("/webhook", "", body),
            Message::Chunked(body, sizes) => chunked("/webhook", "", body, sizes),
            Message::Expecting(body) => post("/webhook", "Expect: 100-continue\r\n", body),
            Message::Handshake(challenge) => handshake("/webhook", "token", challenge),
            Message::WrongToken => handshake("/webhook", "nekot", "1"),
            Message::Elsewhere => post("/elsewhere", "", b""),
        }
    }

    fn stored(&self) -> Option<&[u8]> {
        match self {
            Message::Post(body) | Message::Chunked(body, _) | Message::Expecting(body) => {
                Some(body)
            }
            Message::Handshake(_) | Message::WrongToken | Message::Elsewhere => None,
        }
    }

    fn answer(&self) -> (u16, &[u8]) {
        match self {
            Message::Handshake(challenge) => (200, challenge.as_bytes()),
            Message::WrongToken => (403, b""),
            Message::Elsewhere => (404, b""),
            _ => (200, b""),
        }
    }
}

/// Sends the pipeline in pieces and closes the sending side; every answer and the whole store are as expected.
fn deliver(server: &Running, stored: &mut Stored, pipeline: &[Message], cuts: &[usize]) {
    let bytes: Vec<u8> = pipeline.iter().flat_map(Message::bytes).collect();
    let mut client = server.connect();
    client.send_cut(&bytes, cuts, Duration::from_micros(100));
    client.shut();
    for message in pipeline {
        let answer = final_answer(&mut client);
        assert_eq!((answer.code, answer.body.as_slice()), message.answer());
    }
    assert!(client.is_ended());
    let expected: Vec<&[u8]> = pipeline.iter().filter_map(Message::stored).collect();
    assert_eq!(stored.news(), expected);
}

/// The next answer that is not a 100.
fn final_answer(client: &mut Client) -> Answer {
    loop {
        let answer = client.answer();
        if answer.code != 100 {
            return answer;
        }
    }
}

fn all_kinds() -> Vec<Message> {
    vec![
        Message::Post(b"{\"a\":1}".to_vec()),
        Message::Handshake("1158201444".to_owned()),
        Message::Chunked(
            b"\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_vec(),
            vec![1, 3, 7],
        ),
        Message::Elsewhere,
        Message::Expecting(b"\0\xff\r\n".to_vec()),
        Message::WrongToken,
        Message::Post(Vec::new()),
    ]
}

#[test]
fn a_pipeline_cut_at_every_byte() {
    let site = Site::unsigned();
    let server = site.start();
    let mut stored = Stored::of(&site);
    let pipeline = all_kinds();
    let len: usize = pipeline.iter().map(|message| message.bytes().len()).sum();
    deliver(&server, &mut stored, &pipeline, &[]);
    for cut in 1..len {
        deliver(&server, &mut stored, &pipeline, &[cut]);
    }
    // Every byte by itself.
    deliver(
        &server,
        &mut stored,
        &pipeline,
        &(1..len).collect::<Vec<_>>(),
    );
}

#[test]
fn random_pipelines_in_random_cuts() {
    let site = Site::unsigned();
    let server = site.start();
    let stored = RefCell::new(Stored::of(&site));
    let body = || prop::collection::vec(any::<u8>(), 0..300);
    let message = prop_oneof![
        4 => body().prop_map(Message::Post),
        4 => (body(), prop::collection::vec(1_usize..100, 1..4))
            .prop_map(|(body, sizes)| Message::Chunked(body, sizes)),
        2 => body().prop_map(Message::Expecting),
        2 => "[a-zA-Z0-9]{1,40}".prop_map(Message::Handshake),
        1 => Just(Message::WrongToken),
        1 => Just(Message::Elsewhere),
    ];
    let pipelines = prop::collection::vec(message, 1..12);
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..12);
    let mut runner = TestRunner::new(Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&(pipelines, cuts), |(pipeline, cuts)| {
        let len: usize = pipeline.iter().map(|message| message.bytes().len()).sum();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len)).collect();
        cuts.sort_unstable();
        let mut stored = stored.borrow_mut();
        stored.news(); // of a case that failed before
        deliver(&server, &mut stored, &pipeline, &cuts);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Bodies from one receive buffer to the limit, where the cuts fall as the kernel makes them.
#[test]
fn large_bodies_up_to_the_limit() {
    const LIMIT: usize = 4 << 20;
    let site = Site::unsigned();
    let server = site.start();
    let mut stored = Stored::of(&site);
    let body = |len: usize| -> Vec<u8> {
        (0..len)
            .map(|at| u8::try_from((at * 31 + at / 251) % 256).expect("below 256"))
            .collect()
    };
    let mut client = server.connect();
    for len in [65_535, 65_536, 65_537, 1 << 20, 3 << 20, LIMIT - 1, LIMIT] {
        let body = body(len);
        for bytes in [
            post("/webhook", "", &body),
            chunked("/webhook", "", &body, &[1, 4096, 100_000]),
        ] {
            client.send(&bytes);
            assert_eq!(client.answer().code, 200, "{len}");
            let news = stored.news();
            assert!(news.len() == 1 && news[0] == body, "{len}");
        }
    }
    for bytes in [
        post("/webhook", "", &body(LIMIT + 1)),
        chunked("/webhook", "", &body(LIMIT + 1), &[100_000]),
    ] {
        let mut client = server.connect();
        client.try_send(&bytes);
        assert_eq!(client.codes_to_end(), [413]);
    }
    assert!(stored.news().is_empty());
}

#[test]
fn chunk_extensions_and_trailers_are_read_and_dropped() {
    let site = Site::unsigned();
    let server = site.start();
    let mut client = server.connect();
    client.send(
        b"POST /webhook HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
          5;a=\"b\\\"\";c\r\nhello\r\n0006\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n",
    );
    client.send(&get("/elsewhere"));
    assert_eq!(client.codes(2), [200, 404]);
    assert_eq!(site.bodies(), [b"hello world"]);
}

#[test]
fn a_pipeline_deeper_than_the_limit_is_answered_to_its_end() {
    const REQUESTS: usize = 3000;
    let site = Site::unsigned().limits("pipeline = 8").endpoint(
        "path = \"/received\"\nprovider = \"meta\"\naccept_unsigned = true\nack = \"received\"",
    );
    let server = site.start();
    for path in ["/webhook", "/received"] {
        let mut client = server.connect();
        let bytes: Vec<u8> = (0..REQUESTS)
            .flat_map(|at| post(path, "", format!("{path} {at}").as_bytes()))
            .collect();
        let sending = client.stream().try_clone().expect("a second handle");
        let sender = thread::spawn(move || {
            let mut client = Client::over(sending);
            client.send(&bytes);
            client.shut();
        });
        assert_eq!(client.codes(REQUESTS), [200; REQUESTS]);
        assert!(client.is_ended());
        sender.join().expect("everything is sent");
    }
    eventually("received bodies are stored", || {
        site.bodies().len() == 2 * REQUESTS
    });
    for (at, body) in site.bodies().iter().enumerate() {
        let path = ["/webhook", "/received"][at / REQUESTS];
        assert_eq!(body, format!("{path} {}", at % REQUESTS).as_bytes());
    }
}

#[test]
fn expect_is_answered_before_the_body() {
    let server_site = Site::unsigned();
    let server = server_site.start();
    let mut client = server.connect();
    for body in ["one", "two"] {
        let bytes = post("/webhook", "Expect: 100-continue\r\n", body.as_bytes());
        let (head, body) = bytes.split_at(bytes.len() - body.len());
        client.send(head);
        assert_eq!(client.answer().code, 100);
        client.send(body);
        assert_eq!(client.answer().code, 200);
    }
    // Behind an answer that waits for the disk, the 100 waits its turn.
    client.send(&post("/webhook", "", b"three"));
    client.send(
        b"POST /webhook HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\n",
    );
    assert_eq!(client.codes(2), [200, 100]);
    client.send(b"four");
    assert_eq!(client.answer().code, 200);
    // Nobody asks for the body of what is refused.
    client.send(
        b"POST /elsewhere HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    );
    let answer = client.answer();
    assert!(answer.code == 404 && answer.closes(), "{answer:?}");
    assert!(client.is_ended());
    // HTTP/1.0 knows no 100.
    let mut client = server.connect();
    client.send(b"POST /webhook HTTP/1.0\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    thread::sleep(Duration::from_millis(50));
    client.send(b"five");
    assert_eq!(client.codes_to_end(), [200]);
    assert_eq!(
        server_site.bodies(),
        [&b"one"[..], b"two", b"three", b"four", b"five"]
    );
}

#[test]
fn what_arrives_with_the_end_is_served_and_half_a_request_is_not() {
    let site = Site::unsigned();
    let server = site.start();
    let whole = post("/webhook", "", b"whole");
    for (bytes, answers) in [
        (Vec::new(), 0),
        (whole.clone(), 1),
        (whole.repeat(40), 40),
        (
            [whole.clone(), whole[..whole.len() - 1].to_vec()].concat(),
            1,
        ),
        (whole[..30].to_vec(), 0),
        (chunked("/webhook", "", b"half", &[4])[..70].to_vec(), 0),
    ] {
        let mut client = server.connect();
        client.send(&bytes);
        client.shut();
        assert_eq!(client.codes_to_end(), vec![200; answers]);
    }
    assert_eq!(site.bodies(), vec![b"whole"; 42]);
}

#[test]
fn connection_close_ends_the_connection_and_what_follows_is_not_served() {
    let site = Site::unsigned();
    let server = site.start();
    let mut client = server.connect();
    let last = post("/webhook", "Connection: x, Close\r\n", b"last");
    client.send(
        &[
            post("/webhook", "", b"first"),
            last,
            post("/webhook", "", b"never"),
        ]
        .concat(),
    );
    assert!(!client.answer().closes());
    let answer = client.answer();
    assert!(answer.code == 200 && answer.closes(), "{answer:?}");
    assert!(client.is_ended());
    assert_eq!(site.bodies(), [&b"first"[..], b"last"]);
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    let site = Site::unsigned();
    let server = site.start();
    let mut client = server.connect();
    let stay = b"POST /webhook HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n1";
    for _ in 0..3 {
        client.send(stay);
        let answer = client.answer();
        assert_eq!(answer.field("connection"), Some("keep-alive"));
    }
    client.send(
        &[
            &stay[..],
            b"POST /webhook HTTP/1.0\r\nContent-Length: 1\r\n\r\n2",
        ]
        .concat(),
    );
    assert_eq!(client.answer().field("connection"), Some("keep-alive"));
    assert!(client.answer().closes());
    assert!(client.is_ended());
    assert_eq!(site.bodies(), [b"1", b"1", b"1", b"1", b"2"]);
}

/// Its own answers fill its own socket; nobody else waits, and in the end the server gives it up.
#[test]
fn a_client_that_never_reads_harms_nobody() {
    let site = Site::unsigned().limits("write_timeout = \"300ms\"");
    let server = site.start();
    let before = server.memory("RssAnon");
    let deaf: Vec<_> = (0..4)
        .map(|_| {
            let mut client = server.connect();
            SockRef::from(client.stream())
                .set_recv_buffer_size(4096)
                .expect("set");
            let requests = deaf_requests();
            thread::spawn(move || while client.try_send(&requests) {})
        })
        .collect();
    let mut client = server.connect();
    let mut answered = 0;
    while !deaf.iter().all(thread::JoinHandle::is_finished) {
        client.send(&handshake("/webhook", "token", "still-here"));
        assert_eq!(client.answer().body, b"still-here");
        answered += 1;
    }
    for writer in deaf {
        writer.join().expect("was cut off");
    }
    assert!(answered > 0);
    assert_eq!(server.metric("hookline_timeouts_total{stage=\"write\"}"), 4);
    let grown = server.memory("RssAnon").saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for four deaf clients");
}

/// Requests whose answers are about as long as they are themselves.
fn deaf_requests() -> Vec<u8> {
    let challenge = sign::hex(&[7; 500]);
    handshake("/webhook", "token", &challenge).repeat(50)
}
