//! Entries with the server's ids: each event is one `XADD STREAM *`, and many go together. Where the stream's name has
//! placeholders, it is made of the event by a [`Template`].
//!
//! What comes of it:
//!
//! | the server says | is |
//! |---|---|
//! | an id | delivered; with `wait_local` or `wait_replicas` once `WAITAOF` behind it says so |
//! | nothing, since the connection ended or the time is over | tried again: it may be there or not, so an event may be there twice, with the same `id` and `position` |
//! | it loads its data, is a replica, wants another login | not reached, over a new connection |
//! | its memory is full, it cannot write its files, not enough disks have it | busy: tried again, never given up for that |
//! | the stream is not there | not reached, until it is; made only with `create` |
//!
//! Data that are larger than the server takes as one value are known before they are sent, and are a dead letter.
//!
//! One thread with one runtime; a connection that is lost is made anew, with pauses of at most 5 s.

mod session;

use super::Options;
use super::connection::Connection;
use crate::log::Repeats;
use crate::relay;
use crate::sink::statistics::Statistics;
use crate::sink::template::Template;
use crate::sink::transport::{Attempt, Failure, NO_ATTEMPT, Outcome, Transport};
use crate::worker::Forms;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// What it needs of the server beside its options.
pub struct Context {
    /// The key of the stream.
    pub stream: Template,
    /// The same as the configuration has it.
    pub stream_text: String,
    /// Names provider and endpoint of a notification.
    pub forms: Arc<Forms>,
    pub statistics: Arc<Statistics>,
}

/// Adds each attempt as one entry. Dropping it ends what is under way.
#[derive(Debug)]
pub struct Auto {
    attempts: UnboundedSender<Attempt>,
    outcomes: relay::Sender<Outcome>,
}

impl Auto {
    /// Starts the thread, which connects by itself; `outcomes` has to have room for all attempts that are under way at
    /// a time.
    pub fn new(
        options: Options,
        context: Context,
        outcomes: relay::Sender<Outcome>,
    ) -> io::Result<Auto> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (attempts, inbox) = unbounded_channel();
        let work = Work {
            options,
            context,
            inbox,
            outcomes: outcomes.clone(),
            connected: Repeats::default(),
            unreachable: Repeats::default(),
        };
        // Made here and dropped by the thread, whatever ends it.
        let end = End(outcomes.clone());
        let name = format!("hl-redis-{}", work.options.sink);
        let run = move || {
            let end = end;
            runtime.block_on(work.run());
            // A look-up of a name may take longer than anybody wants to wait.
            runtime.shutdown_background();
            drop(end);
        };
        std::thread::Builder::new().name(name).spawn(run)?;
        Ok(Auto { attempts, outcomes })
    }
}

impl Transport for Auto {
    fn start(&mut self, attempt: Attempt) {
        if let Err(unsent) = self.attempts.send(attempt) {
            answer(&self.outcomes, unsent.0.ticket, Err(ended()));
        }
    }
}

/// What the thread has.
struct Work {
    options: Options,
    context: Context,
    inbox: UnboundedReceiver<Attempt>,
    outcomes: relay::Sender<Outcome>,
    connected: Repeats,
    unreachable: Repeats,
}

/// Nobody has attempts any more.
struct Dropped;

impl Work {
    /// One connection after the other, until the transport is dropped.
    async fn run(mut self) {
        let mut failures = 0;
        while self.connect_once(&mut failures).await.is_ok() {}
    }

    /// Connects and delivers until that ends, and pauses.
    async fn connect_once(&mut self, failures: &mut u32) -> Result<(), Dropped> {
        let reason = match Connection::open(&self.options).await {
            Ok(connection) => {
                *failures = 0;
                self.log_connected();
                let reason = session::run(self, connection).await?;
                // The server was there: soon.
                tracing::debug!(sink = self.options.sink, reason, "lost");
                return self.pause(PAUSE_MIN, &reason).await;
            }
            Err(reason) => reason,
        };
        *failures = failures.saturating_add(1);
        if let Some(times) = self.unreachable.count() {
            tracing::warn!(
                sink = self.options.sink,
                times,
                reason,
                "there is no connection to Redis: it is tried again at least every 5 s, and the events wait in the journal; correct what `reason` names"
            );
        }
        let doublings = failures.saturating_sub(1).min(10);
        let pause = (PAUSE_MIN * 2_u32.pow(doublings)).min(PAUSE_MAX);
        self.pause(pause, &reason).await
    }

    fn log_connected(&self) {
        let confirmation = self.options.wait.confirmation();
        self.context.statistics.note_confirmation(confirmation);
        if let Some(times) = self.connected.count() {
            tracing::info!(
                sink = self.options.sink,
                server = %self.options.target,
                confirmation = confirmation.name(),
                times,
                "connected to Redis; `confirmation` is what an event survives once it is confirmed"
            );
        }
    }

    /// Waits; what is to be delivered meanwhile has the reason why it is not.
    async fn pause(&mut self, pause: Duration, reason: &str) -> Result<(), Dropped> {
        let until = Instant::now() + pause;
        loop {
            match tokio::time::timeout_at(until, self.inbox.recv()).await {
                Ok(Some(attempt)) => {
                    let failure = Failure::unreached(reason);
                    answer(&self.outcomes, attempt.ticket, Err(failure));
                }
                Ok(None) => return Err(Dropped),
                Err(_) => return Ok(()),
            }
        }
    }
}

fn answer(outcomes: &relay::Sender<Outcome>, ticket: u64, result: Result<(), Failure>) {
    // Nobody receives any more at the end of the process; while somebody does, there is room.
    let _ = outcomes.try_send(Outcome { ticket, result });
}

/// Says that the thread has ended. At the end of the process nobody listens any more.
struct End(relay::Sender<Outcome>);

impl Drop for End {
    fn drop(&mut self) {
        answer(&self.0, NO_ATTEMPT, Err(ended()));
    }
}

fn ended() -> Failure {
    Failure::broken("the thread that delivers to Redis has ended")
}

/// The pause before the second try to connect; it doubles with each one.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest one.
const PAUSE_MAX: Duration = Duration::from_secs(5);
