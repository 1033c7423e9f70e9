//! What sinks that connect have in common: who they say they are, whom they trust, and no password in an address.
//!
//! | key | is |
//! |---|---|
//! | `user`, `password` | the login; the password by reference, the user too if that is wanted |
//! | `tls` | `true` where the address does not say so by itself |
//! | `ca_file` | authorities in PEM that are trusted beside those of the system |
//! | `cert_file`, `key_file` | the own certificate with its chain, and its key, in PEM; both or none |
//! | `server_name` | the name that the other side's certificate has, where that is not the host's |
//!
//! A type reads with [`login`] and [`tls`], and asks for each address [`without_password`].

use crate::config::document::Value;
use crate::config::finding::Location;
use crate::config::reader::{Reading, Section, secret};
use crate::config::secret::Secret;
use crate::sink::TlsFiles;
use percent_encoding::percent_decode_str;
use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;

/// Who a sink says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// Kept like a secret: who it is may be one, too.
    pub user: Option<Secret>,
    pub password: Option<Secret>,
}

/// How a sink's connections are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// What `tls` says; `None` leaves it to the address.
    pub wanted: Option<bool>,
    pub files: TlsFiles,
}

impl Tls {
    /// True if connections are encrypted, given whether the address says so.
    pub fn is_on(&self, by_address: bool) -> bool {
        self.wanted.unwrap_or(by_address)
    }
}

/// The keys that [`tls`] reads.
const TLS_KEYS: [&str; 5] = ["tls", "ca_file", "cert_file", "key_file", "server_name"];

/// Reads `user` and `password`. A password without a user is for the caller to allow or to refuse.
pub(super) fn login(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Login {
    Login {
        user: user(reading, section),
        password: one_secret(reading, section, "password"),
    }
}

/// Text, or a secret by reference.
fn user(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<Secret> {
    let node = section.node("user")?;
    match &node.value {
        Value::Text(text) | Value::Variable(text) if !text.is_empty() => {
            Some(Secret::new(text.as_bytes()))
        }
        Value::Text(_) | Value::Variable(_) => {
            reading.mistake(&node.place, "user is empty; name one, or leave it out");
            None
        }
        _ => secret(reading, "user", node),
    }
}

/// A secret by reference, of which there is one.
pub(super) fn one_secret(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    key: &'static str,
) -> Option<Secret> {
    let node = section.node(key)?;
    secret(reading, key, node)
}

/// Reads the keys of TLS. `by_address` is whether the address says that it is on; `None` if it could not be read.
pub(super) fn tls(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    by_address: Option<bool>,
) -> Tls {
    let wanted = section.has("tls");
    let wanted = wanted.then(|| section.boolean(reading, "tls", false));
    section.node("tls");
    if (wanted, by_address) == (Some(false), Some(true)) {
        let message = "tls = false contradicts an address that says it is encrypted; leave it out";
        reading.mistake(&section.place_of("tls"), message);
    }
    let tls = Tls {
        wanted,
        files: files(reading, section),
    };
    if by_address.is_some_and(|by_address| !tls.is_on(by_address))
        && let Some(key) = TLS_KEYS[1..].iter().find(|key| section.has(key))
    {
        let message = format!("{key} is for connections with TLS; add tls = true");
        reading.mistake(&section.place_of(key), message);
    }
    tls
}

/// Reads the files, and whether they are what they should be.
fn files(reading: &mut Reading<'_>, section: &mut Section<'_>) -> TlsFiles {
    let ca_file = file(reading, section, "ca_file", "the ca_file of a sink");
    let certificate = file(reading, section, "cert_file", "the cert_file of a sink");
    let key = file(reading, section, "key_file", "the key_file of a sink");
    for (one, other) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
        if section.has(one) && !section.has(other) {
            let message = format!("{one} needs {other} beside it");
            reading.mistake(&section.place_of(one), message);
        }
    }
    let files = TlsFiles {
        ca_file,
        identity: certificate.zip(key),
        server_name: section.text(reading, "server_name").map(str::to_owned),
    };
    check(reading, section, &files);
    files
}

/// The authorities alone, for a type that takes none of the others.
pub(super) fn ca_file(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<PathBuf> {
    let files = TlsFiles {
        ca_file: file(reading, section, "ca_file", "the ca_file of a sink"),
        ..TlsFiles::default()
    };
    check(reading, section, &files);
    files.ca_file
}

/// Reads the files as the client does at the start. A build without one takes what is a file.
fn check(reading: &mut Reading<'_>, section: &Section<'_>, files: &TlsFiles) {
    #[cfg(not(feature = "client-tls"))]
    let _ = (reading, section, files);
    #[cfg(feature = "client-tls")]
    if let Err(error) = files.check() {
        use crate::sink::TlsError;
        let key = match &error {
            TlsError::File { key, .. } => key,
            TlsError::ServerName(_) => "server_name",
            _ => "cert_file",
        };
        reading.mistake(&section.place_of(key), error.to_string());
    }
}

/// A file that is there and can be read, and that no sink writes to.
pub(super) fn file(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    key: &'static str,
    what: &'static str,
) -> Option<PathBuf> {
    let path = section.text(reading, key)?;
    let readable = File::open(path).and_then(|file| file.metadata());
    let message = match readable {
        Ok(metadata) if metadata.is_file() => {
            reading.own_files.reads(path, what);
            return Some(PathBuf::from(path));
        }
        Ok(_) => format!("{key} {path:?} is no file"),
        Err(error) => format!("cannot read {key} {path:?}: {error}"),
    };
    reading.mistake(&section.place_of(key), message);
    None
}

/// False if an address holds a password, or a token in its place, which is a mistake; the message never repeats the
/// address. `user_is_taken`: `USER@` alone is allowed, as in `postgres://hookline@host/crm`.
pub(super) fn without_password(
    reading: &mut Reading<'_>,
    place: &Location,
    key: &str,
    address: &str,
    user_is_taken: bool,
) -> bool {
    let authority = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    // A password may hold an @ itself.
    let Some((login, _)) = authority.rsplit_once('@') else {
        return true;
    };
    let message = if login.contains(':') {
        format!(
            "{key} holds a password; take it out and name the place that keeps it, as in password = {{ env = \"NAME\" }}"
        )
    } else if user_is_taken {
        return true;
    } else {
        format!(
            "{key} holds a login; take it out and write user = \"NAME\" and password = {{ env = \"NAME\" }}"
        )
    };
    reading.mistake(place, message);
    false
}

/// A host and its port, or the usual one.
pub(super) fn host_and_port(text: &str, usual: u16) -> Result<(String, u16), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest
            .split_once(']')
            .ok_or_else(|| format!("has an address without its bracket: {text:?}"))?;
        let port = rest.strip_prefix(':').map_or(Ok(usual), parse_port)?;
        return Ok((host.to_owned(), port));
    }
    match text.split_once(':') {
        Some((host, port)) => Ok((decoded(host)?, parse_port(port)?)),
        None => Ok((decoded(text)?, usual)),
    }
}

pub(super) fn parse_port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("has the port {text:?}, which is none"))
}

/// Without percent signs.
pub(super) fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| "is not UTF-8 behind its percent signs".to_owned())?;
    if decoded.contains('\0') {
        return Err("holds a zero byte".to_owned());
    }
    Ok(decoded.into_owned())
}

/// True for this machine, by an address or its usual name.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::finding::Source;
    use crate::config::own_files::OwnFiles;

    #[test]
    fn a_password_in_an_address_is_found_and_never_repeated() {
        for (address, user_is_taken, part) in [
            ("nats://a:4222", false, None),
            ("postgres://a@h/db?sslmode=require", true, None),
            ("postgres://h/db@x", true, None),
            ("nats://hunter2@h:4222", false, Some("holds a login")),
            ("nats://a:hunter2@h", false, Some("holds a password")),
            ("a:hunter2@h", false, Some("holds a password")),
            ("postgres://a:hunter2@h/db", true, Some("holds a password")),
            ("postgres://a:hun@ter2@h/db", true, Some("holds a password")),
            ("redis://:hunter2@h", true, Some("holds a password")),
        ] {
            let environment = crate::config::Environment::new();
            let mut reading = Reading {
                source: Source {
                    name: String::new(),
                    text: String::new(),
                },
                environment: &environment,
                secrets: true,
                mistakes: Vec::new(),
                warnings: Vec::new(),
                numbers: Vec::new(),
                targets: Vec::new(),
                own_files: OwnFiles::default(),
            };
            let place = Location::File(0);
            let is_taken = without_password(&mut reading, &place, "url", address, user_is_taken);
            assert_eq!(is_taken, part.is_none(), "{address}");
            let shown = format!("{:?}", reading.mistakes);
            assert!(shown.contains(part.unwrap_or("[]")), "{address}: {shown}");
            assert!(!shown.contains("hun"), "{shown}");
        }
    }
}
