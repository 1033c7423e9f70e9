//! The configuration of the sinks that deliver one by one, cut into what their parts take.

use super::super::ServerError;
#[cfg(any(feature = "nats", feature = "kafka"))]
use super::{Common, Ready, SinkSetup};
#[cfg(feature = "http")]
use crate::config::HttpSink;
#[cfg(feature = "kafka")]
use crate::config::KafkaSink;
use crate::config::{Dispatch, ExecMode, ExecSink, Secret};
#[cfg(feature = "nats")]
use crate::config::{NatsLogin, NatsSink};
#[cfg(any(feature = "nats", feature = "kafka"))]
use crate::sink::Confirmation;
#[cfg(feature = "http")]
use crate::sink::http::{self, Http};
#[cfg(feature = "kafka")]
use crate::sink::kafka::{self, Kafka};
#[cfg(feature = "nats")]
use crate::sink::nats::{self, Creation, Credentials, Nats};
use crate::sink::{Backoff, Each, Limits, Outcomes, Program, Stream, Transport, Unit, Variables};
#[cfg(feature = "http")]
use crate::sink::{Paths, RequestForm};
#[cfg(any(feature = "nats", feature = "kafka"))]
use crate::worker::{EventBatch, Live};
#[cfg(any(feature = "http", feature = "nats", feature = "kafka"))]
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Makes a transport, given where outcomes go.
pub(super) type Make = Box<dyn FnOnce(Outcomes) -> Result<Box<dyn Transport>, ServerError>>;

#[cfg(any(feature = "nats", feature = "kafka"))]
impl SinkSetup<'_> {
    /// A stream of JetStream.
    #[cfg(feature = "nats")]
    pub(super) fn nats(
        self,
        common: &Common,
        nats: &NatsSink,
        lives: &mut Vec<Live<Arc<EventBatch>>>,
    ) -> Result<(Confirmation, Ready), ServerError> {
        let context = nats::Context {
            journal: common.cursors.journal().to_string(),
            forms: Arc::clone(&common.feeds.forms),
            statistics: Arc::clone(&self.statistics),
        };
        let (limits, make) = self::nats(&self.sink.name, nats, context);
        self.dispatched(common, limits, make, lives)
    }

    /// Topics of Kafka.
    #[cfg(feature = "kafka")]
    pub(super) fn kafka(
        self,
        common: &Common,
        kafka: &KafkaSink,
        lives: &mut Vec<Live<Arc<EventBatch>>>,
    ) -> Result<(Confirmation, Ready), ServerError> {
        let context = kafka::Context {
            forms: Arc::clone(&common.feeds.forms),
            statistics: Arc::clone(&self.statistics),
        };
        let (limits, make) = self::kafka(&self.sink.name, kafka, context);
        self.dispatched(common, limits, make, lives)
    }
}

/// How the sink delivers, and what makes its transport.
#[cfg(feature = "http")]
pub(super) fn http(name: &str, sink: &HttpSink, paths: Paths) -> (Limits, Make) {
    let (unit, batch) = match sink.form {
        RequestForm::Notification => (Unit::Notification, 1),
        RequestForm::Binary | RequestForm::Structured => (Unit::Event, 1),
        RequestForm::Batch(events) => (Unit::Event, events),
    };
    let keys = sink.signing_secrets.iter();
    let options = http::Options {
        name: name.to_owned(),
        url: sink.url.clone(),
        form: sink.form,
        headers: sink.headers.iter().map(exposed).collect(),
        signing_secrets: keys.map(|key| key.expose().to_vec()).collect(),
        ca_file: sink.ca_file.clone(),
        timeout: sink.dispatch.timeout,
        connect_timeout: sink.connect_timeout,
        connections: sink.dispatch.concurrency,
        paths,
    };
    let failed = ServerError::io(format!("start the sink {name}"));
    let make: Make = Box::new(move |outcomes| {
        let http = Http::new(&options, outcomes);
        Ok(Box::new(
            http.map_err(|error| failed(io::Error::other(error)))?,
        ))
    });
    (limits(&sink.dispatch, unit, batch), make)
}

/// The same of a stream of JetStream.
#[cfg(feature = "nats")]
pub(super) fn nats(name: &str, sink: &NatsSink, context: nats::Context) -> (Limits, Make) {
    let options = nats_options(name, sink);
    let failed = ServerError::io(format!("start the sink {name}"));
    let make: Make = Box::new(move |outcomes| {
        let nats = Nats::new(options, context, outcomes);
        Ok(Box::new(
            nats.map_err(|error| failed(io::Error::other(error)))?,
        ))
    });
    (limits(&sink.dispatch, Unit::Event, 1), make)
}

/// How to connect, and what to send.
#[cfg(feature = "nats")]
pub(in crate::server) fn nats_options(name: &str, sink: &NatsSink) -> nats::Options {
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let create = sink.create.clone();
    nats::Options {
        name: name.to_owned(),
        servers: sink.servers.clone(),
        credentials: match &sink.login {
            NatsLogin::None => Credentials::None,
            NatsLogin::Password(user, password) => {
                Credentials::Password(text(user), text(password))
            }
            NatsLogin::Token(token) => Credentials::Token(text(token)),
            NatsLogin::NkeySeed(seed) => Credentials::Nkey(text(seed)),
            NatsLogin::CredentialsFile(path) => Credentials::File(path.clone()),
        },
        tls: sink.tls.is_on(false),
        files: sink.tls.files.clone(),
        stream: sink.stream.clone(),
        subject: sink.subject.clone(),
        identity: sink.identity,
        create: create.map(|subject| Creation {
            subject,
            replicas: sink.replicas,
            duplicate_window: sink.duplicate_window,
        }),
        confirmation: sink.confirmation,
        timeout: sink.dispatch.timeout,
    }
}

/// The same of topics of Kafka.
#[cfg(feature = "kafka")]
pub(super) fn kafka(name: &str, sink: &KafkaSink, context: kafka::Context) -> (Limits, Make) {
    let options = kafka_options(name, sink);
    let failed = ServerError::io(format!("start the sink {name}"));
    let make: Make = Box::new(move |outcomes| {
        let kafka = Kafka::new(options, context, outcomes);
        Ok(Box::new(
            kafka.map_err(|error| failed(io::Error::other(error)))?,
        ))
    });
    (limits(&sink.dispatch, Unit::Event, 1), make)
}

/// How to connect, and what to send.
#[cfg(feature = "kafka")]
pub(in crate::server) fn kafka_options(name: &str, sink: &KafkaSink) -> kafka::Options {
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    kafka::Options {
        name: name.to_owned(),
        brokers: sink.brokers.clone(),
        login: sink.login.as_ref().map(|login| kafka::Login {
            mechanism: login.mechanism,
            user: text(&login.user),
            password: text(&login.password),
        }),
        tls: sink.tls.is_on(false),
        files: sink.tls.files.clone(),
        topic: sink.topic.clone(),
        structured: sink.structured,
        create: sink.create.then(|| kafka::Creation {
            partitions: number(sink.partitions),
            replicas: number(sink.replicas),
        }),
        compression: sink.compression,
        properties: sink.options.clone(),
        timeout: sink.dispatch.timeout,
    }
}

/// The same of a sink that runs a program.
pub(super) fn exec(
    name: &str,
    sink: &ExecSink,
    (stop, drain): (&Arc<AtomicBool>, Duration),
) -> (Limits, Make) {
    let program = Program {
        sink: name.to_owned(),
        command: sink.command.clone(),
        variables: Variables(sink.env.iter().map(exposed).collect()),
        timeout: sink.dispatch.timeout,
        stop: Arc::clone(stop),
        drain,
    };
    let mut limits = limits(&sink.dispatch, Unit::Event, 1);
    let failed = ServerError::io(format!("start the sink {name}"));
    let make: Make = match sink.mode {
        ExecMode::Each => {
            let concurrency = limits.concurrency;
            Box::new(move |outcomes| Ok(Box::new(Each::new(program, concurrency, outcomes))))
        }
        ExecMode::Stream => {
            limits.concurrency = Stream::WINDOW;
            Box::new(move |outcomes| {
                Ok(Box::new(Stream::start(program, outcomes).map_err(failed)?))
            })
        }
    };
    (limits, make)
}

/// The name and the bytes of what a transport is to have.
fn exposed((name, value): &(String, Secret)) -> (String, Vec<u8>) {
    (name.clone(), value.expose().to_vec())
}

/// The pace of a sink that delivers one by one.
pub(super) fn limits(pace: &Dispatch, unit: Unit, batch: usize) -> Limits {
    Limits {
        unit,
        batch,
        concurrency: pace.concurrency,
        rate: pace.rate.map_or(0, |rate| u64::from(rate.get())),
        backoff: Backoff {
            min: pace.retry_min,
            max: pace.retry_max,
        },
        max_attempts: pace.max_attempts,
    }
}
