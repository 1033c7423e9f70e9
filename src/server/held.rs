//! Says who keeps the journal beyond `max_size`: a sink that has not had the oldest of it, such as one whose consumer
//! sleeps.

use super::sources::Sources;
use crate::log::Repeats;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often it looks: the journal's retention does every 10 s.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What is kept beyond `max_size`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// So many bytes.
    pub(super) bytes: u64,
    /// The sinks that have not had the oldest segment.
    pub(super) by: Vec<String>,
}

impl Held {
    /// As of now.
    pub(super) fn of(sources: &Sources) -> Held {
        let statistics = &sources.journal.statistics;
        let bytes = statistics.held_bytes.load(Ordering::Relaxed);
        let before = statistics.held_before.load(Ordering::Relaxed);
        let sinks = sources.sinks();
        let holds = sinks
            .iter()
            .filter(|sink| sink.statistics.confirmed.get() + 1 < before);
        Held {
            bytes,
            by: match bytes {
                0 => Vec::new(),
                _ => holds.map(|sink| sink.name.clone()).collect(),
            },
        }
    }
}

/// Its lines.
#[derive(Debug, Default)]
pub(super) struct HeldLog {
    /// Those that were named, and are still to be.
    named: Vec<String>,
    begun: Repeats,
}

impl HeldLog {
    /// Says what is new.
    pub(super) fn look(&mut self, held: &Held) {
        if held.by.is_empty() {
            if !std::mem::take(&mut self.named).is_empty() {
                tracing::info!(
                    "no sink keeps the journal beyond max_size any more: what all of them have had goes as it should"
                );
            }
            return;
        }
        // One of several that has gone on is no news.
        if held.by.iter().all(|name| self.named.contains(name)) {
            return;
        }
        if let Some(times) = self.begun.count() {
            self.named.clone_from(&held.by);
            tracing::warn!(
                sink = held.by.join(", "),
                bytes = held.bytes,
                times,
                "the journal is `bytes` over max_size because of what the sink has not had: all of that is kept, and the journal grows until the disk is full; start the sink's consumer or receiver; or stop the server and pass over it with `hookline cursor seek`, or remove the sink from the configuration"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::captured;

    /// A consumer that slept let the journal grow without a line.
    #[test]
    fn who_holds_the_journal_is_named_once_and_that_it_is_over() {
        let held = |names: &[&str]| Held {
            bytes: 4096 * names.len() as u64,
            by: names.iter().map(|it| (*it).to_owned()).collect(),
        };
        let log = captured(|| {
            let mut log = HeldLog::default();
            log.look(&held(&[]));
            (0..9).for_each(|_| log.look(&held(&["crm", "erp"])));
            log.look(&held(&["erp"]));
            (0..9).for_each(|_| log.look(&held(&[])));
        });
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(
            lines[0].contains("sink=\"crm, erp\" bytes=8192 times=1"),
            "{log}"
        );
        assert!(lines[1].contains("INFO"), "{log}");
    }
}
