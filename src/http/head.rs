//! A request head to a checked view of it: RFC 9112, 2 to 6, on top of httparse.
//!
//! httparse finds the lines; what it lets pass is closed here: bare LF, more than one empty line ahead,
//! raw UTF-8 and `#` in the target, and everything that needs two fields to be seen as wrong. Framing is
//! decided here, once, from the whole head (RFC 9112, 6.3).

use super::bytes::Bytes;
use super::status::Status;
use super::{Limits, host};
use std::mem::MaybeUninit;

/// Most field lines that any configuration can allow; the slots stand on the stack.
pub const HEADERS_MAX: usize = 128;

/// One field of the head, value as it came.
pub type Header<'b> = httparse::Header<'b>;

/// Room for the fields of one head; nothing is initialised before it is used.
pub struct Slots<'b>([MaybeUninit<Header<'b>>; HEADERS_MAX]);

impl Slots<'_> {
    /// Empty slots.
    pub const fn new() -> Self {
        Slots([const { MaybeUninit::uninit() }; HEADERS_MAX])
    }
}

impl Default for Slots<'_> {
    fn default() -> Self {
        Slots::new()
    }
}

/// A request head that passed every check that needs no configuration.
#[derive(Clone, Copy, Debug)]
pub struct Head<'h, 'b> {
    pub method: Method,
    /// Path of the target, bytes as they came (never percent-decoded).
    pub path: &'b [u8],
    /// What follows the `?`, empty without one.
    pub query: &'b [u8],
    /// All fields in order.
    pub headers: &'h [Header<'b>],
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the connection stays open after the answer.
    pub persistence: Persistence,
    /// The client waits for 100 (Continue) before it sends the body.
    pub expects_continue: bool,
    /// The body has a Content-Encoding other than identity.
    pub is_encoded: bool,
    /// Bytes of the head, the empty line included.
    pub len: usize,
}

/// The methods that endpoints tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET: a handshake.
    Get,
    /// POST: a notification.
    Post,
    /// Any other token.
    Other,
}

/// How the body is delimited (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Neither Content-Length nor Transfer-Encoding: no body.
    None,
    /// Content-Length.
    Length(usize),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// What happens to the connection after the answer (RFC 9112, 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Stays open, as HTTP/1.1 does by itself.
    KeepAlive,
    /// Stays open because an HTTP/1.0 client asked; the answer has to say so.
    KeepAliveHttp10,
    /// Closed after the answer.
    Close,
}

impl<'h, 'b> Head<'h, 'b> {
    /// Parses the head at the front of `bytes`; `None` while it is incomplete.
    pub fn parse(
        bytes: &'b [u8],
        slots: &'h mut Slots<'b>,
        limits: &Limits,
    ) -> Result<Option<Head<'h, 'b>>, Status> {
        // RFC 9112, 2.2: one empty line ahead of the request line is ignored, no more.
        let empty_line = match bytes {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => 2,
            _ => 0,
        };
        let request = bytes.get(empty_line..).unwrap_or_default();
        // Nothing behind the limit is looked at, so that the outcome does not depend on how much has arrived.
        let request = request.get(..limits.head).unwrap_or(request);
        if matches!(request.first(), Some(b'\r' | b'\n')) {
            return Err(Status::BadRequest);
        }
        let mut parsed = httparse::Request::new(&mut []);
        let slots = slots
            .0
            .get_mut(..limits.headers.min(HEADERS_MAX))
            .unwrap_or_default();
        let len = match parsed.parse_with_uninit_headers(request, slots) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if request.len() < limits.head => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(Status::HeadTooLarge);
            }
            Err(httparse::Error::Version) => return other_version(request, limits),
            Err(_) => return Err(Status::BadRequest),
        };
        let lines = request.get(..len).unwrap_or_default();
        if has_bare_line_feed(lines) {
            return Err(Status::BadRequest);
        }
        let version = parsed.version.unwrap_or_default();
        let method = match parsed.method.unwrap_or_default() {
            "POST" => Method::Post,
            "GET" => Method::Get,
            _ => Method::Other,
        };
        let options = parsed.method == Some("OPTIONS");
        let (path, query) = split_target(parsed.path.unwrap_or_default().as_bytes(), options)?;
        let fields = Fields::read(parsed.headers, version)?;
        if let Framing::Length(length) = fields.framing
            && length > limits.body
        {
            return Err(Status::ContentTooLarge);
        }
        Ok(Some(Head {
            method,
            path,
            query,
            headers: parsed.headers,
            framing: fields.framing,
            persistence: fields.persistence,
            expects_continue: fields.expects_continue,
            is_encoded: fields.is_encoded,
            len: empty_line + len,
        }))
    }

    /// The value of a field that may stand once: `None` when it is absent, `Err` when it is repeated.
    pub fn single(&self, name: &str) -> Result<Option<&'b [u8]>, Repeated> {
        let mut found = None;
        for header in self.headers {
            if header.name.len() == name.len() && header.name.eq_ignore_ascii_case(name) {
                if found.is_some() {
                    return Err(Repeated);
                }
                found = Some(trim(header.value));
            }
        }
        Ok(found)
    }
}

/// A field that must stand once stands twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

/// What the fields say together.
struct Fields {
    framing: Framing,
    persistence: Persistence,
    expects_continue: bool,
    is_encoded: bool,
}

impl Fields {
    fn read(headers: &[Header<'_>], version: u8) -> Result<Fields, Status> {
        let (mut length, mut chunked, mut hosts) = (None, false, 0);
        let (mut close, mut keep_alive) = (false, false);
        let (mut expects_continue, mut is_encoded) = (false, false);
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            // By length first: most fields are none of these.
            match header.name.len() {
                4 if is("host") => {
                    hosts += 1;
                    if !host::is_valid(trim(header.value)) {
                        return Err(Status::BadRequest);
                    }
                }
                6 if is("expect") => {
                    if !trim(header.value).eq_ignore_ascii_case(b"100-continue") {
                        return Err(Status::ExpectationFailed);
                    }
                    expects_continue = version == 1; // RFC 9110, 10.1.1: ignored from HTTP/1.0
                }
                10 if is("connection") => {
                    for option in header.value.split(|&c| c == b',').map(trim) {
                        close |= option.eq_ignore_ascii_case(b"close");
                        keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                14 if is("content-length") => {
                    if length.is_some() {
                        return Err(Status::BadRequest);
                    }
                    length = Some(content_length(trim(header.value))?);
                }
                16 if is("content-encoding") => {
                    let value = trim(header.value);
                    is_encoded |= !value.is_empty() && !value.eq_ignore_ascii_case(b"identity");
                }
                17 if is("transfer-encoding") => {
                    // Only chunked, only once, only in HTTP/1.1 (RFC 9112, 6.1).
                    if chunked
                        || version == 0
                        || !trim(header.value).eq_ignore_ascii_case(b"chunked")
                    {
                        return Err(Status::BadRequest);
                    }
                    chunked = true;
                }
                _ => {}
            }
        }
        if hosts > 1 || (hosts == 0 && version == 1) || (chunked && length.is_some()) {
            return Err(Status::BadRequest);
        }
        let framing = match (chunked, length) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::None,
        };
        let persistence = match version {
            _ if close => Persistence::Close,
            0 if keep_alive => Persistence::KeepAliveHttp10,
            0 => Persistence::Close,
            _ => Persistence::KeepAlive,
        };
        Ok(Fields {
            framing,
            persistence,
            expects_continue,
            is_encoded,
        })
    }
}

/// `1*DIGIT` that fits; anything else, lists of equal values included, is refused.
fn content_length(value: &[u8]) -> Result<usize, Status> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Status::BadRequest);
    }
    let digit = |length: usize, &c: &u8| length.checked_mul(10)?.checked_add(usize::from(c - b'0'));
    value
        .iter()
        .try_fold(0, digit)
        .ok_or(Status::ContentTooLarge)
}

/// Path and query of a target in origin-form, absolute-form, or asterisk-form for OPTIONS (RFC 9112, 3.2).
fn split_target(target: &[u8], options: bool) -> Result<(&[u8], &[u8]), Status> {
    let mut rest = target;
    while let [byte, after @ ..] = rest {
        let is_escape = |hex: &[u8; 2]| byte == &b'%' && hex.iter().all(u8::is_ascii_hexdigit);
        if !in_target(*byte) && !after.first_chunk().is_some_and(is_escape) {
            return Err(Status::BadRequest);
        }
        rest = after;
    }
    let target = match target {
        [b'/', ..] => target,
        b"*" if options => target,
        _ => after_authority(target).ok_or(Status::BadRequest)?,
    };
    let question = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(question);
    Ok((
        if path.is_empty() { b"/" } else { path },
        query.strip_prefix(b"?").unwrap_or_default(),
    ))
}

/// True for what stands in a target as it is: not what is not in RFC 3986, or read as another character by somebody.
fn in_target(byte: u8) -> bool {
    const IN_TARGET: Bytes = Bytes::new(b"!$&'()*+,-./:;=?@[]_~");
    IN_TARGET.contains(byte)
}

/// What follows a valid authority in absolute-form; `None` for any other form.
fn after_authority(target: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memchr(b':', target)?;
    let (scheme, rest) = target.split_at_checked(colon)?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return None;
    }
    let rest = rest.strip_prefix(b"://")?;
    let end = rest
        .iter()
        .position(|&c| c == b'/' || c == b'?')
        .unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end)?;
    host::is_valid(authority).then_some(target)
}

#[expect(clippy::needless_bitwise_bool, reason = "without a branch")]
fn has_bare_line_feed(lines: &[u8]) -> bool {
    let behind = lines.get(1..).unwrap_or_default();
    let is_bare = |(before, byte): (&u8, &u8)| (*byte == b'\n') & (*before != b'\r');
    // To the end in any case: so many are compared at once.
    let pairs = lines.iter().zip(behind);
    lines.first() == Some(&b'\n') || pairs.fold(false, |bare, pair| bare | is_bare(pair))
}

/// What a request line deserves that does not end in HTTP/1.0 or HTTP/1.1: 505 where it is well-formed
/// otherwise. Waits for the whole line, so that the outcome does not depend on how it arrives.
fn other_version<T>(request: &[u8], limits: &Limits) -> Result<Option<T>, Status> {
    let Some(end) = memchr::memchr(b'\r', request) else {
        let bounded = request.len() < limits.head && memchr::memchr(b'\n', request).is_none();
        return if bounded {
            Ok(None)
        } else {
            Err(Status::BadRequest)
        };
    };
    let line = request.get(..end).unwrap_or_default();
    let version = line.splitn(3, |&c| c == b' ').nth(2).unwrap_or_default();
    match version {
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Status::VersionNotSupported)
        }
        _ => Err(Status::BadRequest),
    }
}

/// Without the optional white space around a field value (RFC 9110, 5.6.3).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests;
