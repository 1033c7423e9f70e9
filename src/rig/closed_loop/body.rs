//! The notifications that are sent, each a pure function of the seed and its name: so the reader of the journal
//! makes it again and compares every byte, and nothing of it has to be remembered.
//!
//! They have the platform's form: mostly statuses, some text messages, 500 to 1000 bytes each, and one in
//! [`LARGE_ONE_IN`] with 100 KB to 1 MB. The name stands in the id of its message.

use super::super::notification::{self, Direction, Id, NAMES, PARTIES};
use crate::random::Random;
use std::ops::Range;

/// Which notification: its round, its connection and its number on that, all from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) round: u32,
    /// Below 2^14.
    pub(crate) stream: u32,
    /// Below 2^34.
    pub(crate) number: u64,
}

/// Makes the notifications of one seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bodies {
    pub(crate) seed: u64,
}

impl Bodies {
    /// Puts the notification of this name in `out`, in place of what was there.
    pub(crate) fn make(self, name: Name, out: &mut Vec<u8>) {
        let place = (u64::from(name.round) << 32 | u64::from(name.stream)) ^ self.seed;
        let mut random = Random(Random(place).next() ^ name.number);
        let text = if random.below(LARGE_ONE_IN) == 0 {
            Some(100_000..1_000_000)
        } else {
            (random.below(4) == 0).then_some(0..400)
        };
        let id = Id {
            direction: if text.is_some() {
                Direction::Inbound
            } else {
                Direction::Outbound
            },
            party: random.below(PARTIES),
            run: name.round,
            number: u64::from(name.stream) << NUMBER_BITS | name.number,
        };
        let at = 1_700_000_000 + random.below(100_000_000);
        notification::begin(random.below(PHONES), out);
        notification::contact(true, id.party, random.among(NAMES), out);
        if let Some(text) = text {
            notification::message(id, at, None, out);
            out.extend_from_slice(br#""text":{"body":""#);
            random_text(out, &mut random, text);
            out.extend_from_slice(br#""},"type":"text"}"#);
        } else {
            let status = random.among(&["sent", "delivered", "read"]);
            notification::status(true, id, status, at, random.below(100_000_000), out);
        }
        notification::end(out);
    }
}

/// The name in a body; none if it has no id as all of them do.
pub(crate) fn name_of(body: &[u8]) -> Option<Name> {
    let (id, _) = Id::all_in(body).next()?;
    Some(Name {
        round: id.run,
        stream: u32::try_from(id.number >> NUMBER_BITS).ok()?,
        number: id.number & ((1 << NUMBER_BITS) - 1),
    })
}

/// Appends that many letters, eight from each draw: a body of a megabyte costs less than its signature.
fn random_text(out: &mut Vec<u8>, random: &mut Random, count: Range<u64>) {
    let count = count.start + random.below(count.end - count.start);
    let end = out.len() + usize::try_from(count).unwrap_or_default();
    while out.len() < end {
        let eight = (random.next() & 0x0f0f_0f0f_0f0f_0f0f) + 0x6161_6161_6161_6161;
        out.extend_from_slice(&eight.to_le_bytes());
    }
    out.truncate(end);
}

/// Bits of a number in an id, behind those of its connection.
const NUMBER_BITS: u32 = 34;

/// Phone numbers of the business.
const PHONES: u64 = 10;

/// One notification in so many is large.
const LARGE_ONE_IN: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn body(seed: u64, round: u32, stream: u32, number: u64) -> Vec<u8> {
        let mut body = b"left over".to_vec();
        let name = Name {
            round,
            stream,
            number,
        };
        Bodies { seed }.make(name, &mut body);
        assert_eq!(name_of(&body), Some(name));
        body
    }

    #[test]
    fn the_same_name_is_the_same_body_and_another_is_not() {
        let one = body(1, 2, 3, 4);
        assert_eq!(one, body(1, 2, 3, 4));
        for other in [
            body(2, 2, 3, 4),
            body(1, 3, 3, 4),
            body(1, 2, 4, 4),
            body(1, 2, 3, 5),
        ] {
            let timestamp = |body: &[u8]| {
                let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
                let value = &body["entry"][0]["changes"][0]["value"];
                let update = value["messages"].get(0).or(value["statuses"].get(0));
                update.expect("one of them")["timestamp"].clone()
            };
            assert_ne!(
                timestamp(&one),
                timestamp(&other),
                "not only the name differs"
            );
        }
    }

    #[test]
    fn they_are_json_of_the_sizes_that_are_promised() {
        let mut large = 0;
        for number in 0..10_000 {
            let body = body(7, 99_999_999, 9999, number);
            let parsed: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let value = &parsed["entry"][0]["changes"][0]["value"];
            let has = |key: &str| value[key][0]["id"].is_string();
            assert!(has("messages") != has("statuses"), "{value}");
            let is_large = (100_000..1_001_000).contains(&body.len());
            assert!(
                is_large || (500..1000).contains(&body.len()),
                "{}",
                body.len()
            );
            large += u32::from(is_large);
        }
        assert!((1..10).contains(&large), "{large}");
    }

    #[test]
    fn no_other_body_has_a_name() {
        let whole = body(1, 2, 3, 4);
        for end in 0..whole.len() {
            let name = name_of(&whole[..end]);
            assert!(name.is_none() || name == name_of(&whole), "{name:?}");
        }
        let mut odd = whole;
        let at = memchr::memmem::find(&odd, b"wamid.").expect("its id");
        assert_eq!(name_of(&odd[..at + 50]), None);
        odd[at + 6] = b'"';
        assert_eq!(name_of(&odd), None);
    }
}
