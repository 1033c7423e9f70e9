//! What a request costs before anybody looks at its endpoint: the head alone, and whole requests however they are cut.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hookline::testing::http::Limits;
use hookline::testing::http::assembler::{Assembler, Next};
use hookline::testing::http::chunked::Decoder;
use hookline::testing::http::head::{Head, Slots};
use std::hint::black_box;
use std::time::Duration;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = heads, requests, chunks
}
criterion_main!(benches);

fn heads(criterion: &mut Criterion) {
    let head = head("Content-Length: 700");
    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Bytes(head.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            let mut slots = Slots::new();
            let parsed = Head::parse(black_box(&head), &mut slots, &LIMITS);
            black_box(parsed).expect("valid").expect("complete").len
        });
    });
    group.finish();
}

fn requests(criterion: &mut Criterion) {
    let one = request(700);
    let mut group = criterion.benchmark_group("assembler");
    for depth in [1, 16] {
        let bytes = one.repeat(depth);
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(BenchmarkId::new("whole", depth), |bencher| {
            let mut assembler = Assembler::default();
            bencher.iter(|| assert_eq!(serve(&mut assembler, black_box(&bytes)), depth));
        });
    }
    // A cut in the head, one between head and body, and a large body as segments of a usual network bring it.
    let head_len = one.len() - 700;
    let large = request(64 << 10);
    let cuts: [(&str, Vec<&[u8]>); 3] = [
        ("cut in its head", vec![&one[..100], &one[100..]]),
        (
            "cut before its body",
            vec![&one[..head_len], &one[head_len..]],
        ),
        ("64 KiB by 1460", large.chunks(1460).collect()),
    ];
    for (name, pieces) in cuts {
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            let mut assembler = Assembler::default();
            bencher.iter(|| {
                let pieces = black_box(&pieces).iter();
                let served: usize = pieces.map(|piece| serve(&mut assembler, piece)).sum();
                assert_eq!(served, 1);
            });
        });
    }
    group.finish();
}

fn chunks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunked");
    for (body_len, chunk_len) in [(4 << 10, 1 << 10), (64 << 10, 8 << 10), (4 << 10, 16)] {
        let bytes = chunked(&vec![b'x'; body_len], chunk_len);
        group.throughput(Throughput::Bytes(body_len as u64));
        let name = format!("{body_len} bytes by {chunk_len}");
        group.bench_function(name, |bencher| {
            let mut body = Vec::new();
            bencher.iter(|| {
                body.clear();
                let mut decoder = Decoder::new(LIMITS.body);
                let (used, done) = decoder.decode(black_box(&bytes), &mut body).expect("valid");
                assert!(done && used == bytes.len() && body.len() == body_len);
            });
        });
    }
    group.finish();
}

/// Takes every request out of one read, as a connection does, and says how many there were.
fn serve(assembler: &mut Assembler, bytes: &[u8]) -> usize {
    let (mut rest, mut served) = (bytes, 0);
    while !rest.is_empty() {
        let mut slots = Slots::new();
        let (used, next) = assembler
            .next(rest, &mut slots, &LIMITS)
            .expect("the request is valid");
        if let Next::Request(head, body) = next {
            black_box((head, body));
            served += 1;
        }
        rest = &rest[used..];
    }
    assembler.release();
    served
}

/// What Meta's sender puts before a body.
fn head(framing: &str) -> Vec<u8> {
    format!(
        "POST /webhook HTTP/1.1\r\n\
         Host: hooks.example.com\r\n\
         User-Agent: facebookexternalua\r\n\
         Accept: */*\r\n\
         Accept-Encoding: deflate, gzip\r\n\
         Content-Type: application/json\r\n\
         X-Hub-Signature: sha1={}\r\n\
         X-Hub-Signature-256: sha256={}\r\n\
         {framing}\r\n\r\n",
        "0123456789".repeat(4),
        "01234567".repeat(8)
    )
    .into_bytes()
}

fn request(body_len: usize) -> Vec<u8> {
    let mut bytes = head(&format!("Content-Length: {body_len}"));
    bytes.resize(bytes.len() + body_len, b'x');
    bytes
}

fn chunked(body: &[u8], chunk_len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.chunks(chunk_len) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

const LIMITS: Limits = Limits {
    head: 16 << 10,
    headers: 100,
    body: 4 << 20,
};
