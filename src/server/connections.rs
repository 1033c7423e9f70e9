//! The connections of a listener for few: the admin pages, and the consumers of pull sinks. Each ends in bounded time
//! if its client does nothing, and there are never more than so many, so that they take no descriptor and no memory
//! from those who post.

use crate::log::Repeats;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What the connections of one listener may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Who connects, for the log.
    pub(super) client: &'static str,
    /// Connections at a time.
    pub(super) connections: usize,
    /// How long the next request may take to come, from the end of the one before to the end of its head.
    pub(super) head_time: Duration,
}

/// Serves until it is asked to stop, and then what is under way for a short while.
pub(super) async fn serve(
    listener: &TcpListener,
    routes: &Router,
    bounds: Bounds,
    stop: &watch::Receiver<bool>,
) {
    let client = bounds.client;
    let mut connections = JoinSet::new();
    let failures = Repeats::default();
    while let Some(accepted) = unless(stop, listener.accept()).await {
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) if connections.len() < bounds.connections => {
                let spoken = serve_one(stream, routes.clone(), bounds.head_time, stop.clone());
                connections.spawn(spoken);
            }
            // What fits into the socket's buffer goes out at once, and nothing is waited for.
            Ok((stream, _)) => drop(stream.try_write(FULL)),
            // Descriptors come back.
            Err(error) => {
                if let Some(times) = failures.count() {
                    tracing::warn!(client, %error, times, "no connection can be accepted: clients wait, and it is tried again in a moment; raise LimitNOFILE");
                }
                tokio::time::sleep(SHORTAGE_PAUSE).await;
            }
        }
    }
    let all = async { while connections.join_next().await.is_some() {} };
    // What is cut comes again: nobody has committed it.
    let _ = timeout(LEAVE_TIME, all).await;
}

/// Waits for `future`, unless the server stops: `None` then.
pub(super) async fn unless<T>(
    stop: &watch::Receiver<bool>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut stop = stop.clone();
    let mut stopped = pin!(stop.wait_for(|stop| *stop));
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        stopped.as_mut().poll(context).map(|_| None)
    })
    .await
}

async fn serve_one(
    stream: TcpStream,
    routes: Router,
    head_time: Duration,
    stop: watch::Receiver<bool>,
) {
    let socket = socket2::SockRef::from(&stream);
    // Without these, one that takes nothing of its answer, or is gone without a word, is only waited for longer.
    let _ = socket.set_tcp_user_timeout(Some(STALL_TIME));
    let _ = socket.set_keepalive(true);
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_buf_size(HEAD_MAX);
    let service = TowerToHyperService::new(routes);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    if unless(&stop, connection.as_mut()).await.is_none() {
        connection.as_mut().graceful_shutdown();
        // A client's mistakes are its own.
        let _ = connection.await;
    }
}

/// Bytes of the head of a request, and of what is read ahead.
const HEAD_MAX: usize = 16 << 10;

/// How long a client may take nothing of an answer.
const STALL_TIME: Duration = Duration::from_secs(30);

/// How long what is under way may take at a stop.
const LEAVE_TIME: Duration = Duration::from_secs(1);

const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Said to who comes when there is no room.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Content-Length: 32\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{\"error\":\"too many connections\"}";
