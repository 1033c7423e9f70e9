//! Posts everything when it is due, whatever has been answered: one thread, its poll, and a number of connections.
//!
//! A connection has one request under way at most. When all of them are busy, what is due waits, and its time runs on
//! from the moment at which it was due: a receiver that stalls is seen to stall by everything that it delays. What
//! waits is the plan itself, so it is counted and not kept.

use super::super::exchange;
use super::body::Bodies;
use super::connection::Connection;
use super::ledger::Ledger;
use super::schedule::{Post, Schedule};
use aws_lc_rs::hmac;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a run needs to know.
pub(crate) struct Job {
    pub(crate) address: SocketAddr,
    /// Of every request, without the length and the proof.
    pub(crate) head: String,
    pub(crate) key: Option<hmac::Key>,
    pub(crate) bodies: Bodies,
    pub(crate) connections: usize,
    /// Whether what fails is posted again.
    pub(crate) retries: bool,
    pub(crate) interrupted: Arc<AtomicBool>,
}

/// Is called with how far it is: what was counted, the time since the start, and how many are due and wait.
pub(crate) type Watch<'w> = &'w mut dyn FnMut(&Ledger, Duration, u64);

/// Everything that is under way.
pub(crate) struct Load<'j> {
    job: &'j Job,
    schedule: Schedule,
    ledger: Ledger,
    poll: Poll,
    /// The poll's own timeout is in whole milliseconds.
    timer: OwnedFd,
    connections: Vec<Connection>,
    /// Those with nothing under way, the longest idle first.
    free: VecDeque<usize>,
    start: Instant,
    /// What this thread had of its core, and lacked, before.
    core_before: [Duration; 2],
    /// No connection was free then, and nothing had come in.
    busy_until: Duration,
    /// When somebody ended it.
    ended: Option<Duration>,
    body: Vec<u8>,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'j> Load<'j> {
    /// Nothing is sent yet.
    pub(crate) fn new(job: &'j Job, ledger: Ledger) -> io::Result<Load<'j>> {
        let poll = Poll::new()?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let source = timer.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&source), TIMER, Interest::READABLE)?;
        Ok(Load {
            schedule: Schedule::new(job.bodies.plan.clone()),
            ledger,
            poll,
            timer,
            connections: (0..job.connections)
                .map(|_| Connection::default())
                .collect(),
            free: (0..job.connections).collect(),
            start: Instant::now(),
            core_before: core_times(),
            busy_until: Duration::ZERO,
            ended: None,
            body: Vec::new(),
            request: Vec::new(),
            buffer: vec![0; RECEIVE_BYTES],
            job,
        })
    }

    /// Sends until the time is up and everything is answered, or nobody wants it any more.
    pub(crate) fn run(mut self, watch: Watch<'_>) -> io::Result<Ledger> {
        let mut events = Events::with_capacity(EVENTS);
        let mut look = Duration::ZERO;
        self.start = Instant::now();
        loop {
            self.send_due();
            let now = self.now();
            if now >= look {
                look = now + LOOK;
                self.look(now);
                if self.ledger.good() + self.ledger.bad() > 0 {
                    let waiting = self.schedule.waiting(now);
                    watch(&self.ledger, now, waiting);
                }
                if self.is_over(now) {
                    break;
                }
            }
            self.wait(look, &mut events)?;
            for event in &events {
                if event.token() != TIMER {
                    self.handle(event.token().0, event.is_writable(), event.is_read_closed());
                }
            }
            if self.is_idle() {
                look = Duration::ZERO;
            }
        }
        Ok(self.close())
    }

    /// Sends what is due, as long as a connection is free.
    fn send_due(&mut self) {
        while self.ended.is_none()
            && let Some(&index) = self.free.front()
        {
            let now = self.now();
            if self.schedule.due().is_none_or(|due| due > now) {
                return;
            }
            let Some(post) = self.schedule.take() else {
                return;
            };
            self.free.pop_front();
            self.ledger.sends(&post, now, self.busy_until);
            self.job.bodies.make(post.name, &mut self.body);
            self.request.clear();
            let Job { head, key, .. } = self.job;
            exchange::post(head, key.as_ref(), &self.body, &mut self.request);
            let connection = &mut self.connections[index];
            connection.under_way = Some((post, now));
            let sent = connection.send(
                &self.request,
                self.job.address,
                self.poll.registry(),
                Token(index),
            );
            if let Err(error) = sent {
                self.breaks(index, |ledger| ledger.breaks(&error));
            }
        }
    }

    /// Takes what has come, and sleeps only when that is nothing.
    fn wait(&mut self, look: Duration, events: &mut Events) -> io::Result<()> {
        poll(&mut self.poll, events, Duration::ZERO)?;
        let begin = self.now();
        // Without a free connection, an answer has to come first.
        let can_send = !self.free.is_empty() && self.ended.is_none();
        let due = self.schedule.due().filter(|_| can_send);
        if !events.is_empty() || due.is_some_and(|due| due <= begin) {
            return Ok(());
        }
        if let Some(due) = due.filter(|due| *due < look) {
            self.wake_in(due.saturating_sub(begin))?;
        }
        poll(&mut self.poll, events, look.saturating_sub(begin).max(TICK))?;
        if self.free.is_empty() {
            self.busy_until = self.now();
            let waiting = self.schedule.waiting(self.busy_until);
            self.ledger.waiting_max = self.ledger.waiting_max.max(waiting);
        }
        Ok(())
    }

    fn wake_in(&self, time: Duration) -> io::Result<()> {
        let zero = Timespec::default();
        let value = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            // Nothing at all would stop the timer.
            tv_nsec: i64::from(time.subsec_nanos().max(1)),
        };
        let at = Itimerspec {
            it_interval: zero,
            it_value: value,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &at)?;
        Ok(())
    }

    /// Something has come on a connection, or it takes bytes.
    fn handle(&mut self, index: usize, is_writable: bool, is_closed: bool) {
        let connection = &mut self.connections[index];
        if is_writable && let Err(error) = connection.is_writable() {
            return self.breaks(index, |ledger| ledger.breaks(&error));
        }
        match connection.is_readable(&mut self.buffer, is_closed) {
            Ok(None) => {}
            Ok(Some(answer)) => {
                let now = self.now();
                if let Some((post, _)) = self.connections[index].under_way.take() {
                    self.free.push_back(index);
                    self.ledger.answers(&post, answer.status, now);
                    if answer.status != 200 {
                        self.retry(post, now);
                    }
                }
            }
            Err(reason) => self.breaks(index, |ledger| ledger.fails(reason)),
        }
    }

    /// The connection ends, and what is under way on it has failed.
    fn breaks(&mut self, index: usize, note: impl FnOnce(&mut Ledger)) {
        let connection = &mut self.connections[index];
        connection.close();
        if let Some((post, _)) = connection.under_way.take() {
            self.free.push_back(index);
            note(&mut self.ledger);
            let now = self.now();
            self.retry(post, now);
        }
    }

    fn retry(&mut self, post: Post, now: Duration) {
        if self.job.retries && self.ended.is_none() && !self.schedule.retry(post, now) {
            self.ledger.given_up += 1;
        }
    }

    /// Now and then: who waits too long, and whether somebody wants an end.
    fn look(&mut self, now: Duration) {
        if self.job.interrupted.load(Ordering::Relaxed) && self.ended.is_none() {
            self.ended = Some(now);
        }
        for index in 0..self.connections.len() {
            let under_way = self.connections[index].under_way;
            if under_way.is_some_and(|(_, sent)| sent + PATIENCE < now) {
                let reason = format!("no answer in {} s", PATIENCE.as_secs());
                self.breaks(index, |ledger| ledger.fails(reason));
            }
        }
    }

    /// Everything is sent and answered.
    fn is_idle(&self) -> bool {
        let is_done = self.schedule.due().is_none() || self.ended.is_some();
        is_done && self.free.len() == self.connections.len()
    }

    fn is_over(&self, now: Duration) -> bool {
        let end = self.job.bodies.plan.time + self.drain();
        let last = self.ended.map_or(end, |ended| ended + PATIENCE_OF_USER);
        self.is_idle() || now >= last
    }

    /// How long what is left may take.
    fn drain(&self) -> Duration {
        if self.job.retries {
            DRAIN_OF_RETRIES
        } else {
            PATIENCE
        }
    }

    /// Counts what has not come to an end.
    fn close(mut self) -> Ledger {
        let now = self.now();
        let end = self.ended.unwrap_or(self.job.bodies.plan.time);
        let (planned, retries) = self.schedule.give_up(end);
        for connection in &mut self.connections {
            if connection.under_way.take().is_some() {
                self.ledger.cut_off += 1;
            }
        }
        let ledger = &mut self.ledger;
        ledger.elapsed = now;
        let times = core_times();
        ledger.ran = times[0].saturating_sub(self.core_before[0]);
        ledger.queued = times[1].saturating_sub(self.core_before[1]);
        ledger.until = end.min(now);
        ledger.unsent = planned;
        ledger.interrupted = self.ended.is_some();
        ledger.given_up += retries;
        if self.ended.is_none() {
            for _ in 0..mem::take(&mut ledger.cut_off) {
                ledger.fails("not answered by the end".to_owned());
            }
        }
        self.ledger
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// How long this thread has run, and how long it was ready to and had no core. Nothing where Linux does not count that.
fn core_times() -> [Duration; 2] {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut times = text.split(' ').map_while(|nanos| nanos.parse().ok());
    [(); 2].map(|()| Duration::from_nanos(times.next().unwrap_or(0)))
}

fn poll(poll: &mut Poll, events: &mut Events, timeout: Duration) -> io::Result<()> {
    match poll.poll(events, Some(timeout)) {
        // A signal: the next look sees it.
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        result => result,
    }
}

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = exchange::TIMEOUT;

/// What is left of a storm of retries may take so long after the last of the plan.
const DRAIN_OF_RETRIES: Duration = Duration::from_secs(30);

/// How long somebody who wants an end waits for the answers that are under way.
const PATIENCE_OF_USER: Duration = Duration::from_secs(1);

/// How often timeouts and signals are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The poll counts in these.
const TICK: Duration = Duration::from_millis(1);

/// Of the timer; connections have their index.
const TIMER: Token = Token(usize::MAX);

const EVENTS: usize = 1024;
const RECEIVE_BYTES: usize = 64 << 10;
