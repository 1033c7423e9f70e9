//! What a server says, and what follows from it.

use ::redis::{ErrorKind, RedisError, ServerError, Value};
use std::error::Error as _;

/// What follows from an error of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// The server, or the login, takes nothing as it is; another connection may find it otherwise.
    Reconnect,
    /// It takes nothing at the moment.
    Busy,
    /// The stream is not what it should be.
    Missing,
    /// It may be about this one.
    Retry,
}

/// The error in an answer, if it is one.
pub(super) fn error_in(value: &Value) -> Option<&ServerError> {
    match value {
        Value::ServerError(error) => Some(error),
        _ => None,
    }
}

/// For people: what the server says, and what to do.
pub(super) fn described(error: &ServerError) -> String {
    let details = error.details().unwrap_or_default();
    let said: String = details.chars().take(SAID_MAX).collect();
    let said = said.replace(char::is_control, " ");
    let code = error.code();
    format!("the server says: {code} {said}{}", hint(code, &said))
}

/// The same of an error of a connection, or of a login.
pub(super) fn failed(error: &RedisError) -> String {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return "the server refuses the login; correct user and password".to_owned();
    }
    let Some(code) = error.code() else {
        return crate::log::with_causes(error.to_string(), error.source());
    };
    let said: String = error
        .detail()
        .unwrap_or_default()
        .chars()
        .take(SAID_MAX)
        .collect();
    format!("the server says: {code} {said}{}", hint(code, &said))
}

fn hint(code: &str, said: &str) -> &'static str {
    match code {
        "NOAUTH" | "WRONGPASS" => "; correct user and password",
        "NOPERM" => "; grant the login the commands and keys that `hookline help redis` names",
        "READONLY" => "; it is a replica: name the server that can be written to",
        "MASTERDOWN" => {
            "; it is a replica without its primary: name the server that can be written to"
        }
        "LOADING" => "; it is tried again until the server has loaded its data",
        "OOM" => "; the server's memory is full: raise maxmemory, or remove what nobody needs",
        "MISCONF" => "; the server cannot write its files: look at its log",
        "WRONGTYPE" => {
            "; another kind of value has the name of the stream: correct stream, or remove that"
        }
        "MOVED" | "CROSSSLOT" | "CLUSTERDOWN" | "ASK" => {
            "; Hookline delivers to a server that stands alone or has replicas, not to a Redis Cluster"
        }
        _ if said.contains("unknown command") && said.to_ascii_uppercase().contains("WAITAOF") => {
            "; wait_local and wait_replicas need Redis 7.2 or Valkey: upgrade the server, or remove them"
        }
        _ if said.contains("WAITAOF cannot be used") => {
            "; wait_local needs a server that writes an AOF: set appendonly yes there, or remove wait_local"
        }
        _ if said.contains("invalid password") || said.contains("no password is set") => {
            "; correct user and password"
        }
        _ => "",
    }
}

/// What follows from an error in the answer to one command.
pub(super) fn follows(error: &ServerError) -> Follows {
    match error.code() {
        "LOADING" | "READONLY" | "MASTERDOWN" | "NOAUTH" | "NOPERM" | "MOVED" | "CROSSSLOT"
        | "CLUSTERDOWN" | "ASK" | "WRONGPASS" => Follows::Reconnect,
        "OOM" | "MISCONF" | "BUSY" | "NOREPLICAS" | "TRYAGAIN" => Follows::Busy,
        "WRONGTYPE" => Follows::Missing,
        _ => Follows::Retry,
    }
}

/// The text of a value.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Names and values of a reply that lists them one behind the other.
pub(super) fn pairs(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Array(items) => {
            let pairs = items.chunks_exact(2);
            pairs
                .filter_map(|it| Some((text(&it[0])?, &it[1])))
                .collect()
        }
        Value::Map(items) => {
            let pairs = items.iter();
            pairs
                .filter_map(|(name, value)| Some((text(name)?, value)))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Characters that are kept of what a server says.
const SAID_MAX: usize = 300;
