//! Where the newest entry of each key is: a table from a part of its hash to a place.
//!
//! Open addressing over slots of 8 bytes: 32 bits of the hash, the *tag*, see `tags.rs`, and the [`Location`]. The slot
//! where the search for a tag begins is the tag itself, scaled to the number of slots, so a larger table is filled from
//! the smaller one alone. Several keys may have one tag; who asks compares the keys.
//!
//! A table is at most three quarters full and grows by half, so a key takes 10.7 to 16 bytes, and 12 in the table of
//! full size, of which two thirds are in use when all the keys that may be remembered are. While it grows, for some
//! milliseconds a million keys, both tables are there.

use super::location::Location;

/// The table.
pub(super) struct Index {
    /// Tag and [bits](Location::bits) of the place, which are 0 in a free one. All zeros, a new table is memory that
    /// nobody has to fill.
    slots: Vec<[u32; 2]>,
    len: usize,
    /// Slots when all the keys are there that may be.
    full: usize,
}

impl Index {
    /// An empty table that is made for up to `keys` of them in the end.
    pub(super) fn new(keys: u64) -> Index {
        let full = usize::try_from(keys.saturating_add(keys / 2)).unwrap_or(usize::MAX);
        Index {
            slots: vec![FREE; SLOTS_MIN],
            len: 0,
            full,
        }
    }

    /// The keys in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<[u32; 2]>()
    }

    /// Looks at the places of all keys with this tag until `look` finds something: gives the slot, and what was found.
    /// If nothing is, the slot is a free one, where a key with this tag belongs. Slots stay what they are until a key
    /// is added or taken out.
    pub(super) fn find<T, E>(
        &self,
        tag: u32,
        mut look: impl FnMut(Location) -> Result<Option<T>, E>,
    ) -> Result<(usize, Option<T>), E> {
        let mut at = self.home(tag);
        loop {
            let [its, place] = self.slots[at];
            // There is always a free one.
            let Some(place) = Location::of_bits(place) else {
                return Ok((at, None));
            };
            if its == tag
                && let Some(found) = look(place)?
            {
                return Ok((at, Some(found)));
            }
            at = self.behind(at);
        }
    }

    /// Adds a key that is not there.
    pub(super) fn insert(&mut self, tag: u32, place: Location) {
        self.insert_at(self.free(tag), tag, place);
    }

    /// The same, at the free slot that [`Index::find`] has given.
    pub(super) fn insert_at(&mut self, mut slot: usize, tag: u32, place: Location) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow();
            slot = self.free(tag);
        }
        self.slots[slot] = [tag, place.bits()];
        self.len += 1;
    }

    /// The key at a slot that [`Index::find`] has given has a newer entry.
    pub(super) fn replace(&mut self, slot: usize, place: Location) {
        self.slots[slot][1] = place.bits();
    }

    /// Takes out all keys whose newest entry is in this generation.
    pub(super) fn forget(&mut self, generation: u64) {
        for at in 0..self.slots.len() {
            // What moves up to its slot is looked at as well.
            while self.place(at).is_some_and(|place| place.is_of(generation)) {
                self.remove(at);
            }
        }
    }

    fn remove(&mut self, slot: usize) {
        self.len -= 1;
        let mut free = slot;
        let mut at = slot;
        loop {
            self.slots[free] = FREE;
            loop {
                at = self.behind(at);
                if self.place(at).is_none() {
                    return;
                }
                // A key stays if its search begins behind the free slot.
                let home = self.home(self.slots[at][0]);
                if self.distance(home, at) >= self.distance(free, at) {
                    break;
                }
            }
            self.slots[free] = self.slots[at];
            free = at;
        }
    }

    fn grow(&mut self) {
        let mut count = self.slots.len() + self.slots.len() / 2;
        if self.slots.len() < self.full {
            count = count.min(self.full.max(SLOTS_MIN));
        }
        let slots = std::mem::replace(&mut self.slots, vec![FREE; count]);
        for slot in slots.into_iter().filter(|slot| *slot != FREE) {
            let at = self.free(slot[0]);
            self.slots[at] = slot;
        }
    }

    /// The first free slot from where the search for a tag begins.
    fn free(&self, tag: u32) -> usize {
        let mut at = self.home(tag);
        while self.place(at).is_some() {
            at = self.behind(at);
        }
        at
    }

    fn place(&self, slot: usize) -> Option<Location> {
        Location::of_bits(self.slots[slot][1])
    }

    /// Where the search for a tag begins.
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.slots.len() as u64) >> 32) as usize
    }

    fn behind(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() {
            0
        } else {
            slot + 1
        }
    }

    /// Steps forward from one slot to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from {
            to - from
        } else {
            to + self.slots.len() - from
        }
    }
}

const FREE: [u32; 2] = [0, 0];

/// Slots of a new table.
const SLOTS_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::{Index, Location, SLOTS_MIN};
    use crate::random::Random;
    use std::collections::HashMap;
    use std::convert::Infallible;

    /// The slot that a search ends at, and whether it has found what it was for.
    fn find(index: &Index, tag: u32, mut is_it: impl FnMut(Location) -> bool) -> (usize, bool) {
        let look = |place| Ok::<_, Infallible>(is_it(place).then_some(()));
        let Ok((slot, found)) = index.find(tag, look);
        (slot, found.is_some())
    }

    /// What the documentation says of the bytes a key.
    #[test]
    fn a_key_takes_from_11_to_16_bytes_and_12_in_the_end() {
        let keys = 100_000;
        let mut index = Index::new(keys);
        let mut random = Random(1);
        let place = Location::new(1, 0).unwrap();
        for count in 1..=keys {
            index.insert(u32::try_from(random.below(1 << 32)).unwrap(), place);
            let bytes = index.bytes() as u64;
            assert!(bytes >= count * 32 / 3, "{count}: {bytes}");
            let least = (SLOTS_MIN * 8) as u64;
            assert!(bytes <= (count * 16).max(least), "{count}: {bytes}");
        }
        // Not every last step is needed.
        assert!(index.bytes() as u64 <= 12 * keys);
    }

    #[test]
    fn it_finds_what_a_map_has() {
        for (seed, tags) in [(1, 1 << 32), (2, 500), (3, 30)] {
            let mut random = Random(seed);
            let mut index = Index::new(2000);
            let mut map: HashMap<(u32, u64), Location> = HashMap::new();
            for round in 0..8_u64 {
                let generation = round + 1;
                for number in 0..400 {
                    let tag = u32::try_from(random.below(tags)).unwrap();
                    let tag = tag.wrapping_mul(0x9e37_79b9) | 0x8000_0000; // also wraps around the end
                    let place = Location::new(generation, number * 8).unwrap();
                    // Both ways are one.
                    if random.below(2) == 0 {
                        index.insert(tag, place);
                    } else {
                        let (slot, _) = find(&index, tag, |_| false);
                        index.insert_at(slot, tag, place);
                    }
                    map.insert((tag, round * 1000 + number), place);
                }
                if round >= 3 {
                    index.forget(generation - 3);
                    map.retain(|_, place| !place.is_of(generation - 3));
                }
                assert_eq!(index.len(), map.len());
                for ((tag, _), place) in &map {
                    let (slot, found) = find(&index, *tag, |it| it == *place);
                    assert!(found, "seed {seed}");
                    assert_eq!(index.place(slot), Some(*place));
                }
                let all: usize = map
                    .keys()
                    .map(|(tag, _)| *tag)
                    .collect::<std::collections::HashSet<_>>()
                    .into_iter()
                    .map(|tag| {
                        let mut count = 0;
                        find(&index, tag, |_| {
                            count += 1;
                            false
                        });
                        count
                    })
                    .sum();
                assert_eq!(all, map.len(), "seed {seed}: nothing else is there");
            }
        }
    }
}
