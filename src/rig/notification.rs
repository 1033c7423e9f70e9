//! Notifications in the platform's wire form: one line, `\/` for a slash, lower-case `\u` escapes; a status of 580 to
//! 720 bytes, a message of 530 and its text.
//!
//! Message ids are built as the platform builds them, in base64 with the party's phone number and 20 hex digits, and
//! it is these digits that say which run and which message: 8 for the run, 12 for the number.

use crate::hex;
use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use std::fmt;
use std::io::Write as _;

/// Writes to a vector, which cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {
        let _ = std::io::Write::write_fmt($out, format_args!($($text)*));
    };
}
pub(crate) use put;

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

/// An envelope of lengths, the party's phone number, the direction, and hex digits.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut id, direction) = ([0; ID], char::from(self.direction as u8));
        let Id {
            party, run, number, ..
        } = self;
        // It has the room for all of it.
        let _ = write!(
            &mut id[..],
            "\x1c\x18\x0b15550{party:06}\x15\x02\0{direction}\x18\x14{run:08X}{number:012X}"
        );
        write!(f, "wamid.{}", Base64Display::new(&id, &STANDARD))
    }
}

impl Id {
    /// The ids in a body, each with what stands behind it. Their parties are not read.
    pub(crate) fn all_in(body: &[u8]) -> impl Iterator<Item = (Id, &[u8])> {
        memmem::find_iter(body, b"wamid.").filter_map(|at| {
            let (text, rest) = body[at + b"wamid.".len()..].split_at_checked(ID_TEXT)?;
            let mut bytes = [0; ID];
            STANDARD.decode_slice(text, &mut bytes).ok()?;
            let (run, number) = bytes[HEX..HEX + 20].split_at(8);
            let id = Id {
                direction: match bytes[DIRECTION] {
                    0x11 => Direction::Outbound,
                    0x12 => Direction::Inbound,
                    _ => return None,
                },
                party: 0,
                run: hex::number(run)?.try_into().ok()?,
                number: hex::number(number)?,
            };
            Some((id, rest))
        })
    }
}

/// All up to the metadata of this phone number, in place of what was there; ten of them belong to one account.
pub(crate) fn begin(phone: u64, out: &mut Vec<u8>) {
    out.clear();
    let account = phone / 10;
    put!(
        out,
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"12000000000{account:04}","#
    );
    put!(
        out,
        r#""changes":[{{"value":{{"messaging_product":"whatsapp","metadata":{{"#
    );
    put!(
        out,
        r#""display_phone_number":"1555010{phone:04}","phone_number_id":"13000000000{phone:04}"}},"#
    );
}

/// The next contact; all of them come before the first status or the message.
pub(crate) fn contact(is_first: bool, party: u64, name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(if is_first { br#""contacts":["# } else { b"," });
    put!(
        out,
        r#"{{"profile":{{"name":"{name}"}},"wa_id":"15550{party:06}","#
    );
    put!(out, r#""user_id":"US.14000000000000{party:06}"}}"#);
}

/// The next status of a message. `status` is `sent`, `delivered` or `read`, `at` in seconds since 1970.
pub(crate) fn status(is_first: bool, id: Id, status: &str, at: u64, row: u64, out: &mut Vec<u8>) {
    let party = id.party;
    out.extend_from_slice(if is_first { br#"],"statuses":["# } else { b"," });
    put!(
        out,
        r#"{{"id":"{id}","status":"{status}","timestamp":"{at:010}","#
    );
    put!(
        out,
        r#""recipient_id":"15550{party:06}","recipient_user_id":"US.14000000000000{party:06}""#
    );
    if status != "read" {
        put!(
            out,
            r#","pricing":{{"billable":true,"pricing_model":"PMP","category":"marketing","type":"regular"}}"#
        );
    }
    put!(
        out,
        r#","biz_opaque_callback_data":"campaign=autumn;row={row:08}"}}"#
    );
}

/// Which status stands behind the id of its message.
pub(crate) fn status_behind(rest: &[u8]) -> Option<&str> {
    let rest = rest.strip_prefix(br#"","status":""#)?;
    let end = memchr::memchr(b'"', rest)?;
    str::from_utf8(&rest[..end]).ok()
}

/// A message up to its content. What it answers is a message of the business, sent by this phone number.
pub(crate) fn message(id: Id, at: u64, answered: Option<(u64, Id)>, out: &mut Vec<u8>) {
    let party = id.party;
    out.extend_from_slice(br#"],"messages":[{"#);
    if let Some((phone, id)) = answered {
        put!(
            out,
            r#""context":{{"from":"1555010{phone:04}","id":"{id}"}},"#
        );
    }
    put!(
        out,
        r#""from":"15550{party:06}","from_user_id":"US.14000000000000{party:06}","#
    );
    put!(out, r#""id":"{id}","timestamp":"{at:010}","#);
}

/// The end behind the statuses or the message.
pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"]},"field":"messages"}]}]}"#);
}

/// Bytes of an id, and characters of it in base64.
const ID: usize = 41;
const ID_TEXT: usize = 56;

/// Where in an id the direction stands, and the hex digits.
const DIRECTION: usize = 17;
const HEX: usize = 20;

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
