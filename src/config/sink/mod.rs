//! Reads `[[sink]]`: what is delivered, and where to.
//!
//! | type | delivers | keys of its own |
//! |---|---|---|
//! | `stdout` | NDJSON to the standard output | |
//! | `file` | NDJSON, appended to a file | `path`, `mode`, `rotate_size`, `rotate_every`, `keep` |
//! | `http` | requests | `url`, `unit`, `mode`, `batch`, `headers`, `signing_secret`, `ca_file`, `connect_timeout`, and those below |
//! | `exec` | to the standard input of a program | `command`, `env`, `mode`, and those below |
//! | `nats` | into a stream of JetStream | see [`nats`] and [`connection`], and those below |
//! | `kafka` | into topics of Kafka | see [`kafka`] and [`connection`], and those below |
//! | `postgres` | rows of a table | `url`, `user`, `password`, `table`, `create`, `data_type`, `partitions`, `unique_ids`, `timeout`, those of a [connection] |
//! | `redis` | entries of a stream of Redis | see [`redis`] and [`connection`] |
//! | `pull` | to who asks for it | `token`, `accept_unauthenticated` |
//!
//! `http`, `exec`, `nats`, `kafka` and `redis` with `ids = "auto"` deliver one by one: `concurrency`, `rate`,
//! `timeout`, `retry_min`, `retry_max`, `max_attempts`.
//! All types take `name`, `start`, `former_name` ([`Life`]) and the keys of the [filter](Filter).

mod connection;
mod dispatch;
mod exec;
mod file;
mod filter;
mod http;
mod kafka;
mod life;
mod nats;
mod postgres;
mod pull;
mod redis;

pub use dispatch::Dispatch;
pub use exec::{ExecMode, ExecSink};
pub use file::FileSink;
pub use filter::Filter;
pub use http::HttpSink;
pub use kafka::{KafkaLogin, KafkaSink};
pub use life::{Life, Start};
pub use nats::{NatsLogin, NatsSink};
pub use postgres::PostgresSink;
pub use pull::PullSink;
pub use redis::{RedisIds, RedisSink};

use super::endpoint::Endpoint;
use super::own_files::is_same_file;
use super::reader::{Reading, Section, check_name};
use super::suggest::did_you_mean;

/// Where events are delivered, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Names it in metrics, cursors, dead letters and commands.
    pub name: String,
    /// Where it begins, and what it was called.
    pub life: Life,
    pub filter: Filter,
    pub kind: SinkKind,
}

/// The kinds of sink of this build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// NDJSON to the standard output.
    Stdout,
    /// NDJSON appended to a file.
    File(FileSink),
    Http(Box<HttpSink>),
    Exec(ExecSink),
    Nats(Box<NatsSink>),
    Kafka(Box<KafkaSink>),
    Postgres(Box<PostgresSink>),
    Redis(Box<RedisSink>),
    /// Whoever asks for it.
    Pull(PullSink),
}

impl SinkKind {
    /// What `type` says.
    pub fn name(&self) -> &'static str {
        match self {
            SinkKind::Stdout => "stdout",
            SinkKind::File(_) => "file",
            SinkKind::Http(_) => "http",
            SinkKind::Exec(_) => "exec",
            SinkKind::Nats(_) => "nats",
            SinkKind::Kafka(_) => "kafka",
            SinkKind::Postgres(_) => "postgres",
            SinkKind::Redis(_) => "redis",
            SinkKind::Pull(_) => "pull",
        }
    }

    /// True if both would write to the same place, and each into the lines of the other.
    pub fn collides(&self, other: &SinkKind) -> bool {
        match (self, other) {
            (SinkKind::Stdout, SinkKind::Stdout) => true,
            (SinkKind::File(one), SinkKind::File(other)) => is_same_file(&one.path, &other.path),
            (SinkKind::Postgres(one), SinkKind::Postgres(other)) => one.is_same_table(other),
            (SinkKind::Redis(one), SinkKind::Redis(other)) => one.is_same_stream(other),
            _ => false,
        }
    }
}

/// The sink when there is no file.
pub(super) fn default() -> Sink {
    Sink {
        name: "stdout".to_owned(),
        life: Life::default(),
        filter: Filter::default(),
        kind: SinkKind::Stdout,
    }
}

/// Reads all of them. `endpoints` are those that filters may name; `None` when not all of them could be read.
pub(super) fn read_all(
    reading: &mut Reading<'_>,
    sections: Vec<Section<'_>>,
    endpoints: Option<&[Endpoint]>,
) -> Vec<Sink> {
    let mut sinks: Vec<Sink> = Vec::new();
    let mut former_names = Vec::new();
    for section in sections {
        let (place, former) = (section.place_of("name"), section.place_of("former_name"));
        let Some(sink) = read(reading, section, endpoints) else {
            continue;
        };
        let differs_by_case = |other: &&Sink| other.name.eq_ignore_ascii_case(&sink.name);
        if sinks.iter().any(|other| other.name == sink.name) {
            let message = format!(
                "a second sink has the name {:?}; give it another name",
                sink.name
            );
            reading.mistake(&place, message);
        } else if let Some(other) = sinks.iter().find(differs_by_case) {
            let message = format!(
                "sink {:?} has the name of {:?} but for capitals, and names stand in file names; give it another name",
                sink.name, other.name
            );
            reading.mistake(&place, message);
        } else if sinks.iter().any(|other| other.kind.collides(&sink.kind)) {
            let message = format!("sink {:?} writes where another one does already", sink.name);
            reading.mistake(&place, message);
        }
        sinks.push(sink);
        former_names.push(former);
    }
    let lives = sinks.iter().zip(&former_names);
    let lives = lives.map(|(sink, place)| (sink.name.as_str(), &sink.life, place));
    life::check(reading, &lives);
    sinks
}

fn read(
    reading: &mut Reading<'_>,
    mut section: Section<'_>,
    endpoints: Option<&[Endpoint]>,
) -> Option<Sink> {
    let name = section.text(reading, "name");
    if let Some(name) = name {
        let place = section.place_of("name");
        check_name(reading, &place, name);
        if let Some(why) = is_reserved(name) {
            let message = format!(
                "a sink cannot be called {name:?}: {why}; give it another name, and to keep its place rename \
                 cursors/{name}.cursor in the data directory while no server runs"
            );
            reading.mistake(&place, message);
        }
    }
    let (word, is_built) = read_type(reading, &mut section)?;
    let life = life::read(reading, &mut section);
    let filter = filter::read(reading, &mut section, endpoints);
    let kind = match word {
        "file" => file::read(reading, &mut section).map(SinkKind::File),
        "http" => http::read(reading, &mut section).map(|http| SinkKind::Http(Box::new(http))),
        "exec" => exec::read(reading, &mut section).map(SinkKind::Exec),
        "nats" => nats::read(reading, &mut section).map(|nats| SinkKind::Nats(Box::new(nats))),
        "kafka" => kafka::read(reading, &mut section).map(|it| SinkKind::Kafka(Box::new(it))),
        "postgres" => {
            postgres::read(reading, &mut section).map(|it| SinkKind::Postgres(Box::new(it)))
        }
        "redis" => redis::read(reading, &mut section).map(|it| SinkKind::Redis(Box::new(it))),
        "pull" => Some(SinkKind::Pull(pull::read(reading, &mut section))),
        _ => Some(SinkKind::Stdout),
    };
    section.finish(reading, |key| belongs_to(key, word));
    is_built.then_some(())?;
    Some(Sink {
        name: name.unwrap_or(word).to_owned(),
        life,
        filter,
        kind: kind?,
    })
}

/// The type, and whether this build has it.
fn read_type(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<(&'static str, bool)> {
    let Some(word) = section.text(reading, "type") else {
        if !section.has("type") {
            let names = KINDS.map(|(name, _)| format!("{name:?}")).join(", ");
            reading.mistake(
                &section.place.clone(),
                format!("[[sink]] needs type: one of {names}"),
            );
        }
        return None;
    };
    let Some((word, _)) = KINDS.iter().find(|(name, _)| *name == word) else {
        let meant = did_you_mean(word, KINDS.iter().map(|(name, _)| *name));
        let message = format!("unknown sink type {word:?}{meant}");
        reading.mistake(&section.place_of("type"), message);
        return None;
    };
    let is_built = !BY_FEATURE.contains(&(*word, false));
    if !is_built {
        let message = format!(
            "sink type {word:?} is not in this build, which was made without the feature {word}: build Hookline with \
             --features {word}, or take a package, which has all types"
        );
        // What else is wrong is shown all the same.
        reading.mistake(&section.place_of("type"), message);
    }
    Some((word, is_built))
}

/// Why a key is not taken by a sink of type `word`, if another type takes it.
fn belongs_to(key: &str, word: &str) -> Option<String> {
    let owners = KINDS.iter().filter(|(_, keys)| keys.contains(&key));
    let owners: Vec<String> = owners.map(|(name, _)| format!("{name:?}")).collect();
    if owners.is_empty() {
        return None;
    }
    let (_, keys) = KINDS.iter().find(|(name, _)| *name == word)?;
    let takes = if keys.is_empty() {
        "no keys of its own".to_owned()
    } else {
        keys.join(", ")
    };
    let owners = owners.join(" or ");
    Some(format!(
        "{key} belongs to a sink of type {owners}; {word:?} takes {takes}"
    ))
}

/// Why no sink can have this name, which stands for something else where names of sinks stand.
fn is_reserved(name: &str) -> Option<&'static str> {
    let behind_aside = name.rsplit_once(".aside").map(|(_, behind)| behind);
    if name.eq_ignore_ascii_case("worker") {
        Some("the dead letters of bodies that nobody can take apart have this name")
    } else if name.starts_with('.') {
        Some("it is that of a directory, and must not start with a dot")
    } else if name.starts_with('-') {
        Some("on a command line it would be an option")
    } else if behind_aside.is_some_and(|it| it.is_empty() || it.starts_with('.')) {
        Some("what is set aside has such names")
    } else {
        None
    }
}

/// What `type` may say, and the keys that only these types take.
const KINDS: [(&str, &[&str]); 9] = [
    ("stdout", &[]),
    (
        "file",
        &["path", "mode", "rotate_size", "rotate_every", "keep"],
    ),
    (
        "http",
        &[
            "url",
            "unit",
            "mode",
            "batch",
            "headers",
            "signing_secret",
            "ca_file",
            "concurrency",
            "rate",
            "timeout",
            "connect_timeout",
            "retry_min",
            "retry_max",
            "max_attempts",
        ],
    ),
    (
        "exec",
        &[
            "command",
            "env",
            "mode",
            "concurrency",
            "rate",
            "timeout",
            "retry_min",
            "retry_max",
            "max_attempts",
        ],
    ),
    (
        "nats",
        &[
            "servers",
            "stream",
            "subject",
            "identity",
            "create",
            "replicas",
            "duplicate_window",
            "confirmation",
            "user",
            "password",
            "token",
            "nkey_seed",
            "credentials_file",
            "tls",
            "ca_file",
            "cert_file",
            "key_file",
            "server_name",
            "concurrency",
            "rate",
            "timeout",
            "retry_min",
            "retry_max",
            "max_attempts",
        ],
    ),
    ("kafka", kafka::KEYS),
    ("postgres", postgres::KEYS),
    ("redis", redis::KEYS),
    ("pull", &["token", "accept_unauthenticated"]),
];

/// Kinds that a feature of the build brings, and whether this build has it.
pub(super) const BY_FEATURE: [(&str, bool); 5] = [
    ("http", cfg!(feature = "http")),
    ("nats", cfg!(feature = "nats")),
    ("kafka", cfg!(feature = "kafka")),
    ("postgres", cfg!(feature = "postgres")),
    ("redis", cfg!(feature = "redis")),
];
