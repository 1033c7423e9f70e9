//! The chunked transfer coding (RFC 9112, 7.1), decoded without leniency.
//!
//! Lines end in CRLF and nothing else; a size is 1 to 16 hex digits; extensions and trailers follow the
//! grammar to the letter and are then ignored. A lenient reading of any of these is how requests have been
//! smuggled past other servers (CVE-2025-22871, CVE-2025-55315, CVE-2026-2332).

use super::status::Status;

/// Most bytes of extensions and trailers over a whole body: they are read for nothing, so a sender must not be able
/// to make that long.
const OVERHEAD_MAX: usize = 16 << 10;

/// A 64-bit size has no more.
const SIZE_DIGITS_MAX: u8 = 16;

/// Longest name among the fields that no trailer may hold.
const FORBIDDEN_LEN_MAX: usize = 17;

/// Decodes one body, however it is cut.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of the current chunk still to come; while the size line is read, its value.
    remaining: usize,
    digits: u8,
    overhead: usize,
    decoded: usize,
    body_max: usize,
    /// Name of the current trailer in lower case, as far as it could be a forbidden one.
    trailer: [u8; FORBIDDEN_LEN_MAX],
    trailer_len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    ExtensionName { first: bool },
    ExtensionValue { first: bool },
    Quoted,
    QuotedPair,
    QuotedEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

impl Decoder {
    /// A decoder for a body of at most `body_max` bytes; 413 beyond.
    pub fn new(body_max: usize) -> Decoder {
        Decoder {
            state: State::Size,
            remaining: 0,
            digits: 0,
            overhead: 0,
            decoded: 0,
            body_max,
            trailer: [0; FORBIDDEN_LEN_MAX],
            trailer_len: 0,
        }
    }

    /// Decodes from the front of `input` and appends the body's bytes to `body`. Gives the bytes of input
    /// that were used, all of them until the last CRLF was seen, and whether it was.
    pub fn decode(&mut self, input: &[u8], body: &mut Vec<u8>) -> Result<(usize, bool), Status> {
        let mut rest = input;
        while let [byte, after @ ..] = rest {
            match self.state {
                State::Done => break,
                State::Data => {
                    let (data, after) = rest.split_at(self.remaining.min(rest.len()));
                    body.extend_from_slice(data);
                    rest = after;
                    self.remaining -= data.len();
                    if self.remaining == 0 {
                        self.state = State::DataCr;
                    }
                }
                _ => {
                    self.state = self.step(*byte)?;
                    rest = after;
                }
            }
        }
        Ok((input.len() - rest.len(), self.state == State::Done))
    }

    /// The state after one byte outside of chunk data.
    fn step(&mut self, byte: u8) -> Result<State, Status> {
        use State::{
            Data, DataCr, DataLf, Done, EndLf, ExtensionName, ExtensionValue, Quoted, QuotedEnd,
            QuotedPair, Size, SizeLf, TrailerLf, TrailerName, TrailerStart, TrailerValue,
        };
        if !matches!(
            self.state,
            Size | SizeLf | DataCr | DataLf | TrailerLf | EndLf
        ) {
            self.overhead += 1;
            if self.overhead > OVERHEAD_MAX {
                return Err(Status::BadRequest);
            }
        }
        Ok(match (self.state, byte) {
            (Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.size_digit(byte)?,
            (Size, b';') if self.digits > 0 => self.size_ends(ExtensionName { first: true })?,
            (Size, b'\r') if self.digits > 0 => self.size_ends(SizeLf)?,
            (ExtensionName { .. }, byte) if is_token(byte) => ExtensionName { first: false },
            (ExtensionName { first: false }, b'=') => ExtensionValue { first: true },
            (
                ExtensionName { first: false } | ExtensionValue { first: false } | QuotedEnd,
                b';',
            ) => ExtensionName { first: true },
            (
                ExtensionName { first: false } | ExtensionValue { first: false } | QuotedEnd,
                b'\r',
            ) => SizeLf,
            (ExtensionValue { first: true }, b'"') => Quoted,
            (ExtensionValue { .. }, byte) if is_token(byte) => ExtensionValue { first: false },
            (Quoted, b'"') => QuotedEnd,
            (Quoted, b'\\') => QuotedPair,
            (Quoted | QuotedPair, byte) if is_text(byte) => Quoted,
            (SizeLf, b'\n') if self.remaining == 0 => TrailerStart,
            (SizeLf, b'\n') => Data,
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => {
                self.digits = 0;
                Size
            }
            (TrailerStart, b'\r') => EndLf,
            (TrailerStart, byte) if is_token(byte) => {
                self.trailer_len = 0;
                self.trailer_byte(byte)
            }
            (TrailerName, b':') => self.trailer_named()?,
            (TrailerName, byte) if is_token(byte) => self.trailer_byte(byte),
            (TrailerValue, b'\r') => TrailerLf,
            (TrailerValue, byte) if is_text(byte) => TrailerValue,
            (TrailerLf, b'\n') => TrailerStart,
            (EndLf, b'\n') => Done,
            _ => return Err(Status::BadRequest),
        })
    }

    fn size_digit(&mut self, byte: u8) -> Result<State, Status> {
        if self.digits == 0 {
            self.remaining = 0;
        }
        self.digits += 1;
        let digit = char::from(byte)
            .to_digit(16)
            .map_or(0, |digit| digit as usize);
        if self.digits > SIZE_DIGITS_MAX {
            return Err(Status::BadRequest);
        }
        // Sixteen digits fill 64 bits exactly, so this cannot overflow where usize has as many.
        self.remaining = self
            .remaining
            .checked_mul(16)
            .ok_or(Status::ContentTooLarge)?
            + digit;
        Ok(State::Size)
    }

    fn size_ends(&mut self, next: State) -> Result<State, Status> {
        if self.remaining > self.body_max - self.decoded {
            return Err(Status::ContentTooLarge);
        }
        self.decoded += self.remaining;
        Ok(next)
    }

    fn trailer_byte(&mut self, byte: u8) -> State {
        if let Some(slot) = self.trailer.get_mut(self.trailer_len) {
            *slot = byte.to_ascii_lowercase();
        }
        self.trailer_len += 1;
        State::TrailerName
    }

    /// Framing and routing are settled by the head; a trailer that says otherwise is an attempt at something
    /// (RFC 9110, 6.5.1).
    fn trailer_named(&self) -> Result<State, Status> {
        match self.trailer.get(..self.trailer_len) {
            Some(b"content-length" | b"transfer-encoding" | b"host") => Err(Status::BadRequest),
            _ => Ok(State::TrailerValue),
        }
    }
}

/// `tchar` (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// What a quoted string or a field value may hold: HTAB, SP, VCHAR and obs-text (RFC 9110, 5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::{Decoder, Status};
    use proptest::prelude::*;

    /// Decodes `input` cut at `cuts`; gives the body and what was left over.
    fn decode(
        input: &[u8],
        cuts: &[usize],
        body_max: usize,
    ) -> Result<Option<(Vec<u8>, usize)>, Status> {
        let mut decoder = Decoder::new(body_max);
        let (mut body, mut at) = (Vec::new(), 0);
        let ends = cuts.iter().map(|cut| cut % (input.len() + 1));
        let mut ends: Vec<usize> = ends.chain([input.len()]).collect();
        ends.sort_unstable();
        for end in ends {
            let (consumed, done) = decoder.decode(&input[at..end], &mut body)?;
            at += consumed;
            if done {
                return Ok(Some((body, input.len() - at)));
            }
            assert_eq!(at, end, "everything is taken until the body is complete");
        }
        Ok(None)
    }

    #[test]
    fn decodes_chunks_extensions_and_trailers() {
        let cases: [(&[u8], &[u8], usize); 5] = [
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello", 0),
            (
                b"5;a=b;c;d=\"x\\\"; y\"\r\nhello\r\n0\r\n\r\nPOST",
                b"hello",
                4,
            ),
            (
                b"0005\r\nhello\r\n000;z\r\nX-A: 1\r\nX-B:\r\n\r\n",
                b"hello",
                0,
            ),
            (
                b"A\r\n0123456789\r\n1\r\n\r\r\n0\r\n\r\n",
                b"0123456789\r",
                0,
            ),
            (b"0\r\n\r\n", b"", 0),
        ];
        for (input, body, rest) in cases {
            assert_eq!(
                decode(input, &[], 100),
                Ok(Some((body.to_vec(), rest))),
                "{input:?}"
            );
        }
    }

    #[test]
    fn refuses_every_odd_line() {
        for input in [
            "\r\nhello",
            " 5\r\n",
            "5 \r\n",
            "5 ;a\r\n",
            "5; a\r\n",
            "5;a =b\r\n",
            "5;\r\n",
            "5;a=\r\n",
            "5;a\n",
            "5;a=\"\r\n\"\r\n",
            "5;a=\"b\"c\r\n",
            "5\n",
            "5\rx",
            "-5\r\n",
            "+5\r\n",
            "0x5\r\n",
            "5g\r\n",
            "hello\r\n",
            "00000000000000005\r\n",
            "5\r\nhello!\r\n",
            "5\r\nhello\n",
            "5\r\nhelloX\n",
            "0\r\n\n",
            "0\r\nX\r\n",
            "0\r\nX : 1\r\n",
            "0\r\n X: 1\r\n",
            "0\r\nX: 1\n",
            "0\r\nX: 1\r\n folded\r\n",
            "0\r\n: 1\r\n",
            "0\r\nContent-Length: 5\r\n",
            "0\r\ntransfer-encoding: x\r\n",
            "0\r\nHOST: a\r\n",
            "0\r\nX: \x7f\r\n",
            "5;a=\"\0\"\r\n",
        ] {
            assert_eq!(
                decode(input.as_bytes(), &[], 100),
                Err(Status::BadRequest),
                "{input:?}"
            );
        }
    }

    #[test]
    fn bounds_the_body_and_what_is_read_for_nothing() {
        assert_eq!(decode(b"65\r\n", &[], 100), Err(Status::ContentTooLarge));
        assert_eq!(
            decode(b"ffffffffffffffff\r\n", &[], 100),
            Err(Status::ContentTooLarge)
        );
        assert_eq!(decode(b"3c\r\n", &[], 100), Ok(None));
        let twice = [&b"3c\r\n"[..], &[b'x'; 60], b"\r\n3c\r\n"].concat();
        assert_eq!(decode(&twice, &[], 100), Err(Status::ContentTooLarge));
        let extension = format!("5;{}\r\n", "a".repeat(super::OVERHEAD_MAX));
        assert_eq!(
            decode(extension.as_bytes(), &[], 100),
            Err(Status::BadRequest)
        );
        let trailers = format!("0\r\n{}", "X: 1\r\n".repeat(super::OVERHEAD_MAX));
        assert_eq!(
            decode(trailers.as_bytes(), &[], 100),
            Err(Status::BadRequest)
        );
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend_from_slice(format!("{:x};n=v\r\n", chunk.len()).as_bytes());
                input.extend_from_slice(chunk);
                input.extend_from_slice(b"\r\n");
            }
            input.extend_from_slice(b"0\r\nT: v\r\n\r\nnext");
            prop_assert_eq!(decode(&input, &cuts, 1000), Ok(Some((chunks.concat(), 4))));
        }

        #[test]
        fn arbitrary_bytes_cut_anywhere_get_the_same_outcome(
            input in prop::collection::vec(prop::sample::select(&b"05aF;=\"\\\r\n :xX"[..]), 0..40),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let whole = decode(&input, &[], 20);
            prop_assert_eq!(decode(&input, &cuts, 20), whole);
        }
    }
}
