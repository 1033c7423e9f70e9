//! What the log says of refused requests: a wrong secret is the first thing that goes wrong.
//!
//! Anybody can have requests refused, so each endpoint has one line now and then for each reason, which counts what was
//! refused since the last one; and those that no endpoint has the path of have one together. What is our own fault is
//! logged where it happens.

use crate::endpoint::Endpoint;
use crate::http::Status;
use foldhash::fast::RandomState;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The lines of one event loop.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    /// By the number of the endpoint, 0 for none: as many as there are endpoints, times some codes.
    lines: RefCell<HashMap<(u16, Status), Line, RandomState>>,
}

#[derive(Debug, Default)]
struct Line {
    logged_at: Option<Instant>,
    /// Since then.
    unlogged: u64,
}

impl RefusalLog {
    /// The endpoint has refused a request with this status.
    pub(super) fn refused(&self, endpoint: &Endpoint, status: Status, now: Instant) {
        let refused = || self.count(endpoint.number, status, now);
        let name = endpoint.name.as_str();
        match status {
            Status::Unauthorized => {
                if let Some(refused) = refused() {
                    let asked = endpoint.proof.to_string();
                    tracing::warn!(
                        endpoint = name,
                        refused,
                        asked,
                        "posts get 401: what the endpoint asks for is missing or wrong; compare its secret with the sender's"
                    );
                }
            }
            Status::Forbidden => {
                if let Some(refused) = refused() {
                    tracing::warn!(
                        endpoint = name,
                        refused,
                        "requests with GET get 403: no handshake with the right verify token; compare `verify_token` with what stands at the sender, where it has one"
                    );
                }
            }
            Status::MethodNotAllowed => {
                if let Some(refused) = refused() {
                    tracing::warn!(
                        endpoint = name,
                        refused,
                        "requests get 405: only GET and POST are taken; have the sender post"
                    );
                }
            }
            Status::LengthRequired => {
                if let Some(refused) = refused() {
                    tracing::warn!(
                        endpoint = name,
                        refused,
                        "posts get 411: they come without a length; have the sender, or the proxy before, send Content-Length or chunks"
                    );
                }
            }
            Status::UnsupportedMediaType => {
                if let Some(refused) = refused() {
                    tracing::warn!(
                        endpoint = name,
                        refused,
                        "posts get 415: their bodies are compressed; switch that off at the sender"
                    );
                }
            }
            _ => {}
        }
    }

    /// No endpoint has the path.
    pub(super) fn not_found(&self, path: &[u8], now: Instant) {
        if let Some(refused) = self.count(0, Status::NotFound, now) {
            let path = shown(path);
            tracing::warn!(
                path,
                refused,
                "requests get 404: no endpoint has the path, which is that of the last one; compare it with `path` of the endpoints"
            );
        }
    }

    /// How many a line stands for that is to be logged now, this one included.
    fn count(&self, endpoint: u16, status: Status, now: Instant) -> Option<u64> {
        let mut lines = self.lines.borrow_mut();
        let line = lines.entry((endpoint, status)).or_default();
        line.unlogged += 1;
        let recently = |at| now.saturating_duration_since(at) < LOG_INTERVAL;
        if line.logged_at.is_some_and(recently) {
            return None;
        }
        line.logged_at = Some(now);
        Some(std::mem::take(&mut line.unlogged))
    }
}

/// A path that a stranger has sent, as it may stand in a log: escaped, and cut.
fn shown(path: &[u8]) -> String {
    let cut = path.get(..PATH_SHOWN_MAX);
    let more = if cut.is_some() { "…" } else { "" };
    format!("{}{more}", cut.unwrap_or(path).escape_ascii())
}

/// Bytes of a path that a log line shows.
const PATH_SHOWN_MAX: usize = 100;

/// The least time between two lines about the same.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody who tried paths had the one line of ten seconds, and a sender with the wrong secret had none.
    #[test]
    fn one_endpoint_does_not_hide_another_nor_one_reason_another() {
        let (log, now) = (RefusalLog::default(), Instant::now());
        let count = |endpoint, status, now| log.count(endpoint, status, now);
        assert_eq!(count(0, Status::NotFound, now), Some(1));
        assert_eq!(count(1, Status::Unauthorized, now), Some(1));
        assert_eq!(count(2, Status::Unauthorized, now), Some(1));
        assert_eq!(count(2, Status::Forbidden, now), Some(1));
        assert_eq!(count(2, Status::Unauthorized, now), None);
        assert_eq!(count(2, Status::Unauthorized, now + LOG_INTERVAL), Some(2));
        assert_eq!(log.lines.borrow().len(), 4);
    }
}
