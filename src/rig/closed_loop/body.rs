//! The notifications that are sent, each a pure function of the seed and its name: so the reader of the journal
//! makes it again and compares every byte, and nothing of it has to be remembered.
//!
//! They have the platform's form: mostly statuses, some text messages, 400 to 1000 bytes each, and one in
//! [`LARGE_ONE_IN`] with 100 KB to 1 MB. The name stands at a fixed place, as the id of the entry.

use super::super::text::{digits, letters};
use crate::random::Random;
use std::ops::Range;

/// Which notification: its round, its connection and its number on that, all from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) round: u32,
    pub(crate) stream: u32,
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
        out.clear();
        out.extend_from_slice(START);
        digits(out, u64::from(name.round), ROUND);
        digits(out, u64::from(name.stream), STREAM);
        digits(out, name.number, NUMBER);
        out.extend_from_slice(CHANGE);
        if random.below(LARGE_ONE_IN) == 0 {
            message(out, &mut random, 100_000..1_000_000);
        } else if random.below(4) == 0 {
            message(out, &mut random, 0..500);
        } else {
            status(out, &mut random);
        }
    }
}

/// The name in a body; none if it does not begin as all of them do.
pub(crate) fn name_of(body: &[u8]) -> Option<Name> {
    let rest = body.strip_prefix(START)?;
    let (round, rest) = rest.split_at_checked(ROUND)?;
    let (stream, rest) = rest.split_at_checked(STREAM)?;
    let (number, _) = rest.split_at_checked(NUMBER)?;
    let parse = |digits: &[u8]| {
        digits.iter().try_fold(0, |value: u64, digit| {
            digit
                .is_ascii_digit()
                .then(|| value * 10 + u64::from(digit - b'0'))
        })
    };
    Some(Name {
        round: u32::try_from(parse(round)?).ok()?,
        stream: u32::try_from(parse(stream)?).ok()?,
        number: parse(number)?,
    })
}

fn message(out: &mut Vec<u8>, random: &mut Random, text: Range<u64>) {
    out.extend_from_slice(br#""contacts":[{"profile":{"name":""#);
    letters(out, random, 4..24);
    out.extend_from_slice(br#""},"wa_id":"15550"#);
    let party = random.below(1_000_000);
    digits(out, party, 6);
    out.extend_from_slice(br#""}],"messages":[{"from":"15550"#);
    digits(out, party, 6);
    out.extend_from_slice(br#"","id":"wamid."#);
    letters(out, random, 48..56);
    out.extend_from_slice(br#"","timestamp":"17"#);
    digits(out, random.below(100_000_000), 8);
    out.extend_from_slice(br#"","type":"text","text":{"body":""#);
    letters(out, random, text);
    out.extend_from_slice(br#""}}]},"field":"messages"}]}]}"#);
}

fn status(out: &mut Vec<u8>, random: &mut Random) {
    out.extend_from_slice(br#""statuses":[{"id":"wamid."#);
    letters(out, random, 48..56);
    out.extend_from_slice(br#"","status":""#);
    let kinds: [&[u8]; 3] = [b"sent", b"delivered", b"read"];
    let kind = usize::try_from(random.below(3)).unwrap_or_default();
    out.extend_from_slice(kinds[kind]);
    out.extend_from_slice(br#"","timestamp":"17"#);
    digits(out, random.below(100_000_000), 8);
    out.extend_from_slice(br#"","recipient_id":"15550"#);
    digits(out, random.below(1_000_000), 6);
    out.extend_from_slice(br#"","conversation":{"id":""#);
    letters(out, random, 32..33);
    out.extend_from_slice(br#"","origin":{"type":"marketing"}},"pricing":{"billable":true,"#);
    out.extend_from_slice(br#""pricing_model":"PMP","category":"marketing"},"#);
    out.extend_from_slice(br#""biz_opaque_callback_data":""#);
    letters(out, random, 0..300);
    out.extend_from_slice(br#""}]},"field":"messages"}]}]}"#);
}

const START: &[u8] = br#"{"object":"whatsapp_business_account","entry":[{"id":""#;

const CHANGE: &[u8] = br#"","changes":[{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":"106540352242922"},"#;

/// Digits of the parts of a name.
const ROUND: usize = 8;
const STREAM: usize = 4;
const NUMBER: usize = 10;

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
            let start = START.len() + ROUND + STREAM + NUMBER;
            assert_ne!(one[start..], other[start..], "not only the name differs");
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
                is_large || (400..1000).contains(&body.len()),
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
        for end in 0..START.len() + ROUND + STREAM + NUMBER {
            assert_eq!(name_of(&whole[..end]), None);
        }
        let mut odd = whole;
        odd[START.len()] = b'x';
        assert_eq!(name_of(&odd), None);
    }
}
