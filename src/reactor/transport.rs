//! The socket of a connection and the answers that are on their way out of it.
//!
//! Writes first: WRITABLE is watched only while the send buffer is full. All that is due leaves in one send, and the
//! 200s, which are nearly everything, are only counted until then.

use crate::http::response::Responses;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::net::{RecvFlags, SendFlags};
use std::io::{self, ErrorKind};
use std::net::Shutdown;

/// See the module.
pub(super) struct Transport {
    socket: TcpStream,
    token: Token,
    /// Bytes that go before the 200s that are owed; `written` of them are gone.
    unwritten: Vec<u8>,
    written: usize,
    /// Keep-alive 200s to be written.
    pub(super) owed: usize,
    /// The send buffer is full and WRITABLE is watched.
    pub(super) blocked: bool,
}

impl Transport {
    pub(super) fn new(socket: TcpStream, token: usize) -> Transport {
        let token = Token(token);
        Transport {
            socket,
            token,
            unwritten: Vec::new(),
            written: 0,
            owed: 0,
            blocked: false,
        }
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        registry.register(&mut self.socket, self.token, Interest::READABLE)
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // The bare call: std's goes through glibc's thread cancellation, which nobody here uses.
        Ok(rustix::net::recv(&self.socket, buffer, RecvFlags::empty())?.0)
    }

    /// One more keep-alive 200.
    pub(super) fn owe_ok(&mut self) {
        self.owed += 1;
    }

    /// Any other answer, behind the 200s that are owed, which have to become bytes for that.
    pub(super) fn append(&mut self, responses: &Responses, render: impl FnOnce(&mut Vec<u8>)) {
        while self.owed > 0 {
            let (bytes, count) = responses.ok(self.owed);
            self.unwritten.extend_from_slice(bytes);
            self.owed -= count;
        }
        render(&mut self.unwritten);
    }

    /// Writes until everything is gone or the socket takes no more.
    pub(super) fn write(&mut self, registry: &Registry, responses: &Responses) -> io::Result<()> {
        while !self.is_written() {
            let result = if self.unwritten.is_empty() {
                self.write_owed(responses)
            } else {
                self.write_bytes()
            };
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.watch(registry, true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.watch(registry, false)
    }

    /// True when nothing is due.
    pub(super) fn is_written(&self) -> bool {
        self.owed == 0 && self.unwritten.is_empty()
    }

    /// Bytes that are due beside these.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten.len() - self.written
    }

    pub(super) fn shut_write(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// A sender with Nagle's algorithm holds the body back until the head is acknowledged, which may take 40 ms. Best
    /// effort: where the option is refused the sender is merely slower.
    pub(super) fn acknowledge_at_once(&self) {
        let _ = rustix::net::sockopt::set_tcp_quickack(&self.socket, true);
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL)?)
    }

    fn write_owed(&mut self, responses: &Responses) -> io::Result<()> {
        let (bytes, _) = responses.ok(self.owed);
        let len = self.send(bytes)?;
        let one = responses.ok_len;
        self.owed -= len / one;
        if len % one > 0 {
            // One was cut: what is left of it goes first.
            self.owed -= 1;
            self.unwritten.extend_from_slice(&bytes[..one]);
            self.written = len % one;
        }
        Ok(())
    }

    fn write_bytes(&mut self) -> io::Result<()> {
        self.written += self.send(&self.unwritten[self.written..])?;
        if self.written == self.unwritten.len() {
            self.unwritten = Vec::new();
            self.written = 0;
        }
        Ok(())
    }

    fn watch(&mut self, registry: &Registry, writable: bool) -> io::Result<()> {
        if writable == self.blocked {
            return Ok(());
        }
        self.blocked = writable;
        let interest = if writable {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        registry.reregister(&mut self.socket, self.token, interest)
    }
}
