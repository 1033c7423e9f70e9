//! The tables: their names, what makes them, and what is said to them.
//!
//! | table | is |
//! |---|---|
//! | the one of `table` | an event a row |
//! | `hookline_position`, beside it | how far each sink has come: **everything up to `sequence` is there, and of the notification behind it the first `index` events** |
//! | `hookline_rejected`, beside it | what the table does not take, with the reason; the data as text |
//!
//! A row of `hookline_position` is moved by the statement that inserts the events, so both happen or none. That
//! statement names the position that it expects, and the connection that has taken the row over: another one has taken
//! it over meanwhile, or has moved it, and nothing is inserted.

use std::fmt::Write as _;

/// A table, as the configuration names it: `NAME`, or `SCHEMA.NAME`, taken literally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    schema: Option<String>,
    name: String,
}

/// How the tables are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub table: Table,
    pub data: DataType,
    pub partitions: Partitions,
    /// One row an event, whoever stores it.
    pub unique_ids: bool,
}

/// The type of the column `data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataType {
    /// As it came, byte for byte.
    #[default]
    Json,
    /// Taken apart, which costs more to store and less to search.
    Jsonb,
}

/// Whether the table is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partitions {
    #[default]
    None,
    /// One for each day, in UTC, by the time of receipt.
    Day,
}

impl Table {
    /// Takes a name with or without a schema; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Table, String> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        for part in schema.into_iter().chain([name]) {
            if part.is_empty() || part.contains(['.', '\0']) || part.len() > NAME_MAX {
                return Err(format!(
                    "must be \"NAME\" or \"SCHEMA.NAME\", each of 1 to {NAME_MAX} bytes without a dot, found {text:?}"
                ));
            }
        }
        if [POSITION, REJECTED].contains(&name) {
            return Err(format!(
                "cannot be {name:?}: the sink has a table of that name beside its own"
            ));
        }
        Ok(Table {
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// As the configuration names it.
    #[must_use]
    pub fn literal(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }

    /// As a statement names it.
    #[must_use]
    pub fn quoted(&self) -> String {
        self.beside(&self.name)
    }

    /// How a statement names another table of the same schema.
    fn beside(&self, name: &str) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(name)),
            None => quoted(name),
        }
    }

    /// The table of positions.
    pub(super) fn position(&self) -> String {
        self.beside(POSITION)
    }

    /// The table of what is not taken.
    pub(super) fn rejected(&self) -> String {
        self.beside(REJECTED)
    }
}

impl Shape {
    /// The statements that make what is missing, one after another, each without a semicolon.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        let table = self.table.quoted();
        let data = self.data.name();
        let divided = match self.partitions {
            Partitions::None => "",
            Partitions::Day => " PARTITION BY RANGE (received)",
        };
        let mut all = vec![format!(
            "CREATE TABLE IF NOT EXISTS {table} (\n    journal text NOT NULL,\n    sequence bigint NOT NULL,\n    \
             index integer NOT NULL,\n    id text NOT NULL,\n    source text NOT NULL,\n    type text NOT NULL,\n    \
             subject text,\n    time timestamptz NOT NULL,\n    received timestamptz NOT NULL,\n    \
             lane text NOT NULL,\n    replay text,\n    data {data} NOT NULL\n){divided}"
        )];
        if self.unique_ids {
            let index = quoted(&with_suffix(&self.table.name, "_id"));
            all.push(format!(
                "CREATE UNIQUE INDEX IF NOT EXISTS {index} ON {table} (id)"
            ));
        }
        all.push(format!(
            "CREATE TABLE IF NOT EXISTS {} (\n    sink text NOT NULL,\n    journal text NOT NULL,\n    \
             replay text NOT NULL,\n    sequence bigint NOT NULL,\n    index integer NOT NULL,\n    \
             moved bigint NOT NULL,\n    writer text NOT NULL,\n    PRIMARY KEY (sink, journal, replay)\n) \
             WITH (fillfactor = 50)",
            self.table.position()
        ));
        all.push(format!(
            "CREATE TABLE IF NOT EXISTS {} (\n    sink text NOT NULL,\n    reason text NOT NULL,\n    \
             journal text NOT NULL,\n    sequence bigint NOT NULL,\n    index integer NOT NULL,\n    \
             id text NOT NULL,\n    source text NOT NULL,\n    type text NOT NULL,\n    \
             subject text,\n    time timestamptz NOT NULL,\n    received timestamptz NOT NULL,\n    lane text NOT NULL,\n    replay text,\n    data text NOT NULL\n)",
            self.table.rejected()
        ));
        all
    }

    /// What `hookline schema postgres` prints.
    #[must_use]
    pub fn script(&self) -> String {
        let mut script = String::from("BEGIN;\n\n");
        for statement in self.statements() {
            let _ = writeln!(script, "{statement};\n"); // a String takes everything
        }
        let table = self.table.quoted();
        if self.partitions == Partitions::Day {
            let _ = writeln!(
                script,
                "-- The partitions, one a day, are made by the sink, whose role must own {table};\n\
                 -- or by pg_partman. Old ones go with DROP TABLE.\n"
            );
        }
        let _ = writeln!(
            script,
            "-- For readers that go on behind a position, in the order of the journal:\n\
             -- CREATE INDEX ON {table} (journal, sequence, index);\n\nCOMMIT;"
        );
        script
    }

    /// Makes the partition for a day, counted from 1970.
    pub(super) fn partition(&self, day: i64) -> String {
        let [from, to] = [day, day + 1].map(date);
        let name = with_suffix(&self.table.name, &format!("_{}", from.replace('-', "")));
        format!(
            "CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES FROM ('{from} 00:00:00+00') TO ('{to} 00:00:00+00')",
            self.table.beside(&name),
            self.table.quoted()
        )
    }

    /// Inserts events and moves the position, or does neither. Parameters: those of [`Self::move_only`], then the
    /// columns.
    pub(super) fn insert(&self) -> String {
        let conflict = if self.unique_ids {
            " ON CONFLICT DO NOTHING"
        } else {
            ""
        };
        format!(
            "WITH moved AS ({}) INSERT INTO {} (journal, sequence, index, id, source, type, subject, time, received, \
             lane, replay, data) SELECT $4, e.sequence, e.index, e.id, e.source, e.type, e.subject, e.time, \
             e.received, e.lane, nullif($5, ''), e.data::{} FROM unnest($9::bigint[], $10::integer[], $11::text[], \
             $12::text[], $13::text[], $14::text[], $15::timestamptz[], $16::timestamptz[], $17::text[], $18::text[]) \
             AS e(sequence, index, id, source, type, subject, time, received, lane, data) \
             WHERE EXISTS (SELECT FROM moved){conflict}",
            self.moving(),
            self.table.quoted(),
            self.data.name(),
        )
    }

    /// The same for one that the table does not take; the last parameter is the reason.
    pub(super) fn reject(&self) -> String {
        format!(
            "WITH moved AS ({}) INSERT INTO {} (sink, reason, journal, sequence, index, id, source, type, subject, time, \
             received, lane, replay, data) SELECT $3, $19, $4, e.sequence, e.index, e.id, e.source, e.type, e.subject, \
             e.time, e.received, e.lane, nullif($5, ''), e.data FROM unnest($9::bigint[], $10::integer[], $11::text[], \
             $12::text[], $13::text[], $14::text[], $15::timestamptz[], $16::timestamptz[], $17::text[], $18::text[]) \
             AS e(sequence, index, id, source, type, subject, time, received, lane, data) \
             WHERE EXISTS (SELECT FROM moved)",
            self.moving(),
            self.table.rejected(),
        )
    }

    /// Moves the position alone. Parameters: `$1`, `$2` to where; `$3` sink, `$4` journal, `$5` replay; `$6`, `$7` from
    /// where; `$8` who has taken it over.
    pub(super) fn move_only(&self) -> String {
        self.moving()
    }

    fn moving(&self) -> String {
        format!(
            "UPDATE {} SET sequence = $1, index = $2 WHERE sink = $3 AND journal = $4 AND replay = $5 AND sequence = $6 \
             AND index = $7 AND writer = $8 RETURNING 1",
            self.table.position()
        )
    }
}

impl DataType {
    /// As SQL and the configuration name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DataType::Json => "json",
            DataType::Jsonb => "jsonb",
        }
    }
}

/// The name as a statement has it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name with something behind it, still of a length that the server does not cut.
fn with_suffix(name: &str, suffix: &str) -> String {
    let mut end = name.len().min(NAME_MAX - suffix.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &name[..end])
}

/// A day, counted from 1970, as in 2026-11-30.
fn date(day: i64) -> String {
    let epoch = jiff::civil::date(1970, 1, 1);
    let days = jiff::Span::new().try_days(day);
    // Times are kept below the year 9999.
    let date = days.and_then(|days| epoch.checked_add(days));
    date.unwrap_or(jiff::civil::Date::MAX).to_string()
}

const POSITION: &str = "hookline_position";
const REJECTED: &str = "hookline_rejected";

/// Bytes of a name beyond which the server cuts it.
const NAME_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(table: &str) -> Shape {
        Shape {
            table: Table::parse(table).expect("a table"),
            data: DataType::Json,
            partitions: Partitions::Day,
            unique_ids: false,
        }
    }

    #[test]
    fn a_table_is_taken_literally() {
        let table = Table::parse("Sales.events \"new\"").expect("a table");
        assert_eq!(table.quoted(), "\"Sales\".\"events \"\"new\"\"\"");
        assert_eq!(table.position(), "\"Sales\".\"hookline_position\"");
        assert_eq!(table.literal(), "Sales.events \"new\"");
        for text in [
            "",
            ".",
            "a.",
            ".b",
            "a.b.c",
            "hookline_position",
            "x.hookline_rejected",
            &"x".repeat(64),
        ] {
            assert!(Table::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_partition_is_a_day_in_utc() {
        let statement = shape("app.events").partition(20_787);
        assert_eq!(
            statement,
            "CREATE TABLE IF NOT EXISTS \"app\".\"events_20261130\" PARTITION OF \"app\".\"events\" FOR VALUES FROM \
             ('2026-11-30 00:00:00+00') TO ('2026-12-01 00:00:00+00')"
        );
        let long = shape(&"ü".repeat(31)).partition(0);
        assert!(
            long.contains(&format!("\"{}_19700101\"", "ü".repeat(27))),
            "{long}"
        );
    }

    #[test]
    fn what_is_unique_has_an_index() {
        let mut shape = shape("events");
        assert!(!shape.script().contains("UNIQUE"));
        (shape.unique_ids, shape.partitions) = (true, Partitions::None);
        assert!(
            shape
                .script()
                .contains("CREATE UNIQUE INDEX IF NOT EXISTS \"events_id\" ON \"events\" (id);")
        );
        assert!(shape.insert().ends_with("ON CONFLICT DO NOTHING"));
    }
}
