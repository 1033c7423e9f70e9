use super::{Assembler, Next};
use crate::http::head::Slots;
use crate::http::{Limits, Status};
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    head: 512,
    headers: 16,
    body: 300,
};

/// What a connection made of its bytes: path and body of each request, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    requests: Vec<(Vec<u8>, Vec<u8>)>,
    refused: Option<Status>,
    incomplete: bool,
}

fn receive(bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut assembler = Assembler::default();
    let mut outcome = Outcome {
        requests: Vec::new(),
        refused: None,
        incomplete: false,
    };
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut at = 0;
    for end in ends {
        let mut heads = 0;
        while at < end {
            let mut slots = Slots::new();
            match assembler.next(&bytes[at..end], &mut slots, &LIMITS) {
                Ok((consumed, Next::Request(head, body))) => {
                    outcome.requests.push((head.path.to_vec(), body.to_vec()));
                    at += consumed;
                }
                Ok((consumed, next)) => {
                    heads += usize::from(matches!(next, Next::Head(_)));
                    assert_eq!(at + consumed, end, "an incomplete request takes everything");
                    at = end;
                }
                Err(status) => {
                    outcome.refused = Some(status);
                    return outcome;
                }
            }
        }
        assert!(heads <= 1, "a head is announced once");
    }
    outcome.incomplete = !assembler.is_between_requests();
    assembler.release();
    assert_eq!(assembler.held() == 0, !outcome.incomplete);
    outcome
}

fn pipeline() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    bytes.extend_from_slice(b"\r\nGET /b?x HTTP/1.1\r\nHost: h\r\n\r\n");
    bytes.extend_from_slice(
        b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\none\r\n2\r\n\r\n\r\n0\r\nT: v\r\n\r\n",
    );
    bytes.extend_from_slice(b"POST /d HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
    bytes
}

#[test]
fn every_single_cut_gives_the_same() {
    let bytes = pipeline();
    let whole = receive(&bytes, &[]);
    let expected: [(&[u8], &[u8]); 4] = [
        (b"/a", b"hello"),
        (b"/b", b""),
        (b"/c", b"one\r\n"),
        (b"/d", b""),
    ];
    let requests: Vec<_> = whole
        .requests
        .iter()
        .map(|(p, b)| (p.as_slice(), b.as_slice()))
        .collect();
    assert_eq!(requests, expected);
    assert!(!whole.incomplete);
    for cut in 0..bytes.len() {
        assert_eq!(receive(&bytes, &[cut]), whole, "cut at {cut}");
    }
    let all: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(receive(&bytes, &all), whole, "cut everywhere");
}

#[test]
fn bounds_hold_for_every_cut() {
    let long_head = [
        b"POST /a HTTP/1.1\r\nHost: h\r\nX: ".as_slice(),
        &[b'x'; 600],
    ]
    .concat();
    let many = format!(
        "POST /a HTTP/1.1\r\nHost: h\r\n{}\r\n",
        "X: y\r\n".repeat(16)
    );
    let long_body = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 301\r\n\r\n";
    for (bytes, status) in [
        (&long_head[..], Status::HeadTooLarge),
        (many.as_bytes(), Status::HeadTooLarge),
        (&long_body[..], Status::ContentTooLarge),
    ] {
        for cut in 0..bytes.len() {
            assert_eq!(receive(bytes, &[cut]).refused, Some(status), "cut at {cut}");
        }
    }
}

/// The empty line that is ignored ahead of a request line is no part of its head, neither when the head is
/// measured nor when it is gathered.
#[test]
fn an_empty_line_ahead_takes_nothing_from_the_head() {
    for len in LIMITS.head - 3..LIMITS.head + 4 {
        let start = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nX: ";
        let filling = "x".repeat(len - start.len() - 4);
        for empty_line in ["", "\r\n"] {
            let bytes = format!("{empty_line}{start}{filling}\r\n\r\n!");
            let whole = receive(bytes.as_bytes(), &[]);
            let refused = (len > LIMITS.head).then_some(Status::HeadTooLarge);
            assert_eq!(whole.refused, refused, "{len} bytes");
            for cut in 0..bytes.len() {
                assert_eq!(
                    receive(bytes.as_bytes(), &[cut]),
                    whole,
                    "{len} bytes, cut at {cut}"
                );
            }
        }
    }
}

/// A head that was too large and had a fault behind the limit got 400 when it came in one piece, for it was parsed to
/// the fault, and 431 when it came in several, for it was only gathered to the limit. Seen so in a log, one client has
/// two mistakes.
#[test]
fn a_fault_behind_the_limit_does_not_change_the_outcome() {
    for fault in ["\n\n", "\0", " : \r\n", "GET / HTTP/3.0\r\n\r\n"] {
        let padding = "x".repeat(LIMITS.head);
        let bytes = format!("POST /a HTTP/1.1\r\nHost: h\r\nX: {padding}\r\n{fault}");
        let whole = receive(bytes.as_bytes(), &[]);
        assert_eq!(whole.refused, Some(Status::HeadTooLarge), "{fault:?}");
        for cut in [1, 30, LIMITS.head - 1, LIMITS.head, LIMITS.head + 1] {
            assert_eq!(receive(bytes.as_bytes(), &[cut]), whole, "{fault:?}");
        }
    }
}

#[test]
fn an_announced_body_reserves_nothing() {
    let limits = Limits {
        body: 4 << 20,
        ..LIMITS
    };
    let mut assembler = Assembler::default();
    let head = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4194304\r\n\r\n";
    let mut slots = Slots::new();
    assert!(matches!(
        assembler.next(head, &mut slots, &limits),
        Ok((_, Next::Head(_)))
    ));
    assert!(assembler.awaits_body());
    assert!(assembler.gathered.capacity() < 1024);
}

#[test]
fn what_was_put_back_comes_again() {
    let mut assembler = Assembler::default();
    assembler.put_back(b"POST");
    assert_eq!(assembler.held(), 4);
    assert_eq!(assembler.take_back(), b"POST");
    assert!(assembler.is_between_requests());
}

/// The end of a head is damaged, and what is held of it has no other: refused at once when it comes as a whole, and
/// with the next end when it comes in pieces.
#[test]
fn a_damaged_end_is_refused_at_the_next_one() {
    let mut bytes = pipeline();
    *bytes.last_mut().unwrap() = 0x0b;
    bytes.extend_from_slice(b"\r\n\r\n");
    let whole = receive(&bytes, &[]);
    assert_eq!(whole.refused, Some(Status::BadRequest));
    for cut in 0..bytes.len() {
        let pieces = receive(&bytes, &[cut]);
        assert_eq!(pieces.refused, whole.refused, "{cut}");
        assert_eq!(pieces.requests, whole.requests, "{cut}");
    }
}

proptest! {
    #[test]
    fn random_cuts_give_the_same(cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        let bytes = pipeline();
        prop_assert_eq!(receive(&bytes, &cuts), receive(&bytes, &[]));
    }

    /// Mutated pipelines: whatever the outcome is, cuts do not change it.
    #[test]
    fn damaged_requests_get_one_outcome(
        cuts in prop::collection::vec(any::<usize>(), 0..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = pipeline();
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        // A head that comes in pieces is looked at when it has an end, so it gets one.
        bytes.extend_from_slice(b"\r\n\r\n");
        let whole = receive(&bytes, &[]);
        let cut = receive(&bytes, &cuts);
        prop_assert_eq!(&cut.requests, &whole.requests);
        prop_assert_eq!(cut.refused, whole.refused);
    }
}
