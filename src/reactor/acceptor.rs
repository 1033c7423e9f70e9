//! Takes the connections that come in: some in each round, counted, and none for a moment when descriptors are short.

use super::admission::{Admission, Refused};
use super::statistics::Statistics;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections taken in one round, so that a flood of them does not starve those that are there.
pub(super) const ACCEPTS_MAX: usize = 16;

/// The listener of a loop.
pub(super) struct Acceptor {
    listener: Option<TcpListener>,
    admission: Arc<Admission>,
    /// More connections may wait: no new edge will say so.
    acceptable: bool,
    /// Nothing is accepted until then: descriptors or memory ran out.
    pub(super) closed_until: Option<Instant>,
}

/// What came in.
pub(super) enum Arrival {
    /// A connection that is admitted; whoever drops it calls [`Acceptor::leave`].
    Admitted(TcpStream, IpAddr),
    /// A connection that was refused and is closed.
    Refused,
    /// None, or none can be taken for a moment.
    WouldBlock,
}

impl Acceptor {
    /// Watches the listener as `token`.
    pub(super) fn new(
        mut listener: TcpListener,
        admission: Arc<Admission>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Acceptor> {
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Acceptor {
            listener: Some(listener),
            admission,
            acceptable: true,
            closed_until: None,
        })
    }

    /// An event says that connections wait.
    pub(super) fn mark_readable(&mut self) {
        self.acceptable = true;
    }

    /// True when connections may wait that no event will report.
    pub(super) fn has_more(&self) -> bool {
        self.acceptable && self.listener.is_some() && self.closed_until.is_none()
    }

    /// Takes one.
    pub(super) fn accept(&mut self, now: Instant, statistics: &Statistics) -> Arrival {
        if self.closed_until.is_some_and(|until| until <= now) {
            self.closed_until = None;
            self.acceptable = true;
        }
        let Some(listener) = self.listener.as_ref().filter(|_| self.has_more()) else {
            return Arrival::WouldBlock;
        };
        let (socket, peer) = match listener.accept() {
            Ok((socket, peer)) => (socket, peer.ip()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.acceptable = false;
                return Arrival::WouldBlock;
            }
            Err(error) if is_of_one_connection(&error) => return Arrival::Refused,
            Err(error) => {
                statistics.accept_errors.add(1);
                // Fewer and fewer lines while it lasts.
                if statistics.accept_errors.get().is_power_of_two() {
                    tracing::warn!(%error, "no connection can be accepted: clients wait, and it is tried again in a moment; raise LimitNOFILE");
                }
                self.closed_until = Some(now + PAUSE);
                return Arrival::WouldBlock;
            }
        };
        statistics.accepted.add(1);
        match self.admission.admit(peer) {
            Ok(()) => return Arrival::Admitted(socket, peer),
            Err(Refused::Total) => statistics.refused_total.add(1),
            Err(Refused::Address) => statistics.refused_address.add(1),
        }
        Arrival::Refused
    }

    /// A connection that was admitted has gone.
    pub(super) fn leave(&self, peer: IpAddr) {
        self.admission.leave(peer);
    }

    /// Closes for good. True when it was open.
    pub(super) fn close(&mut self, registry: &Registry) -> bool {
        let Some(mut listener) = self.listener.take() else {
            return false;
        };
        let _ = registry.deregister(&mut listener);
        true
    }
}

/// Errors that belong to the connection that was about to be accepted (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

/// How long nothing is accepted after descriptors or memory ran out.
const PAUSE: Duration = Duration::from_millis(100);
