//! The platform's verification request: `GET ?hub.mode=subscribe&hub.verify_token=…&hub.challenge=…`.
//!
//! The answer is the challenge, byte for byte ("Create a webhook endpoint", developers.facebook.com). Nothing is
//! signed here: the token is the proof, and it is compared in constant time.

use crate::http::Status;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use percent_encoding::percent_decode;
use std::fmt;

/// Longest challenge that is echoed, in bytes; the platform's have ten.
const CHALLENGE_MAX: usize = 1024;

/// The tokens that any handshake of an endpoint may bring.
#[derive(Default)]
pub struct VerifyTokens(Vec<Vec<u8>>);

impl VerifyTokens {
    /// Tokens from the configuration, none of them empty.
    pub fn new(tokens: Vec<Vec<u8>>) -> VerifyTokens {
        VerifyTokens(tokens)
    }

    /// The challenge to echo for this query; 403 for anything but a subscription with a right token.
    pub fn challenge(&self, query: &[u8]) -> Result<Vec<u8>, Status> {
        let (mut mode, mut token, mut challenge) = (None, None, None);
        for pair in query.split(|&c| c == b'&') {
            let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            let (name, value) = pair.split_at(equals);
            let place = match form_decode(name).as_slice() {
                b"hub.mode" => &mut mode,
                b"hub.verify_token" => &mut token,
                b"hub.challenge" => &mut challenge,
                _ => continue,
            };
            // The first one counts for some and the last one for others: neither does here.
            if place
                .replace(form_decode(value.strip_prefix(b"=").unwrap_or_default()))
                .is_some()
            {
                return Err(Status::Forbidden);
            }
        }
        let (Some(mode), Some(token), Some(challenge)) = (mode, token, challenge) else {
            return Err(Status::Forbidden);
        };
        // All tokens are looked at, so that the time does not say which one matched.
        let matches = |known: &Vec<u8>| verify_slices_are_equal(known, &token).is_ok();
        let known = self
            .0
            .iter()
            .fold(false, |known, token| known | matches(token));
        let valid =
            mode == b"subscribe" && known && !token.is_empty() && challenge.len() <= CHALLENGE_MAX;
        if valid {
            Ok(challenge)
        } else {
            Err(Status::Forbidden)
        }
    }
}

impl fmt::Debug for VerifyTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyTokens({})", self.0.len())
    }
}

/// `application/x-www-form-urlencoded`: `+` is a space, `%XX` a byte. The target was checked for whole
/// escapes before.
fn form_decode(text: &[u8]) -> Vec<u8> {
    let spaced = text.iter().map(|&c| if c == b'+' { b' ' } else { c });
    percent_decode(&spaced.collect::<Vec<u8>>()).collect()
}
