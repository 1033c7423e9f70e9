//! Journals made by a seed, and what is right for them.

use super::{Options, StoredCheckpoint};
use crate::event::Event;
use crate::journal::batch::{Batch, Seal};
use crate::journal::record::FLAG_FOREIGN;
use crate::random::Random;
use crate::worker::{EventBatch, Extraction};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write;

/// Batches of notifications.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    batches: Vec<Vec<Posted>>,
}

/// One of them.
#[derive(Clone, Debug)]
struct Posted {
    endpoint: u16,
    foreign: bool,
    received_at: u64,
    body: String,
}

/// What a random journal is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) batches: u64,
    /// Different keys.
    pub(super) keys: u64,
    /// Microseconds between two bodies, on average.
    pub(super) pace: u64,
}

impl Journal {
    /// Bodies with one to four updates, of which many come again, alone or in other company; some are weak, some
    /// come from the test button. Clocks of several loops differ a little.
    pub(super) fn random(seed: u64, shape: Shape) -> Journal {
        let mut random = Random(seed);
        let mut now = 1_750_000_000_000_000;
        let mut journal = Journal::default();
        for _ in 0..shape.batches {
            let mut bodies = Vec::new();
            for _ in 0..=random.below(6) {
                now += random.below(2 * shape.pace);
                let received_at = now - random.below(1000);
                let body = match random.below(20) {
                    0 => format!(r#"{{"object":"{}","entry":[]}}"#, random.below(3)),
                    1 => button(),
                    _ => {
                        let count = random.below(4) + 1;
                        let ids: Vec<u64> = (0..count).map(|_| random.below(shape.keys)).collect();
                        messages(&ids)
                    }
                };
                bodies.push(Posted {
                    endpoint: if random.below(4) == 0 { 2 } else { 1 },
                    foreign: false,
                    received_at,
                    body,
                });
            }
            journal.batches.push(bodies);
        }
        journal
    }

    /// Adds a batch of (time of arrival, body), all to one endpoint.
    pub(super) fn push(&mut self, bodies: Vec<(u64, String)>) {
        let posted = |(received_at, body)| Posted {
            endpoint: 1,
            foreign: false,
            received_at,
            body,
        };
        self.batches.push(bodies.into_iter().map(posted).collect());
    }

    /// Adds a batch of one body, to an endpoint that is for other senders if it is `foreign`.
    pub(super) fn push_to(&mut self, endpoint: u16, foreign: bool, received_at: u64, body: String) {
        self.batches.push(vec![Posted {
            endpoint,
            foreign,
            received_at,
            body,
        }]);
    }

    /// As it was before its last batches.
    pub(super) fn before(&self, batches: usize) -> Journal {
        Journal {
            batches: self.batches[..batches].to_vec(),
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.batches.iter().map(|it| it.len() as u64).sum()
    }

    /// The batches that hold `from` and what is behind it, taken apart anew.
    pub(super) fn deliveries(&self, from: u64) -> impl Iterator<Item = EventBatch> {
        let mut maker = Extraction::new();
        let mut first_sequence = 1;
        let batches = self.batches.iter().map(move |bodies| {
            let mut batch = Batch::unpooled();
            for posted in bodies {
                let flags = if posted.foreign { FLAG_FOREIGN } else { 0 };
                let headers = std::iter::empty();
                let (received_at, body) = (posted.received_at, posted.body.as_bytes());
                batch.append(posted.endpoint, flags, received_at, headers, body);
            }
            batch.seal(&Seal {
                epoch: 1,
                salt: 1,
                first_sequence,
                committed_at: 1,
                durable: 0,
            });
            first_sequence += bodies.len() as u64;
            batch
        });
        batches
            .filter(move |batch| batch.last_sequence() >= from)
            .map(move |batch| maker.make(batch))
    }

    /// What is right by the rule alone, where everything is remembered.
    pub(super) fn repeated(&self) -> StoredCheckpoint {
        let mut found = StoredCheckpoint::new();
        let mut seen: HashMap<Key, u64> = HashMap::new();
        for delivery in self.deliveries(1) {
            for event in delivery.events().iter() {
                let before = seen.insert(key(event), event.received_at());
                if before.is_some_and(|before| repeats(event, before)) {
                    found.insert(event.position());
                }
            }
        }
        found
    }

    /// What is right by the rule and the limits, with a map for each generation.
    pub(super) fn repeated_within(&self, options: &Options) -> StoredCheckpoint {
        #[derive(Default)]
        struct Generation {
            keys: HashMap<Key, u64>,
            entries: u64,
            first: u64,
            latest: u64,
        }
        let share = options.keys.div_ceil(8);
        let span = options.window / 8;
        let window = options.window.saturating_add(span);
        let (mut time, mut reading) = (0, None);
        let mut found = StoredCheckpoint::new();
        let mut generations: VecDeque<Generation> = VecDeque::new();
        for delivery in self.deliveries(1) {
            let now = i128::from(delivery.events().get(0).unwrap().received_at());
            let most = i128::from(options.window / 1024);
            time += reading.map_or(now, |before: i128| (now - before).clamp(-most, most));
            reading = Some(now);
            let now = u64::try_from(time).unwrap();
            let is_due = generations.back_mut().is_none_or(|active| {
                active.first = active.first.min(now);
                active.entries >= share || now - active.first >= span
            });
            if is_due {
                let oldest = generations.front();
                if oldest.is_some_and(|it| it.latest.saturating_add(window) < now) {
                    generations.pop_front();
                }
                while generations.iter().map(|it| it.entries).sum::<u64>() + share > options.keys
                    || generations.len() >= 31
                {
                    generations.pop_front();
                }
                generations.push_back(Generation {
                    first: now,
                    ..Generation::default()
                });
            }
            let active = generations.back_mut().unwrap();
            active.latest = active.latest.max(now);
            for event in delivery.events().iter() {
                let (key, received_at) = (key(event), event.received_at());
                let newest = generations
                    .iter()
                    .rposition(|it| it.keys.contains_key(&key));
                let before = newest.map(|at| generations[at].keys[&key]);
                if before.is_some_and(|before| {
                    repeats(event, before) && received_at.saturating_sub(before) <= window
                }) {
                    found.insert(event.position());
                }
                let is_far = before.is_none_or(|before| received_at.abs_diff(before) >= span);
                if newest != Some(generations.len() - 1) || is_far || event.has_weak_key() {
                    let active = generations.back_mut().unwrap();
                    active.keys.insert(key, received_at);
                    active.entries += 1;
                }
            }
        }
        found
    }
}

/// What is compared.
type Key = (u16, String);

fn key(event: Event<'_>) -> Key {
    (event.endpoint(), event.id().to_owned())
}

/// The rule: it repeats one with its key that came at `before`, unless the key is weak and that is far off.
fn repeats(event: Event<'_>, before: u64) -> bool {
    !event.has_weak_key() || event.received_at().abs_diff(before) <= 600_000_000
}

/// One body with a message for each id.
pub(super) fn messages(ids: &[u64]) -> String {
    let mut list = String::new();
    for id in ids {
        let comma = if list.is_empty() { "" } else { "," };
        let _ = write!(
            list,
            r#"{comma}{{"from":"1555{id}","from_user_id":"US.{id}","id":"wamid.{id}","timestamp":"1750000000","type":"text"}}"#
        );
    }
    body("1", "106", &list)
}

/// A body with one message that has these names.
pub(super) fn message_of(phone: Option<&str>, user_id: Option<&str>, id: u64) -> String {
    let mut names = String::new();
    for (name, value) in [("from", phone), ("from_user_id", user_id)] {
        if let Some(value) = value {
            let _ = write!(names, r#""{name}":"{value}","#);
        }
    }
    let message = format!(r#"{{{names}"id":"wamid.{id}","timestamp":"1750000000","type":"text"}}"#);
    body("1", "106", &message)
}

/// What the button of the dashboard sends, again and again.
pub(super) fn button() -> String {
    let message =
        r#"{"from":"16315551181","id":"ABGGFlA5Fpa","timestamp":"1504902988","type":"text"}"#;
    body("0", "123456123", message)
}

fn body(entry: &str, number: &str, messages: &str) -> String {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{entry}","changes":[{{"field":"messages","value":{{"metadata":{{"phone_number_id":"{number}"}},"messages":[{messages}]}}}}]}}]}}"#
    )
}
