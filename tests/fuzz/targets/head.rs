//! Request heads: any bytes, and all that RFC 9112 and 9110 say about them.
//!
//! What must hold:
//!
//! - No bytes panic.
//! - A head is accepted if and only if the reference below accepts it, and both read the same target, fields, framing
//!   and persistence. The reference is slow and knows nothing of httparse: it splits at CRLF and compares bytes.
//! - The outcome on a complete head, and each refusal, stays whatever is appended.
//! - An accepted head is accepted again without the empty line ahead of it, and with stricter limits that it keeps.

#![no_main]

use hookline::testing::http::Limits;
use hookline::testing::http::head::{Framing, HEADERS_MAX, Head, Method, Persistence, Slots};
use hookline_fuzz::host;
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    head: 2048,
    headers: 24,
    body: 4096,
};

fuzz_target!(|bytes: &[u8]| check(bytes));

fn check(bytes: &[u8]) {
    let mut slots = Slots::new();
    let outcome = Head::parse(bytes, &mut slots, &LIMITS);
    let expected = complete_head(bytes).and_then(reference);
    let head = match outcome {
        Ok(Some(head)) => head,
        Ok(None) => {
            assert!(bytes.len() < LIMITS.head + 2, "bounded");
            assert_eq!(expected, None, "a valid head is complete");
            return;
        }
        Err(status) => {
            if let Some(expected) = expected {
                let over = expected.len - expected.empty_line > LIMITS.head
                    || expected.fields.len() > LIMITS.headers
                    || matches!(expected.framing, Some(Framing::Length(length)) if length > LIMITS.body)
                    || expected.framing.is_none()
                    || expected.expectation_unknown;
                assert!(over, "{status:?} for a valid head");
            }
            let longer = [bytes, b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"].concat();
            let mut slots = Slots::new();
            let again = Head::parse(&longer, &mut slots, &LIMITS);
            assert!(again.is_err(), "{status:?} is taken back");
            return;
        }
    };
    let expected = expected.expect("the reference accepts what is accepted");
    assert!(!expected.expectation_unknown);
    assert_eq!(head.len, expected.len);
    assert!(head.len - expected.empty_line <= LIMITS.head && head.headers.len() <= LIMITS.headers);
    assert_eq!((head.path, head.query), (expected.path, expected.query));
    assert_eq!(Some(head.framing), expected.framing);
    assert_eq!(head.persistence, expected.persistence);
    assert_eq!(head.expects_continue, expected.expects_continue);
    assert_eq!(head.is_encoded, expected.is_encoded);
    let method = match expected.method {
        b"GET" => Method::Get,
        b"POST" => Method::Post,
        _ => Method::Other,
    };
    assert_eq!(head.method, method);
    let fields = head
        .headers
        .iter()
        .map(|it| (it.name.as_bytes(), trim(it.value)));
    assert!(
        fields.eq(expected.fields.iter().copied()),
        "the fields differ"
    );

    // Alone, and without the empty line ahead: the same.
    let alone = &bytes[expected.empty_line..head.len];
    let mut slots = Slots::new();
    let tight = Limits {
        head: alone.len(),
        headers: head.headers.len().min(HEADERS_MAX),
        body: LIMITS.body,
    };
    let again = Head::parse(alone, &mut slots, &tight);
    let again = again.expect("valid").expect("complete");
    assert_eq!(again.len, alone.len());
    assert_eq!((again.path, again.query), (head.path, head.query));
    assert_eq!(again.framing, head.framing);
    let mut slots = Slots::new();
    let cut = &alone[..alone.len() - 1];
    assert!(matches!(Head::parse(cut, &mut slots, &LIMITS), Ok(None)));
}

/// What the reference reads. Neither limits nor Expect are its business.
#[derive(Debug, PartialEq)]
struct Expected<'b> {
    len: usize,
    empty_line: usize,
    method: &'b [u8],
    path: &'b [u8],
    query: &'b [u8],
    fields: Vec<(&'b [u8], &'b [u8])>,
    /// `None` for a Content-Length that no machine type holds.
    framing: Option<Framing>,
    persistence: Persistence,
    expects_continue: bool,
    expectation_unknown: bool,
    is_encoded: bool,
}

/// Everything up to the first empty line that is not the first line.
fn complete_head(bytes: &[u8]) -> Option<&[u8]> {
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let end = bytes[start..].windows(4).position(|it| it == b"\r\n\r\n")?;
    Some(&bytes[..start + end + 4])
}

/// Reads a head that ends in an empty line; `None` if it is not valid, or could be read in two ways.
fn reference(bytes: &[u8]) -> Option<Expected<'_>> {
    let empty_line = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let lines = lines(&bytes[empty_line..bytes.len() - 4])?;
    let (request_line, field_lines) = lines.split_first()?;
    let parts: Vec<&[u8]> = request_line.split(|&byte| byte == b' ').collect();
    let [method, target, version] = parts[..] else {
        return None;
    };
    let http11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return None,
    };
    if !is_token(method) {
        return None;
    }
    let (path, query) = split_target(target, method)?;
    let mut fields = Vec::new();
    for line in field_lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let is_text = |&byte: &u8| byte == b'\t' || (byte >= b' ' && byte != 127);
        if !is_token(name) || !value.iter().all(is_text) {
            return None;
        }
        fields.push((name, trim(value)));
    }
    let all = |wanted: &str| -> Vec<&[u8]> {
        let named = fields
            .iter()
            .filter(|(name, _)| lower(name) == wanted.as_bytes());
        named.map(|(_, value)| *value).collect()
    };
    let hosts = all("host");
    if hosts.len() > 1 || (http11 && hosts.is_empty()) || !hosts.iter().all(|it| host::is_valid(it))
    {
        return None;
    }
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    let framing = match (&lengths[..], &codings[..]) {
        ([], []) => Some(Framing::None),
        ([digits], []) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            let digits = std::str::from_utf8(digits).ok()?;
            digits.parse().ok().map(Framing::Length)
        }
        ([], [coding]) if http11 && lower(coding) == b"chunked" => Some(Framing::Chunked),
        _ => return None,
    };
    let options: Vec<Vec<u8>> = all("connection")
        .iter()
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(|option| lower(trim(option)))
        .collect();
    let persistence = if options.iter().any(|option| option == b"close") {
        Persistence::Close
    } else if http11 {
        Persistence::KeepAlive
    } else if options.iter().any(|option| option == b"keep-alive") {
        Persistence::KeepAliveHttp10
    } else {
        Persistence::Close
    };
    let expectations = all("expect");
    let encodings = all("content-encoding");
    Some(Expected {
        len: bytes.len(),
        empty_line,
        method,
        path,
        query,
        framing,
        persistence,
        expects_continue: http11 && !expectations.is_empty(),
        expectation_unknown: expectations.iter().any(|it| lower(it) != b"100-continue"),
        is_encoded: encodings
            .iter()
            .any(|it| !matches!(&lower(it)[..], b"" | b"identity")),
        fields,
    })
}

/// Splits at CRLF; `None` if a CR or LF stands anywhere else.
fn lines(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.windows(2).position(|it| it == b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    let whole = |line: &&[u8]| !line.contains(&b'\r') && !line.contains(&b'\n');
    lines.iter().all(whole).then_some(lines)
}

/// RFC 9112, 3.2, without authority-form, which is for CONNECT alone.
fn split_target<'b>(target: &'b [u8], method: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let text = std::str::from_utf8(target).ok()?;
    let of_uri = |c: char| c.is_ascii_alphanumeric() || "-._~:/?@!$&'()*+,;=[]%".contains(c);
    if !text.chars().all(of_uri) {
        return None;
    }
    for (at, _) in text.match_indices('%') {
        let digits = text.get(at + 1..at + 3)?;
        u8::from_str_radix(digits, 16)
            .ok()
            .filter(|_| !digits.starts_with('+'))?;
    }
    let local = if text.starts_with('/') || (text == "*" && method == b"OPTIONS") {
        text
    } else {
        let (scheme, rest) = text.split_once("://")?;
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        host::is_valid(&rest.as_bytes()[..end]).then(|| &rest[end..])?
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    let path = if path.is_empty() { "/" } else { path };
    Some((path.as_bytes(), query.as_bytes()))
}

fn is_token(name: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_token)
}

fn lower(bytes: &[u8]) -> Vec<u8> {
    bytes.to_ascii_lowercase()
}

/// Without spaces and tabs at either end.
fn trim(value: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| *byte != b' ' && *byte != b'\t';
    let Some(start) = value.iter().position(is_text) else {
        return &[];
    };
    let end = value.iter().rposition(is_text).map_or(start, |at| at + 1);
    &value[start..end]
}
