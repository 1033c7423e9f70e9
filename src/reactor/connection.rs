//! One socket: reads what has arrived, serves the requests in it, writes the answers in their order, and lingers
//! after a refusal.

mod answers;

use super::Phase;
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

#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent facts about one socket"
)]
pub(super) struct Connection {
    transport: Transport,
    pub(super) token: usize,
    pub(super) peer: IpAddr,
    assembler: Assembler,
    /// Answers that wait in the outbox.
    pub(super) waiting: usize,
    /// An edge was reported and the queue was not seen empty since.
    pub(super) readable: bool,
    /// The peer has closed its side: read on to the end.
    pub(super) read_closed: bool,
    /// The end was read.
    ended: bool,
    /// Whole requests were put back because of a limit.
    put_back: bool,
    /// Had more requests here than one turn serves, and has not come with a single one since.
    deep: bool,
    /// Behind the request that is being answered there is more to serve.
    more: bool,
    /// No further request is served; closed once every answer is written.
    closing: bool,
    /// Answers were released in this round and wait for the turn that writes them.
    pub(super) released: bool,
    /// On the loop's list of those that wait for room in the outbox, since this tick.
    pub(super) starved: Option<u64>,
    /// On the loop's list of those that get another turn.
    pub(super) again: bool,
    /// Refused with bytes unread: drain before the close.
    refused: bool,
    /// The write side is shut and what arrives is thrown away, up to so many bytes.
    lingering: Option<usize>,
    stage: Stage,
    /// What it holds of the memory for all.
    share: Share,
    /// Tick at which the stage has taken too long.
    pub(super) deadline: u64,
}

/// What the loop does with a connection after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Waits for an event.
    Wait,
    /// Has more to read or to serve: another turn in a next round.
    Again,
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
            waiting: 0,
            readable: false,
            read_closed: false,
            ended: false,
            put_back: false,
            deep: false,
            more: false,
            closing: false,
            released: false,
            starved: None,
            again: false,
            refused: false,
            lingering: None,
            stage: Stage::Idle,
            share: Share::default(),
            deadline: core.clock.tick_after(core.options.idle_timeout),
        }
    }

    pub(super) fn register(&mut self, core: &Core) -> io::Result<()> {
        self.transport.register(&core.registry)
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
        if self.lingering.is_some() {
            return Turn::Again;
        }
        let written = self.write(core);
        let turn = written.and_then(|()| self.finish(core, buffer));
        self.end_turn(turn, false, core)
    }

    /// True when it queues with others of its kind for its turns: it does already, comes with more requests than one
    /// turn serves, or is sending a large body. What these cost in a round is bounded, however many they are.
    pub(super) fn queues(&self) -> bool {
        self.again || self.put_back || self.deep || self.assembler.held() > LIGHT_MAX
    }

    /// The stage has taken too long. True when the connection is to be closed without another word.
    pub(super) fn time_out(&mut self, core: &mut Core, buffer: &mut [u8]) -> bool {
        match self.stage {
            // Nothing is read, and for that the sender cannot be blamed.
            stage if stage == Stage::Answer || self.starved.is_some() => {
                self.deadline = core.clock.tick_after(stage.timeout(core));
                return false;
            }
            Stage::Idle => {
                // A last look: what has arrived in this very moment is served.
                self.readable = true;
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
                self.readable = true;
                let turn = self.turn(core, buffer);
                // More lies there than one turn reads: that is not the sender's slowness either.
                if turn == Turn::Close || turn == Turn::Again || self.deadline > core.clock.tick() {
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
        if self.lingering.is_some() {
            return self.drain(buffer);
        }
        if let Some(turn) = self.held_up(core) {
            return Ok(turn);
        }
        if self.is_taking() {
            if self.put_back {
                self.put_back = false;
                let bytes = self.assembler.take_back();
                self.serve(&bytes, core, served);
            } else if self.readable {
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
        !self.closing && !self.transport.is_blocked()
    }

    /// What it has to wait for before any more is read, though it could be written to.
    fn held_up(&self, core: &Core) -> Option<Turn> {
        if !self.is_taking() {
            return None;
        }
        if self.is_paused(core) {
            return Some(Turn::Wait);
        }
        if !core.admits() && (self.put_back || self.readable) {
            core.statistics.pauses.add(1);
            return Some(Turn::Starved);
        }
        None
    }

    fn read(&mut self, core: &mut Core, buffer: &mut [u8], served: &mut usize) -> io::Result<()> {
        match self.transport.read(buffer) {
            Ok(0) => {
                self.ended = true;
                self.readable = false;
            }
            Ok(len) => {
                // Less than there was room for: the queue is empty, and the next byte is a new edge.
                self.readable = len == buffer.len() || self.read_closed;
                self.serve(&buffer[..len], core, served);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Decides what follows once all that could be done was done.
    fn finish(&mut self, core: &Core, buffer: &mut [u8]) -> io::Result<Turn> {
        if self.waiting > 0 || !self.transport.is_written() {
            let more = (self.readable || self.put_back) && self.is_taking();
            return Ok(if more && !self.is_paused(core) {
                Turn::Again
            } else {
                Turn::Wait
            });
        }
        // With bytes unread in the socket a plain close would send a reset, and the answer would be lost to it. Who
        // did not ask for the close may have sent more.
        if self.refused || (self.closing && (self.readable || core.phase >= Phase::Draining)) {
            self.transport.shut_write()?;
            self.lingering = Some(LINGER_BYTES_MAX);
            self.stage = Stage::Linger;
            self.deadline = core.clock.tick_after(core.options.linger_timeout);
            return self.drain(buffer);
        }
        if self.closing || self.ended {
            return Ok(Turn::Close);
        }
        Ok(if self.readable || self.put_back {
            Turn::Again
        } else {
            Turn::Wait
        })
    }

    /// Too many requests are unanswered, or too many answers unread.
    fn is_paused(&self, core: &Core) -> bool {
        self.waiting >= core.options.pipeline_max || self.transport.unwritten() >= UNWRITTEN_MAX
    }

    /// Serves the requests in `bytes`; what a limit does not let through is put back.
    fn serve(&mut self, bytes: &[u8], core: &mut Core, served: &mut usize) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.closing {
            let full = self.waiting + self.transport.owed() >= core.options.pipeline_max;
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
                    self.more = !rest.is_empty();
                    self.answer(outcome, persistence, core);
                    self.more = false;
                }
                Ok((_, Next::Head(head))) => {
                    let expects_continue = head.expects_continue;
                    match core.admit(&head) {
                        Err(status) => self.refuse(status, core),
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
    fn drain(&mut self, buffer: &mut [u8]) -> io::Result<Turn> {
        match self.transport.read(buffer) {
            Ok(0) => Ok(Turn::Close),
            Ok(len) => {
                self.lingering = self.lingering.and_then(|left| left.checked_sub(len));
                Ok(if self.lingering.is_some() {
                    Turn::Again
                } else {
                    Turn::Close
                })
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Turn::Wait),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Turn::Again),
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

    fn set_deadline(&mut self, core: &Core, served: bool) {
        let stage = if self.lingering.is_some() {
            Stage::Linger
        } else if !self.transport.is_written() {
            Stage::Write
        } else if self.waiting > 0
            && (self.closing
                || self.put_back
                || self.waiting >= core.options.pipeline_max
                || self.assembler.is_between_requests())
        {
            Stage::Answer
        } else if self.put_back || self.assembler.is_between_requests() {
            Stage::Idle
        } else if self.assembler.awaits_body() {
            Stage::Body
        } else {
            Stage::Head
        };
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
    pub(super) fn give_up(&mut self, core: &mut Core) -> bool {
        core.statistics.given_up.add(1);
        if self.closing || self.transport.is_blocked() {
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

    /// There is room again in the journal. The time in which nothing was read for want of it was not the sender's.
    pub(super) fn resume(&mut self, core: &Core) {
        if let Some(since) = self.starved.take() {
            self.deadline += core.clock.tick() - since;
        }
    }
}
