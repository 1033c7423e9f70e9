//! Reads what is peculiar to `type = "postgres"`.
//!
//! The address is one of libpq's: `postgres://[USER@]HOST[:PORT][,HOST[:PORT]…]/DATABASE[?sslmode=…]`, or with the
//! directory of a Unix socket `postgres:///DATABASE?host=/run/postgresql`. Of its parameters `sslmode`, `host` and
//! `port` are taken.

use super::connection::{self, Login, Tls, decoded, host_and_port, parse_port};
use crate::config::reader::{Reading, Section};
use crate::config::secret::Secret;
use crate::sink::postgres::schema::{DataType, Partitions, Shape, Table};
use crate::sink::postgres::{SslMode, Target};
use std::net::IpAddr;
use std::time::Duration;

/// A table, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSink {
    pub target: Target,
    pub user: String,
    pub password: Option<Secret>,
    pub tls: Tls,
    pub shape: Shape,
    /// Tables that are missing are made.
    pub create: bool,
    pub timeout: Duration,
}

/// The keys that only this type takes, or shares with others that connect.
pub(super) const KEYS: &[&str] = &[
    "url",
    "user",
    "password",
    "table",
    "create",
    "data_type",
    "partitions",
    "unique_ids",
    "timeout",
    "tls",
    "ca_file",
    "cert_file",
    "key_file",
    "server_name",
];

impl PostgresSink {
    /// Where it is, for people: no user and no secret.
    pub fn address(&self) -> String {
        let Target {
            hosts, database, ..
        } = &self.target;
        let hosts = hosts.iter().map(|(host, port)| match host.as_str() {
            host if host.starts_with('/') => format!("{host}/.s.PGSQL.{port}"),
            host if host.contains(':') => format!("[{host}]:{port}"),
            host => format!("{host}:{port}"),
        });
        let hosts: Vec<String> = hosts.collect();
        format!("{}/{database}", hosts.join(","))
    }

    /// True if both write into one table.
    pub(super) fn is_same_table(&self, other: &PostgresSink) -> bool {
        let (own, its) = (&self.target, &other.target);
        let is_same_server = own.hosts.iter().any(|host| its.hosts.contains(host));
        is_same_server && own.database == its.database && self.shape.table == other.shape.table
    }
}

pub(super) fn read(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<PostgresSink> {
    let address = address(reading, section);
    let login = connection::login(reading, section);
    let said = address.as_ref().map(Address::ssl_mode);
    let tls = connection::tls(reading, section, said.map(|mode| mode != SslMode::Disable));
    let shape = shape(reading, section);
    let create = section.boolean(reading, "create", false);
    let timeout = section.measured_of(reading, "sink.postgres", "timeout");
    let address = address?;
    let ssl_mode = ssl_mode(reading, section, &address, &tls);
    let user = user(reading, section, &address, &login);
    Some(PostgresSink {
        target: Target {
            hosts: address.hosts,
            database: address.database,
            ssl_mode,
        },
        user: user?,
        password: login.password,
        tls,
        shape: shape?,
        create,
        timeout: Duration::from_millis(timeout.unwrap_or_default()),
    })
}

/// What an address says.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    user: Option<String>,
    hosts: Vec<(String, u16)>,
    database: String,
    said: Option<SslMode>,
}

fn address(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<Address> {
    let Some(url) = section.text(reading, "url") else {
        if !section.has("url") {
            let message = "a postgres sink needs url, as in \"postgres://hookline@10.1.0.1/crm\"; the password apart from it";
            reading.mistake(&section.place.clone(), message);
        }
        return None;
    };
    let place = section.place_of("url");
    if !connection::without_password(reading, &place, "url", url, true) {
        return None;
    }
    match Address::parse(url) {
        Ok(address) => Some(address),
        Err(message) => {
            reading.mistake(&place, format!("url {message}"));
            None
        }
    }
}

impl Address {
    fn parse(url: &str) -> Result<Address, String> {
        let rest = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme))
            .ok_or("must begin with postgres://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(decoded(user)?), hosts),
            None => (None, authority),
        };
        let mut address = Address {
            user: user.filter(|user| !user.is_empty()),
            hosts: Vec::new(),
            database: decoded(database)?,
            said: None,
        };
        for host in hosts.split(',').filter(|host| !host.is_empty()) {
            address.hosts.push(host_and_port(host, PORT)?);
        }
        address.take_parameters(query)?;
        if address.hosts.is_empty() {
            return Err("names no host".to_owned());
        }
        if address.database.is_empty() {
            return Err("names no database, as in postgres://HOST/DATABASE".to_owned());
        }
        Ok(address)
    }

    fn take_parameters(&mut self, query: &str) -> Result<(), String> {
        let mut port = None;
        let mut directory = None;
        for parameter in query.split('&').filter(|it| !it.is_empty()) {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = decoded(value)?;
            match key {
                "sslmode" => self.said = Some(parse_mode(&value)?),
                "host" => directory = Some(value),
                "port" => port = Some(parse_port(&value)?),
                _ => {
                    return Err(format!(
                        "has the parameter {key:?}; taken are sslmode, host and port"
                    ));
                }
            }
        }
        if let Some(host) = directory {
            if !self.hosts.is_empty() {
                return Err(
                    "names a host and has the parameter host; leave one of them out".to_owned(),
                );
            }
            self.hosts.push((host, port.unwrap_or(PORT)));
        } else if let Some(port) = port {
            for host in &mut self.hosts {
                host.1 = port;
            }
        }
        Ok(())
    }

    /// Plain where nobody can listen in, and with a name that is verified elsewhere.
    fn ssl_mode(&self) -> SslMode {
        let is_local = self.hosts.iter().all(|(host, _)| is_local(host));
        let default = if is_local {
            SslMode::Disable
        } else {
            SslMode::VerifyFull
        };
        self.said.unwrap_or(default)
    }
}

fn ssl_mode(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    address: &Address,
    tls: &Tls,
) -> SslMode {
    let mode = address.ssl_mode();
    let place = section.place_of("url");
    let is_wanted = tls.wanted == Some(true);
    if is_wanted && address.said == Some(SslMode::Disable) {
        let message = "tls = true contradicts sslmode=disable; leave one of them out";
        reading.mistake(&section.place_of("tls"), message);
    }
    let mode = if is_wanted && mode == SslMode::Disable {
        SslMode::VerifyFull
    } else {
        mode
    };
    let is_socket = |(host, _): &(String, u16)| host.starts_with('/');
    if mode != SslMode::Disable && address.hosts.iter().any(is_socket) {
        let message = "a Unix socket is not encrypted; leave sslmode and tls out";
        reading.mistake(&place, message);
    }
    if mode == SslMode::Require && (section.has("ca_file") || section.has("server_name")) {
        let key = if section.has("ca_file") {
            "ca_file"
        } else {
            "server_name"
        };
        let message = format!(
            "with sslmode=require nobody looks at the certificate, so {key} has no use; write sslmode=verify-full"
        );
        reading.mistake(&section.place_of(key), message);
    }
    mode
}

fn user(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    address: &Address,
    login: &Login,
) -> Option<String> {
    let said = login.user.as_ref().map(Secret::expose);
    match (said, &address.user) {
        (Some(_), Some(_)) => {
            let message = "url names a user, and user does; leave one of them out";
            reading.mistake(&section.place_of("user"), message);
            None
        }
        (Some(user), None) => {
            let user = str::from_utf8(user).map(str::to_owned);
            let place = section.place_of("user");
            user.map_err(|_| reading.mistake(&place, "user must be UTF-8"))
                .ok()
        }
        (None, Some(user)) => Some(user.clone()),
        // What was said of it was a mistake already.
        (None, None) if section.has("user") => None,
        (None, None) => {
            let message =
                "url names no user; write postgres://USER@HOST/DATABASE, or user = \"NAME\"";
            reading.mistake(&section.place_of("url"), message);
            None
        }
    }
}

fn shape(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<Shape> {
    let table = section.text(reading, "table").unwrap_or(TABLE);
    let place = section.place_of("table");
    let table = Table::parse(table)
        .map_err(|message| reading.mistake(&place, format!("table {message}")))
        .ok();
    let types = [("json", DataType::Json), ("jsonb", DataType::Jsonb)];
    let data = section.choice(reading, "data_type", &types);
    let divisions = [("none", Partitions::None), ("day", Partitions::Day)];
    let partitions = section.choice(reading, "partitions", &divisions);
    let unique_ids = section.boolean(reading, "unique_ids", false);
    let partitions = partitions.unwrap_or_default();
    if unique_ids && partitions != Partitions::None {
        let message = "unique_ids cannot be had with partitions: no index over all of them can be unique by the id alone; leave one of them out";
        reading.mistake(&section.place_of("unique_ids"), message);
    }
    Some(Shape {
        table: table?,
        data: data.unwrap_or_default(),
        partitions,
        unique_ids,
    })
}

fn parse_mode(text: &str) -> Result<SslMode, String> {
    match text {
        "disable" => Ok(SslMode::Disable),
        "require" => Ok(SslMode::Require),
        "verify-full" => Ok(SslMode::VerifyFull),
        _ => Err(format!(
            "has sslmode={text}; it must be disable, require or verify-full"
        )),
    }
}

fn is_local(host: &str) -> bool {
    let address: Result<IpAddr, _> = host.parse();
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback())
}

const PORT: u16 = 5432;

/// The table, where none is named.
const TABLE: &str = "hookline_events";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let address = |user: Option<&str>, hosts: &[(&str, u16)], said| Address {
            user: user.map(str::to_owned),
            hosts: hosts
                .iter()
                .map(|(host, port)| ((*host).to_owned(), *port))
                .collect(),
            database: "crm".to_owned(),
            said,
        };
        for (url, expected) in [
            (
                "postgres://hookline@10.1.0.1/crm?sslmode=verify-full",
                address(
                    Some("hookline"),
                    &[("10.1.0.1", 5432)],
                    Some(SslMode::VerifyFull),
                ),
            ),
            (
                "postgresql://a%40b@one:1,two/crm",
                address(Some("a@b"), &[("one", 1), ("two", 5432)], None),
            ),
            (
                "postgres://[::1]:5433/crm",
                address(None, &[("::1", 5433)], None),
            ),
            (
                "postgres:///crm?host=/run/postgresql&port=5434",
                address(None, &[("/run/postgresql", 5434)], None),
            ),
            (
                "postgres://%2Frun%2Fpostgresql/crm",
                address(None, &[("/run/postgresql", 5432)], None),
            ),
        ] {
            assert_eq!(Address::parse(url), Ok(expected), "{url}");
        }
        for (url, part) in [
            ("mysql://a/b", "must begin with"),
            ("postgres://a", "no database"),
            ("postgres:///crm", "no host"),
            (
                "postgres://a/b?sslmode=prefer",
                "disable, require or verify-full",
            ),
            ("postgres://a/b?ssl=1", "\"ssl\""),
            ("postgres://a:0/b", "port"),
            ("postgres://a/b?host=/x", "leave one"),
            ("postgres://[::1/b", "bracket"),
        ] {
            let message = Address::parse(url).expect_err("refused");
            assert!(message.contains(part), "{url}: {message}");
        }
    }

    #[test]
    fn only_what_stays_on_this_machine_is_plain_unasked() {
        for (hosts, mode) in [
            ("127.0.0.1", SslMode::Disable),
            ("localhost,[::1]", SslMode::Disable),
            ("%2Frun", SslMode::Disable),
            ("localhost,10.1.0.1", SslMode::VerifyFull),
            ("db.example", SslMode::VerifyFull),
        ] {
            let address = Address::parse(&format!("postgres://u@{hosts}/crm")).expect(hosts);
            assert_eq!(address.ssl_mode(), mode, "{hosts}");
        }
    }
}
