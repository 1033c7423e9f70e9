//! Reads what is peculiar to `type = "redis"`.
//!
//! The address is `redis://[USER@]HOST[:PORT][/DATABASE]`, `rediss://…` with TLS, or `unix:///PATH[?db=DATABASE]`.
//!
//! | key | is |
//! |---|---|
//! | `stream` | the key of the stream; with placeholders, of which `ids = "position"` takes `{lane}` alone |
//! | `ids` | `position`: one ordered writer, each event once; `auto`: one by one, ids of the server |
//! | `create` | makes a stream that is missing |
//! | `max_length`, `wait_local`, `wait_replicas`, `timeout` | see [`SETTINGS`](crate::config::SETTINGS) |
//! | `concurrency`, `rate`, `retry_min`, `retry_max`, `max_attempts` | with `ids = "auto"` |

use super::connection::{self, Login, Tls, decoded, host_and_port};
use super::dispatch::{self, Dispatch};
use crate::config::reader::{Reading, Section};
use crate::config::secret::Secret;
use crate::event::Lane;
use crate::sink::Template;
use crate::sink::redis::{Address, Target, Wait};
use std::path::PathBuf;
use std::time::Duration;

/// A stream, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSink {
    pub target: Target,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub tls: Tls,
    pub stream: Template,
    /// The stream as it stands in the configuration.
    pub stream_text: String,
    pub ids: RedisIds,
    /// A stream that is missing is made.
    pub create: bool,
    /// Entries that a stream keeps, more or less; 0 keeps all.
    pub max_length: u64,
    pub wait: Wait,
    pub timeout: Duration,
}

/// Whose ids the entries have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisIds {
    /// Made of the position.
    Position,
    /// The server's; with the pace.
    Auto(Dispatch),
}

/// The keys that only this type takes, or shares with others that connect.
pub(super) const KEYS: &[&str] = &[
    "url",
    "user",
    "password",
    "stream",
    "ids",
    "create",
    "max_length",
    "wait_local",
    "wait_replicas",
    "timeout",
    "tls",
    "ca_file",
    "cert_file",
    "key_file",
    "server_name",
    "concurrency",
    "rate",
    "retry_min",
    "retry_max",
    "max_attempts",
];

/// Those that are for `ids = "auto"`.
const AUTO_KEYS: [&str; 5] = [
    "concurrency",
    "rate",
    "retry_min",
    "retry_max",
    "max_attempts",
];

impl RedisSink {
    /// The streams that it writes live events to, where that is known before there is an event.
    pub fn streams(&self) -> Vec<String> {
        if !self.stream.names_lanes(true) {
            return Vec::new();
        }
        let mut streams: Vec<String> = Lane::ALL.map(|lane| self.stream.of_lane(lane)).into();
        streams.dedup();
        streams
    }

    /// What `ids` says.
    pub fn ids_name(&self) -> &'static str {
        match self.ids {
            RedisIds::Position => "position",
            RedisIds::Auto(_) => "auto",
        }
    }

    /// True if both write into one stream, of which one is to be the only writer.
    pub(super) fn is_same_stream(&self, other: &RedisSink) -> bool {
        let (own, its) = (self.streams(), other.streams());
        let is_alone = |it: &RedisSink| it.ids == RedisIds::Position;
        (is_alone(self) || is_alone(other))
            && self.target.address == other.target.address
            && self.target.database == other.target.database
            && own.iter().any(|stream| its.contains(stream))
    }
}

pub(super) fn read(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<RedisSink> {
    let address = address(reading, section);
    let login = connection::login(reading, section);
    let tls = connection::tls(reading, section, address.as_ref().map(|it| it.is_encrypted));
    let ids = section.choice(reading, "ids", &[("position", false), ("auto", true)]);
    let is_auto = ids.unwrap_or(false);
    let stream = stream(reading, section, is_auto);
    let create = section.boolean(reading, "create", false);
    let dispatch = dispatch::read(reading, section, "sink.redis");
    if !is_auto && let Some(key) = AUTO_KEYS.iter().find(|key| section.has(key)) {
        let message = format!(
            "{key} is for ids = \"auto\", which delivers one by one; with ids = \"position\" one writer keeps the order of all"
        );
        reading.mistake(&section.place_of(key), message);
    }
    let mut number = |key| {
        section
            .measured_of(reading, "sink.redis", key)
            .unwrap_or_default()
    };
    let max_length = number("max_length");
    let count = |value| u32::try_from(value).unwrap_or(u32::MAX);
    let wait = Wait {
        local: count(number("wait_local")),
        replicas: count(number("wait_replicas")),
    };
    let address = address?;
    let is_encrypted = tls.is_on(address.is_encrypted);
    warn_of_plain_login(reading, section, &address, is_encrypted);
    let user = user(reading, section, &address, &login);
    let (stream, stream_text) = stream?;
    Some(RedisSink {
        target: Target {
            address: address.server,
            database: address.database,
            is_encrypted,
        },
        user,
        password: login.password,
        tls,
        stream,
        stream_text,
        create,
        max_length,
        wait,
        timeout: dispatch.timeout,
        ids: if is_auto {
            RedisIds::Auto(dispatch)
        } else {
            RedisIds::Position
        },
    })
}

/// What an address says.
#[derive(Debug, PartialEq, Eq)]
struct Url {
    user: Option<String>,
    server: Address,
    database: u32,
    is_encrypted: bool,
}

fn address(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<Url> {
    let Some(url) = section.text(reading, "url") else {
        if !section.has("url") {
            let message = "a redis sink needs url, as in \"redis://127.0.0.1:6379/0\"; user and password apart from it";
            reading.mistake(&section.place.clone(), message);
        }
        return None;
    };
    let place = section.place_of("url");
    if !connection::without_password(reading, &place, "url", url, true) {
        return None;
    }
    match Url::parse(url) {
        Ok(address) => Some(address),
        Err(message) => {
            reading.mistake(&place, format!("url {message}"));
            None
        }
    }
}

impl Url {
    fn parse(url: &str) -> Result<Url, String> {
        if let Some(path) = url.strip_prefix("unix://") {
            return Url::parse_unix(path);
        }
        let (is_encrypted, rest) = match url.split_once("://") {
            Some(("redis", rest)) => (false, rest),
            Some(("rediss", rest)) => (true, rest),
            _ => return Err("must begin with redis://, rediss:// or unix://".to_owned()),
        };
        if rest.contains(['?', '#']) {
            return Err("takes no parameters".to_owned());
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(decoded(user)?), host),
            None => (None, authority),
        };
        let (host, port) = host_and_port(host, PORT)?;
        if host.is_empty() {
            return Err("names no host".to_owned());
        }
        Ok(Url {
            user: user.filter(|user| !user.is_empty()),
            server: Address::Tcp(host, port),
            database: parse_database(database)?,
            is_encrypted,
        })
    }

    fn parse_unix(rest: &str) -> Result<Url, String> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let database = match query.split_once('=') {
            None if query.is_empty() => "",
            Some(("db", database)) => database,
            _ => return Err("takes db alone as a parameter".to_owned()),
        };
        if !path.starts_with('/') {
            return Err(
                "must name the whole path of a socket, as in unix:///run/redis.sock".to_owned(),
            );
        }
        Ok(Url {
            user: None,
            server: Address::Unix(PathBuf::from(decoded(path)?)),
            database: parse_database(database)?,
            is_encrypted: false,
        })
    }
}

fn parse_database(text: &str) -> Result<u32, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let number = text.parse().ok();
    number.ok_or_else(|| format!("names the database {text:?}, which must be a number"))
}

/// The key of the stream, and its text.
fn stream(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    is_auto: bool,
) -> Option<(Template, String)> {
    let place = section.place_of("stream");
    let Some(text) = section.text(reading, "stream") else {
        if !section.has("stream") {
            let message = "a redis sink needs stream = \"NAME\", or \"NAME.{lane}\"";
            reading.mistake(&section.place.clone(), message);
        }
        return None;
    };
    let message = match Template::parse(text) {
        Err(error) => format!("stream: {error}"),
        Ok(_) if text.is_empty() || text.len() > STREAM_MAX || text.contains(char::is_control) => {
            format!("stream must be a name of 1 to {STREAM_MAX} bytes without control characters")
        }
        Ok(template) if !is_auto && !template.names_lanes(true) => {
            "stream takes {lane} alone with ids = \"position\", where each name has a position of its own; the others are \
             for ids = \"auto\""
                .to_owned()
        }
        Ok(template) => return Some((template, text.to_owned())),
    };
    reading.mistake(&place, message);
    None
}

/// The user, if there is one.
fn user(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    address: &Url,
    login: &Login,
) -> Option<String> {
    let said = login.user.as_ref().map(Secret::expose);
    let user = match (said, &address.user) {
        (Some(_), Some(_)) => {
            let message = "url names a user, and user does; leave one of them out";
            reading.mistake(&section.place_of("user"), message);
            return None;
        }
        (Some(user), None) => {
            let Ok(user) = str::from_utf8(user) else {
                reading.mistake(&section.place_of("user"), "user must be UTF-8");
                return None;
            };
            Some(user.to_owned())
        }
        (None, user) => user.clone(),
    };
    if user.is_some() && !section.has("password") {
        let key = if section.has("user") { "user" } else { "url" };
        let message =
            format!("{key} names a user, who needs password = {{ env = \"NAME\" }} beside it");
        reading.mistake(&section.place_of(key), message);
    }
    user
}

fn warn_of_plain_login(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    address: &Url,
    is_encrypted: bool,
) {
    let is_local = match &address.server {
        Address::Tcp(host, _) => connection::is_loopback(host),
        Address::Unix(_) => true,
    };
    if matches!(address.server, Address::Unix(_)) && is_encrypted {
        let message = "a Unix socket is not encrypted; leave tls out";
        reading.mistake(&section.place_of("tls"), message);
    }
    if section.has("password") && !is_encrypted && !is_local {
        let message =
            "password goes over the network in the clear; use rediss:// or tls = true".to_owned();
        reading.warning(&section.place_of("password"), message);
    }
}

const PORT: u16 = 6379;

/// Longest name of a stream, in bytes.
const STREAM_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let tcp = |host: &str, port, database, is_encrypted| Url {
            user: None,
            server: Address::Tcp(host.to_owned(), port),
            database,
            is_encrypted,
        };
        for (url, expected) in [
            ("redis://10.1.0.1", tcp("10.1.0.1", 6379, 0, false)),
            ("rediss://10.1.0.1:6380/3", tcp("10.1.0.1", 6380, 3, true)),
            ("redis://[::1]:7/", tcp("::1", 7, 0, false)),
            (
                "redis://a%40b@h/1",
                Url {
                    user: Some("a@b".to_owned()),
                    ..tcp("h", 6379, 1, false)
                },
            ),
            (
                "unix:///run/redis.sock?db=2",
                Url {
                    server: Address::Unix("/run/redis.sock".into()),
                    ..tcp("", 0, 2, false)
                },
            ),
        ] {
            assert_eq!(Url::parse(url), Ok(expected), "{url}");
        }
        for (url, part) in [
            ("http://a", "must begin with"),
            ("redis://", "no host"),
            ("redis://a/b", "a number"),
            ("redis://a:0", "port"),
            ("redis://a/1?x=1", "no parameters"),
            ("unix://a", "whole path"),
            ("unix:///a?x=1", "db alone"),
        ] {
            let message = Url::parse(url).expect_err("refused");
            assert!(message.contains(part), "{url}: {message}");
        }
    }
}
