//! The rounds of one loop: poll, serve, release what became durable, look at deadlines.

use super::Options;
use super::acceptor::{ACCEPTS_MAX, Acceptor, Arrival};
use super::admission::Admission;
use super::connection::{Connection, Turn};
use super::connections::Connections;
use super::control::{Control, Phase};
use super::core::Core;
use super::outbox::{self, Outbox};
use super::statistics::Statistics;
use super::wheel::Wheel;
use crate::journal::batch::{Batch, Pool};
use crate::journal::{self, DurablePosition};
use crate::relay;
use mio::net::TcpListener;
use mio::{Events, Poll, Token};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a loop begins with.
pub struct Setup {
    /// Index of the loop, from 0.
    pub index: usize,
    /// Its poll, with the waker of `position` registered as [`EventLoop::WAKER`].
    pub poll: Poll,
    pub listener: TcpListener,
    /// Bounds.
    pub options: Options,
    /// What the server hands to it.
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
    pub statistics: Arc<Statistics>,
}

/// The loop cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReactorError {
    /// Registering or polling failed.
    #[error("the event loop cannot {action}: {cause}")]
    Poll {
        action: &'static str,
        cause: io::Error,
    },
}

/// One event loop; see the module.
pub struct EventLoop {
    poll: Poll,
    acceptor: Acceptor,
    control: Arc<Control>,
    journal: Arc<journal::Status>,
    core: Core,
    connections: Connections,
    wheel: Wheel,
    buffer: Box<[u8]>,
    table_version: u64,
    /// Slots whose deadline may have come.
    due: Vec<usize>,
}

impl EventLoop {
    /// The token under which the waker of the loop is registered.
    pub const WAKER: Token = Token(usize::MAX);
    const LISTENER: Token = Token(usize::MAX - 1);

    /// Registers the listener.
    pub fn new(setup: Setup) -> Result<EventLoop, ReactorError> {
        let failed = |action| move |cause| ReactorError::Poll { action, cause };
        let registry = setup.poll.registry();
        let acceptor = Acceptor::new(
            setup.listener,
            setup.admission,
            registry,
            EventLoop::LISTENER,
        )
        .map_err(failed("watch its listener"))?;
        let registry = registry.try_clone().map_err(failed("share its poll"))?;
        let options = setup.options;
        let bounds = outbox::Options {
            batch_bytes: options.batch_bytes,
            unacknowledged_max: options.unacknowledged_max,
            ack_deadline: options.ack_deadline,
            behind_max: options.behind_max,
        };
        let outbox = Outbox::new(
            setup.index,
            setup.pool,
            setup.commit,
            setup.position,
            bounds,
        );
        let core = Core::new(setup.index, options, registry, outbox, setup.statistics);
        let wheel = Wheel::new(core.clock.tick());
        Ok(EventLoop {
            poll: setup.poll,
            acceptor,
            control: setup.control,
            journal: setup.journal,
            core,
            connections: Connections::default(),
            wheel,
            buffer: vec![0; options.receive_buffer].into_boxed_slice(),
            table_version: 0,
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
                    EventLoop::LISTENER => self.acceptor.mark_readable(),
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
            if self.follow_phase() && self.core.hands_all_over() {
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

    /// True when there is something to do that no event will report.
    fn has_more(&self) -> bool {
        self.acceptor.has_more() || self.connections.queued() > 0 || !self.due.is_empty()
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
        let late = self.connections.starved_since().map(|since| {
            let at = self.core.late_at(since);
            self.core.clock.until(at)
        });
        let accept = self
            .acceptor
            .closed_until
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
            .chain(late)
            .min()
    }

    /// An event for one connection.
    fn ready(&mut self, token: usize, read_closed: bool) {
        if let Some((slot, connection)) = self.connections.find(token) {
            connection.mark_readable(read_closed);
            self.attend(slot);
        }
    }

    /// A turn at once; for those that queue, one in which what is due is written, until theirs comes.
    fn attend(&mut self, slot: usize) {
        if self.connections.is_queueing(slot) {
            let connection = &mut self.connections[slot];
            let turn = connection.turn_to_write(&mut self.core, &mut self.buffer);
            self.follow(slot, turn);
        } else {
            self.turn(slot);
        }
    }

    /// A turn for one connection, and for whoever has to give up what it holds because of it.
    fn turn(&mut self, slot: usize) {
        let token = self.connections[slot].token;
        self.turn_alone(slot);
        let now = self.core.clock.tick();
        while let Some(token) = self.core.memory_budget.victim(now, token) {
            let Some((slot, connection)) = self.connections.find(token) else {
                return;
            };
            if connection.evict(&mut self.core) {
                self.close(slot);
            } else {
                self.turn_alone(slot);
            }
        }
    }

    fn turn_alone(&mut self, slot: usize) {
        let turn = self.connections[slot].turn(&mut self.core, &mut self.buffer);
        self.follow(slot, turn);
    }

    /// Does what has become of a turn.
    fn follow(&mut self, slot: usize, turn: Turn) {
        match turn {
            Turn::Wait => {}
            Turn::More => self.connections.queue(slot),
            Turn::Starved => self.connections.list_starved(slot, self.core.clock.tick()),
            Turn::Close => return self.close(slot),
        }
        self.wheel.schedule(slot, self.connections[slot].deadline);
    }

    fn close(&mut self, slot: usize) {
        let mut connection = self.connections.remove(slot);
        self.wheel.remove(slot);
        connection.release_memory(&mut self.core);
        self.acceptor.leave(connection.peer);
    }

    /// Takes the connections that wait, some in each round.
    fn accept(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            let now = self.core.clock.now;
            let (socket, peer) = match self.acceptor.accept(now, &self.core.statistics) {
                Arrival::Admitted(socket, peer) => (socket, peer),
                Arrival::Refused => continue,
                Arrival::WouldBlock => return,
            };
            let token = self.connections.next_token();
            let mut connection = Connection::new(socket, token, peer, &self.core);
            if let Err(error) = connection.register(&self.core) {
                self.core.statistics.accept_errors.add(1);
                // Fewer and fewer lines while it lasts.
                if self.core.statistics.accept_errors.get().is_power_of_two() {
                    tracing::warn!(%error, "a new connection cannot be watched (epoll) and is closed; its client may try again; free memory, or raise fs.epoll.max_user_watches");
                }
                self.acceptor.leave(peer);
                continue;
            }
            let deadline = connection.deadline;
            let slot = self.connections.add(connection);
            self.wheel.schedule(slot, deadline);
        }
    }

    /// Another turn for connections that have more: few in each round, so that however many there are, and whatever
    /// they send, those that sent one request do not wait for them.
    fn go_on(&mut self) {
        for _ in 0..GO_ON_MAX.min(self.connections.queued()) {
            let Some(slot) = self.connections.take_queued() else {
                return;
            };
            self.turn(slot);
        }
    }

    /// Another turn for connections that waited for room in the outbox, or too long for it.
    fn feed_starved(&mut self) {
        let now = self.core.clock.tick();
        while let Some(since) = self.connections.starved_since() {
            self.core.late = self.core.late_at(since) <= now;
            if !self.core.admits() {
                break;
            }
            if let Some(slot) = self.connections.take_starved(now) {
                self.turn(slot);
            }
        }
        self.core.late = false;
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
            let Some(connection) = self.connections.list_released(waiting.token) else {
                continue;
            };
            if expired {
                connection.expire(waiting.reply, &mut self.core);
            } else {
                connection.release(waiting.reply, &mut self.core);
            }
        }
        while let Some(slot) = self.connections.take_released() {
            self.attend(slot);
        }
    }

    /// Some in each round: thousands that connected together come due together.
    fn look_at_deadlines(&mut self) {
        let now = self.core.clock.tick();
        self.wheel.advance(now, &mut self.due);
        for _ in 0..DUE_MAX.min(self.due.len()) {
            let Some(slot) = self.due.pop() else {
                return;
            };
            let Some(connection) = self.connections.get_mut(slot) else {
                continue;
            };
            let is_due = connection.deadline <= now;
            let is_starved = self.connections.is_starved(slot);
            let connection = &mut self.connections[slot];
            if is_due && connection.time_out(&mut self.core, &mut self.buffer, is_starved) {
                self.close(slot);
            } else {
                self.turn(slot);
            }
        }
    }

    /// Gauges, once a round.
    fn publish(&self) {
        let statistics = &self.core.statistics;
        statistics.connections.set(self.connections.len() as u64);
        statistics
            .partial_bytes
            .set(self.core.memory_budget.bytes() as u64);
        statistics
            .unacknowledged_bytes
            .set(self.core.outbox.unacknowledged as u64);
    }

    /// Follows the server into the drain. True when the loop is done.
    fn follow_phase(&mut self) -> bool {
        let phase = self.control.phase();
        if phase != self.core.phase {
            self.core.phase = phase;
            // Whoever waits in the backlog was promised service; nobody new is.
            while self.acceptor.has_more() {
                self.accept();
            }
            if self.acceptor.close(self.poll.registry()) {
                self.control.listener_closed();
            }
            if phase == Phase::Draining {
                // No event may say what has arrived already.
                for slot in self.connections.slots() {
                    if let Some(connection) = self.connections.get_mut(slot) {
                        connection.mark_readable(false);
                        self.turn(slot);
                    }
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

/// Events taken from one poll.
const EVENTS_MAX: usize = 256;

/// Turns in a round for those that have had one and have more: each reads one buffer or serves some requests, which
/// takes some ten microseconds.
const GO_ON_MAX: usize = 4;

/// Deadlines looked at in a round. One that has passed costs as much as a request or two.
const DUE_MAX: usize = 16;

/// How long a batch waits that found the commit thread's inbox full: nobody wakes this loop for the batches of others.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;
