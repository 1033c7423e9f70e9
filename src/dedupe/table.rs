//! A table from 32 bits of a hash to what stands beside it: places of keys, see `index.rs`, and pairs of names, see
//! `parties.rs`.
//!
//! Open addressing. The slot where the search for a *tag*, those 32 bits, begins is the tag itself, scaled to the
//! number of slots, so a larger table is filled from the smaller one alone. Several entries may have one tag; who asks
//! compares the rest.
//!
//! A table is at most three quarters full and grows by half, so an entry takes the memory of one and a third to two
//! slots, and of one and a half in the table of full size, of which two thirds are in use when all are there that may
//! be. While it grows, for some milliseconds a million entries, both tables are there. The first one has room for some
//! thousands: it is memory that nobody has touched, and what is never used of it is never there.

/// What a slot holds.
pub(super) trait Slot: Copy {
    /// All zeros: a new table is memory that nobody has to fill.
    const FREE: Self;

    fn is_free(self) -> bool;

    fn tag(self) -> u32;

    /// Whether it goes with this generation, of those that are there at one time.
    fn is_of(self, generation: u64) -> bool;
}

/// The table.
#[derive(Debug)]
pub(super) struct Table<S> {
    slots: Vec<S>,
    /// More entries that there is room for.
    room: usize,
    /// Slots when all are there that may be.
    full: usize,
}

impl<S: Slot> Table<S> {
    /// An empty table that has so many slots in the end, if there are that many entries.
    pub(super) fn new(full: usize) -> Table<S> {
        let full = full.max(SLOTS_MIN);
        let count = full.min(SLOTS_FIRST);
        Table {
            slots: vec![S::FREE; count],
            room: most(count),
            full,
        }
    }

    /// The entries in it.
    pub(super) fn len(&self) -> usize {
        most(self.slots.len()) - self.room
    }

    /// True when one more entry makes it larger than it was to be in the end.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.room == 0 && self.slots.len() >= self.full
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<S>()
    }

    /// Looks at all entries with this tag until `look` finds something: gives the slot, and what was found. If nothing
    /// is, the slot is a free one, where an entry with this tag belongs. Slots stay what they are until an entry is
    /// added or taken out.
    #[inline]
    pub(super) fn find<T, E>(
        &self,
        tag: u32,
        mut look: impl FnMut(S) -> Result<Option<T>, E>,
    ) -> Result<(usize, Option<T>), E> {
        let mut home = self.home(tag);
        loop {
            for (slot, at) in self.slots[home..].iter().zip(home..) {
                // There is always a free one.
                if slot.is_free() {
                    return Ok((at, None));
                }
                if slot.tag() == tag
                    && let Some(found) = look(*slot)?
                {
                    return Ok((at, Some(found)));
                }
            }
            home = 0; // behind the end
        }
    }

    /// Adds an entry that is not there.
    pub(super) fn insert(&mut self, entry: S) {
        self.insert_at(self.free(entry.tag()), entry);
    }

    /// The same, at the free slot that [`Table::find`] has given.
    #[inline]
    pub(super) fn insert_at(&mut self, mut slot: usize, entry: S) {
        if self.room == 0 {
            slot = self.grow_for(entry.tag());
        }
        self.slots[slot] = entry;
        self.room -= 1;
    }

    /// Puts another entry with the same tag into a slot that [`Table::find`] has given.
    pub(super) fn replace(&mut self, slot: usize, entry: S) {
        self.slots[slot] = entry;
    }

    /// Takes out all entries of a generation.
    pub(super) fn forget(&mut self, generation: u64) {
        for at in 0..self.slots.len() {
            // What moves up to its slot is looked at as well.
            while self.is_of(at, generation) {
                self.remove(at);
            }
        }
    }

    fn is_of(&self, slot: usize, generation: u64) -> bool {
        !self.slots[slot].is_free() && self.slots[slot].is_of(generation)
    }

    fn remove(&mut self, slot: usize) {
        self.room += 1;
        let mut free = slot;
        let mut at = slot;
        loop {
            self.slots[free] = S::FREE;
            loop {
                at = self.behind(at);
                if self.slots[at].is_free() {
                    return;
                }
                // An entry stays if its search begins behind the free slot.
                let home = self.home(self.slots[at].tag());
                if self.distance(home, at) >= self.distance(free, at) {
                    break;
                }
            }
            self.slots[free] = self.slots[at];
            free = at;
        }
    }

    /// Grows by half; gives the slot where the next entry with this tag belongs.
    #[cold]
    #[inline(never)]
    fn grow_for(&mut self, tag: u32) -> usize {
        let len = self.len();
        let mut count = self.slots.len() + self.slots.len() / 2;
        if self.slots.len() < self.full {
            count = count.min(self.full);
        }
        let slots = std::mem::replace(&mut self.slots, vec![S::FREE; count]);
        self.room = most(count) - len;
        for slot in slots.into_iter().filter(|slot| !slot.is_free()) {
            let at = self.free(slot.tag());
            self.slots[at] = slot;
        }
        self.free(tag)
    }

    /// The first free slot from where the search for a tag begins.
    fn free(&self, tag: u32) -> usize {
        let mut at = self.home(tag);
        while !self.slots[at].is_free() {
            at = self.behind(at);
        }
        at
    }

    /// Where the search for a tag begins.
    #[inline]
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
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

/// Entries that so many slots have room for.
fn most(slots: usize) -> usize {
    slots - slots.div_ceil(4)
}

/// Slots of the smallest table.
const SLOTS_MIN: usize = 16;

/// Slots of a new table, if it may become as large. In tests it grows soon.
const SLOTS_FIRST: usize = if cfg!(test) { 64 } else { 8192 };

#[cfg(test)]
mod tests {
    use super::super::index::Index;
    use super::super::location::Location;
    use super::SLOTS_FIRST;
    use crate::random::Random;
    use std::collections::HashMap;
    use std::convert::Infallible;

    /// The slot that a search ends at, and whether it has found what it was for.
    fn find(index: &Index, tag: u32, mut is_it: impl FnMut(Location) -> bool) -> (usize, bool) {
        let look = |[_, place]: [u32; 2]| {
            let place = Location::of_bits(place).unwrap();
            Ok::<_, Infallible>(is_it(place).then_some(()))
        };
        let Ok((slot, found)) = index.find(tag, look);
        (slot, found.is_some())
    }

    /// What the documentation says of the bytes a key.
    #[test]
    fn a_key_takes_from_11_to_16_bytes_and_12_in_the_end() {
        let keys = 100_000;
        let mut index = Index::for_keys(keys);
        let mut random = Random(1);
        let place = Location::new(1, 0).unwrap();
        for count in 1..=keys {
            let tag = u32::try_from(random.below(1 << 32)).unwrap();
            index.insert([tag, place.bits()]);
            let bytes = index.bytes() as u64;
            assert!(bytes >= count * 32 / 3, "{count}: {bytes}");
            let least = (SLOTS_FIRST * 8) as u64;
            assert!(bytes <= (count * 16).max(least), "{count}: {bytes}");
        }
        // Not every last step is needed.
        assert!(index.bytes() as u64 <= 12 * keys);
    }

    #[test]
    fn it_finds_what_a_map_has() {
        for (seed, tags) in [(1, 1 << 32), (2, 500), (3, 30)] {
            let mut random = Random(seed);
            let mut index = Index::for_keys(2000);
            let mut map: HashMap<(u32, u64), Location> = HashMap::new();
            for round in 0..8_u64 {
                let generation = round + 1;
                for number in 0..400 {
                    let tag = u32::try_from(random.below(tags)).unwrap();
                    let tag = tag.wrapping_mul(0x9e37_79b9) | 0x8000_0000; // also wraps around the end
                    let place = Location::new(generation, number * 8).unwrap();
                    // Both ways are one.
                    if random.below(2) == 0 {
                        index.insert([tag, place.bits()]);
                    } else {
                        let (slot, _) = find(&index, tag, |_| false);
                        index.insert_at(slot, [tag, place.bits()]);
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
                    assert_eq!(index.slots[slot], [*tag, place.bits()]);
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
