use super::{Framing, Head, Method, Persistence, Repeated, Slots};
use crate::http::{Limits, Status};

const LIMITS: Limits = Limits {
    head: 16 << 10,
    headers: 100,
    body: 4 << 20,
};

fn outcome(bytes: &[u8]) -> Result<Option<(Method, Framing, Persistence)>, Status> {
    let mut slots = Slots::new();
    let head = Head::parse(bytes, &mut slots, &LIMITS)?;
    Ok(head.map(|head| (head.method, head.framing, head.persistence)))
}

fn post(fields: &str) -> Result<Framing, Status> {
    let bytes = format!("POST /webhook HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    outcome(bytes.as_bytes()).map(|head| head.expect("the head is complete").1)
}

#[test]
fn reads_what_the_grammar_allows() {
    assert_eq!(post("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
    assert_eq!(
        post("cOnTeNt-LeNgTh:  \t0005 \t\r\n"),
        Ok(Framing::Length(5))
    );
    assert_eq!(post("Transfer-Encoding: CHUNKED\r\n"), Ok(Framing::Chunked));
    assert_eq!(post("X-A: caf\u{e9}\tx\r\nX-B:\r\n"), Ok(Framing::None));
    assert_eq!(
        post("Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        Ok(Framing::None)
    );
}

#[test]
fn refuses_framing_that_could_be_read_in_two_ways() {
    for fields in [
        "Content-Length: +5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;a\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\n",
        "X-A: b\r\n c\r\n",
        "X-A b\r\n",
        ": b\r\n",
        "X(A): b\r\n",
        "X-A: b\0c\r\n",
        "X-A: b\rc\r\n",
        "Host: localhost\r\n",
        "Host: other\r\n",
    ] {
        assert_eq!(post(fields), Err(Status::BadRequest), "{fields:?}");
    }
    assert_eq!(
        post("Content-Length: 18446744073709551616\r\n"),
        Err(Status::ContentTooLarge)
    );
    assert_eq!(
        post("Content-Length: 4194305\r\n"),
        Err(Status::ContentTooLarge)
    );
    assert_eq!(post("Expect: 200-ok\r\n"), Err(Status::ExpectationFailed));
}

#[test]
fn request_lines() {
    let with = |line: &str| outcome(format!("{line}\r\nHost: h\r\n\r\n").as_bytes());
    for line in [
        "GET / HTTP/1.1",
        "GET http://h HTTP/1.1",
        "POST HTTPS://h:1/a?b HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "POST /a?b=c&d[]=%20e HTTP/1.1",
    ] {
        assert!(matches!(with(line), Ok(Some(_))), "{line:?}");
    }
    for line in [
        "POST * HTTP/1.1",
        "POST a HTTP/1.1",
        "POST /a#b HTTP/1.1",
        "POST /\u{e9} HTTP/1.1",
        "POST /a%2 HTTP/1.1",
        "POST /a\\b HTTP/1.1",
        "POST  /a HTTP/1.1",
        "POST /a b HTTP/1.1",
        "PO(ST /a HTTP/1.1",
        "POST ftp://h/ HTTP/1.1",
        "POST http://u@h/ HTTP/1.1",
        "POST http:///a HTTP/1.1",
        "CONNECT h:80 HTTP/1.1",
        " POST /a HTTP/1.1",
        "POST /a http/1.1",
        "POST /a",
    ] {
        assert_eq!(with(line), Err(Status::BadRequest), "{line:?}");
    }
    for line in ["POST /a HTTP/2.0", "POST /a HTTP/1.2"] {
        assert_eq!(with(line), Err(Status::VersionNotSupported), "{line:?}");
    }
}

#[test]
fn absolute_form_and_queries_are_split() {
    let bytes = b"POST http://h:80/a/b?c=d?e HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut slots = Slots::new();
    let head = Head::parse(bytes, &mut slots, &LIMITS)
        .expect("valid")
        .expect("complete");
    assert_eq!((head.path, head.query), (&b"/a/b"[..], &b"c=d?e"[..]));
    assert_eq!(head.len, bytes.len());
}

#[test]
fn lines_end_in_crlf_and_one_empty_line_may_stand_ahead() {
    let good = b"POST /a HTTP/1.1\r\nHost: h\r\n\r\n";
    assert!(matches!(
        outcome(&[&b"\r\n"[..], good].concat()),
        Ok(Some(_))
    ));
    for ahead in ["\r\n\r\n", "\n", "\r\r\n", "\r\n\n"] {
        assert_eq!(
            outcome(&[ahead.as_bytes(), good].concat()),
            Err(Status::BadRequest),
            "{ahead:?}"
        );
    }
    for bytes in [
        "POST /a HTTP/1.1\nHost: h\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\n\n",
        "POST /a HTTP/1.1\nHost: h\n\n",
    ] {
        assert_eq!(
            outcome(bytes.as_bytes()),
            Err(Status::BadRequest),
            "{bytes:?}"
        );
    }
    for len in 0..good.len() {
        assert_eq!(
            outcome(&good[..len]),
            Ok(None),
            "the first {len} bytes are incomplete"
        );
    }
}

#[test]
fn versions_decide_on_host_and_persistence() {
    let persistence = |bytes: &str| outcome(bytes.as_bytes()).map(|head| head.map(|head| head.2));
    assert_eq!(
        persistence("POST /a HTTP/1.1\r\n\r\n"),
        Err(Status::BadRequest)
    );
    assert_eq!(
        persistence("POST /a HTTP/1.0\r\n\r\n"),
        Ok(Some(Persistence::Close))
    );
    assert_eq!(
        persistence("POST /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
        Ok(Some(Persistence::KeepAliveHttp10))
    );
    assert_eq!(
        persistence("POST /a HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"),
        Ok(Some(Persistence::Close))
    );
    assert_eq!(
        persistence("POST /a HTTP/1.1\r\nHost: h\r\nConnection: x ,\tCLOSE\r\n\r\n"),
        Ok(Some(Persistence::Close))
    );
    assert_eq!(
        persistence("POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Err(Status::BadRequest)
    );
}

#[test]
fn a_single_field_is_single() {
    let bytes = b"POST /a HTTP/1.1\r\nHost: h\r\nX-A: 1 \r\nX-B: 2\r\nx-b: 2\r\n\r\n";
    let mut slots = Slots::new();
    let head = Head::parse(bytes, &mut slots, &LIMITS)
        .expect("valid")
        .expect("complete");
    assert_eq!(head.single("x-a"), Ok(Some(&b"1"[..])));
    assert_eq!(head.single("x-b"), Err(Repeated));
    assert_eq!(head.single("x-c"), Ok(None));
}
