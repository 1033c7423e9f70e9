//! The key of an event, its `id`: equal for two deliveries of one update, and for nothing else.
//!
//! A key is a list of components with colons between them, all in printable ASCII. It begins with the
//! phone number id, or the WABA where there is none, and the field. `-` stands for what is not there.
//!
//! | update | then |
//! |---|---|
//! | message, echo | its id |
//! | message of a history sync | its id, its type: the platform first sends a placeholder under the same id |
//! | status | message id, status, participant if it has one |
//! | status of a payment | message id, `payment`, transaction, its updated time, status, refunds |
//! | call and its statuses | call id, event or status |
//! | user preference | person, category, value, timestamp |
//! | user action | its click id |
//! | group, contact sync, automatic event, whole change | time of the entry, hash of the update |
//! | none of the ids above is there | hash of the body, position |
//!
//! The last but one begins with the WABA. On an endpoint for other senders the last one ends with the sequence: they
//! may mean the same body anew. 360dialog's partner envelope is `360dialog:<id>`. An update of the
//! dashboard's test button ends in `test:<sequence>` and so is never a duplicate.
//!
//! Hashes are SHA-256 of the text as it came, cut to 128 bits, in hexadecimal.

use super::super::data_member::Array;
use super::super::events::Text;
use super::super::json::document::Document;
use super::super::json::name::Name;
use super::update::Update;
use crate::hex;
use aws_lc_rs::digest::{SHA256, digest};

/// Longest component in bytes that stands in a key, a source or a subject as it is; a longer one is
/// replaced by its hash.
pub const COMPONENT_MAX: usize = 256;

/// A key under construction.
pub(in crate::event) struct Key<'o> {
    out: &'o mut String,
    start: usize,
}

impl<'o> Key<'o> {
    /// Begins a key with the number or account that it belongs to, and the field.
    pub(in crate::event) fn begin(
        out: &'o mut String,
        owner: Option<&str>,
        field: Option<&str>,
    ) -> Self {
        let start = out.len();
        let mut key = Key { out, start };
        key.part(owner.unwrap_or("-"));
        key.part(field.unwrap_or("-"));
        key
    }

    /// Begins a key as one before it: `begun` is what that had [so far](Key::so_far).
    pub(in crate::event) fn again(out: &'o mut String, begun: Text) -> Self {
        let start = out.len();
        out.extend_from_within(begun.range());
        Key { out, start }
    }

    /// The place of what it consists of so far.
    pub(in crate::event) fn so_far(&self) -> Text {
        Text::since(self.start, self.out.len())
    }

    /// Adds a component.
    pub(in crate::event) fn part(&mut self, text: &str) {
        if self.out.len() > self.start {
            self.out.push(':');
        }
        push_component(self.out, text);
    }

    /// Adds the hash of a text.
    pub(in crate::event) fn hash(&mut self, text: &[u8]) {
        self.out.push_str(":sha256-");
        push_hash(self.out, hash(text));
    }

    /// Adds the hash of the body and the position in it: the key of what has no id.
    pub(in crate::event) fn position(&mut self, body: [u8; 16], index: u32) {
        self.out.push_str(":body-");
        push_hash(self.out, body);
        self.number(u64::from(index));
    }

    /// Marks the key as one of the dashboard's test button.
    pub(in crate::event) fn test(&mut self, sequence: u64) {
        self.part("test");
        self.number(sequence);
    }

    /// Adds a number.
    pub(in crate::event) fn number(&mut self, number: u64) {
        use std::fmt::Write;
        let _ = write!(self.out, ":{number}"); // a String takes everything
    }

    /// Adds what tells an element of `array` from others; false if it carries nothing that does.
    pub(in crate::event) fn identify(
        &mut self,
        document: &Document<'_>,
        array: Array,
        update: &Update<'_>,
        history: bool,
    ) -> bool {
        match array {
            Array::Messages | Array::MessageEchoes => {
                let Some(id) = update.text(Name::Id) else {
                    return false;
                };
                self.part(id);
                if history {
                    self.part(update.kind().unwrap_or("-"));
                }
            }
            Array::Statuses => {
                let (Some(id), Some(status)) = (update.text(Name::Id), update.text(Name::Status))
                else {
                    return false;
                };
                self.part(id);
                if update.kind() == Some("payment") {
                    self.payment(document, update);
                }
                self.part(status);
                if let Some(participant) = update
                    .participant()
                    .or_else(|| update.text(Name::RecipientParticipantUserId))
                {
                    self.part(participant);
                }
            }
            Array::Calls => {
                let (Some(id), Some(event)) = (update.text(Name::Id), update.of_call()) else {
                    return false;
                };
                self.part(id);
                self.part(event);
            }
            Array::UserPreferences => {
                let (Some(person), Some(timestamp)) = (
                    update
                        .text(Name::WaId)
                        .or_else(|| update.text(Name::UserId)),
                    update.text(Name::Timestamp),
                ) else {
                    return false;
                };
                self.part(person);
                self.part(update.text(Name::Category).unwrap_or("-"));
                self.part(update.text(Name::Value).unwrap_or("-"));
                self.part(timestamp);
            }
            Array::UserActions => {
                let click = update
                    .action_data()
                    .and_then(|at| document.text(at, Name::ClickId));
                let Some(click) = click else { return false };
                self.part(click);
            }
            Array::Errors | Array::StateSync | Array::Groups | Array::AutomaticEvents => {
                return false;
            }
        }
        true
    }

    /// One message id has many payment statuses: each try, and each refund, is one of its own.
    fn payment(&mut self, document: &Document<'_>, update: &Update<'_>) {
        self.part("payment");
        let Some(payment) = update.member(Name::Payment) else {
            return;
        };
        let transaction = document.member(payment, Name::Transaction);
        let text = |name| {
            transaction
                .and_then(|at| document.text(at, name))
                .unwrap_or("-")
        };
        self.part(text(Name::Id));
        self.part(text(Name::UpdatedTimestamp));
        if let Some(refunds) = document.member(payment, Name::Refunds) {
            for refund in document.elements(refunds) {
                self.part(document.text(refund, Name::Id).unwrap_or("-"));
            }
        }
    }
}

/// Appends a component: what could be taken for something else is written as `%XX`.
pub(in crate::event) fn push_component(out: &mut String, text: &str) {
    if text.len() <= COMPONENT_MAX && are_plain(text.as_bytes()) {
        out.push_str(text);
    } else {
        push_odd_component(out, text);
    }
}

/// One that cannot stand as it is.
#[inline(never)]
fn push_odd_component(out: &mut String, text: &str) {
    if text.len() > COMPONENT_MAX {
        out.push_str("sha256-");
        push_hash(out, hash(text.as_bytes()));
        return;
    }
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            hex::push(out, byte);
        }
    }
}

/// SHA-256, cut to 128 bits.
pub(in crate::event) fn hash(text: &[u8]) -> [u8; 16] {
    let digest = digest(&SHA256, text);
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest.as_ref()[..16]);
    hash
}

/// A 64-bit fingerprint that is the same in every version and on every machine, for tables that confirm a
/// hit by the text itself. It does not withstand someone who looks for collisions.
///
/// Each eight bytes, little-endian and the last ones filled up with zeros, are mixed in with a 128-bit product
/// whose halves are folded together; the length is mixed in last.
pub fn fingerprint(text: &[u8]) -> u64 {
    let mut state = SEEDS[0];
    let mut rest = text;
    // Most texts are short: two at once, and no more.
    while let Some((chunks, behind)) = rest.split_first_chunk::<16>() {
        for chunk in chunks.as_chunks::<8>().0 {
            state = fold(state ^ u64::from_le_bytes(*chunk), SEEDS[1]);
        }
        rest = behind;
    }
    if let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        state = fold(state ^ u64::from_le_bytes(*chunk), SEEDS[1]);
        rest = behind;
    }
    if !rest.is_empty() {
        let last = match text.last_chunk() {
            // In one load, without what the chunk before it has of it.
            Some(last) => u64::from_le_bytes(*last) >> ((8 - rest.len()) * 8),
            None => rest
                .iter()
                .rev()
                .fold(0, |last, byte| last << 8 | u64::from(*byte)),
        };
        state = fold(state ^ last, SEEDS[1]);
    }
    fold(state ^ text.len() as u64, SEEDS[2])
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of the product are wanted"
)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

fn push_hash(out: &mut String, hash: [u8; 16]) {
    for byte in hash {
        hex::push(out, byte);
    }
}

/// Digits of the fraction of pi.
const SEEDS: [u64; 3] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7345,
    0xa409_3822_299f_31d1,
];

/// What stands in a component as it is. With `%XX` for the rest, no two lists of components make one key, and
/// nothing needs an escape in JSON or in the path of a URI.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'*'..=b'9' | b'@'..=b'Z' | b'a'..=b'z' | b'=' | b'_')
}

/// True if each byte is plain. The last block of several overlaps the one before.
fn are_plain(text: &[u8]) -> bool {
    let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) else {
        return text.iter().all(|&byte| is_plain(byte));
    };
    let mut blocks = text.as_chunks().0.iter();
    let mut ends = [0; 16];
    ends[..8].copy_from_slice(first);
    ends[8..].copy_from_slice(last);
    is_plain_block(text.last_chunk().unwrap_or(&ends)) && blocks.all(is_plain_block)
}

/// All at once, in a register that holds sixteen.
#[expect(clippy::needless_bitwise_bool, reason = "without a branch")]
fn is_plain_block(block: &[u8; 16]) -> bool {
    let within = |byte: u8, first: u8, last: u8| byte.wrapping_sub(first) <= last - first;
    block.iter().fold(true, |plain, &byte| {
        plain
            & (within(byte, b'*', b'9')
                | within(byte, b'@', b'Z')
                | within(byte, b'a', b'z')
                | (byte == b'=')
                | (byte == b'_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fingerprint_stays_what_it_is() {
        assert_eq!(fingerprint(b""), 0xbf65_65d7_7ed0_4d03);
        assert_eq!(
            fingerprint(b"106540000000001:messages:wamid.A"),
            0xfed2_b32b_508b_d6a0
        );
    }

    /// As its documentation says it, without shortcuts.
    #[test]
    fn the_fingerprint_fills_the_last_bytes_up_with_zeros() {
        let text: Vec<u8> = (1..=40).map(|it: u8| it.wrapping_mul(0x97)).collect();
        for text in (0..=text.len()).map(|len| &text[..len]) {
            let state = text.chunks(8).fold(SEEDS[0], |state, chunk| {
                let mut filled = [0; 8];
                filled[..chunk.len()].copy_from_slice(chunk);
                fold(state ^ u64::from_le_bytes(filled), SEEDS[1])
            });
            let right = fold(state ^ text.len() as u64, SEEDS[2]);
            assert_eq!(fingerprint(text), right, "{} bytes", text.len());
        }
    }

    #[test]
    fn a_long_component_is_its_hash() {
        let mut key = String::new();
        push_component(&mut key, &"x".repeat(COMPONENT_MAX));
        assert_eq!(key, "x".repeat(COMPONENT_MAX));
        key.clear();
        push_component(&mut key, &"a".repeat(1_000_000));
        assert_eq!(key, "sha256-cdc76e5c9914fb9281a1c7e284d73e67"); // FIPS 180-2, B.3
    }

    fn joined(parts: &[String]) -> String {
        let mut out = String::new();
        let mut key = Key {
            out: &mut out,
            start: 0,
        };
        for part in parts {
            key.part(part);
        }
        out
    }

    proptest! {
        #[test]
        fn different_lists_make_different_keys(
            a in prop::collection::vec("[:%a-]{1,3}|\\PC{1,4}", 1..4),
            b in prop::collection::vec("[:%a-]{1,3}|\\PC{1,4}", 1..4),
        ) {
            let (key_a, key_b) = (joined(&a), joined(&b));
            prop_assert_eq!(a == b, key_a == key_b);
            prop_assert!(key_a.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
