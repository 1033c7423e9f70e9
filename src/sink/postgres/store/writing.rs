//! What a sink has the server do: insert, set aside what the table does not take, and make partitions.

use super::super::Options;
use super::super::connection::{Connection, Value, stored};
use super::super::rows::{Columns, PostgresRow, columns, days};
use super::super::schema::Partitions;
use super::Postgres;
use crate::sink::stream::positioned::{Failure, Rows, Step};
use tokio_postgres::types::Type;

impl Postgres {
    /// Inserts the first rows and moves the position.
    pub(super) fn insert(
        &mut self,
        rows: &Rows<PostgresRow>,
        step: &Step<'_>,
    ) -> Result<(), Failure> {
        self.make_partitions(rows)?;
        if step.count == 0 {
            return self.run(Task::Move, step, &Columns::default(), 1);
        }
        let by_id = self.options.shape.unique_ids;
        let columns = columns(rows, step.count, by_id);
        self.run(Task::Insert, step, &columns, step.count as u64)
    }

    /// The table does not take the first row as it is.
    pub(super) fn insert_odd(
        &mut self,
        rows: &Rows<PostgresRow>,
        step: &Step<'_>,
        code: &str,
        reason: &str,
    ) -> Result<(), Failure> {
        if self.insert_as_text(rows, step, code).is_ok() {
            return Ok(());
        }
        let columns = columns(rows, 1, false);
        self.run(Task::Reject(reason), step, &columns, 1)?;
        let position = rows.position(0).unwrap_or(step.from);
        if let Some(times) = self.rejected.count() {
            let sink = &self.options.sink;
            tracing::warn!(
                sink, %position, code, times,
                "the table of the sink does not take an event: it stands in hookline_rejected with the reason; correct the constraint or the trigger that refuses it, and insert it from there"
            );
        }
        Ok(())
    }

    /// Tries it with the data as a JSON string that holds their text.
    fn insert_as_text(
        &mut self,
        rows: &Rows<PostgresRow>,
        step: &Step<'_>,
        code: &str,
    ) -> Result<(), Failure> {
        // What a constraint is about is not the type.
        if !code.starts_with("22") {
            return Err(Failure::Retry(code.to_owned()));
        }
        let mut columns = columns(rows, 1, false);
        let text = columns.data.first().copied().unwrap_or_default();
        let text = serde_json::Value::from(text).to_string();
        columns.data = vec![&text];
        self.run(Task::Insert, step, &columns, 1)?;
        let position = rows.position(0).unwrap_or(step.from);
        if let Some(times) = self.as_text.count() {
            let sink = &self.options.sink;
            tracing::warn!(
                sink, %position, code, times,
                "the table of the sink does not take the data of an event as JSON: they stand there as a JSON string that holds their text; data_type = \"json\" takes all"
            );
        }
        Ok(())
    }

    fn make_partitions(&mut self, rows: &Rows<PostgresRow>) -> Result<(), Failure> {
        if self.options.shape.partitions == Partitions::None {
            return Ok(());
        }
        if self.days.len() > DAYS_MAX {
            self.days.clear();
        }
        let mut days = days(rows);
        // Ahead, so that midnight makes nobody wait.
        days.extend(days.last().map(|day| day + 1));
        for day in days {
            if self.days.contains(&day) {
                continue;
            }
            let statement = self.options.shape.partition(day);
            match self.execute(&statement, &[]) {
                Ok(_) => {}
                Err(Failure::Retry(reason))
                    if MADE_BY_OTHERS.iter().any(|it| reason.contains(it)) => {}
                Err(failure) => return Err(failure),
            }
            self.days.insert(day);
        }
        Ok(())
    }

    /// Runs the statement that does something and moves the position, and sees that it did both.
    fn run(
        &mut self,
        task: Task<'_>,
        step: &Step<'_>,
        columns: &Columns<'_>,
        count: u64,
    ) -> Result<(), Failure> {
        let (replay, upto) = (step.replay, step.upto);
        let writer = self.connection.as_ref().map(|it| it.writer().to_owned());
        let writer = writer.unwrap_or_default();
        let (sequence, index) = stored(upto);
        let (from_sequence, from_index) = stored(step.from);
        let (sink, journal) = (self.options.sink.clone(), self.options.journal.clone());
        let mut values: Vec<Value<'_>> = vec![
            (&sequence, Type::INT8),
            (&index, Type::INT4),
            (&sink, Type::TEXT),
            (&journal, Type::TEXT),
            (&replay, Type::TEXT),
            (&from_sequence, Type::INT8),
            (&from_index, Type::INT4),
            (&writer, Type::TEXT),
        ];
        let statement = match task {
            Task::Move => self.statements.move_only.clone(),
            Task::Insert => self.statements.insert.clone(),
            Task::Reject(_) => self.statements.reject.clone(),
        };
        if !matches!(task, Task::Move) {
            values.extend(columns.values());
        }
        if let Task::Reject(reason) = &task {
            values.push((reason, Type::TEXT));
        }
        let done = self.execute(&statement, &values)?;
        if done == count {
            return Ok(());
        }
        // Known ids, or a trigger that leaves rows out; or it was not the position.
        let is_there = self.with_connection(async |connection, options| {
            connection.is_at(options, replay, upto).await
        })?;
        if !is_there {
            return Err(Failure::Retry(
                "the position in the table is not the one that the sink has left there".to_owned(),
            ));
        }
        self.statistics.known.add(count - done.min(count));
        Ok(())
    }

    fn execute(&mut self, statement: &str, values: &[Value<'_>]) -> Result<u64, Failure> {
        self.with_connection(async |connection, _| connection.execute(statement, values).await)
    }

    fn with_connection<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Connection, &Options) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(connection) = &mut self.connection else {
            return Err(Failure::Retry("there is no connection".to_owned()));
        };
        let (options, timeout) = (&self.options, self.options.timeout);
        self.runtime.block_on(async {
            let done = tokio::time::timeout(timeout, work(connection, options)).await;
            done.unwrap_or_else(|_| Err(Failure::too_late("a statement")))
        })
    }
}

impl Columns<'_> {
    fn values(&self) -> [Value<'_>; 10] {
        [
            (&self.sequence, Type::INT8_ARRAY),
            (&self.index, Type::INT4_ARRAY),
            (&self.id, Type::TEXT_ARRAY),
            (&self.source, Type::TEXT_ARRAY),
            (&self.kind, Type::TEXT_ARRAY),
            (&self.subject, Type::TEXT_ARRAY),
            (&self.time, Type::TIMESTAMPTZ_ARRAY),
            (&self.received, Type::TIMESTAMPTZ_ARRAY),
            (&self.lane, Type::TEXT_ARRAY),
            (&self.data, Type::TEXT_ARRAY),
        ]
    }
}

/// What a statement does beside moving the position.
#[derive(Clone, Copy)]
enum Task<'t> {
    Move,
    Insert,
    /// With the reason.
    Reject(&'t str),
}

/// SQLSTATE of what a partition says that somebody else makes: it is there, it would overlap, it is not ours to make.
const MADE_BY_OTHERS: [&str; 3] = ["42P07", "42P17", "42501"];

/// Days of partitions that are remembered.
const DAYS_MAX: usize = 4000;
