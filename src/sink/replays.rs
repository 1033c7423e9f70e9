//! Replays to a stream: what was asked for goes out once more, marked, when nothing else waits.

use super::{Runner, Sink, SinkError};
use crate::feed::{Decided, Feed, Feeds, Replay, ReplayState, Replays, Selection};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The replays of one sink.
#[derive(Debug)]
pub struct StreamReplays {
    sink: String,
    replays: Replays,
    feeds: Feeds,
    looked_at: Instant,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    replay: Replay,
    feed: Feed<Decided>,
    wanted: Selection,
    /// When its rate lets the next ones go.
    not_before: Instant,
    /// Delivered since the last time that everything was confirmed.
    delivered: u64,
    skipped: u64,
}

impl StreamReplays {
    /// What `replays` holds for `sink`, read from feeds of its own.
    pub fn new(sink: &str, replays: Replays, feeds: Feeds) -> StreamReplays {
        StreamReplays {
            sink: sink.to_owned(),
            replays,
            feeds,
            looked_at: Instant::now(),
            under_way: None,
        }
    }

    /// How long nothing is to be done here; `None` without a replay.
    pub(super) fn waits(&self) -> Option<Duration> {
        let under_way = self.under_way.as_ref()?;
        Some(
            under_way
                .not_before
                .saturating_duration_since(Instant::now()),
        )
    }

    /// Something went out that is not confirmed.
    pub(super) fn is_open(&self) -> bool {
        let under_way = self.under_way.as_ref();
        under_way.is_some_and(|it| it.feed.position() > it.replay.next)
    }

    /// Looks about once a second whether somebody asks for one.
    pub(super) fn look(&mut self, wanted: &Selection) {
        if self.under_way.is_some() || self.looked_at.elapsed() < LOOK_INTERVAL {
            return;
        }
        self.looked_at = Instant::now();
        let Some(replay) = self.replays.take_up(&self.sink) else {
            return;
        };
        let (_, feed) = self.feeds.open(&Arc::default(), replay.next.max(1));
        self.under_way = Some(UnderWay {
            wanted: replay.wanted(wanted),
            replay,
            feed,
            not_before: Instant::now(),
            delivered: 0,
            skipped: 0,
        });
    }

    /// Everything that went out is confirmed.
    pub(super) fn confirmed(&mut self) {
        let Some(under_way) = &mut self.under_way else {
            return;
        };
        let UnderWay { replay, feed, .. } = under_way;
        replay.next = feed.position().min(replay.to.saturating_add(1));
        replay.delivered += std::mem::take(&mut under_way.delivered);
        replay.skipped += std::mem::take(&mut under_way.skipped);
        if !replay.state.is_final() && (replay.next > replay.to || feed.is_at_end()) {
            replay.state = ReplayState::Done;
        }
        if let Err(error) = self.replays.save(replay) {
            if self.replays.give_up(&replay.id, &error) {
                self.under_way = None;
            }
            return;
        }
        if replay.state.is_final() {
            let (id, state) = (&replay.id, replay.state.name());
            let sink = &self.sink;
            tracing::info!(sink, replay = id, state, "a replay to the sink has ended");
            self.under_way = None;
        }
    }

    /// Nobody knows what of it is there: it goes out again.
    pub(super) fn unconfirmed(&mut self) {
        if let Some(under_way) = &mut self.under_way {
            under_way.feed.go_back_to(under_way.replay.next.max(1));
            (under_way.delivered, under_way.skipped) = (0, 0);
        }
    }
}

impl Runner {
    /// Delivers the next batch of the replay, if it is its turn; true when it has come to its end.
    pub(super) fn replay(&mut self, sink: &mut dyn Sink) -> Result<bool, SinkError> {
        let Some(mut under_way) = self.replays.under_way.take() else {
            return Ok(false);
        };
        let played = self.play(&mut under_way, sink);
        self.replays.under_way = Some(under_way);
        played
    }

    fn play(&self, under_way: &mut UnderWay, sink: &mut dyn Sink) -> Result<bool, SinkError> {
        let now = Instant::now();
        let UnderWay {
            replay,
            feed,
            wanted,
            not_before,
            delivered,
            skipped,
        } = under_way;
        if *not_before > now {
            return Ok(false);
        }
        let from = feed.position();
        if replay.state.is_final() || from > replay.to {
            return Ok(true);
        }
        let delivery = match feed.next(Duration::ZERO) {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return Ok(feed.is_at_end()),
            Err(error) if error.is_shortage() => return Ok(false),
            Err(error) => {
                let sink = self.cursor.sink();
                tracing::error!(sink, replay = replay.id, %error, "a replay to the sink cannot go on and has failed; live delivery goes on; correct what the error names, and ask for the replay again");
                replay.fail(error.to_string());
                return Ok(true);
            }
        };
        sink.note_backlog(true);
        let tally = self.retry(|| sink.deliver(&delivery, from, wanted))?;
        self.statistics.replayed.add(tally.wanted);
        *delivered += tally.wanted;
        *skipped += tally.left_out();
        if let Some(rate) = u32::try_from(tally.wanted).ok().filter(|_| replay.rate > 0) {
            *not_before = now + Duration::from_secs(1) * rate / replay.rate;
        }
        Ok(false)
    }
}

const LOOK_INTERVAL: Duration = Duration::from_secs(1);
