//! Numbers that are drawn from a seed: whoever knows the seed draws the same again. Nothing secret may come from here.

/// `SplitMix64` (Steele, Lea, Flood, 2014): any number is a good state, also one that counts.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is far below 2^64, so that the bias is too.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// One of them.
    pub(crate) fn among<'a, T: ?Sized>(&mut self, choice: &[&'a T]) -> &'a T {
        let index = self.below(choice.len() as u64);
        choice[usize::try_from(index).unwrap_or_default()]
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_gives_the_numbers_that_it_always_gave() {
        let mut random = Random(0);
        assert_eq!(
            random.next(),
            0xe220_a839_7b1d_cdaf,
            "of the reference implementation"
        );
        assert_eq!(
            (random.below(10), Random(7).below(0)),
            (0x6e78_9e6a_a1b9_65f4 % 10, 0)
        );
    }
}
