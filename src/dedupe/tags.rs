//! Where in the table a key is looked for: by a hash whose seed is drawn anew in each process, over the whole text.
//!
//! The fingerprint of an event is the same everywhere, because it stands in files, so anybody can make as many ids as
//! he likes that have one. In the table each of them would have to be compared with all others.

use foldhash::quality::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::LazyLock;

/// Makes tags.
#[derive(Clone, Debug)]
pub(super) struct Tags {
    seed: RandomState,
    /// The bits of a tag that are used: all of them but in tests.
    used: u32,
}

impl Tags {
    /// Those of this process.
    pub(super) fn new() -> Tags {
        Tags {
            seed: seed(),
            used: u32::MAX,
        }
    }

    /// Only 16 different ones.
    #[cfg(test)]
    pub(super) fn few() -> Tags {
        Tags {
            used: 0xf000_0000,
            ..Tags::new()
        }
    }

    /// The tag of a key of this [group](super::Scope::group).
    pub(super) fn of(&self, group: u32, key: &[u8]) -> u32 {
        let mut hasher = self.seed.build_hasher();
        hasher.write_u32(group);
        hasher.write(key);
        (hasher.finish() >> 32) as u32 & self.used
    }
}

/// The seed of this process, for all that strangers could aim at.
pub(super) fn seed() -> RandomState {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    SEED.clone()
}

#[cfg(test)]
mod tests {
    use super::Tags;
    use crate::event::fingerprint;
    use std::collections::HashSet;

    /// Texts of 16 bytes with one fingerprint: what the first eight make of its state, the last eight take back.
    fn colliding(count: u64) -> impl Iterator<Item = [u8; 16]> {
        let fold = |a: u64, b: u64| {
            let product = (u128::from(a) * u128::from(b)).to_le_bytes();
            let half = |from: usize| {
                u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|at| product[from + at]))
            };
            half(0) ^ half(8)
        };
        (0..count).map(move |first| {
            let state = fold(0x243f_6a88_85a3_08d3 ^ first, 0x1319_8a2e_0370_7345);
            let mut text = [0; 16];
            text[..8].copy_from_slice(&first.to_le_bytes());
            text[8..].copy_from_slice(&(state ^ 0x1267).to_le_bytes());
            text
        })
    }

    #[test]
    fn ids_that_are_made_to_have_one_fingerprint_have_tags_of_their_own() {
        let fingerprints: HashSet<u64> = colliding(1000).map(|text| fingerprint(&text)).collect();
        assert_eq!(fingerprints.len(), 1);
        let tags = Tags::new();
        let found: HashSet<u32> = colliding(1000).map(|text| tags.of(1, &text)).collect();
        assert!(found.len() > 990, "{}", found.len());
        // Nor does it help to post them to many endpoints.
        let found: HashSet<u32> = (0..1000).map(|group| tags.of(group, b"wamid.A")).collect();
        assert!(found.len() > 990, "{}", found.len());
    }
}
