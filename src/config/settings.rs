//! Every number that can be set: its unit, default, range and reason, in one table.
//!
//! The reader looks its limits up here, `hookline check` prints them, and the manual quotes them.

use super::units::{format_size, format_time};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Pieces, written as a plain integer.
    Count,
    /// Bytes, written as in `"4MiB"` or as a plain integer.
    Bytes,
    /// Milliseconds, written as in `"250ms"` or `"7d"`.
    Milliseconds,
}

/// One row of [`SETTINGS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The table of the file, as in `[server]`.
    pub section: &'static str,
    /// The key in that table.
    pub key: &'static str,
    /// What `default`, `min` and `max` count.
    pub unit: Unit,
    /// The value when nothing is configured; `None` means that it follows from the cores.
    pub default: Option<u64>,
    /// The smallest value that is taken.
    pub min: u64,
    /// The largest value that is taken.
    pub max: u64,
    /// Why the limit exists, or what moving it does.
    pub reason: &'static str,
}

impl Setting {
    /// `value` in the way that the file would say it.
    pub fn format(&self, value: u64) -> String {
        match self.unit {
            Unit::Count => value.to_string(),
            Unit::Bytes => format_size(value),
            Unit::Milliseconds => format_time(value),
        }
    }
}

/// The row for a key. Only for keys that are known to be in the table.
pub(super) fn setting(section: &str, key: &str) -> &'static Setting {
    SETTINGS
        .iter()
        .find(|setting| setting.section == section && setting.key == key)
        .expect("every number that is read stands in the table")
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

const fn count(
    (section, key): (&'static str, &'static str),
    default: Option<u64>,
    (min, max): (u64, u64),
    reason: &'static str,
) -> Setting {
    Setting {
        section,
        key,
        unit: Unit::Count,
        default,
        min,
        max,
        reason,
    }
}

const fn retry_min(section: &'static str) -> Setting {
    time(
        (section, "retry_min"),
        500,
        (1, 60 * MINUTE),
        "the pause after the first failure; it doubles with each one",
    )
}

const fn bytes(
    name: (&'static str, &'static str),
    default: u64,
    range: (u64, u64),
    reason: &'static str,
) -> Setting {
    Setting {
        unit: Unit::Bytes,
        ..count(name, Some(default), range, reason)
    }
}

const fn time(
    name: (&'static str, &'static str),
    default: u64,
    range: (u64, u64),
    reason: &'static str,
) -> Setting {
    Setting {
        unit: Unit::Milliseconds,
        ..count(name, Some(default), range, reason)
    }
}

/// The table.
pub static SETTINGS: &[Setting] = &[
    count(
        ("server", "loops"),
        None,
        (1, 256),
        "event loops, one a core: all cores but those of the workers",
    ),
    count(
        ("server", "workers"),
        None,
        (1, 256),
        "threads that parse what is stored: a quarter of the cores",
    ),
    count(
        ("server", "max_connections"),
        Some(65_536),
        (1, 1 << 20),
        "each costs a file descriptor; `ulimit -n` must allow as many",
    ),
    count(
        ("server", "max_connections_per_address"),
        Some(16_384),
        (1, 1 << 20),
        "no single client takes every slot; a proxy in front is a single one, as is an IPv6 /64",
    ),
    time(
        ("server", "ack_deadline"),
        4 * SECOND,
        (100, MINUTE),
        "a post that waits longer for the disk gets 503; platforms give up after 5s",
    ),
    time(
        ("server", "drain_timeout"),
        10 * SECOND,
        (0, 10 * MINUTE),
        "how long a stop waits for requests under way; keep it below the supervisor's own",
    ),
    bytes(
        ("limits", "head"),
        16 * KIB,
        (KIB, 64 * KIB),
        "request line and headers; more is 431",
    ),
    count(
        ("limits", "headers"),
        Some(100),
        (8, 128),
        "header fields of a request; more is 431",
    ),
    bytes(
        ("limits", "body"),
        4 * MIB,
        (KIB, 64 * MIB),
        "body of a request; more is 413, and WhatsApp sends up to 3 MB",
    ),
    count(
        ("limits", "pipeline"),
        Some(256),
        (1, 65_536),
        "unanswered requests of one connection; more wait in its socket",
    ),
    bytes(
        ("limits", "unacknowledged"),
        64 * MIB,
        (MIB, 64 * GIB),
        "bytes of the whole process that wait for the disk; then the sockets are left unread",
    ),
    bytes(
        ("limits", "partial"),
        256 * MIB,
        (MIB, 64 * GIB),
        "bytes of the whole process in incomplete requests and unread answers; beyond, the slow get 503",
    ),
    time(
        ("limits", "head_timeout"),
        10 * SECOND,
        (10, 10 * MINUTE),
        "from the first byte of a request to the end of its head, else 408",
    ),
    time(
        ("limits", "body_timeout"),
        30 * SECOND,
        (10, 60 * MINUTE),
        "from the end of the head to the end of the body, else 408",
    ),
    time(
        ("limits", "idle_timeout"),
        120 * SECOND,
        (10, 60 * MINUTE),
        "a connection without a request is closed; keep it above a proxy's own",
    ),
    time(
        ("limits", "write_timeout"),
        10 * SECOND,
        (10, 10 * MINUTE),
        "a client that takes no answers is closed",
    ),
    time(
        ("limits", "linger_timeout"),
        2 * SECOND,
        (10, MINUTE),
        "after a refusal the rest of the request is read away, or the answer is lost to a reset",
    ),
    bytes(
        ("journal", "segment_size"),
        256 * MIB,
        (MIB, 4 * GIB),
        "files are written ahead and recycled in this size",
    ),
    time(
        ("journal", "retention"),
        7 * DAY,
        (0, 3650 * DAY),
        "what every sink has had is kept this long for replay; platforms retry for 7d",
    ),
    bytes(
        ("journal", "max_size"),
        50 * GIB,
        (4 * MIB, 1 << 48),
        "beyond it, what every sink has had goes before its retention is over",
    ),
    time(
        ("journal", "sync_interval"),
        50,
        (1, MINUTE),
        "what a crash may lose on endpoints with ack = \"received\"",
    ),
    time(
        ("dedupe", "window"),
        8 * DAY,
        (MINUTE, 90 * DAY),
        "how long a repeat is known as one: platforms retry for 7d, and a margin",
    ),
    count(
        ("dedupe", "keys"),
        Some(10_000_000),
        (1000, 1 << 30),
        "events remembered at most; the oldest are forgotten before the window is over",
    ),
    time(
        ("endpoint", "tolerance"),
        5 * MINUTE,
        (SECOND, DAY),
        "how far the signed time of a standard-webhooks post may be from ours",
    ),
    bytes(
        ("sink.file", "rotate_size"),
        0,
        (0, 1 << 40),
        "a file of this size is set aside for a new one; 0 for any size",
    ),
    time(
        ("sink.file", "rotate_every"),
        0,
        (0, 3650 * DAY),
        "a file of this age is set aside for a new one; 0 for any age",
    ),
    count(
        ("sink.file", "keep"),
        Some(0),
        (0, 100_000),
        "rotated files that stay; 0 keeps all",
    ),
    count(
        ("sink.http", "batch"),
        Some(100),
        (1, 10_000),
        "events of a request with mode = \"batch\"",
    ),
    count(
        ("sink.http", "concurrency"),
        Some(64),
        (1, 4096),
        "requests under way, each with a connection of its own",
    ),
    count(
        ("sink.http", "rate"),
        Some(0),
        (0, 1_000_000),
        "requests a second; 0 for any number",
    ),
    time(
        ("sink.http", "timeout"),
        10 * SECOND,
        (10, 10 * MINUTE),
        "from the first byte of a request to the last of its answer",
    ),
    time(
        ("sink.http", "connect_timeout"),
        3 * SECOND,
        (10, MINUTE),
        "until a connection is there, before TLS",
    ),
    retry_min("sink.http"),
    time(
        ("sink.http", "retry_max"),
        5 * MINUTE,
        (1, DAY),
        "the longest pause",
    ),
    count(
        ("sink.http", "max_attempts"),
        Some(50),
        (1, 1_000_000),
        "then it is a dead letter: some 3h with these pauses",
    ),
    count(
        ("sink.exec", "concurrency"),
        Some(4),
        (1, 1024),
        "programs at a time, each a process",
    ),
    count(
        ("sink.exec", "rate"),
        Some(0),
        (0, 1_000_000),
        "programs started in a second; 0 for any number",
    ),
    time(
        ("sink.exec", "timeout"),
        30 * SECOND,
        (10, DAY),
        "a program that takes longer is killed, and the event is tried again",
    ),
    retry_min("sink.exec"),
    time(
        ("sink.exec", "retry_max"),
        5 * MINUTE,
        (1, DAY),
        "the longest pause",
    ),
    count(
        ("sink.exec", "max_attempts"),
        Some(50),
        (1, 1_000_000),
        "then it is a dead letter: some 3h with these pauses",
    ),
    count(
        ("sink.nats", "concurrency"),
        Some(128),
        (1, 4096),
        "messages that wait for their confirmation",
    ),
    count(
        ("sink.nats", "rate"),
        Some(0),
        (0, 1_000_000),
        "messages a second; 0 for any number",
    ),
    time(
        ("sink.nats", "timeout"),
        10 * SECOND,
        (100, 10 * MINUTE),
        "from publishing a message to its confirmation",
    ),
    retry_min("sink.nats"),
    time(
        ("sink.nats", "retry_max"),
        5 * SECOND,
        (1, DAY),
        "the longest pause; it must be well below the stream's duplicate window",
    ),
    count(
        ("sink.nats", "max_attempts"),
        Some(50),
        (1, 1_000_000),
        "then it is a dead letter; what the server's state is to blame for does not count",
    ),
    count(
        ("sink.nats", "replicas"),
        Some(1),
        (1, 5),
        "servers that keep a stream which create makes",
    ),
    time(
        ("sink.nats", "duplicate_window"),
        10 * MINUTE,
        (100, 7 * DAY),
        "within which a stream that create makes stores a repeat once",
    ),
    count(
        ("sink.kafka", "concurrency"),
        Some(1024),
        (1, 4096),
        "records that wait for their confirmation; few make small batches",
    ),
    count(
        ("sink.kafka", "rate"),
        Some(0),
        (0, 1_000_000),
        "records a second; 0 for any number",
    ),
    time(
        ("sink.kafka", "timeout"),
        10 * SECOND,
        (1000, 10 * MINUTE),
        "from handing a record to librdkafka to its confirmation; then all are sent again by a new producer",
    ),
    retry_min("sink.kafka"),
    time(
        ("sink.kafka", "retry_max"),
        5 * SECOND,
        (1, DAY),
        "the longest pause",
    ),
    count(
        ("sink.kafka", "max_attempts"),
        Some(50),
        (1, 1_000_000),
        "then it is a dead letter; what the cluster's state is to blame for does not count",
    ),
    count(
        ("sink.kafka", "partitions"),
        Some(12),
        (1, 10_000),
        "of a topic which create makes",
    ),
    count(
        ("sink.kafka", "replicas"),
        Some(3),
        (1, 15),
        "brokers that keep a topic which create makes; fewer where the cluster has fewer",
    ),
    time(
        ("sink.postgres", "timeout"),
        30 * SECOND,
        (100, 10 * MINUTE),
        "for a statement, and for a connection until it can be used",
    ),
    count(
        ("sink.redis", "concurrency"),
        Some(128),
        (1, 4096),
        "entries that wait for their confirmation, with ids = \"auto\"",
    ),
    count(
        ("sink.redis", "rate"),
        Some(0),
        (0, 1_000_000),
        "entries a second, with ids = \"auto\"; 0 for any number",
    ),
    time(
        ("sink.redis", "timeout"),
        10 * SECOND,
        (100, 10 * MINUTE),
        "for an answer, for WAITAOF, and for a connection until it can be used",
    ),
    time(
        ("sink.redis", "retry_min"),
        500,
        (1, 60 * MINUTE),
        "the pause after the first failure, with ids = \"auto\"; it doubles with each one",
    ),
    time(
        ("sink.redis", "retry_max"),
        5 * SECOND,
        (1, DAY),
        "the longest pause, with ids = \"auto\"",
    ),
    count(
        ("sink.redis", "max_attempts"),
        Some(50),
        (1, 1_000_000),
        "then it is a dead letter, with ids = \"auto\"; what the server's state is to blame for does not count",
    ),
    count(
        ("sink.redis", "max_length"),
        Some(0),
        (0, 1_000_000_000_000),
        "entries that a stream keeps, more or less: trims unread ones too; 0 keeps all",
    ),
    count(
        ("sink.redis", "wait_local"),
        Some(0),
        (0, 1),
        "1: an entry is confirmed once the server has it on its disk",
    ),
    count(
        ("sink.redis", "wait_replicas"),
        Some(0),
        (0, 16),
        "so many replicas have an entry on their disks before it is confirmed",
    ),
];

#[cfg(test)]
mod tests;
