//! Blocks of the disk, and lengths on it.

/// What is written starts at multiples of this many bytes: the block size of the file systems and drives that
/// matter, so a torn write can never reach what was synced before.
pub const ALIGNMENT: usize = 4096;

/// `len` rounded up to [`ALIGNMENT`].
pub fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}

/// A length in memory as one on disk.
pub(crate) fn on_disk(len: usize) -> u64 {
    u64::try_from(len).expect("no usize is wider than 64 bits")
}

/// A length on disk that was checked against a limit, as one in memory.
pub(crate) fn in_memory(len: u64) -> usize {
    usize::try_from(len).expect("limits keep this within memory")
}
