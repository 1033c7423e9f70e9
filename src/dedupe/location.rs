//! Where an entry stands in the log of keys, in 32 bits.

use super::entry::ALIGNMENT;
use std::num::NonZeroU32;

/// A generation, by the last five bits of its number, and an offset in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location(NonZeroU32);

impl Location {
    /// `None` for an offset that is too far behind for 27 bits.
    pub(super) fn new(generation: u64, offset: u64) -> Option<Location> {
        // One more, so that no place is 0.
        let unit = offset / ALIGNMENT as u64 + 1;
        if unit >= 1 << UNIT_BITS {
            return None;
        }
        let place = low_bits(generation) << UNIT_BITS | u32::try_from(unit).ok()?;
        NonZeroU32::new(place).map(Location)
    }

    /// The 32 bits, which are never 0.
    pub(super) fn bits(self) -> u32 {
        self.0.get()
    }

    /// The place with these bits; `None` for 0.
    pub(super) fn of_bits(bits: u32) -> Option<Location> {
        NonZeroU32::new(bits).map(Location)
    }

    /// True if it is in this generation, of those that are there at one time.
    pub(super) fn is_of(self, generation: u64) -> bool {
        self.0.get() >> UNIT_BITS == low_bits(generation)
    }

    /// Offset in the file of its generation.
    pub(super) fn offset(self) -> u64 {
        let unit = self.0.get() & ((1 << UNIT_BITS) - 1);
        u64::from(unit - 1) * ALIGNMENT as u64
    }

    /// Steps from this generation back to that of the place.
    pub(super) fn steps_back(self, generation: u64) -> usize {
        let steps = low_bits(generation).wrapping_sub(self.0.get() >> UNIT_BITS);
        (steps & (LIVE_MAX - 1)) as usize
    }
}

/// What tells generations apart that are there at one time: five bits.
#[expect(clippy::cast_possible_truncation, reason = "five bits are wanted")]
pub(super) fn low_bits(generation: u64) -> u32 {
    generation as u32 & (LIVE_MAX - 1)
}

/// Fewer generations than this are there at one time. A power of two.
pub(super) const LIVE_MAX: u32 = 32;

const UNIT_BITS: u32 = 27;

#[cfg(test)]
mod tests {
    use super::Location;

    #[test]
    fn a_place_is_what_it_was_made_of() {
        for generation in [1, 15, 16, 31, 32, 33, 160] {
            for offset in [0, 8, 1 << 29, (1 << 30) - 16] {
                let place = Location::new(generation, offset).unwrap();
                assert_eq!(place.offset(), offset);
                assert_eq!(Location::of_bits(place.bits()), Some(place));
                assert!(place.is_of(generation) && !place.is_of(generation + 1));
                assert_eq!(place.steps_back(generation + 3), 3);
            }
            assert_eq!(Location::new(generation, (1 << 30) - 8), None);
        }
    }
}
