//! Delivers over HTTP/1.1: a notification as it came, or `CloudEvents` 1.0.
//!
//! | form | body | beside it |
//! |---|---|---|
//! | notification | the raw body | its kept headers, `Hookline-Sequence`, `-Endpoint`, `-Received`, `-Replay` |
//! | binary | the data of an event | the attributes as `ce-*` |
//! | structured | an event as JSON | `application/cloudevents+json` |
//! | batch | a list of events as JSON | `application/cloudevents-batch+json` |
//!
//! Every request has `Hookline-Attempt`, and with a signing secret the three fields of Standard Webhooks. 2xx is
//! delivered, 410 ends the sink, all else is tried again; what is the item's own fault stands in `answer.rs`. Redirects
//! are not followed, proxies not asked, nothing is unpacked; of an answer no more is read than keeps the connection in
//! use.
//!
//! One thread with a runtime of its own does it all; connections are kept and used again.
//! Sources: `CloudEvents` HTTP Protocol Binding 1.0.2; RFC 9110; standardwebhooks.com.

mod answer;
mod client;
mod request;

#[cfg(test)]
mod tests;

use super::request_form::RequestForm;
use super::tls::TlsError;
use super::transport::{Attempt, Failure, NO_ATTEMPT, Outcome, Paths, Transport};
use crate::relay;
use client::{Address, Client, IDLE_TIMEOUT};
use request::Composer;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// Where requests go, and what they are.
pub struct Options {
    /// Names the thread.
    pub name: String,
    /// With `http` or `https`, and a host.
    pub url: String,
    /// What a request holds.
    pub form: RequestForm,
    /// Fields of every request, with values that are kept to ourselves. They go over those that were kept of a
    /// notification.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The decoded keys that sign by Standard Webhooks; with none nothing is signed.
    pub signing_secrets: Vec<Vec<u8>>,
    /// Certificates in PEM that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// From the start of an attempt to the end of the answer.
    pub timeout: Duration,
    /// Until a TCP connection is there.
    pub connect_timeout: Duration,
    /// Connections that are kept while nothing is sent over them.
    pub connections: usize,
    /// Names the endpoint of a notification.
    pub paths: Paths,
}

/// Why a transport cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address or a header field.
    #[error("{0} is not valid")]
    Invalid(&'static str),
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// Sends each attempt as one request. Dropping it ends what is under way.
#[derive(Debug)]
pub struct Http {
    attempts: UnboundedSender<Attempt>,
    outcomes: relay::Sender<Outcome>,
}

impl Http {
    /// Starts the thread; `outcomes` has to have room for all attempts that are under way at a time.
    pub fn new(options: &Options, outcomes: relay::Sender<Outcome>) -> Result<Http, HttpError> {
        let address = Address::parse(&options.url).ok_or(HttpError::Invalid("url"))?;
        let composer = Composer::new(options, &address)?;
        let client = Client::new(options, address)?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (attempts, inbox) = unbounded_channel();
        let exchange = Exchange {
            composer,
            client,
            timeout: options.timeout,
            outcomes: outcomes.clone(),
        };
        // Made here and dropped by the thread, whatever ends it.
        let end = End(outcomes.clone());
        let run = move || {
            let _end = end;
            runtime.block_on(serve(Arc::new(exchange), inbox));
            // A look-up of a name may take longer than anybody wants to wait.
            runtime.shutdown_background();
        };
        let name = format!("hl-http-{}", options.name);
        std::thread::Builder::new().name(name).spawn(run)?;
        Ok(Http { attempts, outcomes })
    }
}

impl Transport for Http {
    fn start(&mut self, attempt: Attempt) {
        if let Err(unsent) = self.attempts.send(attempt) {
            let promise = Promise {
                ticket: unsent.0.ticket,
                outcomes: &self.outcomes,
                kept: false,
            };
            promise.keep(Err(Failure::broken(ENDED)));
        }
    }
}

async fn serve(exchange: Arc<Exchange>, mut inbox: UnboundedReceiver<Attempt>) {
    loop {
        match tokio::time::timeout(IDLE_TIMEOUT, inbox.recv()).await {
            Ok(Some(attempt)) => {
                let exchange = Arc::clone(&exchange);
                tokio::spawn(async move { exchange.carry_out(attempt).await });
            }
            Ok(None) => return,
            Err(_) => exchange.client.close_old(),
        }
    }
}

/// What all attempts share.
struct Exchange {
    composer: Composer,
    client: Client,
    timeout: Duration,
    outcomes: relay::Sender<Outcome>,
}

impl Exchange {
    async fn carry_out(&self, attempt: Attempt) {
        let promise = Promise {
            ticket: attempt.ticket,
            outcomes: &self.outcomes,
            kept: false,
        };
        let deadline = Instant::now() + self.timeout;
        let result = match self.composer.compose(&attempt) {
            Ok(request) => {
                // What the request holds was copied.
                drop(attempt);
                self.send(request, deadline).await
            }
            Err(reason) => Err(Failure::retry(reason)),
        };
        promise.keep(result);
    }

    async fn send(&self, request: client::Request, deadline: Instant) -> Result<(), Failure> {
        match tokio::time::timeout_at(deadline, self.client.request(request)).await {
            Ok(Ok((response, connection))) => {
                answer::result_of(response, connection, deadline, &self.composer).await
            }
            Ok(Err(error)) => Err(client::failure(&error)),
            Err(_) => Err(Failure::retry(format!(
                "no answer within {:?}",
                self.timeout
            ))),
        }
    }
}

/// The outcome that is owed for an attempt, whatever becomes of the task.
struct Promise<'e> {
    ticket: u64,
    outcomes: &'e relay::Sender<Outcome>,
    kept: bool,
}

impl Promise<'_> {
    fn keep(mut self, result: Result<(), Failure>) {
        self.kept = true;
        self.send(result);
    }

    fn send(&self, result: Result<(), Failure>) {
        let ticket = self.ticket;
        // Nobody receives any more at the end of the process; while somebody does, there is room.
        let _ = self.outcomes.try_send(Outcome { ticket, result });
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.send(Err(Failure::retry("the request was given up half-way")));
        }
    }
}

/// Says that the thread has ended. At the end of the process nobody listens any more.
struct End(relay::Sender<Outcome>);

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.0.try_send(Outcome {
            ticket: NO_ATTEMPT,
            result: Err(Failure::broken(ENDED)),
        });
    }
}

const ENDED: &str = "the thread that sends requests has ended";

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("name", &self.name)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}
