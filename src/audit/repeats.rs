//! Which events say what an earlier one has said: the platform delivers at least once.
//!
//! An event is a repeat if an earlier one, by sequence and index, had the same key, and came to an endpoint whose
//! events are compared with it, as `dedupe.scope` says. Of each key a
//! [hash](hash_of) of 64 bits is remembered, in a window of two generations: when the younger one is full, the older
//! one is forgotten. So every repeat is found whose key is at most as many other keys back as a generation holds, and
//! some beyond. With the default window of 7 million keys, which takes up to 200 MB, the chance that a new event is
//! taken for a repeat is below 10^-12.

use foldhash::quality::RandomState;
use std::collections::HashSet;
use std::hash::BuildHasher as _;
use std::sync::LazyLock;

/// The key of one event.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// See [`Scope::group`](crate::dedupe::Scope::group).
    pub group: u32,
    /// See [`hash_of`].
    pub hash: u64,
    /// The body has nothing that tells the update from another one that says the same.
    pub weak: bool,
}

/// The hash of an event's id, by a seed of this process: of the fingerprint that stands in files anybody can make as
/// many as he likes that are the same.
pub fn hash_of(id: &str) -> u64 {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    SEED.hash_one(id)
}

/// Counts repeats. Keys come in the order of the journal.
pub struct Repeats {
    young: Generation,
    old: Generation,
    /// Keys of a generation.
    window: usize,
    /// Nobody can aim at what stands in a table.
    seed: RandomState,
    /// Events whose key says for sure that they are repeats.
    pub certain: u64,
    /// Events that cannot be distinguished from an earlier one.
    pub weak: u64,
    /// A generation was forgotten: repeats that are farther apart were not seen.
    pub forgot: bool,
}

type Generation = HashSet<u64, RandomState>;

impl Repeats {
    /// Finds repeats that are at most `window` keys apart.
    pub fn new(window: usize) -> Repeats {
        Repeats {
            young: Generation::default(),
            old: Generation::default(),
            window,
            seed: RandomState::default(),
            certain: 0,
            weak: 0,
            forgot: false,
        }
    }

    /// Takes keys in the order of their events.
    pub fn take(&mut self, keys: &[Key]) {
        for key in keys {
            let known = self.known(key);
            if self.young.contains(&known) || self.old.contains(&known) {
                *(if key.weak {
                    &mut self.weak
                } else {
                    &mut self.certain
                }) += 1;
            }
            self.remember(known);
        }
    }

    /// What is remembered of a key.
    fn known(&self, key: &Key) -> u64 {
        self.seed.hash_one((key.group, key.hash))
    }

    fn remember(&mut self, known: u64) {
        if self.young.len() >= self.window && !self.young.contains(&known) {
            self.forgot |= !self.old.is_empty();
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(known);
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Repeats, hash_of};
    use crate::event::fingerprint;

    fn keys(pairs: &[(u64, u64)]) -> Vec<Key> {
        let key = |&(_, hash)| Key {
            group: 1,
            hash,
            weak: hash > 1000,
        };
        pairs.iter().map(key).collect()
    }

    #[test]
    fn an_earlier_event_makes_a_repeat_of_the_same_notification_too() {
        let mut repeats = Repeats::new(10);
        repeats.take(&keys(&[(1, 7), (1, 7), (1, 8)]));
        assert_eq!(repeats.certain, 1, "as dedupe has it");
        repeats.take(&keys(&[
            (2, 7),
            (2, 7),
            (3, 9),
            (4, 8),
            (5, 1001),
            (6, 1001),
        ]));
        assert_eq!(
            (repeats.certain, repeats.weak, repeats.forgot),
            (4, 1, false)
        );
    }

    #[test]
    fn ids_that_are_made_to_have_one_fingerprint_are_no_repeats() {
        let ids = [
            "130013:messages:t1RAAAAAwRw3oH63",
            "130013:messages:_EbAAAAAoawV6Zku",
        ];
        assert_eq!(
            fingerprint(ids[0].as_bytes()),
            fingerprint(ids[1].as_bytes())
        );
        let mut repeats = Repeats::new(10);
        for (sequence, id) in (1..).zip(ids) {
            repeats.take(&keys(&[(sequence, hash_of(id))]));
        }
        assert_eq!((repeats.certain, repeats.weak), (0, 0));
    }

    #[test]
    fn what_another_endpoint_has_had_makes_none() {
        let mut repeats = Repeats::new(10);
        for (sequence, group) in [(1, 1), (2, 2), (3, 1), (4, 3), (5, 2)] {
            let key = |(sequence, hash)| keys(&[(sequence, hash)])[0];
            repeats.take(&[Key {
                group,
                ..key((sequence, 7))
            }]);
        }
        assert_eq!(repeats.certain, 2);
    }

    #[test]
    fn memory_is_bounded_and_what_is_near_is_found() {
        let mut repeats = Repeats::new(100);
        for sequence in 0..10_000 {
            repeats.take(&keys(&[(sequence, sequence % 100)]));
        }
        assert_eq!((repeats.certain, repeats.forgot), (9_900, false));
        let mut repeats = Repeats::new(100);
        for sequence in 0..10_000 {
            repeats.take(&keys(&[(sequence, sequence % 300)]));
            assert!(repeats.young.len() <= 100 && repeats.old.len() <= 100);
        }
        assert_eq!((repeats.certain, repeats.forgot), (0, true));
    }
}
