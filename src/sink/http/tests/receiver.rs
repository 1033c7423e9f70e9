//! The other side: takes requests over real sockets, and answers what a script says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// What comes back for a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, and the end of the connection.
    Last(Vec<u8>),
    /// Nothing, while the connection stays.
    Nothing,
}

/// A request as it came.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) line: String,
    /// Names as they came.
    pub(super) fields: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// A server on the loopback address, with a thread for each connection.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
    requests: Receiver<Request>,
}

pub(super) fn answer(status: &str, fields: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Bytes(
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{fields}\r\n{body}").into_bytes(),
    )
}

impl Server {
    /// One whose n-th request, from 0, is answered by the n-th reply, and all others by the last.
    pub(super) fn new(replies: Vec<Reply>) -> Server {
        Server::over(replies, None)
    }

    pub(super) fn over(replies: Vec<Reply>, tls: Option<Arc<rustls::ServerConfig>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let (give, requests) = channel();
        let (count, served) = (Arc::clone(&connections), Arc::new(AtomicUsize::new(0)));
        let replies = Arc::new(replies);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                count.fetch_add(1, Ordering::SeqCst);
                let (give, served) = (give.clone(), Arc::clone(&served));
                let (replies, tls) = (Arc::clone(&replies), tls.clone());
                std::thread::spawn(move || match tls {
                    None => {
                        let reader = stream.try_clone().expect("a descriptor");
                        let mut reader = BufReader::new(reader);
                        let mut stream = stream;
                        while let Some(request) = read(&mut reader) {
                            let reply = next(&replies, &served);
                            if !pass_on(&give, request, reply, &mut stream) {
                                return;
                            }
                        }
                    }
                    Some(config) => {
                        let session = rustls::ServerConnection::new(config).expect("configured");
                        let mut stream = BufReader::new(rustls::StreamOwned::new(session, stream));
                        while let Some(request) = read(&mut stream) {
                            let reply = next(&replies, &served);
                            if !pass_on(&give, request, reply, stream.get_mut()) {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Server {
            address,
            connections,
            requests,
        }
    }

    pub(super) fn request(&self) -> Request {
        let taken = self.requests.recv_timeout(Duration::from_secs(20));
        taken.expect("a request")
    }
}

fn next(replies: &[Reply], served: &AtomicUsize) -> Reply {
    let at = served.fetch_add(1, Ordering::SeqCst);
    let last = replies.last().expect("a reply");
    replies.get(at).unwrap_or(last).clone()
}

/// Says false when the connection ends.
fn pass_on(give: &Sender<Request>, request: Request, reply: Reply, out: &mut impl Write) -> bool {
    // The test may have ended.
    let _ = give.send(request);
    match reply {
        Reply::Bytes(bytes) => out.write_all(&bytes).is_ok() && out.flush().is_ok(),
        Reply::Last(bytes) => {
            let _ = out.write_all(&bytes).and_then(|()| out.flush());
            false
        }
        Reply::Nothing => true,
    }
}

pub(super) fn read(stream: &mut impl BufRead) -> Option<Request> {
    let line = |stream: &mut dyn BufRead| {
        let mut line = String::new();
        let bytes = stream.read_line(&mut line).ok()?;
        (bytes > 0).then(|| line.trim_end().to_owned())
    };
    let first = line(stream)?;
    let mut fields = BTreeMap::new();
    loop {
        let field = line(stream)?;
        if field.is_empty() {
            break;
        }
        let (name, value) = field.split_once(": ").expect("a field");
        let before = fields.insert(name.to_owned(), value.to_owned());
        assert_eq!(before, None, "{name} stands twice");
    }
    let length = fields.get("content-length").expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body).ok()?;
    Some(Request {
        line: first,
        fields,
        body,
    })
}
