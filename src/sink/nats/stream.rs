//! What stream there is, asked of the server in JSON (`$JS.API.STREAM.INFO.NAME`), and made where that is wanted.

use super::connection::{self, Servers};
use super::{Creation, Options};
use crate::sink::statistics::Confirmation;
use async_nats::{Client, RequestErrorKind};
use serde::Deserialize;
use std::time::Duration;
use tokio::runtime;

/// A stream that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// How many servers keep it.
    pub replicas: u32,
    /// Within which a repeat is stored once.
    pub duplicate_window: Duration,
    /// The largest message in bytes, headers included; `None` leaves it to the server.
    pub message_max: Option<usize>,
}

/// What was learnt about the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    There(Stream),
    /// It is not there, or nothing can be stored; the reason says what to do.
    Missing(String),
    /// The server does not say, as when the login may only publish.
    Unknown(String),
}

/// What a target is like, for who checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    pub server: String,
    /// The version of the server.
    pub version: String,
    /// Largest message that the server takes, in bytes.
    pub payload_max: usize,
    pub stream: Inspected,
}

impl Stream {
    /// What a confirmation is worth. Whether a server syncs before it confirms cannot be seen from outside, and by
    /// default it does not.
    pub fn confirmation(&self) -> Confirmation {
        if self.replicas > 1 {
            Confirmation::Replicated
        } else {
            Confirmation::Memory
        }
    }
}

/// Connects to each server and asks; makes nothing. One result for each server.
pub fn inspect(options: &Options) -> Vec<(String, Result<Inspection, String>)> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let servers = Servers::new(options).map_err(|error| error.to_string());
    let (runtime, servers) = match (runtime, servers) {
        (Ok(runtime), Ok(servers)) => (runtime, servers),
        (Err(error), _) => return vec![(String::new(), Err(error.to_string()))],
        (_, Err(error)) => return vec![(String::new(), Err(error))],
    };
    let inspected = options.servers.iter().map(|server| {
        let asked = async {
            let connected = connection::connect(options, &servers, server).await?;
            let info = connected.client.server_info();
            let stream = ask(&connected.client, &options.stream).await;
            Ok(Inspection {
                server: server.clone(),
                version: info.version,
                payload_max: info.max_payload,
                stream,
            })
        };
        (server.clone(), runtime.block_on(asked))
    });
    let inspected = inspected.collect();
    runtime.shutdown_background();
    inspected
}

/// Asks, and makes the stream if it is not there and may be made.
pub(super) async fn ask_or_create(client: &Client, options: &Options) -> Inspected {
    let asked = ask(client, &options.stream).await;
    match (&options.create, &asked) {
        (Some(creation), Inspected::Missing(_)) => create(client, &options.stream, creation).await,
        _ => asked,
    }
}

async fn ask(client: &Client, stream: &str) -> Inspected {
    let subject = format!("$JS.API.STREAM.INFO.{stream}");
    let missing = format!(
        "the stream {stream} is not there; make it (nats stream add), or correct stream; nothing makes it unasked"
    );
    answered(client, subject, Vec::new(), &missing).await
}

async fn create(client: &Client, stream: &str, creation: &Creation) -> Inspected {
    let nanos = u64::try_from(creation.duplicate_window.as_nanos()).unwrap_or(u64::MAX);
    let wanted = serde_json::json!({
        "name": stream,
        "subjects": [creation.subject],
        "retention": "limits",
        "storage": "file",
        "num_replicas": creation.replicas,
        "duplicate_window": nanos,
    });
    let subject = format!("$JS.API.STREAM.CREATE.{stream}");
    let body = wanted.to_string().into_bytes();
    let asked = answered(client, subject, body, "there is no JetStream").await;
    match asked {
        Inspected::Missing(reason) | Inspected::Unknown(reason) => Inspected::Missing(format!(
            "the stream {stream} is not there and cannot be made: {reason}"
        )),
        there @ Inspected::There(_) => there,
    }
}

async fn answered(client: &Client, subject: String, body: Vec<u8>, missing: &str) -> Inspected {
    let answer = match client.request(subject, body.into()).await {
        Ok(answer) => answer,
        Err(error) if error.kind() == RequestErrorKind::NoResponders => {
            let off =
                "JetStream is not there: the server has it off, or this login's account has none";
            return Inspected::Missing(off.to_owned());
        }
        Err(error) => {
            return Inspected::Unknown(format!(
                "the server does not say what stream there is ({error}); the login may lack $JS.API.STREAM.INFO"
            ));
        }
    };
    let Ok(parsed) = serde_json::from_slice::<Answer>(&answer.payload) else {
        let odd = "the server's answer about the stream is not understood";
        return Inspected::Unknown(odd.to_owned());
    };
    match (parsed.config, parsed.error) {
        (Some(config), None) => Inspected::There(config.into()),
        (_, Some(error)) if error.err_code == NOT_FOUND => Inspected::Missing(missing.to_owned()),
        (_, Some(error)) => Inspected::Missing(error.to_string()),
        (None, None) => Inspected::Unknown("the server says nothing of the stream".to_owned()),
    }
}

#[derive(Deserialize)]
struct Answer {
    config: Option<Config>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct Config {
    num_replicas: u32,
    /// In nanoseconds.
    #[serde(default)]
    duplicate_window: u64,
    /// Not positive for any size.
    #[serde(default)]
    max_msg_size: i64,
}

/// What the server answers instead.
#[derive(Debug, Deserialize)]
pub(super) struct ApiError {
    /// As in HTTP.
    #[serde(default)]
    pub(super) code: u16,
    #[serde(default)]
    pub(super) err_code: u16,
    #[serde(default)]
    pub(super) description: String,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said: String = self.description.chars().take(SAID_MAX).collect();
        let said = said.replace(char::is_control, " ");
        write!(f, "the server says: {said} ({})", self.err_code)
    }
}

impl From<Config> for Stream {
    fn from(config: Config) -> Stream {
        let message_max = usize::try_from(config.max_msg_size).ok();
        Stream {
            replicas: config.num_replicas,
            duplicate_window: Duration::from_nanos(config.duplicate_window),
            message_max: message_max.filter(|max| *max > 0),
        }
    }
}

/// The error of a stream that is not there.
const NOT_FOUND: u16 = 10059;

/// Characters that are kept of what the server says.
const SAID_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_a_stream_is_read() {
        let config = |text: &str| {
            let answer: Answer = serde_json::from_str(text).expect("JSON");
            Stream::from(answer.config.expect("a configuration"))
        };
        let bare = config(
            r#"{"type":"io.nats.jetstream.api.v1.stream_info_response","config":{"name":"W",
            "max_msg_size":-1,"num_replicas":1,"duplicate_window":120000000000},"state":{"messages":0}}"#,
        );
        assert_eq!(bare.duplicate_window, Duration::from_mins(2));
        assert_eq!(
            (bare.message_max, bare.confirmation()),
            (None, Confirmation::Memory)
        );
        let large = config(r#"{"config":{"max_msg_size":2048,"num_replicas":3}}"#);
        assert_eq!(
            (large.message_max, large.confirmation()),
            (Some(2048), Confirmation::Replicated)
        );
        let error: Answer = serde_json::from_str(
            r#"{"error":{"code":404,"err_code":10059,"description":"stream not found"}}"#,
        )
        .expect("JSON");
        let error = error.error.expect("an error");
        assert_eq!(
            error.to_string(),
            "the server says: stream not found (10059)"
        );
    }
}
