//! An HTTP/1.1 client that shows every byte: requests are bytes, answers come one by one.

use super::PATIENCE;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// Status line and fields, without the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).expect("somebody listens"))
    }

    /// Connects from another local address, as 127.0.0.2.
    pub(crate) fn connect_from(source: IpAddr, address: SocketAddr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket
            .bind(&SocketAddr::from((source, 0)).into())
            .expect("a local address");
        socket.connect(&address.into()).expect("somebody listens");
        Client::over(socket.into())
    }

    pub(crate) fn over(stream: TcpStream) -> Client {
        stream.set_nodelay(true).expect("set");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_write_timeout(Some(PATIENCE)).expect("set");
        Client {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends bytes, all of them.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .expect("the server takes bytes");
    }

    /// Sends bytes as far as the server takes them; false when it has closed.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends bytes as the pieces between the cuts, each as a segment of its own, so that the server reads them one
    /// by one as far as it is quick enough.
    pub(crate) fn send_cut(&mut self, bytes: &[u8], cuts: &[usize], pause: Duration) {
        let mut start = 0;
        for &cut in cuts.iter().chain([&bytes.len()]) {
            if cut > start {
                // A server that has refused may close before it has seen everything.
                if !self.try_send(&bytes[start..cut]) {
                    return;
                }
                start = cut;
                std::thread::sleep(pause);
            }
        }
    }

    /// Says that nothing more comes.
    pub(crate) fn shut(&self) {
        self.stream.shutdown(Shutdown::Write).expect("open");
    }

    /// The next final answer.
    pub(crate) fn answer(&mut self) -> Answer {
        self.next().expect("an answer, not the end")
    }

    /// The next answers, by code.
    pub(crate) fn codes(&mut self, count: usize) -> Vec<u16> {
        (0..count).map(|_| self.answer().code).collect()
    }

    /// All answers until the server closes, by code.
    pub(crate) fn codes_to_end(&mut self) -> Vec<u16> {
        let mut codes = Vec::new();
        while let Some(answer) = self.next() {
            codes.push(answer.code);
        }
        codes
    }

    /// The next answer, interim ones included; `None` at the end of the stream. Half an answer is a failure.
    pub(crate) fn next(&mut self) -> Option<Answer> {
        loop {
            if let Some((answer, len)) = Answer::parse(&self.received) {
                self.received.drain(..len);
                return Some(answer);
            }
            if !self.read() {
                let rest = String::from_utf8_lossy(&self.received);
                assert!(self.received.is_empty(), "half an answer: {rest}");
                return None;
            }
        }
    }

    /// Like [`Client::next`], but a connection that was reset, or ends within an answer, ends too.
    pub(crate) fn next_or_cut(&mut self) -> Result<Option<Answer>, ErrorKind> {
        loop {
            if let Some((answer, len)) = Answer::parse(&self.received) {
                self.received.drain(..len);
                return Ok(Some(answer));
            }
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) if self.received.is_empty() => return Ok(None),
                Ok(0) => return Err(ErrorKind::UnexpectedEof),
                Ok(len) => self.received.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.kind()),
            }
        }
    }

    /// True when the server has closed, with nothing unread before.
    pub(crate) fn is_ended(&mut self) -> bool {
        self.next().is_none()
    }

    /// True while the connection stands and no byte waits.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("set");
        let mut chunk = [0; 1];
        let waits = self.stream.peek(&mut chunk);
        self.stream.set_nonblocking(false).expect("set");
        self.received.is_empty() && waits.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn read(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(len) => {
                    self.received.extend_from_slice(&chunk[..len]);
                    return len > 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!(
                    "no answer ({error}); so far {:?}",
                    String::from_utf8_lossy(&self.received)
                ),
            }
        }
    }
}

impl Answer {
    /// The first answer in `bytes`, and its length.
    fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = str::from_utf8(&bytes[..end]).expect("answers are ASCII");
        let line = head.lines().next().expect("a status line");
        let code = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|line| line.get(..3));
        let mut answer = Answer {
            code: code.expect("a status line").parse().expect("a number"),
            head: head.to_owned(),
            body: Vec::new(),
        };
        let length = answer.field("content-length");
        assert!(
            length.is_some() || answer.code == 100,
            "no length in {head}"
        );
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        let body = bytes.get(end + 4..end + 4 + length)?;
        answer.body = body.to_vec();
        Some((answer, end + 4 + length))
    }

    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// True when it says that the connection ends with it.
    pub(crate) fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }
}

/// A POST with Content-Length and these further field lines, each with its line end.
pub(crate) fn post(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{fields}\r\n");
    [head.as_bytes(), body].concat()
}

/// A chunked POST; `sizes` are used in turn, for as long as there is body.
pub(crate) fn chunked(path: &str, fields: &str, body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n{fields}\r\n");
    let mut bytes = head.into_bytes();
    let mut rest = body;
    for &size in sizes.iter().cycle() {
        let (chunk, after) = rest.split_at(size.clamp(1, rest.len().max(1)).min(rest.len()));
        rest = after;
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        if chunk.is_empty() {
            return bytes;
        }
    }
    unreachable!("there is at least one size")
}

/// A GET.
pub(crate) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes()
}

/// The platform's handshake with a token.
pub(crate) fn handshake(path: &str, token: &str, challenge: &str) -> Vec<u8> {
    get(&format!(
        "{path}?hub.mode=subscribe&hub.verify_token={token}&hub.challenge={challenge}"
    ))
}
