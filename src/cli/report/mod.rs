//! How results are written: for people, and how far something is.

pub(super) mod progress;
pub(super) mod table;
pub(super) mod times;
pub(super) mod units;

use super::Output;
use serde_json::Value;
use std::io::{self, Write as _};

/// Writes a result to stdout, in the form that is wanted.
pub(super) fn print(
    output: Output,
    text: impl FnOnce() -> String,
    json: impl FnOnce() -> Value,
) -> io::Result<()> {
    let text = match output {
        Output::Text => text(),
        Output::Json => format!("{}\n", json()),
    };
    io::stdout().write_all(text.as_bytes())
}

/// Says on stderr what is to be known beforehand.
pub(super) fn notes(notes: &[String]) {
    for note in notes {
        // Without a stderr nobody reads it.
        let _ = writeln!(io::stderr(), "hookline: {note}");
    }
}
