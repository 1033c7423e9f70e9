//! A look at the target, which changes nothing.

use super::Options;
use super::connection::Connection;
use super::said::{described, error_in, text};
use ::redis::{Value, pipe};
use tokio::runtime::Builder;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The server's name and version.
    pub server: String,
    /// It is a replica, which cannot be written to.
    pub is_replica: bool,
    /// It is part of a Redis Cluster.
    pub is_cluster: bool,
    /// It writes an append-only file.
    pub writes_aof: bool,
    /// What it does when its memory is full, where that takes streams away.
    pub evicts: Option<String>,
    /// Bytes that it takes as one value, where it says so.
    pub value_max: Option<usize>,
    /// Each stream that was asked for.
    pub streams: Vec<(String, Inspected)>,
}

/// What was learnt of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    There,
    Missing,
    /// The reason.
    Odd(String),
}

/// Connects once, and looks at these streams; the error says why that cannot be.
pub fn inspect(options: &Options, streams: &[String]) -> Result<Inspection, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let found = runtime.block_on(async {
        let looking = look(options, streams);
        let found = tokio::time::timeout(options.timeout, looking).await;
        found.unwrap_or_else(|_| Err("the server has not answered in time".to_owned()))
    });
    runtime.shutdown_background();
    found
}

async fn look(options: &Options, streams: &[String]) -> Result<Inspection, String> {
    let mut connection = Connection::open(options).await?;
    let mut commands = pipe();
    commands.cmd("INFO");
    for stream in streams {
        commands.cmd("TYPE").arg(stream);
    }
    let answers = connection.ask(&commands).await?;
    let mut answers = answers.iter();
    let info = answers.next().map_or(Ok(String::new()), info)?;
    let mut found = read(&info);
    found.value_max = connection.value_max;
    found.streams = streams
        .iter()
        .cloned()
        .zip(answers.map(inspected))
        .collect();
    Ok(found)
}

fn info(answer: &Value) -> Result<String, String> {
    match (error_in(answer), answer) {
        (Some(error), _) => Err(described(error)),
        (None, Value::VerbatimString { text, .. }) => Ok(text.clone()),
        (None, answer) => Ok(text(answer).unwrap_or_default()),
    }
}

fn inspected(answer: &Value) -> Inspected {
    if let Some(error) = error_in(answer) {
        return Inspected::Odd(described(error));
    }
    match text(answer).unwrap_or_default().as_str() {
        "stream" => Inspected::There,
        "none" => Inspected::Missing,
        other => Inspected::Odd(format!("it is a value of type {other}, and no stream")),
    }
}

/// Reads what `INFO` says.
fn read(info: &str) -> Inspection {
    let value = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim())
    };
    let server = match (value("valkey_version"), value("redis_version")) {
        (Some(version), _) => format!("Valkey {version}"),
        (None, Some(version)) => format!("Redis {version}"),
        (None, None) => "the server".to_owned(),
    };
    let policy = value("maxmemory_policy").filter(|it| it.starts_with("allkeys"));
    let is_limited = value("maxmemory").is_some_and(|it| it != "0");
    Inspection {
        server,
        is_replica: value("role") == Some("slave"),
        is_cluster: value("cluster_enabled") == Some("1"),
        writes_aof: value("aof_enabled") == Some("1"),
        evicts: policy.filter(|_| is_limited).map(str::to_owned),
        ..Inspection::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_itself_is_read() {
        let found = read(
            "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\n# Memory\r\nmaxmemory:1000\r\n\
             maxmemory_policy:allkeys-lru\r\n# Persistence\r\naof_enabled:1\r\n# Replication\r\nrole:slave\r\n",
        );
        assert_eq!(found.server, "Valkey 9.1.2");
        assert!(found.is_replica && found.writes_aof && !found.is_cluster);
        assert_eq!(found.evicts.as_deref(), Some("allkeys-lru"));
        let bare = read("redis_version:7.0.15\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n");
        assert_eq!((bare.server.as_str(), bare.evicts), ("Redis 7.0.15", None));
    }
}
