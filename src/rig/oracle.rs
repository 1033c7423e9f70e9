//! What must be in the journal, and what is.
//!
//! The rules, for each connection of each round, whose requests are numbered and answered in order:
//!
//! - what was answered with 200 is there: else it is **lost**;
//! - what is there was sent: else it is **invented**; byte by byte: else it is **altered**;
//! - it is there once: else it is **duplicated**; and in the order in which it was sent: else it is **disordered**;
//! - a round stands behind the one before, sequences have no gap, and what one look has seen the next one
//!   sees at the same place: else it was **moved**.
//!
//! At the front of the journal, retention may take what is there. It is believed only as far as its settings let it
//! come: the latest rounds, as many as it has to leave, are there whole, or the rest of them is lost as well.
//!
//! What was sent and not answered may be there or not. So two counters for each connection say all that there is to
//! know, and a round of a million notifications costs no more memory than one of ten.

use super::closed_loop::body::{Bodies, Name, name_of};
use super::closed_loop::stream::Stream;
use super::findings::{Findings, Kind, difference};
use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;

/// Knows what happened, and judges what the journal holds.
pub(crate) struct Oracle {
    bodies: Bodies,
    /// Bytes of frames at the end of the journal that retention has to leave.
    retained: u64,
    rounds: BTreeMap<u32, Round>,
    pub(crate) findings: Findings,
    /// Notifications that were compared, each time they were.
    pub(crate) compared: u64,
}

struct Round {
    streams: Vec<Stream>,
    /// Where the last look has found it.
    extent: Option<Extent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    /// Sequence of its first record.
    first: u64,
    /// One behind that of its last.
    next: u64,
    /// Of the names, in the order in which they stand.
    digest: u32,
    /// Of its frames.
    bytes: u64,
}

impl Oracle {
    /// Retention leaves at least `retained` bytes of frames.
    pub(crate) fn new(bodies: Bodies, retained: u64) -> Oracle {
        Oracle {
            bodies,
            retained,
            rounds: BTreeMap::new(),
            findings: Findings::default(),
            compared: 0,
        }
    }

    /// A round has ended; rounds come in order.
    pub(crate) fn note(&mut self, round: u32, streams: Vec<Stream>) {
        let extent = None;
        self.rounds.insert(round, Round { streams, extent });
    }

    /// From here on, nothing can have been retired: the first of the latest rounds that have no more bytes than are
    /// left. Only of rounds that were seen; `u64::MAX` without one.
    pub(crate) fn retained_from(&self) -> u64 {
        let seen = self.rounds.values().rev().filter_map(|it| it.extent);
        let mut bytes = 0;
        let latest = seen.take_while(|extent| {
            bytes += extent.bytes;
            bytes <= self.retained
        });
        latest.last().map_or(u64::MAX, |extent| extent.first)
    }

    /// A look at everything from the last round on that was seen already: the new ones for the first time, and that
    /// one again, as another recovery has left it.
    pub(crate) fn check_new(&mut self) -> JournalCheck<'_> {
        let seen = |round: &Round| round.extent;
        let start = self.rounds.values().rev().find_map(seen);
        self.check(start.map_or(0, |extent| extent.first))
    }

    /// A look at everything that retention has left.
    pub(crate) fn check_all(&mut self) -> JournalCheck<'_> {
        self.check(0)
    }

    fn check(&mut self, start: u64) -> JournalCheck<'_> {
        JournalCheck {
            retained_from: self.retained_from(),
            oracle: self,
            start,
            first_round: None,
            last_round: 0,
            next_sequence: (start > 0).then_some(start),
            passes: BTreeMap::new(),
            frame: 0,
            made: Vec::new(),
        }
    }
}

/// One reading of the journal from some place to its end.
pub(crate) struct JournalCheck<'o> {
    oracle: &'o mut Oracle,
    /// The sequence to begin with; 0 for the first that there is.
    pub(crate) start: u64,
    /// See [`Oracle::retained_from`].
    retained_from: u64,
    /// The round of the first record; retention may have taken what stood before.
    first_round: Option<u32>,
    /// The latest round that was met.
    last_round: u32,
    next_sequence: Option<u64>,
    passes: BTreeMap<u32, Pass>,
    /// Bytes of the frame whose first record comes next.
    frame: u64,
    made: Vec<u8>,
}

/// What was met of one round.
struct Pass {
    extent: Extent,
    /// False when retention has taken its beginning.
    whole: bool,
    streams: Vec<Seen>,
}

/// What was met of one connection.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// One behind the highest number; none before the first where that can be any.
    next: Option<u64>,
    /// Numbers below that were not met.
    gaps: Vec<Range<u64>>,
}

impl JournalCheck<'_> {
    /// The next frame of the journal, whose records follow.
    pub(crate) fn begin_frame(&mut self, bytes: u64) {
        self.frame = bytes;
    }

    /// The next record of the journal.
    pub(crate) fn meet(&mut self, sequence: u64, body: &[u8]) {
        let findings = &mut self.oracle.findings;
        self.oracle.compared += 1;
        if let Some(expected) = self.next_sequence.filter(|&expected| expected != sequence) {
            findings.note(Kind::Moved, 1, || {
                format!("sequence {sequence} stands where {expected} should")
            });
        }
        self.next_sequence = Some(sequence + 1);
        let name = name_of(body);
        let sent = name.and_then(|name| {
            let round = self.oracle.rounds.get(&name.round)?;
            let stream = round.streams.get(usize::try_from(name.stream).ok()?)?;
            (name.number < stream.sent).then_some((name, round))
        });
        let Some((name, round)) = sent else {
            let what = name.map_or("a body that nobody sent".to_owned(), describe);
            return findings.note(Kind::Invented, 1, || {
                format!("sequence {sequence}: {what}; not sent")
            });
        };
        self.oracle.bodies.make(name, &mut self.made);
        if let Some(difference) = difference(&self.made, body) {
            findings.note(Kind::Altered, 1, || {
                format!("sequence {sequence}: {}: {difference}", describe(name))
            });
        }
        // Only a look at everything can begin in the middle of a round, where retention has cut.
        let may_be_cut = self.start == 0 && self.passes.is_empty();
        let is_whole = |extent: Extent| extent.first >= sequence.min(self.retained_from);
        let whole = !may_be_cut || round.extent.is_none_or(is_whole);
        self.first_round.get_or_insert(name.round);
        let pass = self
            .passes
            .entry(name.round)
            .or_insert_with(|| Pass::new(sequence, whole, round.streams.len()));
        let late = name.round < self.last_round;
        self.last_round = self.last_round.max(name.round);
        // A frame has records of one round alone: between two rounds a server has ended.
        pass.extent.bytes += mem::take(&mut self.frame);
        if let Some(kind) = pass.meet(sequence, name, late) {
            findings.note(kind, 1, || {
                format!("sequence {sequence}: {}", describe(name))
            });
        }
    }

    /// The journal ends here: what should have come by now is lost.
    pub(crate) fn finish(self) {
        let Oracle {
            rounds, findings, ..
        } = self.oracle;
        let first = match self.first_round {
            // What stood before the first record of a look at everything was retired.
            Some(first) if self.start == 0 => first,
            // Every look is wide enough to hold the round before; an empty journal holds none.
            _ => 0,
        };
        let (start, retained_from) = (self.start, self.retained_from);
        let retired = |round: u32, extent: Option<Extent>| {
            // One that was never seen is still owed.
            extent.is_some_and(|extent| {
                extent.next <= start || (round < first && extent.first < retained_from)
            })
        };
        for (&number, round) in rounds.iter_mut() {
            if retired(number, round.extent) {
                continue;
            }
            let pass = self.passes.get(&number);
            let empty = Seen {
                next: Some(0),
                gaps: Vec::new(),
            };
            for (index, stream) in (0..).zip(&round.streams) {
                let seen = pass.map_or(&empty, |pass| &pass.streams[index]);
                for (count, from) in seen.lost(stream) {
                    findings.note(Kind::Lost, count, || {
                        format!(
                            "round {number}, connection {index}: {count} that were answered, from number {from} on"
                        )
                    });
                }
            }
            let Some(pass) = pass else { continue };
            let moved = round.extent.is_some_and(|before| {
                before.next != pass.extent.next || (pass.whole && before != pass.extent)
            });
            findings.note(Kind::Moved, u64::from(moved), || {
                format!("round {number} does not stand as it stood at the look before")
            });
            if pass.whole {
                round.extent = Some(pass.extent);
            }
        }
        if self.start == 0 {
            rounds.retain(|&number, round| !retired(number, round.extent));
        }
    }
}

impl Pass {
    fn new(first: u64, whole: bool, streams: usize) -> Pass {
        let next = whole.then_some(0);
        let gaps = Vec::new();
        Pass {
            extent: Extent {
                first,
                next: first,
                digest: 0,
                bytes: 0,
            },
            whole,
            streams: vec![Seen { next, gaps }; streams],
        }
    }

    /// Takes note of a record, and says what is wrong with its place.
    fn meet(&mut self, sequence: u64, name: Name, late: bool) -> Option<Kind> {
        let digest = crc32c::crc32c_append(self.extent.digest, &name.stream.to_le_bytes());
        self.extent.digest = crc32c::crc32c_append(digest, &name.number.to_le_bytes());
        self.extent.next = sequence + 1;
        // Bounded by the streams that were sent, which the caller has looked up.
        let seen = &mut self.streams[usize::try_from(name.stream).unwrap_or_default()];
        let kind = seen.meet(name.number);
        kind.or(late.then_some(Kind::Disordered))
    }
}

impl Seen {
    fn meet(&mut self, number: u64) -> Option<Kind> {
        let next = self.next.unwrap_or(number);
        if number >= next {
            if number > next {
                self.gaps.push(next..number);
            }
            self.next = Some(number + 1);
            return None;
        }
        let Some(index) = self.gaps.iter().position(|gap| gap.contains(&number)) else {
            return Some(Kind::Duplicated);
        };
        let gap = self.gaps.swap_remove(index);
        let halves = [gap.start..number, number + 1..gap.end];
        self.gaps
            .extend(halves.into_iter().filter(|half| !half.is_empty()));
        Some(Kind::Disordered)
    }

    /// Answered and not met: how many, from which number on.
    fn lost(&self, stream: &Stream) -> impl Iterator<Item = (u64, u64)> {
        // Nothing met in a round whose beginning was retired: it may all have stood there.
        let tail = self.next.unwrap_or(stream.answered)..stream.answered;
        let missing = self.gaps.iter().cloned().chain([tail]);
        missing.filter_map(|range| {
            let owed = stream.owed(range.clone());
            (owed > 0).then_some((owed, range.start))
        })
    }
}

fn describe(name: Name) -> String {
    let Name {
        round,
        stream,
        number,
    } = name;
    format!("round {round}, connection {stream}, number {number}")
}

#[cfg(test)]
mod tests;
