//! One HTTP/1.1 request on a connection of its own, and its answer. Plain `http` only.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name or address, without brackets.
    host: String,
    port: u16,
    /// As the URL has it, for the Host field.
    authority: String,
    /// Path and query.
    path: String,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Target {
    /// Takes `http://HOST[:PORT][/PATH][?QUERY]`.
    pub(crate) fn parse(url: &str) -> Result<Target, String> {
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(format!(
                "{url:?} must start with http://; TLS ends in front of Hookline, so send behind it"
            ));
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let invalid = || format!("{url:?} has no valid host and port");
        let bracketed = authority.ends_with(']') || !authority.contains(':');
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !bracketed => (host, port.parse().map_err(|_| invalid())?),
            _ => (authority, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let printable = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
        if host.is_empty() || host.contains('@') || !printable(authority) || !printable(path) {
            return Err(invalid());
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Target {
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: format!("{slash}{path}"),
        })
    }

    /// The first of its addresses that takes a connection.
    pub(crate) fn reach(&self, timeout: Duration) -> io::Result<SocketAddr> {
        connect(self, Instant::now() + timeout)?.peer_addr()
    }

    /// The request line of a post, and the Host field.
    pub(crate) fn head(&self) -> String {
        format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\n",
            self.path, self.authority
        )
    }

    /// The same with `query` added.
    pub(crate) fn with_query(&self, query: &str) -> Target {
        let joint = if self.path.contains('?') { '&' } else { '?' };
        Target {
            path: format!("{}{joint}{query}", self.path),
            ..self.clone()
        }
    }
}

/// Sends one request and waits for its answer, `timeout` for all of it.
pub(crate) fn exchange(
    target: &Target,
    method: &str,
    headers: &[(String, String)],
    body: &[u8],
    timeout: Duration,
) -> io::Result<Answer> {
    let deadline = Instant::now() + timeout;
    let mut stream = connect(target, deadline)?;
    let mut request = Vec::new();
    let (path, authority) = (&target.path, &target.authority);
    write!(
        request,
        "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n"
    )?;
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n")?;
    }
    if method == "POST" {
        write!(request, "Content-Length: {}\r\n", body.len())?;
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    stream.set_write_timeout(Some(left(deadline)?))?;
    // A refusal may come, and the connection close, before everything is sent: the answer says more.
    let sent = stream.write_all(&request);
    match receive(&mut stream, deadline) {
        Err(error) => Err(sent.err().unwrap_or(error)),
        answer => answer,
    }
}

fn connect(target: &Target, deadline: Instant) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the name has no address");
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn receive(stream: &mut TcpStream, deadline: Instant) -> io::Result<Answer> {
    let mut octets = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let count = match stream.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(too_late()),
            Err(error) => return Err(error),
        };
        octets.extend_from_slice(&chunk[..count]);
        if let Some((answer, _)) = parse(&octets, count == 0)? {
            return Ok(answer);
        }
        if count == 0 {
            return Err(io::Error::other(
                "the connection closed before the answer was complete",
            ));
        }
        if octets.len() > ANSWER_MAX {
            return Err(io::Error::other(
                "the answer is longer than any that is expected",
            ));
        }
    }
}

/// The answer at the front, once it is complete, and the octets that it takes. Interim answers (1xx) are skipped.
pub(crate) fn parse(octets: &[u8], ended: bool) -> io::Result<Option<(Answer, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let head = response
        .parse(octets)
        .map_err(|error| io::Error::other(format!("the answer is not HTTP: {error}")))?;
    let (httparse::Status::Complete(length), Some(status)) = (head, response.code) else {
        return Ok(None);
    };
    let body = &octets[length..];
    if (100..200).contains(&status) {
        let behind = parse(body, ended)?;
        return Ok(behind.map(|(answer, taken)| (answer, length + taken)));
    }
    let declared = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| {
            std::str::from_utf8(header.value)
                .ok()?
                .trim()
                .parse::<usize>()
                .ok()
        });
    let body = match declared {
        Some(length) => body.get(..length),
        None if status == 204 => Some(&[][..]),
        None => ended.then_some(body),
    };
    Ok(body.map(|body| {
        let taken = length + body.len();
        let body = body.to_vec();
        (Answer { status, body }, taken)
    }))
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(too_late())
    } else {
        Ok(left)
    }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

/// Longest answer that is read, in octets; those of Hookline are far shorter.
const ANSWER_MAX: usize = 256 * 1024;

/// How long an answer may take; platforms wait for half of it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn addresses_are_taken_apart() {
        for (url, host, port, path) in [
            (
                "http://localhost:8080/webhook",
                "localhost",
                8080,
                "/webhook",
            ),
            ("http://[::1]:81", "::1", 81, "/"),
            ("http://[::1]/a", "::1", 80, "/a"),
            ("http://h?x=1#y", "h", 80, "/?x=1"),
        ] {
            let target = Target::parse(url).expect("valid");
            assert_eq!(
                (&*target.host, target.port, &*target.path),
                (host, port, path)
            );
        }
        for url in [
            "https://h/",
            "h:80",
            "http://",
            "http://h:99999/",
            "http://h/a b",
            "http://u@h/",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
        let target = Target::parse("http://h/a?b").expect("valid");
        assert_eq!(target.with_query("c=d").path, "/a?b&c=d");
    }

    #[test]
    fn an_answer_ends_with_its_length_or_with_the_connection() {
        let answer = |octets: &[u8], ended| {
            parse(octets, ended)
                .expect("HTTP")
                .map(|(answer, _)| (answer.status, answer.body))
        };
        let head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(answer(head, false), None);
        assert_eq!(
            answer(&[head, &b"ok"[..]].concat(), false),
            Some((200, b"ok".to_vec()))
        );
        let pipelined = [head, &b"okHTTP/1.1 200"[..]].concat();
        let taken = parse(&pipelined, false).expect("HTTP").expect("complete").1;
        assert_eq!(taken, head.len() + 2);
        assert_eq!(answer(b"HTTP/1.1 403 No\r\n\r\nno", false), None);
        assert_eq!(
            answer(b"HTTP/1.1 403 No\r\n\r\nno", true),
            Some((403, b"no".to_vec()))
        );
        assert!(parse(b"SSH-2.0-OpenSSH\r\n", true).is_err());
    }

    #[test]
    fn a_request_is_sent_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = vec![0; 4096];
            let mut length = 0;
            while !request[..length].ends_with(b"{}") {
                length += stream.read(&mut request[length..]).expect("readable");
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .expect("writable");
            String::from_utf8(request[..length].to_vec()).expect("text")
        });
        let target = Target::parse(&format!("http://127.0.0.1:{port}/w")).expect("valid");
        let headers = [("X-A".to_owned(), "b".to_owned())];
        let answer = exchange(&target, "POST", &headers, b"{}", Duration::from_secs(30));
        assert_eq!(answer.expect("answered").status, 200);
        let request = server.join().expect("served");
        let expected = format!(
            "POST /w HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nX-A: b\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        assert_eq!(request, expected);
    }

    proptest! {
        #[test]
        fn no_url_or_answer_panics(url: String, octets: Vec<u8>) {
            let _ = (Target::parse(&url), parse(&octets, true));
        }
    }
}
