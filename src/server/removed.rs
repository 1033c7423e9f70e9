//! Sinks that have a cursor and are not in the configuration: what they leave, and until when they could come back.
//!
//! Nothing is kept for them: the journal's retention asks the cursors of sinks that run, and no others. For a start and
//! a reload, behind the sinks that have taken over what another had.

use crate::config::Config;
use crate::disk::{Storage, command, quoted};
use crate::feed::{self, CursorError, Cursors, Lanes, StoredCursor};
use crate::journal;
use jiff::Timestamp;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// A sink that has a cursor and is not in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) name: String,
    /// How far it had come.
    lanes: Lanes,
    /// What it has not had stays until then at least, in microseconds since 1970, unless the journal outgrows
    /// `max_size`.
    pub(super) until: u64,
}

impl Removed {
    /// Notifications that it has not had, of a journal that has these sequences.
    pub(super) fn undelivered(&self, there: RangeInclusive<u64>) -> u64 {
        feed::undelivered(&self.lanes, there)
    }
}

/// Those that there are, beside a journal that has these sequences. One whose cursor cannot be read is logged.
pub(super) fn removed(
    config: &Config,
    cursors: &Cursors,
    journal: &Arc<dyn Storage>,
    there: &RangeInclusive<u64>,
) -> Result<Vec<Removed>, CursorError> {
    let mut removed = Vec::new();
    for StoredCursor { sink: name, saved } in cursors.all()? {
        if config.sinks.iter().any(|it| it.name == name) {
            continue;
        }
        let saved = match saved {
            Ok(saved) => saved,
            Err(error) => {
                let remove = command(
                    &format!("sink forget {}", quoted(&name)),
                    &config.journal.dir,
                );
                tracing::warn!(
                    sink = name, %error, remove,
                    "a cursor cannot be read, and its sink is not in the configuration: nothing is delivered to it; if the sink is gone for good, `remove` takes it away"
                );
                continue;
            }
        };
        let next = (feed::confirmed(&saved.lanes) + 1).max(*there.start());
        // What comes next is the first that it misses, if it misses nothing yet.
        let oldest = journal::received_at(journal, next).ok().flatten();
        let oldest = oldest.unwrap_or_else(|| journal.now());
        removed.push(Removed {
            until: oldest.saturating_add(micros(config.journal.retention)),
            lanes: saved.lanes,
            name,
        });
    }
    Ok(removed)
}

/// Says of each what it leaves in a journal that has these sequences, and what to do.
pub(super) fn log_removed(config: &Config, removed: &[Removed], there: &RangeInclusive<u64>) {
    for sink in removed {
        let (name, until) = (&sink.name, rfc3339(sink.until));
        let notifications = sink.undelivered(there.clone());
        let forget = command(
            &format!("sink forget {}", quoted(name)),
            &config.journal.dir,
        );
        tracing::warn!(
            sink = name,
            notifications,
            until,
            forget,
            "the sink is not in the configuration any more: so many notifications are stored that it has not had, and nothing is kept for it; back in the configuration before `until` it goes on where it was and misses nothing, unless the journal outgrows max_size; from then on their segments are free; a sink that has another name now takes its place over with former_name; if it is gone for good, `forget` removes what it has left"
        );
    }
}

/// To the second.
fn rfc3339(at: u64) -> String {
    let seconds = i64::try_from(at / 1_000_000).unwrap_or(i64::MAX);
    let at = Timestamp::from_second(seconds);
    at.unwrap_or(Timestamp::MAX).to_string()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
