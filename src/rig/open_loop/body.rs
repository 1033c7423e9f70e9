//! The notifications, each a pure function of its name: so they are made again to look for them in a journal, and
//! none is kept.

use super::super::notification::{self, Direction, Id, NAMES, PARTIES, put};
use super::plan::{Name, Plan, Reply, Status};
use crate::random::Random;

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
        match name {
            Name::Statuses(number) => self.statuses(number, out),
            Name::Message(number) => self.message(self.plan.reply(number), out),
        }
        notification::end(out);
    }

    /// The name of the notification that this is, or was; `None` for one of anybody else.
    pub(crate) fn name_of(&self, body: &[u8]) -> Option<Name> {
        // A quick reply quotes the id of the business's message before it has its own.
        let mut ids = Id::all_in(body).filter(|(id, _)| id.run == self.run);
        ids.find_map(|(id, rest)| {
            if id.direction == Direction::Inbound {
                return Some(self.plan.message_of(id.number));
            }
            let word = notification::status_behind(rest)?;
            let mut all = Status::ALL.into_iter();
            let status = all.find(|status| status.word() == word)?;
            self.plan.statuses_of(id.number, status)
        })
    }

    fn statuses(&self, number: u64, out: &mut Vec<u8>) {
        notification::begin(number % self.plan.numbers, out);
        for (index, update) in self.plan.updates(number).enumerate() {
            self.contact(index == 0, self.party(update.message), out);
        }
        for (index, update) in self.plan.updates(number).enumerate() {
            let id = self.sent(update.message);
            let (word, at) = (update.status.word(), self.start + update.at);
            notification::status(index == 0, id, word, at, update.message, out);
        }
    }

    fn message(&self, reply: Reply, out: &mut Vec<u8>) {
        let (phone, sent) = (reply.to % self.plan.numbers, self.sent(reply.to));
        let (direction, number) = (Direction::Inbound, reply.number);
        let (at, id) = (
            self.start + reply.at,
            Id {
                direction,
                number,
                ..sent
            },
        );
        let mut random = self.plan.random(TEXT, reply.number);
        notification::begin(phone, out);
        self.contact(true, sent.party, out);
        let kind = random.below(10);
        notification::message(id, at, (kind < 2).then_some((phone, sent)), out);
        match kind {
            0 | 1 => {
                let track = random.below(10_000);
                put!(
                    out,
                    r#""button":{{"payload":"TRACK-{track:04}","text":"Track my order"}},"type":"button"}}"#
                );
            }
            2 => {
                let media = random.below(9_000_000_000_000_000) + 1_000_000_000_000_000;
                let until = at + 300;
                put!(
                    out,
                    r#""image":{{"caption":"This one?","mime_type":"image\/jpeg","sha256":"{SHA256}","id":"{media}","#
                );
                put!(
                    out,
                    r#""url":"{MEDIA}?mid={media}&ext={until}&hash=simulated"}},"type":"image"}}"#
                );
            }
            _ => {
                let text = random.among(TEXTS);
                put!(out, r#""text":{{"body":"{text}"}},"type":"text"}}"#);
            }
        }
    }

    fn contact(&self, is_first: bool, party: u64, out: &mut Vec<u8>) {
        let name = self.plan.random(NAME, party).among(NAMES);
        notification::contact(is_first, party, name, out);
    }

    /// The id of this message of the business.
    fn sent(&self, message: u64) -> Id {
        Id {
            direction: Direction::Outbound,
            party: self.party(message),
            run: self.run,
            number: message,
        }
    }

    /// To whom this message went.
    fn party(&self, message: u64) -> u64 {
        self.plan.random(PARTY, message).below(PARTIES)
    }
}

/// Of every image, and where all of them are.
const SHA256: &str = "q3Zs5b1m8M2yqkT7o0x9yJq0dYb5sHc1Wf4nR6uEoXg=";
const MEDIA: &str = r"https:\/\/lookaside.fbsbx.com\/whatsapp_business\/attachments\/";

/// What is drawn, so that one drawing does not repeat the other.
const TEXT: u64 = 4 << 60;
const NAME: u64 = 5 << 60;
const PARTY: u64 = 6 << 60;

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
