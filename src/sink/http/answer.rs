//! What an answer means.
//!
//! 400, 409, 413, 415 and 422 are about what was sent. All else may be about the state of the receiver: a login (401,
//! 403), an address (404, redirects), load (408), a fault (5xx). 429 is never about what was sent: it was one too many.
//! Nor is 503 that says when to come back (`Retry-After`): the receiver is not ready.

use super::client::Connection;
use super::request::Composer;
use crate::dead_letter::Answer;
use crate::sink::transport::{Failure, FailureKind};
use ::http::header::RETRY_AFTER;
use ::http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Delivered, or why not. The body is read as far as it helps: its beginning is kept of a failure, and a small one is
/// read to its end, so that the connection can be used again.
pub(super) async fn result_of(
    response: Response<Incoming>,
    connection: Connection<'_>,
    deadline: Instant,
    composer: &Composer,
) -> Result<(), Failure> {
    let (head, body) = response.into_parts();
    let status = head.status;
    if status.is_success() {
        // It is delivered, whatever becomes of the rest.
        let soon = deadline.min(Instant::now() + DRAIN_TIME);
        read(body, &mut Vec::new(), connection, soon).await;
        return Ok(());
    }
    let mut begin = Vec::new();
    read(body, &mut begin, connection, deadline).await;
    let excerpt = excerpt(&composer.without_secrets(&String::from_utf8_lossy(&begin)));
    let after = || retry_after(&head.headers, SystemTime::now());
    let kind = match status {
        StatusCode::GONE => FailureKind::Gone,
        StatusCode::BAD_REQUEST
        | StatusCode::CONFLICT
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => FailureKind::Rejected,
        StatusCode::TOO_MANY_REQUESTS => FailureKind::Busy { after: after() },
        // Whatever the time looks like: whoever names one says "not now".
        StatusCode::SERVICE_UNAVAILABLE if head.headers.contains_key(RETRY_AFTER) => {
            FailureKind::Busy { after: after() }
        }
        _ => FailureKind::Retry { after: after() },
    };
    let meaning = if status.is_redirection() {
        ": redirects are not followed, give the sink the address that it leads to"
    } else {
        ""
    };
    Err(Failure {
        kind,
        reason: format!("answered {status}{meaning}"),
        answer: Some(Answer {
            status: status.as_u16(),
            excerpt,
        }),
    })
}

/// Reads a small body to its end, so that its connection can be used again, and keeps its beginning. A larger one, or
/// one that is not there in time, is given up with its connection.
async fn read(
    mut body: Incoming,
    begin: &mut Vec<u8>,
    connection: Connection<'_>,
    deadline: Instant,
) {
    let read = async {
        let mut bytes = 0;
        while bytes <= DRAIN_MAX {
            let Some(frame) = body.frame().await else {
                return true;
            };
            let Ok(frame) = frame else {
                return false;
            };
            if let Some(data) = frame.data_ref() {
                bytes += data.len();
                let room = KEPT_MAX - begin.len().min(KEPT_MAX);
                begin.extend(data.iter().take(room));
            }
        }
        false
    };
    if tokio::time::timeout_at(deadline, read).await == Ok(true) {
        connection.keep();
    }
}

/// At most 1 KiB, with a space for everything that moves a cursor.
fn excerpt(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut excerpt: String = printable.take(EXCERPT_MAX).collect();
    excerpt.truncate(excerpt.floor_char_boundary(EXCERPT_MAX));
    excerpt
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // More than fits is more than is heeded.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(after.min(RETRY_AFTER_MAX))
}

/// The longest time that another side may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Bytes of an excerpt.
const EXCERPT_MAX: usize = 1024;

/// Bytes that an excerpt is made of: more, since what is a secret of ours is cut out whole.
const KEPT_MAX: usize = 4 * EXCERPT_MAX;

/// Bytes of an answer that are read to use the connection again.
const DRAIN_MAX: usize = 64 << 10;

/// How long the body of an answer that says "delivered" may take.
const DRAIN_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().expect("a value"));
            retry_after(&headers, now).map(|after| after.as_secs())
        };
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("99999999999999999999999"), Some(3600));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        for odd in ["", "-1", "soon", "1.5"] {
            assert_eq!(seconds(odd), None, "{odd}");
        }
    }

    #[test]
    fn an_excerpt_is_short_and_printable() {
        assert_eq!(excerpt("a\r\n\u{1b}[31mb"), "a   [31mb");
        assert!(excerpt(&"ä".repeat(5000)).len() <= EXCERPT_MAX);
    }
}
