//! What is right by itself and wrong together.

use super::Config;
use super::endpoint::Endpoint;
use super::finding::Location;
use super::reader::Reading;
use super::sink::SinkKind;
use super::surroundings;
use super::units::{format_size, format_time};
use std::net::SocketAddr;

/// Where the addresses were set.
pub(super) struct Places {
    pub(super) listen: Location,
    pub(super) admin: Location,
    /// `None` when it was not set.
    pub(super) pull: Option<Location>,
    pub(super) data_dir: Location,
}

pub(super) fn check(
    reading: &mut Reading<'_>,
    config: &mut Config,
    places: &Places,
    from_file: bool,
) {
    sizes(reading);
    addresses(reading, config, places);
    pull(reading, config, places);
    // Who only looks is often another user, or on another machine.
    if reading.secrets {
        surroundings::data_dir(reading, &places.data_dir, &config.journal.dir);
        let has_stdout = config.sinks.iter().any(|it| it.kind == SinkKind::Stdout);
        let own = std::mem::take(&mut reading.own_files);
        for (place, message) in own.mistakes(&config.journal.dir, has_stdout) {
            reading.mistake(&place, message);
        }
        surroundings::own_address(reading, config);
        surroundings::threads(reading);
    }
    let unsigned: Vec<&Endpoint> = config
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.accept_unsigned)
        .collect();
    if config.server.listen.ip().is_loopback() {
        return;
    }
    let listen = config.server.listen;
    if !from_file && !unsigned.is_empty() {
        let message = format!(
            "without a config file posts need no signature, so {listen} would take them from anyone; set \
             HOOKLINE_APP_SECRET, write a config file, or listen on 127.0.0.1"
        );
        reading.mistake(&places.listen, message);
        return;
    }
    for endpoint in unsigned {
        let message = format!(
            "{} accepts unsigned posts, and {listen} can be reached from other machines",
            endpoint.path
        );
        reading.warning(&places.listen, message);
    }
}

/// Limits that depend on each other. The place is that of the one which was set.
fn sizes(reading: &mut Reading<'_>) {
    let number = |section: &str, key: &str| {
        let named = |row: &&(&'static super::Setting, u64, Option<Location>)| {
            row.0.section == section && row.0.key == key
        };
        let (_, value, place) = reading
            .numbers
            .iter()
            .find(named)
            .expect("all sections are read");
        (*value, place.clone())
    };
    let (body, body_place) = number("limits", "body");
    let (segment, segment_place) = number("journal", "segment_size");
    let (max_size, max_size_place) = number("journal", "max_size");
    let (deadline, deadline_place) = number("server", "ack_deadline");
    let mut at_least = Vec::new();
    for (section, key, factor, why) in [
        ("limits", "unacknowledged", 1, "the largest body must fit"),
        ("limits", "partial", 1, "the largest body must fit"),
        (
            "journal",
            "segment_size",
            4,
            "a segment must hold several of the largest bodies",
        ),
    ] {
        let (value, place) = number(section, key);
        let wanted = body.saturating_mul(factor);
        if value < wanted {
            let (value, wanted, limit) =
                (format_size(value), format_size(wanted), format_size(body));
            let message = format!(
                "{key} = {value} is too small for limits.body = {limit}: {why}; write at least {wanted}"
            );
            at_least.push((place.or_else(|| body_place.clone()), message));
        }
    }
    if max_size < segment.saturating_mul(4) {
        let message = format!(
            "max_size = {} must hold at least four segments of {}",
            format_size(max_size),
            format_size(segment)
        );
        at_least.push((max_size_place.or(segment_place), message));
    }
    for (place, message) in at_least {
        reading.mistake(&place.unwrap_or(Location::File(0)), message);
    }
    if deadline >= PLATFORM_TIMEOUT {
        let message = format!(
            "ack_deadline = {} is not below the {} after which platforms give up and send again",
            format_time(deadline),
            format_time(PLATFORM_TIMEOUT)
        );
        reading.warning(&deadline_place.unwrap_or(Location::File(0)), message);
    }
}

fn addresses(reading: &mut Reading<'_>, config: &mut Config, places: &Places) {
    let Some(admin) = config.admin.listen else {
        return;
    };
    if collide(config.server.listen, admin) {
        let port = admin.port();
        if config.admin.required {
            let message = format!(
                "the admin pages and the endpoints would both listen on port {port}; set listen in [admin] to another \
                 address, or to \"off\""
            );
            reading.mistake(&places.admin, message);
        } else {
            config.admin.listen = None;
            let message = format!(
                "port {port} is where the admin pages would be; set listen in [admin] to have them"
            );
            reading.warning(&places.listen, message);
        }
        return;
    }
    if !admin.ip().is_loopback() {
        let message =
            format!("the admin pages ask for no password, and {admin} shows them to others");
        reading.warning(&places.admin, message);
    }
}

/// The listener that consumers read from, which is there only with a sink that they can read.
fn pull(reading: &mut Reading<'_>, config: &Config, places: &Places) {
    let pulls = config.sinks.iter().filter_map(|sink| match &sink.kind {
        SinkKind::Pull(pull) => Some((sink, pull)),
        _ => None,
    });
    let pulls: Vec<_> = pulls.collect();
    let listen = config.pull.listen;
    let place = places.pull.clone();
    if pulls.is_empty() {
        if let Some(place) = place {
            let message = "listen in [pull] does nothing without a sink of type \"pull\"";
            reading.warning(&place, message);
        }
        return;
    }
    let ours = [(
        places.listen.clone(),
        Some(config.server.listen),
        "the endpoints",
    )];
    let ours =
        ours.into_iter()
            .chain([(places.admin.clone(), config.admin.listen, "the admin pages")]);
    for (other_place, other, whose) in ours {
        if other.is_some_and(|other| collide(other, listen)) {
            let port = listen.port();
            let message = format!(
                "{whose} and the consumers of pull sinks would both use port {port}; set listen in [pull]"
            );
            reading.mistake(&place.clone().unwrap_or(other_place), message);
        }
    }
    let place = place.unwrap_or(Location::File(0));
    if listen.ip().is_loopback() {
        return;
    }
    for (sink, _) in pulls.iter().filter(|(_, pull)| pull.tokens.is_empty()) {
        let message = format!(
            "anyone on other machines could read sink {:?} at {listen}; give it a token, or listen on 127.0.0.1",
            sink.name
        );
        reading.mistake(&place, message);
    }
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (any || one.ip() == other.ip())
}

/// 360dialog's documented limit, and the shortest one known, in milliseconds.
const PLATFORM_TIMEOUT: u64 = 5000;
