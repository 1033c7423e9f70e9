//! A program that is started for each event, and ends with exit status 0 when it is done.

use super::super::transport::{Attempt, Failure, Outcome, Outcomes, Transport};
use super::process::{Process, read_some, unblock, wait};
use super::{LastWords, Program, STOP_LOOK, code, render, retry, stopped};
use crate::dead_letter::Answer;
use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{PollFd, PollFlags};
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ChildStderr, ChildStdin, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The transport. Each program that runs has a thread that waits for it; there are no more threads than were needed
/// at a time. Dropped, it waits for the programs that run.
#[derive(Debug)]
pub struct Each {
    shared: Arc<Shared>,
    /// Taken on drop, so that the threads end.
    attempts: Option<Sender<Attempt>>,
    queue: Receiver<Attempt>,
    threads: Vec<JoinHandle<()>>,
    threads_max: usize,
}

#[derive(Debug)]
struct Shared {
    program: Program,
    outcomes: Outcomes,
    /// Jobs that have not ended.
    under_way: AtomicUsize,
    /// When it was first seen that the server is to stop.
    stopping: OnceLock<Instant>,
}

impl Each {
    /// At most `concurrency` programs at a time, which is also the most that may be under way; `outcomes` has room
    /// for as many.
    pub fn new(program: Program, concurrency: usize, outcomes: Outcomes) -> Each {
        let (attempts, queue) = bounded(concurrency);
        Each {
            shared: Arc::new(Shared {
                program,
                outcomes,
                under_way: AtomicUsize::new(0),
                stopping: OnceLock::new(),
            }),
            attempts: Some(attempts),
            queue,
            threads: Vec::new(),
            threads_max: concurrency,
        }
    }

    fn start_thread(&mut self) -> io::Result<()> {
        let (shared, queue) = (Arc::clone(&self.shared), self.queue.clone());
        let name = format!("hl-exec-{}", shared.program.sink);
        let thread = thread::Builder::new().name(name).spawn(move || {
            for attempt in queue {
                let result = shared.run(&attempt);
                shared.end(attempt.ticket, result);
            }
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Transport for Each {
    fn start(&mut self, attempt: Attempt) {
        let ticket = attempt.ticket;
        let under_way = self.shared.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        let mut problem = None;
        if under_way > self.threads.len() && self.threads.len() < self.threads_max {
            // With fewer threads it takes longer.
            problem = self.start_thread().err();
        }
        let attempts = self.attempts.as_ref().filter(|_| !self.threads.is_empty());
        if attempts.is_none_or(|attempts| attempts.try_send(attempt).is_err()) {
            let problem =
                problem.map_or_else(|| "too many at a time".to_owned(), |it| it.to_string());
            let reason = format!("no thread for the program: {problem}");
            self.shared.end(ticket, Err(Failure::unreached(reason)));
        }
    }
}

impl Drop for Each {
    fn drop(&mut self) {
        drop(self.attempts.take());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn end(&self, ticket: u64, result: Result<(), Failure>) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        // Who does not listen any more has no use for it.
        let _ = self.outcomes.try_send(Outcome { ticket, result });
    }

    fn run(&self, attempt: &Attempt) -> Result<(), Failure> {
        if self.has_no_time() {
            return Err(stopped());
        }
        let number = attempt.number.to_string();
        let variables = [
            ("HOOKLINE_ATTEMPT", number.as_str()),
            (
                "HOOKLINE_REPLAY",
                attempt.replay.as_deref().unwrap_or_default(),
            ),
        ];
        let run = Run::start(&self.program, &variables, render(attempt));
        let ended = run.and_then(|run| run.until_it_ends(self));
        let (status, end, said) = ended.map_err(|error| {
            let name = &self.program.command[0];
            Failure::unreached(format!("cannot run {name}: {error}"))
        })?;
        let failure = match end {
            End::Own if status.success() => return Ok(()),
            End::Own if status.signal().is_some() && self.program.is_stopping() => stopped(),
            End::Own => retry(format!("the program ended with {status}"), None),
            End::TooLate => self.program.too_late(),
            End::Stop => stopped(),
        };
        let answer = Answer {
            status: code(status),
            excerpt: said.excerpt(),
        };
        Err(Failure {
            answer: Some(answer),
            ..failure
        })
    }

    /// The server stops, and a program that begins now would be ended at once.
    fn has_no_time(&self) -> bool {
        if !self.program.is_stopping() {
            return false;
        }
        let seen = *self.stopping.get_or_init(Instant::now);
        Instant::now() >= self.program.stops_at(seen)
    }
}

/// How a program came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By itself, or by somebody else.
    Own,
    /// It took longer than the timeout.
    TooLate,
    /// The server stops.
    Stop,
}

/// A program with one event.
struct Run {
    process: Process,
    stdin: Option<ChildStdin>,
    stderr: Option<ChildStderr>,
    input: Vec<u8>,
    written: usize,
    said: LastWords,
}

impl Run {
    fn start(program: &Program, variables: &[(&str, &str)], input: Vec<u8>) -> io::Result<Run> {
        let mut process = Process::start(program, variables, Stdio::null())?;
        let stdin = process.child.stdin.take();
        let stderr = process.child.stderr.take();
        stdin.as_ref().map(unblock).transpose()?;
        stderr.as_ref().map(unblock).transpose()?;
        Ok(Run {
            process,
            stdin,
            stderr,
            input,
            written: 0,
            said: LastWords::default(),
        })
    }

    /// Its exit status, how it came to its end, and what it said.
    fn until_it_ends(mut self, shared: &Shared) -> io::Result<(ExitStatus, End, LastWords)> {
        let program = &shared.program;
        let too_late = Instant::now() + program.timeout;
        loop {
            let mut until = too_late;
            if program.is_stopping() {
                let seen = *shared.stopping.get_or_init(Instant::now);
                until = until.min(program.stops_at(seen));
            }
            let left = until.saturating_duration_since(Instant::now());
            let has_ended = self.wait(left.min(STOP_LOOK))?;
            self.write();
            read_some(&mut self.stderr, |bytes| self.said.add(bytes));
            if has_ended {
                return Ok((self.process.reap()?, End::Own, self.said));
            }
            if left.is_zero() {
                drop(self.stdin.take());
                let end = if until < too_late {
                    End::Stop
                } else {
                    End::TooLate
                };
                let patience = program.end_patience(end == End::Stop);
                let status = self.process.terminate(patience)?;
                read_some(&mut self.stderr, |bytes| self.said.add(bytes));
                return Ok((status, end, self.said));
            }
        }
    }

    /// True once it has ended.
    fn wait(&self, time: Duration) -> io::Result<bool> {
        let end = self.process.end();
        let mut fds = vec![PollFd::from_borrowed_fd(end, PollFlags::IN)];
        fds.extend(
            self.stderr
                .as_ref()
                .map(|it| PollFd::new(it, PollFlags::IN)),
        );
        fds.extend(
            self.stdin
                .as_ref()
                .map(|it| PollFd::new(it, PollFlags::OUT)),
        );
        wait(&mut fds, time)?;
        Ok(!fds[0].revents().is_empty())
    }

    /// Writes what its input takes, and closes it behind that.
    fn write(&mut self) {
        let Some(stdin) = &mut self.stdin else {
            return;
        };
        while let Some(rest) = self.input.get(self.written..).filter(|it| !it.is_empty()) {
            match stdin.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It wants no more of it; its exit status says what that means.
                Err(_) => break,
            }
        }
        self.stdin = None;
    }
}
