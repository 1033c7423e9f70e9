//! One HTTP/1.1 request on a connection of its own, and its answer. Plain `http` only.

use super::answer::{self, Answer};
use super::signature;
use aws_lc_rs::hmac;
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

/// Puts a request with this body in `out`, behind what is there. `head` has the request line and the fields that all
/// of them have, `key` what Meta's receivers know.
pub(crate) fn post(head: &str, key: Option<&hmac::Key>, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(head.as_bytes());
    // Writing to a vector cannot fail.
    let _ = write!(out, "Content-Length: {}\r\n", body.len());
    if let Some(key) = key {
        signature::sign(key, body, out);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
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
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let count = match stream.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(too_late()),
            Err(error) => return Err(error),
        };
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(answer) = answer::parse(&bytes, count == 0).map_err(io::Error::other)? {
            return Ok(answer);
        }
        if count == 0 {
            return Err(io::Error::other(
                "the connection closed before the answer was complete",
            ));
        }
        if bytes.len() > answer::LENGTH_MAX {
            return Err(io::Error::other(
                "the answer is longer than any that is expected",
            ));
        }
    }
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
        fn no_url_panics(url: String) {
            let _ = Target::parse(&url);
        }
    }
}
