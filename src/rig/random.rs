//! Numbers that are drawn from a seed, and text made of them: whoever knows the seed makes the same again.

use std::ops::Range;

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

/// Appends exactly `width` digits.
pub(crate) fn digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit += (value % 10).to_le_bytes()[0];
        value /= 10;
    }
}

/// Appends that many letters, eight from each draw: a body of a megabyte costs less than its signature.
pub(crate) fn letters(out: &mut Vec<u8>, random: &mut Random, count: Range<u64>) {
    let count = count.start + random.below(count.end - count.start);
    let end = out.len() + usize::try_from(count).unwrap_or_default();
    while out.len() < end {
        let eight = (random.next() & 0x0f0f_0f0f_0f0f_0f0f) + 0x6161_6161_6161_6161;
        out.extend_from_slice(&eight.to_le_bytes());
    }
    out.truncate(end);
}
