//! Reads the keys of an `[[endpoint]]` that belong to its provider.

use super::finding::Location;
use super::proof::{Credential, Provider};
use super::reader::{Reading, Section};
use super::secret::Secret;
use super::suggest::did_you_mean;
use crate::endpoint::signature::{Algorithm, Encoding};
use crate::event;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;

/// Kept for Meta: what proves the body, and what it is.
pub(super) const META_HEADERS: [&str; 2] = ["x-hub-signature-256", "content-type"];

/// What `provider` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Meta,
    Dialog360,
    StandardWebhooks,
    GenericHmac,
}

const KINDS: [(&str, Kind); 4] = [
    ("meta", Kind::Meta),
    ("360dialog", Kind::Dialog360),
    ("standard-webhooks", Kind::StandardWebhooks),
    ("generic-hmac", Kind::GenericHmac),
];

impl Kind {
    /// The keys that it takes beside those of every endpoint.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Kind::Meta => &["verify_token", "app_secret"],
            Kind::Dialog360 => &["basic", "bearer", "header", "signature_secret"],
            Kind::StandardWebhooks => &["secret", "tolerance"],
            Kind::GenericHmac => &["secret", "header", "algorithm", "encoding", "prefix"],
        }
    }

    /// The keys that prove where a post comes from.
    fn proofs(self) -> &'static [&'static str] {
        match self {
            Kind::Meta => &["app_secret"],
            Kind::Dialog360 => self.keys(),
            Kind::StandardWebhooks | Kind::GenericHmac => &["secret"],
        }
    }
}

/// Which provider the endpoint names.
pub(super) fn kind(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<Kind> {
    if section.has("provider") {
        return section.choice(reading, "provider", &KINDS);
    }
    section.node("provider");
    let names = KINDS.map(|(name, _)| format!("{name:?}")).join(", ");
    reading.mistake(
        &section.place.clone(),
        format!("[[endpoint]] needs a provider: one of {names}"),
    );
    None
}

/// Takes the keys of all providers, for an endpoint whose provider is not known. Which belong here cannot be
/// said, but a secret that is written out is a mistake with any of them.
pub(super) fn read_any(reading: &mut Reading<'_>, section: &mut Section<'_>) {
    for key in [
        "verify_token",
        "app_secret",
        "bearer",
        "signature_secret",
        "secret",
    ] {
        section.secrets(reading, key);
    }
    for key in KINDS
        .iter()
        .flat_map(|(_, kind)| kind.keys())
        .chain(&["keep_headers"])
    {
        section.node(key);
    }
}

/// Why a key is not taken by `kind`, if another provider takes it.
pub(super) fn belongs_to(key: &str, kind: Kind) -> Option<String> {
    let (owner, _) = KINDS
        .iter()
        .find(|(_, other)| other.keys().contains(&key))?;
    let (name, _) = KINDS.iter().find(|(_, other)| *other == kind)?;
    let keys = kind.keys().join(", ");
    Some(format!(
        "{key} belongs to provider {owner:?}; {name:?} takes {keys}"
    ))
}

/// Reads what `kind` takes, and sees to it that a post has to prove something, or nothing in so many words.
pub(super) fn read(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    kind: Kind,
    accept_unsigned: bool,
) -> Provider {
    let proof = kind.proofs().iter().find(|key| section.has(key));
    match (proof, accept_unsigned) {
        (Some(key), true) => {
            let message =
                format!("accept_unsigned = true contradicts {key}; remove one of the two");
            reading.mistake(&section.place_of("accept_unsigned"), message);
        }
        (None, false) => {
            let key = kind.proofs().last().expect("every provider has a proof");
            let message = format!(
                "anyone could post here: add {key} = {{ env = \"NAME\" }}, or say accept_unsigned = true"
            );
            reading.mistake(&section.place.clone(), message);
        }
        _ => {}
    }
    match kind {
        Kind::Meta => meta(reading, section),
        Kind::Dialog360 => Provider::Dialog360 {
            credential: credential(reading, section),
            signature_secrets: section
                .secrets(reading, "signature_secret")
                .unwrap_or_default(),
        },
        Kind::StandardWebhooks => standard_webhooks(reading, section),
        Kind::GenericHmac => generic_hmac(reading, section, accept_unsigned),
    }
}

fn meta(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Provider {
    let verify_tokens = section.secrets(reading, "verify_token");
    if verify_tokens.is_none() {
        let message = "without verify_token the handshake is answered with 403, and Meta cannot register the \
                       address";
        reading.warning(&section.place.clone(), message);
    }
    Provider::Meta {
        verify_tokens: verify_tokens.unwrap_or_default(),
        app_secrets: section.secrets(reading, "app_secret").unwrap_or_default(),
    }
}

fn credential(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<Credential> {
    let given: Vec<&str> = ["basic", "bearer", "header"]
        .into_iter()
        .filter(|key| section.has(key))
        .collect();
    if let [first, second, ..] = given[..] {
        let message = format!("{first} and {second} exclude each other; keep one of them");
        reading.mistake(&section.place_of(second), message);
    }
    let basic = section.table(
        reading,
        "basic",
        "{ username = \"NAME\", password = { env = \"NAME\" } }",
    );
    let bearer = section.secrets(reading, "bearer");
    let header = section.table(
        reading,
        "header",
        "{ name = \"X-Name\", value = { env = \"NAME\" } }",
    );
    if let Some(mut basic) = basic {
        let username = basic
            .text(reading, "username")
            .filter(|name| !name.is_empty());
        let passwords = basic.secrets(reading, "password");
        if username.is_none_or(|name| name.contains(':')) {
            reading.mistake(
                &basic.place_of("username"),
                "basic needs a username without a colon",
            );
        }
        if passwords.is_none() {
            reading.mistake(&basic.place.clone(), "basic needs a password");
        }
        basic.finish(reading, |_| None);
        let (username, passwords) = (username?.to_owned(), passwords?);
        return Some(Credential::Basic {
            username,
            passwords,
        });
    }
    if let Some(mut header) = header {
        let name = header.text(reading, "name");
        let values = header.secrets(reading, "value");
        let place = header.place_of("name");
        let name = name.and_then(|name| field_name(reading, &place, name));
        if !header.has("name") || values.is_none() {
            reading.mistake(&header.place.clone(), "header needs a name and a value");
        }
        header.finish(reading, |_| None);
        let (name, values) = (name?, values?);
        return Some(Credential::Header { name, values });
    }
    bearer.map(Credential::Bearer)
}

fn standard_webhooks(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Provider {
    let secrets = standard_keys(reading, section, "secret");
    let tolerance = section.measured(reading, "tolerance").unwrap_or_default();
    Provider::StandardWebhooks {
        secrets,
        tolerance: Duration::from_millis(tolerance),
    }
}

/// The keys in secrets of the form that Standard Webhooks gives them, `whsec_` and base64.
pub(super) fn standard_keys(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    key: &'static str,
) -> Vec<Secret> {
    let place = section.place_of(key);
    let mut secrets = Vec::new();
    for secret in section.secrets(reading, key).unwrap_or_default() {
        let text = secret
            .expose()
            .strip_prefix(b"whsec_")
            .unwrap_or(secret.expose());
        match STANDARD.decode(text) {
            Ok(key) if key.is_empty() => reading.mistake(&place, "the secret holds no key"),
            Ok(key) => {
                if key.len() < STANDARD_KEY_MIN {
                    let message = format!("the key is shorter than {STANDARD_KEY_MIN} bytes");
                    reading.warning(&place, message);
                }
                secrets.push(Secret::new(key));
            }
            Err(_) => {
                let message = "the secret must be \"whsec_\" and standard base64 behind it";
                reading.mistake(&place, message);
            }
        }
    }
    secrets
}

fn generic_hmac(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    accept_unsigned: bool,
) -> Provider {
    let algorithms = [
        ("sha256", Algorithm::Sha256),
        ("sha1", Algorithm::Sha1),
        ("sha512", Algorithm::Sha512),
    ];
    let encodings = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];
    let secrets = section.secrets(reading, "secret").unwrap_or_default();
    let header = section.text(reading, "header");
    let place = section.place_of("header");
    if !section.has("header") && !accept_unsigned {
        let message =
            "generic-hmac needs the header that holds the HMAC, as in header = \"X-Signature\"";
        reading.mistake(&section.place.clone(), message);
    }
    Provider::GenericHmac {
        secrets,
        header: header
            .and_then(|name| field_name(reading, &place, name))
            .unwrap_or_default(),
        algorithm: section
            .choice(reading, "algorithm", &algorithms)
            .unwrap_or(Algorithm::Sha256),
        encoding: section
            .choice(reading, "encoding", &encodings)
            .unwrap_or(Encoding::Hex),
        prefix: section
            .text(reading, "prefix")
            .unwrap_or_default()
            .to_owned(),
    }
}

/// The header fields to store: what proves the body and what it is, and those that the file names; and which of these
/// become attributes of the events.
pub(super) fn keep_headers(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    provider: &Provider,
) -> (Vec<String>, Vec<String>) {
    let (proof, beside, credential) = match provider {
        Provider::Meta { .. } => (META_HEADERS[0], &[][..], None),
        Provider::Dialog360 { credential, .. } => {
            let name = match credential {
                Some(Credential::Header { name, .. }) => Some(name.as_str()),
                _ => None,
            };
            ("x-360dialog-signature", &[][..], name)
        }
        Provider::StandardWebhooks { .. } => (
            "webhook-signature",
            &["webhook-id", "webhook-timestamp"][..],
            None,
        ),
        Provider::GenericHmac { header, .. } => (header.as_str(), &[][..], None),
    };
    let own = [proof, "content-type"]
        .into_iter()
        .chain(beside.iter().copied());
    let mut kept: Vec<String> = own.filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let mut attributes: Vec<String> = Vec::new();
    let named = section.texts(reading, "keep_headers").unwrap_or_default();
    if named.len() > KEPT_MAX {
        let message = format!("keep_headers names more than {KEPT_MAX} fields");
        reading.mistake(&section.place_of("keep_headers"), message);
    }
    for (name, place) in named {
        let Some(name) = field_name(reading, &place, name) else {
            continue;
        };
        if name == proof || SIGNATURES.contains(&name.as_str()) {
            let message = format!(
                "{name} carries proof, which is no part of an event; take it out, what proves a post is stored with it \
                 anyway"
            );
            reading.mistake(&place, message);
        } else if CREDENTIALS.contains(&name.as_str()) || credential == Some(name.as_str()) {
            let message =
                format!("{name} holds a credential, which must not be stored with every post");
            reading.mistake(&place, message);
        } else if looks_like_proof(&name) {
            let message = format!(
                "{name} looks as if it carries proof: it is stored, and sinks of whole notifications get it, but no \
                 event"
            );
            reading.warning(&place, message);
            keep(&mut kept, name);
        } else if let Some(message) = unfit(&name, &attributes) {
            reading.mistake(&place, message);
        } else {
            if name != "content-type" && !attributes.contains(&name) {
                attributes.push(name.clone());
            }
            keep(&mut kept, name);
        }
    }
    (kept, attributes)
}

/// True if senders call so what shows that a post is theirs.
fn looks_like_proof(name: &str) -> bool {
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    name == "x-trello-webhook"
        || PROOFS.iter().any(|part| name.contains(part))
        || words.any(|word| PROOF_WORDS.contains(&word))
}

fn keep(kept: &mut Vec<String>, name: String) {
    if !kept.contains(&name) {
        kept.push(name);
    }
}

/// Why a field cannot become an attribute of events.
fn unfit(name: &str, others: &[String]) -> Option<String> {
    let attribute = event::attribute(name);
    if attribute.is_empty() {
        return Some(format!(
            "{name} has no letter or digit, so no attribute of events can be called after it"
        ));
    }
    if event::is_reserved(&attribute) {
        return Some(format!(
            "{name} would be the attribute {attribute} of events, which means something else"
        ));
    }
    let same = |other: &&String| *other != name && event::attribute(other) == attribute;
    let other = others.iter().find(same)?;
    Some(format!(
        "{name} and {other} would both be the attribute {attribute} of events; keep one of them"
    ))
}

/// A header field name (RFC 9110, section 5.6.2), in lower case.
pub(super) fn field_name(
    reading: &mut Reading<'_>,
    place: &Location,
    name: &str,
) -> Option<String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !name.is_empty() && name.len() <= FIELD_NAME_MAX && name.chars().all(token) {
        return Some(name.to_ascii_lowercase());
    }
    let meant = did_you_mean(
        name.trim().trim_end_matches(':'),
        CREDENTIALS.into_iter().chain(META_HEADERS),
    );
    reading.mistake(
        place,
        format!("this is not the name of a header field{meant}"),
    );
    None
}

/// Fields in which providers put the signature.
const SIGNATURES: [&str; 4] = [
    META_HEADERS[0],
    "x-hub-signature",
    "x-360dialog-signature",
    "webhook-signature",
];

/// What stands in the names of fields that carry proof.
const PROOFS: [&str; 11] = [
    "signature",
    "hmac",
    "token",
    "secret",
    "password",
    "api-key",
    "api_key",
    "apikey",
    "authorization",
    "credential",
    "jwt",
];

/// What is such a name by itself, or between dashes.
const PROOF_WORDS: [&str; 9] = [
    "auth",
    "bearer",
    "digest",
    "hash",
    "passwd",
    "sig",
    "verif",
    "verification",
    "verify",
];

/// Fields that give access to something, rather than prove the body.
pub(super) const CREDENTIALS: [&str; 5] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
];

/// Most header fields that are stored with a body.
const KEPT_MAX: usize = 32;

/// Longest name of a header field, in characters.
const FIELD_NAME_MAX: usize = 128;

/// What the Standard Webhooks specification asks of a key, in bytes.
const STANDARD_KEY_MIN: usize = 24;
