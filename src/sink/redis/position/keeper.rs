//! What adds the entries, and moves the position with them: one connection at a time.

use super::super::connection::{Connection, are_on_disk, wait_for_disks};
use super::super::said::{described, error_in, text};
use super::super::{Options, entry};
use super::state::EntryId;
use crate::event::{Event, Lane, Position};
use crate::log::Repeats;
use crate::sink::statistics::Statistics;
use crate::sink::stream::Sink;
use crate::sink::stream::positioned::{
    CursorState, Failure, Known, Note, PositionKeeper, Positioned, Rows, Step, Taken, Writer,
};
use ::redis::{Cmd, Pipeline, Value, pipe};
use std::io;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// Whose position it is, and of which stream.
pub struct KeptPosition {
    /// Name of the journal.
    pub journal: String,
    pub cursor: CursorState,
    /// The key of the stream.
    pub stream: String,
    /// Those of the streams that have replays, for each lane in the order of [`Lane::ALL`].
    pub replays: [String; Lane::COUNT],
}

/// The stream of a sink.
pub struct Redis {
    pub(super) options: Options,
    pub(super) kept: KeptPosition,
    /// The key of the hash.
    pub(super) hash: String,
    runtime: Runtime,
    open: Option<Open>,
    /// Something was written, and nobody has asked whether it is on disk.
    is_unconfirmed: bool,
    left_out: Repeats,
}

/// A connection that has taken the position over.
pub(super) struct Open {
    connection: Connection,
    /// The name by which it has.
    pub(super) writer: String,
    /// The replays that it has taken over; the empty one is what is live.
    pub(super) taken: Vec<String>,
    pub(super) base: u64,
    /// The last id of the stream.
    pub(super) top: EntryId,
}

/// What is kept of an entry beside its texts.
pub(in crate::sink) struct RedisRow {
    texts: usize,
    lane: Lane,
}

impl Redis {
    /// The sink, which connects to nothing yet.
    pub fn sink(
        options: Options,
        kept: KeptPosition,
        statistics: Arc<Statistics>,
    ) -> io::Result<Box<dyn Sink>> {
        let cursor = kept.cursor;
        let keeper = Redis {
            hash: format!("{}.position", kept.stream),
            options,
            kept,
            runtime: Builder::new_current_thread().enable_all().build()?,
            open: None,
            is_unconfirmed: false,
            left_out: Repeats::default(),
        };
        Ok(Box::new(Positioned::new(keeper, cursor, statistics)?))
    }

    /// Has these done in one transaction, and the hash watched behind it; gives the answers.
    pub(super) async fn transact(
        &self,
        open: &mut Open,
        these: impl IntoIterator<Item = Cmd>,
    ) -> Result<Vec<Value>, Failure> {
        let mut commands = pipe();
        commands.cmd("MULTI");
        for command in these {
            commands.add_command(command);
        }
        commands.cmd("EXEC");
        commands.cmd("WATCH").arg(&self.hash);
        commands.cmd("HGET").arg(&self.hash).arg("writer");
        let answers = asked(open, &commands).await?;
        let [begin @ .., done, watched, writer] = answers.as_slice() else {
            return Err(not_understood());
        };
        for answer in begin {
            worked(answer)?;
        }
        worked(done)?;
        worked(watched)?;
        let Value::Array(done) = done else {
            return Err(Failure::Retry(
                "somebody else has changed the position of the sink beside the stream".to_owned(),
            ));
        };
        if text(writer).as_deref() != Some(&open.writer) {
            // What was done was done before that.
            open.taken.clear();
        }
        Ok(done.clone())
    }

    /// The first rows as commands, and the id of the last one.
    fn entries(
        &self,
        open: &Open,
        rows: &Rows<RedisRow>,
        step: &Step<'_>,
    ) -> Result<(Vec<Cmd>, EntryId), Failure> {
        let mut commands = Vec::with_capacity(step.count + 1);
        let mut top = open.top;
        for (position, start, row) in rows.first(step.count) {
            let mut add = Cmd::new();
            let is_live = step.replay.is_empty();
            let replays = &self.kept.replays[row.lane.index()];
            let stream = if is_live { &self.kept.stream } else { replays };
            add.arg("XADD").arg(stream);
            if is_live && !self.options.create {
                add.arg("NOMKSTREAM");
            }
            if self.options.max_length > 0 {
                add.arg("MAXLEN").arg("~").arg(self.options.max_length);
            }
            if is_live {
                let id = EntryId::of(position, open.base);
                top = id.ok_or_else(|| Failure::Stop("there is no id above this".to_owned()))?;
                add.arg(top.to_string());
            } else {
                add.arg("*").arg("replay").arg(step.replay);
            }
            let texts = rows.texts().get(start..).unwrap_or_default();
            entry::add(&mut add, texts, row.texts);
            commands.push(add);
        }
        Ok((commands, top))
    }

    /// The command that moves the position.
    fn moving(&self, step: &Step<'_>, top: EntryId) -> Cmd {
        let mut set = Cmd::new();
        set.arg("HSET").arg(&self.hash);
        let upto = step.upto.to_string();
        if step.replay.is_empty() {
            // With no entry there is none that could be missing.
            let from = if step.count == 0 {
                step.upto
            } else {
                step.from
            };
            set.arg("position").arg(upto);
            set.arg("from").arg(from.to_string());
            set.arg("top").arg(top.to_string());
        } else {
            set.arg("replay_position").arg(upto);
        }
        set
    }

    async fn add(
        &self,
        open: &mut Open,
        rows: &Rows<RedisRow>,
        step: &Step<'_>,
    ) -> Result<(), Failure> {
        let (mut commands, top) = self.entries(open, rows, step)?;
        commands.push(self.moving(step, top));
        let answers = self.transact(open, commands).await?;
        let added = answers.split_last().map(|(_, added)| added);
        let odd = added.and_then(|added| added.iter().find(|it| text(it).is_none()));
        let Some(odd) = odd else {
            if step.replay.is_empty() {
                open.top = top;
            }
            return Ok(());
        };
        // The position has moved, and the entries are not there.
        let failure = match error_in(odd) {
            None => Failure::Retry(self.missing()),
            // Who has written that is seen with the next connection.
            Some(error) => Failure::Retry(described(error)),
        };
        let back = Step {
            replay: step.replay,
            count: 0,
            from: step.from,
            upto: step.from,
        };
        let back = self.moving(&back, open.top);
        self.transact(open, [back]).await?;
        Err(failure)
    }

    async fn wait(&self, open: &mut Open) -> Result<(), Failure> {
        let (wait, timeout) = (self.options.wait, self.options.timeout);
        let mut commands = pipe();
        wait_for_disks(&mut commands, wait, timeout);
        let answers = asked(open, &commands).await?;
        let answer = answers.first().ok_or_else(not_understood)?;
        are_on_disk(answer, wait).map_err(Failure::Retry)
    }

    /// Runs what needs a connection, within the time that an answer may take and `more`.
    fn within<T>(
        &mut self,
        what: &str,
        work: impl AsyncFnOnce(&Redis, &mut Open) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(mut open) = self.open.take() else {
            return Err(Failure::Retry("there is no connection".to_owned()));
        };
        // The server answers when its own time is over.
        let timeout = self.options.timeout + GRACE;
        let done = self.runtime.block_on(async {
            let done = tokio::time::timeout(timeout, work(self, &mut open)).await;
            done.unwrap_or_else(|_| Err(Failure::too_late(what)))
        });
        self.open = Some(open);
        done
    }
}

impl PositionKeeper for Redis {
    type Row = RedisRow;

    fn is_ready(&mut self, replay: &str) -> bool {
        // What the server has ended is seen by the task that reads: it is woken, and then it runs.
        self.runtime.block_on(async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        });
        if self
            .open
            .as_ref()
            .is_some_and(|it| it.connection.has_ended())
        {
            self.open = None;
        }
        let open = self.open.as_ref();
        open.is_some_and(|open| open.taken.iter().any(|it| it == replay))
    }

    fn take_over(
        &mut self,
        replay: &str,
        known: &Known,
        writer: &Writer<'_>,
    ) -> Result<Taken, Failure> {
        if self.open.is_none() {
            let connection = self.runtime.block_on(Connection::open(&self.options));
            self.open = Some(Open {
                connection: connection.map_err(Failure::Retry)?,
                writer: writer.name.to_owned(),
                taken: Vec::new(),
                base: 0,
                top: EntryId::default(),
            });
        }
        let what = "what stands in the stream and beside it";
        let decision = self.within(what, async |redis, open| {
            redis.take(open, replay, known, writer.process).await
        })?;
        Ok(Taken {
            decision,
            confirmation: self.options.wait.confirmation(),
        })
    }

    fn push(&self, rows: &mut Rows<RedisRow>, event: Event<'_>, raw_body: &[u8]) {
        let open = self.open.as_ref();
        let value_max = open.and_then(|open| open.connection.value_max);
        rows.push(event.position(), |out| {
            let written = entry::write(event, raw_body, value_max, out);
            if let Some(bytes) = written.left_out
                && let Some(times) = self.left_out.count()
            {
                let (sink, position) = (&self.options.sink, event.position());
                tracing::warn!(
                    sink, %position, bytes, max = value_max, times,
                    "the data of an event are larger than the server takes: its entry stands in the stream without them, with data_bytes; raise proto-max-bulk-len there, and deliver it again with `hookline replay`"
                );
            }
            RedisRow {
                texts: written.texts,
                lane: event.lane(),
            }
        });
    }

    fn store(&mut self, rows: &Rows<RedisRow>, step: &Step<'_>) -> Result<(), Failure> {
        self.is_unconfirmed = self.options.wait.is_asked();
        self.within("a transaction", async |redis, open| {
            redis.add(open, rows, step).await
        })
    }

    fn is_unconfirmed(&self) -> bool {
        self.is_unconfirmed
    }

    /// What an earlier connection has written is covered too: this one has written behind it, to take over.
    fn confirm(&mut self) -> Result<(), Failure> {
        self.within("WAITAOF", async |redis, open| redis.wait(open).await)?;
        self.is_unconfirmed = false;
        Ok(())
    }

    fn disconnect(&mut self) {
        self.open = None;
    }

    fn log(&self, note: Note, at: Position, known: &Known) {
        let sink = &self.options.sink;
        let cursor = known.cursor();
        match note {
            Note::Moved => tracing::info!(
                sink, %at,
                "the cursor of the sink was moved, and its position beside the stream goes there: events that stand in the stream already may come a second time"
            ),
            Note::Beyond => tracing::warn!(
                sink, %at,
                "the position of the sink beside the stream is beyond the journal, which has lost its end or is an older copy, and goes back to it"
            ),
            Note::Behind => tracing::warn!(
                sink, %at, cursor,
                "the stream of the sink has less than its cursor says, as after a restore: what the journal has from there on is delivered again"
            ),
        }
    }

    fn log_loss(&self, at: Position) {
        let sink = &self.options.sink;
        tracing::warn!(
            sink,
            %at,
            "the stream of the sink lacks what it had confirmed, as after a restart of the server or the change to a replica: what the journal has from there on is delivered again"
        );
    }
}

pub(super) async fn asked(open: &mut Open, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
    open.connection.ask(commands).await.map_err(Failure::Retry)
}

pub(super) fn worked(answer: &Value) -> Result<(), Failure> {
    match error_in(answer) {
        Some(error) => Err(Failure::Retry(described(error))),
        None => Ok(()),
    }
}

pub(super) fn not_understood() -> Failure {
    Failure::Retry("the server's answer is not understood".to_owned())
}

/// Beside the time that the server is given itself.
const GRACE: std::time::Duration = std::time::Duration::from_secs(1);
