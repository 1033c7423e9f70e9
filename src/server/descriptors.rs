//! How the file descriptors that the operating system allows are shared out.
//!
//! | who | descriptors |
//! |---|---|
//! | connections of those who post | `server.max_connections`, or what is left |
//! | journal, dedupe, cursors, loops, logs | [`FILES`] |
//! | the admin pages | their connections |
//! | consumers of pull sinks, where there are any | their connections, and two for each reader of the journal |
//! | `http` and `exec` sinks | one a delivery under way; three a program |
//!
//! Where there are too few, those who post get a quarter of them at least, and the admin pages and the consumers get
//! fewer connections. So nobody takes the descriptors of anybody else. Below [`FILES_MIN`] nothing makes sense, and the
//! start is refused.

use super::pull::READER_FILES;
use crate::config::{Config, ConfigErrors, Finding, Sink, SinkKind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit as far as this configuration wants and the hard limit allows, and lowers what it
/// allows for connections where that is not enough. An error of the configuration if there is no sense in starting.
pub(crate) fn share_out(config: &mut Config) -> Result<(), ConfigErrors> {
    let connections = config.server.max_connections as u64;
    let beside = beside_connections(config);
    let allowed = raise_limit(connections.saturating_add(beside).max(FILES_MIN));
    if allowed < FILES_MIN {
        return Err(too_few(allowed));
    }
    if allowed >= connections.saturating_add(beside) {
        return Ok(());
    }
    let possible = allowed - beside.min(allowed / 4 * 3);
    let lowered = |now: &mut usize, most: u64| {
        *now = usize::try_from(most).map_or(*now, |most| most.min(*now));
    };
    lowered(&mut config.server.max_connections, possible);
    lowered(&mut config.server.max_connections_per_address, possible);
    if allowed / 4 * 3 < beside {
        lowered(&mut config.admin.connections, allowed / 16);
        lowered(&mut config.pull.connections, allowed / 8);
    }
    let (max_connections, admin) = (config.server.max_connections, config.admin.connections);
    // With the default of max_connections there are nearly always fewer, and enough.
    if possible < FEW {
        tracing::warn!(
            allowed,
            max_connections,
            admin,
            "fewer file descriptors are allowed than server.max_connections wants: at most `max_connections` connections are taken, and `admin` to the admin pages; raise LimitNOFILE in the unit, or `ulimit -Hn`"
        );
    } else {
        tracing::info!(
            allowed,
            max_connections,
            admin,
            "server.max_connections is what the file descriptors allow, less than it could be; raise LimitNOFILE in the unit, or `ulimit -Hn`, for more"
        );
    }
    Ok(())
}

/// Makes room for the sinks of another configuration, as far as the hard limit allows.
pub(super) fn make_room(config: &Config) {
    let connections = config.server.max_connections as u64;
    raise_limit(connections.saturating_add(beside_connections(config)));
}

/// Descriptors that there can be after the soft limit was raised, to `needed` at most.
pub(crate) fn raise_limit(needed: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|&current| current < needed) else {
        return needed;
    };
    let allowed = limit.maximum.unwrap_or(needed).min(needed);
    let raised = Rlimit {
        current: Some(allowed),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => allowed,
        Err(_) => current,
    }
}

/// Descriptors for anything but the connections of those who post.
fn beside_connections(config: &Config) -> u64 {
    let deliveries = |sink: &Sink| match &sink.kind {
        SinkKind::Http(http) => http.dispatch.concurrency,
        SinkKind::Exec(exec) => 3 * exec.dispatch.concurrency,
        // A connection, and the one that takes its place; what their runtime wakes by.
        SinkKind::Nats(_) | SinkKind::Postgres(_) => 8,
        // Each broker of the cluster, and what the library's threads wake by; twice, while it asks.
        SinkKind::Kafka(_) => 64,
        // The same for each lane.
        SinkKind::Redis(_) => 24,
        SinkKind::Pull(_) | SinkKind::File(_) | SinkKind::Stdout => 0,
    };
    let is_pull = |sink: &Sink| matches!(sink.kind, SinkKind::Pull(_));
    let consumers = if config.sinks.iter().any(is_pull) {
        config.pull.connections + READER_FILES
    } else {
        0
    };
    let sinks: usize = config.sinks.iter().map(deliveries).sum();
    FILES + (config.admin.connections + consumers + sinks) as u64
}

fn too_few(allowed: u64) -> ConfigErrors {
    let message = format!(
        "{allowed} file descriptors are allowed, and a receiver needs {FILES_MIN} at least, 1024 to serve more than a few \
         connections; raise the limit, as with `ulimit -n 65536`, or LimitNOFILE=65536 in the unit"
    );
    ConfigErrors {
        mistakes: vec![Finding {
            source: "ulimit -n".to_owned(),
            line: None,
            column: None,
            excerpt: None,
            message,
        }],
    }
}

/// Fewest descriptors with which it makes sense to start.
const FILES_MIN: u64 = 128;

/// Connections below which a sender with many of them is refused some.
const FEW: u64 = 1024;

/// Descriptors for files, polls and what a shortage must never reach.
pub(crate) const FILES: u64 = 224;
