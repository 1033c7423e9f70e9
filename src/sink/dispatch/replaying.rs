//! Replays, as far as the sink delivers them: beside everything else, and after it.

use super::Running;
use super::intake::{Choice, Intake};
use super::reading::{READS_MAX, goes_on, has_room};
use super::source::Source;
use crate::event::Item;
use crate::feed::Replay;
use crate::sink::rate::Rate;
use std::sync::Arc;
use std::time::Instant;

/// The one that is under way.
pub(super) struct Replaying {
    replay: Replay,
    pub(super) id: Arc<str>,
    pub(super) intake: Intake,
    pub(super) rate: Rate,
}

impl Running {
    /// Takes up the next replay, or says how far the present one is. For once a second.
    pub(super) fn look_after_replay(&mut self) {
        match self.replaying.take() {
            Some(replaying) => self.save_replay(replaying),
            None => self.take_up_replay(),
        }
    }

    fn take_up_replay(&mut self) {
        let parts = &mut self.parts;
        let Some((replay, feed, wanted)) = parts.replays.take_up(&parts.sleeper, &parts.wanted)
        else {
            return;
        };
        let choice = Choice {
            wanted,
            ..parts.choice()
        };
        self.replaying = Some(Replaying {
            id: replay.id.as_str().into(),
            intake: Intake::replay(feed, choice),
            rate: Rate::new(u64::from(replay.rate)),
            replay,
        });
    }

    fn save_replay(&mut self, mut replaying: Replaying) {
        let intake = &replaying.intake;
        let next = intake.progress().confirmed + 1;
        let at_end = intake.is_at_end() && intake.open() == 0;
        if self.parts.replays.save(&mut replaying.replay, next, at_end) {
            self.in_flight.forget(Source::Replay);
        } else {
            self.replaying = Some(replaying);
        }
    }

    /// Takes what the replay has, as far as there is use for it, and for a bounded time: true if there is more.
    pub(super) fn take_in_replay(&mut self) -> bool {
        let Some(replaying) = &mut self.replaying else {
            return false;
        };
        if replaying.replay.state.is_final() {
            // There was no space to save that.
            return false;
        }
        let intake = &mut replaying.intake;
        let left_out = intake.tally.left_out();
        let (mut reads, mut has_more) = (0, true);
        let (source, limits) = (Source::Replay, &self.parts.limits);
        while has_more
            && reads < READS_MAX
            && (has_room(intake, &self.in_flight, source, limits)
                || goes_on(intake, &self.in_flight, source))
        {
            if let Some(next) = intake.next() {
                self.in_flight.enter(next);
                continue;
            }
            reads += 1;
            has_more = match intake.read_on() {
                Ok(has_read) => has_read,
                Err(error) if error.is_shortage() => false,
                Err(error) => {
                    self.parts.replays.fail(&mut replaying.replay, &error);
                    false
                }
            };
        }
        replaying.replay.skipped += intake.tally.left_out() - left_out;
        has_more && reads == READS_MAX
    }

    /// When the replay's own rate lets the next one go, if that is not now.
    pub(super) fn replay_waits(&self, now: Instant) -> Option<Instant> {
        self.replaying.as_ref()?.rate.wait(now)
    }

    pub(super) fn replay_item_done(&mut self, item: Item, delivered: bool) {
        let Some(replaying) = &mut self.replaying else {
            return;
        };
        replaying.intake.done(item);
        let counter = if delivered {
            &mut replaying.replay.delivered
        } else {
            &mut replaying.replay.failed
        };
        *counter += 1;
    }
}
