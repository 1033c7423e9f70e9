//! One keep-alive connection with one request under way at most, as the platform has them: it is not pipelined.

use super::super::answer::{self, Answer};
use super::schedule::Post;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

/// A place for a connection: it is made with the first request, and made again with the next one after its end.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    socket: Option<TcpStream>,
    is_connected: bool,
    /// What was posted, and when.
    pub(crate) under_way: Option<(Post, Duration)>,
    /// What the socket has not taken yet.
    unsent: Vec<u8>,
    /// A part of an answer.
    received: Vec<u8>,
}

impl Connection {
    /// Sends a request as far as the socket takes it.
    pub(crate) fn send(
        &mut self,
        request: &[u8],
        address: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        if self.socket.is_none() {
            let mut socket = TcpStream::connect(address)?;
            registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
            self.socket = Some(socket);
            self.is_connected = false;
        }
        let sent = match &mut self.socket {
            Some(socket) if self.is_connected => write(socket, request)?,
            _ => 0,
        };
        self.unsent.clear();
        self.unsent.extend_from_slice(&request[sent..]);
        Ok(())
    }

    /// The socket takes bytes.
    pub(crate) fn is_writable(&mut self) -> io::Result<()> {
        let Some(socket) = &mut self.socket else {
            return Ok(());
        };
        if self.is_connected && self.unsent.is_empty() {
            return Ok(());
        }
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        if !self.is_connected {
            match socket.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                other => other?,
            };
            socket.set_nodelay(true)?;
            self.is_connected = true;
        }
        if !self.unsent.is_empty() {
            let sent = write(socket, &self.unsent)?;
            self.unsent.drain(..sent);
            if self.unsent.is_empty() {
                // A batch of a thousand is not kept for the next one.
                self.unsent = Vec::new();
            }
        }
        Ok(())
    }

    /// Reads what there is. Gives the answer once it is complete, or says why there will be none; `None` while
    /// nothing is owed, or not all of it has come. `is_closed` says that the receiver has ended its side.
    pub(crate) fn is_readable(
        &mut self,
        buffer: &mut [u8],
        is_closed: bool,
    ) -> Result<Option<Answer>, String> {
        loop {
            let Some(socket) = &mut self.socket else {
                return Ok(None);
            };
            let count = match socket.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(reason(&error)),
            };
            let ended = count == 0;
            let answer = if self.received.is_empty() {
                let answer = answer::parse(&buffer[..count], ended);
                if answer == Ok(None) {
                    self.received.extend_from_slice(&buffer[..count]);
                }
                answer.map(|answer| answer.map(|answer| (answer, count)))
            } else {
                self.received.extend_from_slice(&buffer[..count]);
                let length = self.received.len();
                answer::parse(&self.received, ended)
                    .map(|answer| answer.map(|answer| (answer, length)))
            };
            let complete = answer.map_err(|error| error.to_string())?;
            if self.under_way.is_none() {
                // The end of an idle connection, or an answer that nobody asked for: it is of no more use.
                self.close();
                return Ok(None);
            }
            if let Some((answer, length)) = complete {
                self.received.clear();
                let is_whole = answer.length == length && self.unsent.is_empty();
                if answer.closes || is_closed || !is_whole {
                    self.close();
                }
                return Ok(Some(answer));
            }
            if ended {
                return Err("closed before the answer".to_owned());
            }
            if self.received.len() > answer::LENGTH_MAX {
                return Err("the answer is longer than any that is expected".to_owned());
            }
            if count < buffer.len() && !is_closed {
                // Nothing more is there; what comes brings an event.
                return Ok(None);
            }
        }
    }

    /// Ends it, with whatever is under way.
    pub(crate) fn close(&mut self) {
        self.socket = None;
        self.is_connected = false;
        self.unsent = Vec::new();
        self.received.clear();
    }
}

/// Why a connection has failed, in the words of the report.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}

/// How much of it the socket has taken.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
