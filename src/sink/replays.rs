//! The replays of a sink, whichever way it delivers: one at a time is taken up, saved about once a second, and ended.

use crate::feed::{Decided, Feed, FeedError, Feeds, Replay, ReplayState, Replays, Selection};
use crate::relay::Sleeper;
use std::sync::Arc;

/// The replays of one sink.
pub struct SinkReplays {
    sink: String,
    replays: Replays,
    feeds: Feeds,
}

impl SinkReplays {
    /// What `replays` holds for `sink`, read from feeds of its own.
    pub fn new(sink: &str, replays: Replays, feeds: Feeds) -> SinkReplays {
        SinkReplays {
            sink: sink.to_owned(),
            replays,
            feeds,
        }
    }

    /// Takes up the next one, if any waits: with a feed that begins where it is, and what of that a sink is to have
    /// that asks for `own`. What is offered to the feed wakes `sleeper`.
    pub(super) fn take_up(
        &mut self,
        sleeper: &Arc<Sleeper>,
        own: &Selection,
    ) -> Option<(Replay, Feed<Decided>, Selection)> {
        let replay = self.replays.take_up(&self.sink)?;
        let (_, feed) = self.feeds.open(sleeper, replay.next.max(1));
        let wanted = replay.wanted(own);
        Some((replay, feed, wanted))
    }

    /// Saves that everything before `next` is done, durably; `at_end` if its feed has given all that there is. True if
    /// the replay is over: it has ended, or cannot be saved.
    pub(super) fn save(&mut self, replay: &mut Replay, next: u64, at_end: bool) -> bool {
        let end = replay.to.saturating_add(1);
        // Else what is behind the end of the feed is still to come.
        let is_done = at_end && self.feeds.is_decided_to(replay.to);
        replay.next = if is_done { end } else { next.min(end) };
        if !replay.state.is_final() && replay.next == end {
            replay.state = ReplayState::Done;
        }
        if let Err(error) = self.replays.save(replay) {
            return self.replays.give_up(&replay.id, &error);
        }
        let has_ended = replay.state.is_final();
        if has_ended {
            let (sink, id, state) = (&self.sink, &replay.id, replay.state.name());
            tracing::info!(sink, replay = id, state, "a replay to the sink has ended");
        }
        has_ended
    }

    /// The journal cannot be read where the replay is: it has failed, which is to be saved.
    pub(super) fn fail(&self, replay: &mut Replay, error: &FeedError) {
        let (sink, id) = (&self.sink, &replay.id);
        tracing::error!(sink, replay = id, %error, "a replay to the sink cannot go on and has failed; live delivery goes on; correct what the error names, and ask for the replay again");
        replay.fail(error.to_string());
    }
}
