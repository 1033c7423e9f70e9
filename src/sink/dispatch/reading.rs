//! How much is read for a sink, of which lane, and when.
//!
//! A lane is full when as many of its items are open as a cursor names, or as memory is meant for. If all that could go
//! of them has failed before, nobody knows whether the receiver takes anything, and what is behind them would wait for
//! good. So a full lane goes on one item at a time, until ten times as many are open, or twice the memory is taken.
//! What is open beyond the first 1,000 is not named by the cursor: what was delivered behind those comes again after
//! a restart.

use super::in_flight::InFlightSet;
use super::intake::Intake;
use super::source::Source;
use super::{Limits, Running, SinkError};
use crate::feed::OPEN_MAX;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

impl Running {
    /// Takes what the feeds have, as far as there is use for it, and for a bounded time: true if there is more. While
    /// the receiver is away that is one for the next probe: what has failed already may be refused for itself.
    pub(super) fn take_in(&mut self, now: Instant) -> Result<bool, SinkError> {
        let probes = self.breaker.is_open();
        let stopping = self.parts.stop.load(Ordering::Acquire);
        if probes {
            let is_due = self.breaker.next_probe().is_some_and(|at| at <= now);
            if !is_due || self.in_flight.has_new() || self.in_flight.is_asking() {
                return Ok(false);
            }
        }
        // Lanes that are at the same place go on in step, so that each batch is taken apart once.
        for _ in 0..READS_MAX {
            if !self.take_in_once(probes, stopping)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// At most one batch of each lane; true if any was read. For a probe, only until there is something new.
    fn take_in_once(&mut self, probes: bool, stopping: bool) -> Result<bool, SinkError> {
        let mut has_read = false;
        for place in 0..self.lanes.len() {
            let source = Source::Lane(place);
            let mut may_read = is_its_turn(&self.lanes, &self.in_flight, place);
            let lane = &mut self.lanes[place];
            loop {
                // What has failed and waits for its turn is no reason not to look for something that was never tried.
                let has_room = if probes {
                    !is_full(lane, &self.in_flight, source)
                } else {
                    has_room(lane, &self.in_flight, source, &self.parts.limits)
                };
                if !has_room && (stopping || !goes_on(lane, &self.in_flight, source)) {
                    break;
                }
                if probes && self.in_flight.has_new() {
                    return Ok(false);
                }
                if let Some(next) = lane.next() {
                    self.in_flight.enter(next);
                    continue;
                }
                if !std::mem::take(&mut may_read) {
                    break;
                }
                match lane.read_on() {
                    Ok(true) => has_read = true,
                    Ok(false) => break,
                    // Descriptors or memory come back; and nothing is lost by waiting.
                    Err(error) if error.is_shortage() => {
                        if let Some(times) = self.lines.unreadable.count() {
                            let sink = &self.parts.name;
                            tracing::warn!(sink, times, %error, "the sink cannot read the journal for lack of file descriptors or memory: nothing is delivered to it meanwhile; it is tried again every second; raise LimitNOFILE");
                        }
                        std::thread::sleep(SHORTAGE_PAUSE);
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(has_read)
    }
}

/// Whether there is use for more from this lane: not while enough waits for a slot, nor while it is full.
pub(super) fn has_room(
    lane: &Intake,
    in_flight: &InFlightSet,
    source: Source,
    limits: &Limits,
) -> bool {
    !is_full(lane, in_flight, source)
        && in_flight.ready(source) < 2 * limits.concurrency * limits.batch
}

/// Whether as much of this lane is open as a cursor names, or as memory is meant for it.
pub(super) fn is_full(lane: &Intake, in_flight: &InFlightSet, source: Source) -> bool {
    lane.open() >= OPEN_MAX || in_flight.is_full(source)
}

/// Whether a lane that is full has a place for one item more: when nothing is under way, or may go, that never failed.
pub(super) fn goes_on(lane: &Intake, in_flight: &InFlightSet, source: Source) -> bool {
    is_full(lane, in_flight, source)
        && lane.open() < BEYOND * OPEN_MAX
        && !in_flight.is_full_beyond(source)
        && !in_flight.tries_new(source)
}

/// Whether a lane may read on. As long as the more urgent ones have not found all that is theirs it gets no slot, so it
/// stays behind them, and finds there what they have taken apart. It does not wait for one that has no room because of
/// what fails.
pub(super) fn is_its_turn(lanes: &[Intake; 3], in_flight: &InFlightSet, place: usize) -> bool {
    let (urgent, rest) = lanes.split_at(place);
    let Some(lane) = rest.first() else {
        return false;
    };
    let mut urgent = urgent.iter().enumerate();
    urgent.all(|(place, it)| {
        let is_out = it.is_at_end() || is_full(it, in_flight, Source::Lane(place));
        is_out || lane.position() < it.position()
    })
}

/// Batches of a lane that are read before it looks at what has come back.
pub(super) const READS_MAX: usize = 16;

/// How many times as many items as a cursor names may be open in a lane.
const BEYOND: usize = 10;

/// How long it waits for descriptors or memory.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);
