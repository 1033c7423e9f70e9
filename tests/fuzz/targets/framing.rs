//! Whole requests out of a stream of bytes: head, Content-Length and chunked, however the stream is cut.
//!
//! The last bytes of an input say where it is cut, those before them are what a connection receives.
//!
//! What must hold:
//!
//! - The assembler gives the same requests, bodies, refusal and leftovers whether it gets the stream as a whole, cut
//!   at the places of the input, or byte by byte. Only when it looks differs: a head that comes in pieces is looked
//!   at again with each line, so a refusal may wait for the end of a line, and is then the same.
//! - What it says about what it holds is true: an incomplete request takes everything, a head is announced once and
//!   is the one of the request that follows, and nothing is held between requests.
//! - It holds no more than the limits say.
//! - The chunked decoder completes a body if and only if the reference below does, with the same bytes and the same
//!   end; what it takes for too large the reference takes for too large.

#![no_main]

use hookline::testing::http::assembler::{Assembler, Next};
use hookline::testing::http::chunked::Decoder;
use hookline::testing::http::head::{Framing, Slots};
use hookline::testing::http::{Limits, Status};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    head: 512,
    headers: 16,
    body: 600,
};

fuzz_target!(|input: &[u8]| {
    let (stream, cuts) = split(input);
    assembled(stream, &cuts);
    chunked(stream, &cuts);
});

/// The stream, and where it is cut: up to sixteen places, two bytes each, and their number behind them.
fn split(input: &[u8]) -> (&[u8], Vec<usize>) {
    let Some((count, rest)) = input.split_last() else {
        return (input, Vec::new());
    };
    let count = usize::from(count % 17).min(rest.len() / 2);
    let (stream, places) = rest.split_at(rest.len() - 2 * count);
    let place = |pair: &[u8]| usize::from(u16::from_le_bytes([pair[0], pair[1]]));
    let mut cuts: Vec<usize> = places
        .chunks(2)
        .map(|pair| place(pair) % (stream.len() + 1))
        .collect();
    cuts.push(stream.len());
    cuts.sort_unstable();
    (stream, cuts)
}

/// What a connection makes of its bytes.
#[derive(Debug, Default)]
struct Outcome {
    requests: Vec<Request>,
    refused: Option<Status>,
    /// How an incomplete head is refused when its line ends.
    at_line_end: Option<Status>,
    /// Bytes behind the last whole request, unless it was refused.
    left: usize,
    /// Of those, what was announced as the head of a request.
    announced: Option<Announced>,
}

#[derive(Debug, PartialEq)]
struct Request {
    head: Announced,
    body: Vec<u8>,
    /// Where it ends in the stream.
    end: usize,
}

/// A head, by what a connection acts on.
#[derive(Clone, Debug, PartialEq)]
struct Announced {
    path: Vec<u8>,
    query: Vec<u8>,
    fields: usize,
    framing: Framing,
    len: usize,
}

fn assembled(stream: &[u8], cuts: &[usize]) {
    let whole = receive(stream, &[stream.len()]);
    let cut = receive(stream, cuts);
    same(&whole, &cut, "cut at the places of the input");
    if stream.len() <= SINGLE_BYTES_MAX {
        let all: Vec<usize> = (1..=stream.len()).collect();
        same(&whole, &receive(stream, &all), "byte by byte");
    }
}

/// Compares what became of two ways to cut a stream.
fn same(a: &Outcome, b: &Outcome, how: &str) {
    assert_eq!(a.requests, b.requests, "{how}");
    assert_eq!(
        a.refused.or(a.at_line_end),
        b.refused.or(b.at_line_end),
        "{how}"
    );
    if a.refused == b.refused {
        assert_eq!((a.left, &a.announced), (b.left, &b.announced), "{how}");
    }
}

fn receive(stream: &[u8], ends: &[usize]) -> Outcome {
    let mut assembler = Assembler::default();
    let mut outcome = Outcome::default();
    let (mut at, mut last_end) = (0, 0);
    for &end in ends {
        while at < end {
            let was_between = assembler.is_between_requests();
            let mut slots = Slots::new();
            match assembler.next(&stream[at..end], &mut slots, &LIMITS) {
                Ok((consumed, next)) => {
                    assert!(consumed > 0 && consumed <= end - at);
                    at += consumed;
                    match next {
                        Next::Request(head, body) => {
                            let head = announced(&head);
                            if let Some(earlier) = outcome.announced.take() {
                                assert!(
                                    !was_between && earlier == head,
                                    "another head than announced"
                                );
                            }
                            match head.framing {
                                Framing::None => assert!(body.is_empty()),
                                Framing::Length(length) => assert_eq!(body.len(), length),
                                Framing::Chunked => assert!(body.len() <= LIMITS.body),
                            }
                            let body = body.to_vec();
                            outcome.requests.push(Request {
                                head,
                                body,
                                end: at,
                            });
                            last_end = at;
                            assert!(assembler.is_between_requests() && !assembler.awaits_body());
                            assert_eq!(assembler.held(), 0);
                        }
                        Next::Head(head) => {
                            let head = announced(&head);
                            assert_eq!(outcome.announced, None, "a head is announced once");
                            assert_ne!(head.framing, Framing::None);
                            outcome.announced = Some(head);
                            assert_eq!(at, end, "an incomplete request takes everything");
                            assert!(assembler.awaits_body());
                        }
                        Next::Incomplete => {
                            assert_eq!(at, end, "an incomplete request takes everything");
                            assert_eq!(assembler.awaits_body(), outcome.announced.is_some());
                        }
                    }
                    assert!(assembler.held() <= LIMITS.head + 3 + LIMITS.body);
                }
                Err(status) => {
                    outcome.refused = Some(status);
                    // Where the head of a refused request ended says how it was cut.
                    outcome.announced = None;
                    return outcome;
                }
            }
        }
    }
    outcome.left = stream.len() - last_end;
    assert_eq!(assembler.is_between_requests(), outcome.left == 0);
    assembler.release();
    assert_eq!(assembler.held() == 0, outcome.left == 0);
    if outcome.left > 0 && !assembler.awaits_body() {
        let mut slots = Slots::new();
        outcome.at_line_end = assembler.next(b"\n", &mut slots, &LIMITS).err();
    }
    outcome
}

fn announced(head: &hookline::testing::http::head::Head<'_, '_>) -> Announced {
    Announced {
        path: head.path.to_vec(),
        query: head.query.to_vec(),
        fields: head.headers.len(),
        framing: head.framing,
        len: head.len,
    }
}

fn chunked(stream: &[u8], cuts: &[usize]) {
    let outcome = decode(stream, &[stream.len()]);
    assert_eq!(outcome, decode(stream, cuts), "cut at {cuts:?}");
    match reference(stream) {
        Some(Ok((body, end))) => assert_eq!(outcome, Ok(Some((body, end)))),
        Some(Err(TooLarge)) => assert_eq!(outcome, Err(Status::ContentTooLarge)),
        None => assert!(
            matches!(outcome, Ok(None) | Err(Status::BadRequest)),
            "{outcome:?}"
        ),
    }
}

/// The body and where it ends; `None` while it is incomplete.
fn decode(stream: &[u8], ends: &[usize]) -> Result<Option<(Vec<u8>, usize)>, Status> {
    let mut decoder = Decoder::new(LIMITS.body);
    let (mut body, mut at) = (Vec::new(), 0);
    for &end in ends {
        let (consumed, done) = decoder.decode(&stream[at..end], &mut body)?;
        at += consumed;
        assert!(body.len() <= LIMITS.body);
        if done {
            return Ok(Some((body, at)));
        }
        assert_eq!(at, end, "everything is taken until the body is complete");
    }
    Ok(None)
}

/// A chunk would make the body larger than the limit.
struct TooLarge;

/// RFC 9112, 7.1, line by line, with the same limits. `None` for what is incomplete or wrong.
fn reference(stream: &[u8]) -> Option<Result<(Vec<u8>, usize), TooLarge>> {
    let mut body = Vec::new();
    let mut at = 0;
    let mut overhead = 0;
    loop {
        let digits = stream[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        if digits == 0 || digits > 16 {
            return None;
        }
        let size = std::str::from_utf8(&stream[at..at + digits]).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("sixteen digits fit");
        at += digits;
        // The size counts as soon as it is known to have ended, whatever follows in its line.
        if !matches!(stream.get(at), Some(b';' | b'\r')) {
            return None;
        }
        if size > LIMITS.body - body.len() {
            return Some(Err(TooLarge));
        }
        let extensions = extensions(&stream[at..])?;
        at += extensions;
        overhead += extensions;
        at += line_end(stream, at)?;
        if size == 0 {
            break;
        }
        let data = stream.get(at..at + size)?;
        body.extend_from_slice(data);
        at += size;
        at += line_end(stream, at)?;
    }
    loop {
        if let Some(end) = line_end(stream, at) {
            assert!(
                overhead < OVERHEAD_MIN,
                "the inputs are shorter than the limit of the decoder"
            );
            return Some(Ok((body, at + end)));
        }
        let end = stream[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let line = &stream[at..at + end];
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = line[..colon].to_ascii_lowercase();
        let forbidden: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
        let valid = colon > 0
            && name.iter().all(is_token)
            && line[colon + 1..].iter().all(is_text)
            && !forbidden.contains(&&name[..]);
        if !valid {
            return None;
        }
        overhead += line.len();
        at += end + 2;
    }
}

/// Bytes of `*( ";" token [ "=" ( token / quoted-string ) ] )` at the front, to the CR behind it.
fn extensions(line: &[u8]) -> Option<usize> {
    let token = |at: usize| line[at..].iter().take_while(|byte| is_token(byte)).count();
    let mut at = 0;
    while line.get(at) == Some(&b';') {
        at += 1;
        let name = token(at);
        if name == 0 {
            return None;
        }
        at += name;
        if line.get(at) != Some(&b'=') {
            continue;
        }
        at += 1;
        if line.get(at) == Some(&b'"') {
            at += 1;
            loop {
                match line.get(at)? {
                    b'"' => break,
                    b'\\' if is_text(line.get(at + 1)?) => at += 2,
                    byte if is_text(byte) && *byte != b'\\' => at += 1,
                    _ => return None,
                }
            }
            at += 1;
        } else {
            let value = token(at);
            if value == 0 {
                return None;
            }
            at += value;
        }
    }
    (line.get(at) == Some(&b'\r')).then_some(at)
}

fn line_end(stream: &[u8], at: usize) -> Option<usize> {
    stream.get(at..)?.starts_with(b"\r\n").then_some(2)
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

fn is_text(byte: &u8) -> bool {
    *byte == b'\t' || (*byte >= b' ' && *byte != 127)
}

/// Longest stream that is also received byte by byte.
const SINGLE_BYTES_MAX: usize = 160;
/// What the decoder reads for nothing at least; inputs are to be shorter (`-max_len`).
const OVERHEAD_MIN: usize = 16 << 10;
