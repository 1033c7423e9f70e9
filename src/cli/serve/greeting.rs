//! What a server says when it runs: a few lines for the person at the terminal, or events of a log in JSON.

use crate::cli::logging;
use crate::cli::report::units::sequences;
use crate::config::{Config, Credential, Endpoint, Provider, SinkKind};
use crate::disk::command;
use crate::log;
use crate::server::Server;
use std::fmt::Write as _;

/// Says what runs and where.
pub(super) fn greet(config: &Config, server: &Server) {
    if logging::is_json() {
        log_events(config, server);
    } else {
        log::say(&text(config, server));
    }
}

/// The last event has the addresses: who waits for it knows that everything else has been said.
fn log_events(config: &Config, server: &Server) {
    for endpoint in &config.endpoints {
        tracing::info!(
            endpoint = endpoint.path,
            url = format!("http://{}{}", server.address(), endpoint.path),
            accept_unsigned = endpoint.accept_unsigned,
            "posts are taken"
        );
    }
    for sink in &config.sinks {
        let to = target(&sink.kind, &sink.name, config, server);
        tracing::info!(sink = sink.name, to, "events are delivered");
    }
    let recovery = server.recovery();
    if let Some(torn) = &recovery.torn_tail {
        tracing::info!(
            file = torn.path,
            offset = torn.offset,
            bytes = torn.bytes,
            "the last write was torn by a crash and is cut off; it had not been answered as stored"
        );
    }
    let held = recovery.next_sequence > recovery.first_sequence;
    tracing::info!(
        address = %server.address(),
        admin = server.admin_address().map(|it| it.to_string()),
        pull = server.pull_address().map(|it| it.to_string()),
        journal = %config.journal.dir.display(),
        first = held.then_some(recovery.first_sequence),
        last = held.then(|| recovery.next_sequence - 1),
        "hookline runs"
    );
}

/// Where the events of a sink go.
fn target(kind: &SinkKind, name: &str, config: &Config, server: &Server) -> String {
    match kind {
        SinkKind::Stdout => "stdout, one JSON object a line".to_owned(),
        SinkKind::File(file) => file.path.display().to_string(),
        SinkKind::Http(http) => http.address().to_owned(),
        SinkKind::Exec(exec) => exec.command.first().cloned().unwrap_or_default(),
        SinkKind::Nats(nats) => format!("{} at {}", nats.stream, nats.servers.join(" ")),
        SinkKind::Kafka(kafka) => format!("{} at {}", kafka.topic_text, kafka.brokers.join(" ")),
        SinkKind::Postgres(postgres) => {
            let table = postgres.shape.table.literal();
            format!("table {table} at {}", postgres.address())
        }
        SinkKind::Redis(redis) => {
            format!("stream {} at {}", redis.stream_text, redis.target)
        }
        SinkKind::Pull(_) => {
            let address = server.pull_address().unwrap_or(config.pull.listen);
            format!("http://{address}/v1/events?sink={name}")
        }
    }
}

/// What runs and where, in a few lines for the person at the terminal.
fn text(config: &Config, server: &Server) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        // Scripts read these lines: their columns stay. Writing to a string cannot fail.
        let _ = writeln!(text, "hookline: {label:<8} {value}");
    };
    for endpoint in &config.endpoints {
        let unsigned = if endpoint.accept_unsigned {
            "; unsigned posts are accepted"
        } else {
            ""
        };
        let (address, path) = (server.address(), &endpoint.path);
        line("POST to", format!("http://{address}{path}{unsigned}"));
    }
    let recovery = server.recovery();
    let held = if recovery.next_sequence > recovery.first_sequence {
        sequences(recovery.first_sequence, recovery.next_sequence - 1)
    } else {
        "empty".to_owned()
    };
    let dir = config.journal.dir.display();
    line("journal", format!("{dir}, {held}"));
    if let Some(torn) = &recovery.torn_tail {
        let cut = format!(
            "{}: {} bytes cut at {}, the last write, which a crash has torn; it was not answered as stored",
            torn.path, torn.bytes, torn.offset
        );
        line("recovery", cut);
    }
    for sink in &config.sinks {
        line("events", target(&sink.kind, &sink.name, config, server));
    }
    if config.sinks.is_empty() {
        let tail = command("tail", &config.journal.dir);
        line("events", format!("no sink; read them with `{tail}`"));
    }
    if let Some(admin) = server.admin_address() {
        let pages = format!("http://{admin}/metrics, /livez, /readyz");
        line("metrics", pages);
    }
    let mut endpoints = config.endpoints.iter();
    let options = |it: &Endpoint| Some((it.path.clone(), proof(it)?));
    if let Some((path, proof)) = endpoints.find_map(options) {
        let address = server.address();
        let send = format!("hookline send text --to http://{address}{path}{proof}");
        line("try", send);
    }
    text
}

/// What `hookline send` takes so that this endpoint takes what it sends; none if it cannot sign like that.
fn proof(endpoint: &Endpoint) -> Option<String> {
    if endpoint.accept_unsigned {
        return Some(String::new());
    }
    let secret = " --secret-file FILE";
    match &endpoint.provider {
        Provider::Meta { .. } => Some(format!("{secret}, which holds the app secret")),
        Provider::StandardWebhooks { .. } => Some(format!(
            " --provider standard-webhooks{secret}, which holds the secret"
        )),
        Provider::Dialog360 {
            credential,
            signature_secrets,
        } => {
            let field = match credential {
                None => "",
                Some(Credential::Basic { .. }) => " -H 'Authorization: Basic …'",
                Some(Credential::Bearer(_)) => " -H 'Authorization: Bearer …'",
                Some(Credential::Header { name, .. }) => &format!(" -H '{name}: …'"),
            };
            let signed = if signature_secrets.is_empty() {
                ""
            } else {
                " --provider 360dialog --secret-file FILE"
            };
            Some(format!("{field}{signed}"))
        }
        Provider::GenericHmac { .. } => None,
    }
}
