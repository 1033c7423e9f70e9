//! Reads what is peculiar to `type = "nats"`.

use super::connection::{self, Tls};
use super::dispatch::{self, Dispatch};
use crate::config::reader::{Reading, Section};
use crate::config::secret::Secret;
use crate::sink::{Confirmation, Identity, Template};
use ::http::Uri;
use std::path::PathBuf;
use std::time::Duration;

/// A stream of JetStream, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsSink {
    /// Addresses with `nats` or `tls`, a host, and neither credentials nor a path; at least one.
    pub servers: Vec<String>,
    pub login: NatsLogin,
    pub tls: Tls,
    pub stream: String,
    pub subject: Template,
    /// The subject as it stands in the configuration.
    pub subject_text: String,
    pub identity: Identity,
    /// Makes the stream, for this subject with a wildcard, if it is not there.
    pub create: Option<String>,
    /// Of a stream that is made.
    pub replicas: u32,
    /// Of a stream that is made.
    pub duplicate_window: Duration,
    /// What a confirmation is worth, where only the operator knows.
    pub confirmation: Option<Confirmation>,
    pub dispatch: Dispatch,
}

/// Who the sink says it is; one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatsLogin {
    None,
    Password(Secret, Secret),
    Token(Secret),
    NkeySeed(Secret),
    CredentialsFile(PathBuf),
}

pub(super) fn read(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<NatsSink> {
    let servers = servers(reading, section);
    let any_tls = |servers: &Vec<String>| servers.iter().any(|it| it.starts_with("tls:"));
    let tls = connection::tls(reading, section, servers.as_ref().map(any_tls));
    let login = login(reading, section);
    warn_of_plain_login(reading, section, servers.as_deref(), &tls, login.as_ref());
    let stream = stream(reading, section);
    let subject = subject(reading, section);
    let identities = [
        (Identity::Position.name(), Identity::Position),
        (Identity::Event.name(), Identity::Event),
    ];
    let confirmations = [
        Confirmation::Memory,
        Confirmation::Replicated,
        Confirmation::Fsynced,
    ];
    let confirmations = confirmations.map(|it| (it.name(), it));
    let identity = section.choice(reading, "identity", &identities);
    let confirmation = section.choice(reading, "confirmation", &confirmations);
    let create = create(reading, section, subject.as_ref().map(|(it, _)| it));
    let mut number = |key| section.measured_of(reading, "sink.nats", key);
    let replicas = number("replicas").unwrap_or(1);
    let duplicate_window = number("duplicate_window").unwrap_or_default();
    let dispatch = dispatch::read(reading, section, "sink.nats");
    let (subject, subject_text) = subject?;
    Some(NatsSink {
        servers: servers?,
        login: login?,
        tls,
        stream: stream?,
        subject,
        subject_text,
        identity: identity.unwrap_or_default(),
        create,
        replicas: u32::try_from(replicas).unwrap_or(1),
        duplicate_window: Duration::from_millis(duplicate_window),
        confirmation,
        dispatch,
    })
}

/// Messages never repeat an address that may hold a password.
fn servers(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<Vec<String>> {
    let place = section.place_of("servers");
    let is_missing = !section.has("servers");
    let listed = section.texts(reading, "servers");
    if is_missing || listed.as_ref().is_some_and(Vec::is_empty) {
        let message = "a nats sink needs servers = [\"nats://HOST:4222\"]";
        reading.mistake(&place, message);
        return None;
    }
    let mut servers = Vec::new();
    let mut is_whole = true;
    for (text, place) in listed? {
        if !connection::without_password(reading, &place, "servers", text, false) {
            is_whole = false;
        } else if is_address(text) {
            servers.push(text.to_owned());
        } else {
            let message =
                "servers takes addresses as in \"nats://HOST:4222\" or \"tls://HOST:4222\"";
            reading.mistake(&place, message);
            is_whole = false;
        }
    }
    is_whole.then_some(servers)
}

/// A scheme, a host, perhaps a port, and nothing else.
fn is_address(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    let authority = uri.authority().map_or("", |it| it.as_str());
    let host_len = uri.host().unwrap_or_default().len();
    let port = authority.get(host_len..).unwrap_or_default();
    let is_port = port.is_empty() || uri.port_u16().is_some_and(|port| port > 0);
    let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#');
    matches!(uri.scheme_str(), Some("nats" | "tls")) && has_host && is_port && !has_path
}

fn login(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<NatsLogin> {
    let user_and_password = connection::login(reading, section);
    let token = connection::one_secret(reading, section, "token");
    let seed = connection::one_secret(reading, section, "nkey_seed");
    let what = "the credentials_file of a sink";
    let file = connection::file(reading, section, "credentials_file", what);
    let ways = [
        ["user", "password"].as_slice(),
        &["token"],
        &["nkey_seed"],
        &["credentials_file"],
    ];
    let used = ways.map(|keys| keys.iter().copied().find(|key| section.has(key)));
    let used: Vec<&str> = used.into_iter().flatten().collect();
    if let [one, other, ..] = used.as_slice() {
        let message = format!("{other} and {one} are two ways to log in; keep one of them");
        reading.mistake(&section.place_of(other), message);
        return None;
    }
    for (one, other) in [("user", "password"), ("password", "user")] {
        if section.has(one) && !section.has(other) {
            let message = format!("{one} needs {other} beside it");
            reading.mistake(&section.place_of(one), message);
            return None;
        }
    }
    match used.first() {
        None => Some(NatsLogin::None),
        Some(&"token") => token.map(NatsLogin::Token),
        Some(&"nkey_seed") => seed.map(NatsLogin::NkeySeed),
        Some(&"credentials_file") => file.map(NatsLogin::CredentialsFile),
        Some(_) => {
            let both = user_and_password.user.zip(user_and_password.password);
            both.map(|(user, password)| NatsLogin::Password(user, password))
        }
    }
}

/// Keys sign what the server sends; the others go out as they are.
fn warn_of_plain_login(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    servers: Option<&[String]>,
    tls: &Tls,
    login: Option<&NatsLogin>,
) {
    let key = match login {
        Some(NatsLogin::Password(..)) => "password",
        Some(NatsLogin::Token(_)) => "token",
        _ => return,
    };
    let is_plain = |server: &&String| {
        let host = server.parse::<Uri>().ok();
        let host = host.as_ref().and_then(Uri::host).unwrap_or_default();
        !tls.is_on(server.starts_with("tls:")) && !connection::is_loopback(host)
    };
    if servers.unwrap_or_default().iter().any(|it| is_plain(&it)) {
        let message = format!("{key} goes over the network in the clear; use tls:// or tls = true");
        reading.warning(&section.place_of(key), message);
    }
}

fn stream(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<String> {
    if !section.has("stream") {
        section.node("stream");
        let message = "a nats sink needs stream = \"NAME\", the stream that stores its events";
        reading.mistake(&section.place.clone(), message);
        return None;
    }
    let name = section.text(reading, "stream")?;
    let odd = |c: char| ".*>/\\".contains(c) || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > STREAM_MAX || name.contains(odd) {
        let message = format!(
            "stream {name:?} is no name of a stream: 1 to {STREAM_MAX} characters without dots, slashes, * and > and white space"
        );
        reading.mistake(&section.place_of("stream"), message);
        return None;
    }
    Some(name.to_owned())
}

fn subject(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<(Template, String)> {
    if !section.has("subject") {
        section.node("subject");
        let message =
            "a nats sink needs subject = \"whatsapp.{endpoint}.{lane}.{type}\" or the like";
        reading.mistake(&section.place.clone(), message);
        return None;
    }
    let text = section.text(reading, "subject")?;
    match Template::parse_subject(text) {
        Ok(template) => Some((template, text.to_owned())),
        Err(error) => {
            reading.mistake(&section.place_of("subject"), format!("subject: {error}"));
            None
        }
    }
}

/// The subject with a wildcard, for a stream that may be made.
fn create(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    subject: Option<&Template>,
) -> Option<String> {
    if !section.boolean(reading, "create", false) {
        return None;
    }
    let wildcard = subject?.wildcard();
    if wildcard.is_none() {
        let message = "create cannot make a stream for a subject that begins with a placeholder; begin it with a word \
                       and a dot, or make the stream yourself";
        reading.mistake(&section.place_of("create"), message);
    }
    wildcard
}

/// Longest name of a stream.
const STREAM_MAX: usize = 255;
