//! axum with one route.

use std::io;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use crossbeam_channel::Sender;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let app = Router::new()
        .route("/webhook", post(webhook))
        .with_state(peers::worker());
    axum::serve(TcpListener::bind(peers::address()).await?, app).await
}

async fn webhook(State(queue): State<Sender<Bytes>>, body: Bytes) -> StatusCode {
    if queue.try_send(body).is_ok() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}
