//! What goes on over one connection: messages go out, confirmations come back in any order.

use super::connection::{Connection, News};
use super::stream::{self, ApiError, Inspected, Stream};
use super::{Context, Dropped, Lines, Options, Work, message};
use crate::relay;
use crate::sink::pending::Pending;
use crate::sink::statistics::Confirmation;
use crate::sink::transport::{Attempt, Failure, Outcome, answer};
use async_nats::{Client, Message, PublishErrorKind, StatusCode, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// How it ended, for people.
pub(super) enum End {
    Lost(String),
}

struct Session<'w> {
    options: &'w Options,
    context: &'w Context,
    lines: &'w Lines,
    outcomes: &'w relay::Sender<Outcome>,
    client: Client,
    /// Where confirmations go, each behind a dot and the ticket.
    reply: String,
    stream: Inspected,
    pending: Pending,
    /// When a confirmation came last.
    heard: Instant,
    /// What the server said last that belongs to no request.
    said: Option<String>,
}

/// Delivers until the connection ends.
pub(super) async fn run(work: &mut Work, mut connection: Connection) -> Result<End, Dropped> {
    let client = connection.client.clone();
    let reply = client.new_inbox();
    let mut acks = match client.subscribe(format!("{reply}.*")).await {
        Ok(acks) => acks,
        Err(error) => return Ok(End::Lost(error.to_string())),
    };
    let mut session = Session {
        options: &work.options,
        context: &work.context,
        lines: &work.lines,
        outcomes: &work.outcomes,
        stream: Inspected::Unknown(String::new()),
        client,
        reply,
        pending: Pending::new(work.outcomes.clone()),
        heard: Instant::now(),
        said: None,
    };
    session.look(&connection.server, true).await;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let has_room = session.pending.bytes() < BYTES_MAX;
        let lost = tokio::select! {
            biased;
            _ = tick.tick() => session.tick(&connection.server).await,
            news = connection.news.recv() => session.news(news),
            ack = acks.next() => session.acks(ack, &mut acks),
            attempt = work.inbox.recv(), if has_room => match attempt {
                Some(attempt) => session.publish(attempt).await,
                None => return Err(Dropped),
            },
        };
        if let Err(reason) = lost {
            session.pending.leave(&reason);
            return Ok(End::Lost(reason));
        }
    }
}

impl Session<'_> {
    /// Asks what stream there is, and shows what that is worth.
    async fn look(&mut self, server: &str, connected: bool) {
        self.stream = stream::ask_or_create(&self.client, self.options).await;
        let sink = &self.options.name;
        let stream = &self.options.stream;
        let found = match &self.stream {
            Inspected::There(found) => found.confirmation(),
            Inspected::Unknown(_) => Confirmation::Memory,
            Inspected::Missing(reason) => {
                if let Some(times) = self.lines.missing.count() {
                    tracing::warn!(
                        sink,
                        server,
                        stream,
                        times,
                        reason,
                        "nothing can be stored in NATS yet: the events wait in the journal, and the stream is looked for every second; correct what `reason` names"
                    );
                }
                return;
            }
        };
        let confirmation = self.options.confirmation.unwrap_or(found);
        self.context.statistics.note_confirmation(confirmation);
        let is_news = connected || self.lines.missing.end().is_some();
        if is_news && let Some(times) = self.lines.connected.count() {
            let confirmation = confirmation.name();
            tracing::info!(
                sink,
                server,
                stream,
                confirmation,
                times,
                "connected to NATS; `confirmation` is what an event survives once it is confirmed"
            );
        }
    }

    /// Once in a while: what waits for too long, and a stream that was not there.
    async fn tick(&mut self, server: &str) -> Result<(), String> {
        if matches!(self.stream, Inspected::Missing(_)) {
            self.look(server, false).await;
        }
        let (now, timeout) = (Instant::now(), self.options.timeout);
        let Some(before) = now.checked_sub(timeout) else {
            return Ok(());
        };
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut reason = format!("no confirmation within {timeout:?}");
        if let Some(said) = &self.said {
            reason = format!("{reason}; the server says: {said}");
        }
        if self.heard <= before && self.pending.has_waited(before) {
            // All wait: it is the connection, or the server.
            return Err(reason);
        }
        if self.pending.expire(before, &Failure::retry(reason)) {
            self.said = None;
        }
        Ok(())
    }

    fn news(&mut self, news: Option<News>) -> Result<(), String> {
        match news {
            Some(News::Error(error)) => {
                let error: String = error.chars().take(SAID_MAX).collect();
                if let Some(times) = self.lines.server.count() {
                    tracing::warn!(
                        sink = self.options.name,
                        times,
                        error,
                        "the NATS server reports an error: what is not confirmed for that is tried again; correct what `error` names"
                    );
                }
                self.said = Some(error);
                Ok(())
            }
            Some(News::Lost) | None => Err("the connection to NATS ended".to_owned()),
        }
    }

    /// One confirmation, and all others that have come.
    fn acks(&mut self, first: Option<Message>, more: &mut Subscriber) -> Result<(), String> {
        let mut next = first;
        loop {
            let Some(ack) = next else {
                return Err("the connection to NATS ended".to_owned());
            };
            self.confirmed(&ack);
            match more.next().now_or_never() {
                Some(ack) => next = ack,
                None => return Ok(()),
            }
        }
    }

    fn confirmed(&mut self, ack: &Message) {
        let ticket = ack.subject.rsplit('.').next();
        let Some(ticket) = ticket.and_then(|ticket| ticket.parse().ok()) else {
            return;
        };
        self.heard = Instant::now();
        let result = self.result(ack);
        self.pending.ended(ticket, result);
    }

    fn result(&mut self, ack: &Message) -> Result<(), Failure> {
        if ack.status == Some(StatusCode::NO_RESPONDERS) {
            let reason = format!(
                "no stream takes the subject; the stream {} must have it among its own",
                self.options.stream
            );
            // It may have been removed: look again.
            self.stream = Inspected::Missing(reason.clone());
            return Err(Failure::unreached(reason));
        }
        match serde_json::from_slice::<Ack<'_>>(&ack.payload) {
            Ok(Ack {
                error: None,
                stream: Some(_),
                duplicate,
            }) => {
                if duplicate {
                    self.context.statistics.known.add(1);
                }
                Ok(())
            }
            Ok(Ack {
                error: Some(error), ..
            }) => Err(failure(&error, &self.options.stream)),
            _ => Err(Failure::retry("the server's answer is not understood")),
        }
    }

    /// Publishes, or says why not; an error if the connection is of no use any more.
    async fn publish(&mut self, attempt: Attempt) -> Result<(), String> {
        let ticket = attempt.ticket;
        if let Inspected::Missing(reason) = &self.stream {
            let failure = Failure::unreached(reason.clone());
            answer(self.outcomes, ticket, Err(failure));
            return Ok(());
        }
        let message = match message::compose(self.options, self.context, &attempt) {
            Ok(message) => message,
            Err(reason) => {
                answer(self.outcomes, ticket, Err(Failure::retry(reason)));
                return Ok(());
            }
        };
        // What the message holds was copied.
        drop(attempt);
        if let Some(failure) = self.too_large(message.bytes) {
            answer(self.outcomes, ticket, Err(failure));
            return Ok(());
        }
        let now = Instant::now();
        if self.pending.is_empty() {
            self.heard = now;
        }
        self.pending.add(ticket, message.bytes, now);
        let reply = format!("{}.{ticket}", self.reply);
        let (subject, headers) = (message.subject, message.headers);
        let published =
            self.client
                .publish_with_reply_and_headers(subject, reply, headers, message.payload);
        match tokio::time::timeout(self.options.timeout, published).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                let failure = Failure::impossible(error.to_string());
                self.pending.ended(ticket, Err(failure));
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the server takes nothing".to_owned()),
        }
    }

    fn too_large(&self, bytes: usize) -> Option<Failure> {
        let of_server = (self.client.max_payload(), "the server's max_payload");
        let of_stream = match &self.stream {
            Inspected::There(Stream { message_max, .. }) => *message_max,
            _ => None,
        };
        let of_stream = of_stream.map(|max| (max, "the stream's max_msg_size"));
        let mut limits = [Some(of_server), of_stream].into_iter().flatten();
        let (max, whose) = limits.find(|(max, _)| bytes > *max)?;
        Some(Failure::impossible(format!(
            "too large for NATS: {bytes} bytes with its headers, and {whose} is {max}"
        )))
    }
}

#[derive(Deserialize)]
struct Ack<'a> {
    error: Option<ApiError>,
    #[serde(borrow)]
    stream: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    duplicate: bool,
}

/// What an error of JetStream comes to.
fn failure(error: &ApiError, stream: &str) -> Failure {
    match error.err_code {
        EXCEEDS_MAXIMUM => Failure::impossible(format!("too large for the stream: {error}")),
        STREAM_MISMATCH => Failure::unreached(format!(
            "another stream takes the subject, and not {stream}: {error}"
        )),
        DUPLICATE_IN_PROCESS => Failure::busy(error.to_string()),
        _ if error.code == 404 => Failure::unreached(error.to_string()),
        // Full, or short of something.
        _ if error.code >= 500 || error.code == 429 => Failure::busy(error.to_string()),
        _ => Failure::retry(error.to_string()),
    }
}

/// The message is larger than the stream takes.
const EXCEEDS_MAXIMUM: u16 = 10054;

/// The stream that has the subject is not the expected one.
const STREAM_MISMATCH: u16 = 10060;

/// The same id was sent before and is not stored yet: neither confirmed nor refused.
const DUPLICATE_IN_PROCESS: u16 = 10158;

/// How often it is looked what waits.
const TICK: Duration = Duration::from_secs(1);

/// Bytes that are published and not confirmed, beside the last one.
const BYTES_MAX: usize = 8 << 20;

/// Characters that are kept of what the server says.
const SAID_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::transport::FailureKind;

    #[test]
    fn what_the_server_says_decides_what_follows() {
        for (code, err_code, kind) in [
            (400, 10054, FailureKind::Impossible),
            (400, 10060, FailureKind::Unreached),
            (409, 10158, FailureKind::Busy { after: None }),
            (404, 10059, FailureKind::Unreached),
            (503, 10077, FailureKind::Busy { after: None }),
            (500, 10047, FailureKind::Busy { after: None }),
            (503, 10023, FailureKind::Busy { after: None }),
            (400, 10003, FailureKind::Retry { after: None }),
        ] {
            let error = ApiError {
                code,
                err_code,
                description: "it says".to_owned(),
            };
            let failure = failure(&error, "W");
            assert_eq!(failure.kind, kind, "{err_code}");
            assert!(failure.reason.contains("it says"), "{}", failure.reason);
        }
    }

    #[test]
    fn a_confirmation_is_one_that_names_its_stream() {
        let read = |text: &'static str| serde_json::from_str::<Ack<'_>>(text).expect("JSON");
        let stored = read(r#"{"stream":"W","seq":7}"#);
        assert!(stored.stream.is_some() && !stored.duplicate && stored.error.is_none());
        assert!(read(r#"{"stream":"W","seq":7,"duplicate":true,"domain":"x"}"#).duplicate);
        let refused = read(
            r#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"W","seq":0}"#,
        );
        assert_eq!(refused.error.map(|it| it.err_code), Some(10077));
    }
}
