//! Which names belong to one party, so that what one person says stays in order whatever name it came under.
//!
//! A person has a phone number, a business-scoped user id, or both. Once an event carried both, an event with the
//! user id alone belongs to the conversation of the phone number. What is learned is kept in the log of keys and
//! goes with its generation, unless it was seen again. What one endpoint has brought says nothing of another one's
//! parties, whose events are conversations of their own, unless [`Scope`] joins the two; pairs that an older version
//! has written, without an endpoint, hold for all of them.
//!
//! Names are kept as 64-bit hashes: two of one endpoint that collide only wait for each other. In memory the endpoint
//! and a seed of the process are mixed in, so that no sender can make a name that collides with another endpoint's, and
//! 58 bits of a user id are kept.
//! A name that needs an escape in [`Event::subject`] is a party of its own, as is a group.

use super::entry::{Entry, Text};
use super::location::low_bits;
use super::scope::{ANY, Scope};
use super::table::{Slot, Table};
use super::tags;
use crate::event::{Event, Events, fingerprint};
use foldhash::quality::RandomState;
use parking_lot::RwLock;
use std::convert::Infallible;
use std::hash::BuildHasher as _;
use std::sync::Arc;

/// What is known of the names of parties. Cheap to clone; the clones share it. Written by the thread that decides,
/// read by sinks. At most 900,000 pairs, in 18.3 MiB; while so many are there, no more are learned.
#[derive(Clone, Debug)]
pub struct Parties {
    scope: Scope,
    seed: RandomState,
    known: Arc<RwLock<Pairs>>,
}

#[derive(Debug)]
struct Pairs {
    table: Table<Pair>,
    /// The newest generation with pairs that hold for every endpoint; 0 if there is none.
    unnumbered: u64,
}

/// The upper bits of the [seeded](Parties::seeded) hash of a user id, and below [`USED`] and what tells the newest
/// generation apart in which the pair stands; the [hash](of_name) of the phone number.
type Pair = [u64; 2];

impl Slot for Pair {
    const FREE: Pair = [0; 2];

    fn is_free(self) -> bool {
        self[0] == 0
    }

    fn tag(self) -> u32 {
        tag(self[0])
    }

    fn is_of(self, generation: u64) -> bool {
        self[0] & GENERATION == u64::from(low_bits(generation))
    }
}

/// What an event has to keep its order in: all earlier ones that share any of the two hashes come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conversation {
    /// The number with the group, the phone number if that is known, or the user id.
    pub main: u64,
    /// The number with the user id, if that is known and not `main` already: the `main` of events that came before it
    /// was known who that is.
    pub also: Option<u64>,
}

impl Default for Parties {
    fn default() -> Parties {
        Parties::new(Scope::default())
    }
}

impl Parties {
    /// Knows nothing yet.
    pub fn new(scope: Scope) -> Parties {
        Parties {
            scope,
            seed: tags::seed(),
            known: Arc::new(RwLock::new(Pairs::default())),
        }
    }

    /// The conversation of an event by what is known now; `None` if it has no other side.
    pub fn conversation(&self, event: Event<'_>) -> Option<Conversation> {
        let (_, party) = event.subject()?.rsplit_once(':')?; // a component has no colon
        let group = self.scope.group_of(event);
        let number = of_number(event.number_bytes());
        let main = of_name(number, party.as_bytes());
        let user_id = event.party_user_id();
        let user_id = user_id.map(|user_id| of_name(number, user_id.as_bytes()));
        let (main, also) = if event.party_phone() == Some(party) {
            (main, user_id.filter(|user_id| *user_id != main))
        } else {
            let phone = (user_id == Some(main)).then(|| self.phone_of(group, main));
            phone
                .flatten()
                .map_or((main, None), |phone| (phone, Some(main)))
        };
        Some(Conversation {
            main: self.seeded(group, main),
            also: also.map(|also| self.seeded(group, also)),
        })
    }

    /// The hashes of all that these events have to keep their order in, each once.
    pub fn conversations<'e>(&self, events: impl IntoIterator<Item = Event<'e>>) -> Vec<u64> {
        let found = events.into_iter().filter_map(|it| self.conversation(it));
        let mut all: Vec<u64> = found
            .flat_map(|it| std::iter::once(it.main).chain(it.also))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Pairs that are known.
    pub fn len(&self) -> usize {
        self.known.read().table.len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Knows what `other` knows, instead of what it knew.
    pub(super) fn take_over(&self, other: &Parties) {
        *self.known.write() = std::mem::take(&mut *other.known.write());
    }

    /// The hash of the phone number that belongs to that of a user id, both with the business's number.
    pub(super) fn phone_of(&self, group: u32, user_id: u64) -> Option<u64> {
        let pairs = self.known.read();
        let of = |group| pairs.find(self.seeded(group, user_id)).1;
        let known = match of(group) {
            None if pairs.unnumbered > 0 => of(ANY),
            known => known,
        };
        known.map(|[_, phone]| phone)
    }

    /// Learns the names of the parties of these events that have two. What does not stand in this generation yet,
    /// `write` has to put there; where it has no room for that, nothing is learned.
    #[inline(never)]
    pub(super) fn learn_from(
        &self,
        events: &Events,
        generation: u64,
        mut write: impl FnMut(&Entry<'_>) -> bool,
    ) {
        // Locked once for all of them, and not at all where nobody has two names.
        let mut locked = None;
        // Most have the number of the one before.
        let mut before = (&b""[..], of_number(b""));
        for event in events.iter() {
            let Some([user_id, phone]) = event.party_names() else {
                continue;
            };
            let number = event.number_bytes();
            if number != before.0 {
                before = (number, of_number(number));
            }
            let [user_id, phone] = [user_id, phone].map(|name| of_name(before.1, name));
            let group = self.scope.group_of(event);
            let name = self.seeded(group, user_id);
            let pair = pair(name, phone, generation);
            let pairs: &mut Pairs = locked.get_or_insert_with(|| self.known.write());
            let (slot, known) = pairs.find(name);
            if known == Some(pair) || known.is_none() && pairs.table.is_full() {
                continue;
            }
            if write(&Entry::of(event, Text::Names(user_id, phone))) {
                pairs.put(slot, known, pair);
                if group == ANY {
                    pairs.unnumbered = generation;
                }
            }
        }
    }

    /// Learns a pair of a [group](Scope::group) that stands in a generation.
    pub(super) fn learn(&self, (group, user_id): (u32, u64), phone: u64, generation: u64) {
        let mut pairs = self.known.write();
        if group == ANY {
            pairs.unnumbered = generation;
        }
        let name = self.seeded(group, user_id);
        let (slot, known) = pairs.find(name);
        if known.is_some() || !pairs.table.is_full() {
            pairs.put(slot, known, pair(name, phone, generation));
        }
    }

    /// Forgets the pairs that stand in no generation after this one, the oldest of all.
    pub(super) fn forget(&self, generation: u64) {
        let mut pairs = self.known.write();
        if generation >= pairs.unnumbered {
            pairs.unnumbered = 0;
        }
        pairs.table.forget(generation);
    }

    /// The hash of a name of a group as nobody outside can foresee it.
    fn seeded(&self, group: u32, name: u64) -> u64 {
        self.seed.hash_one((name, group))
    }
}

/// What the hashes of all names have in common that an event has beside its business's number.
fn of_number(number: &[u8]) -> u64 {
    let number = if number.is_empty() { b"-" } else { number };
    fingerprint(number).rotate_left(1)
}

/// The hash of a name. The same in every version and on every machine: it is kept in files.
fn of_name(number: u64, name: &[u8]) -> u64 {
    number ^ fingerprint(name)
}

impl Default for Pairs {
    fn default() -> Pairs {
        Pairs {
            table: Table::new(SLOTS_MAX),
            unnumbered: 0,
        }
    }
}

impl Pairs {
    /// The slot of a name, and what stands there; without that, the slot is where it belongs.
    #[inline]
    fn find(&self, name: u64) -> (usize, Option<Pair>) {
        let is_it = |pair: Pair| Ok::<_, Infallible>(((pair[0] ^ name) < USED * 2).then_some(pair));
        let Ok(found) = self.table.find(tag(name), is_it);
        found
    }

    /// Puts a pair where [`Pairs::find`] has found what was `known`, or where it belongs.
    #[inline]
    fn put(&mut self, slot: usize, known: Option<Pair>, pair: Pair) {
        match known {
            Some(_) => self.table.replace(slot, pair),
            None => self.table.insert_at(slot, pair),
        }
    }
}

/// What is kept of a pair.
fn pair(name: u64, phone: u64, generation: u64) -> Pair {
    let name = name & !(USED | GENERATION);
    [name | USED | u64::from(low_bits(generation)), phone]
}

/// Where the table looks for a name.
fn tag(name: u64) -> u32 {
    (name >> 32) as u32
}

/// In no slot that is free.
const USED: u64 = 1 << 5;

/// The bits that [`low_bits`] has.
const GENERATION: u64 = USED - 1;

/// Slots of the largest table, which has room for three quarters of so many.
const SLOTS_MAX: usize = if cfg!(test) { 8192 } else { 1_200_000 };
