//! File, environment and flags become one checked [`Config`].
//!
//! A TOML file comes first, `HOOKLINE__SECTION__KEY` variables go over it, flags over both. All mistakes are
//! gathered, each with its line and what to write instead; nothing starts with any of them. The structs here
//! are plain: the server hands each module the part that it needs. Relative paths are relative to the
//! working directory.
//!
//! Without a file there is one endpoint, `/webhook` for Meta, and events go to stdout. It takes
//! `HOOKLINE_APP_SECRET` and `HOOKLINE_VERIFY_TOKEN` if they are set; without a secret it takes unsigned posts,
//! and then only on a loopback address.
//!
//! ```
//! use hookline::testing::config::{Config, Environment, Flags};
//!
//! let (config, warnings) = Config::load(None, &Environment::new(), &Flags::default())?;
//! assert_eq!(config.endpoints[0].path, "/webhook");
//! # Ok::<(), hookline::testing::config::ConfigErrors>(())
//! ```

mod consistency;
mod document;
mod endpoint;
mod finding;
mod own_files;
mod proof;
mod provider;
mod reader;
mod restart;
mod secret;
mod sections;
mod settings;
mod sink;
mod suggest;
mod surroundings;
mod units;

#[cfg(test)]
mod tests;

pub use crate::endpoint::Ack;
pub use crate::endpoint::signature::{Algorithm, Encoding};
pub use crate::sink::RequestForm;
pub use crate::sink::postgres::SslMode;
pub use crate::sink::postgres::schema::{DataType, Partitions, Shape, Table};
pub use endpoint::Endpoint;
pub use finding::{ConfigErrors, Finding};
pub use proof::{Credential, Provider};
pub use restart::needing_restart;
pub use secret::Secret;
pub use settings::{SETTINGS, Setting};
pub use sink::{
    Dispatch, ExecMode, ExecSink, FileSink, Filter, HttpSink, KafkaLogin, KafkaSink, Life,
    NatsLogin, NatsSink, PostgresSink, PullSink, RedisIds, RedisSink, Sink, SinkKind, Start,
};
pub use suggest::{doubtful_type, nearest};
pub use units::{format_size, format_time, parse_size, parse_time};

use crate::dedupe::Scope;
use document::{Entry, Parsed, Value};
use finding::{Location, Source};
use own_files::OwnFiles;
use reader::{Reading, Section};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The environment variables of the process, or those that a test makes up.
pub type Environment = BTreeMap<OsString, OsString>;

/// Which variable says where the journal is.
pub const DATA_DIR_VARIABLE: &str = "HOOKLINE__JOURNAL__DIR";

/// Where the journal is when nothing else is said.
pub const DATA_DIR: &str = "./hookline-data";

/// What the command line says; it goes over the file and the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub listen: Option<SocketAddr>,
    pub data_dir: Option<PathBuf>,
}

/// Everything that can be configured, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub server: Server,
    pub limits: Limits,
    pub journal: Journal,
    pub dedupe: Dedupe,
    pub admin: Admin,
    pub pull: Pull,
    pub log: Log,
    /// `[[endpoint]]`, at least one, each with its own path and name.
    pub endpoints: Vec<Endpoint>,
    /// `[[sink]]`, each with its own name. With none, events are kept and read with `hookline tail`.
    pub sinks: Vec<Sink>,
    /// The numbers of the sections above with their values, in the order of [`SETTINGS`], to be shown.
    pub numbers: Vec<(&'static Setting, u64)>,
}

/// Threads and connections. Defaults, ranges and reasons of the numbers stand in [`SETTINGS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where posts are taken; port 0 lets the system choose.
    pub listen: SocketAddr,
    pub loops: usize,
    /// Threads that turn stored notifications into events.
    pub workers: usize,
    /// Whether threads keep to a core of their own.
    pub pin: bool,
    /// Connections of the whole process.
    pub max_connections: usize,
    /// Connections from one address. `max_connections` holds as well.
    pub max_connections_per_address: usize,
    /// A post that waited this long for the disk is answered with 503.
    pub ack_deadline: Duration,
    /// How long a stop waits for requests that are under way.
    pub drain_timeout: Duration,
}

/// What one request, one connection and the whole process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line and header fields, in bytes.
    pub head: usize,
    /// Header fields.
    pub headers: usize,
    /// Body, in bytes.
    pub body: usize,
    /// Unanswered requests of a connection.
    pub pipeline: usize,
    /// Bytes of the process that wait for the disk.
    pub unacknowledged: usize,
    /// Bytes of the process in requests that are not complete or wait for their turn, and in answers that are unread.
    pub partial: usize,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// While answers cannot be sent.
    pub write_timeout: Duration,
    /// While the rest of a refused request is read away.
    pub linger_timeout: Duration,
}

/// Where and how long notifications are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The directory; one process at a time.
    pub dir: PathBuf,
    /// Bytes of a segment.
    pub segment_size: u64,
    /// How long what every sink has had is kept.
    pub retention: Duration,
    /// Bytes of all segments.
    pub max_size: u64,
    /// How often the journal is synced for endpoints with [`Ack::Received`].
    pub sync_interval: Duration,
}

/// How long and how many events are remembered, to know a repeat as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedupe {
    /// The time between an event and the last repeat that is known as one.
    pub window: Duration,
    /// Events remembered at most.
    pub keys: usize,
    /// Which endpoints know each other's events.
    pub scope: Scope,
}

/// Where sinks of type `pull` are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The listener, which is there only with such a sink; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Connections at a time; fewer where the operating system allows few descriptors.
    pub connections: usize,
}

/// Metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where they are served; `None` when switched off.
    pub listen: Option<SocketAddr>,
    /// True when there is a configuration: then the server does not start without them. Where nothing is configured, a
    /// default that is taken by somebody else is no reason not to start.
    pub required: bool,
    /// Names under which they are asked for, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Connections at a time; fewer where the operating system allows few descriptors.
    pub connections: usize,
}

/// Logging, to stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// What is logged, in the filter syntax of `tracing`: `info`, or `warn,hookline::journal=debug`.
    pub level: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads and checks everything. Gives the configuration and what is doubtful about it, or every mistake.
    pub fn load(
        file: Option<&Path>,
        environment: &Environment,
        flags: &Flags,
    ) -> Result<(Config, Vec<Finding>), ConfigErrors> {
        Config::read(file, environment, flags, true)
    }

    /// The same for who only looks at what a server does: the secrets are not fetched, for often only the server may
    /// have them, and something else stands in their places.
    pub fn load_without_secrets(
        file: Option<&Path>,
        environment: &Environment,
        flags: &Flags,
    ) -> Result<Config, ConfigErrors> {
        let (config, _) = Config::read(file, environment, flags, false)?;
        Ok(config)
    }

    fn read(
        file: Option<&Path>,
        environment: &Environment,
        flags: &Flags,
        secrets: bool,
    ) -> Result<(Config, Vec<Finding>), ConfigErrors> {
        let source = match file {
            Some(path) => read(path)?,
            None => Source {
                name: "the default configuration".to_owned(),
                text: String::new(),
            },
        };
        let mut reading = Reading {
            source,
            environment,
            secrets,
            mistakes: Vec::new(),
            warnings: Vec::new(),
            numbers: Vec::new(),
            targets: Vec::new(),
            own_files: OwnFiles::default(),
        };
        if let Some(path) = file {
            reading.own_files.reads(path, "the configuration itself");
        }
        let Parsed {
            mut root,
            mistakes: malformed,
            complete,
        } = document::parse(&reading.source);
        for (place, message) in &malformed {
            reading.mistake(place, message);
        }
        let malformed_lines: Vec<_> = reading.mistakes.iter().map(|at| at.line).collect();
        let malformed = std::mem::take(&mut reading.mistakes);

        for (place, message) in document::overlay(&mut root, environment, SECTIONS) {
            reading.mistake(&place, message);
        }
        let config = config(&mut reading, &root, file.is_some(), flags);
        let Reading {
            mut mistakes,
            mut warnings,
            ..
        } = reading;
        // A value that could not be parsed is not also of the wrong kind, and what stands behind an open
        // bracket may be anything.
        mistakes.retain(|mistake| {
            mistake.line.is_none() || (complete && !malformed_lines.contains(&mistake.line))
        });
        mistakes.extend(malformed);
        for findings in [&mut mistakes, &mut warnings] {
            findings.sort_by_key(|finding| (finding.line.is_none(), finding.line, finding.column));
            findings.dedup();
        }
        if mistakes.is_empty() {
            Ok((config, warnings))
        } else {
            Err(ConfigErrors { mistakes })
        }
    }
}

/// The plain tables of the file.
const SECTIONS: &[&str] = &[
    "server", "limits", "journal", "dedupe", "admin", "pull", "log",
];

/// Reads the whole tree. With mistakes noted the result is incomplete, and nobody gets it.
fn config(reading: &mut Reading<'_>, root: &[Entry], from_file: bool, flags: &Flags) -> Config {
    let mut top = Section::new("", Location::File(0), root);
    let mut section = |reading: &mut Reading<'_>, name| {
        let shape = format!("a table, [{name}]");
        top.table(reading, name, &shape)
            .unwrap_or_else(|| Section::new(name, Location::File(0), &[]))
    };
    let mut server = section(reading, "server");
    let mut journal = section(reading, "journal");
    let mut admin = section(reading, "admin");
    let mut pull = section(reading, "pull");
    let limits = section(reading, "limits");
    let dedupe = section(reading, "dedupe");
    let log = section(reading, "log");
    let places = consistency::Places {
        listen: match flags.listen {
            Some(_) => Location::Named("--listen".to_owned()),
            None => server.place_of("listen"),
        },
        admin: admin.place_of("listen"),
        pull: pull.has("listen").then(|| pull.place_of("listen")),
        data_dir: match flags.data_dir {
            Some(_) => Location::Named("--data-dir".to_owned()),
            None => journal.place_of("dir"),
        },
    };
    let mut config = Config {
        server: sections::server(reading, &mut server),
        limits: sections::limits(reading, limits),
        journal: sections::journal(reading, &mut journal),
        dedupe: sections::dedupe(reading, dedupe),
        admin: sections::admin(reading, &mut admin, from_file),
        pull: sections::pull(reading, &mut pull),
        log: sections::log(reading, log),
        endpoints: Vec::new(),
        sinks: Vec::new(),
        numbers: Vec::new(),
    };
    server.finish(reading, |_| None);
    journal.finish(reading, |_| None);
    admin.finish(reading, |_| None);
    pull.finish(reading, |_| None);
    if let Some(listen) = flags.listen {
        config.server.listen = listen;
    }
    if let Some(dir) = &flags.data_dir {
        config.journal.dir.clone_from(dir);
    }
    let endpoints = tables(reading, &mut top, "endpoint");
    let sinks = tables(reading, &mut top, "sink");
    top.finish(reading, |_| None);
    if from_file {
        let count = endpoints.len();
        config.endpoints = endpoint::read_all(reading, endpoints);
        let known = (config.endpoints.len() == count).then_some(&*config.endpoints);
        config.sinks = sink::read_all(reading, sinks, known);
    } else {
        config.endpoints = vec![endpoint::default(reading)];
        config.sinks = vec![sink::default()];
    }
    consistency::check(reading, &mut config, &places, from_file);
    let order = |setting: &Setting| SETTINGS.iter().position(|row| row == setting);
    reading.numbers.sort_by_key(|(setting, ..)| order(setting));
    config.numbers = reading
        .numbers
        .iter()
        .map(|(setting, value, _)| (*setting, *value))
        .collect();
    config
}

/// The tables of `[[name]]`.
fn tables<'t>(
    reading: &mut Reading<'_>,
    top: &mut Section<'t>,
    name: &'static str,
) -> Vec<Section<'t>> {
    let place = top.place_of(name);
    let Some(node) = top.node(name) else {
        return Vec::new();
    };
    let mut sections = Vec::new();
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        match (&item.value, &node.value) {
            (Value::Table(table), Value::List(_)) => {
                sections.push(Section::new(name, item.place.clone(), table));
            }
            _ => reading.mistake(&place, format!("write [[{name}]], once for each {name}")),
        }
    }
    sections
}

fn read(path: &Path) -> Result<Source, ConfigErrors> {
    let mut source = Source {
        name: path.display().to_string(),
        text: String::new(),
    };
    let refuse = |source: &Source, place: &Location, message: String| ConfigErrors {
        mistakes: vec![source.finding(place, message)],
    };
    let bytes = fs::read(path).map_err(|error| {
        let place = Location::Named(source.name.clone());
        let message = format!("cannot read the configuration: {error}");
        refuse(&source, &place, message)
    })?;
    let valid = str::from_utf8(&bytes).map_err(|error| error.valid_up_to());
    source.text = String::from_utf8_lossy(&bytes).into_owned();
    match valid {
        Ok(_) => Ok(source),
        Err(valid) => {
            let message = "the file is not UTF-8 here".to_owned();
            Err(refuse(&source, &Location::File(valid), message))
        }
    }
}
