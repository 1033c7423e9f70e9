//! librdkafka as it is set up here, and what it reports.

use super::{KafkaError, Lines, Options};
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// Makes producers, all with the same properties.
pub(super) struct Client {
    config: ClientConfig,
    /// Bytes of a batch of several records at most.
    pub(super) batch_max: usize,
    sink: String,
    lines: Arc<Lines>,
}

/// A producer that keeps what it reports until somebody asks.
pub(super) type Producer = BaseProducer<Reports>;

/// What a client reports. It speaks only while it is polled.
pub(super) struct Reports {
    sink: String,
    lines: Arc<Lines>,
    kept: Mutex<Reported>,
}

#[derive(Default)]
struct Reported {
    deliveries: Vec<Delivery>,
    /// Everything that was ever reported.
    count: u64,
    refused: Option<String>,
    said: Option<String>,
}

/// What became of a record.
pub(super) struct Delivery {
    pub(super) ticket: u64,
    pub(super) result: Result<(), RDKafkaErrorCode>,
}

impl Client {
    pub(super) fn new(options: &Options, lines: Arc<Lines>) -> Result<Client, KafkaError> {
        let config = config(options)?;
        let wanted = config.get("batch.size").and_then(|it| it.parse().ok());
        Ok(Client {
            batch_max: wanted.unwrap_or(BATCH_MAX).min(BATCH_MAX),
            config,
            sink: options.name.clone(),
            lines,
        })
    }

    /// A producer whose batches of several records take so many bytes at most.
    pub(super) fn producer(&self, batch_max: usize) -> Result<Producer, String> {
        let mut config = self.config.clone();
        config.set("batch.size", batch_max.to_string());
        config.create_with_context(self.reports()).map_err(said_by)
    }

    /// A client that asks.
    pub(super) fn admin(&self) -> Result<AdminClient<Reports>, String> {
        let made = self.config.create_with_context(self.reports());
        made.map_err(said_by)
    }

    fn reports(&self) -> Reports {
        Reports {
            sink: self.sink.clone(),
            lines: Arc::clone(&self.lines),
            kept: Mutex::default(),
        }
    }
}

/// The properties of every client. What the options say comes first: they hold nothing of what follows.
fn config(options: &Options) -> Result<ClientConfig, KafkaError> {
    let mut config = ClientConfig::new();
    let debugs = options.properties.iter().any(|(name, _)| name == "debug");
    config.set_log_level(if debugs {
        RDKafkaLogLevel::Debug
    } else {
        RDKafkaLogLevel::Warning
    });
    for (name, value) in DEFAULTS {
        config.set(name, value);
    }
    config.set("client.id", format!("hookline-{}", options.name));
    for (name, value) in &options.properties {
        config.set(name, value);
    }
    for (name, value) in PROMISED {
        config.set(name, value);
    }
    config.set("bootstrap.servers", options.brokers.join(","));
    config.set("compression.codec", options.compression);
    let protocol = match (options.tls, &options.login) {
        (false, None) => "plaintext",
        (true, None) => "ssl",
        (false, Some(_)) => "sasl_plaintext",
        (true, Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(login) = &options.login {
        config.set("sasl.mechanism", login.mechanism);
        config.set("sasl.username", &login.user);
        config.set("sasl.password", &login.password);
    }
    if options.tls {
        config.set("ssl.ca.pem", options.files.authorities_in_pem()?);
        if let Some((certificate, key)) = &options.files.identity {
            config.set(
                "ssl.certificate.location",
                certificate.display().to_string(),
            );
            config.set("ssl.key.location", key.display().to_string());
        }
    }
    let native = config.create_native_config();
    native.map_err(|error| KafkaError::Client(said_by(error)))?;
    Ok(config)
}

/// Whether librdkafka knows these properties and takes their values; the error names the property.
pub fn check_options(options: &[(String, String)]) -> Result<(), (String, String)> {
    for (name, value) in options {
        let mut config = ClientConfig::new();
        config.set(name, value);
        if let Err(error) = config.create_native_config() {
            return Err((name.clone(), said_by(error)));
        }
    }
    Ok(())
}

/// The error without the value of a property, which may be a secret.
fn said_by(error: rdkafka::error::KafkaError) -> String {
    match error {
        rdkafka::error::KafkaError::ClientConfig(_, said, name, _) => {
            format!("librdkafka does not take {name}: {said}")
        }
        error => plain(&error.to_string()),
    }
}

/// On one line, and not too long.
fn plain(text: &str) -> String {
    let text: String = text.chars().take(SAID_MAX).collect();
    text.replace(char::is_control, " ")
}

impl Reports {
    /// What became of records since the last call.
    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        mem::take(&mut self.kept.lock().deliveries)
    }

    /// That the login is refused, if it was.
    pub(super) fn refused(&self) -> Option<String> {
        self.kept.lock().refused.clone()
    }

    /// The last error that belongs to no record.
    pub(super) fn said(&self) -> Option<String> {
        self.kept.lock().said.clone()
    }

    fn count(&self) -> u64 {
        self.kept.lock().count
    }
}

/// Waits for so long, and lets the client report all that there is; true if there was anything.
pub(super) fn serve(producer: &Producer, wait: Duration) -> bool {
    let reports = producer.context();
    let begin = reports.count();
    producer.poll(wait);
    loop {
        let before = reports.count();
        producer.poll(Duration::ZERO);
        if reports.count() == before {
            return before > begin;
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.kept.lock().count += 1;
        let (sink, said) = (&self.sink, plain(message));
        tracing::debug!(target: "librdkafka", sink, facility, said, "librdkafka logs");
        let is_trouble = (level as i32) <= RDKafkaLogLevel::Warning as i32;
        if is_trouble && let Some(times) = self.lines.client.count() {
            tracing::warn!(
                sink,
                times,
                said,
                "the client library of Kafka reports trouble: it goes on trying, and the events wait; correct what `said` names"
            );
        }
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        let mut kept = self.kept.lock();
        kept.count += 1;
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication) => {
                let said = plain(reason);
                kept.refused = Some(format!(
                    "the brokers refuse the login; correct sasl_mechanism, user and password ({said})"
                ));
            }
            // Which and why came before.
            Some(RDKafkaErrorCode::AllBrokersDown) if kept.said.is_some() => {}
            _ => kept.said = Some(plain(reason)),
        }
    }

    /// Nobody asks for them, unless the options do.
    fn stats_raw(&self, statistics: &[u8]) {
        let bytes = statistics.len();
        tracing::debug!(target: "librdkafka", sink = self.sink, bytes, "librdkafka gives statistics");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let mut kept = self.kept.lock();
        kept.count += 1;
        kept.deliveries.push(Delivery {
            ticket: ticket as u64,
            result: match result {
                Ok(_) => Ok(()),
                Err((error, _)) => {
                    Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
                }
            },
        });
    }
}

/// What librdkafka takes by itself.
const BATCH_MAX: usize = 1_000_000;

/// What the options may change.
const DEFAULTS: [(&str, &str); 7] = [
    // An attempt to connect must not outlast the pauses between attempts.
    ("reconnect.backoff.max.ms", "5000"),
    ("socket.connection.setup.timeout.ms", "10000"),
    ("socket.keepalive.enable", "true"),
    // What a broker does not answer for so long is asked of the next connection.
    ("socket.timeout.ms", "30000"),
    // More than is ever under way.
    ("queue.buffering.max.messages", "100000"),
    ("queue.buffering.max.kbytes", "65536"),
    // Nobody asked for it.
    ("enable.metrics.push", "false"),
];

/// What the promise of the sink rests on; the configuration refuses these among its options.
const PROMISED: [(&str, &str); 7] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // The dispatcher has the clock.
    ("message.timeout.ms", "0"),
    ("partitioner", "murmur2_random"),
    // What a topic takes is asked; this is above what any broker takes of an event.
    ("message.max.bytes", "268435456"),
    // For a producer the default is that sending makes a topic.
    ("allow.auto.create.topics", "false"),
    ("log.queue", "true"),
];

/// Characters that are kept of what the client says.
const SAID_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_librdkafka_does_not_take_is_named() {
        let options = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(check_options(&options("linger.ms", "5")), Ok(()));
        for (name, value) in [("linger.mss", "5"), ("linger.ms", "soon")] {
            let (named, said) = check_options(&options(name, value)).expect_err(name);
            assert_eq!(named, name);
            assert!(said.contains(name), "{said}");
        }
    }

    #[test]
    fn a_refused_login_and_the_last_error_are_kept_and_a_purge_is_no_delivery() {
        let reports = Reports {
            sink: "log".to_owned(),
            lines: Arc::default(),
            kept: Mutex::default(),
        };
        let global = rdkafka::error::KafkaError::Global;
        reports.error(
            global(RDKafkaErrorCode::BrokerTransportFailure),
            "a:9092: refused",
        );
        reports.error(
            global(RDKafkaErrorCode::AllBrokersDown),
            "1/1 brokers are down",
        );
        assert_eq!(reports.said().as_deref(), Some("a:9092: refused"));
        assert_eq!(reports.refused(), None);
        reports.error(global(RDKafkaErrorCode::Authentication), "bad\npassword");
        let refused = reports.refused().expect("it is");
        assert!(refused.contains("refuse the login") && refused.contains("bad password"));
    }
}
