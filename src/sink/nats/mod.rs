//! Delivers into a stream of NATS JetStream: each event is one message, published and confirmed by itself, many at a
//! time.
//!
//! | of a message | is |
//! |---|---|
//! | subject | made of the event by a [`Template`] |
//! | `Nats-Msg-Id` | the [delivery's id](super::delivery_id), by which the stream stores a repeat within its window once |
//! | `Nats-Expected-Stream` | the configured stream: a subject that another one takes is an error, and not a delivery |
//! | `ce-…` | every attribute of the event |
//! | payload | the data |
//!
//! What comes of it:
//!
//! | the server says | is |
//! |---|---|
//! | stored, or a duplicate | delivered; a duplicate is counted as known |
//! | nothing, since the connection ended | tried again with the same id: it may be stored or not |
//! | no stream takes the subject, JetStream is off, the login is refused | not reached: no attempt, tried again for ever |
//! | full, short of resources, "duplicate message id is in process" | busy: tried again, never given up for that |
//! | nothing within `timeout` | tried again with the same id |
//!
//! What is larger than the server or the stream takes is known before it is sent, and never is. The stream is asked on
//! every connect ([`stream`]); it is made only where the configuration says `create`, and never changed.
//!
//! One thread, in which each connection has a runtime of its own: what ends a connection ends all that the client
//! library has running for it. Sources: `CloudEvents` NATS Protocol Binding 1.0.3-wip; NATS ADR-1, ADR-4.

mod connection;
mod message;
mod session;
mod stream;

pub use connection::{Credentials, NatsError};
pub use stream::{Inspected, Inspection, inspect};

use super::delivery_id::Identity;
use super::statistics::{Confirmation, Statistics};
use super::template::Template;
use super::tls::TlsFiles;
use super::transport::{Attempt, Failure, NO_ATTEMPT, Outcome, Transport, answer};
use crate::log::Repeats;
use crate::relay;
use crate::worker::Forms;
use connection::Servers;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// Where messages go, and what they are.
#[derive(Clone)]
pub struct Options {
    /// Names the thread, and the connection at the server.
    pub name: String,
    /// Addresses with `nats` or `tls`, of one cluster.
    pub servers: Vec<String>,
    pub credentials: Credentials,
    /// Encrypts connections that the address does not ask to.
    pub tls: bool,
    pub files: TlsFiles,
    pub stream: String,
    pub subject: Template,
    pub identity: Identity,
    /// Makes the stream if it is not there.
    pub create: Option<Creation>,
    /// What a confirmation is worth, where the operator knows it.
    pub confirmation: Option<Confirmation>,
    /// From a publish to its confirmation.
    pub timeout: Duration,
}

/// What a stream is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// The subject that it takes, with a wildcard.
    pub subject: String,
    pub replicas: u32,
    pub duplicate_window: Duration,
}

/// What it needs of the server beside its options.
pub struct Context {
    /// The id of the journal, as text.
    pub journal: String,
    /// Names provider and endpoint of a notification.
    pub forms: Arc<Forms>,
    pub statistics: Arc<Statistics>,
}

/// Publishes each attempt as one message. Dropping it ends what is under way.
#[derive(Debug)]
pub struct Nats {
    attempts: UnboundedSender<Attempt>,
    outcomes: relay::Sender<Outcome>,
}

impl Nats {
    /// Starts the thread, which connects by itself; `outcomes` has to have room for all attempts that are under way at
    /// a time.
    pub fn new(
        options: Options,
        context: Context,
        outcomes: relay::Sender<Outcome>,
    ) -> Result<Nats, NatsError> {
        let servers = Servers::new(&options)?;
        let (attempts, inbox) = unbounded_channel();
        let work = Work {
            options,
            context,
            servers,
            inbox,
            outcomes: outcomes.clone(),
            lines: Lines::default(),
        };
        // Made here and dropped by the thread, whatever ends it.
        let end = End(outcomes.clone());
        let name = format!("hl-nats-{}", work.options.name);
        let run = move || {
            let end = end;
            work.run();
            drop(end);
        };
        std::thread::Builder::new().name(name).spawn(run)?;
        Ok(Nats { attempts, outcomes })
    }
}

impl Transport for Nats {
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
    servers: Servers,
    inbox: UnboundedReceiver<Attempt>,
    outcomes: relay::Sender<Outcome>,
    lines: Lines,
}

/// Lines of the log that could come very often.
#[derive(Debug, Default)]
struct Lines {
    connected: Repeats,
    unreachable: Repeats,
    missing: Repeats,
    server: Repeats,
}

/// Nobody has attempts any more.
struct Dropped;

impl Work {
    /// One connection after the other, until the transport is dropped.
    fn run(mut self) {
        let mut failures = 0;
        loop {
            // With the runtime all ends that the client has running: it would connect anew by itself, for ever.
            let made = runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match made {
                Ok(runtime) => runtime,
                Err(error) => {
                    self.refuse_all(&format!("cannot connect: {error}"));
                    std::thread::sleep(PAUSE_MAX);
                    continue;
                }
            };
            let ended = runtime.block_on(self.connect_once(&mut failures));
            // A look-up of a name may take longer than anybody wants to wait.
            runtime.shutdown_background();
            if let Err(Dropped) = ended {
                return;
            }
        }
    }

    /// Connects and delivers until that ends; after a failure to connect, the pause.
    async fn connect_once(&mut self, failures: &mut u32) -> Result<(), Dropped> {
        let server = self.servers.next();
        let reason = match connection::connect(&self.options, &self.servers, &server).await {
            Ok(connection) => {
                *failures = 0;
                match session::run(self, connection).await? {
                    // The server was there: at once.
                    session::End::Lost(reason) => {
                        tracing::debug!(sink = self.options.name, server, reason, "lost");
                        return self.pause(PAUSE_MIN, &reason).await;
                    }
                }
            }
            Err(reason) => format!("{server}: {reason}"),
        };
        *failures = failures.saturating_add(1);
        if let Some(times) = self.lines.unreachable.count() {
            tracing::warn!(
                sink = self.options.name,
                times,
                reason,
                "there is no connection to NATS: it is tried again at least every 5 s, and the events wait in the journal; correct what `reason` names"
            );
        }
        let doublings = failures.saturating_sub(1).min(10);
        let pause = (PAUSE_MIN * 2_u32.pow(doublings)).min(PAUSE_MAX);
        self.pause(pause, &reason).await
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

    /// Says of all that waits that it could not be delivered.
    fn refuse_all(&mut self, reason: &str) {
        while let Ok(attempt) = self.inbox.try_recv() {
            let failure = Failure::unreached(reason);
            answer(&self.outcomes, attempt.ticket, Err(failure));
        }
    }
}

/// Says that the thread has ended. At the end of the process nobody listens any more.
struct End(relay::Sender<Outcome>);

impl Drop for End {
    fn drop(&mut self) {
        answer(&self.0, NO_ATTEMPT, Err(ended()));
    }
}

fn ended() -> Failure {
    Failure::broken("the thread that publishes to NATS has ended")
}

/// The pause before the second try to connect; it doubles with each one.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest one.
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("name", &self.name)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}
