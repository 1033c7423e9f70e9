//! Who may read which sink.
//!
//! A stranger learns nothing: without a token that belongs to some sink, every name is refused alike, whether there is
//! such a sink or not. Who has a token sees the sinks that it opens, and no other.

use super::super::browser::{has_origin, is_under_a_foreign_name};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

/// The tokens of all sinks.
#[derive(Default)]
pub(super) struct Access(Vec<(String, Vec<Vec<u8>>)>);

/// Why somebody may not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// There is no token, or it opens nothing.
    Unauthorized,
    /// There is no such sink for who has this token.
    Unknown,
    /// A page that a browser shows asks, and there is nothing that it had to know.
    Browser,
}

impl Access {
    /// Adds a sink; without any token everyone may read it.
    pub(super) fn add(&mut self, sink: &str, tokens: Vec<Vec<u8>>) {
        self.0.push((sink.to_owned(), tokens));
    }

    /// Decides on a request for `sink`.
    pub(super) fn check(&self, sink: &str, headers: &HeaderMap) -> Result<(), Denied> {
        let token = token(headers).unwrap_or_default();
        let (mut this, mut any) = (None, false);
        // All tokens of all sinks are looked at, so that the time does not say which one matched.
        for (name, tokens) in &self.0 {
            let is_open = tokens.is_empty();
            let matches = |known: &Vec<u8>| verify_slices_are_equal(known, token).is_ok();
            let known = tokens.iter().fold(false, |one, known| one | matches(known));
            let granted = is_open || (known && !token.is_empty());
            any |= granted;
            if name == sink && granted {
                this = Some(is_open);
            }
        }
        match this {
            Some(true) if has_origin(headers) || is_under_a_foreign_name(headers, &[]) => {
                Err(Denied::Browser)
            }
            Some(_) => Ok(()),
            None if any => Err(Denied::Unknown),
            None => Err(Denied::Unauthorized),
        }
    }
}

/// The bearer token (RFC 6750), if there is one header that says one.
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(SCHEME) && values.next().is_none();
    let spaces = rest.iter().take_while(|&&c| c == b' ').count();
    (is_bearer && spaces > 0).then(|| rest.get(spaces..))?
}

const SCHEME: &[u8] = b"bearer";

#[cfg(test)]
mod tests {
    use super::{Access, Denied};
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    fn access(open: bool) -> Access {
        let mut access = Access::default();
        access.add("crm", vec![b"one".to_vec(), b"two".to_vec()]);
        access.add("bi", vec![b"three".to_vec()]);
        if open {
            access.add("open", Vec::new());
        }
        access
    }

    #[test]
    fn a_token_opens_its_own_sink_only_and_a_stranger_sees_no_names() {
        let check = |sink, value| access(false).check(sink, &headers(&[("authorization", value)]));
        for value in ["Bearer one", "bearer two", "BEARER  two"] {
            assert_eq!(check("crm", value), Ok(()), "{value}");
            assert_eq!(check("bi", value), Err(Denied::Unknown), "{value}");
            assert_eq!(check("none", value), Err(Denied::Unknown), "{value}");
        }
        for value in [
            "",
            "one",
            "Bearer",
            "Bearer ",
            "Bearerone",
            "Basic one",
            "Bearer onet",
        ] {
            for sink in ["crm", "bi", "none", ""] {
                assert_eq!(check(sink, value), Err(Denied::Unauthorized), "{value}");
            }
        }
        let twice = headers(&[
            ("authorization", "Bearer one"),
            ("authorization", "Bearer one"),
        ]);
        assert_eq!(
            access(false).check("crm", &twice),
            Err(Denied::Unauthorized)
        );
    }

    #[test]
    fn an_open_sink_is_open_to_all_but_web_pages() {
        let check = |sink, pairs: &[_]| access(true).check(sink, &headers(pairs));
        for host in [
            "localhost",
            "localhost:8082",
            "127.0.0.1:8082",
            "[::1]:8082",
            "[::1]",
        ] {
            assert_eq!(check("open", &[("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(check("crm", &[]), Err(Denied::Unknown));
        let rebound = [("host", "evil.example:8082")];
        assert_eq!(check("open", &rebound), Err(Denied::Browser));
        let posted = [
            ("host", "127.0.0.1:8082"),
            ("origin", "https://evil.example"),
        ];
        assert_eq!(check("open", &posted), Err(Denied::Browser));
        let proven = [("host", "hooks.example"), ("authorization", "Bearer one")];
        assert_eq!(check("crm", &proven), Ok(()));
    }
}
