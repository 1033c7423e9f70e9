//! Reads what is peculiar to `type = "kafka"`.

use super::connection::{self, Tls};
use super::dispatch::{self, Dispatch};
use crate::config::document::Value;
use crate::config::reader::{Reading, Section};
use crate::config::secret::Secret;
use crate::sink::Template;
use ::http::uri::Authority;

/// Topics of Kafka, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSink {
    /// `HOST:PORT` of brokers of one cluster; at least one.
    pub brokers: Vec<String>,
    pub login: Option<KafkaLogin>,
    pub tls: Tls,
    pub topic: Template,
    /// The topic as it stands in the configuration.
    pub topic_text: String,
    /// The value of a record is the whole event as JSON.
    pub structured: bool,
    /// Makes a topic that is not there.
    pub create: bool,
    /// Of a topic that is made.
    pub partitions: u32,
    /// Of a topic that is made; at most as many as there are brokers.
    pub replicas: u32,
    /// What librdkafka calls the codec.
    pub compression: &'static str,
    /// Properties of librdkafka, none of which the sink's promise rests on.
    pub options: Vec<(String, String)>,
    pub dispatch: Dispatch,
}

/// Who the sink says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaLogin {
    /// What Kafka calls the mechanism of SASL.
    pub mechanism: &'static str,
    pub user: Secret,
    pub password: Secret,
}

/// The keys that only this type takes, or shares with some.
pub(super) const KEYS: &[&str] = &[
    "brokers",
    "topic",
    "mode",
    "create",
    "partitions",
    "replicas",
    "compression",
    "sasl_mechanism",
    "user",
    "password",
    "options",
    "tls",
    "ca_file",
    "cert_file",
    "key_file",
    "concurrency",
    "rate",
    "timeout",
    "retry_min",
    "retry_max",
    "max_attempts",
];

pub(super) fn read(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<KafkaSink> {
    let brokers = brokers(reading, section);
    let tls = connection::tls(reading, section, Some(false));
    if section.has("server_name") {
        let message = "server_name belongs to targets with one name: a cluster of Kafka says that of each broker, and \
                       the broker's certificate must have it; leave server_name out";
        reading.mistake(&section.place_of("server_name"), message);
    }
    let login = login(reading, section);
    let is_plain = |login: &Option<KafkaLogin>| {
        login.as_ref().is_some_and(|it| it.mechanism == PLAIN) && !tls.is_on(false)
    };
    let is_far = |brokers: &Vec<String>| !brokers.iter().all(|it| is_near(it));
    if login.as_ref().is_ok_and(is_plain) && brokers.as_ref().is_some_and(is_far) {
        let message = "PLAIN sends the password in the clear; add tls = true, or use SCRAM-SHA-512";
        reading.mistake(&section.place_of("sasl_mechanism"), message);
    }
    let topic = topic(reading, section);
    let modes = [("binary", false), ("structured", true)];
    let structured = section.choice(reading, "mode", &modes).unwrap_or(false);
    let codecs = COMPRESSIONS.map(|name| (name, name));
    let compression = section.choice(reading, "compression", &codecs);
    let create = section.boolean(reading, "create", false);
    let mut number = |key| {
        let number = section.measured_of(reading, "sink.kafka", key);
        u32::try_from(number.unwrap_or(1)).unwrap_or(1)
    };
    let (partitions, replicas) = (number("partitions"), number("replicas"));
    let options = options(reading, section);
    let dispatch = dispatch::read(reading, section, "sink.kafka");
    let (topic, topic_text) = topic?;
    Some(KafkaSink {
        brokers: brokers?,
        login: login.ok()?,
        tls,
        topic,
        topic_text,
        structured,
        create,
        partitions,
        replicas,
        compression: compression.unwrap_or(COMPRESSION),
        options,
        dispatch,
    })
}

/// Messages never repeat an address that may hold a password.
fn brokers(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<Vec<String>> {
    let place = section.place_of("brokers");
    let is_missing = !section.has("brokers");
    let listed = section.texts(reading, "brokers");
    if is_missing || listed.as_ref().is_some_and(Vec::is_empty) {
        let message = "a kafka sink needs brokers = [\"HOST:9092\"]";
        reading.mistake(&place, message);
        return None;
    }
    let mut brokers = Vec::new();
    let mut is_whole = true;
    for (text, place) in listed? {
        if !connection::without_password(reading, &place, "brokers", text, false) {
            is_whole = false;
        } else if let Some(address) = address(text) {
            brokers.push(address);
        } else {
            let message = "brokers takes addresses as in \"HOST:9092\", without a scheme; tls = true encrypts";
            reading.mistake(&place, message);
            is_whole = false;
        }
    }
    is_whole.then_some(brokers)
}

/// A host and a port; 9092 if it says none.
fn address(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    let host = authority.host();
    let port = authority.as_str().get(host.len()..)?;
    match authority.port_u16() {
        _ if host.is_empty() || text.contains(',') => None,
        Some(port) if port > 0 => Some(text.to_owned()),
        None if port.is_empty() => Some(format!("{text}:9092")),
        _ => None,
    }
}

fn is_near(broker: &str) -> bool {
    let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
    connection::is_loopback(host)
}

/// An error if it cannot be read.
fn login(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Result<Option<KafkaLogin>, ()> {
    let mechanisms = MECHANISMS.map(|name| (name, name));
    let is_named = section.has("sasl_mechanism");
    let mechanism = section.choice(reading, "sasl_mechanism", &mechanisms);
    let login = connection::login(reading, section);
    let keys = ["sasl_mechanism", "user", "password"];
    let Some(there) = keys.iter().find(|key| section.has(key)) else {
        return Ok(None);
    };
    if let Some(missing) = keys.iter().find(|key| !section.has(key)) {
        let hint = if is_named {
            String::new()
        } else {
            format!(
                ": one of {}",
                MECHANISMS.map(|it| format!("{it:?}")).join(", ")
            )
        };
        let message = format!("{there} needs {missing} beside it{hint}");
        reading.mistake(&section.place_of(there), message);
        return Err(());
    }
    let mechanism = mechanism.filter(|_| is_named).ok_or(())?;
    Ok(Some(KafkaLogin {
        mechanism,
        user: login.user.ok_or(())?,
        password: login.password.ok_or(())?,
    }))
}

fn topic(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<(Template, String)> {
    if !section.has("topic") {
        section.node("topic");
        let message = "a kafka sink needs topic = \"whatsapp\" or the like";
        reading.mistake(&section.place.clone(), message);
        return None;
    }
    let text = section.text(reading, "topic")?;
    match Template::parse_topic(text) {
        Ok(template) => Some((template, text.to_owned())),
        Err(error) => {
            reading.mistake(&section.place_of("topic"), format!("topic: {error}"));
            None
        }
    }
}

fn options(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Vec<(String, String)> {
    let mut options = Vec::new();
    let Some(node) = section.node("options") else {
        return options;
    };
    let Value::Table(entries) = &node.value else {
        let message = "options must be written as { \"linger.ms\" = \"5\" }";
        reading.mistake(&section.place_of("options"), message);
        return options;
    };
    for entry in entries {
        let name = entry.key.as_str();
        let Value::Text(value) = &entry.node.value else {
            let message = format!("the value of {name} must be text, as in \"5\"");
            reading.mistake(&entry.place, message);
            continue;
        };
        if let Some(why) = is_ours(name) {
            let message = format!("options cannot hold {name}: {why}");
            reading.mistake(&entry.place, message);
            continue;
        }
        let option = [(name.to_owned(), value.clone())];
        #[cfg(feature = "kafka")]
        if let Err((_, said)) = crate::sink::kafka::check_options(&option) {
            reading.mistake(&entry.place, format!("options: {said}"));
            continue;
        }
        options.extend(option);
    }
    options
}

/// Why an option is none.
fn is_ours(name: &str) -> Option<&'static str> {
    let is = |pattern: &str| match pattern.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => name == pattern,
    };
    let mut ours = OURS.iter();
    let found = ours.find(|(patterns, _)| patterns.iter().any(|it| is(it)));
    found.map(|(_, why)| *why)
}

/// Properties of librdkafka that are none of the options, and why. A star stands for any end.
const OURS: [(&[&str], &str); 8] = [
    (
        &[
            "enable.idempotence",
            "acks",
            "request.required.acks",
            "max.in.flight*",
            "retries",
            "message.send.max.retries",
            "enable.gapless.guarantee",
            "transactional.id",
            "transaction.timeout.ms",
        ],
        "that each event is stored, and once as far as Kafka can, rests on it",
    ),
    (
        &["message.timeout.ms", "delivery.timeout.ms"],
        "retries are Hookline's, so that no event expires unsent; timeout is the key for one attempt",
    ),
    (
        &[
            "partitioner*",
            "sticky.partitioning.linger.ms",
            "queuing.strategy",
            "msg_order_cmp",
        ],
        "the order within a conversation rests on it",
    ),
    (
        &["message.max.bytes", "max.request.size"],
        "what the topic takes is asked; raise max.message.bytes there",
    ),
    (
        &["allow.auto.create.topics"],
        "no topic is made unasked; create = true makes one",
    ),
    (
        &[
            "bootstrap.servers",
            "metadata.broker.list",
            "security.protocol",
            "sasl.*",
            "ssl.ca.*",
            "ssl.certificate.*",
            "ssl.key*",
            "ssl.truststore.*",
            "ssl_*",
            "compression.codec",
            "compression.type",
        ],
        "it has a key of its own: brokers, sasl_mechanism, user, password, tls, ca_file, cert_file, key_file, compression",
    ),
    (
        &[
            "enable.ssl.certificate.verification",
            "ssl.endpoint.identification.algorithm",
        ],
        "whom the password and the events go to rests on it",
    ),
    (
        &[
            "test.*",
            "plugin.library.paths",
            "log*",
            "*_cb",
            "opaque",
            "interceptors",
            "internal.*",
            "builtin.features",
        ],
        "it is about librdkafka itself, and Hookline sets it",
    ),
];

const COMPRESSIONS: [&str; 5] = ["none", "gzip", "snappy", COMPRESSION, "zstd"];

/// The default.
const COMPRESSION: &str = "lz4";

const MECHANISMS: [&str; 3] = [PLAIN, "SCRAM-SHA-256", "SCRAM-SHA-512"];

const PLAIN: &str = "PLAIN";
