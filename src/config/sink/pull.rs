//! Reads what is peculiar to `type = "pull"`. Who may read is known by a token, or by nothing but the address; the
//! latter only in so many words, and only on this machine (see `consistency`).

use crate::config::reader::{Reading, Section};
use crate::config::secret::Secret;

/// Who may pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullSink {
    /// Bearer tokens; any of them will do. With none anyone may read who reaches the listener.
    pub tokens: Vec<Secret>,
}

pub(super) fn read(reading: &mut Reading<'_>, section: &mut Section<'_>) -> PullSink {
    let open = section.boolean(reading, "accept_unauthenticated", false);
    let tokens = section.secrets(reading, "token");
    match (&tokens, open) {
        (Some(_), true) => {
            let message = "accept_unauthenticated = true contradicts token; remove one of the two";
            reading.mistake(&section.place_of("accept_unauthenticated"), message);
        }
        (None, false) => {
            let message = "anyone could read here: add token = { env = \"NAME\" }, or say accept_unauthenticated = true";
            reading.mistake(&section.place.clone(), message);
        }
        _ => {}
    }
    let tokens = tokens.unwrap_or_default();
    let sendable = |token: &Secret| token.expose().iter().all(u8::is_ascii_graphic);
    if !tokens.iter().all(sendable) {
        let message = "a token must be visible ASCII without spaces, or no client can send it";
        reading.mistake(&section.place_of("token"), message);
    }
    PullSink { tokens }
}
