//! What was received against what became of it, sink by sink.

use super::reading::{End, Job, Outcome};
use super::repeats::Repeats;
use super::tally::{SinkTally, Tally};
use crate::feed;
use crate::journal::JournalId;

/// Everything that an audit finds.
pub struct Balance {
    pub id: JournalId,
    /// The sequence that it begins with.
    pub first: u64,
    /// Numbers and paths.
    pub endpoints: Vec<(u16, String)>,
    /// Begin and end, exclusive, of what repairs have set aside.
    pub holes: Vec<(u64, u64)>,
    /// Sequences that are missing without an explanation.
    pub missing: u64,
    pub sinks: Vec<SinkBalance>,
    pub end: End,
    pub tally: Tally,
    pub repeats: Repeats,
}

/// The balance of one sink, in events.
pub struct SinkBalance {
    pub name: String,
    /// Why its cursor could not be used.
    pub problem: Option<String>,
    pub cursor: u64,
    /// Highest sequence that any lane has come to.
    pub reached: u64,
    /// Notifications that retention took before the sink had them.
    pub retired: u64,
    /// Whether its filters are known.
    pub filtered: bool,
    /// Dead letters that there are, also of what is not in the journal any more.
    pub dead_letters: u64,
    pub received: u64,
    pub tally: SinkTally,
    pub unaccounted: u64,
}

impl Balance {
    pub(super) fn new(job: Job, outcome: Outcome) -> Balance {
        let Job {
            manifest,
            first,
            sinks,
            ..
        } = job;
        let Outcome {
            mut end,
            gaps,
            mut tally,
            repeats,
        } = outcome;
        end.damage.extend(tally.unmarked.take());
        let holes = manifest.holes.iter().map(|hole| {
            let behind = hole.first_sequence.saturating_add(hole.count);
            (hole.first_sequence.max(first), behind.min(end.next))
        });
        // Each sequence is there, set aside, or retired: by their number, and by where they are.
        let explained = end.set_aside + end.retired;
        let missing = (end.next - first)
            .abs_diff(tally.notifications + explained)
            .max(gaps.abs_diff(explained));
        let sinks = sinks.into_iter().zip(&tally.sinks);
        let sinks = sinks.map(|(standing, sink)| {
            let reached = feed::reached(&standing.lanes);
            let beyond = (reached + 1).saturating_sub(end.next);
            SinkBalance {
                name: standing.name,
                problem: standing.problem,
                cursor: feed::confirmed(&standing.lanes),
                reached,
                retired: standing.retired,
                filtered: standing.wanted.is_some(),
                dead_letters: standing.dead_letters.len() as u64,
                received: tally.received,
                unaccounted: tally.received.abs_diff(sink.sum()) + missing + beyond,
                tally: sink.clone(),
            }
        });
        Balance {
            id: manifest.id,
            first,
            endpoints: manifest.endpoints,
            holes: holes.filter(|(begin, behind)| begin < behind).collect(),
            missing,
            sinks: sinks.collect(),
            end,
            tally,
            repeats,
        }
    }

    /// True if nothing is missing, and everything could be looked at.
    pub fn is_even(&self) -> bool {
        let sink = |sink: &SinkBalance| sink.unaccounted == 0 && sink.problem.is_none();
        let looked_at = self.end.damage.is_empty() && self.end.stopped.is_none();
        looked_at && self.missing == 0 && self.sinks.iter().all(sink)
    }
}
