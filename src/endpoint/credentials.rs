//! A secret that the sender puts into a header of every request: HTTP Basic (RFC 7617), a bearer token
//! (RFC 6750), or any fixed header. 360dialog sends what its customer configured, so all three occur.

use crate::http::head::Head;
use crate::http::{Challenge, Status};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::fmt;

/// What the header has to say.
pub struct Credentials {
    header: String,
    /// `Basic` or `Bearer`; none where the whole value is the secret.
    scheme: Option<&'static str>,
    secrets: Vec<Vec<u8>>,
}

impl Credentials {
    /// HTTP Basic with this user and one of these passwords.
    pub fn basic(username: &str, passwords: &[&[u8]]) -> Credentials {
        let pairs = passwords
            .iter()
            .map(|password| [username.as_bytes(), b":", password].concat());
        Credentials {
            header: "authorization".to_owned(),
            scheme: Some("Basic"),
            secrets: pairs
                .map(|pair| BASE64_STANDARD.encode(pair).into_bytes())
                .collect(),
        }
    }

    /// One of these bearer tokens.
    pub fn bearer(tokens: Vec<Vec<u8>>) -> Credentials {
        Credentials {
            header: "authorization".to_owned(),
            scheme: Some("Bearer"),
            secrets: tokens,
        }
    }

    /// One of these values in the header `name`.
    pub fn header(name: String, values: Vec<Vec<u8>>) -> Credentials {
        Credentials {
            header: name,
            scheme: None,
            secrets: values,
        }
    }

    /// The position of the secret with which the header stands there once; else 401.
    pub fn verify(&self, head: &Head<'_, '_>) -> Result<usize, Status> {
        let value = head
            .single(&self.header)
            .ok()
            .flatten()
            .ok_or(Status::Unauthorized)?;
        let secret = match self.scheme {
            None => value,
            Some(scheme) => after_scheme(value, scheme).ok_or(Status::Unauthorized)?,
        };
        let matches = |known: &Vec<u8>| verify_slices_are_equal(known, secret).is_ok();
        // All of them are compared, whichever it is.
        let known = (0..).zip(&self.secrets).fold(None, |known, (at, secret)| {
            let matches = matches(secret);
            known.or(matches.then_some(at))
        });
        known
            .filter(|_| !secret.is_empty())
            .ok_or(Status::Unauthorized)
    }

    /// What a 401 asks for.
    pub fn challenge(&self) -> Challenge {
        match self.scheme {
            None => Challenge::Header,
            Some("Basic") => Challenge::Basic,
            Some(_) => Challenge::Bearer,
        }
    }
}

/// What it is, and in which header.
impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            None => write!(f, "a secret in {}", self.header),
            Some(scheme) => write!(f, "{scheme} in {}", self.header),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Credentials({}: {})",
            self.header,
            self.scheme.unwrap_or("value")
        )
    }
}

/// What follows a scheme, whose case does not matter, and its spaces (RFC 9110, 11.4).
fn after_scheme<'v>(value: &'v [u8], scheme: &str) -> Option<&'v [u8]> {
    let (name, rest) = value.split_at_checked(scheme.len())?;
    if !name.eq_ignore_ascii_case(scheme.as_bytes()) {
        return None;
    }
    let spaces = rest.iter().take_while(|&&c| c == b' ').count();
    (spaces > 0).then(|| rest.get(spaces..))?
}
