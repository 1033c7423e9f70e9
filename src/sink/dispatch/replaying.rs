//! Replays, as far as the sink delivers them: beside everything else, and after it.

use super::Running;
use super::intake::{Choice, Intake};
use super::rate::Rate;
use super::reading::{READS_MAX, goes_on, has_room};
use super::source::Source;
use crate::event::Item;
use crate::feed::{Replay, ReplayState};
use std::sync::Arc;
use std::time::Instant;

/// The one that is under way.
#[derive(Debug)]
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
        let Some(replay) = parts.replays.take_up(&parts.name) else {
            return;
        };
        let (_, feed) = parts.feeds.open(&parts.sleeper, replay.next.max(1));
        let choice = Choice {
            wanted: replay.wanted(&parts.wanted),
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
        let replay = &mut replaying.replay;
        replay.next = intake.progress().confirmed + 1;
        if !replay.state.is_final() && intake.is_at_end() && intake.open() == 0 {
            replay.next = replay.to.saturating_add(1);
            replay.state = ReplayState::Done;
        }
        let replays = &mut self.parts.replays;
        let saved = replays.save(replay);
        let given_up = saved.is_err_and(|error| replays.give_up(&replaying.id, &error));
        if replay.state.is_final() {
            let state = replay.state.name();
            let sink = &self.parts.name;
            tracing::info!(
                sink,
                replay = &*replaying.id,
                state,
                "a replay to the sink has ended"
            );
        }
        if given_up || replay.state.is_final() {
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
                    let sink = &self.parts.name;
                    tracing::error!(sink, replay = &*replaying.id, %error, "a replay to the sink cannot go on and has failed; live delivery goes on; correct what the error names, and ask for the replay again");
                    replaying.replay.fail(error.to_string());
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
