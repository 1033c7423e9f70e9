//! What a connection answers, and in which order: each answer behind those that wait for the disk.

use super::super::control::Phase;
use super::super::core::{Core, Outcome};
use super::super::outbox::Reply;
use super::{Connection, State};
use crate::endpoint::Ack;
use crate::http::assembler::Assembler;
use crate::http::head::Persistence;
use crate::http::{Refusal, Status};

impl Connection {
    /// Takes an answer that has become free. The answers of a connection leave together, in [`Connection::turn`].
    pub(in crate::reactor) fn release(&mut self, reply: Reply, core: &mut Core) {
        self.waiting -= 1;
        match reply {
            Reply::Ok {
                endpoint,
                persistence,
            } => {
                core.count_answer(endpoint, Status::Ok);
                let persistence = self.persistence(persistence, false, core);
                self.answer_ok(persistence, core);
            }
            Reply::Bytes(bytes) => {
                self.append(core, |out, _| out.extend_from_slice(&bytes));
            }
        }
    }

    /// Takes an answer that was given up: stored perhaps, but not in time.
    pub(in crate::reactor) fn expire(&mut self, reply: Reply, core: &mut Core) {
        match reply {
            Reply::Ok {
                endpoint,
                persistence,
            } => {
                self.waiting -= 1;
                core.statistics.expired.add(1);
                core.count_answer(endpoint, Status::ServiceUnavailable);
                let persistence = self.persistence(persistence, false, core);
                self.append(core, |out, core| {
                    core.responses
                        .empty(out, Status::ServiceUnavailable, persistence);
                });
            }
            bytes @ Reply::Bytes(_) => self.release(bytes, core),
        }
    }

    /// Answers a whole request, behind the answers that wait. `more` is there to serve behind it.
    pub(super) fn answer(
        &mut self,
        outcome: Outcome,
        asked: Persistence,
        more: bool,
        core: &mut Core,
    ) {
        if let Outcome::Stored { endpoint, ack } = outcome
            && (ack == Ack::Stored || self.waiting > 0 || core.outbox.is_behind(core.clock.now))
        {
            self.close_after(asked);
            self.waiting += 1;
            let persistence = asked;
            let reply = Reply::Ok {
                endpoint,
                persistence,
            };
            return core.outbox.wait(self.token, reply);
        }
        let persistence = self.persistence(asked, more, core);
        match outcome {
            Outcome::Stored { endpoint, .. } => {
                core.count_answer(endpoint, Status::Ok);
                self.answer_ok(persistence, core);
            }
            Outcome::Challenge(challenge) => self.reply_bytes(core, |out, core| {
                core.responses.challenge(out, &challenge, persistence);
            }),
            // Without a length nobody can say where the next request begins.
            Outcome::Refused(refusal) if refusal.status == Status::LengthRequired => {
                self.refuse(refusal, core);
            }
            Outcome::Refused(refusal) => self.reply_bytes(core, |out, core| {
                core.responses.refusal(out, refusal, persistence);
            }),
        }
    }

    /// A refusal after which nothing more of this connection is read as a request.
    pub(super) fn refuse(&mut self, refusal: impl Into<Refusal>, core: &mut Core) {
        let refusal = refusal.into();
        self.state = State::Refused;
        self.put_back = false;
        self.assembler = Assembler::default();
        self.reply_bytes(core, |out, core| {
            core.responses.refusal(out, refusal, Persistence::Close);
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
    fn persistence(&mut self, asked: Persistence, more: bool, core: &Core) -> Persistence {
        let last = core.phase >= Phase::Draining
            && self.waiting == 0
            && self.assembler.is_between_requests()
            && !(more || self.has_more());
        let persistence = if last { Persistence::Close } else { asked };
        self.close_after(persistence);
        persistence
    }

    fn close_after(&mut self, persistence: Persistence) {
        if persistence == Persistence::Close && self.state == State::Open {
            self.state = State::Closing;
        }
    }

    /// An answer in bytes: at once, or behind those that wait.
    pub(super) fn reply_bytes(
        &mut self,
        core: &mut Core,
        render: impl FnOnce(&mut Vec<u8>, &Core),
    ) {
        if self.waiting == 0 {
            return self.append(core, render);
        }
        let mut bytes = Vec::new();
        render(&mut bytes, core);
        self.waiting += 1;
        core.outbox
            .wait(self.token, Reply::Bytes(bytes.into_boxed_slice()));
    }

    fn append(&mut self, core: &Core, render: impl FnOnce(&mut Vec<u8>, &Core)) {
        self.transport
            .append(&core.responses, |out| render(out, core));
    }
}
