//! What `hookline check --connect` asks: each target is tried once, and nothing is sent, made or changed.
//!
//! A type of sink has one arm in [`probe`]; what it finds are plain sentences.

#[cfg(any(feature = "nats", feature = "kafka"))]
use crate::config::format_size;
use crate::config::{Config, FileSink, HttpSink, Sink, SinkKind};
use ::http::Uri;
use rustix::fs::Access;
use serde::Serialize;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;

/// What was found at one target of a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Probed {
    pub sink: String,
    /// Its address, without secrets.
    pub target: String,
    /// True if events could be delivered there.
    pub ok: bool,
    /// What it is like, or what is wrong.
    pub found: Vec<String>,
    /// What works and may surprise.
    pub warnings: Vec<String>,
}

/// Tries all targets of all sinks, one after the other.
pub fn probe_all(config: &Config) -> Vec<Probed> {
    let sinks = config.sinks.iter();
    sinks.flat_map(|sink| probe(sink, config)).collect()
}

fn probe(sink: &Sink, config: &Config) -> Vec<Probed> {
    match &sink.kind {
        SinkKind::Stdout | SinkKind::Pull(_) => Vec::new(),
        SinkKind::File(file) => vec![probe_file(sink, file)],
        SinkKind::Http(http) => vec![probe_http(sink, http)],
        SinkKind::Exec(exec) => {
            let program = exec.command.first().map_or("", String::as_str);
            vec![probe_program(sink, program)]
        }
        #[cfg(feature = "nats")]
        SinkKind::Nats(nats) => nats::probe(sink, nats, config),
        #[cfg(feature = "kafka")]
        SinkKind::Kafka(kafka) => kafka::probe(sink, kafka, config),
        #[cfg(feature = "postgres")]
        SinkKind::Postgres(table) => vec![postgres::probe(sink, table)],
        #[cfg(feature = "redis")]
        SinkKind::Redis(redis) => vec![redis::probe(sink, redis, config)],
        #[cfg(not(all(
            feature = "nats",
            feature = "kafka",
            feature = "postgres",
            feature = "redis"
        )))]
        SinkKind::Nats(_) | SinkKind::Kafka(_) | SinkKind::Postgres(_) | SinkKind::Redis(_) => {
            let _ = config;
            Vec::new()
        }
    }
}

impl Probed {
    fn new(sink: &Sink, target: &str) -> Probed {
        Probed {
            sink: sink.name.clone(),
            target: target.to_owned(),
            ..Probed::default()
        }
    }

    /// It works, and is like this.
    fn works(mut self, found: impl Into<String>) -> Probed {
        self.ok = true;
        self.found.push(found.into());
        self
    }

    /// What the target takes, against what may come.
    #[cfg(any(feature = "nats", feature = "kafka"))]
    fn compared_with(mut self, max: usize, config: &Config) -> Probed {
        let body = config.limits.body;
        if body > max {
            let (body, max) = (format_size(body as u64), format_size(max as u64));
            self.warnings.push(format!(
                "limits.body is {body} and the target takes {max}: an event of more than that becomes a dead letter"
            ));
        }
        self
    }

    /// It works, but events could not be delivered.
    #[cfg(feature = "redis")]
    fn refuses(mut self, reason: impl Into<String>) -> Probed {
        self.ok = false;
        self.fails(reason)
    }

    /// It does not, and why.
    fn fails(mut self, reason: impl Into<String>) -> Probed {
        self.found.push(reason.into());
        self
    }
}

fn probe_file(sink: &Sink, file: &FileSink) -> Probed {
    let probed = Probed::new(sink, &file.path.display().to_string());
    let dir = file.path.parent().filter(|dir| *dir != Path::new(""));
    let dir = dir.unwrap_or(Path::new("."));
    let is_there = file.path.exists();
    let place = if is_there { &file.path } else { dir };
    match rustix::fs::access(place, Access::WRITE_OK) {
        Ok(()) if is_there => probed.works("the file is there and writable"),
        Ok(()) => {
            probed.works("the directory is there and writable; the file is made at the start")
        }
        Err(error) => probed.fails(format!("cannot write to {}: {error}", place.display())),
    }
}

/// A connection, and no request: whoever answers would take it for a notification.
fn probe_http(sink: &Sink, http: &HttpSink) -> Probed {
    let probed = Probed::new(sink, http.address());
    let Ok(uri) = http.url.parse::<Uri>() else {
        return probed.fails("the address is not understood");
    };
    let usual = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = match (host, uri.port_u16().unwrap_or(usual)).to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(error) => return probed.fails(format!("no address for {host}: {error}")),
    };
    let mut reason = format!("no address for {host}");
    for address in addresses {
        match TcpStream::connect_timeout(&address, http.connect_timeout) {
            Ok(_) => return probed.works(format!("{address} takes connections; nothing was sent")),
            Err(error) => reason = format!("cannot connect to {address}: {error}"),
        }
    }
    probed.fails(reason)
}

fn probe_program(sink: &Sink, program: &str) -> Probed {
    let probed = Probed::new(sink, program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_program =
        |path: &Path| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok();
    let is_there = if program.contains('/') {
        is_program(Path::new(program))
    } else {
        std::env::split_paths(&path).any(|dir| is_program(&dir.join(program)))
    };
    if is_there {
        probed.works("the program is there; it was not run")
    } else {
        probed.fails("the program is not there, or may not be run")
    }
}

#[cfg(feature = "kafka")]
mod kafka {
    use super::Probed;
    use crate::config::{Config, KafkaSink, Sink};
    use crate::server::sinks::kafka_options;
    use crate::sink::kafka::{Inspected, Inspection, inspect};

    pub(super) fn probe(sink: &Sink, kafka: &KafkaSink, config: &Config) -> Vec<Probed> {
        let options = kafka_options(&sink.name, kafka);
        let inspected = inspect(&options).into_iter();
        inspected
            .map(|(broker, found)| {
                let probed = Probed::new(sink, &broker);
                match found {
                    Ok(found) => compared(probed, &found, kafka, config),
                    Err(reason) => probed.fails(reason),
                }
            })
            .collect()
    }

    /// What was found, against what is configured.
    fn compared(probed: Probed, found: &Inspection, kafka: &KafkaSink, config: &Config) -> Probed {
        let login = if kafka.login.is_some() {
            " and takes the login"
        } else {
            ""
        };
        let mut probed = probed.works(format!(
            "Kafka is there{login}; its cluster has {} broker(s)",
            found.brokers
        ));
        let name = &kafka.topic_text;
        match &found.topic {
            Some(Inspected::There(topic)) => {
                let in_sync = topic.min_insync;
                let in_sync = in_sync.map_or("unknown".to_owned(), |it| it.to_string());
                probed.found.push(format!(
                    "the topic {name} is there with {} partition(s), kept by {} broker(s), min.insync.replicas \
                     {in_sync}; a confirmation is worth {:?}",
                    topic.partitions,
                    topic.replicas,
                    topic.confirmation().name()
                ));
                probed.warnings.extend(topic.unknown.clone());
                if let Some(max) = topic.message_max {
                    probed.found.push(format!(
                        "it takes records up to {}",
                        super::format_size(max as u64)
                    ));
                    probed = probed.compared_with(max, config);
                }
            }
            Some(Inspected::Missing(reason)) if kafka.create => {
                probed
                    .found
                    .push(format!("{reason}; create = true makes it at the start"));
            }
            Some(Inspected::Missing(reason)) => {
                probed.ok = false;
                probed.found.push(reason.clone());
            }
            None => probed.found.push(format!(
                "which topics {name} comes to is seen with the events; each is asked about then"
            )),
        }
        for silent in &found.silent {
            probed.ok = false;
            probed.found.push(silent.clone());
        }
        probed
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::Probed;
    use crate::config::{PostgresSink, Sink};
    use crate::server::sinks::postgres_options;
    use crate::sink::postgres::{Options, inspect};

    pub(super) fn probe(sink: &Sink, postgres: &PostgresSink) -> Probed {
        let probed = Probed::new(sink, &postgres.address());
        let options = Options {
            create: false,
            ..postgres_options(&sink.name, postgres)
        };
        let found = match inspect(&options) {
            Ok(found) => found,
            Err(reason) => return probed.fails(reason),
        };
        let mut probed = probed.works(format!(
            "PostgreSQL {} is there, takes the login and can be written to; a confirmation is worth {:?}",
            found.version,
            found.confirmation.name()
        ));
        if found.missing.is_empty() {
            let table = postgres.shape.table.literal();
            probed
                .found
                .push(format!("the table {table} and those beside it are there"));
        } else if postgres.create {
            let missing = found.missing.join(", ");
            let found = format!("{missing} is missing; create = true makes it at the start");
            probed.found.push(found);
        } else {
            let missing = found.missing.join(", ");
            let reason = format!(
                "{missing} is missing: make it with what `hookline schema postgres` prints"
            );
            probed = probed.fails(reason);
            probed.ok = false;
        }
        if !found.forbidden.is_empty() {
            let forbidden = found.forbidden.join(", ");
            probed = probed.fails(format!(
                "the role may not use {forbidden}: grant it these rights"
            ));
            probed.ok = false;
        }
        probed
    }
}

#[cfg(feature = "redis")]
mod redis {
    use super::Probed;
    use crate::config::{Config, RedisSink, Sink, format_size};
    use crate::server::sinks::redis_options;
    use crate::sink::redis::{Inspected, Inspection, inspect};

    pub(super) fn probe(sink: &Sink, redis: &RedisSink, config: &Config) -> Probed {
        let probed = Probed::new(sink, &redis.target.to_string());
        let options = redis_options(&sink.name, redis);
        match inspect(&options, &redis.streams()) {
            Ok(found) => compared(probed, &found, redis, config),
            Err(reason) => probed.fails(reason),
        }
    }

    /// What was found, against what is configured.
    fn compared(probed: Probed, found: &Inspection, redis: &RedisSink, config: &Config) -> Probed {
        let worth = redis.wait.confirmation().name();
        let mut probed = probed.works(format!(
            "{} is there and takes the login; a confirmation is worth {worth:?}",
            found.server
        ));
        if found.is_replica {
            probed = probed.refuses("it is a replica: name the server that can be written to");
        }
        if found.is_cluster {
            probed = probed.refuses(
                "it is part of a Redis Cluster, and sinks deliver to a server that stands alone or has replicas",
            );
        }
        for (stream, inspected) in &found.streams {
            match inspected {
                Inspected::There => {
                    let text = format!("the stream {stream} is there");
                    probed.found.push(text);
                }
                Inspected::Missing if redis.create => {
                    let text = format!(
                        "the stream {stream} is missing; create = true makes it with the first event"
                    );
                    probed.found.push(text);
                }
                Inspected::Missing => {
                    probed = probed.refuses(format!(
                        "the stream {stream} is missing: make it (XGROUP CREATE {stream} GROUP $ MKSTREAM), or set \
                         create = true for a first try"
                    ));
                }
                Inspected::Odd(reason) => probed = probed.refuses(format!("{stream}: {reason}")),
            }
        }
        if let Some(policy) = &found.evicts {
            probed.warnings.push(format!(
                "maxmemory-policy is {policy}: when its memory is full the server removes whole streams, and their \
                 positions; set it to noeviction, or one of volatile"
            ));
        }
        if !found.writes_aof {
            probed.warnings.push(
                "the server writes no append-only file: what it has taken since its last snapshot is lost with it; set \
                 appendonly yes there"
                    .to_owned(),
            );
        }
        let body = config.limits.body;
        if let Some(max) = found.value_max.filter(|max| body > *max) {
            let (body, max) = (format_size(body as u64), format_size(max as u64));
            probed.warnings.push(format!(
                "limits.body is {body} and the server takes {max} as one value (proto-max-bulk-len): larger data cannot \
                 be stored"
            ));
        }
        probed
    }
}

#[cfg(feature = "nats")]
mod nats {
    use super::Probed;
    use crate::config::{Config, NatsSink, Sink, format_size, format_time};
    use crate::server::sinks::nats_options;
    use crate::sink::nats::{Inspected, Inspection, inspect};
    use std::time::Duration;

    pub(super) fn probe(sink: &Sink, nats: &NatsSink, config: &Config) -> Vec<Probed> {
        let options = nats_options(&sink.name, nats);
        let inspected = inspect(&options).into_iter();
        inspected
            .map(|(server, found)| {
                let probed = Probed::new(sink, &server);
                match found {
                    Ok(found) => compared(probed, &found, nats, config),
                    Err(reason) => probed.fails(reason),
                }
            })
            .collect()
    }

    /// What was found, against what is configured.
    fn compared(probed: Probed, found: &Inspection, nats: &NatsSink, config: &Config) -> Probed {
        let payload = format_size(found.payload_max as u64);
        let mut probed = probed.works(format!(
            "NATS {} is there and takes the login; messages up to {payload}",
            found.version
        ));
        let mut max = found.payload_max;
        match &found.stream {
            Inspected::There(stream) => {
                let confirmation = nats.confirmation.unwrap_or(stream.confirmation());
                let window = format_time(millis(stream.duplicate_window));
                probed.found.push(format!(
                    "the stream {} is there, kept by {} server(s), with a duplicate window of {window}; a \
                     confirmation is worth {:?}",
                    nats.stream,
                    stream.replicas,
                    confirmation.name()
                ));
                max = max.min(stream.message_max.unwrap_or(max));
                let longest = nats.dispatch.retry_max + nats.dispatch.timeout;
                if stream.duplicate_window < longest {
                    let longest = format_time(millis(longest));
                    probed.warnings.push(format!(
                        "the duplicate window of {window} is below the longest pause before a repeat, {longest} \
                         (retry_max and timeout): what is repeated after it is stored twice; raise the window or lower retry_max"
                    ));
                }
            }
            Inspected::Missing(reason) if nats.create.is_some() => {
                probed
                    .found
                    .push(format!("{reason}; create = true makes it at the start"));
            }
            Inspected::Missing(reason) => {
                probed.ok = false;
                probed.found.push(reason.clone());
            }
            Inspected::Unknown(reason) => probed.warnings.push(reason.clone()),
        }
        probed.compared_with(max, config)
    }

    fn millis(duration: Duration) -> u64 {
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags};
    use std::net::TcpListener;

    #[test]
    fn files_receivers_and_programs_are_looked_at_and_nothing_is_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let there = listener.local_addr().expect("it has one");
        let away = TcpListener::bind("127.0.0.1:0").expect("a port");
        let gone = away.local_addr().expect("it has one");
        drop(away);
        let file = dir.path().join("events");
        let path = dir.path().join("hookline.toml");
        let text = format!(
            "[[endpoint]]\npath = \"/a\"\nprovider = \"meta\"\naccept_unsigned = true\n\
             [[sink]]\nname = \"file\"\ntype = \"file\"\npath = {file:?}\n\
             [[sink]]\nname = \"there\"\ntype = \"http\"\nurl = \"http://{there}/x\"\n\
             [[sink]]\nname = \"gone\"\ntype = \"http\"\nurl = \"http://{gone}/x\"\n\
             [[sink]]\nname = \"sh\"\ntype = \"exec\"\ncommand = [\"sh\"]\n\
             [[sink]]\nname = \"none\"\ntype = \"exec\"\ncommand = [\"/nonexistent\"]\n\
             [[sink]]\nname = \"out\"\ntype = \"stdout\"\n"
        );
        std::fs::write(&path, text).expect("written");
        let loaded = Config::load(Some(&path), &Environment::new(), &Flags::default());
        let (config, _) = loaded.expect("valid");
        let probed = probe_all(&config);
        let ok: Vec<(&str, bool)> = probed.iter().map(|it| (&*it.sink, it.ok)).collect();
        let expected = [
            ("file", true),
            ("there", true),
            ("gone", false),
            ("sh", true),
            ("none", false),
        ];
        assert_eq!(ok, expected, "{probed:?}");
        assert!(!file.exists(), "nothing is made");
    }
}
