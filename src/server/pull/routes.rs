//! What is answered.

use super::super::connections::unless;
use super::Pulls;
use super::access::Denied;
use super::ask::{Commit, Poll, parameter};
use crate::event::Lane;
use crate::sink::{PAGE_KIB_MAX, Page, Pull, PullError};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, IntoHeaderName, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

/// What the requests share.
struct Shared {
    pulls: Pulls,
    stop: watch::Receiver<bool>,
    /// Requests at a time.
    requests: Arc<Semaphore>,
    /// KiB of answers that are being made or taken.
    answers: Arc<Semaphore>,
}

/// All of them. Polls that wait are answered once `stop` says so.
pub(super) fn routes(pulls: Pulls, stop: watch::Receiver<bool>) -> Router {
    let shared = Shared {
        pulls,
        stop,
        requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
        answers: Arc::new(Semaphore::new(ANSWERS_MAX as usize)),
    };
    Router::new()
        .route("/v1/events", get(events))
        .route("/v1/cursors/{name}", get(cursor).post(commit))
        .fallback(|| async {
            refuse(
                StatusCode::NOT_FOUND,
                "there are /v1/events and /v1/cursors/NAME",
            )
        })
        .method_not_allowed_fallback(|| async {
            refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "events are read with GET, and cursors with GET and POST",
            )
        })
        .with_state(Arc::new(shared))
}

async fn events(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let query = query.unwrap_or_default();
    let name = parameter(&query, "sink").unwrap_or_default();
    let (pull, _request) = shared.admit(name, &headers)?;
    let asked = Poll::parse(&query).map_err(|message| refuse(StatusCode::BAD_REQUEST, &message))?;
    let deadline = Instant::now() + asked.wait;
    let mut ask = asked.ask;
    loop {
        let moved = pull.decided().moved();
        // One page as large as any, until it is known how large it is.
        let room = Arc::clone(&shared.answers).acquire_many_owned(PAGE_KIB_MAX);
        let until = deadline.max(Instant::now() + ROOM_TIME);
        let Ok(Ok(room)) = timeout_at(until, room).await else {
            return Err(busy("consumers take their answers too slowly"));
        };
        let reader = Arc::clone(&pull);
        let page = blocking(move || reader.page(&ask)).await?;
        let is_over = *shared.stop.borrow() || Instant::now() >= deadline;
        if page.events > 0 || is_over {
            return Ok(answer(page, room));
        }
        drop(room);
        ask.after = Some(page.next);
        if page.is_at_end {
            let _ = unless(&shared.stop, timeout_at(deadline, moved)).await;
        }
    }
}

async fn cursor(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (pull, _request) = shared.admit(&name, &headers)?;
    blocking(move || Ok(position(&name, &pull))).await
}

async fn commit(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Refusal> {
    let (pull, _request) = shared.admit(&name, &headers)?;
    let body = timeout(BODY_TIME, to_bytes(request.into_body(), BODY_MAX)).await;
    let body =
        body.map_err(|_| refuse(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))?;
    let body = body.map_err(|_| {
        refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too large, or was cut",
        )
    })?;
    let commit =
        Commit::parse(&body).map_err(|message| refuse(StatusCode::BAD_REQUEST, &message))?;
    blocking(move || {
        pull.commit(commit.position, commit.lane)?;
        Ok(position(&name, &pull))
    })
    .await
}

impl Shared {
    /// Who may read gets the sink, and a place among the requests that are under way.
    fn admit(
        &self,
        name: &str,
        headers: &HeaderMap,
    ) -> Result<(Arc<Pull>, OwnedSemaphorePermit), Refusal> {
        let unknown = || {
            refuse(
                StatusCode::NOT_FOUND,
                "there is no such sink, or not with this token",
            )
        };
        let pulls = self.pulls.now();
        pulls
            .access
            .check(name, headers)
            .map_err(|denied| match denied {
                Denied::Unauthorized => {
                    let response = refuse(
                        StatusCode::UNAUTHORIZED,
                        "send Authorization: Bearer TOKEN, a token of the sink",
                    );
                    Refusal::from(with(*response.0, WWW_AUTHENTICATE, "Bearer"))
                }
                Denied::Unknown if name.is_empty() => {
                    refuse(StatusCode::BAD_REQUEST, "name a sink, as in ?sink=NAME")
                }
                Denied::Unknown => unknown(),
                Denied::Browser => refuse(
                    StatusCode::FORBIDDEN,
                    "a sink without a token is not for web pages",
                ),
            })?;
        let mut sinks = pulls.sinks.iter();
        let (_, pull) = sinks.find(|(sink, _)| sink == name).ok_or_else(unknown)?;
        let stopped = || busy("the sink does not run: `hookline status` says why");
        let pull = pull.as_ref().ok_or_else(stopped)?;
        let request = Arc::clone(&self.requests).try_acquire_owned();
        let request = request.map_err(|_| busy("too many requests at a time"))?;
        Ok((Arc::clone(pull), request))
    }
}

/// What takes its time, away from the thread that serves.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PullError> + Send + 'static,
) -> Result<T, Refusal> {
    match spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| failure(&error)),
        // It has panicked, and said so on stderr.
        Err(_) => Err(refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "this is a bug in Hookline; its log says more",
        )),
    }
}

fn failure(error: &PullError) -> Refusal {
    let message = error.to_string();
    match error {
        PullError::Beyond { .. } | PullError::Back { .. } => refuse(StatusCode::CONFLICT, &message),
        PullError::Undecided(_) | PullError::Closed => busy(&message),
        PullError::Feed(error) => match error.gone() {
            Some(first) => {
                let first = first.to_string();
                json_response(
                    StatusCode::GONE,
                    &json!({ "error": message, "first": first }),
                )
                .into()
            }
            None if error.is_shortage() => busy(&message),
            None => refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the journal cannot be read there; the log says why",
            ),
        },
        PullError::Cursor(error) if error.is_shortage() => busy("the disk is full"),
        PullError::Cursor(_) => {
            // Logged where it was tried.
            let message = "the cursor cannot be saved; the log says why";
            refuse(StatusCode::INTERNAL_SERVER_ERROR, message)
        }
    }
}

/// A page on its way; it gives its room back once the last byte is with the system, or the client is gone.
fn answer(page: Page, mut room: OwnedSemaphorePermit) -> Response {
    let next = page.next.to_string();
    let bytes = page.bytes.into_boxed_slice();
    let held = Held {
        _room: room.split(bytes.len().div_ceil(1 << 10)).unwrap_or(room),
        bytes,
    };
    let response = Body::from(Bytes::from_owner(held)).into_response();
    let response = with(response, CONTENT_TYPE, "application/x-ndjson");
    let response = with(response, CACHE_CONTROL, "no-store");
    with(response, "hookline-next", &next)
}

struct Held {
    bytes: Box<[u8]>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The answer about a consumer's cursor.
fn position(name: &str, pull: &Pull) -> Response {
    let lane = |lane: Lane| {
        (
            lane.name().to_owned(),
            pull.committed(Some(lane)).to_string().into(),
        )
    };
    let lanes: serde_json::Map<String, Value> = Lane::ALL.map(lane).into_iter().collect();
    json_response(
        StatusCode::OK,
        &json!({
            "sink": name,
            "position": pull.committed(None).to_string(),
            "lanes": lanes,
            "last": pull.decided().get().to_string(),
        }),
    )
}

/// An answer instead of what was asked for.
struct Refusal(Box<Response>);

impl From<Response> for Refusal {
    fn from(response: Response) -> Refusal {
        Refusal(Box::new(response))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        *self.0
    }
}

fn busy(message: &str) -> Refusal {
    let refusal = refuse(StatusCode::SERVICE_UNAVAILABLE, message);
    with(*refusal.0, RETRY_AFTER, "1").into()
}

fn refuse(status: StatusCode, message: &str) -> Refusal {
    json_response(status, &json!({ "error": message })).into()
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    let response = (status, format!("{value}\n")).into_response();
    with(response, CONTENT_TYPE, "application/json")
}

fn with(mut response: Response, name: impl IntoHeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Requests of all consumers at a time, those that wait included.
const REQUESTS_MAX: usize = 256;

/// KiB in all answers that are being made or taken.
const ANSWERS_MAX: u32 = 64 << 10;

/// How long a request waits at least for room for its answer.
const ROOM_TIME: Duration = Duration::from_secs(5);

/// Bytes of the body of a commit, and how long it may take.
const BODY_MAX: usize = 4 << 10;
const BODY_TIME: Duration = Duration::from_secs(10);
