//! Text that is made of numbers, drawn or given.

use crate::random::Random;
use std::ops::Range;

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
