//! Whether a web page asks, which a browser on this machine or in this network shows.
//!
//! Any page may send a request to any address that its reader's browser can reach, under a name of its own even (DNS
//! rebinding). Where nothing is asked for that a stranger does not know, only the browser gives it away: by the origin
//! that it adds, or by the name in `Host`, which is that of the page.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};
use std::net::IpAddr;

/// True when a page asks: a browser adds the page's origin to what the page sends.
pub(super) fn has_origin(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
}

/// True under a name that is neither an address, nor `localhost`, nor one of `names`, which are compared without regard
/// to case.
pub(super) fn is_under_a_foreign_name(headers: &HeaderMap, names: &[String]) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let is_ours = |host: &HeaderValue| {
        host.to_str().is_ok_and(|host| {
            let name = without_port(host);
            let is_plain = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
            is_plain || names.iter().any(|known| name.eq_ignore_ascii_case(known))
        })
    };
    !hosts.all(is_ours)
}

/// The name or address in a `Host`, an IPv6 address without its brackets.
fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::{has_origin, is_under_a_foreign_name};
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn pages_are_known_by_their_origin_or_their_name() {
        let names = ["metrics.example".to_owned()];
        let asks = |pairs: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                let name: HeaderName = name.parse().unwrap();
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            has_origin(&headers) || is_under_a_foreign_name(&headers, &names)
        };
        assert!(!asks(&[]), "HTTP/1.0 needs no Host");
        for host in [
            "localhost",
            "LocalHost:8081",
            "127.0.0.1:8081",
            "10.1.2.3",
            "[::1]:8081",
            "metrics.example",
            "Metrics.Example:80",
        ] {
            assert!(!asks(&[("host", host)]), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8081",
            "metrics.example.evil",
            "x.metrics.example",
        ] {
            assert!(asks(&[("host", host)]), "{host}");
        }
        assert!(asks(&[("host", "localhost"), ("host", "evil.example")]));
        for origin in ["https://evil.example", "null", "http://localhost:8081"] {
            assert!(asks(&[("host", "localhost"), ("origin", origin)]));
        }
    }
}
