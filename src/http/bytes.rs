//! Sets of bytes that a grammar allows somewhere.

/// The letters and digits, and some other bytes.
pub(super) struct Bytes([bool; 256]);

impl Bytes {
    /// Those, and `others`.
    #[expect(clippy::indexing_slicing, reason = "a wrong one stops the compiler")]
    pub(super) const fn new(others: &[u8]) -> Bytes {
        let mut set = [false; 256];
        let mut byte = 0;
        while byte < set.len() {
            #[expect(clippy::cast_possible_truncation, reason = "it is below 256")]
            let is_in = (byte as u8).is_ascii_alphanumeric();
            set[byte] = is_in;
            byte += 1;
        }
        let mut other = 0;
        while other < others.len() {
            set[others[other] as usize] = true;
            other += 1;
        }
        Bytes(set)
    }

    #[inline]
    #[expect(clippy::indexing_slicing, reason = "there is one for each byte")]
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }
}
