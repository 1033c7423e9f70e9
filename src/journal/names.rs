//! What the files of a journal are called.

/// Ending of a segment that is being made.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Ending of a segment.
pub(crate) const SEGMENT: &str = ".segment";

/// Ending of a segment that was retired and waits for a new life.
pub(crate) const SPARE: &str = ".spare";

/// File name of the segment of this epoch.
pub(crate) fn segment(epoch: u64) -> String {
    format!("{epoch:020}{SEGMENT}")
}

/// The epoch that a file name gives, if it is one of a segment.
pub(crate) fn epoch_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT)?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|octet| octet.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits)
}
