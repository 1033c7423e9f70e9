//! Replays to a stream: what was asked for goes out once more, marked, when nothing else waits.

use super::super::rate::Rate;
use super::{Running, SinkError};
use crate::feed::{Decided, Feed, Replay, Selection};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The one that is under way.
pub(super) struct Replaying {
    replay: Replay,
    feed: Feed<Decided>,
    wanted: Selection,
    rate: Rate,
    /// When the journal is asked again that had nothing more.
    asks_at: Option<Instant>,
    /// Delivered since the last time that everything was confirmed.
    delivered: u64,
    skipped: u64,
}

impl Running<'_> {
    /// How long nothing is to be done for the replay that is under way.
    pub(super) fn replay_waits(&self) -> Option<Duration> {
        let replaying = self.replaying.as_ref()?;
        if replaying.replay.state.is_final() {
            return Some(LOOK_INTERVAL);
        }
        let now = Instant::now();
        let next = replaying.rate.wait(now).max(replaying.asks_at);
        Some(next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now)))
    }

    /// Something of a replay went out that is not confirmed.
    pub(super) fn replay_is_open(&self) -> bool {
        let replaying = self.replaying.as_ref();
        replaying.is_some_and(|it| it.feed.position() > it.replay.next)
    }

    /// Everything that went out is confirmed.
    pub(super) fn replay_confirmed(&mut self) {
        let Some(replaying) = &mut self.replaying else {
            return;
        };
        let (replay, feed) = (&mut replaying.replay, &replaying.feed);
        replay.delivered += std::mem::take(&mut replaying.delivered);
        replay.skipped += std::mem::take(&mut replaying.skipped);
        let replays = self.parts.replays.as_mut();
        if replays.is_none_or(|it| it.save(replay, feed.position(), feed.is_at_end())) {
            self.replaying = None;
        }
    }

    /// Nobody knows what of it is there: it goes out again.
    pub(super) fn replay_unconfirmed(&mut self) {
        if let Some(replaying) = &mut self.replaying {
            replaying.feed.go_back_to(replaying.replay.next.max(1));
            (replaying.delivered, replaying.skipped) = (0, 0);
        }
    }

    /// Delivers the next batch of a replay, if it is its turn. True when it is to be confirmed and saved: at its end,
    /// and about once a second, to see whether somebody wants it no more. As often it looks whether somebody asks for
    /// one.
    pub(super) fn replay(&mut self) -> Result<bool, SinkError> {
        let is_time = self.looked_at.elapsed() >= LOOK_INTERVAL;
        if is_time {
            self.looked_at = Instant::now();
        }
        let Some(mut replaying) = self.replaying.take() else {
            if is_time {
                self.replaying = self.take_up_replay();
            }
            return Ok(false);
        };
        let is_at_end = self.deliver_replay(&mut replaying);
        self.replaying = Some(replaying);
        Ok(is_at_end? || is_time)
    }

    fn take_up_replay(&mut self) -> Option<Replaying> {
        let parts = &mut self.parts;
        let own = Selection {
            lane: None,
            ..parts.wanted.clone()
        };
        let replays = parts.replays.as_mut()?;
        let (replay, feed, wanted) = replays.take_up(&Arc::default(), &own)?;
        Some(Replaying {
            rate: Rate::new(u64::from(replay.rate)),
            replay,
            feed,
            wanted,
            asks_at: None,
            delivered: 0,
            skipped: 0,
        })
    }

    fn deliver_replay(&mut self, replaying: &mut Replaying) -> Result<bool, SinkError> {
        let Replaying { replay, feed, .. } = replaying;
        let now = Instant::now();
        let waits = replaying.rate.wait(now).max(replaying.asks_at);
        // Once it has ended, there was no space to save that.
        if waits.is_some_and(|until| until > now) || replay.state.is_final() {
            return Ok(false);
        }
        let from = feed.position();
        if from > replay.to {
            return Ok(true);
        }
        let delivery = match feed.next(Duration::ZERO) {
            Ok(Some(delivery)) => delivery,
            Ok(None) => {
                replaying.asks_at = Some(now + ASK_INTERVAL);
                // Whether that is its end is seen when it is saved.
                return Ok(false);
            }
            Err(error) if error.is_shortage() => return Ok(false),
            Err(error) => {
                if let Some(replays) = &self.parts.replays {
                    replays.fail(replay, &error);
                }
                return Ok(true);
            }
        };
        self.sink.note_backlog(true);
        self.sink.note_more(false);
        let wanted = &replaying.wanted;
        let tally = self.retry(|it| it.sink.deliver(&delivery, from, wanted))?;
        self.parts
            .statistics
            .replayed
            .add_beside_others(tally.wanted);
        replaying.delivered += tally.wanted;
        replaying.skipped += tally.left_out();
        replaying.rate.take(now, tally.wanted);
        Ok(false)
    }
}

/// How soon the journal is asked again that had nothing more.
const ASK_INTERVAL: Duration = Duration::from_millis(20);

/// How often it looks for a new replay, and saves the one that is under way.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
