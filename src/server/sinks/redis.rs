//! The configuration of a sink of type `redis`, as the sink takes it.

use super::super::ServerError;
use super::transports::limits;
use super::{Common, Ready, SinkSetup};
use crate::config::{Dispatch, RedisIds, RedisSink, Secret};
use crate::event::Lane;
use crate::feed::{RecentBatches, Selection};
use crate::sink::redis::{Auto, Context, KeptPosition, Options, Redis};
use crate::sink::{Confirmation, CursorSaver, Runner, Sink, Unit};
use crate::worker::{EventBatch, Live};
use std::io;
use std::sync::Arc;

impl SinkSetup<'_> {
    /// Makes the sink; it connects to nothing yet.
    pub(super) fn redis(
        self,
        common: &Common,
        sink: &RedisSink,
        lives: &mut Vec<Live<Arc<EventBatch>>>,
    ) -> Result<(Confirmation, Ready), ServerError> {
        if let RedisIds::Auto(pace) = &sink.ids {
            return self.redis_auto(common, sink, pace, lives);
        }
        let failed = ServerError::io(format!("start the sink {}", self.sink.name));
        let kept = |lane: Lane| KeptPosition {
            journal: common.cursors.journal().to_string(),
            cursor: self.cursor_state(common),
            stream: sink.stream.of_lane(lane),
            replays: Lane::ALL.map(|lane| format!("{}.replay", sink.stream.of_lane(lane))),
        };
        let made = |lane: Lane| -> io::Result<Box<dyn Sink>> {
            let options = redis_options(&self.sink.name, sink);
            Redis::sink(options, kept(lane), Arc::clone(&self.statistics))
        };
        if !sink.stream.names_lanes(false) {
            let target = made(Lane::Messages).map_err(failed)?;
            return self.stream(common, target, lives);
        }
        let made: io::Result<Vec<Box<dyn Sink>>> = Lane::ALL.into_iter().map(made).collect();
        let made = made.map_err(failed)?.try_into();
        let targets = made.map_err(|_| {
            let cause = io::Error::other("a lane has no target");
            ServerError::io("start a sink".to_owned())(cause)
        })?;
        let ready = self.streams(common, targets, lives)?;
        Ok((Confirmation::Memory, ready))
    }

    /// One by one.
    fn redis_auto(
        self,
        common: &Common,
        sink: &RedisSink,
        pace: &Dispatch,
        lives: &mut Vec<Live<Arc<EventBatch>>>,
    ) -> Result<(Confirmation, Ready), ServerError> {
        let context = Context {
            stream: sink.stream.clone(),
            stream_text: sink.stream_text.clone(),
            forms: Arc::clone(&common.feeds.forms),
            statistics: Arc::clone(&self.statistics),
        };
        let name = &self.sink.name;
        let options = redis_options(name, sink);
        let failed = ServerError::io(format!("start the sink {name}"));
        let limits = limits(pace, Unit::Event, 1);
        let make: super::transports::Make = Box::new(move |outcomes| {
            let auto = Auto::new(options, context, outcomes);
            Ok(Box::new(auto.map_err(failed)?))
        });
        self.dispatched(common, limits, make, lives)
    }

    /// A stream with a target for each lane, in the order of [`Lane::ALL`]. The first one has the replays.
    fn streams(
        self,
        common: &Common,
        targets: [Box<dyn Sink>; Lane::COUNT],
        lives: &mut Vec<Live<Arc<EventBatch>>>,
    ) -> Result<Ready, ServerError> {
        let (wanted, mut replays) = (self.wanted(common)?, Some(self.replays(common)?));
        let shared = RecentBatches::default();
        let saved = self.cursor.saved().clone();
        let savers = CursorSaver::of_lanes(self.cursor);
        let mut all = Vec::new();
        let lanes = Lane::ALL.into_iter().zip(&saved);
        for (((lane, progress), cursor), target) in lanes.zip(savers).zip(targets) {
            let next = (progress.confirmed + 1).max(self.first);
            let (live, feed) = common.feeds.open_beside(&shared, &Arc::default(), next);
            lives.push(live);
            let runner = Runner {
                feed,
                replays: replays.take(),
                wanted: Selection {
                    lane: Some(lane),
                    ..wanted.clone()
                },
                cursor,
                statistics: Arc::clone(&self.statistics),
                stop: Arc::clone(&self.asked.stop),
                leave: Arc::clone(&self.asked.leave),
            };
            all.push((runner, target));
        }
        Ok(Ready::Streams(all))
    }
}

/// What both ways take.
pub(in crate::server) fn redis_options(name: &str, sink: &RedisSink) -> Options {
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    Options {
        sink: name.to_owned(),
        target: sink.target.clone(),
        user: sink.user.clone(),
        password: sink.password.as_ref().map(text),
        files: sink.tls.files.clone(),
        create: sink.create,
        max_length: sink.max_length,
        wait: sink.wait,
        timeout: sink.timeout,
    }
}
