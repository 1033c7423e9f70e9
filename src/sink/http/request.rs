//! From an attempt to a request. What every request has is made once.

use super::client::{Address, Request};
use super::{HttpError, Options};
use crate::endpoint::signature::Signer;
use crate::event::{self, Event};
use crate::sink::binding::{data_type, percent_encoded};
use crate::sink::request_form::RequestForm;
use crate::sink::transport::{Attempt, BatchItem, Paths};
use crate::worker::Notification;
use ::http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use bytes::Bytes;
use http_body_util::Full;
use std::time::{SystemTime, UNIX_EPOCH};

/// Makes requests.
pub(super) struct Composer {
    /// Of every request.
    target: Uri,
    form: RequestForm,
    /// The fields of every request: the configured ones, which nothing goes over but those of this module.
    fields: HeaderMap,
    signer: Signer,
    paths: Paths,
}

impl Composer {
    pub(super) fn new(options: &Options, address: &Address) -> Result<Composer, HttpError> {
        let mut fields = HeaderMap::new();
        for (name, value) in &options.headers {
            let name: HeaderName = name.parse().map_err(|_| HttpError::Invalid("headers"))?;
            let value = HeaderValue::from_bytes(value);
            let mut value = value.map_err(|_| HttpError::Invalid("headers"))?;
            value.set_sensitive(true);
            fields.insert(name, value);
        }
        let host = address.host().ok_or(HttpError::Invalid("url"))?;
        fields.entry(HOST).or_insert(host);
        Ok(Composer {
            target: address.target(),
            form: options.form,
            fields,
            signer: Signer::standard_webhooks(&options.signing_secrets),
            paths: options.paths.clone(),
        })
    }

    /// The request of an attempt; the error says what is odd about the attempt.
    pub(super) fn compose(&self, attempt: &Attempt) -> Result<Request, String> {
        let first = attempt
            .items
            .first()
            .ok_or("an attempt without anything in it")?;
        let replay = attempt.replay.as_deref();
        let mut fields = self.fields.clone();
        let (id, body) = match self.form {
            RequestForm::Notification => {
                let notification = notification(first)?;
                self.kept(notification, &mut fields);
                if let Some(replay) = replay {
                    set(&mut fields, "hookline-replay", replay);
                }
                let body = Bytes::copy_from_slice(notification.record.body);
                (notification.sequence.to_string(), body)
            }
            RequestForm::Binary => {
                let (event, raw_body) = event(first)?;
                let body = binary(event, raw_body, replay, &mut fields);
                (event.id().to_owned(), body)
            }
            RequestForm::Structured => {
                let (event, raw_body) = event(first)?;
                let mut body = Vec::with_capacity(ENVELOPE);
                event::render_replayed(event, raw_body, replay, &mut body);
                fields.insert(CONTENT_TYPE, HeaderValue::from_static(STRUCTURED));
                (event.id().to_owned(), body.into())
            }
            RequestForm::Batch(_) => {
                let (id, body) = batch(&attempt.items, replay)?;
                fields.insert(CONTENT_TYPE, HeaderValue::from_static(BATCH));
                (id, body)
            }
        };
        fields.insert("hookline-attempt", HeaderValue::from(attempt.number));
        fields
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(AGENT));
        self.sign(&id, &body, &mut fields);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(&self.target);
        *request.headers_mut() = fields;
        Ok(request)
    }

    /// Takes configured values out of a text that somebody else wrote, who has seen them.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        let values = self.fields.values().filter(|value| value.is_sensitive());
        let shown = values.filter_map(|value| value.to_str().ok());
        shown.fold(text.to_owned(), |text, value| {
            // Of `Bearer TOKEN`, the token.
            let secret = value.rsplit(' ').next().unwrap_or(value);
            if secret.is_empty() {
                text
            } else {
                text.replace(secret, "…")
            }
        })
    }

    /// What proves a notification, and where it came from.
    fn kept(&self, notification: Notification<'_>, fields: &mut HeaderMap) {
        let record = &notification.record;
        let mut kept = HeaderMap::new();
        for (name, value) in record.headers() {
            let name = HeaderName::from_bytes(name).ok();
            let value = HeaderValue::from_bytes(value).ok();
            if let (Some(name), Some(value)) = (name, value)
                && !HOP_BY_HOP.contains(&name.as_str())
                && !name.as_str().starts_with("hookline-")
                && !fields.contains_key(&name)
            {
                kept.append(name, value);
            }
        }
        fields.extend(kept);
        if !fields.contains_key(CONTENT_TYPE) {
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        fields.insert("hookline-sequence", notification.sequence.into());
        if let Some(path) = self.paths.of(record.endpoint) {
            set(fields, "hookline-endpoint", &path);
        }
        set(
            fields,
            "hookline-received",
            &event::timestamp(record.received_at),
        );
    }

    fn sign(&self, id: &str, body: &[u8], fields: &mut HeaderMap) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let timestamp = now.unwrap_or_default().as_secs().to_string();
        if let Some(signature) = self.signer.sign(id, &timestamp, body) {
            set(fields, "webhook-id", id);
            set(fields, "webhook-timestamp", &timestamp);
            set(fields, "webhook-signature", &signature);
        }
    }
}

fn notification(one: &BatchItem) -> Result<Notification<'_>, String> {
    let found = one.batch.notification(one.item.sequence);
    found.ok_or_else(|| format!("sequence {} is not in its delivery", one.item.sequence))
}

fn event(one: &BatchItem) -> Result<(Event<'_>, &[u8]), String> {
    let (event, notification) = one.event()?;
    Ok((event, notification.record.body))
}

/// `CloudEvents` HTTP binding, section 3.1.
fn binary(
    event: Event<'_>,
    raw_body: &[u8],
    replay: Option<&str>,
    fields: &mut HeaderMap,
) -> Bytes {
    event::attributes(event, |name, value| set_attribute(fields, name, value));
    if let Some(replay) = replay {
        set_attribute(fields, "replay", replay);
    }
    let is_json = event.unparsed().is_none();
    let data_type = data_type(event::content_type(event), is_json);
    // It is one that a field can hold.
    if let Ok(data_type) = HeaderValue::from_str(data_type) {
        fields.insert(CONTENT_TYPE, data_type);
    }
    let mut body = Vec::with_capacity(ENVELOPE);
    event::render_data(event, raw_body, &mut body);
    body.into()
}

/// Its name is made of the places of its first and its last event.
fn batch(items: &[BatchItem], replay: Option<&str>) -> Result<(String, Bytes), String> {
    let mut body = Vec::with_capacity(ENVELOPE * items.len());
    let mut ends = None;
    for one in items {
        let (event, raw_body) = event(one)?;
        body.push(if ends.is_none() { b'[' } else { b',' });
        event::render_replayed(event, raw_body, replay, &mut body);
        let position = event.position();
        ends = Some((ends.map_or(position, |(first, _)| first), position));
    }
    body.push(b']');
    let (first, last) = ends.ok_or("a batch without events")?;
    Ok((format!("{first}-{last}"), body.into()))
}

/// As section 3.1.3.2 of the binding says: what a field cannot hold, quotes and percent signs are percent-encoded.
fn set_attribute(fields: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::try_from(format!("ce-{name}"));
    let value = HeaderValue::from_str(&percent_encoded(value));
    if let (Ok(name), Ok(value)) = (name, value) {
        fields.insert(name, value);
    }
}

/// Sets one of our own fields. What has no value that a field can hold is left out.
fn set(fields: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        fields.insert(name, value);
    }
}

const AGENT: &str = concat!("hookline/", env!("CARGO_PKG_VERSION"));
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// Bytes that an event usually takes.
const ENVELOPE: usize = 1024;

/// Fields of the request that came, and of no other (RFC 9110, section 7.6.1), those that frame it included.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
