//! One socket: reads what has arrived, serves the requests in it, writes the answers in their order, and lingers
//! after a refusal.

mod answers;

use super::control::Phase;
use super::core::Core;
use super::memory_budget::Share;
use super::stage::Stage;
use super::transport::Transport;
use crate::http::Status;
use crate::http::assembler::{Assembler, Next};
use crate::http::head::Slots;
use crate::http::response::CONTINUE;
use mio::net::TcpStream;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

/// Requests served in one turn; what has arrived beyond that is put back for the next.
const SERVED_MAX: usize = 16;

/// Bytes of an incomplete request beyond which a connection queues for its turns.
const LIGHT_MAX: usize = 16 << 10;

/// Bytes that may be drained after a refusal: a few of the largest bodies, so that their sender reads our answer.
const LINGER_BYTES_MAX: usize = 16 << 20;

/// Unwritten bytes, beside the 200s that are only counted, at which reading pauses.
const UNWRITTEN_MAX: usize = 64 << 10;

pub(super) struct Connection {
    transport: Transport,
    pub(super) token: usize,
    pub(super) peer: IpAddr,
    assembler: Assembler,
    state: State,
    inbound: Inbound,
    /// Answers that wait in the outbox.
    pub(super) waiting: usize,
    /// Whole requests were put back because of a limit.
    put_back: bool,
    /// Had more requests here than one turn serves, and has not come with a single one since.
    deep: bool,
    /// What it holds of the memory for all.
    share: Share,
    /// What the deadline is for.
    stage: Stage,
    /// Tick at which the stage has taken too long.
    pub(super) deadline: u64,
}

/// How far a connection is on its way to the close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Requests are served.
    Open,
    /// No further request is served; closed once every answer is written.
    Closing,
    /// The same after a refusal, with bytes unread: drained before the close.
    Refused,
    /// The write side is shut and what arrives is thrown away, up to so many bytes.
    Lingering(usize),
}

/// What is known of the socket's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inbound {
    /// It was seen empty: the next byte is a new edge.
    Empty,
    /// An edge was reported and the queue was not seen empty since.
    Readable,
    /// The peer has closed its side: read on to the end.
    Last,
    /// The end was read.
    Ended,
}

/// What the loop does with a connection after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Waits for an event.
    Wait,
    /// Has more to read or to serve: another turn in a next round.
    More,
    /// Waits until the journal has caught up.
    Starved,
    /// Done with.
    Close,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, token: usize, peer: IpAddr, core: &Core) -> Connection {
        Connection {
            transport: Transport::new(socket, token),
            token,
            peer,
            assembler: Assembler::default(),
            state: State::Open,
            inbound: Inbound::Empty,
            waiting: 0,
            put_back: false,
            deep: false,
            share: Share::default(),
            stage: Stage::Idle,
            deadline: core.clock.tick_after(core.options.idle_timeout),
        }
    }

    pub(super) fn register(&mut self, core: &Core) -> io::Result<()> {
        self.transport.register(&core.registry)
    }

    /// Something may have arrived; `is_last` when the peer has closed its side.
    pub(super) fn mark_readable(&mut self, is_last: bool) {
        self.inbound = match self.inbound {
            Inbound::Empty | Inbound::Readable if !is_last => Inbound::Readable,
            _ => Inbound::Last,
        };
    }

    /// Reads once, serves and writes as far as the socket and the limits allow.
    pub(super) fn turn(&mut self, core: &mut Core, buffer: &mut [u8]) -> Turn {
        let mut served = 0;
        let turn = self.advance(core, buffer, &mut served);
        self.deep = served >= SERVED_MAX && self.put_back || self.deep && served != 1;
        self.end_turn(turn, served > 0, core)
    }

    /// Writes what is due and leaves the rest for when those before it have had their turns.
    pub(super) fn turn_to_write(&mut self, core: &mut Core, buffer: &mut [u8]) -> Turn {
        if self.is_lingering() {
            return Turn::More;
        }
        let written = self.write(core);
        let turn = written.and_then(|()| self.finish(core, buffer));
        self.end_turn(turn, false, core)
    }

    /// True when it comes with more requests than one turn serves, or is sending a large body. What these cost in a
    /// round is bounded, however many they are.
    pub(super) fn is_heavy(&self) -> bool {
        self.put_back || self.deep || self.assembler.held() > LIGHT_MAX
    }

    /// The stage has taken too long; `is_starved` while it waits for room in the outbox. True when the connection is
    /// to be closed without another word.
    pub(super) fn time_out(
        &mut self,
        core: &mut Core,
        buffer: &mut [u8],
        is_starved: bool,
    ) -> bool {
        match self.stage {
            // Nothing is read, and for that the sender cannot be blamed.
            stage if stage == Stage::Answer || is_starved => {
                self.deadline = core.clock.tick_after(stage.timeout(core));
                return false;
            }
            Stage::Idle => {
                // A last look: what has arrived in this very moment is served.
                self.mark_readable(false);
                if self.turn(core, buffer) != Turn::Close && !self.is_idle() {
                    if self.stage == Stage::Idle {
                        self.deadline = core.clock.tick_after(core.options.idle_timeout);
                    }
                    return false;
                }
                core.statistics.idle_timeouts.add(1);
            }
            stage @ (Stage::Head | Stage::Body) => {
                // A last look here as well: the bytes that were missing may lie there since the loop was held up.
                self.mark_readable(false);
                let turn = self.turn(core, buffer);
                // More lies there than one turn reads: that is not the sender's slowness either.
                if turn == Turn::Close || turn == Turn::More || self.deadline > core.clock.tick() {
                    return turn == Turn::Close;
                }
                match stage {
                    Stage::Head => core.statistics.head_timeouts.add(1),
                    _ => core.statistics.body_timeouts.add(1),
                }
                core.count_refusal(Status::RequestTimeout);
                self.refuse(Status::RequestTimeout, core);
                return false;
            }
            Stage::Linger => core.statistics.linger_timeouts.add(1),
            Stage::Write | Stage::Answer => core.statistics.write_timeouts.add(1),
        }
        true
    }

    /// True when nothing of a request has arrived and no answer is due.
    fn is_idle(&self) -> bool {
        self.waiting == 0 && self.transport.is_written() && self.assembler.is_between_requests()
    }

    fn advance(
        &mut self,
        core: &mut Core,
        buffer: &mut [u8],
        served: &mut usize,
    ) -> io::Result<Turn> {
        self.write(core)?;
        if let State::Lingering(left) = self.state {
            return self.drain(left, buffer);
        }
        if let Some(turn) = self.held_up(core) {
            return Ok(turn);
        }
        if self.is_taking() {
            if self.put_back {
                self.put_back = false;
                let bytes = self.assembler.take_back();
                self.serve(&bytes, core, served);
            } else if self.is_readable() {
                self.read(core, buffer, served)?;
            }
            self.write(core)?;
            if let Some(turn) = self.held_up(core) {
                return Ok(turn);
            }
        }
        self.finish(core, buffer)
    }

    /// True while requests of it are served.
    fn is_taking(&self) -> bool {
        self.state == State::Open && !self.transport.blocked
    }

    /// What it has to wait for before any more is read, though it could be written to.
    fn held_up(&self, core: &Core) -> Option<Turn> {
        if !self.is_taking() {
            return None;
        }
        if self.is_paused(core) {
            return Some(Turn::Wait);
        }
        if !core.admits() && self.has_more() {
            core.statistics.pauses.add(1);
            return Some(Turn::Starved);
        }
        None
    }

    fn read(&mut self, core: &mut Core, buffer: &mut [u8], served: &mut usize) -> io::Result<()> {
        match self.transport.read(buffer) {
            Ok(0) => {
                self.inbound = Inbound::Ended;
            }
            Ok(len) => {
                // Less than there was room for: the queue is empty, and the next byte is a new edge.
                if len < buffer.len() && self.inbound != Inbound::Last {
                    self.inbound = Inbound::Empty;
                }
                self.serve(&buffer[..len], core, served);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.inbound = Inbound::Empty,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Decides what follows once all that could be done was done.
    fn finish(&mut self, core: &Core, buffer: &mut [u8]) -> io::Result<Turn> {
        if self.waiting > 0 || !self.transport.is_written() {
            let more = self.has_more() && self.is_taking();
            return Ok(if more && !self.is_paused(core) {
                Turn::More
            } else {
                Turn::Wait
            });
        }
        // With bytes unread in the socket a plain close would send a reset, and the answer would be lost to it. Who
        // did not ask for the close may have sent more.
        let lingers = match self.state {
            State::Open => false,
            State::Closing => self.is_readable() || core.phase >= Phase::Draining,
            State::Refused | State::Lingering(_) => true,
        };
        if lingers {
            self.transport.shut_write()?;
            self.state = State::Lingering(LINGER_BYTES_MAX);
            return self.drain(LINGER_BYTES_MAX, buffer);
        }
        Ok(
            if self.state == State::Closing || self.inbound == Inbound::Ended {
                Turn::Close
            } else if self.has_more() {
                Turn::More
            } else {
                Turn::Wait
            },
        )
    }

    fn is_lingering(&self) -> bool {
        matches!(self.state, State::Lingering(_))
    }

    /// Something may lie in the socket.
    fn is_readable(&self) -> bool {
        matches!(self.inbound, Inbound::Readable | Inbound::Last)
    }

    /// There is more to read or to serve.
    fn has_more(&self) -> bool {
        self.put_back || self.is_readable()
    }

    /// Too many requests are unanswered, or too many answers unread.
    fn is_paused(&self, core: &Core) -> bool {
        self.waiting >= core.options.pipeline_max || self.transport.unwritten() >= UNWRITTEN_MAX
    }

    /// Serves the requests in `bytes`; what a limit does not let through is put back.
    fn serve(&mut self, bytes: &[u8], core: &mut Core, served: &mut usize) {
        let mut rest = bytes;
        while !rest.is_empty() && self.state == State::Open {
            let full = self.waiting + self.transport.owed >= core.options.pipeline_max;
            if self.assembler.is_between_requests()
                && (full || *served >= SERVED_MAX || self.is_paused(core) || !core.admits())
            {
                self.assembler.put_back(rest);
                self.put_back = true;
                if full {
                    core.statistics.pipeline_pauses.add(1);
                }
                return;
            }
            let mut slots = Slots::new();
            match self.assembler.next(rest, &mut slots, &core.options.http) {
                Ok((consumed, Next::Request(head, body))) => {
                    let persistence = head.persistence;
                    let outcome = core.handle(&head, body);
                    rest = &rest[consumed..];
                    *served += 1;
                    self.answer(outcome, persistence, !rest.is_empty(), core);
                }
                Ok((_, Next::Head(head))) => {
                    let expects_continue = head.expects_continue;
                    match core.admit(&head) {
                        Err(refusal) => self.refuse(refusal, core),
                        Ok(()) if expects_continue => self.reply_bytes(core, |out, _| {
                            out.extend_from_slice(CONTINUE);
                        }),
                        // A sender that waits for our ACK before it sends the body would wait for 40 ms.
                        Ok(()) => self.transport.acknowledge_at_once(),
                    }
                    return;
                }
                Ok((_, Next::Incomplete)) => {
                    if self.assembler.awaits_body() {
                        self.transport.acknowledge_at_once();
                    }
                    return;
                }
                Err(status) => {
                    core.count_refusal(status);
                    return self.refuse(status, core);
                }
            }
        }
        self.assembler.release();
    }

    fn write(&mut self, core: &Core) -> io::Result<()> {
        self.transport.write(&core.registry, &core.responses)
    }

    /// Throws away what arrives until the peer has read our answer and closes, or the deadline comes.
    fn drain(&mut self, left: usize, buffer: &mut [u8]) -> io::Result<Turn> {
        match self.transport.read(buffer) {
            Ok(0) => Ok(Turn::Close),
            Ok(len) => Ok(left.checked_sub(len).map_or(Turn::Close, |left| {
                self.state = State::Lingering(left);
                Turn::More
            })),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Turn::Wait),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Turn::More),
            Err(error) => Err(error),
        }
    }

    /// Notes what it holds and how long it may take from here.
    fn end_turn(&mut self, turn: io::Result<Turn>, served: bool, core: &mut Core) -> Turn {
        let held = self.assembler.held() + self.transport.unwritten();
        let at = (core.clock.tick(), served);
        core.memory_budget
            .note(&mut self.share, self.token, held, at);
        self.set_deadline(core, served);
        turn.unwrap_or(Turn::Close)
    }

    /// What it is at.
    fn stage(&self, core: &Core) -> Stage {
        let is_between = self.put_back || self.assembler.is_between_requests();
        let is_full = self.waiting >= core.options.pipeline_max;
        match self.state {
            State::Lingering(_) => Stage::Linger,
            _ if !self.transport.is_written() => Stage::Write,
            State::Open if is_between && self.waiting == 0 => Stage::Idle,
            State::Open if is_between || is_full => Stage::Answer,
            State::Open if self.assembler.awaits_body() => Stage::Body,
            State::Open => Stage::Head,
            State::Closing | State::Refused => Stage::Answer,
        }
    }

    fn set_deadline(&mut self, core: &Core, served: bool) {
        let stage = self.stage(core);
        // A stage has one deadline for the whole; a new request begins a new one.
        let deadline = core.clock.tick_after(stage.timeout(core));
        if stage != self.stage || served {
            self.stage = stage;
            self.deadline = deadline;
        } else if stage == Stage::Idle && core.phase >= Phase::Draining {
            self.deadline = self.deadline.min(deadline);
        }
    }

    /// Releases all it holds, for others to have room. True when the connection is to be closed without another
    /// word: its peer does not even read what has been answered.
    pub(super) fn evict(&mut self, core: &mut Core) -> bool {
        core.statistics.given_up.add(1);
        if !self.is_taking() {
            return true;
        }
        core.count_refusal(Status::ServiceUnavailable);
        self.refuse(Status::ServiceUnavailable, core);
        false
    }

    /// Holds nothing any more.
    pub(super) fn release_memory(&mut self, core: &mut Core) {
        core.memory_budget
            .note(&mut self.share, self.token, 0, (0, false));
    }
}
