//! One entry of the log of keys.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | time of arrival, microseconds since 1970 |
//! | 8 | 4 | length of the text |
//! | 12 | 1 | kind: 1 a key, 2 a key that an older entry has too, 3 the two names of a party |
//! | 13 | 1 | bit 0: the endpoint is for other senders than the platform |
//! | 14 | 2 | number of the endpoint in the journal; 0 in what older versions have written |
//! | 16 | | the text: a key, or two hashes of 8 bytes each; then zeros up to a multiple of 8 |
//!
//! An entry without an endpoint stands for every one, until its generation goes.
//!
//! All integers are little-endian. An entry has no checksum of its own: the checkpoint has one of each whole file.

use crate::event::Event;

/// One entry, borrowed from where it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'t> {
    pub(super) received_at: u64,
    /// Number of the endpoint, from 1 on; 0 where it was not written.
    pub(super) endpoint: u16,
    /// The endpoint is for other senders than the platform.
    pub(super) foreign: bool,
    pub(super) text: Text<'t>,
}

/// What it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text<'t> {
    /// A key that no older entry has, of those that were remembered then.
    Key(&'t [u8]),
    /// A key that takes the place of an older entry.
    KeyAgain(&'t [u8]),
    /// User id and phone number of a party, as hashes.
    Names(u64, u64),
}

impl<'t> Entry<'t> {
    /// What is remembered of an event.
    #[inline]
    pub(super) fn of(event: Event<'_>, text: Text<'t>) -> Entry<'t> {
        Entry {
            received_at: event.received_at(),
            endpoint: event.endpoint(),
            foreign: event.is_foreign(),
            text,
        }
    }

    /// Appends the entry to what ends at a multiple of [`ALIGNMENT`].
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "for each event, of a kind that is known"
    )]
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, key) = match self.text {
            Text::Key(key) => (1, key),
            Text::KeyAgain(key) => (2, key),
            Text::Names(user_id, phone) => {
                let [at, what] = self.head(3, 16);
                let words = [at, what, user_id, phone];
                return out.extend_from_slice(words.map(u64::to_le_bytes).as_flattened());
            }
        };
        let head = self.head(kind, key.len()).map(u64::to_le_bytes);
        out.reserve(HEAD_LEN + key.len() + ALIGNMENT);
        out.extend_from_slice(head.as_flattened());
        out.extend_from_slice(key);
        let end = (out.len() + (ALIGNMENT - 1)) & !(ALIGNMENT - 1);
        out.extend_from_slice(&[0; ALIGNMENT]);
        out.truncate(end);
    }

    /// What stands before the text, as two words.
    fn head(&self, kind: u8, length: usize) -> [u64; 2] {
        let length = u32::try_from(length).expect("the texts of a batch stay below 4 GiB");
        let what = u64::from(length)
            | u64::from(kind) << 32
            | u64::from(self.foreign) << 40
            | u64::from(self.endpoint) << 48;
        [self.received_at, what]
    }

    /// Takes one entry off the front and gives what is behind it; `None` when there is no whole one.
    pub(super) fn decode(bytes: &'t [u8]) -> Option<(Entry<'t>, &'t [u8])> {
        let (received_at, rest) = bytes.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (text, rest) = rest.split_at_checked(length)?;
        let padding = length.next_multiple_of(ALIGNMENT) - length;
        let rest = rest.get(padding..)?;
        let [kind, flags, low, high] = *kind;
        let text = match kind {
            1 => Text::Key(text),
            2 => Text::KeyAgain(text),
            3 => {
                let (user_id, phone) = text.split_first_chunk::<8>()?;
                let phone = phone.first_chunk::<8>()?;
                Text::Names(u64::from_le_bytes(*user_id), u64::from_le_bytes(*phone))
            }
            _ => return None,
        };
        let entry = Entry {
            received_at: u64::from_le_bytes(*received_at),
            endpoint: u16::from_le_bytes([low, high]),
            foreign: flags & 1 != 0,
            text,
        };
        Some((entry, rest))
    }
}

/// Bytes before the text.
pub(super) const HEAD_LEN: usize = 16;

/// Entries begin at multiples of this many bytes.
pub(super) const ALIGNMENT: usize = 8;

#[cfg(test)]
mod tests {
    use super::{Entry, Text};

    #[test]
    fn what_is_written_is_read_and_nothing_less() {
        let texts = [
            Text::Key(b"106:messages:wamid.A"),
            Text::KeyAgain(b""),
            Text::Names(7, u64::MAX),
        ];
        let entries = texts.map(|text| Entry {
            received_at: 1 << 50,
            endpoint: 0x1234,
            foreign: matches!(text, Text::KeyAgain(_)),
            text,
        });
        let mut bytes = Vec::new();
        for entry in &entries {
            entry.encode(&mut bytes);
        }
        let mut rest = bytes.as_slice();
        for entry in &entries {
            let (read, behind) = Entry::decode(rest).unwrap();
            assert_eq!(read, *entry);
            let len = rest.len() - behind.len();
            assert!((0..len).all(|cut| Entry::decode(&rest[..cut]).is_none()));
            rest = behind;
        }
        assert!(rest.is_empty());
    }

    /// Before there was an endpoint in an entry, there were zeros.
    #[test]
    fn what_an_older_version_has_written_has_no_endpoint() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&7_u64.to_le_bytes());
        bytes.extend_from_slice(&[3, 0, 0, 0, 1, 0, 0, 0]);
        bytes.extend_from_slice(b"key\0\0\0\0\0");
        let (entry, rest) = Entry::decode(&bytes).unwrap();
        let right = Entry {
            received_at: 7,
            endpoint: 0,
            foreign: false,
            text: Text::Key(b"key"),
        };
        assert_eq!((entry, rest), (right, &[][..]));
    }
}
