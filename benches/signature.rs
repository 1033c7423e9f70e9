//! What the proof of a post costs: the endpoint's whole decision about a body with `X-Hub-Signature-256`.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_utils::CachePadded;
use hookline::testing::endpoint::handshake::VerifyTokens;
use hookline::testing::endpoint::signature::Signature;
use hookline::testing::endpoint::{Ack, Counters, Endpoint, Proof};
use hookline::testing::http::Limits;
use hookline::testing::http::head::{Head, Slots};
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = verify
}
criterion_main!(benches);

fn verify(criterion: &mut Criterion) {
    let current = b"the secret of the app".to_vec();
    // During a rotation the old secret stands first and is tried in vain.
    let cases = [
        ("one secret", vec![current.clone()]),
        (
            "second of two",
            vec![b"the old secret".to_vec(), current.clone()],
        ),
    ];
    for (name, secrets) in cases {
        let mut group = criterion.benchmark_group(format!("X-Hub-Signature-256, {name}"));
        let endpoint = endpoint(&secrets);
        for len in [700, 4 << 10] {
            let body = vec![b'x'; len];
            let bytes = head(&current, &body);
            let mut slots = Slots::new();
            let head = Head::parse(&bytes, &mut slots, &LIMITS)
                .expect("valid")
                .expect("complete");
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
                bencher.iter(|| {
                    endpoint
                        .admit(black_box(&head))
                        .expect("the header is there");
                    let counters = &endpoint.counters[0];
                    endpoint
                        .decide(black_box(&head), black_box(&body), NOW, counters)
                        .expect("the signature is right")
                });
            });
        }
        group.finish();
    }
}

fn endpoint(secrets: &[Vec<u8>]) -> Endpoint {
    Endpoint {
        name: "webhook".to_owned(),
        path: "/webhook".to_owned(),
        number: 1,
        ack: Ack::Stored,
        foreign: false,
        form: 0,
        verify_tokens: VerifyTokens::default(),
        proof: Proof::Signature(Signature::meta(secrets)),
        keep_headers: Vec::new(),
        counters: [CachePadded::new(Counters::default())].into(),
    }
}

fn head(secret: &[u8], body: &[u8]) -> Vec<u8> {
    let tag = sign(&Key::new(HMAC_SHA256, secret), body);
    let mut digits = String::new();
    for byte in tag.as_ref() {
        write!(digits, "{byte:02x}").expect("a string takes everything");
    }
    format!(
        "POST /webhook HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Type: application/json\r\n\
         X-Hub-Signature-256: sha256={digits}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes()
}

const LIMITS: Limits = Limits {
    head: 16 << 10,
    headers: 100,
    body: 4 << 20,
};

/// Seconds since 1970; Meta's signature does not depend on it.
const NOW: u64 = 1_750_000_000;
