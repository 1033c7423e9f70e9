//! One connection: made, asked what its confirmation is worth, and given the rows of the sink to move.

use super::rows::whole;
use super::tls::Tls;
use super::{Options, SslMode};
use crate::event::Position;
use crate::log::Repeats;
use crate::sink::statistics::Confirmation;
use crate::sink::stream::positioned::{Decision, Failure, Known, Stored};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::config::{self, TargetSessionAttrs};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Row, Transaction};

/// A connection that works, as far as anybody knows.
pub(super) struct Connection {
    client: Client,
    /// The name by which it takes rows over.
    writer: String,
    /// The replays whose rows it has; the empty one is what is live.
    taken: Vec<String>,
    /// What a statement that was done survives there.
    pub(super) confirmation: Confirmation,
    used: Instant,
}

/// A value with its type.
pub(super) type Value<'v> = (&'v (dyn ToSql + Sync), Type);

/// What lines about notices of the server are counted by.
pub(super) type Notices = Arc<Repeats>;

impl Connection {
    /// Connects, and makes the tables if that is wanted. `writer` is a name that no other connection has.
    pub(super) async fn open(
        options: &Options,
        writer: String,
        notices: Notices,
    ) -> Result<Connection, Failure> {
        let tls = Tls::new(options.target.ssl_mode, &options.files);
        let tls = tls.map_err(|error| Failure::Retry(error.to_string()))?;
        let (client, mut connection) = config(options).connect(tls).await?;
        let sink = options.sink.clone();
        // Ends with the client, or with the connection: then every statement fails.
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await
            {
                note(&sink, &message, &notices);
            }
        });
        let settings = client
            .query_typed_one(SETTINGS, &[])
            .await
            .map_err(Failure::from)?;
        let connection = Connection {
            confirmation: confirmation(&settings)?,
            client,
            writer,
            taken: Vec::new(),
            used: Instant::now(),
        };
        if options.create {
            connection.make_tables(options).await?;
        }
        Ok(connection)
    }

    /// False if it has ended, or does not answer after a rest.
    pub(super) async fn is_alive(&mut self) -> bool {
        if self.client.is_closed() {
            return false;
        }
        if self.used.elapsed() < REST {
            return true;
        }
        self.used = Instant::now();
        self.client.check_connection().await.is_ok()
    }

    pub(super) fn has(&self, replay: &str) -> bool {
        self.taken.iter().any(|it| it == replay)
    }

    /// The name by which it takes rows over.
    pub(super) fn writer(&self) -> &str {
        &self.writer
    }

    /// Runs a statement; gives how many rows it has made or changed.
    pub(super) async fn execute(
        &mut self,
        statement: &str,
        values: &[Value<'_>],
    ) -> Result<u64, Failure> {
        self.used = Instant::now();
        Ok(self.client.execute_typed(statement, values).await?)
    }

    /// Asks for one row.
    pub(super) async fn query_one(
        &self,
        statement: &str,
        values: &[Value<'_>],
    ) -> Result<Row, Failure> {
        Ok(self.client.query_typed_one(statement, values).await?)
    }

    /// Takes the row over, for what is live or for a replay, and says where the sink goes on.
    pub(super) async fn take_over(
        &mut self,
        options: &Options,
        replay: &str,
        known: &Known,
        process: &str,
    ) -> Result<Decision, Failure> {
        let table = options.shape.table.position();
        let transaction = self.client.transaction().await?;
        begin(&transaction, options, replay, known).await?;
        let key = key(options, &replay);
        let select = format!(
            "SELECT sequence, index, moved, writer FROM {table} WHERE sink = $1 AND journal = $2 AND replay = $3 FOR UPDATE"
        );
        let row = read(&transaction.query_typed_one(&select, &key).await?)?;
        let decision = known.decide(&row, process)?;
        let (sequence, index) = stored(decision.at);
        let moved = whole(decision.moved);
        let mut values = key.to_vec();
        values.extend([
            (&sequence as &(dyn ToSql + Sync), Type::INT8),
            (&index, Type::INT4),
            (&moved, Type::INT8),
            (&self.writer, Type::TEXT),
        ]);
        let update = format!(
            "UPDATE {table} SET sequence = $4, index = $5, moved = $6, writer = $7 WHERE sink = $1 AND journal = $2 AND \
             replay = $3"
        );
        transaction.execute_typed(&update, &values).await?;
        if !replay.is_empty() {
            let delete = format!(
                "DELETE FROM {table} WHERE sink = $1 AND journal = $2 AND replay NOT IN ('', $3)"
            );
            transaction.execute_typed(&delete, &key).await?;
        }
        transaction.commit().await?;
        self.taken.push(replay.to_owned());
        Ok(decision)
    }

    /// True if the row of the sink says that everything before `at` is there, and is still this connection's.
    pub(super) async fn is_at(
        &mut self,
        options: &Options,
        replay: &str,
        at: Position,
    ) -> Result<bool, Failure> {
        let select = format!(
            "SELECT sequence, index, moved, writer FROM {} WHERE sink = $1 AND journal = $2 AND replay = $3",
            options.shape.table.position()
        );
        let key = key(options, &replay);
        let Some(row) = self.client.query_typed_opt(&select, &key).await? else {
            return Ok(false);
        };
        let row = read(&row)?;
        Ok(row.at == at && row.writer == self.writer)
    }

    /// Makes the tables that are missing. Nothing is run when none is: the role may have no right to make any.
    async fn make_tables(&self, options: &Options) -> Result<(), Failure> {
        let table = &options.shape.table;
        let names = [table.quoted(), table.position(), table.rejected()];
        let values = names
            .each_ref()
            .map(|name| (name as &(dyn ToSql + Sync), Type::TEXT));
        let found = self
            .client
            .query_typed_one(
                "SELECT num_nonnulls(to_regclass($1), to_regclass($2), to_regclass($3))",
                &values,
            )
            .await?;
        if found.try_get::<_, i32>(0)? == 3 {
            return Ok(());
        }
        for statement in options.shape.statements() {
            self.client.execute_typed(&statement, &[]).await?;
        }
        let (sink, table) = (&options.sink, table.literal());
        tracing::info!(
            sink,
            table,
            "the tables of the sink were missing and have been made, as create = true says"
        );
        Ok(())
    }
}

/// Of a sink, its journal and a replay.
fn key<'v>(options: &'v Options, replay: &'v &str) -> [Value<'v>; 3] {
    [
        (&options.sink, Type::TEXT),
        (&options.journal, Type::TEXT),
        (replay, Type::TEXT),
    ]
}

/// Sees that there is a row: that of the former name, or a new one.
async fn begin(
    transaction: &Transaction<'_>,
    options: &Options,
    replay: &str,
    known: &Known,
) -> Result<(), Failure> {
    let table = options.shape.table.position();
    if let Some(former) = &options.former_name {
        let rename = format!(
            "UPDATE {table} SET sink = $1 WHERE sink = $3 AND journal = $2 AND NOT EXISTS (SELECT FROM {table} WHERE \
             sink = $1 AND journal = $2)"
        );
        let [sink, journal, _] = key(options, &"");
        let values = [sink, journal, (former as &(dyn ToSql + Sync), Type::TEXT)];
        transaction.execute_typed(&rename, &values).await?;
    }
    let insert = format!(
        "INSERT INTO {table} (sink, journal, replay, sequence, index, moved, writer) VALUES ($1, $2, $3, $4, $5, $6, '') \
         ON CONFLICT DO NOTHING"
    );
    let (sequence, index) = stored(known.begin());
    let moved = if replay.is_empty() {
        options.cursor.moved
    } else {
        0
    };
    let moved = whole(moved);
    let mut values = key(options, &replay).to_vec();
    values.extend([
        (&sequence as &(dyn ToSql + Sync), Type::INT8),
        (&index, Type::INT4),
        (&moved, Type::INT8),
    ]);
    transaction.execute_typed(&insert, &values).await?;
    Ok(())
}

/// How a position stands in a row: everything up to a sequence, and so many events of the next notification.
pub(super) fn stored(at: Position) -> (i64, i32) {
    let index = i32::try_from(at.index).unwrap_or(i32::MAX);
    (whole(at.sequence.saturating_sub(1)), index)
}

fn read(row: &Row) -> Result<Stored, Failure> {
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let index: i32 = row.try_get(1)?;
    Ok(Stored {
        at: Position {
            sequence: number(row.try_get(0)?).saturating_add(1),
            index: u32::try_from(index).unwrap_or(0),
        },
        moved: number(row.try_get(2)?),
        writer: row.try_get(3)?,
    })
}

fn config(options: &Options) -> Config {
    let mut config = Config::new();
    for (host, port) in &options.target.hosts {
        config.host(host).port(*port);
    }
    if let Some(password) = &options.password {
        config.password(password);
    }
    let ssl_mode = match options.target.ssl_mode {
        SslMode::Disable => config::SslMode::Disable,
        SslMode::Require | SslMode::VerifyFull => config::SslMode::Require,
    };
    config
        .user(&options.user)
        .dbname(&options.target.database)
        .application_name("hookline")
        .ssl_mode(ssl_mode)
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .connect_timeout(CONNECT_TIMEOUT.min(options.timeout))
        .tcp_user_timeout(options.timeout)
        .keepalives_idle(KEEPALIVE_IDLE);
    config
}

/// What a commit survives, as the server is set.
fn confirmation(settings: &Row) -> Result<Confirmation, Failure> {
    let [commit, fsync, standbys, encoding]: [String; 4] = [
        settings.try_get(0)?,
        settings.try_get(1)?,
        settings.try_get(2)?,
        settings.try_get(3)?,
    ];
    if encoding != "UTF8" && encoding != "SQL_ASCII" {
        return Err(Failure::Retry(format!(
            "the database has the encoding {encoding}, and events are in UTF-8: make one with ENCODING 'UTF8'"
        )));
    }
    Ok(if fsync == "off" || commit == "off" {
        Confirmation::Memory
    } else if standbys.is_empty() || commit == "local" {
        Confirmation::Fsynced
    } else {
        Confirmation::Replicated
    })
}

fn note(sink: &str, message: &AsyncMessage, notices: &Repeats) {
    let AsyncMessage::Notice(notice) = message else {
        return;
    };
    if notice.severity() == "WARNING"
        && let Some(times) = notices.count()
    {
        let (notice, code) = (notice.message(), notice.code().code());
        tracing::warn!(
            sink,
            notice,
            code,
            times,
            "the database of the sink warns; look there"
        );
    }
}

const SETTINGS: &str = "SELECT current_setting('synchronous_commit'), current_setting('fsync'), \
     current_setting('synchronous_standby_names'), current_setting('server_encoding')";

/// Until a connection is there, for each address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// When the system asks whether the other side is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// After so long without a statement it is asked whether a connection still works.
const REST: Duration = Duration::from_secs(1);
