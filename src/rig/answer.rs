//! The answer to a request, and where it ends (RFC 9112, 6.3).

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Without the framing of chunks.
    pub(crate) body: Vec<u8>,
    /// The connection ends with it.
    pub(crate) closes: bool,
    /// Bytes that it takes, with interim answers before it.
    pub(crate) length: usize,
}

/// What came is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not HTTP")]
pub(crate) struct NotHttp;

/// How the end of the body is known.
enum Framing {
    Length(usize),
    Chunked,
    Close,
}

/// The answer at the front, once it is complete. Interim answers (1xx) are skipped. `ended` says that nothing more
/// comes.
pub(crate) fn parse(bytes: &[u8], ended: bool) -> Result<Option<Answer>, NotHttp> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head = response.parse(bytes).map_err(|_| NotHttp)?;
    let (httparse::Status::Complete(length), Some(status)) = (head, response.code) else {
        return Ok(None);
    };
    let body = &bytes[length..];
    if (100..200).contains(&status) {
        let behind = parse(body, ended)?;
        return Ok(behind.map(|answer| Answer {
            length: length + answer.length,
            ..answer
        }));
    }
    let mut closes = response.version == Some(0);
    let mut framing = Framing::Close;
    for header in response.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let value = header.value.trim_ascii();
        if is("connection") {
            let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            closes = options.any(|option| option.eq_ignore_ascii_case(b"close"))
                || (closes && !value.eq_ignore_ascii_case(b"keep-alive"));
        } else if is("transfer-encoding") {
            framing = Framing::Chunked;
        } else if is("content-length") && !matches!(framing, Framing::Chunked) {
            let length = str::from_utf8(value).ok().and_then(|it| it.parse().ok());
            framing = Framing::Length(length.ok_or(NotHttp)?);
        }
    }
    if status == 204 || status == 304 {
        framing = Framing::Length(0);
    }
    let whole = |body: &[u8]| (body.to_vec(), body.len());
    let body = match framing {
        Framing::Length(length) => body.get(..length).map(whole),
        Framing::Chunked => chunked(body)?,
        Framing::Close => ended.then(|| whole(body)),
    };
    Ok(body.map(|(body, taken)| Answer {
        status,
        body,
        closes: closes || matches!(framing, Framing::Close),
        length: length + taken,
    }))
}

/// What the chunks hold and the bytes that they take, once all of them are there.
fn chunked(body: &[u8]) -> Result<Option<(Vec<u8>, usize)>, NotHttp> {
    let (mut at, mut content) = (0, Vec::new());
    loop {
        let size = httparse::parse_chunk_size(&body[at..]).map_err(|_| NotHttp)?;
        let httparse::Status::Complete((line, size)) = size else {
            return Ok(None);
        };
        at += line;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).map_err(|_| NotHttp)?;
        let end = at.checked_add(size).filter(|end| *end < usize::MAX - 1);
        let end = end.ok_or(NotHttp)?;
        let Some(line_end) = body.get(end..end + 2) else {
            return Ok(None);
        };
        if line_end != b"\r\n" {
            return Err(NotHttp);
        }
        content.extend_from_slice(&body[at..end]);
        at = end + 2;
    }
    // Trailers, and the empty line.
    while let Some(line) = memchr::memmem::find(&body[at..], b"\r\n") {
        at += line + 2;
        if line == 0 {
            return Ok(Some((content, at)));
        }
    }
    Ok(None)
}

const HEADERS_MAX: usize = 64;

/// Longest answer that is read, in bytes; those of Hookline are far shorter.
pub(crate) const LENGTH_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_ends_where_its_framing_says() {
        let cases: &[(&[u8], u16, &str, bool)] = &[
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false),
            (b"HTTP/1.1 204 No Content\r\n\r\n", 204, "", false),
            (b"HTTP/1.1 503 No\r\nConnection: Close\r\ncontent-length:0\r\n\r\n", 503, "", true),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n.", 200, ".", true),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n.", 200, ".", false),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1;x=y\r\n.\r\n0\r\nA: b\r\n\r\n",
                200,
                "ok.",
                false,
            ),
            (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Yes\r\nContent-Length: 2\r\n\r\nok",
                201,
                "ok",
                false,
            ),
        ];
        for (bytes, status, body, closes) in cases {
            let expected = Answer {
                status: *status,
                body: body.as_bytes().to_vec(),
                closes: *closes,
                length: bytes.len(),
            };
            let followed = [bytes, &b"HTTP/1.1 200"[..]].concat();
            assert_eq!(parse(&followed, false), Ok(Some(expected)));
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end], false), Ok(None), "{end}");
            }
        }
    }

    #[test]
    fn without_a_length_it_ends_with_the_connection() {
        let bytes = b"HTTP/1.1 403 No\r\n\r\nno";
        assert_eq!(parse(bytes, false), Ok(None));
        let answer = parse(bytes, true).expect("HTTP").expect("complete");
        assert!(answer.closes && answer.length == bytes.len());
        assert_eq!((answer.status, &*answer.body), (403, &b"no"[..]));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bytes in [
            &b"SSH-2.0-OpenSSH\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nlong\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff0\r\n",
        ] {
            assert_eq!(parse(bytes, false), Err(NotHttp));
            assert_eq!(parse(bytes, true), Err(NotHttp));
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = (parse(&bytes, true), parse(&[&head[..], &bytes].concat(), true));
        }
    }
}
