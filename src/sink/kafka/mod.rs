//! Delivers into topics of Apache Kafka, or what speaks its protocol: each event is one record, sent and confirmed by
//! itself, many at a time, by librdkafka.
//!
//! | of a record | is |
//! |---|---|
//! | topic | made of the event by a [`Template`] |
//! | key | the conversation, so all of one stand in one partition in their order; Java's partitioner (`murmur2_random`) |
//! | headers | binary: `ce_…`, every attribute of the event, and `content-type` |
//! | value | binary: the data; structured: the whole event as JSON |
//!
//! The producer is idempotent and waits for all replicas in sync (`acks=all`), so what librdkafka itself sends again is
//! stored once. A new producer (after a restart, or see below) may store once more what was under way.
//!
//! What comes of it:
//!
//! | what happens | is |
//! |---|---|
//! | confirmed | delivered |
//! | the connection ends | nothing yet: librdkafka connects anew and goes on; what is under way is not sent twice |
//! | no confirmation within `timeout`, a refused login, a fatal error | the producer is made anew; all that it had is tried again |
//! | a topic is not there, or the login may not write to it | not reached: no attempt, tried again for ever |
//! | quotas, too few replicas in sync | busy: tried again, never given up for that |
//! | the queue of librdkafka is full | waited for: nothing is lost, and no more is taken meanwhile |
//!
//! Time is the dispatcher's: records never expire in librdkafka (`message.timeout.ms=0`). What a topic takes is asked
//! ([`topics`]), so that an event that is too large is known before it is sent, and batches stay below it. A topic is
//! made only where the configuration says `create`, and never by sending to it.
//!
//! One thread a sink. Sources: `CloudEvents` Kafka Protocol Binding 1.0.3-wip; librdkafka's CONFIGURATION.md.

mod client;
mod failure;
mod inspection;
mod record;
mod session;
mod topics;

pub use client::check_options;
pub use inspection::{Inspection, inspect};
pub use topics::Inspected;

use super::statistics::Statistics;
use super::template::Template;
use super::tls::{TlsError, TlsFiles};
use super::transport::{Attempt, Failure, NO_ATTEMPT, Outcomes, Transport, answer};
use crate::log::Repeats;
use crate::worker::Forms;
use client::Client;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use session::{End, Session};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where records go, and what they are.
#[derive(Clone)]
pub struct Options {
    /// Names the thread, and the client at the brokers.
    pub name: String,
    /// `HOST:PORT` of brokers of one cluster.
    pub brokers: Vec<String>,
    pub login: Option<Login>,
    /// Encrypts connections.
    pub tls: bool,
    pub files: TlsFiles,
    pub topic: Template,
    /// The value is the whole event as JSON, and not its data alone.
    pub structured: bool,
    /// Makes a topic that is not there.
    pub create: Option<Creation>,
    /// A codec of librdkafka.
    pub compression: &'static str,
    /// Properties of librdkafka.
    pub properties: Vec<(String, String)>,
    /// From a record's way to librdkafka to its confirmation.
    pub timeout: Duration,
}

/// Who a client says it is.
#[derive(Clone)]
pub struct Login {
    /// A mechanism of SASL.
    pub mechanism: &'static str,
    pub user: String,
    pub password: String,
}

/// What a topic is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creation {
    pub partitions: i32,
    /// At most; a cluster of fewer brokers has as many as it can.
    pub replicas: i32,
}

/// What it needs of the server beside its options.
pub struct Context {
    /// Names provider and endpoint of a notification.
    pub forms: Arc<Forms>,
    pub statistics: Arc<Statistics>,
}

/// Why a transport cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The files of TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// librdkafka does not take its properties; the text names the property and no value.
    #[error("{0}")]
    Client(String),
}

/// Sends each attempt as one record. Dropping it ends what is under way.
#[derive(Debug)]
pub struct Kafka {
    attempts: Sender<Attempt>,
    outcomes: Outcomes,
}

impl Kafka {
    /// Starts the thread, which connects by itself; `outcomes` has to have room for all attempts that are under way at
    /// a time.
    pub fn new(
        options: Options,
        context: Context,
        outcomes: Outcomes,
    ) -> Result<Kafka, KafkaError> {
        let lines: Arc<Lines> = Arc::default();
        let client = Client::new(&options, Arc::clone(&lines))?;
        let (attempts, inbox) = unbounded();
        let work = Work {
            options,
            context,
            client,
            inbox,
            outcomes: outcomes.clone(),
            lines,
        };
        // Made here and dropped by the thread, whatever ends it.
        let end = EndOfThread(outcomes.clone());
        let name = format!("hl-kafka-{}", work.options.name);
        let run = move || {
            let end = end;
            work.run();
            drop(end);
        };
        std::thread::Builder::new().name(name).spawn(run)?;
        Ok(Kafka { attempts, outcomes })
    }
}

impl Transport for Kafka {
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
    client: Client,
    inbox: Receiver<Attempt>,
    outcomes: Outcomes,
    lines: Arc<Lines>,
}

/// Lines of the log that could come very often.
#[derive(Debug, Default)]
struct Lines {
    connected: Repeats,
    unreachable: Repeats,
    missing: Repeats,
    /// What librdkafka logs.
    client: Repeats,
}

/// Nobody has attempts any more.
struct Dropped;

impl Work {
    /// One producer after the other, until the transport is dropped.
    fn run(mut self) {
        let mut failures = 0;
        // What is known of topics outlives a producer that was ended for its own sake.
        let mut batch_max = self.client.batch_max;
        while let Ok(next) = self.deliver_once(&mut failures, batch_max) {
            batch_max = next;
        }
    }

    /// Connects and delivers until that ends, and then the pause. The size of the next producer's batches.
    fn deliver_once(&mut self, failures: &mut u32, batch_max: usize) -> Result<usize, Dropped> {
        let reason = match Session::connect(self, batch_max) {
            Ok(session) => {
                *failures = 0;
                match session.run()? {
                    End::Renewed { batch_max } => return Ok(batch_max),
                    // The cluster was there: at once.
                    End::Lost(reason) => {
                        let sink = &self.options.name;
                        tracing::debug!(sink, reason, "the producer is made anew");
                        self.pause(PAUSE_MIN, &reason)?;
                        return Ok(self.client.batch_max);
                    }
                }
            }
            Err(reason) => reason,
        };
        *failures = failures.saturating_add(1);
        if let Some(times) = self.lines.unreachable.count() {
            tracing::warn!(
                sink = self.options.name,
                times,
                reason,
                "there is no connection to Kafka: it is tried again at least every 5 s, and the events wait in the journal; correct what `reason` names"
            );
        }
        let doublings = failures.saturating_sub(1).min(10);
        let pause = (PAUSE_MIN * 2_u32.pow(doublings)).min(PAUSE_MAX);
        self.pause(pause, &reason)?;
        Ok(batch_max)
    }

    /// Waits; what is to be delivered meanwhile has the reason why it is not.
    fn pause(&self, pause: Duration, reason: &str) -> Result<(), Dropped> {
        let until = Instant::now() + pause;
        loop {
            match self.inbox.recv_deadline(until) {
                Ok(attempt) => {
                    let failure = Failure::unreached(reason);
                    answer(&self.outcomes, attempt.ticket, Err(failure));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Dropped),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
            }
        }
    }
}

/// Says that the thread has ended. At the end of the process nobody listens any more.
struct EndOfThread(Outcomes);

impl Drop for EndOfThread {
    fn drop(&mut self) {
        answer(&self.0, NO_ATTEMPT, Err(ended()));
    }
}

fn ended() -> Failure {
    Failure::broken("the thread that sends to Kafka has ended")
}

/// The pause before the second try to connect; it doubles with each one.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest one.
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("name", &self.name)
            .field("brokers", &self.brokers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
