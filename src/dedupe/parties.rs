//! Which names belong to one party, so that what one person says stays in order whatever name it came under.
//!
//! A person has a phone number, a business-scoped user id, or both. Once an event carried both, an event with the
//! user id alone belongs to the conversation of the phone number. What is learned is kept in the log of keys and
//! goes with its generation, unless it was seen again. What one endpoint has brought says nothing of another one's
//! parties, whose events are conversations of their own, unless [`Scope`] joins the two; pairs that an older version
//! has written, without an endpoint, hold for all of them.
//!
//! Names are kept as 64-bit hashes: two of one endpoint that collide only wait for each other. In memory the endpoint
//! and a seed of the process are mixed in, so that no sender can make a name that collides with another endpoint's.
//! A name that needs an escape in [`Event::subject`] is a party of its own, as is a group.

use super::scope::{ANY, Scope};
use super::tags;
use crate::event::{Event, fingerprint};
use foldhash::quality::RandomState;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher};
use std::sync::Arc;

/// What is known of the names of parties. Cheap to clone; the clones share it. Written by the thread that decides,
/// read by sinks. At most 900,000 pairs, in 26 MiB; while so many are there, no more are learned.
#[derive(Clone, Debug)]
pub struct Parties {
    scope: Scope,
    seed: RandomState,
    known: Arc<RwLock<Pairs>>,
}

#[derive(Debug, Default)]
struct Pairs {
    /// By the [seeded](Parties::seeded) hash of a user id.
    by_user_id: HashMap<u64, Known, BuildHasherDefault<Hashed>>,
    /// The newest generation with pairs that hold for every endpoint; 0 if there is none.
    unnumbered: u64,
}

/// What stands beside a user id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// The [hash](of_name) of the phone number.
    phone: u64,
    /// The newest generation in which the pair stands.
    generation: u64,
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
            known: Arc::default(),
        }
    }

    /// The conversation of an event by what is known now; `None` if it has no other side.
    pub fn conversation(&self, event: Event<'_>) -> Option<Conversation> {
        let (_, party) = event.subject()?.rsplit_once(':')?; // a component has no colon
        let group = self.scope.group_of(event);
        let number = of_number(event);
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
        self.known.read().by_user_id.len()
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
    fn phone_of(&self, group: u32, user_id: u64) -> Option<u64> {
        let pairs = self.known.read();
        let of = |group| pairs.by_user_id.get(&self.seeded(group, user_id));
        let known = match of(group) {
            None if pairs.unnumbered > 0 => of(ANY),
            known => known,
        };
        known.map(|known| known.phone)
    }

    /// Learns the two names of the party of an event of this [group](Scope::group), if it has both. If they do not
    /// stand in this generation yet, `write` has to put their hashes there; without room for that nothing is learned.
    pub(super) fn learn_from(
        &self,
        event: Event<'_>,
        group: u32,
        generation: u64,
        write: impl FnOnce(u64, u64) -> bool,
    ) {
        let Some([user_id, phone]) = event.party_names() else {
            return;
        };
        let number = of_number(event);
        let (user_id, phone) = (of_name(number, user_id), of_name(number, phone));
        let seeded = self.seeded(group, user_id);
        let pair = Known { phone, generation };
        let pairs = &mut *self.known.write();
        let has_room = pairs.by_user_id.len() < PAIRS_MAX;
        let known = pairs.by_user_id.get_mut(&seeded);
        let is_news = known.as_deref().map_or(has_room, |known| *known != pair);
        if !is_news || !write(user_id, phone) {
            return;
        }
        match known {
            Some(known) => *known = pair,
            None => {
                pairs.by_user_id.insert(seeded, pair);
            }
        }
        if group == ANY {
            pairs.unnumbered = generation;
        }
    }

    /// Learns a pair of a [group](Scope::group) that stands in a generation.
    pub(super) fn learn(&self, (group, user_id): (u32, u64), phone: u64, generation: u64) {
        let mut pairs = self.known.write();
        if group == ANY {
            pairs.unnumbered = generation;
        }
        let known = Known { phone, generation };
        pairs.by_user_id.insert(self.seeded(group, user_id), known);
    }

    /// Forgets the pairs that stand in no generation after this one.
    pub(super) fn forget(&self, generation: u64) {
        let mut pairs = self.known.write();
        if generation >= pairs.unnumbered {
            pairs.unnumbered = 0;
        }
        pairs
            .by_user_id
            .retain(|_, known| known.generation > generation);
    }

    /// The hash of a name of a group as nobody outside can foresee it.
    fn seeded(&self, group: u32, name: u64) -> u64 {
        self.seed.hash_one((name, group))
    }
}

/// What the hashes of all names have in common that an event has beside its business's number.
fn of_number(event: Event<'_>) -> u64 {
    let number = event.number_bytes();
    let number = if number.is_empty() { b"-" } else { number };
    fingerprint(number).rotate_left(1)
}

/// The hash of a name. The same in every version and on every machine: it is kept in files.
fn of_name(number: u64, name: &[u8]) -> u64 {
    number ^ fingerprint(name)
}

/// For keys that are [seeded](Parties::seeded) hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = fingerprint(bytes);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Most pairs. With a few more the table would double.
const PAIRS_MAX: usize = 900_000;
