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
//! platform, whose events have other keys, and `"form": N` is the number of the
//! [form](crate::worker::Forms) by which its body is read, if it has one. The bytes of a header's value are written as
//! the characters with their numbers, so that each value has one way to be written and most can be read.
//!
//! One body may hold tens of thousands of events, each of which may become a letter. So headers and body that take more
//! than 4 KiB together stand in a file of their own, once for all letters of the notification. These have `"body_file"`
//! in the place of the last three fields, and `"hookline_letter": 2`:
//!
//! ```json
//! { "hookline_letter": 2, "sequence": 4711, "index": 3, …, "body_file": "4711.1b2c3d4e.body" }
//! ```
//!
//! The file's name is the sequence and the CRC32C over the body and the headers, each followed by a zero byte after its
//! name and after its value. In the file:
//!
//! ```json
//! { "hookline_letter_body": 1, "headers": [["x-hub-signature-256", "sha256=…"]], "body_base64": "eyJvYmplY3Q…" }
//! ```

use crate::event::{Item, Lane, NoLane, rfc3339};
use crate::journal::record::{self, FLAG_FOREIGN, Record};
use crate::worker::{EventBatch, Extraction, Notification};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Not;
use std::sync::Arc;

/// What a sink could not deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
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
    pub failures: Failures,
    /// What it shares with the other letters of its notification.
    pub content: Arc<Content>,
}

/// What all letters of one notification have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The headers that were kept, as (name, value), in the order of the request.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body of the notification, exactly as it came.
    pub body: Vec<u8>,
}

/// How the delivery of something failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    pub reason: String,
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

impl DeadLetter {
    /// The letter of an event of a notification, or of all of it, that `sink` could not deliver. `endpoint` is the path
    /// that the notification came to. A whole notification goes in the first lane of any of its events.
    #[must_use]
    pub fn new(
        sink: &str,
        notification: &Notification<'_>,
        index: Option<u32>,
        endpoint: &str,
        failures: Failures,
    ) -> DeadLetter {
        let content = Arc::new(Content::of(&notification.record));
        DeadLetter::sharing(content, sink, notification, index, endpoint, failures)
    }

    /// The same with a content that is there already.
    #[must_use]
    pub fn sharing(
        content: Arc<Content>,
        sink: &str,
        notification: &Notification<'_>,
        index: Option<u32>,
        endpoint: &str,
        failures: Failures,
    ) -> DeadLetter {
        let record = notification.record;
        let event = index.and_then(|index| notification.event(index));
        let lanes = notification.events().map(|event| event.lane());
        let lane = event.map(|event| event.lane()).or_else(|| lanes.min());
        let kind = event.or_else(|| notification.events().next());
        DeadLetter {
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
            content,
        }
    }

    /// Makes of it what a sink delivers: a batch of one notification, with the sequence that it had. `endpoint` is the
    /// number that the journal gives to [`DeadLetter::endpoint`].
    pub fn delivery(&self, endpoint: u16, maker: &mut Extraction) -> EventBatch {
        let headers = self.content.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_slice(), value.as_slice()));
        let flags = if self.foreign { FLAG_FOREIGN } else { 0 };
        let flags = record::with_form(flags, self.form);
        let came = (endpoint, flags, self.received_at);
        maker.make_one(self.item.sequence, came, headers, &self.content.body)
    }

    /// The file of it. The content is in it, or in the file `body_file`.
    pub(super) fn encode(&self, body_file: Option<&str>) -> Vec<u8> {
        lines(&Stored::of(self, body_file))
    }

    /// Takes what [`DeadLetter::encode`] has written; says what is wrong with anything else. With it comes the name
    /// of the file of its content, if that is not in here.
    pub(super) fn decode(bytes: &[u8]) -> Result<(DeadLetter, Option<String>), String> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        stored.dead_letter()
    }
}

impl Content {
    /// That of a stored notification.
    pub fn of(record: &Record<'_>) -> Content {
        let headers = record.headers();
        Content {
            headers: headers
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect(),
            body: record.body.to_vec(),
        }
    }

    /// True if it takes so little that each letter may have its own.
    pub(super) fn is_small(&self) -> bool {
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
        headers + self.body.len() <= SMALL_MAX
    }

    pub(super) fn file_name(&self, sequence: u64) -> String {
        let texts = self.headers.iter().flat_map(|(name, value)| [name, value]);
        let crc = texts.fold(crc32c::crc32c(&self.body), |crc, text| {
            crc32c::crc32c_append(crc32c::crc32c_append(crc, text), &[0])
        });
        format!("{sequence}.{crc:08x}{BODY}")
    }

    /// Its file.
    pub(super) fn encode(&self) -> Vec<u8> {
        lines(&StoredContent {
            version: CONTENT_VERSION,
            headers: to_latin(&self.headers),
            body_base64: Base64(self.body.clone()),
        })
    }

    /// Takes what [`Content::encode`] has written to a file of this name.
    pub(super) fn decode(bytes: &[u8], name: &str) -> Result<Content, String> {
        let stored: Result<StoredContent, _> = serde_json::from_slice(bytes);
        let stored = stored.map_err(|error| error.to_string())?;
        if stored.version > CONTENT_VERSION {
            return Err(NEWER.to_owned());
        }
        let content = Content {
            headers: from_latin(stored.headers),
            body: stored.body_base64.0,
        };
        let is_whole = body_of(name).is_some_and(|sequence| content.file_name(sequence) == name);
        is_whole
            .then_some(content)
            .ok_or_else(|| ANOTHER.to_owned())
    }
}

/// The sequence that the name of a file of content begins with, if it is one.
pub(super) fn body_of(name: &str) -> Option<u64> {
    let (sequence, crc) = name.strip_suffix(BODY)?.split_once('.')?;
    let sequence: u64 = sequence.parse().ok()?;
    let crc = u32::from_str_radix(crc, 16).ok()?;
    (format!("{sequence}.{crc:08x}{BODY}") == name).then_some(sequence)
}

fn lines(stored: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(stored).expect("texts, numbers and lists are JSON");
    bytes.push(b'\n');
    bytes
}

/// The form of the file of a content; see the module.
#[derive(Serialize, Deserialize)]
struct StoredContent {
    #[serde(rename = "hookline_letter_body")]
    version: u32,
    headers: Vec<(Latin, Latin)>,
    body_base64: Base64,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    headers: Option<Vec<(Latin, Latin)>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_crc32c: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<Base64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_file: Option<String>,
}

impl Stored {
    fn of(letter: &DeadLetter, body_file: Option<&str>) -> Stored {
        let content = body_file.is_none().then_some(&letter.content);
        Stored {
            version: if body_file.is_some() { VERSION } else { WHOLE },
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
            headers: content.map(|it| to_latin(&it.headers)),
            body_crc32c: content.map(|it| checksum(&it.body)),
            body_base64: content.map(|it| Base64(it.body.clone())),
            body_file: body_file.map(str::to_owned),
        }
    }

    fn dead_letter(self) -> Result<(DeadLetter, Option<String>), String> {
        if self.version > VERSION {
            return Err(NEWER.to_owned());
        }
        let content = match &self.body_file {
            Some(name) if body_of(name) == Some(self.sequence) => Content::default(),
            Some(name) => return Err(format!("{name:?} is no file of its body")),
            None => {
                let (headers, body) = self.headers.zip(self.body_base64).ok_or("it has no body")?;
                if self.body_crc32c != Some(checksum(&body.0)) {
                    return Err(ANOTHER.to_owned());
                }
                Content {
                    headers: from_latin(headers),
                    body: body.0,
                }
            }
        };
        let letter = DeadLetter {
            sink: self.sink,
            item: Item {
                sequence: self.sequence,
                index: self.index,
            },
            event_id: self.id,
            kind: self.kind,
            subject: self.subject,
            lane: self
                .lane
                .parse()
                .map_err(|error: NoLane| error.to_string())?,
            endpoint: self.endpoint,
            foreign: self.foreign,
            form: self.form,
            received_at: self.received_at,
            failures: self.failures,
            content: Arc::new(content),
        };
        Ok((letter, self.body_file))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// Bytes as the characters with their numbers.
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
        let bytes = text.chars().map(u8::try_from).collect::<Result<_, _>>();
        bytes.map(Latin).map_err(D::Error::custom)
    }
}

fn to_latin(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Latin, Latin)> {
    let headers = headers.iter();
    headers
        .map(|(name, value)| (Latin(name.clone()), Latin(value.clone())))
        .collect()
}

fn from_latin(headers: Vec<(Latin, Latin)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let headers = headers.into_iter();
    headers.map(|(name, value)| (name.0, value.0)).collect()
}

struct Base64(Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Base64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text);
        bytes.map(Base64).map_err(D::Error::custom)
    }
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(bytes))
}

/// Version of the form of a letter whose body stands in another file.
const VERSION: u32 = 2;

/// Version of the form of one that has its body in it.
const WHOLE: u32 = 1;

/// Version of the form of the file of a body.
const CONTENT_VERSION: u32 = 1;

/// Bytes of headers and body that a letter has in it, at most.
const SMALL_MAX: usize = 4096;

/// Behind the name of the file of a body.
const BODY: &str = ".body";

const NEWER: &str = "a newer version of Hookline has written it";
const ANOTHER: &str = "its body is not the one that was written";
