//! The rounds of one loop: poll, serve, release what became durable, look at deadlines.

use super::connection::{Connection, Turn};
use super::core::Core;
use super::outbox::{self, Outbox};
use super::wheel::Wheel;
use super::{Admission, Control, Options, Phase, Statistics, admission};
use crate::journal;
use crate::journal::DurablePosition;
use crate::journal::batch::{Batch, Pool};
use crate::relay;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a loop is made of.
#[derive(Debug)]
pub struct Parts {
    /// Index of the loop, from 0.
    pub index: usize,
    /// Its poll, with the waker of `position` registered as [`EventLoop::WAKER`].
    pub poll: Poll,
    /// Its listener.
    pub listener: TcpListener,
    /// Bounds.
    pub options: Options,
    /// What the server tells it.
    pub control: Arc<Control>,
    /// How many connections there may be.
    pub admission: Arc<Admission>,
    /// Free batches.
    pub pool: Pool,
    /// The way to the commit thread.
    pub commit: relay::Sender<Batch>,
    /// The way back.
    pub position: Arc<DurablePosition>,
    /// Whether the journal takes anything.
    pub journal: Arc<journal::Status>,
    /// What it counts.
    pub statistics: Arc<Statistics>,
}

/// The loop cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReactorError {
    /// Registering or polling failed.
    #[error("the event loop cannot {action}: {cause}")]
    Poll {
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        cause: io::Error,
    },
}

/// One event loop; see the module.
pub struct EventLoop {
    poll: Poll,
    listener: Option<TcpListener>,
    control: Arc<Control>,
    admission: Arc<Admission>,
    journal: Arc<journal::Status>,
    core: Core,
    connections: Slab<Connection>,
    wheel: Wheel,
    buffer: Box<[u8]>,
    /// More connections may wait to be accepted.
    acceptable: bool,
    /// Nothing is accepted until then: descriptors or memory ran out.
    accept_after: Option<Instant>,
    generation: u32,
    table_version: u64,
    /// Slots that have more to read.
    again: Vec<usize>,
    /// An empty list whose memory is used again.
    spare: Vec<usize>,
    /// Tokens of connections that wait for room in the outbox, first come, first served.
    starved: VecDeque<usize>,
    /// Slots whose answers were released in this round.
    released: Vec<usize>,
    /// Slots whose deadline may have come.
    due: Vec<usize>,
}

impl EventLoop {
    /// The token under which the waker of the loop is registered.
    pub const WAKER: Token = Token(usize::MAX);
    const LISTENER: Token = Token(usize::MAX - 1);

    /// Registers the listener.
    pub fn new(mut parts: Parts) -> Result<EventLoop, ReactorError> {
        let failed = |action| move |cause| ReactorError::Poll { action, cause };
        let registry = parts.poll.registry();
        registry
            .register(&mut parts.listener, EventLoop::LISTENER, Interest::READABLE)
            .map_err(failed("watch its listener"))?;
        let registry = registry.try_clone().map_err(failed("share its poll"))?;
        let options = parts.options;
        let bounds = outbox::Options {
            batch_octets: options.batch_octets,
            unacknowledged_max: options.unacknowledged_max,
            ack_deadline: options.ack_deadline,
        };
        let outbox = Outbox::new(
            parts.index,
            parts.pool,
            parts.commit,
            parts.position,
            bounds,
        );
        let core = Core::new(parts.index, options, registry, outbox, parts.statistics);
        let wheel = Wheel::new(core.clock.tick());
        Ok(EventLoop {
            poll: parts.poll,
            listener: Some(parts.listener),
            control: parts.control,
            admission: parts.admission,
            journal: parts.journal,
            core,
            connections: Slab::new(),
            wheel,
            buffer: vec![0; options.receive_buffer].into_boxed_slice(),
            acceptable: true,
            accept_after: None,
            generation: 0,
            table_version: 0,
            again: Vec::new(),
            spare: Vec::new(),
            starved: VecDeque::new(),
            released: Vec::new(),
            due: Vec::new(),
        })
    }

    /// Runs until the server has drained.
    pub fn run(mut self) -> Result<(), ReactorError> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            self.poll(&mut events)?;
            self.core.clock.read();
            self.core.responses.set_date(self.core.clock.unix_seconds());
            self.core.journal = self.journal.state();
            if let Some(table) = self.control.newer_table(&mut self.table_version) {
                self.core.set_table(table);
            }
            for event in &events {
                match event.token() {
                    EventLoop::WAKER => {}
                    EventLoop::LISTENER => self.acceptable = true,
                    Token(token) => self.ready(token, event.is_read_closed()),
                }
            }
            self.accept();
            self.go_on();
            self.release();
            self.feed_starved();
            self.look_at_deadlines();
            let idle = events.is_empty() && !self.has_more();
            self.core.outbox.end_round(idle, self.core.clock.now);
            self.publish();
            if self.follow_phase() {
                self.core.outbox.submit();
                return Ok(());
            }
        }
    }

    /// Waits for events: not at all while there is something to do or a batch to send.
    fn poll(&mut self, events: &mut Events) -> Result<(), ReactorError> {
        let busy = self.core.outbox.is_urgent() || self.has_more();
        let timeout = if busy {
            Some(Duration::ZERO)
        } else {
            self.sleep()
        };
        let result = self.poll.poll(events, timeout);
        self.core.outbox.position().awake();
        match result {
            Err(cause) if cause.kind() != ErrorKind::Interrupted => Err(ReactorError::Poll {
                action: "poll",
                cause,
            }),
            _ => Ok(()),
        }
    }

    /// True when there is something to do of which no event will tell.
    fn has_more(&self) -> bool {
        let accepts = self.acceptable && self.listener.is_some() && self.accept_after.is_none();
        accepts || !self.again.is_empty()
    }

    /// Says that the loop is going to sleep, and how long it may.
    fn sleep(&self) -> Option<Duration> {
        let outbox = &self.core.outbox;
        let _ = outbox.position().prepare_sleep();
        if outbox.has_news() || self.control.phase() != self.core.phase {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let wheel = self.wheel.next().map(|tick| self.core.clock.until(tick));
        let deadline = outbox
            .next_deadline()
            .map(|at| at.saturating_duration_since(now));
        let accept = self
            .accept_after
            .map(|at| at.saturating_duration_since(now));
        let departure = outbox
            .next_departure()
            .map(|at| at.saturating_duration_since(now));
        wheel
            .into_iter()
            .chain(deadline)
            .chain(departure)
            .chain(outbox.is_refused().then_some(REFUSED_PAUSE))
            .chain(accept)
            .min()
    }

    /// An event for one connection.
    fn ready(&mut self, token: usize, read_closed: bool) {
        let slot = slot_of(token);
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        if connection.token != token {
            return;
        }
        connection.readable = true;
        connection.read_closed |= read_closed;
        self.turn(slot);
    }

    fn turn(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        match connection.turn(&mut self.core, &mut self.buffer) {
            Turn::Wait => {}
            // Once: with a place for each of its turns, one that never ends would get more of them in every round.
            Turn::Again if connection.again => {}
            Turn::Again => {
                connection.again = true;
                self.again.push(slot);
            }
            Turn::Starved if connection.starved => {}
            Turn::Starved => {
                connection.starved = true;
                self.starved.push_back(connection.token);
            }
            Turn::Close => return self.close(slot),
        }
        self.wheel.schedule(slot, connection.deadline);
    }

    fn close(&mut self, slot: usize) {
        let connection = self.connections.remove(slot);
        self.wheel.remove(slot);
        self.core.partial -= connection.held();
        self.admission.leave(connection.peer);
    }

    /// Takes the connections that wait, some in each round.
    fn accept(&mut self) {
        if self
            .accept_after
            .is_some_and(|at| at <= self.core.clock.now)
        {
            self.accept_after = None;
            self.acceptable = true;
        }
        let Some(listener) = &self.listener else {
            return;
        };
        if !self.acceptable || self.accept_after.is_some() {
            return;
        }
        let statistics = &self.core.statistics;
        for _ in 0..ACCEPTS_MAX {
            let (socket, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.acceptable = false;
                    return;
                }
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    statistics.accept_errors.add(1);
                    // Fewer and fewer lines while it lasts.
                    if statistics.accept_errors.get().is_power_of_two() {
                        tracing::warn!(%error, "no connection can be accepted for a moment; raise the limit of open files");
                    }
                    self.accept_after = Some(self.core.clock.now + ACCEPT_PAUSE);
                    return;
                }
            };
            statistics.accepted.add(1);
            match self.admission.admit(peer.ip()) {
                Ok(()) => {}
                Err(admission::Refused::Total) => {
                    statistics.refused_total.add(1);
                    continue;
                }
                Err(admission::Refused::Address) => {
                    statistics.refused_address.add(1);
                    continue;
                }
            }
            let entry = self.connections.vacant_entry();
            let slot = entry.key();
            // Generations wrap after four thousand million connections on one slot: an event is not that old.
            self.generation = self.generation.wrapping_add(1) & GENERATION_MASK;
            let token = (self.generation as usize) << SLOT_BITS | slot;
            let mut connection = Connection::new(socket, token, peer.ip(), &self.core);
            if let Err(error) = connection.register(&self.core) {
                statistics.accept_errors.add(1);
                tracing::warn!(%error, "a connection cannot be watched and is closed");
                self.admission.leave(peer.ip());
                continue;
            }
            self.wheel.schedule(slot, connection.deadline);
            entry.insert(connection);
        }
        // There may be more, and no new edge will say so: `acceptable` stays.
    }

    /// Another turn for connections that have more to read.
    fn go_on(&mut self) {
        let mut slots = std::mem::replace(&mut self.again, std::mem::take(&mut self.spare));
        for slot in slots.drain(..) {
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.again = false;
                self.turn(slot);
            }
        }
        self.spare = slots;
    }

    /// Another turn for connections that waited for room in the outbox.
    fn feed_starved(&mut self) {
        while self.core.outbox.admits() {
            let Some(token) = self.starved.pop_front() else {
                break;
            };
            let slot = slot_of(token);
            if let Some(connection) = self.connections.get_mut(slot)
                && connection.token == token
            {
                connection.starved = false;
                self.turn(slot);
            }
        }
    }

    /// Gives out the answers whose bodies have become durable, or have waited too long.
    fn release(&mut self) {
        self.core
            .outbox
            .advance(self.core.clock.now, &self.core.statistics.ack_seconds);
        let failed = self.core.journal == journal::State::Failed;
        loop {
            let (waiting, expired) = match self.core.outbox.release() {
                Some(waiting) => (waiting, false),
                None => match self.core.outbox.expire(self.core.clock.now, failed) {
                    Some(waiting) => (waiting, true),
                    None => break,
                },
            };
            let slot = slot_of(waiting.token);
            let Some(connection) = self.connections.get_mut(slot) else {
                continue;
            };
            if connection.token != waiting.token {
                continue;
            }
            if expired {
                connection.expire(waiting.reply, &mut self.core);
            } else {
                connection.release(waiting.reply, &mut self.core);
            }
            if !connection.released {
                connection.released = true;
                self.released.push(slot);
            }
        }
        while let Some(slot) = self.released.pop() {
            self.connections[slot].released = false;
            self.turn(slot);
        }
    }

    fn look_at_deadlines(&mut self) {
        let now = self.core.clock.tick();
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(now, &mut due);
        for slot in due.drain(..) {
            let Some(connection) = self.connections.get_mut(slot) else {
                continue;
            };
            if connection.deadline <= now && connection.time_out(&mut self.core, &mut self.buffer) {
                self.close(slot);
                continue;
            }
            self.turn(slot);
        }
        self.due = due;
    }

    /// Gauges, once a round.
    fn publish(&self) {
        let statistics = &self.core.statistics;
        statistics.connections.set(self.connections.len() as u64);
        statistics.partial_octets.set(self.core.partial as u64);
        statistics
            .unacknowledged_octets
            .set(self.core.outbox.unacknowledged() as u64);
    }

    /// Follows the server into the drain. True when the loop is done.
    fn follow_phase(&mut self) -> bool {
        let phase = self.control.phase();
        if phase != self.core.phase {
            self.core.phase = phase;
            // Whoever waits in the backlog was promised service; nobody new is.
            while self.acceptable && self.listener.is_some() && self.accept_after.is_none() {
                self.accept();
            }
            if let Some(mut listener) = self.listener.take() {
                let _ = self.poll.registry().deregister(&mut listener);
                drop(listener);
                self.control.listener_closed();
            }
            if phase == Phase::Draining {
                // No event may say what has arrived already.
                let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
                for slot in slots {
                    self.connections[slot].readable = true;
                    self.turn(slot);
                }
            }
        }
        match phase {
            Phase::Serving | Phase::Closing => false,
            Phase::Draining => self.connections.is_empty() && self.is_settled(),
            Phase::Leaving => true,
        }
    }

    fn is_settled(&self) -> bool {
        self.core.outbox.is_settled() || self.core.journal == journal::State::Failed
    }
}

impl std::fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLoop")
            .field("index", &self.core.index)
            .finish_non_exhaustive()
    }
}

fn slot_of(token: usize) -> usize {
    token & ((1 << SLOT_BITS) - 1)
}

/// Errors that belong to the connection that was about to be accepted (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

/// Events taken from one poll.
const EVENTS_MAX: usize = 256;

/// Connections accepted in one round, so that a flood of them does not starve those that are there.
const ACCEPTS_MAX: usize = 64;

/// How long nothing is accepted after descriptors or memory ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a batch waits that found the commit thread's inbox full of the batches of others: what these become tells
/// nothing to this loop.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

/// A token is a generation above a slot. Both stay clear of the tokens of waker and listener.
const SLOT_BITS: u32 = 32;
const GENERATION_MASK: u32 = u32::MAX >> 1;

#[cfg(test)]
mod tests;
