//! One socket: reads what has arrived, serves the requests in it, writes the answers in their order, and lingers
//! after a refusal.

use super::Phase;
use super::core::{Core, Outcome};
use super::holdings::Share;
use super::outbox::Reply;
use super::stage::Stage;
use super::transport::Transport;
use crate::endpoint::Ack;
use crate::http::Status;
use crate::http::assembler::{Assembler, Next};
use crate::http::head::{Persistence, Slots};
use crate::http::response::CONTINUE;
use mio::net::TcpStream;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

/// Reads in one turn, so that a client that sends without pause does not keep the others waiting.
const READS_MAX: usize = 4;

/// Octets that may be drained after a refusal: a few of the largest bodies, so that their sender reads our answer.
const LINGER_OCTETS_MAX: usize = 16 << 20;

/// Unwritten octets, beside the 200s that are only counted, at which reading pauses.
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
    waiting: usize,
    /// An edge was reported and the queue was not seen empty since.
    pub(super) readable: bool,
    /// The peer has closed its side: read on to the end.
    pub(super) read_closed: bool,
    /// The end was read.
    ended: bool,
    /// Whole requests were put back because of a limit.
    put_back: bool,
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
    /// Refused with octets unread: drain before the close.
    refused: bool,
    /// The write side is shut and what arrives is thrown away, up to so many octets.
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
    /// Has more to read: another turn in the next round.
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

    /// Reads, serves and writes as far as the socket and the limits allow.
    pub(super) fn turn(&mut self, core: &mut Core, buffer: &mut [u8]) -> Turn {
        let mut served = false;
        let turn = self
            .advance(core, buffer, &mut served)
            .unwrap_or(Turn::Close);
        let held = self.assembler.held() + self.transport.unwritten();
        let at = (core.clock.tick(), served);
        core.holdings.note(&mut self.share, self.token, held, at);
        self.set_deadline(core, served);
        turn
    }

    /// Takes an answer that has become free. The answers of a connection leave together, in [`Connection::turn`].
    pub(super) fn release(&mut self, reply: Reply, core: &mut Core) {
        self.waiting -= 1;
        match reply {
            Reply::Ok {
                endpoint,
                persistence,
            } => {
                core.count_answer(endpoint, Status::Ok);
                let persistence = self.persistence(persistence, core);
                self.answer_ok(persistence, core);
            }
            Reply::Octets(octets) => {
                self.append(core, |out, _| out.extend_from_slice(&octets));
            }
        }
    }

    /// Takes an answer that was given up: stored perhaps, but not in time.
    pub(super) fn expire(&mut self, reply: Reply, core: &mut Core) {
        match reply {
            Reply::Ok {
                endpoint,
                persistence,
            } => {
                self.waiting -= 1;
                core.statistics.expired.add(1);
                core.count_answer(endpoint, Status::ServiceUnavailable);
                let persistence = self.persistence(persistence, core);
                self.append(core, |out, core| {
                    core.responses
                        .empty(out, Status::ServiceUnavailable, persistence);
                });
            }
            octets @ Reply::Octets(_) => self.release(octets, core),
        }
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
                // A last look here as well: the octets that were missing may lie there since the loop was held up.
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
        served: &mut bool,
    ) -> io::Result<Turn> {
        for _ in 0..READS_MAX {
            self.write(core)?;
            if self.lingering.is_some() {
                return self.drain(buffer);
            }
            if self.closing || self.transport.is_blocked() {
                break;
            }
            if self.is_paused(core) {
                return Ok(Turn::Wait);
            }
            if !core.admits() && (self.put_back || self.readable) {
                core.statistics.pauses.add(1);
                return Ok(Turn::Starved);
            }
            if self.put_back {
                self.put_back = false;
                let octets = self.assembler.take_back();
                self.serve(&octets, core, served);
                continue;
            }
            if !self.readable {
                break;
            }
            match self.transport.read(buffer) {
                Ok(0) => {
                    self.ended = true;
                    self.readable = false;
                }
                Ok(len) => {
                    // Less than there was room for: the queue is empty, and the next octet is a new edge.
                    self.readable = len == buffer.len() || self.read_closed;
                    self.serve(&buffer[..len], core, served);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.write(core)?;
        self.finish(core, buffer)
    }

    /// Decides what follows once all that could be done was done.
    fn finish(&mut self, core: &Core, buffer: &mut [u8]) -> io::Result<Turn> {
        if self.waiting > 0 || !self.transport.is_written() {
            let more =
                (self.readable || self.put_back) && !self.closing && !self.transport.is_blocked();
            return Ok(if more && !self.is_paused(core) {
                Turn::Again
            } else {
                Turn::Wait
            });
        }
        // With octets unread in the socket a plain close would send a reset, and the answer would be lost to it. Who
        // did not ask for the close may have sent more.
        if self.refused || (self.closing && (self.readable || core.phase >= Phase::Draining)) {
            self.transport.shut_write()?;
            self.lingering = Some(LINGER_OCTETS_MAX);
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

    /// Serves the requests in `octets`; what a limit does not let through is put back.
    fn serve(&mut self, octets: &[u8], core: &mut Core, served: &mut bool) {
        let mut rest = octets;
        while !rest.is_empty() && !self.closing {
            let full = self.waiting + self.transport.owed() >= core.options.pipeline_max;
            if self.assembler.is_between_requests()
                && (full || self.is_paused(core) || !core.admits())
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
                    *served = true;
                    self.more = !rest.is_empty();
                    self.answer(outcome, persistence, core);
                    self.more = false;
                }
                Ok((_, Next::Head(head))) => {
                    let expects_continue = head.expects_continue;
                    match core.admit(&head) {
                        Err(status) => self.refuse(status, core),
                        Ok(()) if expects_continue => self.reply_octets(core, |out, _| {
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

    /// Answers a whole request, behind the answers that wait.
    fn answer(&mut self, outcome: Outcome, asked: Persistence, core: &mut Core) {
        if let Outcome::Stored { endpoint, ack } = outcome
            && (ack == Ack::Stored || self.waiting > 0)
        {
            self.closing |= asked == Persistence::Close;
            self.waiting += 1;
            let persistence = asked;
            let reply = Reply::Ok {
                endpoint,
                persistence,
            };
            return core.outbox.wait(self.token, reply);
        }
        let persistence = self.persistence(asked, core);
        match outcome {
            Outcome::Stored { endpoint, .. } => {
                core.count_answer(endpoint, Status::Ok);
                self.answer_ok(persistence, core);
            }
            Outcome::Challenge(challenge) => self.reply_octets(core, |out, core| {
                core.responses.challenge(out, &challenge, persistence);
            }),
            // Without a length nobody can say where the next request begins.
            Outcome::Refused(status @ Status::LengthRequired) => self.refuse(status, core),
            Outcome::Refused(status) => self.reply_octets(core, |out, core| {
                core.responses.empty(out, status, persistence);
            }),
        }
    }

    /// A refusal after which nothing more of this connection is read as a request.
    fn refuse(&mut self, status: Status, core: &mut Core) {
        self.closing = true;
        self.refused = true;
        self.put_back = false;
        self.assembler = Assembler::default();
        self.reply_octets(core, |out, core| {
            core.responses.empty(out, status, Persistence::Close);
        });
    }

    fn answer_ok(&mut self, persistence: Persistence, core: &mut Core) {
        if persistence == Persistence::KeepAlive {
            self.transport.owe_ok();
        } else {
            self.append(core, |out, core| {
                core.responses.empty(out, Status::Ok, persistence);
            });
        }
    }

    /// While draining, the last answer says that it is the last, whatever it is; what has arrived behind it is answered
    /// before.
    fn persistence(&mut self, asked: Persistence, core: &Core) -> Persistence {
        let last = core.phase >= Phase::Draining
            && self.waiting == 0
            && self.assembler.is_between_requests()
            && !(self.more || self.put_back || self.readable);
        let persistence = if last { Persistence::Close } else { asked };
        self.closing |= persistence == Persistence::Close;
        persistence
    }

    /// An answer in octets: at once, or behind those that wait.
    fn reply_octets(&mut self, core: &mut Core, render: impl FnOnce(&mut Vec<u8>, &Core)) {
        if self.waiting == 0 {
            return self.append(core, render);
        }
        let mut octets = Vec::new();
        render(&mut octets, core);
        self.waiting += 1;
        core.outbox
            .wait(self.token, Reply::Octets(octets.into_boxed_slice()));
    }

    fn append(&mut self, core: &Core, render: impl FnOnce(&mut Vec<u8>, &Core)) {
        self.transport
            .append(&core.responses, |out| render(out, core));
    }

    fn write(&mut self, core: &Core) -> io::Result<()> {
        self.transport.write(&core.registry, &core.responses)
    }

    /// Throws away what arrives until the peer has read our answer and closes, or the deadline comes.
    fn drain(&mut self, buffer: &mut [u8]) -> io::Result<Turn> {
        for _ in 0..READS_MAX {
            match self.transport.read(buffer) {
                Ok(0) => return Ok(Turn::Close),
                Ok(len) => match self.lingering.and_then(|left| left.checked_sub(len)) {
                    Some(left) => self.lingering = Some(left),
                    None => return Ok(Turn::Close),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Turn::Wait),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Turn::Again)
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

    /// Lets go of all it holds, for others to have room. True when the connection is to be closed without another
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
    pub(super) fn let_go(&mut self, core: &mut Core) {
        core.holdings
            .note(&mut self.share, self.token, 0, (0, false));
    }

    /// There is room again in the journal. The time in which nothing was read for want of it was not the sender's.
    pub(super) fn resume(&mut self, core: &Core) {
        if let Some(since) = self.starved.take() {
            self.deadline += core.clock.tick() - since;
        }
    }
}
