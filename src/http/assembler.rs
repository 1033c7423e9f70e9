//! Cuts what one connection receives into whole requests, however the bytes arrive.
//!
//! A request that lies in the receive buffer as a whole is served from there and nothing is copied or kept. Only an
//! incomplete one is gathered in a buffer of its own, which is freed as soon as it was served, so an idle
//! connection holds none. Bodies grow that buffer as they come: an announced length reserves nothing.

use super::Limits;
use super::chunked::Decoder;
use super::head::{Framing, Head, Slots};
use super::status::Status;

/// The part of a connection that knows where in a request it is.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Head and decoded body of the request that is incomplete; between requests, bytes put back.
    gathered: Vec<u8>,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// Nothing of the next request was seen, or only a part of its head.
    #[default]
    Head,
    /// The head is complete; the request is, once `total` bytes are gathered.
    Length { total: usize },
    /// The head is complete; the body is decoded behind it.
    Chunked { decoder: Box<Decoder> },
    /// What is gathered was handed out as a request.
    Served,
}

/// What the next bytes amount to.
pub enum Next<'h, 'b> {
    /// A whole request.
    Request(Head<'h, 'b>, &'b [u8]),
    /// The head of a request whose body is still to come: the moment to refuse it, or to say 100. Comes at most once
    /// for each request; everything was taken.
    Head(Head<'h, 'b>),
    /// Everything was taken and more is needed.
    Incomplete,
}

impl Assembler {
    /// Takes bytes from the front of `input` and says how many: all of them, unless a request was completed.
    /// After an error the connection has no further requests.
    pub fn next<'h, 'b>(
        &'b mut self,
        input: &'b [u8],
        slots: &'h mut Slots<'b>,
        limits: &Limits,
    ) -> Result<(usize, Next<'h, 'b>), Status> {
        self.release();
        if self.is_between_requests() {
            self.start(input, slots, limits)
        } else {
            self.resume(input, slots, limits)
        }
    }

    /// Puts back bytes that stand for whole requests which cannot be served yet. Only between requests.
    pub fn put_back(&mut self, bytes: &[u8]) {
        debug_assert!(
            self.is_between_requests(),
            "nothing incomplete may be overwritten"
        );
        self.state = State::Head;
        self.gathered.clear();
        self.gathered.extend_from_slice(bytes);
    }

    /// Takes what was put back.
    pub fn take_back(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.gathered)
    }

    /// Bytes that are held for this connection.
    pub fn held(&self) -> usize {
        if matches!(self.state, State::Served) {
            0
        } else {
            self.gathered.len()
        }
    }

    /// True when no part of a request has been received.
    pub fn is_between_requests(&self) -> bool {
        self.held() == 0 && matches!(self.state, State::Head | State::Served)
    }

    /// True when a head is complete and its body is not.
    pub fn awaits_body(&self) -> bool {
        matches!(self.state, State::Length { .. } | State::Chunked { .. })
    }

    /// Frees the buffer of a request that was served.
    pub fn release(&mut self) {
        if matches!(self.state, State::Served) {
            *self = Assembler::default();
        }
    }

    /// Nothing is gathered: the common case, where a request is served out of `input`.
    fn start<'h, 'b>(
        &'b mut self,
        input: &'b [u8],
        slots: &'h mut Slots<'b>,
        limits: &Limits,
    ) -> Result<(usize, Next<'h, 'b>), Status> {
        let Some(head) = Head::parse(input, slots, limits)? else {
            self.gathered.extend_from_slice(input);
            return Ok((input.len(), Next::Incomplete));
        };
        let (head_bytes, rest) = input.split_at(head.len);
        let length = match head.framing {
            Framing::None => 0,
            Framing::Length(length) => length,
            Framing::Chunked => {
                self.gathered.extend_from_slice(head_bytes);
                let mut decoder = Box::new(Decoder::new(limits.body));
                let (consumed, done) = decoder.decode(rest, &mut self.gathered)?;
                if done {
                    self.state = State::Served;
                    let body = self.gathered.get(head.len..).unwrap_or_default();
                    return Ok((head.len + consumed, Next::Request(head, body)));
                }
                self.state = State::Chunked { decoder };
                return Ok((input.len(), Next::Head(head)));
            }
        };
        if let Some(body) = rest.get(..length) {
            return Ok((head.len + length, Next::Request(head, body)));
        }
        self.gathered.extend_from_slice(input);
        self.state = State::Length {
            total: head.len + length,
        };
        Ok((input.len(), Next::Head(head)))
    }

    /// Goes on with a request of which a part is gathered.
    fn resume<'h, 'b>(
        &'b mut self,
        input: &'b [u8],
        slots: &'h mut Slots<'b>,
        limits: &Limits,
    ) -> Result<(usize, Next<'h, 'b>), Status> {
        let mut rest = input;
        let in_head = matches!(self.state, State::Head);
        if in_head {
            let Some(taken) = self.complete_head(input, limits)? else {
                return Ok((input.len(), Next::Incomplete));
            };
            rest = input.get(taken..).unwrap_or_default();
        }
        let (consumed, complete) = match &mut self.state {
            State::Length { total } => {
                let missing = *total - self.gathered.len();
                let piece = rest.get(..missing).unwrap_or(rest);
                // Doubles like any vector, but never past the end of the request.
                if self.gathered.capacity() - self.gathered.len() < piece.len() {
                    self.gathered
                        .reserve_exact(missing.min(piece.len().max(self.gathered.len())));
                }
                self.gathered.extend_from_slice(piece);
                (piece.len(), piece.len() == missing)
            }
            State::Chunked { decoder } => decoder.decode(rest, &mut self.gathered)?,
            State::Head | State::Served => unreachable!("the head is complete and not served yet"),
        };
        let consumed = input.len() - rest.len() + consumed;
        if !complete && !in_head {
            return Ok((consumed, Next::Incomplete));
        }
        if complete {
            self.state = State::Served;
        }
        // The second look at a head that was complete before: only requests that came in pieces pay for it.
        let head = Head::parse(&self.gathered, slots, limits)?.ok_or(Status::BadRequest)?;
        let body = self.gathered.get(head.len..).unwrap_or_default();
        Ok((
            consumed,
            if complete {
                Next::Request(head, body)
            } else {
                Next::Head(head)
            },
        ))
    }

    /// Gathers more of a head. Once it is complete, cuts off what is not head and says how much of `input` was.
    fn complete_head(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, Status> {
        let before = self.gathered.len();
        // One byte more than a head may have, and the empty line that may stand ahead of it.
        let room = (limits.head + 3).saturating_sub(before);
        let piece = input.get(..room).unwrap_or(input);
        self.gathered.extend_from_slice(piece);
        // A head ends with a line, so a piece without one needs no look: a slow sender costs one parse a line.
        if memchr::memchr(b'\n', piece).is_none() && self.gathered.len() < limits.head {
            return Ok(None);
        }
        let mut slots = Slots::new();
        let Some(head) = Head::parse(&self.gathered, &mut slots, limits)? else {
            return Ok(None);
        };
        let (len, framing) = (head.len, head.framing);
        self.state = match framing {
            Framing::None => State::Length { total: len },
            Framing::Length(length) => State::Length {
                total: len + length,
            },
            Framing::Chunked => State::Chunked {
                decoder: Box::new(Decoder::new(limits.body)),
            },
        };
        self.gathered.truncate(len);
        Ok(Some(len - before))
    }
}

#[cfg(test)]
mod tests;
