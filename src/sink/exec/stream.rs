//! A program that is started once, reads events from its standard input, and says of each on its standard output what
//! became of it. The protocol stands in [the module above](super).
//!
//! It is started with the first event, and again with the next one when it has ended, after a pause that grows until
//! it confirms something. An event has as many times the timeout as events were before it with the program, itself
//! included: so a program that takes them one by one has the whole timeout for each, and one that leaves an event out
//! is found out.
//!
//! When the program ends, or is ended, with events open:
//!
//! - if it has answered anything since it was started, it works, and what ended it is the event that is open longest:
//!   that one has failed, and the others go to the next program as if nothing had been;
//! - otherwise it does not work, and all of them have failed;
//! - when that is because the server stops, nothing has failed.

use super::super::transport::{Attempt, Failure, FailureKind, Outcome, Outcomes, Transport};
use super::process::{Process, read_some, unblock, wait};
use super::{LastWords, Program, STOP_LOOK, code, render, retry, stopped};
use crate::dead_letter::Answer;
use crate::event::Item;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::process::Signal;
use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The transport. Dropped, it closes the program's input and gives it a moment to end.
#[derive(Debug)]
pub struct Stream {
    outcomes: Outcomes,
    /// Taken on drop, so that the thread ends.
    attempts: Option<Sender<Attempt>>,
    bell: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Most events that are with the program at a time; what a sink with this transport has as its concurrency.
    pub const WINDOW: usize = 64;

    /// Starts the thread; the program is started with the first event. `outcomes` has room for [`Stream::WINDOW`].
    pub fn start(program: Program, outcomes: Outcomes) -> io::Result<Stream> {
        let (attempts, queue) = bounded(Stream::WINDOW);
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let name = format!("hl-exec-{}", program.sink);
        let feeder = Feeder {
            program,
            outcomes: outcomes.clone(),
            queue,
            bell: Arc::clone(&bell),
            open: VecDeque::new(),
            session: None,
            pause: RESTART_MIN,
            not_before: Instant::now(),
            stopping: None,
        };
        let thread = thread::Builder::new().name(name).spawn(|| feeder.work())?;
        Ok(Stream {
            outcomes,
            attempts: Some(attempts),
            bell,
            thread: Some(thread),
        })
    }

    fn wake(&self) {
        // A bell that rings already is as good.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

impl Transport for Stream {
    fn start(&mut self, attempt: Attempt) {
        let ticket = attempt.ticket;
        let attempts = self.attempts.as_ref();
        if attempts.is_some_and(|it| it.try_send(attempt).is_ok()) {
            self.wake();
        } else {
            let result = Err(Failure::unreached("too many events at a time"));
            // Who does not listen any more has no use for it.
            let _ = self.outcomes.try_send(Outcome { ticket, result });
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.attempts.take());
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread does.
struct Feeder {
    program: Program,
    outcomes: Outcomes,
    queue: Receiver<Attempt>,
    bell: Arc<OwnedFd>,
    /// In the order in which they came.
    open: VecDeque<Open>,
    session: Option<Session>,
    /// Before the next program is started, and when that may be.
    pause: Duration,
    not_before: Instant,
    /// Since when the server is to stop.
    stopping: Option<Instant>,
}

/// An event that is not done.
struct Open {
    attempt: Attempt,
    item: Item,
    /// When it went to the program that runs, and how long it has from then on.
    sent: Option<(Instant, Duration)>,
}

/// A program that runs.
struct Session {
    process: Process,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// A line on its way to it.
    output: Vec<u8>,
    written: usize,
    /// The begin of a line from it.
    input: Vec<u8>,
    said: LastWords,
    /// When it last answered.
    answered: Option<Instant>,
    /// It has said what nobody understands, and that was logged.
    logged: bool,
}

impl Feeder {
    fn work(mut self) {
        loop {
            let closed = self.take_jobs();
            if closed {
                break;
            }
            if self.program.is_stopping() {
                self.stopping.get_or_insert_with(Instant::now);
            }
            if let Err(error) = self.turn() {
                self.session = None;
                let reason = format!("cannot run {}: {error}", self.program.command[0]);
                self.has_ended(&Failure::unreached(reason), false);
            }
        }
        if let Some(mut session) = self.session.take() {
            drop(session.stdin.take());
            let patience = match self.stops_at() {
                Some(at) => at.saturating_duration_since(Instant::now()),
                None => self.program.timeout,
            };
            let patience = patience.min(self.program.timeout);
            if !session.process.has_ended_within(patience).unwrap_or(false) {
                let patience = self.program.end_patience(self.stopping.is_some());
                let _ = session.process.terminate(patience);
            }
        }
    }

    /// True when no more will come.
    fn take_jobs(&mut self) -> bool {
        loop {
            match self.queue.try_recv() {
                Ok(attempt) => {
                    let item = attempt.items.first().map(|one| one.item);
                    let item = item.expect("an attempt has an item");
                    let sent = None;
                    self.open.push_back(Open {
                        attempt,
                        item,
                        sent,
                    });
                }
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
    }

    /// Starts the program if it is needed, waits for something to do, and does it.
    fn turn(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.session.is_none() && self.has_to_stop() {
            self.give_back();
        }
        if self.session.is_none() && !self.open.is_empty() && now >= self.not_before {
            self.session = Some(Session::start(&self.program)?);
        }
        self.send()?;
        let until = match &self.session {
            Some(_) => self.deadline(),
            None if self.open.is_empty() => None,
            None => Some(self.not_before),
        };
        let left = until.map_or(STOP_LOOK, |at| at.saturating_duration_since(now));
        let has_ended = self.wait(left.min(STOP_LOOK))?;
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        for line in session.read() {
            self.answered(&line);
        }
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let is_deaf = session.stdin.is_none() && self.open.iter().all(|open| open.sent.is_none());
        if has_ended || session.stdout.is_none() || is_deaf {
            let status = if has_ended {
                session.process.signal(Signal::KILL);
                session.process.reap()?
            } else {
                session
                    .process
                    .terminate(self.program.end_patience(false))?
            };
            let failure = if status.signal().is_some() && self.stopping.is_some() {
                stopped()
            } else {
                retry(format!("the program ended with {status}"), None)
            };
            self.over(status, failure);
        } else if self.deadline().is_some_and(|at| Instant::now() >= at) {
            let stops = self.has_to_stop();
            if let Some(session) = &mut self.session {
                drop(session.stdin.take());
                let status = session
                    .process
                    .terminate(self.program.end_patience(stops))?;
                let failure = if stops {
                    stopped()
                } else {
                    self.program.too_late()
                };
                self.over(status, failure);
            }
        }
        Ok(())
    }

    /// When what is under way has to be over because the server stops.
    fn stops_at(&self) -> Option<Instant> {
        Some(self.program.stops_at(self.stopping?))
    }

    fn has_to_stop(&self) -> bool {
        self.stops_at().is_some_and(|at| Instant::now() >= at)
    }

    /// Nothing of what is open was tried.
    fn give_back(&mut self) {
        for open in std::mem::take(&mut self.open) {
            self.end(open.attempt.ticket, Err(stopped()));
        }
    }

    fn wait(&self, time: Duration) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(&*self.bell, PollFlags::IN)];
        if let Some(session) = &self.session {
            let end = session.process.end();
            fds.push(PollFd::from_borrowed_fd(end, PollFlags::IN));
            fds.extend(
                session
                    .stdout
                    .as_ref()
                    .map(|it| PollFd::new(it, PollFlags::IN)),
            );
            fds.extend(
                session
                    .stderr
                    .as_ref()
                    .map(|it| PollFd::new(it, PollFlags::IN)),
            );
            let stdin = session.stdin.as_ref().filter(|_| session.is_writing());
            fds.extend(stdin.map(|it| PollFd::new(it, PollFlags::OUT)));
        }
        wait(&mut fds, time)?;
        if !fds[0].revents().is_empty() {
            let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        }
        Ok(fds.get(1).is_some_and(|end| !end.revents().is_empty()))
    }

    /// Writes as many events as the program takes.
    fn send(&mut self) -> io::Result<()> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let mut before = 0;
        for open in &mut self.open {
            before += 1;
            if open.sent.is_some() {
                continue;
            }
            if !session.write()? {
                return Ok(());
            }
            (session.output, session.written) = (render(&open.attempt), 0);
            open.sent = Some((Instant::now(), self.program.timeout.saturating_mul(before)));
        }
        session.write()?;
        Ok(())
    }

    /// When an event will have taken too long.
    fn deadline(&self) -> Option<Instant> {
        let stops_at = self.stops_at();
        let sent = self.open.iter().filter_map(|open| open.sent);
        sent.map(|(at, allowed)| stops_at.map_or(at + allowed, |it| it.min(at + allowed)))
            .min()
    }

    /// The program has said something.
    fn answered(&mut self, line: &[u8]) {
        let Some((item, result)) = parse(line) else {
            if let Some(session) = &mut self.session
                && !std::mem::replace(&mut session.logged, true)
            {
                let (sink, line) = (&self.program.sink, String::from_utf8_lossy(line));
                tracing::warn!(sink, %line, "the sink's program has printed a line that is neither `ok SEQ.INDEX` nor `retry SEQ.INDEX`; such lines are ignored");
            }
            return;
        };
        let is_meant = |open: &Open| open.item == item && open.sent.is_some();
        // What nobody waits for was answered before.
        if let Some(open) = self.open.iter().position(is_meant)
            && let Some(open) = self.open.remove(open)
        {
            self.pause = RESTART_MIN;
            if let Some(session) = &mut self.session {
                session.answered = Some(Instant::now());
            }
            self.end(open.attempt.ticket, result);
        }
    }

    /// The program that ran has ended with that, which fails what is open.
    fn over(&mut self, status: ExitStatus, failure: Failure) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        for line in session.read() {
            self.answered(&line);
        }
        let answer = Answer {
            status: code(status),
            excerpt: session.said.excerpt(),
        };
        if failure.kind == FailureKind::Untried {
            self.give_back();
            return;
        }
        let failure = Failure {
            answer: Some(answer),
            ..failure
        };
        self.has_ended(&failure, session.answered.is_some());
    }

    /// No program runs any more. `worked` if it has answered anything.
    fn has_ended(&mut self, failure: &Failure, worked: bool) {
        let sink = &self.program.sink;
        tracing::warn!(
            sink,
            reason = failure.reason,
            "the sink's program has ended: it is started again with the next event, and what it has not confirmed is delivered again"
        );
        self.not_before = Instant::now() + self.pause;
        self.pause = (2 * self.pause).min(RESTART_MAX);
        let oldest = self.open.iter().position(|open| open.sent.is_some());
        let failed = if worked {
            oldest
                .and_then(|at| self.open.remove(at))
                .into_iter()
                .collect()
        } else {
            std::mem::take(&mut self.open)
        };
        for open in &mut self.open {
            open.sent = None;
        }
        for open in failed {
            self.end(open.attempt.ticket, Err(failure.clone()));
        }
    }

    fn end(&self, ticket: u64, result: Result<(), Failure>) {
        // Who does not listen any more has no use for it.
        let _ = self.outcomes.try_send(Outcome { ticket, result });
    }
}

impl Session {
    fn start(program: &Program) -> io::Result<Session> {
        let mut process = Process::start(program, &[], Stdio::piped())?;
        let stdin = process.child.stdin.take();
        let stdout = process.child.stdout.take();
        let stderr = process.child.stderr.take();
        stdin.as_ref().map(unblock).transpose()?;
        stdout.as_ref().map(unblock).transpose()?;
        stderr.as_ref().map(unblock).transpose()?;
        Ok(Session {
            process,
            stdin,
            stdout,
            stderr,
            output: Vec::new(),
            written: 0,
            input: Vec::new(),
            said: LastWords::default(),
            answered: None,
            logged: false,
        })
    }

    fn is_writing(&self) -> bool {
        self.written < self.output.len()
    }

    /// True when the line is out and there may be a next one.
    fn write(&mut self) -> io::Result<bool> {
        while self.is_writing() {
            let Some(stdin) = &mut self.stdin else {
                return Ok(false);
            };
            match stdin.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It reads no more. It will end, or take too long.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.stdin = None,
                Err(error) => return Err(error),
            }
        }
        Ok(self.stdin.is_some())
    }

    /// Takes what it says, and gives the lines that are whole.
    fn read(&mut self) -> Vec<Vec<u8>> {
        read_some(&mut self.stderr, |bytes| self.said.add(bytes));
        let mut lines = Vec::new();
        let input = &mut self.input;
        read_some(&mut self.stdout, |bytes| {
            for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                // Of a longer one the begin is enough.
                let room = LINE_MAX.saturating_sub(input.len());
                input.extend_from_slice(&part[..part.len().min(room)]);
                if part.ends_with(b"\n") {
                    lines.push(std::mem::take(input));
                }
            }
        });
        lines
    }
}

/// Reads `ok SEQ.INDEX` and `retry SEQ.INDEX [REASON]`.
fn parse(line: &[u8]) -> Option<(Item, Result<(), Failure>)> {
    let line = String::from_utf8_lossy(line);
    let (verb, rest) = line.trim().split_once(' ')?;
    let (item, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let item: Item = item
        .parse()
        .ok()
        .filter(|item: &Item| item.index.is_some())?;
    match verb {
        "ok" => Some((item, Ok(()))),
        "retry" => {
            let mut said = LastWords::default();
            said.add(reason.as_bytes());
            let reason = match said.excerpt() {
                reason if reason.is_empty() => "the program asks for another attempt".to_owned(),
                reason => format!("the program asks for another attempt: {reason}"),
            };
            Some((item, Err(retry(reason, None))))
        }
        _ => None,
    }
}

/// The first pause before a program is started again, and the longest.
const RESTART_MIN: Duration = Duration::from_millis(100);
const RESTART_MAX: Duration = Duration::from_secs(10);

/// Bytes of a line from the program that are looked at.
const LINE_MAX: usize = 1024;
