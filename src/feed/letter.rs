//! A dead letter: what a sink could not deliver, with everything that is needed to deliver it after all.
//!
//! ```json
//! {
//!   "hookline_letter": 1,
//!   "sink": "crm",
//!   "sequence": 4711,
//!   "index": 3,
//!   "id": "wamid.HBg",
//!   "type": "whatsapp.message.text",
//!   "subject": "106540352242922:16505551234",
//!   "lane": "messages",
//!   "endpoint": "/webhook",
//!   "received_at": "2026-11-23T01:45:00.123456Z",
//!   "reason": "422 Unprocessable Entity",
//!   "attempts": 50,
//!   "first_failed": "2026-11-23T01:45:00.2Z",
//!   "last_failed": "2026-11-23T05:45:00.2Z",
//!   "last_answer": { "status": 422, "excerpt": "no such customer" },
//!   "headers": [["x-hub-signature-256", "sha256=…"]],
//!   "body_crc32c": "1b2c3d4e",
//!   "body_base64": "eyJvYmplY3QiOiJ4In0="
//! }
//! ```
//!
//! `index`, `id` and `subject` are missing where there is none: a letter without `index` is a whole notification, and
//! its type is that of its first event. `"foreign": true` stands in one from an endpoint for other senders than the
//! platform, whose events have other keys, and `"form": N` is the number of the [form](super::Forms) by which its body
//! is read, if it has one. The octets of a header's value are written as the characters with their
//! numbers, so that each value has one way to be written and most can be read.

use super::rfc3339;
use super::{Delivery, Item, Maker, Notification};
use crate::event::Lane;
use crate::journal::record::{self, FLAG_FOREIGN};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Not;

/// What a sink could not deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Name of the sink.
    pub sink: String,
    /// What it is: an event, or a notification as a whole.
    pub item: Item,
    /// Key of the event; `None` for a whole notification.
    pub event_id: Option<String>,
    /// Type of the event, or of the first one.
    pub kind: String,
    /// Conversation of the event, if it has one.
    pub subject: Option<String>,
    /// In which lane it was to be delivered.
    pub lane: Lane,
    /// Path of the endpoint that took it.
    pub endpoint: String,
    /// It came from other senders than the platform, who may mean the same body anew.
    pub foreign: bool,
    /// Number of the form by which its body is read; 0 if it has none.
    pub form: u16,
    /// Time of arrival in microseconds since 1970.
    pub received_at: u64,
    /// How it failed.
    pub failures: Failures,
    /// The headers that were kept, as (name, value), in the order of the request.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body of the notification, exactly as it came.
    pub body: Vec<u8>,
}

/// How the delivery of something failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Why it was given up.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it failed for the first time, in microseconds since 1970.
    #[serde(with = "rfc3339")]
    pub first_failed: u64,
    /// When it failed for the last time.
    #[serde(with = "rfc3339")]
    pub last_failed: u64,
    /// What the other side said to that, if it said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_answer: Option<Answer>,
}

/// What the other side said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The status code; for a program, how it ended.
    pub status: u16,
    /// The begin of what followed: at most 1 KiB, printable.
    pub excerpt: String,
}

impl Letter {
    /// The letter of an event of a notification, or of all of it, that `sink` could not deliver. `endpoint` is the path
    /// that the notification came to. A whole notification goes in the first lane of any of its events.
    #[must_use]
    pub fn new(
        sink: &str,
        notification: &Notification<'_>,
        index: Option<u32>,
        endpoint: &str,
        failures: Failures,
    ) -> Letter {
        let record = notification.record;
        let event = index.and_then(|index| notification.events().find(|it| it.index() == index));
        let lanes = notification.events().map(|event| event.lane());
        let lane = event.map(|event| event.lane()).or_else(|| lanes.min());
        let kind = event.or_else(|| notification.events().next());
        let headers = record.headers();
        Letter {
            sink: sink.to_owned(),
            item: Item {
                sequence: notification.sequence,
                index,
            },
            event_id: event.map(|event| event.id().to_owned()),
            kind: kind.map_or_else(String::new, |event| event.kind().to_owned()),
            subject: event.and_then(|event| Some(event.subject()?.to_owned())),
            lane: lane.unwrap_or(Lane::Rest),
            endpoint: endpoint.to_owned(),
            foreign: record.flags & FLAG_FOREIGN != 0,
            form: record::form(record.flags),
            received_at: record.received_at,
            failures,
            headers: headers
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect(),
            body: record.body.to_vec(),
        }
    }

    /// Makes of it what a sink delivers: a batch of one notification, with the sequence that it had. `endpoint` is the
    /// number that the journal gives to [`Letter::endpoint`].
    #[must_use]
    pub fn delivery(&self, endpoint: u16, maker: &mut Maker) -> Delivery {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_slice(), value.as_slice()));
        let flags = if self.foreign { FLAG_FOREIGN } else { 0 };
        let flags = record::with_form(flags, self.form);
        let came = (endpoint, flags, self.received_at);
        maker.make_one(self.item.sequence, came, headers, &self.body)
    }

    /// The file of it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let lines = serde_json::to_vec_pretty(&Stored::of(self));
        let mut octets = lines.expect("texts, numbers and lists are JSON");
        octets.push(b'\n');
        octets
    }

    /// Takes what [`Letter::encode`] has written; says what is wrong with anything else.
    pub(super) fn decode(octets: &[u8]) -> Result<Letter, String> {
        let stored: Stored = serde_json::from_slice(octets).map_err(|error| error.to_string())?;
        stored.letter()
    }
}

/// The form in the file; see the module.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "hookline_letter")]
    version: u32,
    sink: String,
    sequence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    lane: String,
    endpoint: String,
    #[serde(default, skip_serializing_if = "Not::not")]
    foreign: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    form: u16,
    #[serde(with = "rfc3339")]
    received_at: u64,
    #[serde(flatten)]
    failures: Failures,
    headers: Vec<(Latin, Latin)>,
    body_crc32c: String,
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    body_base64: Vec<u8>,
}

impl Stored {
    fn of(letter: &Letter) -> Stored {
        let headers = letter.headers.iter();
        Stored {
            version: VERSION,
            sink: letter.sink.clone(),
            sequence: letter.item.sequence,
            index: letter.item.index,
            id: letter.event_id.clone(),
            kind: letter.kind.clone(),
            subject: letter.subject.clone(),
            lane: letter.lane.name().to_owned(),
            endpoint: letter.endpoint.clone(),
            foreign: letter.foreign,
            form: letter.form,
            received_at: letter.received_at,
            failures: letter.failures.clone(),
            headers: headers
                .map(|(name, value)| (Latin(name.clone()), Latin(value.clone())))
                .collect(),
            body_crc32c: checksum(&letter.body),
            body_base64: letter.body.clone(),
        }
    }

    fn letter(self) -> Result<Letter, String> {
        if self.version > VERSION {
            return Err("a newer version of Hookline has written it".to_owned());
        }
        if self.body_crc32c != checksum(&self.body_base64) {
            return Err("its body is not the one that was written".to_owned());
        }
        let lane = Lane::ALL.into_iter().find(|lane| lane.name() == self.lane);
        let headers = self.headers.into_iter();
        Ok(Letter {
            sink: self.sink,
            item: Item {
                sequence: self.sequence,
                index: self.index,
            },
            event_id: self.id,
            kind: self.kind,
            subject: self.subject,
            lane: lane.ok_or_else(|| format!("there is no lane {:?}", self.lane))?,
            endpoint: self.endpoint,
            foreign: self.foreign,
            form: self.form,
            received_at: self.received_at,
            failures: self.failures,
            headers: headers.map(|(name, value)| (name.0, value.0)).collect(),
            body: self.body_base64,
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// Octets as the characters with their numbers.
struct Latin(Vec<u8>);

impl Serialize for Latin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().copied().map(char::from).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Latin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Latin, D::Error> {
        let text = String::deserialize(deserializer)?;
        let octets = text.chars().map(u8::try_from).collect::<Result<_, _>>();
        octets.map(Latin).map_err(D::Error::custom)
    }
}

fn to_base64<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(octets))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64_STANDARD.decode(text).map_err(D::Error::custom)
}

fn checksum(octets: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(octets))
}

/// Version of the form.
const VERSION: u32 = 1;
