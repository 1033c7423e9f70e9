//! What keeps the rows, and the position with them: one connection at a time.

mod writing;

use super::super::statistics::Statistics;
use super::super::stream::Sink;
use super::super::stream::positioned::{
    Failure, Known, Note, PositionKeeper, Positioned, Rows, Step, Taken, Writer,
};
use super::Options;
use super::connection::{Connection, Notices};
use super::rows::{PostgresRow, push};
use crate::event::{Event, Position};
use crate::log::Repeats;
use crate::sink::delivery_id::{Identity, delivery_id};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// The tables of a sink.
pub struct Postgres {
    options: Options,
    statements: Statements,
    statistics: Arc<Statistics>,
    runtime: Runtime,
    connection: Option<Connection>,
    /// Days that have a partition.
    days: HashSet<i64>,
    notices: Notices,
    as_text: Repeats,
    rejected: Repeats,
}

struct Statements {
    insert: String,
    reject: String,
    move_only: String,
}

impl Postgres {
    /// The sink, which connects to nothing yet.
    pub fn sink(options: Options, statistics: Arc<Statistics>) -> io::Result<Box<dyn Sink>> {
        let (shape, cursor) = (&options.shape, options.cursor);
        let keeper = Postgres {
            statements: Statements {
                insert: shape.insert(),
                reject: shape.reject(),
                move_only: shape.move_only(),
            },
            options,
            statistics: Arc::clone(&statistics),
            runtime: Builder::new_current_thread().enable_all().build()?,
            connection: None,
            days: HashSet::new(),
            notices: Notices::default(),
            as_text: Repeats::default(),
            rejected: Repeats::default(),
        };
        Ok(Box::new(Positioned::new(keeper, cursor, statistics)?))
    }
}

impl PositionKeeper for Postgres {
    type Row = PostgresRow;

    fn is_ready(&mut self, replay: &str) -> bool {
        let timeout = self.options.timeout;
        let open = self.connection.take();
        self.connection = self.runtime.block_on(async {
            let mut open = open?;
            let alive = tokio::time::timeout(timeout, open.is_alive()).await;
            alive.unwrap_or(false).then_some(open)
        });
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| connection.has(replay))
    }

    fn take_over(
        &mut self,
        replay: &str,
        known: &Known,
        writer: &Writer<'_>,
    ) -> Result<Taken, Failure> {
        let open = self.connection.take();
        let (options, notices) = (&self.options, Arc::clone(&self.notices));
        let (connection, decision) = self.runtime.block_on(async {
            let taking = async {
                let mut connection = match open {
                    Some(connection) => connection,
                    None => Connection::open(options, writer.name.to_owned(), notices).await?,
                };
                let taken = connection.take_over(options, replay, known, writer.process);
                let decision = taken.await?;
                Ok::<_, Failure>((connection, decision))
            };
            let taken = tokio::time::timeout(options.timeout, taking).await;
            taken.unwrap_or_else(|_| Err(Failure::too_late("a connection and the sink's row")))
        })?;
        let confirmation = connection.confirmation;
        self.connection = Some(connection);
        Ok(Taken {
            decision,
            confirmation,
        })
    }

    fn push(&self, rows: &mut Rows<PostgresRow>, event: Event<'_>, raw_body: &[u8]) {
        let journal = &self.options.journal;
        let is_unique = self.options.shape.unique_ids;
        let id = is_unique.then(|| delivery_id(journal, event, Identity::Event, None));
        push(rows, event, raw_body, id.as_deref());
    }

    fn store(&mut self, rows: &Rows<PostgresRow>, step: &Step<'_>) -> Result<(), Failure> {
        self.insert(rows, step)
    }

    fn store_odd(
        &mut self,
        rows: &Rows<PostgresRow>,
        step: &Step<'_>,
        (code, reason): (&str, &str),
    ) -> Result<(), Failure> {
        self.insert_odd(rows, step, code, reason)
    }

    fn disconnect(&mut self) {
        self.connection = None;
        // A partition may have gone.
        self.days.clear();
    }

    fn log(&self, note: Note, at: Position, known: &Known) {
        let sink = &self.options.sink;
        let cursor = known.cursor();
        match note {
            Note::Moved => tracing::info!(
                sink, %at,
                "the cursor of the sink was moved, and its position in the table goes there: events that stand there already may come a second time"
            ),
            Note::Beyond => tracing::warn!(
                sink, %at,
                "the position of the sink in the table is beyond the journal, which has lost its end or is an older copy, and goes back to it"
            ),
            Note::Behind => tracing::warn!(
                sink, %at, cursor,
                "the table of the sink has less than its cursor says, as after a restore: what the journal has from there on is delivered again"
            ),
        }
    }

    fn log_loss(&self, at: Position) {
        let sink = &self.options.sink;
        tracing::warn!(
            sink,
            %at,
            "the table of the sink lacks what it had confirmed, as after a restore or the change to a standby: what the journal has from there on is delivered again"
        );
    }
}
