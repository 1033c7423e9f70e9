//! One stored notification inside a frame: the raw body, and the headers that prove it.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | length of the whole record |
//! | 4 | 2 | endpoint number, see the manifest |
//! | 6 | 2 | flags: bit 0 = was answered before it was synced (`ack = "received"`); bit 1 = from another sender than the platform; bits 2 and 3 = 0; bits 4 to 15 = number of the form by which it is read, 0 = of before there were forms |
//! | 8 | 8 | time of arrival, microseconds since 1970 |
//! | 16 | 4 | length of the kept headers |
//! | 20 | 4 | length of the body |
//! | 24 | | kept headers, each: name length (2), value length (2), name, value |
//! | | | the body, byte for byte |

use crate::disk::block::in_memory;

/// Bytes of a record before its headers and body.
pub const FIXED_LEN: usize = 24;

/// [`Record::flags`] bit: answered when the batch held it, not when it was durable.
pub const FLAG_RECEIVED: u16 = 1;

/// [`Record::flags`] bit: from an endpoint for other senders than the platform, who may mean the same body anew.
pub const FLAG_FOREIGN: u16 = 2;

/// The number of no form, in a record that could not be given one.
pub const NO_FORM: u16 = 0xfff;

/// The number in [`Record::flags`] of the form by which the body is read; 0 if it was stored before there were any.
pub fn form(flags: u16) -> u16 {
    flags >> FORM_SHIFT
}

/// The flags of a record that is read by this form, which is at most [`NO_FORM`].
pub fn with_form(flags: u16, form: u16) -> u16 {
    flags | form.min(NO_FORM) << FORM_SHIFT
}

const FORM_SHIFT: u32 = 4;

/// One stored notification, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Number that the manifest gives to the endpoint's path.
    pub endpoint: u16,
    /// See [`FLAG_RECEIVED`], [`FLAG_FOREIGN`] and [`form`].
    pub flags: u16,
    /// Time of arrival in microseconds since 1970.
    pub received_at: u64,
    /// The kept headers in their encoded form; see [`Record::headers`].
    pub raw_headers: &'a [u8],
    /// The body exactly as it came, transfer coding removed.
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The kept headers as (name, value), in the order of the request.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.raw_headers;
        std::iter::from_fn(move || {
            let (lengths, after) = rest.split_at_checked(4)?;
            let &[n0, n1, v0, v1] = lengths else {
                return None;
            };
            let name_len = usize::from(u16::from_le_bytes([n0, n1]));
            let value_len = usize::from(u16::from_le_bytes([v0, v1]));
            let (name, after) = after.split_at_checked(name_len)?;
            let (value, after) = after.split_at_checked(value_len)?;
            rest = after;
            Some((name, value))
        })
    }

    /// Takes one record off the front; `None` when the bytes do not hold a consistent one.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "constant places, and lengths that add up"
    )]
    pub fn decode(bytes: &'a [u8]) -> Option<(Record<'a>, &'a [u8])> {
        let (fixed, _) = bytes.split_first_chunk::<FIXED_LEN>()?;
        let field4 = |at: usize| {
            let field = u32::from_le_bytes([0, 1, 2, 3].map(|i| fixed[at + i]));
            in_memory(u64::from(field))
        };
        let (headers_len, body_len) = (field4(16), field4(20));
        if field4(0) != FIXED_LEN.checked_add(headers_len)?.checked_add(body_len)? {
            return None;
        }
        let (record, rest) = bytes.split_at_checked(field4(0))?;
        let (raw_headers, body) = record[FIXED_LEN..].split_at(headers_len);
        let received_at = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| fixed[8 + i]));
        let record = Record {
            endpoint: u16::from_le_bytes([fixed[4], fixed[5]]),
            flags: u16::from_le_bytes([fixed[6], fixed[7]]),
            received_at,
            raw_headers,
            body,
        };
        Some((record, rest))
    }
}

/// Appends one record. `headers` that are longer than the format can say (64 KiB) are left out; the
/// head limit of the receiver keeps them from getting here.
///
/// # Panics
/// When the record is longer than 4 GiB, which no configurable limit allows.
#[expect(
    clippy::indexing_slicing,
    reason = "constant places in what was just appended"
)]
pub fn encode<'h>(
    out: &mut Vec<u8>,
    endpoint: u16,
    flags: u16,
    received_at: u64,
    headers: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    body: &[u8],
) {
    let start = out.len();
    out.extend_from_slice(&[0; FIXED_LEN]);
    for (name, value) in headers {
        let (Ok(name_len), Ok(value_len)) = (u16::try_from(name.len()), u16::try_from(value.len()))
        else {
            continue;
        };
        out.extend_from_slice(&name_len.to_le_bytes());
        out.extend_from_slice(&value_len.to_le_bytes());
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
    let headers_len = out.len() - start - FIXED_LEN;
    out.extend_from_slice(body);
    let length = |len: usize| {
        u32::try_from(len)
            .expect("limits keep records below 4 GiB")
            .to_le_bytes()
    };
    let total = length(out.len() - start);
    let fixed = &mut out[start..start + FIXED_LEN];
    fixed[0..4].copy_from_slice(&total);
    fixed[4..6].copy_from_slice(&endpoint.to_le_bytes());
    fixed[6..8].copy_from_slice(&flags.to_le_bytes());
    fixed[8..16].copy_from_slice(&received_at.to_le_bytes());
    fixed[16..20].copy_from_slice(&length(headers_len));
    fixed[20..24].copy_from_slice(&length(body.len()));
}
