//! Does one stage so many times: `instructions STAGE COUNT`. Run by `benches/count`, which counts the instructions.
//!
//! Two runs of different counts, taken from each other, leave what the operations themselves cost: start, setup and
//! first times fall out. So nothing here may depend on a clock, on chance or on another thread, and what is set up
//! must be the same for every count.
//!
//! Without arguments it lists the stages with a count that is enough: setups are small beside it, and it takes some
//! seconds under valgrind.

#![expect(clippy::print_stdout, reason = "the list is for the script")]

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use crossbeam_utils::CachePadded;
use hookline::testing::dedupe::{self, Dedupe, Scope};
use hookline::testing::disk::{Disk, Storage};
use hookline::testing::endpoint::handshake::VerifyTokens;
use hookline::testing::endpoint::signature::Signature;
use hookline::testing::endpoint::{Ack, Counters, Endpoint, Proof};
use hookline::testing::event::{Events, Extractor, Origin, render};
use hookline::testing::http::Limits;
use hookline::testing::http::assembler::{Assembler, Next};
use hookline::testing::http::head::{Head, Slots};
use hookline::testing::journal::batch::{Batch, Pool, Seal};
use hookline::testing::journal::{Journal, JournalId, Options};
use hookline::testing::worker::{EventBatch, Extraction};
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// A stage, a count that is enough, and what does it so many times.
type Stage = (&'static str, usize, fn(usize));

const STAGES: &[Stage] = &[
    ("head", 2000, head),
    ("request, length", 2000, length),
    ("request, chunked", 1000, chunked),
    ("signature, 700 bytes", 1000, signature),
    ("append, 700 bytes", 4000, append),
    ("seal, 128 KiB", 200, seal),
    ("extract, text", 1000, extract_text),
    ("extract, status", 1000, extract_status),
    ("extract, 4 in turn", 250, extract_in_turn),
    ("extract, 100 statuses", 20, extract_statuses),
    ("render, text", 1000, render_text),
    ("decide, 64 statuses", DECIDED, decide),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [name, count] = arguments.as_slice() {
        let stage = STAGES.iter().find(|(stage, ..)| stage == name);
        let (Some((.., run)), Ok(count)) = (stage, count.parse()) else {
            return ExitCode::from(2);
        };
        run(count);
    } else {
        for (name, count, _) in STAGES {
            println!("{count} {name}");
        }
    }
    ExitCode::SUCCESS
}

fn head(count: usize) {
    let head = request_head("Content-Length: 700", &[]);
    for _ in 0..count {
        let mut slots = Slots::new();
        let parsed = Head::parse(black_box(&head), &mut slots, &LIMITS);
        black_box(parsed).expect("valid").expect("complete");
    }
}

/// A whole request of 700 bytes that lies in the receive buffer.
fn length(count: usize) {
    let mut bytes = request_head("Content-Length: 700", &[]);
    bytes.resize(bytes.len() + 700, b'x');
    serve(count, &bytes);
}

/// A body of 4 KiB in chunks of 1 KiB.
fn chunked(count: usize) {
    let mut bytes = request_head("Transfer-Encoding: chunked", &[]);
    for _ in 0..4 {
        bytes.extend_from_slice(b"400\r\n");
        bytes.resize(bytes.len() + 1024, b'x');
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    serve(count, &bytes);
}

fn serve(count: usize, bytes: &[u8]) {
    let mut assembler = Assembler::default();
    for _ in 0..count {
        let (mut rest, mut served) = (black_box(bytes), 0);
        while !rest.is_empty() {
            let mut slots = Slots::new();
            let next = assembler.next(rest, &mut slots, &LIMITS);
            let (used, next) = next.expect("the request is valid");
            if let Next::Request(head, body) = next {
                black_box((head, body));
                served += 1;
            }
            rest = &rest[used..];
        }
        assembler.release();
        assert_eq!(served, 1);
    }
}

/// What an endpoint decides about a body with `X-Hub-Signature-256`.
fn signature(count: usize) {
    let secret = b"the secret of the app".to_vec();
    let body = vec![b'x'; 700];
    let endpoint = Endpoint {
        name: "webhook".to_owned(),
        path: "/webhook".to_owned(),
        number: 1,
        ack: Ack::Stored,
        foreign: false,
        form: 0,
        verify_tokens: VerifyTokens::default(),
        proof: Proof::Signature(Signature::meta(std::slice::from_ref(&secret))),
        keep_headers: Vec::new(),
        counters: [CachePadded::new(Counters::default())].into(),
    };
    let tag = sign(&Key::new(HMAC_SHA256, &secret), &body);
    let bytes = request_head("Content-Length: 700", tag.as_ref());
    let mut slots = Slots::new();
    let parsed = Head::parse(&bytes, &mut slots, &LIMITS);
    let head = parsed.expect("valid").expect("complete");
    for _ in 0..count {
        let admitted = endpoint.admit(black_box(&head));
        admitted.expect("the header is there");
        let counters = &endpoint.counters[0];
        let decided = endpoint.decide(black_box(&head), black_box(&body), NOW, counters);
        black_box(decided).expect("the signature is right");
    }
}

/// One record of a batch, and a batch from the pool for every 145 of them.
fn append(count: usize) {
    let pool = Pool::new(4, BATCH_BYTES + (8 << 10));
    let body = vec![b'x'; 700];
    let mut batch = pool.batch();
    for _ in 0..count {
        append_to(&mut batch, black_box(&body));
        if batch.len() >= BATCH_BYTES {
            drop(batch);
            batch = pool.batch();
        }
    }
    black_box(batch);
}

fn seal(count: usize) {
    let body = vec![b'x'; 700];
    let mut batch = Batch::unpooled();
    while batch.len() < BATCH_BYTES {
        append_to(&mut batch, &body);
    }
    for _ in 0..count {
        batch.seal(black_box(&seal_at(1)));
        black_box(batch.frame());
    }
}

fn append_to(batch: &mut Batch, body: &[u8]) {
    let headers: [(&[u8], &[u8]); 2] = [
        (b"content-type", b"application/json"),
        (b"x-hub-signature-256", &[b'0'; 71]),
    ];
    batch.append(1, 0, NOW * 1_000_000, headers.into_iter(), body);
}

fn extract_text(count: usize) {
    extract(count, &[TEXT]);
}

fn extract_status(count: usize) {
    extract(count, &[STATUS]);
}

/// A message and its statuses, one after another, as life has it; they have three shapes.
fn extract_in_turn(count: usize) {
    let sent = STATUS.replace("delivered", "sent");
    let read = STATUS.replace("delivered", "read").replace(PRICING, "");
    assert!(read.len() + PRICING.len() < STATUS.len());
    extract(count, &[TEXT, &sent, STATUS, &read]);
}

/// A status is what the sample has between the brackets, and so is its contact.
fn extract_statuses(count: usize) {
    let (start, rest) = STATUS.split_once(CONTACTS).expect("it has contacts");
    let (contact, rest) = rest.split_once(STATUSES).expect("and statuses");
    let (status, end) = rest.split_once(END).expect("and an end");
    let hundred = |element: &str| vec![element; 100].join(",");
    let body = [
        start,
        CONTACTS,
        &hundred(contact),
        STATUSES,
        &hundred(status),
        END,
        end,
    ]
    .concat();
    extract(count, &[&body]);
}

/// One operation is all of the bodies, one after another.
fn extract(count: usize, bodies: &[&str]) {
    let (mut extractor, mut events) = (Extractor::new(), Events::new());
    for _ in 0..count {
        for body in bodies {
            events.clear();
            let body = black_box(body.as_bytes());
            extractor.extract(body, Origin::default(), &mut events);
            assert!(!events.is_empty());
        }
    }
}

/// One line of NDJSON.
fn render_text(count: usize) {
    let (mut extractor, mut events) = (Extractor::new(), Events::new());
    extractor.extract(TEXT.as_bytes(), Origin::default(), &mut events);
    let event = events.get(0).expect("it has one");
    let mut line = Vec::new();
    for _ in 0..count {
        line.clear();
        render(black_box(event), TEXT.as_bytes(), &mut line);
        black_box(&line);
    }
}

/// New events, of parties that are new. They are made for the largest count there is, whatever is decided of them.
fn decide(count: usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let id = journal_id(&dir.path().join("journal"));
    let storage = directory(&dir.path().join("dedupe"));
    let options = dedupe::Options {
        window: 8 * 86_400_000_000,
        keys: 1 << 20,
        scope: Scope::Endpoint,
    };
    let (mut dedupe, _) = Dedupe::open(storage, options, id, 1, 0).expect("an empty directory");
    let mut maker = Extraction::new();
    let mut made = (0..2 * DECIDED as u64).map(|number| delivery(&mut maker, number));
    let mut deliveries: Vec<EventBatch> = made.by_ref().collect();
    for delivery in &mut deliveries[..count] {
        dedupe.decide(delivery).expect("room on the disk");
    }
    assert_eq!(dedupe.keys(), count * 64);
}

fn delivery(maker: &mut Extraction, number: u64) -> EventBatch {
    let mut batch = Batch::unpooled();
    for status in number * 64..(number + 1) * 64 {
        let body = STATUS
            .replace("450000000037", &format!("45{status:010}"))
            .replace("5550100042", &format!("555{status:07}"))
            .replace("00000000042", &format!("{status:011}"));
        let received_at = NOW * 1_000_000;
        batch.append(1, 0, received_at, std::iter::empty(), body.as_bytes());
    }
    batch.seal(&seal_at(number * 64 + 1));
    maker.make(batch)
}

fn directory(path: &Path) -> Arc<dyn Storage> {
    Arc::new(Disk::create(path).expect("a directory"))
}

fn journal_id(path: &Path) -> JournalId {
    let options = Options {
        segment_size: 256 << 10,
        largest_frame: 64 << 10,
        reserve: 0,
        ..Options::default()
    };
    let journal = Journal::open(directory(path), options).expect("an empty directory");
    journal.id()
}

fn seal_at(first_sequence: u64) -> Seal {
    Seal {
        epoch: 1,
        salt: 0x9e37_79b9,
        first_sequence,
        committed_at: NOW * 1_000_000,
        durable: 0,
    }
}

/// What Meta's sender puts before a body.
fn request_head(framing: &str, tag: &[u8]) -> Vec<u8> {
    let mut digits = String::new();
    for byte in tag {
        write!(digits, "{byte:02x}").expect("a string takes everything");
    }
    format!(
        "POST /webhook HTTP/1.1\r\n\
         Host: hooks.example.com\r\n\
         User-Agent: facebookexternalua\r\n\
         Accept: */*\r\n\
         Accept-Encoding: deflate, gzip\r\n\
         Content-Type: application/json\r\n\
         X-Hub-Signature: sha1={}\r\n\
         X-Hub-Signature-256: sha256={digits:0>64}\r\n\
         {framing}\r\n\r\n",
        "0123456789".repeat(4),
    )
    .into_bytes()
}

const TEXT: &str = include_str!("../src/rig/samples/text.json");
const STATUS: &str = include_str!("../src/rig/samples/status-delivered.json");

/// Around the contacts and the statuses of [`STATUS`].
const CONTACTS: &str = r#""contacts":["#;
const STATUSES: &str = r#"],"statuses":["#;
const END: &str = r#"]},"field""#;

/// What a status that is read does not have any more.
const PRICING: &str =
    r#""pricing":{"billable":true,"pricing_model":"PMP","category":"utility","type":"regular"},"#;

const DECIDED: usize = 40;

const BATCH_BYTES: usize = 128 << 10;

/// Seconds since 1970.
const NOW: u64 = 1_750_000_000;

const LIMITS: Limits = Limits {
    head: 16 << 10,
    headers: 100,
    body: 4 << 20,
};
