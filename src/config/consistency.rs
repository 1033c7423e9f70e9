//! What is right by itself and wrong together.

use super::finding::Place;
use super::reader::Reading;
use super::units::{format_size, format_time};
use super::{Config, Endpoint};
use std::net::SocketAddr;

/// Where the addresses were set.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) listen: Place,
    pub(super) admin: Place,
}

pub(super) fn check(
    reading: &mut Reading<'_>,
    config: &mut Config,
    places: &Places,
    from_file: bool,
) {
    sizes(reading);
    addresses(reading, config, places);
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
        let named = |row: &&(&'static super::Setting, u64, Option<Place>)| {
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
        reading.mistake(&place.unwrap_or(Place::File(0)), message);
    }
    if deadline >= PLATFORM_TIMEOUT {
        let message = format!(
            "ack_deadline = {} is not below the {} after which platforms give up and send again",
            format_time(deadline),
            format_time(PLATFORM_TIMEOUT)
        );
        reading.warning(&deadline_place.unwrap_or(Place::File(0)), message);
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
                "the admin pages and the endpoints would both listen on port {port}; give one another"
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

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (any || one.ip() == other.ip())
}

/// 360dialog's documented limit, and the shortest one known, in milliseconds.
const PLATFORM_TIMEOUT: u64 = 5000;
