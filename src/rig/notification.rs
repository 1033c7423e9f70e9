//! Notifications in the platform's wire form: one line, `\/` for a slash, lower-case `\u` escapes; a status of 580 to
//! 720 bytes, a message of 530 and its text.
//!
//! Message ids are built as the platform builds them, in base64 with the party's phone number and 20 hex digits, and
//! it is these digits that say which run and which message: 8 for the run, 12 for the number.

use super::text::digits;
use crate::hex;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use std::io::Write as _;

/// What identifies a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) direction: Direction,
    /// The customer, of six digits.
    pub(crate) party: u64,
    pub(crate) run: u32,
    /// Below 2^48.
    pub(crate) number: u64,
}

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The business's own, of which statuses tell.
    Outbound = 0x11,
    Inbound = 0x12,
}

impl Id {
    /// An envelope of lengths, the party's phone number, the direction, and hex digits.
    fn write(self, out: &mut Vec<u8>) {
        let mut id = [0; ID];
        id[..3].copy_from_slice(&[0x1c, 0x18, 0x0b]);
        let mut rest = &mut id[3..];
        // It has the room for all of it.
        let _ = write!(rest, "15550{:06}", self.party);
        let _ = rest.write_all(&[0x15, 0x02, 0x00, self.direction as u8, 0x18, 0x14]);
        let _ = write!(rest, "{:08X}{:012X}", self.run, self.number);
        let start = out.len();
        out.extend_from_slice(WAMID);
        let text = out.len();
        out.resize(text + ID_TEXT, 0);
        if STANDARD.encode_slice(id, &mut out[text..]).is_err() {
            out.truncate(start);
        }
    }

    fn read(text: &[u8]) -> Option<Id> {
        let mut bytes = [0; ID];
        STANDARD.decode_slice(text, &mut bytes).ok()?;
        let (run, number) = bytes[HEX..HEX + 20].split_at(8);
        let party = str::from_utf8(&bytes[PARTY..PARTY + 6]).ok()?;
        Some(Id {
            direction: match bytes[DIRECTION] {
                0x11 => Direction::Outbound,
                0x12 => Direction::Inbound,
                _ => return None,
            },
            party: party.parse().ok()?,
            run: hex::number(run)?.try_into().ok()?,
            number: hex::number(number)?,
        })
    }

    /// The ids in a body, each with what stands behind it.
    pub(crate) fn all_in(body: &[u8]) -> impl Iterator<Item = (Id, &[u8])> {
        memmem::find_iter(body, WAMID).filter_map(|at| {
            let (id, rest) = body[at + WAMID.len()..].split_at_checked(ID_TEXT)?;
            Some((Id::read(id)?, rest))
        })
    }
}

/// All up to the metadata of this phone number; ten of them belong to one account.
pub(crate) fn begin(phone: u64, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(br#"{"object":"whatsapp_business_account","entry":[{"id":"12000000000"#);
    digits(out, phone / 10, 4);
    out.extend_from_slice(br#"","changes":[{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"1555010"#);
    digits(out, phone, 4);
    out.extend_from_slice(br#"","phone_number_id":"13000000000"#);
    digits(out, phone, 4);
    out.extend_from_slice(br#""},"#);
}

/// The next contact; all of them come before the first status or the message.
pub(crate) fn contact(is_first: bool, party: u64, name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(if is_first { CONTACTS } else { b"," });
    out.extend_from_slice(br#"{"profile":{"name":""#);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(br#""},"wa_id":"15550"#);
    digits(out, party, 6);
    out.extend_from_slice(br#"","user_id":"US.14000000000000"#);
    digits(out, party, 6);
    out.extend_from_slice(b"\"}");
}

/// The next status of a message. `status` is `sent`, `delivered` or `read`, `at` in seconds since 1970.
pub(crate) fn status(is_first: bool, id: Id, status: &str, at: u64, row: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(if is_first { STATUSES } else { b"," });
    out.extend_from_slice(br#"{"id":""#);
    id.write(out);
    out.extend_from_slice(STATUS);
    out.extend_from_slice(status.as_bytes());
    out.extend_from_slice(br#"","timestamp":""#);
    digits(out, at, 10);
    out.extend_from_slice(br#"","recipient_id":"15550"#);
    digits(out, id.party, 6);
    out.extend_from_slice(br#"","recipient_user_id":"US.14000000000000"#);
    digits(out, id.party, 6);
    out.push(b'"');
    if status != "read" {
        out.extend_from_slice(br#","pricing":{"billable":true,"pricing_model":"PMP","category":"marketing","type":"regular"}"#);
    }
    out.extend_from_slice(br#","biz_opaque_callback_data":"campaign=autumn;row="#);
    digits(out, row, 8);
    out.extend_from_slice(b"\"}");
}

/// A message up to its content, which begins inside of the JSON text before it: `","text":...`. What it answers is a
/// message of the business and its phone number.
pub(crate) fn message(id: Id, at: u64, answered: Option<(u64, Id)>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"],"messages":[{"#);
    if let Some((phone, id)) = answered {
        out.extend_from_slice(br#""context":{"from":"1555010"#);
        digits(out, phone, 4);
        out.extend_from_slice(br#"","id":""#);
        id.write(out);
        out.extend_from_slice(br#""},"#);
    }
    out.extend_from_slice(br#""from":"15550"#);
    digits(out, id.party, 6);
    out.extend_from_slice(br#"","from_user_id":"US.14000000000000"#);
    digits(out, id.party, 6);
    out.extend_from_slice(br#"","id":""#);
    id.write(out);
    out.extend_from_slice(br#"","timestamp":""#);
    digits(out, at, 10);
}

/// The end of the statuses or of the message.
pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"]},"field":"messages"}]}]}"#);
}

/// Which status stands behind the id of its message.
pub(crate) fn status_behind<'s>(rest: &[u8], all: &[&'s str]) -> Option<&'s str> {
    let rest = rest.strip_prefix(STATUS)?;
    let mut all = all.iter();
    all.find(|status| rest.starts_with(status.as_bytes()))
        .copied()
}

const WAMID: &[u8] = b"wamid.";

/// Bytes of an id, and characters of it in base64.
const ID: usize = 41;
const ID_TEXT: usize = 56;

/// Where in an id the party's last six digits stand, the direction, and the hex digits.
const PARTY: usize = 8;
const DIRECTION: usize = 17;
const HEX: usize = 20;

const CONTACTS: &[u8] = br#""contacts":["#;
const STATUSES: &[u8] = br#"],"statuses":["#;
const STATUS: &[u8] = br#"","status":""#;

/// Customers. Each has a conversation with each phone number of the business that writes to them.
pub(crate) const PARTIES: u64 = 1_000_000;

/// As customers call themselves.
pub(crate) const NAMES: &[&str] = &[
    "Ana Sample",
    r"Jos\u00e9 Exemplo",
    r"Zo\u00eb Beispiel",
    r"\u0905\u0928\u093e",
    r"Mo \ud83c\udf3b",
    "Kim",
];
