//! From an attempt to a record.

use super::{Context, Options};
use crate::event;
use crate::sink::binding::data_type;
use crate::sink::transport::Attempt;
use rdkafka::message::{Header, OwnedHeaders};

/// What is sent.
pub(super) struct Record {
    pub(super) topic: String,
    /// The conversation; an event without one may stand in any partition.
    pub(super) key: Option<String>,
    pub(super) headers: Option<OwnedHeaders>,
    pub(super) value: Vec<u8>,
    /// Bytes of a batch with this record alone and without compression: what a topic's `max.message.bytes` bounds.
    pub(super) bytes: usize,
}

/// The record of an attempt; the error says what is odd about the attempt.
pub(super) fn compose(
    options: &Options,
    context: &Context,
    attempt: &Attempt,
) -> Result<Record, String> {
    let first = attempt.items.first();
    let first = first.ok_or("an attempt without anything in it")?;
    let (event, notification) = first.event()?;
    let mut topic = String::with_capacity(TOPIC);
    options
        .topic
        .topic(event, notification, &context.forms, &mut topic);
    let key = event.subject().map(str::to_owned);
    let replay = attempt.replay.as_deref();
    let raw_body = notification.record.body;
    let mut fields = Fields::new();
    let mut value = Vec::with_capacity(VALUE);
    if options.structured {
        fields.set("content-type", STRUCTURED);
        event::render_replayed(event, raw_body, replay, &mut value);
    } else {
        event::attributes(event, |name, value| fields.attribute(name, value));
        if let Some(replay) = replay {
            fields.attribute("replay", replay);
        }
        let is_json = event.unparsed().is_none();
        let data_type = data_type(event::content_type(event), is_json);
        fields.set("content-type", data_type);
        event::render_data(event, raw_body, &mut value);
    }
    let bytes = fields.batch_of(key.as_deref().map(str::len), value.len());
    Ok(Record {
        topic,
        key,
        headers: fields.headers,
        value,
        bytes,
    })
}

struct Fields {
    headers: Option<OwnedHeaders>,
    count: usize,
    bytes: usize,
    name: String,
}

impl Fields {
    fn new() -> Fields {
        Fields {
            headers: Some(OwnedHeaders::new_with_capacity(FIELDS)),
            count: 0,
            bytes: 0,
            name: String::new(),
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.count += 1;
        self.bytes += in_record(name.len()) + in_record(value.len());
        let header = Header {
            key: name,
            value: Some(value),
        };
        self.headers = self.headers.take().map(|it| it.insert(header));
    }

    fn attribute(&mut self, name: &str, value: &str) {
        let mut field = std::mem::take(&mut self.name);
        field.clear();
        field.push_str("ce_");
        field.push_str(name);
        self.set(&field, value);
        self.name = field;
    }

    /// Bytes of a batch of one record with these headers.
    fn batch_of(&self, key: Option<usize>, value: usize) -> usize {
        // Attributes, and how far time and offset are behind the first record's: a byte each.
        let record =
            3 + key.map_or(1, in_record) + in_record(value) + number(self.count) + self.bytes;
        BATCH + number(record) + record
    }
}

/// Bytes of a text of so many bytes, with its length before it.
fn in_record(len: usize) -> usize {
    number(len) + len
}

/// Bytes of a number, seven bits in each, the last of which is a sign.
fn number(value: usize) -> usize {
    let bits = usize::BITS - value.leading_zeros() + 1;
    bits.div_ceil(7) as usize
}

const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";

/// Bytes before the records of a batch.
const BATCH: usize = 61;

/// Headers that an event usually has.
const FIELDS: usize = 12;

/// Bytes that a topic usually takes.
const TOPIC: usize = 48;

/// Bytes that the data of an event usually takes.
const VALUE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_seven_bits_a_byte_and_a_sign() {
        for (value, bytes) in [(0, 1), (63, 1), (64, 2), (8191, 2), (8192, 3)] {
            assert_eq!(number(value), bytes, "{value}");
        }
    }

    #[test]
    fn the_size_of_a_batch_is_that_of_its_parts() {
        let mut fields = Fields::new();
        fields.attribute("id", "1");
        // ce_id and 1, each behind its length.
        assert_eq!(fields.bytes, 6 + 2);
        // A record of 3 + key 1 + 2 + value 1 + 3 + one header 1 + 8.
        assert_eq!(fields.batch_of(Some(2), 3), BATCH + 1 + 19);
        assert_eq!(fields.batch_of(None, 3), BATCH + 1 + 17);
    }
}
