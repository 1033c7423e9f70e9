//! Where the newest entry of each key is: a [`Table`] from a part of its hash, see `tags.rs`, to a [`Location`].
//!
//! A slot is 8 bytes, so a key takes 10.7 to 16, and 12 in the table of full size. Several keys may have one tag; who
//! asks compares the keys.

use super::location::Location;
use super::table::{Slot, Table};

/// The table.
pub(super) type Index = Table<KeyAt>;

/// The tag of a key, and the [bits](Location::bits) of its place, which are 0 in a free slot.
pub(super) type KeyAt = [u32; 2];

impl Slot for KeyAt {
    const FREE: KeyAt = [0; 2];

    fn is_free(self) -> bool {
        self[1] == 0
    }

    fn tag(self) -> u32 {
        self[0]
    }

    fn is_of(self, generation: u64) -> bool {
        Location::of_bits(self[1]).is_some_and(|place| place.is_of(generation))
    }
}

impl Index {
    /// An empty table for up to `keys` of them in the end.
    pub(super) fn for_keys(keys: u64) -> Index {
        Index::new(usize::try_from(keys.saturating_add(keys / 2)).unwrap_or(usize::MAX))
    }
}
