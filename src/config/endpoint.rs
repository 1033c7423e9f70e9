//! Reads `[[endpoint]]`: a path, and who may post to it.
//!
//! | provider | keys of its own | what a post must bring |
//! |---|---|---|
//! | `meta` | `verify_token`, `app_secret` | `X-Hub-Signature-256` |
//! | `360dialog` | `basic`, `bearer` or `header`; `signature_secret` | the header value, and `x-360dialog-signature`, as configured |
//! | `standard-webhooks` | `secret`, `tolerance` | `webhook-id`, `webhook-timestamp`, `webhook-signature` |
//! | `generic-hmac` | `secret`, `header`, `algorithm`, `encoding`, `prefix` | the named header |
//!
//! Every secret may be a list, for rotation and for several senders: any one of them will do.

use super::finding::Location;
use super::proof::Provider;
use super::provider;
use super::reader::{Reading, Section, check_name};
use super::secret::{Reference, Secret};
use crate::endpoint::Ack;
use std::ffi::OsStr;

/// One path and its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The path, compared byte by byte with that of the request target.
    pub path: String,
    /// Names it in metrics and logs.
    pub name: String,
    pub ack: Ack,
    /// Whose posts these are, and how they prove it.
    pub provider: Provider,
    /// True when posts need no proof; the provider then has no secret but a verify token.
    pub accept_unsigned: bool,
    /// Header fields that are stored with the body, in lower case.
    pub keep_headers: Vec<String>,
    /// Those of them that become attributes of the events.
    pub attributes: Vec<String>,
}

/// The endpoint when there is no file.
pub(super) fn default(reading: &mut Reading<'_>) -> Endpoint {
    let mut fetch = |name: &str| {
        reading.environment.contains_key(OsStr::new(name)).then(|| {
            let secret = Reference::Env(name).fetch(reading.environment);
            let place = Location::Named(name.to_owned());
            secret
                .map_err(|message| reading.mistake(&place, message))
                .into_iter()
                .collect()
        })
    };
    let app_secrets: Option<Vec<Secret>> = fetch("HOOKLINE_APP_SECRET");
    let verify_tokens = fetch("HOOKLINE_VERIFY_TOKEN");
    // A token that everybody knows is for trying things out on the loopback address, not beside a real secret.
    let known_token = || match app_secrets {
        None => vec![Secret::new(*b"hookline")],
        Some(_) => Vec::new(),
    };
    Endpoint {
        path: "/webhook".to_owned(),
        name: "webhook".to_owned(),
        ack: Ack::Stored,
        accept_unsigned: app_secrets.is_none(),
        provider: Provider::Meta {
            verify_tokens: verify_tokens.unwrap_or_else(known_token),
            app_secrets: app_secrets.unwrap_or_default(),
        },
        keep_headers: provider::META_HEADERS.map(str::to_owned).to_vec(),
        attributes: Vec::new(),
    }
}

pub(super) fn read_all(reading: &mut Reading<'_>, sections: Vec<Section<'_>>) -> Vec<Endpoint> {
    if sections.is_empty() {
        let place = Location::Named(reading.source.name.clone());
        let message = "there is no [[endpoint]], so nothing could be received; add one with path and provider";
        reading.mistake(&place, message);
    }
    if sections.len() > ENDPOINTS_MAX {
        let message = format!("more than {ENDPOINTS_MAX} endpoints");
        reading.mistake(&sections[ENDPOINTS_MAX].place.clone(), message);
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for section in sections {
        let (path_place, name_place) = (section.place_of("path"), section.place_of("name"));
        let Some(endpoint) = read(reading, section) else {
            continue;
        };
        if endpoints.iter().any(|other| other.path == endpoint.path) {
            let message = format!("a second endpoint has the path {:?}", endpoint.path);
            reading.mistake(&path_place, message);
        } else if endpoints.iter().any(|other| other.name == endpoint.name) {
            let message = format!(
                "a second endpoint has the name {:?}; give it another name",
                endpoint.name
            );
            reading.mistake(&name_place, message);
        }
        endpoints.push(endpoint);
    }
    endpoints
}

fn read(reading: &mut Reading<'_>, mut section: Section<'_>) -> Option<Endpoint> {
    let path = path(reading, &mut section);
    let name = section.text(reading, "name");
    if let Some(name) = name {
        check_name(reading, &section.place_of("name"), name);
    }
    let ack = ack(reading, &mut section);
    let accept_unsigned = section.boolean(reading, "accept_unsigned", false);
    let kind = provider::kind(reading, &mut section);
    let Some(kind) = kind else {
        // Which keys belong here is not known: only those that belong nowhere are worth a word.
        provider::read_any(reading, &mut section);
        section.finish(reading, |_| None);
        return None;
    };
    let provider = provider::read(reading, &mut section, kind, accept_unsigned);
    let (keep_headers, attributes) = provider::keep_headers(reading, &mut section, &provider);
    section.finish(reading, |key| provider::belongs_to(key, kind));
    let path = path?;
    let name = name.map_or_else(|| name_of(path), str::to_owned);
    let path = path.to_owned();
    Some(Endpoint {
        path,
        name,
        ack,
        provider,
        accept_unsigned,
        keep_headers,
        attributes,
    })
}

fn path<'t>(reading: &mut Reading<'_>, section: &mut Section<'t>) -> Option<&'t str> {
    if !section.has("path") {
        section.node("path");
        let place = section.place.clone();
        reading.mistake(
            &place,
            "[[endpoint]] needs a path, as in path = \"/webhook\"",
        );
        return None;
    }
    let path = section.text(reading, "path")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    let message = if !path.starts_with('/') {
        Some(format!(
            "path must start with a slash; did you mean \"/{path}\"?"
        ))
    } else if path.len() > PATH_MAX {
        Some(format!("path is longer than {PATH_MAX} characters"))
    } else if let Some(odd) = path.chars().find(|c| !plain(*c)) {
        Some(format!(
            "path may hold letters, digits and - . _ ~ / only, not {odd:?}"
        ))
    } else if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
        Some("path must be plain: proxies and clients rewrite //, /./ and /../".to_owned())
    } else {
        None
    };
    if let Some(message) = message {
        reading.mistake(&section.place_of("path"), message);
        return None;
    }
    Some(path)
}

fn ack(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Ack {
    let modes = [
        ("stored", Some(Ack::Stored)),
        ("received", Some(Ack::Received)),
        ("replicated", None),
    ];
    match section.choice(reading, "ack", &modes) {
        Some(Some(ack)) => ack,
        Some(None) => {
            let message = "ack = \"replicated\" waits for a sink that is a cluster, and this build has none \
                           yet; write \"stored\" or \"received\"";
            reading.mistake(&section.place_of("ack"), message);
            Ack::Stored
        }
        None => Ack::Stored,
    }
}

/// `/in/meta` is `in-meta`, and `/` is `root`.
fn name_of(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        "root".to_owned()
    } else {
        parts.join("-").replace('~', "-")
    }
}

/// The journal numbers endpoints with 16 bits over its whole life; this leaves room for many changes.
const ENDPOINTS_MAX: usize = 1024;

/// Longest path, in characters; platforms take callback addresses of 200.
const PATH_MAX: usize = 256;
