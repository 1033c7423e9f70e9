//! The admin listener: `/metrics` for Prometheus, `/status` for people, `/livez` and `/readyz` for whoever decides on
//! restarts and traffic. `/readyz?strict` says 503, too, once delivery to a sink has stopped for good, or has failed
//! for a minute.
//!
//! An async runtime of one thread, away from the receiving path. What strangers can take of it is bounded: connections,
//! with descriptors of their own, and the time for a head. Web pages are refused: whoever may reach the pages sees them
//! without a password, so a page that somebody reads in his browser must not.

use super::ServerError;
use super::browser::{has_origin, is_under_a_foreign_name};
use super::connections::{self, Bounds};
use super::exposition;
use super::history::History;
use super::overview::{self, Trouble};
use super::sources::Sources;
use crate::config::Admin;
use crate::journal::State;
use crate::reactor::{Control, Phase};
use axum::Router;
use axum::extract::{RawQuery, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// Serves until the process ends.
pub(super) fn run(
    listener: TcpListener,
    admin: &Admin,
    sources: Arc<Sources>,
    control: Arc<Control>,
) -> Result<(), ServerError> {
    let failed = |action: &str| ServerError::io(format!("{action} for the admin pages"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(failed("start a runtime"))?;
    let address = listener
        .local_addr()
        .map_err(failed("ask for the address"))?;
    let visitors = Arc::new(Visitors {
        names: admin.hosts.clone(),
        // Elsewhere a scraper asks under the name of a service, which only its operator knows.
        are_checked: address.ip().is_loopback() || !admin.hosts.is_empty(),
    });
    let bounds = Bounds {
        client: "the admin pages",
        connections: admin.connections,
        head_time: HEAD_TIME,
    };
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed("listen"))?;
        let (ready, remembered) = (Arc::clone(&sources), Arc::clone(&sources));
        let (shown, phase) = (Arc::clone(&sources), Arc::clone(&control));
        tokio::spawn(remember(remembered));
        let routes = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route(
                "/readyz",
                get(move |RawQuery(query): RawQuery| async move {
                    let strict =
                        query.is_some_and(|it| it.split('&').any(|it| it.starts_with("strict")));
                    readiness(&ready, &control, strict)
                }),
            )
            .route(
                "/status",
                get(move || async move { status(&shown, &phase) }),
            )
            .route("/metrics", get(move || async move { metrics(&sources) }))
            .layer(middleware::from_fn(move |request: Request, next: Next| {
                let visitors = Arc::clone(&visitors);
                async move {
                    match visitors.refuse(&request) {
                        Some(refusal) => refusal,
                        None => next.run(request).await,
                    }
                }
            }));
        // It ends with the process.
        let (_running, stop) = watch::channel(false);
        connections::serve(&listener, &routes, bounds, &stop).await;
        Ok(())
    })
}

/// Who may see the pages.
struct Visitors {
    /// `hosts` in `[admin]`.
    names: Vec<String>,
    /// True where the name in `Host` has to be known.
    are_checked: bool,
}

impl Visitors {
    fn refuse(&self, request: &Request) -> Option<Response> {
        let headers = request.headers();
        let refuse = |why| Some((StatusCode::FORBIDDEN, why).into_response());
        if has_origin(headers) {
            return refuse("these pages are not for web pages: the request has an Origin\n");
        }
        if self.are_checked && is_under_a_foreign_name(headers, &self.names) {
            return refuse(
                "the name in Host is not known here: ask by address, or add the name to `hosts` in [admin]\n",
            );
        }
        None
    }
}

/// How long the next request may take to come, from the end of the one before to the end of its head. A scraper that
/// keeps its connection for longer connects again.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Keeps what rates and percentiles are computed from.
async fn remember(sources: Arc<Sources>) {
    let mut turns = tokio::time::interval(History::INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        sources.record();
    }
}

/// With `strict`, what is stored is to reach its sinks as well.
fn readiness(sources: &Sources, control: &Control, strict: bool) -> (StatusCode, &'static str) {
    let refuse = StatusCode::SERVICE_UNAVAILABLE;
    let trouble = || overview::trouble(sources).filter(|_| strict);
    match (control.phase(), sources.journal.state()) {
        (Phase::Serving, State::Open) => match trouble() {
            None => (StatusCode::OK, "ok\n"),
            Some(Trouble::Stopped) => (
                refuse,
                "delivery to a sink has stopped; /status says to which, and why\n",
            ),
            Some(Trouble::Failing) => (
                refuse,
                "deliveries to a sink fail for a minute or longer, and none works; /status says to which, and why\n",
            ),
        },
        (_, State::Failed) => (
            refuse,
            "the journal has failed; the process is about to exit\n",
        ),
        (_, State::Full) => (refuse, "the disk is full; new notifications get 503\n"),
        (_, State::Open) => (refuse, "draining\n"),
    }
}

fn status(sources: &Sources, control: &Control) -> impl IntoResponse + use<> {
    let overview = overview::overview(sources, control);
    match serde_json::to_string(&overview) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn metrics(sources: &Arc<Sources>) -> impl IntoResponse + use<> {
    match exposition::render(sources) {
        Ok(text) => ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
