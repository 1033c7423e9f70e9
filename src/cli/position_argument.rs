//! A place in the journal as people name it: a sequence, a time, or so long ago.

use super::error::CliError;
use super::journal::refused;
use crate::config::parse_time;
use crate::disk::Storage;
use crate::journal::{extent, sequence_at};
use jiff::Timestamp;
use std::ops::Range;
use std::str::FromStr;

/// A place in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PositionArgument {
    /// Before everything that there is.
    Start,
    /// Behind everything that there is.
    End,
    /// A notification.
    Sequence(u64),
    /// A time, in microseconds since 1970.
    At(u64),
    /// So many milliseconds ago.
    Ago(u64),
}

impl FromStr for PositionArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<PositionArgument, String> {
        let time = || {
            let at: Timestamp = text.parse().ok()?;
            u64::try_from(at.as_microsecond())
                .ok()
                .map(PositionArgument::At)
        };
        let named = match text {
            "start" => Some(PositionArgument::Start),
            "end" => Some(PositionArgument::End),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().map(PositionArgument::Sequence)
            }
            _ => parse_time(text)
                .ok()
                .map(PositionArgument::Ago)
                .or_else(time),
        };
        named.ok_or_else(|| {
            "write a sequence as in 4711, a time as in 2026-11-23T01:45:00Z, how long ago as in 2h, or start or end"
                .to_owned()
        })
    }
}

impl PositionArgument {
    /// The first sequence that is not before this moment, in the journal in `storage`, which has those of `extent`.
    pub(super) fn resolve(
        self,
        storage: &dyn Storage,
        extent: &Range<u64>,
    ) -> Result<u64, CliError> {
        let at = match self {
            PositionArgument::Start => return Ok(extent.start),
            PositionArgument::End => return Ok(extent.end),
            PositionArgument::Sequence(sequence) => return Ok(sequence),
            PositionArgument::At(at) => at,
            PositionArgument::Ago(milliseconds) => storage
                .now()
                .saturating_sub(milliseconds.saturating_mul(1000)),
        };
        sequence_at(storage, at).map_err(|error| refused("cannot find that time", error))
    }
}

/// The sequences that the journal in `storage` has.
pub(super) fn extent_of(storage: &dyn Storage) -> Result<Range<u64>, CliError> {
    extent(storage).map_err(|error| refused("cannot look into the journal", error))
}

#[cfg(test)]
mod tests {
    use super::PositionArgument;

    #[test]
    fn moments() {
        for (text, moment) in [
            ("4711", Some(PositionArgument::Sequence(4711))),
            ("2h", Some(PositionArgument::Ago(7_200_000))),
            ("start", Some(PositionArgument::Start)),
            ("end", Some(PositionArgument::End)),
            (
                "2026-11-23T01:45:00.5Z",
                Some(PositionArgument::At(1_795_398_300_500_000)),
            ),
            (
                "2026-11-23T02:45:00+01:00",
                Some(PositionArgument::At(1_795_398_300_000_000)),
            ),
            ("2026-11-23T01:45:00", None),
            ("1960-01-01T00:00:00Z", None),
            ("yesterday", None),
            ("", None),
            ("-1", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(text.parse().ok(), moment, "{text}");
        }
    }
}
