//! The notifications, each a pure function of its name: so they are made again to look for them in a journal, and
//! none is kept.
//!
//! They have the platform's wire form: one line, `\/` for a slash, lower-case `\u` escapes; a status of 580 to 700
//! bytes, a message of 530 to 1000. Message ids are built as the platform builds them, in base64 with the party's
//! phone number and 20 hex digits, and it is these digits that say which run and which message: 8 for the run, 12 for
//! the number.

use super::super::text::digits;
use super::plan::{Name, Plan, Reply, Status, Update};
use crate::hex;
use crate::random::Random;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use std::io::Write as _;

/// Makes the notifications of one run.
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    pub(crate) plan: Plan,
    /// Of the seed, in every id.
    run: u32,
    /// Seconds since 1970.
    start: u64,
}

impl Bodies {
    /// Those of a run that begins at `start`, in seconds since 1970.
    pub(crate) fn new(plan: Plan, start: u64) -> Bodies {
        let [a, b, c, d, ..] = Random(plan.seed).next().to_le_bytes();
        let run = u32::from_le_bytes([a, b, c, d]);
        Bodies { plan, run, start }
    }

    /// Puts the notification of this name in `out`, in place of what was there.
    pub(crate) fn make(&self, name: Name, out: &mut Vec<u8>) {
        out.clear();
        match name {
            Name::Statuses(number) => self.statuses(number, out),
            Name::Message(number) => self.message(self.plan.reply(number), out),
        }
        out.extend_from_slice(END);
    }

    /// The name of the notification that this is, or was; `None` for one of anybody else.
    pub(crate) fn name_of(&self, body: &[u8]) -> Option<Name> {
        // A quick reply quotes the id of the business's message before it has its own.
        memmem::find_iter(body, WAMID).find_map(|at| {
            let (id, rest) = body[at + WAMID.len()..].split_at_checked(ID_TEXT)?;
            let mut bytes = [0; ID];
            STANDARD.decode_slice(id, &mut bytes).ok()?;
            let (run, number) = bytes[HEX..HEX + 20].split_at(8);
            if hex::number(run)? != u64::from(self.run) {
                return None;
            }
            let number = hex::number(number)?;
            if bytes[DIRECTION] == INBOUND {
                return Some(self.plan.message_of(number));
            }
            let rest = rest.strip_prefix(STATUS)?;
            let status = [Status::Sent, Status::Delivered, Status::Read]
                .into_iter()
                .find(|status| rest.starts_with(word(*status)))?;
            self.plan.statuses_of(number, status)
        })
    }

    fn statuses(&self, number: u64, out: &mut Vec<u8>) {
        begin(number % self.plan.numbers, out);
        for (index, update) in (0..).zip(self.plan.updates(number)) {
            out.extend_from_slice(if index == 0 { CONTACTS } else { b"," });
            self.contact(self.party(update.message), out);
        }
        for (index, update) in (0..).zip(self.plan.updates(number)) {
            out.extend_from_slice(if index == 0 { STATUSES } else { b"," });
            self.status(update, out);
        }
        out.push(b']');
    }

    fn status(&self, update: Update, out: &mut Vec<u8>) {
        let party = self.party(update.message);
        out.extend_from_slice(br#"{"id":""#);
        self.id(OUTBOUND, party, update.message, out);
        out.extend_from_slice(STATUS);
        out.extend_from_slice(word(update.status));
        out.extend_from_slice(br#"","timestamp":""#);
        digits(out, self.start + update.at, 10);
        out.extend_from_slice(br#"","recipient_id":"15550"#);
        digits(out, party, 6);
        out.extend_from_slice(br#"","recipient_user_id":"US.14000000000000"#);
        digits(out, party, 6);
        out.push(b'"');
        if update.status != Status::Read {
            out.extend_from_slice(br#","pricing":{"billable":true,"pricing_model":"PMP","category":"marketing","type":"regular"}"#);
        }
        out.extend_from_slice(br#","biz_opaque_callback_data":"campaign=autumn;row="#);
        digits(out, update.message, 8);
        out.extend_from_slice(b"\"}");
    }

    fn message(&self, reply: Reply, out: &mut Vec<u8>) {
        let (phone, party) = (reply.to % self.plan.numbers, self.party(reply.to));
        let mut random = self.plan.draw(TEXT, reply.number);
        begin(phone, out);
        out.extend_from_slice(CONTACTS);
        self.contact(party, out);
        out.extend_from_slice(br#"],"messages":[{"#);
        let kind = random.below(10);
        if kind < 2 {
            out.extend_from_slice(br#""context":{"from":"1555010"#);
            digits(out, phone, 4);
            out.extend_from_slice(br#"","id":""#);
            self.id(OUTBOUND, party, reply.to, out);
            out.extend_from_slice(br#""},"#);
        }
        out.extend_from_slice(br#""from":"15550"#);
        digits(out, party, 6);
        out.extend_from_slice(br#"","from_user_id":"US.14000000000000"#);
        digits(out, party, 6);
        out.extend_from_slice(br#"","id":""#);
        self.id(INBOUND, party, reply.number, out);
        out.extend_from_slice(br#"","timestamp":""#);
        digits(out, self.start + reply.at, 10);
        match kind {
            0 | 1 => {
                out.extend_from_slice(br#"","button":{"payload":"TRACK-"#);
                digits(out, random.below(10_000), 4);
                out.extend_from_slice(br#"","text":"Track my order"},"type":"button"}]"#);
            }
            2 => {
                let media = random.below(9_000_000_000_000_000) + 1_000_000_000_000_000;
                out.extend_from_slice(IMAGE_BEFORE_ID);
                digits(out, media, 16);
                out.extend_from_slice(IMAGE_BEFORE_MID);
                digits(out, media, 16);
                out.extend_from_slice(b"&ext=");
                digits(out, self.start + reply.at + 300, 10);
                out.extend_from_slice(br#"&hash=simulated"},"type":"image"}]"#);
            }
            _ => {
                out.extend_from_slice(br#"","text":{"body":""#);
                out.extend_from_slice(random.among(TEXTS).as_bytes());
                out.extend_from_slice(br#""},"type":"text"}]"#);
            }
        }
    }

    fn contact(&self, party: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"profile":{"name":""#);
        out.extend_from_slice(self.plan.draw(NAME, party).among(NAMES).as_bytes());
        out.extend_from_slice(br#""},"wa_id":"15550"#);
        digits(out, party, 6);
        out.extend_from_slice(br#"","user_id":"US.14000000000000"#);
        digits(out, party, 6);
        out.extend_from_slice(b"\"}");
    }

    /// To whom this message went.
    fn party(&self, message: u64) -> u64 {
        self.plan.draw(PARTY, message).below(PARTIES)
    }

    /// What identifies a message: an envelope of lengths, the party's phone number, the direction, and hex digits.
    fn id(&self, direction: u8, party: u64, number: u64, out: &mut Vec<u8>) {
        let mut id = [0; ID];
        id[..3].copy_from_slice(&[0x1c, 0x18, 0x0b]);
        let mut rest = &mut id[3..];
        // It has the room for all of it.
        let _ = write!(rest, "15550{party:06}");
        let _ = rest.write_all(&[0x15, 0x02, 0x00, direction, 0x18, 0x14]);
        let _ = write!(rest, "{:08X}{number:012X}", self.run);
        let start = out.len();
        out.extend_from_slice(WAMID);
        let text = out.len();
        out.resize(text + ID_TEXT, 0);
        if STANDARD.encode_slice(id, &mut out[text..]).is_err() {
            out.truncate(start);
        }
    }
}

/// All up to the metadata of this phone number; ten of them belong to one account.
fn begin(phone: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"object":"whatsapp_business_account","entry":[{"id":"12000000000"#);
    digits(out, phone / 10, 4);
    out.extend_from_slice(br#"","changes":[{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"1555010"#);
    digits(out, phone, 4);
    out.extend_from_slice(br#"","phone_number_id":"13000000000"#);
    digits(out, phone, 4);
    out.extend_from_slice(br#""},"#);
}

fn word(status: Status) -> &'static [u8] {
    match status {
        Status::Sent => b"sent",
        Status::Delivered => b"delivered",
        Status::Read => b"read",
    }
}

const WAMID: &[u8] = b"wamid.";

/// Bytes of an id, and characters of it in base64.
const ID: usize = 41;
const ID_TEXT: usize = 56;

/// Where the direction stands in an id, and where the hex digits begin.
const DIRECTION: usize = 17;
const HEX: usize = 20;

const OUTBOUND: u8 = 0x11;
const INBOUND: u8 = 0x12;

/// Customers. Each has a conversation with each phone number of the business that writes to them.
const PARTIES: u64 = 1_000_000;

const CONTACTS: &[u8] = br#""contacts":["#;
const STATUSES: &[u8] = br#"],"statuses":["#;
const STATUS: &[u8] = br#"","status":""#;
const END: &[u8] = br#"},"field":"messages"}]}]}"#;

const IMAGE_BEFORE_ID: &[u8] = br#"","image":{"caption":"This one?","mime_type":"image\/jpeg","sha256":"q3Zs5b1m8M2yqkT7o0x9yJq0dYb5sHc1Wf4nR6uEoXg=","id":""#;
const IMAGE_BEFORE_MID: &[u8] =
    br#"","url":"https:\/\/lookaside.fbsbx.com\/whatsapp_business\/attachments\/?mid="#;

/// What is drawn, so that one drawing does not repeat the other.
const TEXT: u64 = 4 << 60;
const NAME: u64 = 5 << 60;
const PARTY: u64 = 6 << 60;

const NAMES: &[&str] = &[
    "Ana Sample",
    r"Jos\u00e9 Exemplo",
    r"Zo\u00eb Beispiel",
    r"\u0905\u0928\u093e",
    r"Mo \ud83c\udf3b",
    "Kim",
];

const TEXTS: &[&str] = &[
    "ok",
    "Thanks!",
    r"\ud83d\udc4d\ud83c\udffd",
    r"Hello, is the blue one still available? See https:\/\/shop.example\/blue",
    r"Ol\u00e1! J\u00e1 chegou? \ud83c\udf89 \u003ca\u00e7\u00e3o> 100\u0025 \u0040 loja \u2013 \u0915\u094d\u092f\u093e?",
    r"\u00bfCu\u00e1nto cuesta el env\u00edo a Espa\u00f1a? Quiero dos, uno azul y otro \u201crojo\u201d.",
    r"Wann kommt das P\u00e4ckchen? Gr\u00fc\u00dfe",
    "Where is my order? It should have come on Monday, and nobody answers the phone. I have asked twice now, and \
     each time they wrote that it is on its way. Please call me back today between two and four, or cancel it.",
    r"first line\nsecond line\n\t\u2022 a list\n\t\u2022 of \\backslashes\\ and \u0022quotes\u0022",
];

#[cfg(test)]
mod tests {
    use super::super::plan::Plan;
    use super::*;
    use std::collections::BTreeSet;

    fn bodies(batch: u64, seed: u64) -> Bodies {
        let plan = Plan {
            replies: 500_000,
            batch,
            numbers: 12,
            disorder: 50_000,
            seed,
            ..Plan::plain()
        };
        Bodies::new(plan, 1_795_000_000)
    }

    fn each(bodies: &Bodies, mut look: impl FnMut(Name, &[u8])) {
        let mut body = Vec::new();
        for index in 0..bodies.plan.count() {
            let name = bodies.plan.name(index);
            bodies.make(name, &mut body);
            look(name, &body);
        }
    }

    #[test]
    fn they_are_json_in_wire_form_of_the_sizes_that_are_promised() {
        let bodies = bodies(1, 1);
        let mut types = BTreeSet::new();
        each(&bodies, |name, body| {
            let value: serde_json::Value = serde_json::from_slice(body).expect("JSON");
            let value = &value["entry"][0]["changes"][0]["value"];
            let sizes = match name {
                Name::Statuses(_) => {
                    assert!(value["statuses"][0]["status"].is_string(), "{value}");
                    580..720
                }
                Name::Message(_) => {
                    let kind = value["messages"][0]["type"].as_str().expect("a type");
                    assert!(value["messages"][0][kind].is_object(), "{value}");
                    types.insert(kind.to_owned());
                    530..1000
                }
            };
            assert!(sizes.contains(&body.len()), "{} {value}", body.len());
            let text = str::from_utf8(body).expect("ASCII");
            assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()));
            let mut slashes = text.match_indices('/');
            assert!(slashes.all(|(at, _)| text[..at].ends_with('\\')), "{text}");
        });
        assert_eq!(types.len(), 3, "{types:?}");
    }

    #[test]
    fn each_is_another_and_knows_its_name() {
        for batch in [1, 7] {
            let (bodies, others) = (bodies(batch, 1), bodies(batch, 2));
            let mut seen = BTreeSet::new();
            each(&bodies, |name, body| {
                assert_eq!(bodies.name_of(body), Some(name));
                assert_eq!(others.name_of(body), None);
                assert!(seen.insert(body.to_vec()), "{name:?}");
            });
        }
    }

    #[test]
    fn no_bytes_panic_and_what_is_cut_has_its_name_or_none() {
        let bodies = bodies(2, 1);
        let mut body = Vec::new();
        for name in [Name::Statuses(0), Name::Message(3)] {
            bodies.make(name, &mut body);
            for end in 0..body.len() {
                let found = bodies.name_of(&body[..end]);
                assert!(found.is_none() || found == Some(name), "{found:?}");
            }
        }
    }
}
