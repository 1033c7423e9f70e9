//! The answers: rendered once, repeated many times.
//!
//! Nearly every answer is the same `200` with an empty body, so it stands ready as a block of copies: the answers that
//! a connection is owed leave in one send without being put together. The Date field (RFC 9110, 6.6.1) is
//! renewed when the second changes.

use super::head::Persistence;
use super::status::{Refusal, Status};
use httpdate::HttpDate;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

/// Copies of the answer that stand in a row: the deepest pipeline that one send can answer.
const COPIES: usize = 64;

/// The interim answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The rendered answers of one event loop.
pub struct Responses {
    date: String,
    unix_seconds: u64,
    /// The keep-alive 200, [`COPIES`] times.
    ok: Vec<u8>,
    /// Bytes of one of these.
    pub ok_len: usize,
}

impl Responses {
    /// Answers dated `unix_seconds` after 1970.
    pub fn new(unix_seconds: u64) -> Responses {
        let mut responses = Responses {
            date: String::new(),
            unix_seconds,
            ok: Vec::new(),
            ok_len: 0,
        };
        responses.render();
        responses
    }

    /// Renews the date where the second has changed.
    pub fn set_date(&mut self, unix_seconds: u64) {
        if unix_seconds != self.unix_seconds {
            self.unix_seconds = unix_seconds;
            self.render();
        }
    }

    /// Up to `count` keep-alive 200s in a row, and how many these are.
    pub fn ok(&self, count: usize) -> (&[u8], usize) {
        let count = count.min(COPIES);
        (
            self.ok.get(..count * self.ok_len).unwrap_or_default(),
            count,
        )
    }

    /// Appends an answer without content.
    pub fn empty(&self, out: &mut Vec<u8>, status: Status, persistence: Persistence) {
        self.refusal(out, status.into(), persistence);
    }

    /// The same, with what a 401 asks for.
    pub fn refusal(&self, out: &mut Vec<u8>, refusal: Refusal, persistence: Persistence) {
        self.start(out, refusal.status, persistence);
        out.extend_from_slice(refusal.companion_field().as_bytes());
        out.extend_from_slice(b"content-length: 0\r\n\r\n");
    }

    /// Appends the answer to a handshake: exactly the challenge.
    pub fn challenge(&self, out: &mut Vec<u8>, challenge: &[u8], persistence: Persistence) {
        self.start(out, Status::Ok, persistence);
        // nosniff: the challenge is the caller's text and must never be taken for a page.
        let fields = "content-type: text/plain\r\nx-content-type-options: nosniff\r\n";
        // Writing to a vector cannot fail.
        let _ = write!(out, "{fields}content-length: {}\r\n\r\n", challenge.len());
        out.extend_from_slice(challenge);
    }

    fn start(&self, out: &mut Vec<u8>, status: Status, persistence: Persistence) {
        let connection = match persistence {
            Persistence::KeepAlive => "",
            Persistence::KeepAliveHttp10 => "connection: keep-alive\r\n",
            Persistence::Close => "connection: close\r\n",
        };
        // Writing to a vector cannot fail.
        let _ = write!(
            out,
            "HTTP/1.1 {} {}\r\ndate: {}\r\n{connection}",
            status.code(),
            status.reason(),
            self.date
        );
    }

    /// Renders into the memory that is there: the lengths never change.
    fn render(&mut self) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.unix_seconds);
        self.date.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.date, "{}", HttpDate::from(time));
        let mut ok = std::mem::take(&mut self.ok);
        ok.clear();
        self.empty(&mut ok, Status::Ok, Persistence::KeepAlive);
        self.ok_len = ok.len();
        for _ in 1..COPIES {
            ok.extend_from_within(..self.ok_len);
        }
        self.ok = ok;
    }
}

#[cfg(test)]
mod tests {
    use super::{COPIES, Persistence, Responses, Status};

    #[test]
    fn the_date_follows_the_clock() {
        let mut responses = Responses::new(784_111_777);
        let one =
            b"HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(responses.ok(2), (one.repeat(2).as_slice(), 2));
        assert_eq!(responses.ok(1000).1, COPIES);
        responses.set_date(784_111_778);
        assert!(
            responses
                .ok(1)
                .0
                .windows(8)
                .any(|window| window == b"08:49:38")
        );
    }

    #[test]
    fn refusals_bring_the_fields_that_belong_to_them() {
        let responses = Responses::new(0);
        let render = |status, persistence| {
            let mut out = Vec::new();
            responses.empty(&mut out, status, persistence);
            String::from_utf8(out).expect("answers are ASCII")
        };
        assert!(
            render(Status::MethodNotAllowed, Persistence::KeepAlive)
                .contains("\r\nallow: GET, POST\r\n")
        );
        let overloaded = render(Status::ServiceUnavailable, Persistence::Close);
        assert!(
            overloaded.contains("\r\nconnection: close\r\n")
                && overloaded.contains("\r\nretry-after: ")
        );
        let mut out = Vec::new();
        responses.challenge(&mut out, b"1158201444", Persistence::KeepAlive);
        assert!(out.ends_with(b"\r\ncontent-length: 10\r\n\r\n1158201444"));
    }
}
