//! How results are written: for people, and how far something is.

pub(super) mod progress;
pub(super) mod table;
pub(super) mod times;
pub(super) mod units;

use std::io::{self, Write as _};

/// Says on stderr what is to be known beforehand.
pub(super) fn notes(notes: &[String]) {
    for note in notes {
        // Without a stderr nobody reads it.
        let _ = writeln!(io::stderr(), "hookline: {note}");
    }
}
