//! Reads what is peculiar to `type = "http"`.

use super::connection;
use super::dispatch::{self, Dispatch};
use crate::config::document::{Entry, Value};
use crate::config::provider::{CREDENTIALS, field_name, standard_keys};
use crate::config::reader::{Reading, Section, secret};
use crate::config::secret::Secret;
use crate::sink::RequestForm;
use ::http::{HeaderValue, Uri};
use std::path::PathBuf;
use std::time::Duration;

/// Where requests go, and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSink {
    /// With `http` or `https`, a host, and neither credentials nor a fragment.
    pub url: String,
    /// What a request holds.
    pub form: RequestForm,
    /// Header fields of every request: the name in lower case, and the value, which may be a secret.
    pub headers: Vec<(String, Secret)>,
    /// The decoded keys that sign requests by Standard Webhooks; several while they are rotated.
    pub signing_secrets: Vec<Secret>,
    /// Certificates in PEM that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long a connection may take to be there, before TLS.
    pub connect_timeout: Duration,
    pub dispatch: Dispatch,
}

impl HttpSink {
    /// The address without its query, which may hold what is nobody's business.
    pub fn address(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }
}

pub(super) fn read(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<HttpSink> {
    let url = url(reading, section);
    let form = form(reading, section);
    let headers = headers(reading, section);
    let signing_secrets = standard_keys(reading, section, "signing_secret");
    let ca_file = connection::ca_file(reading, section);
    let connect_timeout = section.measured_of(reading, "sink.http", "connect_timeout");
    let dispatch = dispatch::read(reading, section, "sink.http");
    let url = url?;
    let is_far =
        url.scheme_str() == Some("http") && !url.host().is_some_and(connection::is_loopback);
    let secret = headers
        .iter()
        .find(|(name, _)| CREDENTIALS.contains(&name.as_str()));
    if let (true, Some((name, _))) = (is_far, secret) {
        let message = format!("{name} goes over the network in the clear; use https");
        reading.warning(&section.place_of("url"), message);
    }
    if ca_file.is_some() && url.scheme_str() == Some("http") {
        reading.mistake(&section.place_of("ca_file"), "ca_file is for https");
    }
    Some(HttpSink {
        url: url.to_string(),
        form,
        headers,
        signing_secrets,
        ca_file,
        connect_timeout: Duration::from_millis(connect_timeout.unwrap_or_default()),
        dispatch,
    })
}

/// Messages never repeat the address: it may hold a password.
fn url(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<Uri> {
    if !section.has("url") {
        section.node("url");
        let message = "an http sink needs url = \"https://HOST/PATH\"";
        reading.mistake(&section.place.clone(), message);
        return None;
    }
    let text = section.text(reading, "url")?;
    let place = section.place_of("url");
    let message = match text.parse::<Uri>() {
        Err(error) => format!("url is not an address: {error}; write \"https://HOST/PATH\""),
        Ok(url) => match (url.scheme_str(), url.authority()) {
            (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
                "url holds credentials; name the place that keeps them instead, as in headers = \
                 { Authorization = { env = \"NAME\" } }"
                    .to_owned()
            }
            (Some("http" | "https"), Some(_)) if text.contains('#') => {
                "url ends with a fragment (#), which is never sent; leave it out".to_owned()
            }
            (Some("http" | "https"), Some(authority)) if !has_host(authority.as_str(), &url) => {
                "url needs a host, and a port from 1 to 65535 if any".to_owned()
            }
            (Some("http" | "https"), Some(_)) => {
                reading.targets.push((place, url.clone()));
                return Some(url);
            }
            (Some(_), _) => "url must start with https:// or http://".to_owned(),
            (None, _) => "url must start with https:// or http://, and name a host".to_owned(),
        },
    };
    reading.mistake(&place, message);
    None
}

/// The type takes an empty host, and any digits for a port.
fn has_host(authority: &str, url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let port = authority.get(host.len()..).unwrap_or_default();
    let is_port = port.is_empty() || url.port_u16().is_some_and(|port| port > 0);
    !host.is_empty() && is_port
}

fn form(reading: &mut Reading<'_>, section: &mut Section<'_>) -> RequestForm {
    let units = [("notification", false), ("event", true)];
    let by_event = section.choice(reading, "unit", &units);
    let modes = [
        ("binary", RequestForm::Binary),
        ("structured", RequestForm::Structured),
        ("batch", RequestForm::Batch(0)),
    ];
    let mode = section.choice(reading, "mode", &modes);
    let batch = section.measured_of(reading, "sink.http", "batch");
    let is_batch = matches!(mode, Some(RequestForm::Batch(_)));
    if section.has("mode") && by_event != Some(true) {
        let message = "mode is for unit = \"event\"; a notification goes out as it came";
        reading.mistake(&section.place_of("mode"), message);
    } else if section.has("batch") && !is_batch {
        let message = "batch is for mode = \"batch\"";
        reading.mistake(&section.place_of("batch"), message);
    }
    match (by_event, mode) {
        (Some(true), Some(RequestForm::Batch(_))) => {
            RequestForm::Batch(usize::try_from(batch.unwrap_or(1)).unwrap_or(usize::MAX))
        }
        (Some(true), mode) => mode.unwrap_or(RequestForm::Binary),
        _ => RequestForm::Notification,
    }
}

/// The fields that every request has. All values are kept like secrets: which of them is one, only its owner knows.
fn headers(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Vec<(String, Secret)> {
    let mut headers: Vec<(String, Secret)> = Vec::new();
    let Some(node) = section.node("headers") else {
        return headers;
    };
    let Value::Table(entries) = &node.value else {
        let message =
            "headers must be written as { X-Name = \"value\", Authorization = { env = \"NAME\" } }";
        reading.mistake(&section.place_of("headers"), message);
        return headers;
    };
    if entries.len() > HEADERS_MAX {
        let message = format!("headers holds more than {HEADERS_MAX} fields");
        reading.mistake(&section.place_of("headers"), message);
    }
    for entry in entries {
        let Some(name) = field_name(reading, &entry.place, &entry.key) else {
            continue;
        };
        if is_ours(&name) {
            let message = format!("{name} is set by Hookline itself");
            reading.mistake(&entry.place, message);
        } else if headers.iter().any(|(known, _)| *known == name) {
            reading.mistake(&entry.place, format!("{name} stands twice in headers"));
        } else if let Some(value) = value(reading, entry, &name) {
            headers.push((name, value));
        }
    }
    headers
}

fn value(reading: &mut Reading<'_>, entry: &Entry, name: &str) -> Option<Secret> {
    let value = match &entry.node.value {
        Value::Text(text) if !CREDENTIALS.contains(&name) => Secret::new(text.as_bytes()),
        _ => secret(reading, name, &entry.node)?,
    };
    if HeaderValue::from_bytes(value.expose()).is_err() {
        let message = format!("the value of {name} holds a line end or a control character");
        reading.mistake(&entry.place, message);
        return None;
    }
    Some(value)
}

/// Fields that frame a request or are part of what it says.
fn is_ours(name: &str) -> bool {
    OURS.contains(&name) || OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Fields that a request cannot have from the configuration.
const OURS: [&str; 11] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const OUR_PREFIXES: [&str; 3] = ["ce-", "hookline-", "webhook-"];

/// Most fields of `headers`.
const HEADERS_MAX: usize = 32;
