//! Reads `[server]`, `[limits]`, `[journal]`, `[dedupe]`, `[admin]`, `[pull]` and `[log]`.

use super::reader::{Reading, Section};
use super::suggest::did_you_mean;
use super::{Admin, Dedupe, Journal, Limits, Log, LogFormat, Pull, Server};
use crate::dedupe::Scope;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::thread;
use tracing_subscriber::filter::Targets;

pub(super) fn server(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Server {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (loops, workers) = threads(cores);
    let listen = section.address(reading, "listen");
    let mut count = |key, from_cores: usize| {
        let value = section.number(reading, key, from_cores as u64);
        usize::try_from(value).unwrap_or(usize::MAX)
    };
    Server {
        listen: listen.unwrap_or(local(8080)),
        loops: count("loops", loops),
        workers: count("workers", workers),
        max_connections: count("max_connections", 0),
        max_connections_per_address: count("max_connections_per_address", 0),
        ack_deadline: section.time(reading, "ack_deadline"),
        drain_timeout: section.time(reading, "drain_timeout"),
        pin: section.boolean(reading, "pin", true),
    }
}

pub(super) fn limits(reading: &mut Reading<'_>, mut section: Section<'_>) -> Limits {
    let limits = Limits {
        head: section.size(reading, "head"),
        headers: section.size(reading, "headers"),
        body: section.size(reading, "body"),
        pipeline: section.size(reading, "pipeline"),
        unacknowledged: section.size(reading, "unacknowledged"),
        partial: section.size(reading, "partial"),
        head_timeout: section.time(reading, "head_timeout"),
        body_timeout: section.time(reading, "body_timeout"),
        idle_timeout: section.time(reading, "idle_timeout"),
        write_timeout: section.time(reading, "write_timeout"),
        linger_timeout: section.time(reading, "linger_timeout"),
    };
    section.finish(reading, |_| None);
    limits
}

pub(super) fn journal(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Journal {
    let dir = section.text(reading, "dir");
    if dir.is_some_and(str::is_empty) {
        reading.mistake(&section.place_of("dir"), "dir is empty; name a directory");
    }
    Journal {
        dir: dir.map_or_else(|| PathBuf::from(super::DATA_DIR), PathBuf::from),
        segment_size: section.number(reading, "segment_size", 0),
        retention: section.time(reading, "retention"),
        max_size: section.number(reading, "max_size", 0),
        sync_interval: section.time(reading, "sync_interval"),
    }
}

pub(super) fn dedupe(reading: &mut Reading<'_>, mut section: Section<'_>) -> Dedupe {
    let scopes = [("endpoint", Scope::Endpoint), ("all", Scope::All)];
    let scope = section.choice(reading, "scope", &scopes);
    let dedupe = Dedupe {
        window: section.time(reading, "window"),
        keys: section.size(reading, "keys"),
        scope: scope.unwrap_or_default(),
    };
    section.finish(reading, |_| None);
    dedupe
}

pub(super) fn pull(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Pull {
    Pull {
        listen: section.address(reading, "listen").unwrap_or(local(8082)),
        connections: PULL_CONNECTIONS,
    }
}

pub(super) fn admin(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    from_file: bool,
) -> Admin {
    let required = from_file || section.has("listen");
    let off = section.node("listen").is_some_and(|node| node.says("off"));
    let listen = (!off).then(|| section.address(reading, "listen").unwrap_or(local(8081)));
    Admin {
        listen,
        required: required && !off,
        hosts: admin_hosts(reading, section),
        connections: ADMIN_CONNECTIONS,
    }
}

/// Names as a `Host` has them, without a port.
fn admin_hosts(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Vec<String> {
    let mut hosts = Vec::new();
    for (host, place) in section.texts(reading, "hosts").unwrap_or_default() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if host.is_empty() || !host.chars().all(is_name) {
            let message = format!(
                "hosts takes names without a port, as in \"metrics.example\", found {host:?}; \
                 addresses and localhost are always taken"
            );
            reading.mistake(&place, message);
        }
        hosts.push(host.to_owned());
    }
    hosts
}

/// Connections of scrapers, probes and people at a time.
const ADMIN_CONNECTIONS: usize = 32;

/// Connections of consumers at a time.
const PULL_CONNECTIONS: usize = 512;

pub(super) fn log(reading: &mut Reading<'_>, mut section: Section<'_>) -> Log {
    let formats = [
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
    ];
    let format = section
        .choice(reading, "format", &formats)
        .unwrap_or(LogFormat::Auto);
    let level = section.text(reading, "level").unwrap_or("info");
    if let Err(message) = level_is_known(level) {
        reading.mistake(&section.place_of("level"), message);
    }
    section.finish(reading, |_| None);
    Log {
        format,
        level: level.to_owned(),
    }
}

/// One core does everything; otherwise a quarter of them parses, as storing has the first claim.
fn threads(cores: usize) -> (usize, usize) {
    let workers = (cores / 4).max(1);
    (cores.saturating_sub(workers).max(1), workers)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The filter itself takes any word for the name of a module, and would log everything or nothing.
fn level_is_known(level: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for part in level.split(',') {
        if !part.contains('=') && !LEVELS.contains(&part.trim()) {
            let meant = did_you_mean(part, LEVELS);
            return Err(format!("unknown level {part:?}{meant}"));
        }
    }
    level
        .parse::<Targets>()
        .map(drop)
        .map_err(|error| format!("level {level:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_follow_the_cores() {
        let expected = [
            (1, (1, 1)),
            (2, (1, 1)),
            (4, (3, 1)),
            (8, (6, 2)),
            (64, (48, 16)),
        ];
        for (cores, split) in expected {
            assert_eq!(threads(cores), split, "{cores}");
        }
    }

    /// A filter of the values of fields is a regular expression, from which an automaton was made: 300 dots in a
    /// configuration took a minute of the processor, and as much memory as there was.
    #[test]
    fn levels_are_levels() {
        for level in ["info", "off", "warn,hookline::journal=debug"] {
            assert_eq!(level_is_known(level), Ok(()));
        }
        assert!(
            level_is_known("inof")
                .expect_err("refused")
                .contains("did you mean \"info\"")
        );
        assert!(level_is_known("").is_err());
        assert!(level_is_known("[span{field=value}]=debug").is_err());
        assert!(level_is_known("hookline=loud").is_err());
    }
}
