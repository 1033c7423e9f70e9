//! Whether the journal is still where the next start looks for it.
//!
//! A directory that is moved, removed or replaced, or a segment that is, leaves open files good: writes and syncs go on
//! without an error, into what nobody finds again. In a segment that is truncated they go on behind a gap. So what is
//! open is compared with what has its name and with its own length, once a second beside the commits, before a segment
//! is left, at the end, and before each change of names. What was reported durable within that second is where the
//! files went.

use super::error::JournalError;
use super::segment::Segment;
use crate::disk::{self, Identity, IoContext, Storage};
use std::time::{Duration, Instant};

/// When the next look is due.
pub(crate) struct Watch(Instant);

impl Watch {
    /// One whose first look is due.
    pub(crate) fn new() -> Watch {
        Watch(Instant::now())
    }

    /// The time until then.
    pub(crate) fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// True once for each time that one is due.
    pub(crate) fn is_due(&mut self) -> bool {
        let due = self.left().is_zero();
        if due {
            self.0 = Instant::now() + INTERVAL;
        }
        due
    }
}

/// Refuses when another file than `expected`, or none, has this name. No name is the directory itself.
pub(crate) fn check(
    storage: &dyn Storage,
    name: &str,
    expected: Identity,
) -> Result<(), JournalError> {
    let path = || storage.describe(name).trim_end_matches('/').to_owned();
    match storage.identity(name) {
        Ok(Some(found)) if found == expected => Ok(()),
        Ok(Some(_)) => Err(JournalError::Displaced {
            path: path(),
            how: "was replaced",
        }),
        Ok(None) => Err(JournalError::Displaced {
            path: path(),
            how: "is gone",
        }),
        Err(error) => Err(disk::Error::on(storage, "find", name, error).into()),
    }
}

/// Refuses when a segment has lost bytes, or has another file's name.
pub(crate) fn check_segment(
    storage: &dyn Storage,
    name: &str,
    segment: &Segment,
) -> Result<(), JournalError> {
    let identity = segment.file.identity().on(storage, "look at", name)?;
    check(storage, name, identity)?;
    if segment.file.length().on(storage, "look at", name)? < segment.size {
        return Err(JournalError::Displaced {
            path: storage.describe(name),
            how: "was truncated",
        });
    }
    Ok(())
}

const INTERVAL: Duration = Duration::from_secs(1);
