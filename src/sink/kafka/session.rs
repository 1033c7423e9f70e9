//! The life of one producer: records go in, what became of them comes back in any order.

use super::client::{Delivery, Producer, serve};
use super::failure::{failure, permitted};
use super::record::{self, Record};
use super::topics::{self, ASK_TIMEOUT, Inspected, Topic};
use super::{Dropped, Work};
use crate::sink::pending::Pending;
use crate::sink::statistics::Confirmation;
use crate::sink::transport::{Attempt, Failure, answer};
use crossbeam_channel::{RecvTimeoutError, TryRecvError};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How it ended.
pub(super) enum End {
    /// For people.
    Lost(String),
    /// The next one is to make batches of this size.
    Renewed { batch_max: usize },
}

pub(super) struct Session<'w> {
    work: &'w Work,
    producer: Producer,
    /// Bytes of a batch of several records.
    batch_max: usize,
    /// What is known of topics, and since when.
    topics: HashMap<String, (Inspected, Instant)>,
    pending: Pending,
    ending: Option<End>,
    looked: Instant,
}

impl<'w> Session<'w> {
    /// Makes a producer, and asks the cluster what is to be known before anything is sent.
    pub(super) fn connect(work: &'w Work, batch_max: usize) -> Result<Session<'w>, String> {
        let mut session = Session {
            work,
            producer: work.client.producer(batch_max)?,
            batch_max,
            topics: HashMap::new(),
            pending: Pending::new(work.outcomes.clone()),
            ending: None,
            looked: Instant::now(),
        };
        let Some(topic) = work.options.topic.fixed() else {
            topics::metadata(&session.producer, None, ASK_TIMEOUT)?;
            session.show();
            return Ok(session);
        };
        session.ask(topic)?;
        // Nothing was sent yet.
        if let Some(End::Renewed { batch_max }) = session.ending.take() {
            session.producer = work.client.producer(batch_max)?;
            session.batch_max = batch_max;
        }
        session.show();
        Ok(session)
    }

    /// Delivers until it has to end.
    pub(super) fn run(mut self) -> Result<End, Dropped> {
        loop {
            if !(self.take_all()? | self.serve(Duration::ZERO)) {
                self.wait()?;
            }
            self.look_after();
            if let Some(end) = self.ending.take() {
                return Ok(self.end(end));
            }
        }
    }

    /// Sends what is to be sent, as long as there is room; true if there was anything.
    fn take_all(&mut self) -> Result<bool, Dropped> {
        for count in 0..BURST {
            if !self.has_room() {
                return Ok(count > 0);
            }
            match self.work.inbox.try_recv() {
                Ok(attempt) => self.send(attempt),
                Err(TryRecvError::Empty) => return Ok(count > 0),
                Err(TryRecvError::Disconnected) => return Err(Dropped),
            }
        }
        Ok(true)
    }

    /// Until something is to be sent. What comes back while something is under way is found a moment later.
    fn wait(&mut self) -> Result<(), Dropped> {
        if !self.has_room() {
            self.serve(WAIT);
            return Ok(());
        }
        let wait = if self.pending.is_empty() { IDLE } else { WAIT };
        match self.work.inbox.recv_timeout(wait) {
            Ok(attempt) => self.send(attempt),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Dropped),
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.ending.is_none() && self.pending.bytes() < BYTES_MAX
    }

    /// Whether it is of no use any more.
    fn look_after(&mut self) {
        if self.ending.is_some() {
            return;
        }
        let timeout = self.work.options.timeout;
        let now = Instant::now();
        let before = now.checked_sub(timeout);
        if let Some(refused) = self.producer.context().refused() {
            self.ending = Some(End::Lost(refused));
        } else if before.is_some_and(|before| self.pending.has_waited(before)) {
            self.ending = Some(End::Lost(self.why_late()));
        } else if now.saturating_duration_since(self.looked) >= TICK {
            self.looked = now;
            self.look_for_fatal();
        }
    }

    fn look_for_fatal(&mut self) {
        if let Some((code, said)) = self.producer.client().fatal_error() {
            let reason = format!("librdkafka cannot go on with this producer: {said} ({code})");
            self.ending = Some(End::Lost(reason));
        }
    }

    /// Why nothing is confirmed.
    fn why_late(&self) -> String {
        let reason = format!("no confirmation within {:?}", self.work.options.timeout);
        let topic = self.work.options.topic.fixed();
        let known = topic.and_then(|topic| Some((topic, self.topics.get(topic)?)));
        let trouble = match known {
            Some((topic, (Inspected::There(found), _))) => {
                topics::trouble(&self.producer, topic, found.min_insync.unwrap_or(1))
            }
            _ => None,
        };
        match trouble.or_else(|| self.producer.context().said()) {
            Some(said) => format!("{reason}; {said}"),
            None => reason,
        }
    }

    /// Takes what came back; true if there was anything.
    fn serve(&mut self, wait: Duration) -> bool {
        let any = serve(&self.producer, wait);
        for delivery in self.producer.context().deliveries() {
            self.ended(&delivery);
        }
        any
    }

    fn ended(&mut self, delivery: &Delivery) {
        let ticket = delivery.ticket;
        let code = match delivery.result {
            Ok(()) => {
                self.pending.ended(ticket, Ok(()));
                return;
            }
            Err(code) => code,
        };
        let failure = match code {
            // Nobody knows what became of it: as of all that is left at the end.
            RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight => return,
            RDKafkaErrorCode::MessageSizeTooLarge => self.refused_size(ticket),
            code => failure(code),
        };
        self.note(code);
        self.pending.ended(ticket, Err(failure));
    }

    /// The brokers have refused a batch for its size.
    fn refused_size(&mut self, ticket: u64) -> Failure {
        let bytes = self.pending.bytes_of(ticket).unwrap_or(0);
        // It has changed.
        self.topics.clear();
        if bytes >= self.batch_max {
            // So large a record goes alone.
            let fixed = self.work.options.topic.fixed();
            let known = fixed.and_then(|topic| self.ask(topic).ok());
            return match permitted(bytes, known.as_ref()) {
                Err(failure) => failure,
                Ok(()) => Failure::impossible(format!(
                    "too large for Kafka: the brokers refuse its {bytes} bytes"
                )),
            };
        }
        if self.ending.is_none() {
            let batch_max = (self.batch_max / 2).max(1);
            self.ending = Some(End::Renewed { batch_max });
        }
        Failure::busy("the brokers refuse a batch for its size; smaller ones follow")
    }

    /// Sends, or says why not.
    fn send(&mut self, attempt: Attempt) {
        let ticket = attempt.ticket;
        let work = self.work;
        let sent = match record::compose(&work.options, &work.context, &attempt) {
            Ok(record) => {
                // What the record holds was copied.
                drop(attempt);
                self.permit(&record)
                    .and_then(|()| self.hand_over(ticket, record))
            }
            Err(reason) => Err(Failure::retry(reason)),
        };
        if let Err(failure) = sent {
            answer(&work.outcomes, ticket, Err(failure));
        }
    }

    /// Whether the topic is there and takes so large a record.
    fn permit(&mut self, record: &Record) -> Result<(), Failure> {
        let (known, is_old) = match self.topics.get(&record.topic) {
            Some((known, at)) => (Some(known.clone()), at.elapsed() >= TICK),
            None => (None, true),
        };
        let already = permitted(record.bytes, known.as_ref());
        if !is_old || known.is_some() && already.is_ok() {
            return already;
        }
        // Somebody may have made it, or raised what it takes.
        let asked = self.ask(&record.topic).map_err(Failure::unreached)?;
        permitted(record.bytes, Some(&asked))?;
        if self.ending.is_some() {
            return Err(Failure::untried("the producer is made anew"));
        }
        Ok(())
    }

    fn hand_over(&mut self, ticket: u64, record: Record) -> Result<(), Failure> {
        let opaque =
            usize::try_from(ticket).map_err(|error| Failure::untried(error.to_string()))?;
        let mut next = BaseRecord {
            topic: &record.topic,
            partition: None,
            payload: Some(&record.value),
            key: record.key.as_ref(),
            timestamp: None,
            headers: record.headers,
            delivery_opaque: opaque,
        };
        loop {
            let code = match self.producer.send(next) {
                Ok(()) => {
                    self.pending.add(ticket, record.bytes, Instant::now());
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    next = unsent;
                    self.serve(WAIT);
                    self.look_after();
                    if self.ending.is_some() {
                        return Err(Failure::untried("the producer is made anew"));
                    }
                    continue;
                }
                Err((error, _)) => error.rdkafka_error_code(),
            };
            let code = code.unwrap_or(RDKafkaErrorCode::Fail);
            self.note(code);
            return Err(failure(code));
        }
    }

    /// What an error says beside what it means for the record.
    fn note(&mut self, code: RDKafkaErrorCode) {
        match code {
            RDKafkaErrorCode::Fatal => self.look_for_fatal(),
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicOrPartition => self.topics.clear(),
            _ => {}
        }
    }

    /// Asks about a topic, and keeps the answer; an error if nobody gives one.
    fn ask(&mut self, topic: &str) -> Result<Inspected, String> {
        let options = &self.work.options;
        let asked = topics::ask(&self.work.client, &self.producer, topic, options.create);
        let asked = match asked {
            Ok(asked) => asked,
            Err(reason) => {
                self.ending = Some(End::Lost(reason.clone()));
                return Err(reason);
            }
        };
        if let Inspected::Missing(reason) = &asked
            && let Some(times) = self.work.lines.missing.count()
        {
            tracing::warn!(
                sink = options.name,
                topic,
                times,
                reason,
                "events of this topic cannot be stored in Kafka yet: they wait in the journal, and the topic is looked for again and again; correct what `reason` names"
            );
        }
        if self.topics.len() >= TOPICS_MAX {
            self.topics.clear();
        }
        let known = (asked.clone(), Instant::now());
        let before = self.topics.insert(topic.to_owned(), known);
        let before = before.map(|(before, _)| before);
        if let Inspected::There(found) = &asked {
            self.resize(found, before.as_ref());
            let confirmation = self.confirmation();
            self.work.context.statistics.note_confirmation(confirmation);
            if matches!(before, Some(Inspected::Missing(_))) {
                self.show();
            }
        }
        Ok(asked)
    }

    /// Batches stay below what a topic takes; they grow only with the one topic that there is.
    fn resize(&mut self, found: &Topic, before: Option<&Inspected>) {
        let Some(max) = found.message_max else {
            return;
        };
        let before = match before {
            Some(Inspected::There(before)) => before.message_max,
            _ => None,
        };
        let is_raised = before.is_some_and(|before| before < max);
        let batch_max = if is_raised && self.work.options.topic.fixed().is_some() {
            max.min(self.work.client.batch_max)
        } else {
            max.min(self.batch_max)
        };
        if batch_max != self.batch_max && self.ending.is_none() {
            self.ending = Some(End::Renewed { batch_max });
        }
    }

    /// Of the topics that are known, the least.
    fn confirmation(&self) -> Confirmation {
        let known = self.topics.values().filter_map(|(known, _)| match known {
            Inspected::There(topic) => Some(topic.confirmation()),
            Inspected::Missing(_) => None,
        });
        let mut known = known.peekable();
        // Of none that is known, nothing is claimed.
        if known.peek().is_some() && known.all(|it| it == Confirmation::Replicated) {
            Confirmation::Replicated
        } else {
            Confirmation::Memory
        }
    }

    /// Says that there is somebody to send to.
    fn show(&self) {
        let options = &self.work.options;
        let is_missing = |(known, _): &(Inspected, Instant)| matches!(known, Inspected::Missing(_));
        if self.topics.values().any(is_missing) {
            return;
        }
        if let Some(times) = self.work.lines.connected.count() {
            // Without a topic nobody has said anything yet.
            let confirmation = (!self.topics.is_empty()).then(|| self.confirmation().name());
            let unknown = self.topics.values().find_map(|(known, _)| match known {
                Inspected::There(topic) => topic.unknown.clone(),
                Inspected::Missing(_) => None,
            });
            tracing::info!(
                sink = options.name,
                brokers = options.brokers.join(","),
                confirmation,
                unknown,
                times,
                "connected to Kafka; `confirmation` is what an event survives once it is confirmed, and `unknown` what the cluster does not say of the topic"
            );
        }
    }

    /// Ends the producer. What came back by then counts; what has not, nobody knows.
    fn end(mut self, end: End) -> End {
        match &end {
            End::Lost(reason) => self.pending.leave(reason),
            End::Renewed { .. } => self.settle(),
        }
        let reports = Arc::clone(self.producer.context());
        drop(self.producer);
        for delivery in reports.deliveries() {
            if delivery.result.is_ok() {
                self.pending.ended(delivery.ticket, Ok(()));
            }
        }
        end
    }

    /// Waits for what is under way, as long as it may take.
    fn settle(&mut self) {
        let until = Instant::now() + self.work.options.timeout;
        while !self.pending.is_empty() && Instant::now() < until {
            self.serve(WAIT);
        }
    }
}

/// Bytes that are sent and not confirmed, beside the last ones.
const BYTES_MAX: usize = 8 << 20;

/// Records that are handed over before it is looked what came back.
const BURST: usize = 256;

/// How soon it is looked what came back.
const WAIT: Duration = Duration::from_millis(1);

/// The same while nothing is under way.
const IDLE: Duration = Duration::from_secs(1);

/// How often it is looked whether the producer can go on, and how soon a topic is asked about once more.
const TICK: Duration = Duration::from_secs(1);

/// Topics that are known at a time.
const TOPICS_MAX: usize = 1000;
